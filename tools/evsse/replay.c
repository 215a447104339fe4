/* SPDX-License-Identifier: ISC */
#define _GNU_SOURCE
#include "evsse/replay.h"

#include "base/mem.h"
#include "base/msg.h"

#include <stdlib.h>
#include <string.h>

enum {
	PIECE = 1000, /* records of a run */
	OUTPUT_MAX = 128 << 20, /* bytes that a run may be ahead of us */
	KEEP_MS = 10000, /* for clients that come at the same time */
	ARGS = 24,
};

bool replay_can(const struct evsse *s, struct part_name part)
{
	return s->replay_command && part.kind != PART_COUNT;
}

/* ---- running ---- */

/* The pipeline's own variables are not for a program that stands beside it. */
static char *script(const struct evsse *s)
{
	return mem_printf("unset EVPIPE_ACK EVPIPE_DIR EVPIPE_MEMBER EVPIPE_NAME EVPIPE_SINK "
			  "EVPIPE_FOREIGN EVPIPE_UNIT EVPIPE_RUN NOTIFY_SOCKET; %s \"$@\"",
		s->replay_command);
}

static char *place_text(struct part_name part, struct place place)
{
	struct buf b = {0};

	position_put_place(&b, part.kind, place);
	buf_putc(&b, '\0');
	return b.p;
}

static void free_argv(struct replay *r)
{
	for (size_t i = 0; r->argv && r->argv[i]; i++)
		free(r->argv[i]);
	free(r->argv);
	r->argv = NULL;
}

static void make_argv(const struct evsse *s, struct replay *r)
{
	size_t n = 0;

	r->argv = mem_alloc(ARGS * sizeof(char *));
	r->argv[n++] = mem_dup("sh");
	r->argv[n++] = mem_dup("-c");
	r->argv[n++] = script(s);
	r->argv[n++] = mem_dup("replay");
	r->argv[n++] = mem_dup("-q");
	r->argv[n++] = mem_dup("-c");
	r->argv[n++] = mem_printf("%d", PIECE);
	if (r->part.kind == PART_STREAM) {
		r->argv[n++] = mem_dup("-e");
		r->argv[n++] = mem_dup("--from");
		r->argv[n++] = place_text(r->part, place_before(r->next));
		r->argv[n++] = mem_dup("-s");
		r->argv[n++] = mem_dup(r->topic.p);
		r->argv[n] = NULL;
		return;
	}
	r->argv[n++] = mem_dup("-p");
	r->argv[n++] = mem_printf("%u", r->part.number);
	r->argv[n++] = mem_dup("-o");
	r->argv[n++] = place_text(r->part, r->next);
	r->argv[n++] = mem_dup(r->to_end ? "-e" : "--until");
	if (!r->to_end)
		r->argv[n++] = place_text(r->part, r->until);
	if (!r->lost) {
		r->argv[n++] = mem_dup("--on-gap");
		r->argv[n++] = mem_dup("stop");
	}
	r->argv[n++] = mem_dup("--");
	r->argv[n++] = mem_dup(r->topic.p);
	r->argv[n] = NULL;
}

static void start(struct evsse *s, struct replay *r)
{
	int error;

	make_argv(s, r);
	r->taken = 0;
	error = child_start(&r->child, r->argv, SPAN_NONE, OUTPUT_MAX);
	if (!error) {
		r->state = REPLAY_RUNS_NOW;
		s->replays_running++;
		s->replays_started++;
		return;
	}
	msg_warn("cannot run '%s': %s", s->replay_shown, msg_errno(error));
	free_argv(r);
	r->state = REPLAY_FAILED;
}

/* A line that is not a record of the part is none of ours. */
static void take_line(struct evsse *s, struct replay *r, struct span line)
{
	struct record record;
	struct record_error why;
	struct part_name part;
	struct place place;
	struct span payload;
	enum record_bytes got;
	struct entry *e;

	if (record_parse(&record, line, &why) || !position_of(&record, r->topic, &part, &place) ||
		!part_is(part, r->part) || place_compare(place, r->next) < 0 ||
		(!r->to_end && place_compare(place, r->until) >= 0))
		return;
	buf_clear(&s->scratch);
	got = record_payload(&record, &s->scratch, &payload, &why);
	if (got != RECORD_BYTES || !entry_carries(payload))
		payload = SPAN_NONE;
	e = entry_make(SPAN("-"), r->topic, payload, line);
	e->place = place;
	e->seq = s->ring.seq++;
	if ((r->count & (r->count - 1)) == 0)
		r->entries = mem_realloc(
			r->entries, (r->count ? r->count * 2 : 1) * sizeof(*r->entries));
	r->entries[r->count++] = e;
	r->bytes += e->record_end;
	s->replay_bytes += e->record_end;
	r->next = place_after(place);
}

/* Lines of the output so far. Returns whether there were any. */
static bool take_lines(struct evsse *s, struct replay *r)
{
	struct buf *out = &r->child.output;
	size_t at = 0, before = r->count;
	const char *lf;

	while (at < out->len && (lf = memchr(out->p + at, '\n', out->len - at))) {
		take_line(s, r, (struct span){out->p + at, (size_t)(lf - out->p) - at});
		at = (size_t)(lf - out->p) + 1;
		r->taken++;
	}
	if (at)
		memmove(out->p, out->p + at, out->len - at);
	out->len -= at;
	return r->count > before;
}

