/* SPDX-License-Identifier: ISC */
/* evsse - records to browsers, as server-sent events (WHATWG HTML, 9.2).
 *
 * DESIGN: a sink. A record becomes an event, its bytes as they are sent, in one ring that all
 * clients share (ring.c); it is final when it is there. A client has a cursor in each of its
 * topics, and no queue: whenever its connection takes bytes they are copied from the ring, a block
 * at a time, and at the ring's end it waits. So a slow client costs no more than what is left of a
 * block; when the ring passes it, it is told of the gap.
 *
 * - An event's id is all positions of the client's stream, so that any evsse that reads the same
 *   topics resumes any
 *   client: from its ring, else by --replay, else the client is told what it cannot have.
 * - A record whose place its partition has had already came again, after a restart or a rebalance,
 *   and is dropped.
 * - While clients that take what they get are more than half a ring behind, no input is read: the
 *   server is
 *   what is slow then. A client that takes nothing holds up nobody.
 * - EOF: clients take what they lack, for DRAIN_MS at most, and are told when to come again. First
 *   SIGTERM: ignored while input is open; the second, or one after EOF, ends it at once.
 *
 * Files: evsse.c the command line, records to events, the loop; position.c positions and ids;
 * ring.c, cursor.c the ring; where.c what clients want; client.c clients; stream.c what they get
 * next; replay.c what the ring has not; gap.c what they cannot have; access.c who may read;
 * serve.c paths and headers; page.c the page. */
#include "evsse/evsse.h"

#include "evsse/access.h"
#include "evsse/client.h"
#include "evsse/replay.h"
#include "evsse/serve.h"

#include "base/mem.h"
#include "base/metrics.h"
#include "base/msg.h"
#include "base/opt.h"
#include "base/wake.h"
#include "http/pair.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	SLOTS = 1024,
	WINDOW_BYTES = 1 << 20,
	DRAIN_MS = 5000,
	LOOK_MS = 100, /* after the end of input */
	ROUND = 256, /* records between two looks at the clients */
	ANSWER_BYTES = 512, /* of a connection's memory, beyond --max-headers */
};

static struct {
	struct opt_common common;
	struct input_opts input;
	struct ack_opts ack;
	struct arg_lit *raw, *nul;
	struct arg_str *listen, *path, *topic, *keep, *memory, *as, *retry, *heartbeat, *stuck,
		*clients, *origins, *linger, *headers, *idle, *cookie, *replay;
	struct arg_file *tokens, *cert, *key;
} opt;

static struct evsse self;

/* ---- records ---- */

/* The event's name. Returns 0 or -1. */
static int name_event(struct evsse *s, const struct record *r, struct record_error *e)
{
	struct span name;

	buf_clear(&s->topic);
	buf_clear(&s->scratch);
	if (s->name)
		return template_expand(s->name, r, &s->scratch, &s->topic, e);
	if (r->topic.type == JSON_STRING && !json_string(&r->topic, &s->scratch, &name))
		buf_span(&s->topic, name);
	else if (record_name(&r->channel, &r->channel_b64, &s->scratch, &name, e) == RECORD_BYTES ||
		record_name(&r->stream, &r->stream_b64, &s->scratch, &name, e) == RECORD_BYTES)
		buf_span(&s->topic, name);
	if (s->topic.len)
		return 0;
	return record_refuse(e, CLASS_MISSING_FIELD,
		"it has no topic, channel or stream to name its event: give --topic");
}

static int put(struct evsse *s, const struct record *r, struct record_error *e)
{
	struct part_name part;
	struct place place;
	struct span payload;
	struct topic *t;
	enum record_bytes got;

	if (name_event(s, r, e))
		return -1;
	if (memchr(s->topic.p, '\0', s->topic.len))
		return record_refuse(e, CLASS_INVALID_RECORD, "the event's name has a NUL");
	buf_putc(&s->topic, '\0');
	s->topic.len--;
	buf_clear(&s->scratch);
	got = record_payload(r, &s->scratch, &payload, e);
	if (got == RECORD_BAD)
		return -1;
	if (got == RECORD_NULL || !entry_carries(payload))
		payload = SPAN_NONE;
	t = ring_topic(&s->ring, buf_as_span(&s->topic));
	if (!position_of(r, t->name, &part, &place))
		place = ring_count(&s->ring, &part);
	if (!t->came) {
		t->came = true;
		clients_see_topic(s, t);
	}
	ring_put(&s->ring, t, part, place, payload, r->line, record_int(&r->ts, -1));
	return 0;
}

