/* SPDX-License-Identifier: ISC */
/* DESIGN: one connection, or in a cluster one for the streams of each slot (rsub.c). Redis answers
 * in the order of the commands, and a read that waits for entries (BLOCK) holds up what is sent
 * behind it: so it waits for a second at most, and for 50 ms while records are on their way, whose
 * XACK comes next. One read is out at a time; when its answer was full the next one is sent before
 * the entries are printed.
 *
 * After each login the steps are gone through again:
 *
 * 	SETUP   what each stream and its group are (info.c); a group that is not there is made.
 * 	OWN     the consumer's pending entries: of its last run, and of an answer that was lost with
 *  the connection.
 * 	        Those that are on their way are known by the ledger and passed over.
 * 	CLAIM   pending entries that have been idle for --claim-idle, to the cursor 0-0: their
 *  consumer is dead. Again
 * 	        after half that time. Entries of our own do not become idle: they are claimed anew,
 *          by their ids alone (renew.c).
 * 	NEW     new entries.
 *
 * An entry is acknowledged once its record is final: exactly those ids, in any order. What Redis
 * has not confirmed is sent again after a lost connection; it does no harm twice. Records not yet
 * acknowledged there count for the window.
 *
 * A group that is gone is made again from where it was: before the first record that is not final.
 * What was read since comes again then: records on their way are not printed twice, and final ones
 * only acknowledged.
 *
 * Errors: a server that is there but cannot write (READONLY, NOREPLICAS, MISCONF, LOADING) is asked
 * again, with a back-off. At the end entries that were read but not printed are left to others:
 * their idle time is set to --claim-idle.
 *
 * Files: streams.c options and the turn of the loop; ask.c commands; answer.c answers; entries.c
 * entries; renew.c what is on its way; info.c what was lost; entry.c records; xack.c ids to
 * acknowledge. */
#define _GNU_SOURCE
#include "rsub/streams.h"

#include "base/metrics.h"
#include "base/mem.h"
#include "base/msg.h"
#include "base/trouble.h"
#include "base/wake.h"
#include "record/record.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- options ---- */

void streams_opts(struct streams_opts *o)
{
	o->streams = opt_many("s", "stream", "STREAM", 0, "read a stream instead of channels");
	o->group = arg_str0("g", "group", "GROUP",
		"with -s: in this consumer group, which is made if it is not there");
	o->consumer = arg_str0(
		"n", "consumer", "NAME", "name in the group (default the unit's and the host's)");
	o->from = arg_str0(NULL, "from", "ID|$|0",
		"with -s: after which entry a new group, or reading without one, begins (default 0)");
	o->commit = arg_str0(NULL, "commit", "acked|written",
		"with -g: acknowledge what is delivered (default), or what has left the process");
	o->window = arg_str0(
		NULL, "window", "N", "at most N records not yet acknowledged (default 10000)");
	o->claim_idle = arg_str0(NULL, "claim-idle", "TIME",
		"with -g: take over what another consumer has left for TIME (default 1m)");
	o->max_deliveries = arg_str0(NULL, "max-deliveries", "N",
		"with -g: what was delivered N times in vain is a dead letter");
	o->field = arg_str0(NULL, "field", "NAME", "the field of the payload (default payload)");
	o->key_field = arg_str0(NULL, "key-field", "NAME", "the field of the key (default none)");
	o->to_end = arg_lit0("e", "to-end", "with -s: stop at the end as it stood at the start");
	o->dead_letter = arg_file0(NULL, "dead-letter", "FILE",
		"with -s: append refused records to FILE, durably, and go on");
}

