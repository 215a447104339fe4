/* SPDX-License-Identifier: ISC */
/* rsub - print what is published on Redis channels as records.
 *
 * DESIGN: one connection, one poll() loop. Messages are read where they stand in the receive buffer
 * and printed straight into the output buffer; nothing is allocated for a message. Output is
 * written before every wait.
 *
 * - While output is pending nothing is read, so memory is bounded by OUT_BLOCK, one message and one
 *   read.
 *   Redis then keeps the messages, up to its client-output-buffer-limit, at which it closes the
 *   connection.
 * - Pub/sub cannot replay. A connection lost after all subscriptions were confirmed is a gap: it is
 *   counted
 *   at once, and reported when it is over or the program ends.
 * - rsub is ready while all subscriptions are confirmed.
 * - With a socket each record has a number, and at the end rsub reports how many records nobody has
 *   acknowledged (flow/source.h). Reading never waits for acknowledgements, since Redis would not
 *   wait.
 * - SIGTERM: reading stops, the output is written, exit 0; a second signal ends rsub at once.
 * - If the reader goes, POLLERR on standard output reports it, on an idle channel too.
 *
 * - With -s streams are read in place of channels: see streams.c.
 * - In a cluster streams, and sharded channels, of several slots are read by a connection for each
 *   slot.
 *
 * Files: rsub.c the command line and the loop; whole.c what the connections have in common;
 * pubsub.c subscriptions and messages; streams.c streams. */
#include "base/line.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/msg.h"
#include "base/opt.h"
#include "base/trouble.h"
#include "base/wake.h"
#include "flow/source.h"
#include "net/tls.h"
#include "redis/url.h"
#include "rsub/list.h"
#include "rsub/pubsub.h"
#include "rsub/streams.h"

#include <poll.h>
#include <string.h>

enum {
	WINDOW = 1 << 18, /* open records at most: more than the pipeline holds */
	LARGE = 4 << 20, /* an output buffer over this is given back when empty */
};

static struct {
	struct opt_common common;
	struct redis_opts redis;
	struct source_opts source;
	struct streams_opts streams;
	struct arg_str *patterns, *max_line, *channels, *list;
	struct arg_file *channels_from, *patterns_from;
	struct arg_lit *raw, *nul, *shard;
} opt;

static struct rsub {
	struct source source;
	struct whole whole;
	bool reads_streams;
	struct pubsub pubsub; /* the options, of which each connection has a copy */
	struct streams streams;
	/* connections */
	struct redis_url url;
	struct names *parts; /* what each of them reads */
	struct pubsub *subscribers;
	struct streams *readers;
	struct pollfd *poll;
	int *polled; /* how many of poll's entries each has */
} self;

/* ---- the command line ---- */

static void parse_options(int argc, char **argv)
{
	static const char *const examples[] = {
		"rsub -p 'sse:*' | evkey .tenantId | kwrite -t '{channel#sse:}'",
		"rsub -u \"$CACHE\" --raw -c 10 news",
		"evpipe -n up rsub -s events -g up '|' kwrite -t events",
		NULL,
	};
	static const struct opt_page page = {
		.prog = "rsub",
		.summary =
			"Prints what is published on Redis channels, or stands in streams, as records.",
		.examples = examples,
		.libraries = {link_library, tls_library},
		.hints = redis_hints,
	};

	opt.patterns =
		opt_many("p", "pattern", "PATTERN", 0, "subscribe to the channels that match");
	opt.channels_from = arg_file0(NULL, "channels-from", "FILE",
		"subscribe to the channels that FILE names, one a line");
	opt.patterns_from = arg_file0(NULL, "patterns-from", "FILE", "the same for patterns");
	opt.shard = arg_lit0(NULL, "shard", "the channels are sharded ones (SSUBSCRIBE)");
	opt.raw = arg_lit0(NULL, "raw", "print payloads alone, one a line");
	opt.nul = arg_lit0("0", NULL, "end lines with NUL instead of LF");
	opt.max_line = arg_str0(NULL, "max-line", "SIZE", "longest line printed (default 64M)");
	opt.list = arg_str0(NULL, "names", "channels|streams",
		"print the names of channels that have subscribers, or of streams, and no more");
	opt.channels = opt_many(NULL, NULL, "CHANNEL", 0, "a channel's name; with -s a stream's");
	streams_opts(&opt.streams);
	source_opts(&opt.source);
	redis_opts(&opt.redis);
	opt_common(&opt.common);
	void *table[] = {opt.patterns, opt.channels_from, opt.patterns_from, opt.shard, opt.raw,
		opt.nul, opt.max_line, opt.list, STREAMS_ENTRIES(opt.streams),
		SOURCE_ENTRIES(opt.source), REDIS_ENTRIES(opt.redis),
		OPT_COMMON_ENTRIES(opt.common), opt.channels, arg_end(8)};
	opt_parse(argc, argv, table, &opt.common, &page);
}