static void end_run(struct evsse *s, struct replay *r, bool failed)
{
	bool whole = r->taken < PIECE;
	char why[100];

	s->replays_running--;
	buf_free(&r->child.output);
	free_argv(r);
	r->done_ms = s->now_ms;
	if (failed && !r->lost && !r->count) {
		/* It may be that the source has lost the beginning: the rest is asked for. */
		r->lost = true;
		r->state = REPLAY_WAITS;
		return;
	}
	r->state = failed ? REPLAY_FAILED : REPLAY_DONE;
	r->is_whole = !failed && whole;
	if (!failed)
		return;
	child_why(&r->child, why, sizeof(why));
	msg_warn("'%s' %s: clients are told of a gap instead", s->replay_shown, why);
}

/* ---- all of them ---- */

static void free_replay(struct evsse *s, struct replay *r)
{
	for (size_t i = 0; i < r->count; i++)
		entry_drop(r->entries[i]);
	s->replay_bytes -= r->bytes;
	free(r->entries);
	free((void *)(uintptr_t)r->topic.p);
	free(r);
}

static bool serves(const struct replay *r, struct span topic, struct part_name part,
	struct place from, const struct place *until)
{
	struct place end = r->to_end || r->state == REPLAY_DONE ? r->next : r->until;

	if (r->state == REPLAY_FAILED || !part_is(r->part, part) || r->topic.len != topic.len ||
		memcmp(r->topic.p, topic.p, topic.len) || place_compare(from, r->from) < 0)
		return false;
	/* One that has got so far, or may yet. */
	if (!until)
		return r->to_end && (r->state != REPLAY_DONE || r->is_whole);
	return r->state != REPLAY_DONE ? r->to_end || place_compare(from, end) < 0
				       : place_compare(from, end) < 0;
}

struct replay *replay_ask(struct evsse *s, struct span topic, struct part_name part,
	struct place from, const struct place *until)
{
	struct replay *r = s->replays;

	while (r && !serves(r, topic, part, from, until))
		r = r->older;
	if (!r) {
		r = mem_alloc(sizeof(*r));
		*r = (struct replay){.topic = {span_text(topic), topic.len},
			.part = part,
			.from = from,
			.next = from,
			.to_end = !until,
			.older = s->replays};
		if (until)
			r->until = *until;
		s->replays = r;
	}
	r->users++;
	return r;
}

void replay_leave(struct evsse *s, struct replay *r)
{
	r->users--;
	r->done_ms = s->now_ms;
}

/* Those that nobody has used for a while, and those that are wanted no more before they have
 * begun. */
static void drop_old(struct evsse *s)
{
	for (struct replay **link = &s->replays, *r; (r = *link);) {
		bool over = r->state == REPLAY_WAITS || r->state == REPLAY_FAILED ||
			(r->state == REPLAY_DONE && s->now_ms - r->done_ms >= KEEP_MS);

		if (r->users || !over) {
			link = &r->older;
			continue;
		}
		*link = r->older;
		free_replay(s, r);
	}
}

void replays_poll(struct evsse *s, struct pollfd *p)
{
	for (size_t i = 0; i < REPLAY_FDS; i++)
		p[i] = (struct pollfd){.fd = -1};
	for (struct replay *r = s->replays; r; r = r->older)
		if (r->state == REPLAY_RUNS_NOW) {
			child_poll(&r->child, p);
			p += CHILD_FDS;
		}
}

static void serve(struct evsse *s, struct replay *r, const struct pollfd *p,
	void (*wake)(struct evsse *s, const struct replay *r))
{
	enum child_state state = child_serve(&r->child, p);
	bool got = take_lines(s, r);

	if (state != CHILD_RUNS)
		end_run(s, r, state == CHILD_FAILED);
	if (got || state != CHILD_RUNS)
		wake(s, r);
}

void replays_serve(struct evsse *s, const struct pollfd *p,
	void (*wake)(struct evsse *s, const struct replay *r))
{
	for (struct replay *r = s->replays; r; r = r->older)
		if (r->state == REPLAY_RUNS_NOW) {
			serve(s, r, p, wake);
			p += CHILD_FDS;
		}
	drop_old(s);
	for (struct replay *r = s->replays; r && s->replays_running < REPLAY_RUNS; r = r->older)
		if (r->state == REPLAY_WAITS && s->replay_bytes < s->ring.max_bytes / 4) {
			start(s, r);
			if (r->state == REPLAY_FAILED)
				wake(s, r);
		}
}

int replays_timeout_ms(const struct evsse *s)
{
	for (const struct replay *r = s->replays; r; r = r->older)
		if (r->state == REPLAY_WAITS && s->replays_running < REPLAY_RUNS)
			return s->replay_bytes < s->ring.max_bytes / 4 ? 0 : 100;
	return s->replays ? 1000 : -1;
}

void replays_end(struct evsse *s)
{
	while (s->replays) {
		struct replay *r = s->replays;

		s->replays = r->older;
		child_kill(&r->child);
		buf_free(&r->child.output);
		free_argv(r);
		free_replay(s, r);
	}
	child_end_all();
}