const char *streams_options(const struct streams_opts *o)
{
	const struct {
		int count;
		const char *name;
	} options[] = {
		{o->group->count, "-g"},
		{o->consumer->count, "-n"},
		{o->from->count, "--from"},
		{o->commit->count, "--commit"},
		{o->window->count, "--window"},
		{o->claim_idle->count, "--claim-idle"},
		{o->max_deliveries->count, "--max-deliveries"},
		{o->field->count, "--field"},
		{o->key_field->count, "--key-field"},
		{o->to_end->count, "-e"},
		{o->dead_letter->count, "--dead-letter"},
	};

	for (size_t i = 0; i < sizeof(options) / sizeof(*options); i++)
		if (options[i].count)
			return options[i].name;
	return NULL;
}

static void take_from(struct streams *s, const char *from)
{
	s->from_end = from && strcmp(from, "$") == 0;
	if (from && !s->from_end && id_parse((struct span){from, strlen(from)}, &s->from))
		opt_bad("--from takes the id of an entry, 0 or $, not '%s'", from);
}

static void take_commit(struct streams *s, const char *commit)
{
	if (commit && strcmp(commit, "acked") && strcmp(commit, "written"))
		opt_bad("--commit takes acked or written, not '%s'", commit);
	s->follows = s->group && !(commit && strcmp(commit, "written") == 0);
	if (s->follows && !s->source->path)
		opt_bad("-g acknowledges what is delivered, and is told so over a socket: run the pipeline with evpipe, or give each of its programs --ack PATH; or ask for --commit written, which may lose what is in the pipe at a crash");
	if (s->follows && s->raw)
		opt_bad("--raw prints no numbers that could be acknowledged: ask for --commit written, which may lose what is in the pipe at a crash");
}

/* A name that a consumer has again when it is started again, and no other one has. */
static const char *default_consumer(void)
{
	static char name[200];
	const char *unit = getenv("EVPIPE_UNIT");
	char host[100] = "localhost";

	gethostname(host, sizeof(host) - 1);
	snprintf(name, sizeof(name), "%s%s%s", unit ? unit : "", unit ? "@" : "", host);
	return name;
}

void streams_take(struct streams *s, const struct streams_opts *o)
{
	const char *file = opt_file(o->dead_letter, "--dead-letter");

	s->group = opt_text(o->group, "-g");
	s->consumer = opt_text(o->consumer, "-n");
	if (!s->group &&
		(s->consumer || o->commit->count || o->claim_idle->count ||
			o->max_deliveries->count || o->window->count))
		opt_bad("-n, --commit, --window, --claim-idle and --max-deliveries need a group: -g");
	if (!s->consumer)
		s->consumer = default_consumer();
	take_from(s, opt_text(o->from, "--from"));
	take_commit(s, opt_text(o->commit, "--commit"));
	s->window = opt_int(o->window, "--window", 10000, 1, 10000000);
	if (!s->follows && o->window->count)
		opt_bad("--window needs -g with --commit acked");
	s->claim_idle_ms = opt_duration_ms(o->claim_idle, "--claim-idle", 60000);
	if (s->claim_idle_ms < 1)
		opt_bad("--claim-idle must be above 0");
	s->max_deliveries = opt_int(o->max_deliveries, "--max-deliveries", 0, 1, INT32_MAX);
	if (s->max_deliveries && !file)
		opt_bad("--max-deliveries needs --dead-letter FILE");
	s->to_end = o->to_end->count;
	s->form = (struct entry_form){.field = opt_text(o->field, "--field"),
		.key_field = opt_text(o->key_field, "--key-field"),
		.raw = s->raw,
		.end = s->end};
	if (!s->form.field)
		s->form.field = "payload";
	dead_open(&s->whole->dead, NULL, file, NULL, NULL);
}

/* ---- opening ---- */

void streams_settled(struct streams *s, int32_t partition, struct id id)
{
	struct xack *a = &s->streams[-1 - partition - s->first_part].acks;

	if (s->is_exact)
		return;
	xack_add(a, id);
	a->ready = a->tail;
}

