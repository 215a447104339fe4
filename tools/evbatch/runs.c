/* SPDX-License-Identifier: ISC */
/* The runs of the command: when one is due, what it needs from poll, how it ends. */
#include "evbatch/evbatch.h"

#include "base/msg.h"
#include "base/wake.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum {
	ATTEMPTS = 5,
	RETRY_MS = 250, /* before the second attempt, doubled for each further one */
	OUTPUT_MAX = 64 << 20, /* bytes that the command may write beyond those of its input */
	HELD_MS = 5000, /* after that long it tells the source that it holds records */
	LINGER_MS = 1000, /* from a command's end to the word about its output */
};

static bool is_due(struct evbatch *s, const struct evbatch_batch *b, int64_t now_ms)
{
	if (b->state == BATCH_WAITS)
		return now_ms >= b->retry_ms;
	return b->state == BATCH_FILLING &&
		(evbatch_is_full(s, b) || input_ended(&s->in) ||
			now_ms >= b->since_ms + s->batch_ms);
}

static void start(struct evbatch *s, uint64_t i)
{
	struct evbatch_batch *b = evbatch_at(s, i);
	int error;

	if (!b->records) {
		/* Its first record was not taken. */
		s->tail = i;
		return;
	}
	b->attempts++;
	b->lingers_ms = 0;
	b->is_named = false;
	error = child_start(
		&b->command, s->argv, buf_as_span(&b->input), OUTPUT_MAX + b->input.len);
	if (error) {
		trouble_set(&s->trouble, error == EAGAIN || error == ENOMEM ? EXIT_TEMP : EXIT_PERM,
			"cannot run '%s': %s", s->argv[0], msg_errno(error));
		evbatch_give_up(s, i);
		return;
	}
	b->command.may_match_none = child_matches(s->argv[0]);
	b->state = BATCH_RUNS;
	s->running++;
}

void runs_start(struct evbatch *s, int64_t now_ms)
{
	for (uint64_t i = s->head; i < s->tail && s->running < s->runs; i++)
		if (is_due(s, evbatch_at(s, i), now_ms))
			start(s, i);
}

static void name_batch(const struct evbatch_batch *b, char *name, size_t size)
{
	snprintf(name, size, "the batch of %llu %s from line %llu on",
		(unsigned long long)b->records, PLURAL(b->records, "record", "records"),
		(unsigned long long)b->first_line);
}

static void on_failure(struct evbatch *s, uint64_t i, int64_t now_ms)
{
	struct evbatch_batch *b = evbatch_at(s, i);
	char why[100], place[80];

	child_why(&b->command, why, sizeof(why));
	name_batch(b, place, sizeof(place));
	if (b->attempts >= ATTEMPTS || child_overflowed(&b->command)) {
		trouble_set(&s->trouble, EXIT_TEMP,
			"'%s' %s on %s, attempt %u: nothing of it was written", s->argv[0], why,
			place, b->attempts);
		evbatch_give_up(s, i);
		return;
	}
	b->state = BATCH_WAITS;
	b->retry_ms = now_ms + wake_backoff_ms(&b->backoff_ms, RETRY_MS, RETRY_MS << ATTEMPTS);
	msg_warn("'%s' %s on %s: tried again in %lld ms", s->argv[0], why, place,
		(long long)(b->retry_ms - now_ms));
}

/* The command has ended, but a process that it has started keeps its output open. */
static void watch_output(struct evbatch *s, struct evbatch_batch *b, int64_t now_ms)
{
	char holder[100], place[80];

	if (!child_lingers(&b->command))
		return;
	if (!b->lingers_ms)
		b->lingers_ms = now_ms;
	if (b->is_named || now_ms < b->lingers_ms + LINGER_MS)
		return;
	b->is_named = true;
	if (!child_holder(&b->command, holder, sizeof(holder)))
		snprintf(holder, sizeof(holder), "a process that it has started");
	name_batch(b, place, sizeof(place));
	msg_warn("'%s' has ended, but %s keeps its output open: %s waits for it", s->argv[0],
		holder, place);
}

void runs_serve(struct evbatch *s, const struct pollfd *p, int64_t now_ms)
{
	for (uint64_t i = s->head; i < s->tail; i++) {
		struct evbatch_batch *b = evbatch_at(s, i);
		enum child_state state;

		if (b->state != BATCH_RUNS)
			continue;
		state = child_serve(&b->command, p);
		p += CHILD_FDS;
		if (state == CHILD_RUNS) {
			watch_output(s, b, now_ms);
			continue;
		}
		s->running--;
		b->state = BATCH_DONE;
		if (state == CHILD_FAILED)
			on_failure(s, i, now_ms);
	}
}

/* Whether a batch has been here for long, for the source. */
bool runs_are_slow(struct evbatch *s, int64_t now_ms)
{
	return s->head < s->tail && now_ms >= evbatch_at(s, s->head)->since_ms + HELD_MS;
}

/* Milliseconds until there is something to say. */
static int word_ms(struct evbatch *s, int64_t now_ms)
{
	int word = -1;

	if (s->head < s->tail && !runs_are_slow(s, now_ms))
		word = (int)(evbatch_at(s, s->head)->since_ms + HELD_MS - now_ms);
	for (uint64_t i = s->head; i < s->tail; i++) {
		const struct evbatch_batch *b = evbatch_at(s, i);

		if (b->state == BATCH_RUNS && child_lingers(&b->command) && !b->is_named)
			word = wake_least(word, b->lingers_ms ? LINGER_MS : 0);
	}
	return word;
}

int runs_due_ms(struct evbatch *s, int64_t now_ms)
{
	int due = word_ms(s, now_ms);

	for (uint64_t i = s->head; i < s->tail && s->running < s->runs; i++) {
		const struct evbatch_batch *b = evbatch_at(s, i);
		int64_t at = b->state == BATCH_WAITS ? b->retry_ms : b->since_ms + s->batch_ms;

		if (b->state == BATCH_FILLING || b->state == BATCH_WAITS)
			due = wake_least(due, is_due(s, b, now_ms) ? 0 : (int)(at - now_ms));
	}
	return due;
}

nfds_t runs_poll(struct evbatch *s, struct pollfd *p)
{
	nfds_t n = 0;

	for (uint64_t i = s->head; i < s->tail; i++)
		if (evbatch_at(s, i)->state == BATCH_RUNS) {
			child_poll(&evbatch_at(s, i)->command, p + n);
			n += CHILD_FDS;
		}
	return n;
}