static void take_streams(struct rsub *s)
{
	struct streams *t = &s->streams;

	if (opt.patterns->count || opt.channels_from->count || opt.patterns_from->count ||
		opt.shard->count)
		opt_bad("streams and channels are read by two programs: -s does not go with -p, --channels-from, --patterns-from, --shard");
	names_take(&t->names, opt.streams.streams, NULL, NULL, "STREAM");
	/* An operand behind -s is one more. */
	names_take(&t->names, opt.channels, NULL, NULL, "STREAM");
	names_once(&t->names);
	t->raw = opt.raw->count;
	t->end = opt.nul->count ? '\0' : '\n';
	t->max_line = (size_t)opt_size(opt.max_line, "--max-line", LINE_MAX_DEFAULT);
	t->source = &s->source;
	t->whole = &s->whole;
	streams_take(t, &opt.streams);
}

/* What is taken for a name is most likely something else, and rsub would wait for it in silence. */
static void doubt_names(void)
{
	static const char *const commands[] = {
		"subscribe", "psubscribe", "ssubscribe", "xread", "xreadgroup"};

	for (int i = 0; i < opt.channels->count; i++)
		if (strpbrk(opt.channels->sval[i], "*?["))
			msg_warn("'%s' is the name of a channel; -p goes before each pattern",
				opt.channels->sval[i]);
	for (int i = 0; i < opt.patterns->count; i++)
		if (!opt.patterns->sval[i][strspn(opt.patterns->sval[i], "0123456789")])
			msg_warn(
				"'%s' is a pattern of channels; a server's port is in -u redis://HOST:PORT",
				opt.patterns->sval[i]);
	for (size_t i = 0; opt.channels->count > 1 && i < sizeof(commands) / sizeof(*commands); i++)
		if (strcasecmp(opt.channels->sval[0], commands[i]) == 0)
			msg_warn("'%s' is the name of a channel: rsub subscribes by itself",
				opt.channels->sval[0]);
}

static void take_channels(struct rsub *s)
{
	struct pubsub *b = &s->pubsub;

	if (streams_options(&opt.streams))
		opt_bad("%s is for a stream: -s", streams_options(&opt.streams));
	names_take(&b->channels, opt.channels, opt.channels_from, "--channels-from", "CHANNEL");
	names_take(&b->patterns, opt.patterns, opt.patterns_from, "--patterns-from", "PATTERN");
	if (!b->channels.count && !b->patterns.count)
		opt_bad("name a CHANNEL, a -p PATTERN or a -s STREAM");
	doubt_names();
	if (opt.shard->count && b->patterns.count)
		opt_bad("--shard is for channels: there are no patterns for sharded ones");
	b->shard = opt.shard->count;
	b->raw = opt.raw->count;
	b->end = opt.nul->count ? '\0' : '\n';
	b->max_line = (size_t)opt_size(opt.max_line, "--max-line", LINE_MAX_DEFAULT);
	b->source = &s->source;
	b->whole = &s->whole;
}