/* A payload as a record. */
static struct span wrap(struct evsse *s, struct span payload)
{
	buf_clear(&s->line);
	buf_putc(&s->line, '{');
	record_put_bytes(&s->line, "payload", payload);
	buf_putc(&s->line, '}');
	return buf_as_span(&s->line);
}

static void on_line(struct evsse *s, struct span line)
{
	static const struct json_value none = {0};
	struct record r;
	struct record_error e = {0};
	struct sink_slot *slot;

	if (record_parse(&r, s->raw ? wrap(s, line) : line, &e)) {
		record_hint_raw(&e);
		sink_refuse_line(&s->sink, &r.seq, false, &e);
		return;
	}
	slot = sink_take(&s->sink, s->raw ? &none : &r.seq);
	if (!slot)
		return;
	if (put(s, &r, &e))
		sink_refuse(&s->sink, s->sink.tail - 1, e.class, true, "%s", e.message);
	else
		sink_done(slot);
}

static void on_lines(struct evsse *s)
{
	struct span line;

	/* A client that has all when a round begins is not passed by the ring in it. */
	size_t round = s->ring.keep / 2 + 1 < ROUND ? s->ring.keep / 2 + 1 : ROUND;

	for (size_t n = 0; n < round && !s->behind && sink_next(&s->sink, &line); n++)
		on_line(s, line);
	ring_tell(&s->ring, client_wake);
}

/* ---- the loop ---- */

/* After the end of input: whether clients are served still. */
static bool lingers(struct evsse *s)
{
	if (wake_signalled())
		return false;
	if (!s->until_ms)
		s->until_ms = s->now_ms + s->linger_ms;
	if (!s->leaving && s->now_ms < s->until_ms)
		return true;
	if (!s->leaving) {
		s->leaving = true;
		s->until_ms = s->now_ms + DRAIN_MS;
		http_drain(s->http);
	}
	clients_leave(s);
	return s->client_count && s->now_ms < s->until_ms;
}

static int timeout_ms(struct evsse *s)
{
	int ms = wake_least(sink_timeout_ms(&s->sink, s->now_ms), http_timeout_ms(s->http));

	ms = wake_least(ms, clients_tick_ms(s));
	ms = wake_least(ms, replays_timeout_ms(s));
	if (s->until_ms)
		ms = wake_least(ms, LOOK_MS);
	return s->behind ? 0 : ms;
}

static void loop(struct evsse *s)
{
	while (sink_runs(&s->sink) || lingers(s)) {
		struct pollfd p[SINK_FDS + 1 + REPLAY_FDS];

		s->now_ms = wake_now_ms();
		sink_poll(&s->sink, p, !s->behind);
		p[SINK_FDS] = (struct pollfd){.fd = http_fd(s->http), .events = POLLIN};
		replays_poll(s, &p[SINK_FDS + 1]);
		if (poll(p, SINK_FDS + 1 + REPLAY_FDS, timeout_ms(s)) < 0) {
			wake_poll_failed();
			continue;
		}
		s->now_ms = wake_now_ms();
		sink_serve(&s->sink, p);
		on_lines(s);
		replays_serve(s, &p[SINK_FDS + 1], clients_wake_replayed);
		clients_tick(s);
		s->behind = false;
		http_run(s->http);
		sink_flush(&s->sink, s->now_ms);
	}
}

/* ---- the command line ---- */