static void open_stream(struct streams *s, struct stream *st, const char *name)
{
	st->name = name;
	st->read = s->from;
	st->end = (struct id){UINT64_MAX, UINT64_MAX};
	buf_putc(&st->head, '{');
	record_put_bytes(&st->head, "stream", (struct span){name, strlen(name)});
	buf_puts(&st->head, ",\"id\":\"");
	if (s->source->ledger && !s->raw)
		st->account = ledger_assign(s->source->ledger, name, streams_part(s, st), NULL);
}

void streams_open(struct streams *s, const struct redis_url *url)
{
	s->batch = 16;
	s->count = s->names.count;
	s->streams = mem_alloc((size_t)s->count * sizeof(*s->streams));
	memset(s->streams, 0, (size_t)s->count * sizeof(*s->streams));
	for (int i = 0; i < s->count; i++)
		open_stream(s, &s->streams[i], s->names.list[i + 1]);
	redis_open_at(&s->redis, url, REDIS_COMMANDS);
	redis_follow(&s->redis, s->names.list[1]);
	/* What would acknowledge nothing. */
	if (s->group)
		redis_probe_stream(&s->redis, "XACK", 4,
			(const char *[]){"XACK", s->names.list[1], s->group, "0-0"});
	else
		redis_reads_only(&s->redis);
}

void streams_gap(struct streams *s, const struct stream *st, uint64_t count, const char *how)
{
	s->whole->gaps++;
	s->whole->lost += count;
	if (count)
		msg_error("gap: stream '%s': %llu %s %s %s gone: trimmed or deleted", st->name,
			(unsigned long long)count,
			PLURAL(count, "entry that was", "entries that were"), how,
			PLURAL(count, "is", "are"));
	else
		msg_error("gap: stream '%s': entries that were %s are gone: trimmed or deleted",
			st->name, how);
}

/* Which of several streams a read was refused for is not said. */
void streams_refused(struct streams *s, enum ask what, const struct stream *st, struct span text)
{
	source_end(s->source, EXIT_PERM, "redis at %s refuses to %s '%s': %.*s%s",
		redis_name(&s->redis),
		what == ASK_ACK				  ? "acknowledge in stream"
			: what == ASK_NEW && s->count > 1 ? "read one of several streams, such as"
							  : "read stream",
		st->name, (int)(text.len < 200 ? text.len : 200), text.p,
		redis_advice(&s->redis, text));
}

/* ---- a server in trouble ---- */

void streams_stall(struct streams *s, struct span why)
{
	if (!s->is_stalled) {
		msg_warn("redis at %s: %.*s; trying again", redis_name(&s->redis),
			(int)(why.len < 400 ? why.len : 400), why.p);
		redis_count_outage();
		whole_ready(s->whole, &s->is_ready, false);
		s->stalled_ms = s->now_ms;
	}
	whole_count(&s->whole->stalled, &s->is_stalled, true);
	s->retry_ms = s->now_ms + wake_backoff_ms(&s->backoff_ms, 100, 2000);
	if (s->step == STREAMS_SETUP)
		s->has_asked = false;
}

void streams_serve_again(struct streams *s)
{
	s->backoff_ms = s->retry_ms = 0;
	if (!s->is_stalled)
		return;
	whole_count(&s->whole->stalled, &s->is_stalled, false);
	msg_warn("redis at %s serves again after %.1f s", redis_name(&s->redis),
		(double)(s->now_ms - s->stalled_ms) / 1000);
	whole_ready(s->whole, &s->is_ready, s->step != STREAMS_SETUP);
}

void streams_wrong_type(struct streams *s, const struct stream *st, struct span error)
{
	char why[400];

	if (!st->is_known) {
		streams_refused(s, ASK_INFO, st, error);
		return;
	}
	snprintf(why, sizeof(why), "'%.200s' is no stream any more: %.*s", st->name,
		(int)(error.len < 150 ? error.len : 150), error.p);
	streams_step(s, STREAMS_SETUP);
	streams_stall(s, (struct span){why, strlen(why)});
}

/* ---- the loop ---- */