static void take_list(struct list *l)
{
	const char *kind = opt_text(opt.list, "--names");

	l->kind = LIST_CHANNELS;
	if (strcmp(kind, "streams") == 0)
		l->kind = LIST_STREAMS;
	else if (strcmp(kind, "channels") != 0)
		opt_bad("--names takes channels or streams, not '%s'", kind);
	else if (opt.shard->count)
		l->kind = LIST_SHARD_CHANNELS;
	if (opt.channels->count || opt.streams.streams->count || opt.patterns->count > 1 ||
		opt.channels_from->count || opt.patterns_from->count)
		opt_bad("--names goes with one -p PATTERN, and names nothing else");
	l->pattern = opt.patterns->count ? opt.patterns->sval[0] : NULL;
	l->end = opt.nul->count ? '\0' : '\n';
	l->limit_ms = opt_duration_ms(opt.source.idle_exit, "--idle-exit", LIST_MS);
}

static void take_options(struct rsub *s)
{
	source_take(&s->source, &opt.source);
	s->reads_streams = opt.streams.streams->count;
	if (s->reads_streams)
		take_streams(s);
	else
		take_channels(s);
}

/* ---- connections ---- */

static void *copies(size_t count, const void *of, size_t size)
{
	char *p = mem_alloc(count * size);

	for (size_t i = 0; i < count; i++)
		memcpy(p + i * size, of, size);
	return p;
}

/* In a cluster a connection has the names of one slot: what it waits for there holds up nothing
 * else. */
static void part(struct rsub *s, const struct names *names, bool by_slot)
{
	size_t count;

	redis_url_read(&s->url, &opt.redis);
	s->whole.source = &s->source;
	s->whole.count = whole_part(names, by_slot && s->url.kind == REDIS_CLUSTER, &s->parts);
	count = (size_t)s->whole.count;
	s->poll = mem_alloc((SOURCE_FDS + count * REDIS_FDS) * sizeof(*s->poll));
	s->polled = mem_alloc(count * sizeof(*s->polled));
	metrics_counter("gaps_total", "Interruptions in which messages may be missing.",
		METRICS_PIPELINE, &s->whole.gaps);
}

static void on_settled(void *ctx, struct ledger_part *p, int64_t at, int64_t low)
{
	struct rsub *s = ctx;
	int i = s->whole.count - 1;

	while (-1 - p->partition < s->readers[i].first_part)
		i--;
	streams_settled(&s->readers[i], p->partition, (struct id){(uint64_t)at, (uint64_t)low});
}

static void open_streams(struct rsub *s)
{
	enum { LOOSE = 1 << 18 }; /* open records at most, where nothing waits for them */
	struct streams *all = &s->streams;
	int first = 0;

	source_open(&s->source, all->follows, all->follows ? all->window : LOOSE);
	if (all->follows) {
		s->source.settled = on_settled;
		s->source.settled_ctx = s;
	}
	metrics_counts(METRICS_IN | METRICS_ERRORS | METRICS_DEAD_LETTERS);
	part(s, &all->names, true);
	metrics_counter("lost_records_total",
		"Records that were trimmed or deleted before they were read.", METRICS_PIPELINE,
		&s->whole.lost);
	metrics_counter("put_back_total",
		"Entries on their way that were pending no more, and are again.", METRICS_PIPELINE,
		&s->whole.put_back);
	s->readers = copies((size_t)s->whole.count, all, sizeof(*all));
	for (int i = 0; i < s->whole.count; i++) {
		s->readers[i].names = s->parts[i];
		s->readers[i].first_part = first;
		first += s->parts[i].count;
		streams_open(&s->readers[i], &s->url);
	}
	if (all->follows)
		exact_open(&s->whole.exact, &s->source, s->readers, s->whole.count);
}

