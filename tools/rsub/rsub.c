/* SPDX-License-Identifier: ISC */
/* rsub - print what is published on Redis channels as records.
 *
 * DESIGN: one connection, one poll() loop. Messages are read where they stand in the receive buffer
 * and printed straight into the output buffer; nothing is allocated for a message. Output is
 * written before every wait.
 *
 * - While output is pending nothing is read, so memory is bounded by OUT_BLOCK, one message and one read.
 *   Redis then keeps the messages, up to its client-output-buffer-limit, at which it closes the connection.
 * - Pub/sub cannot replay. A connection lost after all subscriptions were confirmed is a gap: it is counted
 *   at once, and reported when it is over or the program ends.
 * - rsub is ready while all subscriptions are confirmed.
 * - With a socket each record has a number, and at the end rsub reports how many records nobody has
 *   acknowledged (flow/source.h). Reading never waits for acknowledgements, since Redis would not wait.
 * - SIGTERM: reading stops, the output is written, exit 0; a second signal ends rsub at once.
 * - If the reader goes, POLLERR on standard output reports it, on an idle channel too.
 *
 * - With -s streams are read in place of channels: see streams.c.
 *
 * Files: rsub.c the command line and the loop; pubsub.c subscriptions and messages; streams.c streams. */
#include "base/line.h"
#include "base/metrics.h"
#include "base/msg.h"
#include "base/opt.h"
#include "base/trouble.h"
#include "base/wake.h"
#include "flow/source.h"
#include "net/tls.h"
#include "redis/url.h"
#include "rsub/pubsub.h"
#include "rsub/streams.h"

#include <errno.h>
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
	struct arg_str *patterns, *max_line, *channels;
	struct arg_file *channels_from, *patterns_from;
	struct arg_lit *raw, *nul, *shard;
} opt;

static struct rsub {
	struct source source;
	bool reads_streams;
	struct pubsub pubsub;
	struct streams streams;
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
	};

	opt.patterns =
		opt_many("p", "pattern", "PATTERN", 0, "subscribe to the channels that match");
	opt.channels_from = arg_file0(NULL, "channels-from", "FILE",
		"subscribe to the channels that FILE names, one a line");
	opt.patterns_from = arg_file0(NULL, "patterns-from", "FILE", "the same for patterns");
	opt.shard = arg_lit0(NULL, "shard",
		"the channels are sharded ones (SSUBSCRIBE): in a cluster of one slot");
	opt.raw = arg_lit0(NULL, "raw", "print payloads alone, one a line");
	opt.nul = arg_lit0("0", NULL, "end lines with NUL instead of LF");
	opt.max_line = arg_str0(NULL, "max-line", "SIZE", "longest line printed (default 64M)");
	opt.channels = opt_many(NULL, NULL, "CHANNEL", 0, "a channel's name; with -s a stream's");
	streams_opts(&opt.streams);
	source_opts(&opt.source);
	redis_opts(&opt.redis);
	opt_common(&opt.common);
	void *table[] = {opt.patterns, opt.channels_from, opt.patterns_from, opt.shard, opt.raw,
		opt.nul, opt.max_line, STREAMS_ENTRIES(opt.streams), SOURCE_ENTRIES(opt.source),
		REDIS_ENTRIES(opt.redis), OPT_COMMON_ENTRIES(opt.common), opt.channels, arg_end(8)};
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
	t->raw = opt.raw->count;
	t->end = opt.nul->count ? '\0' : '\n';
	t->max_line = (size_t)opt_size(opt.max_line, "--max-line", LINE_MAX_DEFAULT);
	t->source = &s->source;
	streams_take(t, &opt.streams);
}

static void take_channels(struct rsub *s)
{
	struct pubsub *b = &s->pubsub;

	if (streams_options(&opt.streams))
		opt_bad("%s is for a stream: -s", streams_options(&opt.streams));
	names_take(&b->channels, opt.channels, opt.channels_from, "--channels-from", "CHANNEL");
	names_take(&b->patterns, opt.patterns, opt.patterns_from, "--patterns-from", "PATTERN");
	if (!b->channels.count && !b->patterns.count)
		opt_bad("name a CHANNEL or a -p PATTERN");
	for (int i = 0; opt.patterns->count && i < opt.channels->count; i++)
		if (strpbrk(opt.channels->sval[i], "*?["))
			msg_warn("'%s' is the name of a channel; -p goes before each pattern",
				opt.channels->sval[i]);
	if (opt.shard->count && b->patterns.count)
		opt_bad("--shard is for channels: there are no patterns for sharded ones");
	b->shard = opt.shard->count;
	b->raw = opt.raw->count;
	b->end = opt.nul->count ? '\0' : '\n';
	b->max_line = (size_t)opt_size(opt.max_line, "--max-line", LINE_MAX_DEFAULT);
	b->source = &s->source;
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

/* ---- the loop ---- */

static void loop(struct rsub *s)
{
	bool streams = s->reads_streams;

	while (source_phase(&s->source) < (streams ? SOURCE_OVER : SOURCE_LEAVING)) {
		struct pollfd p[SOURCE_FDS + REDIS_FDS];
		nfds_t fds = SOURCE_FDS;
		int64_t now_ms = wake_now_ms();
		int timeout =
			wake_least(metrics_tick(now_ms), source_timeout_ms(&s->source, now_ms));

		source_poll(&s->source, p);
		fds += (nfds_t)(streams ? streams_poll(&s->streams, &p[SOURCE_FDS])
					: pubsub_poll(&s->pubsub, &p[SOURCE_FDS]));
		timeout = wake_least(timeout,
			streams ? streams_timeout_ms(&s->streams, now_ms)
				: pubsub_timeout_ms(&s->pubsub, now_ms));
		if (poll(p, fds, timeout) < 0) {
			if (errno != EINTR)
				die(EXIT_TEMP, "cannot poll: %s", strerror(errno));
			continue;
		}
		now_ms = wake_now_ms();
		source_serve(&s->source, p, now_ms);
		if (streams)
			streams_serve(&s->streams, &p[SOURCE_FDS], now_ms);
		else
			pubsub_serve(&s->pubsub, &p[SOURCE_FDS], now_ms);
		source_step(&s->source, now_ms);
		if (!out_pending(&s->source.out) && s->source.out.b.cap > LARGE)
			buf_free(&s->source.out.b);
	}
}

static int run_pubsub(struct rsub *s)
{
	source_open(&s->source, false, WINDOW);
	pubsub_open(&s->pubsub, &opt.redis);
	loop(s);
	pubsub_close(&s->pubsub);
	return s->pubsub.refused ? EXIT_REFUSED : EXIT_DONE;
}

static int run_streams(struct rsub *s)
{
	streams_open(&s->streams, &opt.redis);
	loop(s);
	streams_close(&s->streams);
	return s->streams.status;
}

int main(int argc, char **argv)
{
	struct rsub *s = &self;
	int status;

	parse_options(argc, argv);
	take_options(s);
	status = s->reads_streams ? run_streams(s) : run_pubsub(s);
	metrics_flush();
	return trouble_worse(source_close(&s->source), status);
}