static void parse_options(int argc, char **argv)
{
	static const char *const examples[] = {
		"evpipe -n live kread -g live '^(orders|payments)$' '|' evsse --listen :8080",
		"tail -f access.log | evsse --raw --topic access",
		NULL,
	};
	static const struct opt_page page = {
		.prog = "evsse",
		.summary = "Sends records to browsers as server-sent events.",
		.examples = examples,
		.libraries = {http_library},
	};

	opt.listen = arg_str0(
		NULL, "listen", "ADDR", "HOST:PORT, :PORT or unix:PATH (default 127.0.0.1:8080)");
	opt.path = arg_str0(NULL, "path", "PATH", "of the streams (default /events/{topic})");
	opt.topic = arg_str0("t", "topic", "TEMPLATE",
		"the event's name (default: the record's topic, channel or stream)");
	opt.keep = arg_str0(
		NULL, "keep", "N", "events of each topic to resume clients from (default 1000)");
	opt.memory = arg_str0(NULL, "memory", "SIZE", "of all events that are kept (default 256M)");
	opt.replay = arg_str0(NULL, "replay", "COMMAND",
		"asked for events that are not kept any more: 'kread -b HOST:PORT'");
	opt.as =
		arg_str0(NULL, "as", "payload|record", "what an event's data is (default payload)");
	opt.retry = arg_str0(
		NULL, "retry", "TIME", "after about that long a client comes again (default 3s)");
	opt.heartbeat = arg_str0(
		NULL, "heartbeat", "TIME", "a comment to streams that are silent (default 15s)");
	opt.stuck = arg_str0(NULL, "stuck", "TIME",
		"a client that takes nothing for so long is cut off (default 60s)");
	opt.clients =
		arg_str0(NULL, "max-clients", "N", "others are told to come later (default 10000)");
	opt.headers = arg_str0(NULL, "max-headers", "SIZE",
		"of a request, and of what is sent at once (default 3584)");
	opt.idle = arg_str0(NULL, "idle", "TIME",
		"a connection without a request is closed after so long (default 10s)");
	opt.tokens = arg_file0(NULL, "token-file", "FILE",
		"who may read: a token a line, and patterns of topics behind it");
	opt.cookie = arg_str0(
		NULL, "token-cookie", "NAME", "the cookie that has the token (default token)");
	opt.cert = arg_file0(NULL, "cert", "FILE", "speak TLS, with this certificate (PEM)");
	opt.key = arg_file0(NULL, "key", "FILE", "its key (default: in the same file)");
	opt.origins = opt_many(NULL, "cors-origin", "URL", 0,
		"an origin whose pages may read the streams; *: any");
	opt.linger = arg_str0(
		NULL, "linger", "TIME", "serve on for so long after the end of input (default 0)");
	opt.raw = arg_lit0(NULL, "raw", "each line is a payload, not a record");
	opt.nul = arg_lit0("0", NULL, "lines end with NUL instead of LF");
	input_opts(&opt.input, INPUT_DEAD_TO_FILE);
	ack_opts(&opt.ack);
	opt_common(&opt.common);
	void *table[] = {opt.listen, opt.path, opt.topic, opt.keep, opt.memory, opt.replay, opt.as,
		opt.retry, opt.heartbeat, opt.stuck, opt.idle, opt.clients, opt.headers, opt.tokens,
		opt.cookie, opt.cert, opt.key, opt.origins, opt.linger, opt.raw, opt.nul,
		INPUT_ENTRIES(opt.input), ACK_ENTRIES(opt.ack), OPT_COMMON_ENTRIES(opt.common),
		arg_end(8)};
	opt_parse(argc, argv, table, &opt.common, &page);
}

static int64_t take_time(const struct arg_str *a, const char *name, int64_t absent_ms)
{
	int64_t ms = opt_duration_ms(a, name, absent_ms);

	if (ms <= 0)
		opt_bad("%s must be more than 0", name);
	return ms;
}

static void take_name(struct evsse *s)
{
	const char *text = opt_text(opt.topic, "--topic");
	char why[200];

	s->raw = opt.raw->count;
	if (s->raw && !text)
		opt_bad("lines of --raw have no topic: give --topic NAME");
	if (text && !(s->name = template_parse(text, why, sizeof(why))))
		opt_bad("'%s' is no template: %s", text, why);
	if (text && s->raw && !template_constant(s->name))
		opt_bad("lines of --raw have no fields for '%s'", text);
}

static void take_origins(struct evsse *s)
{
	struct buf all = {0};

	for (int i = 0; i < opt.origins->count; i++) {
		buf_puts(&all, opt.origins->sval[i]);
		buf_putc(&all, '\0');
	}
	if (all.len)
		buf_putc(&all, '\0');
	s->origins = all.p;
}