static void open_channels(struct rsub *s)
{
	const struct pubsub *all = &s->pubsub;

	source_open(&s->source, false, WINDOW);
	metrics_counts(METRICS_IN | METRICS_ERRORS);
	part(s, &all->channels, all->shard);
	if (s->source.ledger && !all->raw)
		s->whole.account = ledger_assign(s->source.ledger, NULL, -1, NULL);
	s->subscribers = copies((size_t)s->whole.count, all, sizeof(*all));
	for (int i = 0; i < s->whole.count; i++) {
		s->subscribers[i].channels = s->parts[i];
		pubsub_open(&s->subscribers[i], &s->url);
	}
}

/* ---- the loop ---- */

/* Returns how many entries there are; lowers *@timeout. */
static nfds_t poll_all(struct rsub *s, int64_t now_ms, int *timeout)
{
	nfds_t fds = SOURCE_FDS;

	for (int i = 0; i < s->whole.count; i++) {
		struct pollfd *p = &s->poll[fds];

		s->polled[i] = s->reads_streams ? streams_poll(&s->readers[i], p)
						: pubsub_poll(&s->subscribers[i], p);
		fds += (nfds_t)s->polled[i];
		*timeout = wake_least(*timeout,
			s->reads_streams ? streams_timeout_ms(&s->readers[i], now_ms)
					 : pubsub_timeout_ms(&s->subscribers[i], now_ms));
	}
	return fds;
}

static void serve_all(struct rsub *s, int64_t now_ms)
{
	struct pollfd *p = &s->poll[SOURCE_FDS];
	bool left = true;

	for (int i = 0; i < s->whole.count; p += s->polled[i++])
		if (s->reads_streams) {
			streams_serve(&s->readers[i], p, now_ms);
			left &= streams_left(&s->readers[i]);
		} else {
			pubsub_serve(&s->subscribers[i], p, now_ms);
		}
	if (s->whole.stalled)
		metrics_up("redis", false);
	if (s->reads_streams && left && source_phase(&s->source) == SOURCE_LEAVING)
		source_left(&s->source);
}

static void loop(struct rsub *s)
{
	while (source_phase(&s->source) < (s->reads_streams ? SOURCE_OVER : SOURCE_LEAVING)) {
		int64_t now_ms = wake_now_ms();
		int timeout =
			wake_least(metrics_tick(now_ms), source_timeout_ms(&s->source, now_ms));
		nfds_t fds;

		source_poll(&s->source, s->poll);
		fds = poll_all(s, now_ms, &timeout);
		if (poll(s->poll, fds, timeout) < 0) {
			wake_poll_failed();
			continue;
		}
		now_ms = wake_now_ms();
		source_serve(&s->source, s->poll, now_ms);
		serve_all(s, now_ms);
		source_step(&s->source, now_ms);
		if (!out_pending(&s->source.out) && s->source.out.b.cap > LARGE)
			buf_free(&s->source.out.b);
	}
}

static int run_pubsub(struct rsub *s)
{
	open_channels(s);
	loop(s);
	for (int i = 0; i < s->whole.count; i++)
		pubsub_close(&s->subscribers[i]);
	if (s->whole.refused)
		msg_warn("%llu %s refused", (unsigned long long)s->whole.refused,
			PLURAL(s->whole.refused, "message was", "messages were"));
	return s->whole.refused ? EXIT_REFUSED : EXIT_DONE;
}

static int run_streams(struct rsub *s)
{
	int status = EXIT_DONE;

	open_streams(s);
	loop(s);
	for (int i = 0; i < s->whole.count; i++) {
		streams_close(&s->readers[i]);
		status = trouble_worse(status, s->readers[i].status);
	}
	exact_close(&s->whole.exact);
	return trouble_worse(status, dead_close(&s->whole.dead));
}

int main(int argc, char **argv)
{
	struct rsub *s = &self;
	int status;

	parse_options(argc, argv);
	if (opt.list->count) {
		struct list list = {0};

		take_list(&list);
		return list_names(&list, &opt.redis);
	}
	take_options(s);
	status = s->reads_streams ? run_streams(s) : run_pubsub(s);
	metrics_flush();
	return trouble_worse(source_close(&s->source), status);
}