int streams_poll(struct streams *s, struct pollfd *p)
{
	s->rests = source_phase(s->source) == SOURCE_READING && out_pending(&s->source->out);
	return s->rests || s->is_behind ? 0 : redis_poll(&s->redis, p);
}

int streams_timeout_ms(const struct streams *s, int64_t now_ms)
{
	int timeout = -1;

	if (s->rests)
		return -1;
	if (s->is_behind)
		return 0;
	if (s->retry_ms > now_ms)
		timeout = (int)(s->retry_ms - now_ms);
	return wake_least(timeout, redis_timeout_ms(&s->redis, now_ms));
}

static void on_redis(struct streams *s, const struct pollfd *p)
{
	bool was_reported = s->redis.reported_away;

	switch (redis_step(&s->redis, p, s->now_ms)) {
	case REDIS_CAME:
		s->retry_ms = s->backoff_ms = 0;
		streams_step(s, STREAMS_SETUP);
		break;
	case REDIS_WENT:
		whole_ready(s->whole, &s->is_ready, false);
		whole_count(&s->whole->stalled, &s->is_stalled, false);
		break;
	case REDIS_FAILED:
		source_end(s->source, s->redis.trouble.status, "%s", s->redis.trouble.text);
		return;
	case REDIS_SAME:
		if (was_reported && redis_is_there(&s->redis) && s->step != STREAMS_SETUP)
			whole_ready(s->whole, &s->is_ready, !s->is_stalled);
		break;
	}
	streams_results(s);
}

/* Whether all that was printed has left the process, where that is what counts. A reader that has
 * gone leaves what it has not taken. */
static bool has_written(const struct streams *s)
{
	return s->follows || source_has_written(s->source, s->source->flushes);
}

/* Up to where in its acks Redis is to be told. */
static uint64_t unsaid(const struct streams *s, const struct stream *st)
{
	return s->is_exact || !has_written(s) ? st->acks.ready : st->acks.tail;
}

bool streams_left(const struct streams *s)
{
	if (s->redis.state == REDIS_REFUSED || s->may_not_ack || s->source->server.void_account)
		return true;
	if (s->asked || s->quiet)
		return false;
	for (int i = 0; i < s->count; i++)
		if (s->streams[i].acks.head < unsaid(s, &s->streams[i]))
			return false;
	return true;
}

/* Without acknowledgements: what is printed has been written when nothing is pending. */
static void release_written(struct streams *s)
{
	if (s->is_exact || !has_written(s))
		return;
	for (int i = 0; i < s->count; i++)
		s->streams[i].acks.ready = s->streams[i].acks.tail;
}

void streams_serve(struct streams *s, const struct pollfd *p, int64_t now_ms)
{
	s->now_ms = now_ms;
	release_written(s);
	if (!s->rests)
		on_redis(s, s->is_behind ? NULL : p);
	else
		redis_heard(&s->redis, now_ms);
	if (s->redis.state == REDIS_UP) {
		if (s->group && !s->may_not_ack && !s->source->server.void_account) {
			streams_ack(s);
			streams_renew(s);
		}
		streams_ask(s, 0);
	}
	redis_flush(&s->redis, now_ms);
}

void streams_close(struct streams *s)
{
	uint64_t left = 0;

	for (int i = 0; i < s->count; i++) {
		struct stream *st = &s->streams[i];

		left += unsaid(s, st) - st->acks.head;
		buf_free(&st->head);
		free(st->known.ids);
		free(st->back.ids);
		free(st->held.ids);
		free(st->forgotten.ids);
		free(st->deleted.ids);
		free(st->mine.ids);
		free(st->acks.ids);
	}
	if (left && !s->source->server.void_account) {
		msg_error(
			"redis at %s has not confirmed %llu acknowledgements: those records will be read again",
			redis_name(&s->redis), (unsigned long long)left);
		s->status = EXIT_TEMP;
	}
	redis_close(&s->redis);
	free(s->streams);
	buf_free(&s->record);
	buf_free(&s->form.headers);
}