static void take_options(struct evsse *s)
{
	const char *as = opt_text(opt.as, "--as");

	if (as && strcmp(as, "payload") && strcmp(as, "record"))
		opt_bad("--as takes payload or record, not '%s'", as);
	s->as_record = as && strcmp(as, "record") == 0;
	s->retry_ms = take_time(opt.retry, "--retry", 3000);
	s->heartbeat_ms = take_time(opt.heartbeat, "--heartbeat", 15000);
	s->stuck_ms = take_time(opt.stuck, "--stuck", 60000);
	s->linger_ms = opt_duration_ms(opt.linger, "--linger", 0);
	s->max_clients = (uint64_t)opt_int(opt.clients, "--max-clients", 10000, 1, 1000000);
	s->replay_command = opt_shell(opt.replay, "--replay");
	s->replay_shown = opt_text(opt.replay, "--replay");
	take_name(s);
	take_origins(s);
	ring_open(&s->ring, (size_t)opt_int(opt.keep, "--keep", 1000, 1, 10000000),
		(size_t)opt_size(opt.memory, "--memory", 256 << 20));
}

static void count(struct evsse *s)
{
	metrics_gauge("clients", "Streams that are open.", METRICS_PIPELINE, &s->client_count);
	metrics_counter("deliveries_total", "Events that clients have taken, each for each client.",
		METRICS_PIPELINE, &s->delivered);
	metrics_counter(
		"gaps_total", "Times that a client was told of a gap.", METRICS_PIPELINE, &s->gaps);
	metrics_counter("replays_total", "Runs of the --replay command.", METRICS_PIPELINE,
		&s->replays_started);
	metrics_counter("repeated_total", "Records that came again, and were left out.",
		METRICS_PIPELINE, &s->ring.repeated);
	metrics_counter("clients_refused_total", "Clients that were told to come later.",
		METRICS_PIPELINE, &s->too_many);
	metrics_gauge("kept_events", "Events in the ring.", METRICS_PIPELINE, &s->ring.entries);
}

static void open_server(struct evsse *s)
{
	const char *cert = opt_file(opt.cert, "--cert"), *key = opt_file(opt.key, "--key");
	struct http_conf limits = {0};
	/* With the answer 4 KiB, of a client's 6. */
	int64_t bytes = opt_size(opt.headers, "--max-headers", 4096 - ANSWER_BYTES);

	if (bytes < 1024 || bytes > 1 << 20)
		opt_bad("--max-headers must be between 1K and 1M");
	if (key && !cert)
		opt_bad("--key needs --cert");
	pair_read(&limits, cert, key);
	limits.max_head = (size_t)bytes;
	limits.memory = limits.max_head + ANSWER_BYTES;
	limits.idle_s = (unsigned)((take_time(opt.idle, "--idle", 10000) + 999) / 1000);
	s->access = access_open(opt_file(opt.tokens, "--token-file"),
		opt.cookie->count ? opt_text(opt.cookie, "--token-cookie") : "token");
	serve_open(s, opt.listen->count ? opt_text(opt.listen, "--listen") : "127.0.0.1:8080",
		opt.path->count ? opt_text(opt.path, "--path") : "/events/{topic}", &limits);
}

int main(int argc, char **argv)
{
	struct evsse *s = &self;
	int status;

	parse_options(argc, argv);
	take_options(s);
	count(s);
	srandom((unsigned)wake_now_us());
	s->now_ms = wake_now_ms();
	open_server(s);
	sink_open(&s->sink,
		&(struct sink_setup){.input = &opt.input,
			.ack = &opt.ack,
			.raw = s->raw,
			.end = opt.nul->count ? '\0' : '\n',
			.role = ACK_SINK,
			.slot_bytes = sizeof(struct sink_slot),
			.slots = SLOTS,
			.window_bytes = WINDOW_BYTES,
			.self = s});
	metrics_set_ready(true);
	loop(s);
	serve_close(s);
	replays_end(s);
	status = sink_close(&s->sink);
	ring_close(&s->ring);
	template_free(s->name);
	access_close(s->access);
	free(s->origins);
	return status;
}
