/* SPDX-License-Identifier: ISC */
/* rpub - publish records on Redis channels, or add them to streams.
 *
 * DESIGN: lines are turned into PUBLISH commands straight in the connection's output buffer, and
 * replies are read in place, many commands being out at any time.
 *
 * - The commands that a lost connection left unanswered are encoded again, in order: published at
 *   least once,
 *   the order of a channel kept, nothing that was read lost.
 * - A record is done when Redis has answered its PUBLISH, and a ROLE behind it with "master"
 *   (redis/client.h).
 * - While Redis is away no input is read. The sink's window bounds what is kept.
 * - A refused record has a slot, with nothing sent for it or sent again.
 * - EOF: all records done, then exit; 111 without the source's word that this is all. First
 *   SIGTERM:
 *   ignored while input is open; the second, or one after EOF, ends it at once, and so does the
 *   first while
 *   Redis is away and nobody writes to the input any more. --retry-for ends it with 99.
 *
 * - With --stream entries are added instead: see stream.c.
 *
 * Files: rpub.c the command line, Redis, the loop; command.c makes commands of lines; publish.c
 * messages; stream.c entries, entry.c their commands, known.c what --id offset checks, start.c
 * where the source begins then. */
#include "rpub/rpub.h"

#include "base/msg.h"
#include "base/metrics.h"
#include "base/num.h"
#include "base/opt.h"
#include "base/wake.h"
#include "flow/rsink.h"
#include "net/tls.h"

#include <string.h>
#include <unistd.h>

enum {
	SLOTS = 4096,
	WINDOW_BYTES = 1 << 20,
};

static struct {
	struct opt_common common;
	struct input_opts input;
	struct ack_opts ack;
	struct sink_opts sink;
	struct redis_opts redis;
	struct arg_lit *raw, *nul, *pass, *shard;
	struct arg_str *channel, *stream, *maxlen, *minid, *id, *field, *key_field, *min_receivers,
		*on_few, *wait;
} opt;

static struct rpub self;

static void on_redis(struct rpub *s, const struct pollfd *p, int64_t now_ms)
{
	struct link_reply reply;
	enum redis_got got;

	s->now_ms = now_ms;
	rsink_step(&s->sink, &s->redis, p, now_ms);
	if (s->stream.is_stalled) {
		metrics_up("redis", false);
		metrics_set_ready(false);
	}
	while ((got = redis_next(&s->redis, &reply)) != REDIS_NONE)
		if (s->to_stream)
			stream_result(s, got, &reply);
		else
			publish_result(s, got, &reply);
	if (s->unsent && s->redis.state == REDIS_UP)
		publish_again(s);
}

/* Whether lines are taken now. */
static bool takes(const struct rpub *s)
{
	return s->redis.state == REDIS_UP && (s->to_stream ? stream_takes(s) : publish_takes(s));
}

static void on_lines(struct rpub *s)
{
	if (s->redis.state != REDIS_UP)
		return;
	if (s->to_stream)
		stream_lines(s);
	else if (publish_takes(s))
		publish_lines(s);
}

/* ---- the loop ---- */

static void loop(struct rpub *s)
{
	while (sink_runs(&s->sink)) {
		int64_t now_ms = wake_now_ms();
		struct pollfd p[RSINK_FDS];
		int timeout_ms = -1;

		if ((s->holds && !s->out) || s->stream.is_stalled)
			timeout_ms = s->try_ms > now_ms ? (int)(s->try_ms - now_ms) : 0;
		if (!rsink_wait(&s->sink, &s->redis, p, takes(s), timeout_ms))
			continue;
		now_ms = wake_now_ms();
		on_redis(s, p, now_ms);
		sink_serve(&s->sink, p);
		sink_server(&s->sink,
			s->redis.state == REDIS_UP && !s->holds && !s->stream.is_stalled, now_ms);
		on_lines(s);
		rsink_flush(&s->sink, &s->redis, now_ms);
		start_ask(s, now_ms);
	}
}

/* ---- the command line ---- */

static void set_name(struct rpub *s, const char *text)
{
	char why[200];
	const char *constant;

	s->template = template_parse(text, why, sizeof(why));
	if (!s->template)
		opt_bad("'%s' is no template: %s", text, why);
	constant = template_constant(s->template);
	if (constant && !s->to_stream)
		command_prefix(&s->prefix, s->to_shard, (struct span){constant, strlen(constant)});
	if (!constant && s->raw)
		opt_bad("lines of --raw have no fields for '%s'", text);
}

static void hand_on(void *rpub, const struct sink_slot *slot, struct span line, struct buf *out)
{
	command_pass(rpub, line, (const struct rpub_slot *)slot, out);
}

static void parse_options(int argc, char **argv)
{
	static const char *const examples[] = {
		"evpipe -n bridge kread -g bridge '^(orders|payments)$' '|' rpub 'sse:{topic}' --dead-letter dead.ndjson",
		"tail -f events.log | rpub --raw -u \"$CACHE\" events",
		"evpipe -n down kread -g down orders '|' rpub --stream '{topic}-{partition}' --id offset --maxlen '~1000000' --dead-letter dead.ndjson",
		NULL,
	};
	static const struct opt_page page = {
		.prog = "rpub",
		.summary =
			"Publishes each record's payload on a Redis channel, or adds it to a stream.",
		.examples = examples,
		.libraries = {link_library, tls_library},
		.hints = redis_hints,
	};

	opt.raw = arg_lit0(NULL, "raw", "each line is a payload, not a record");
	opt.nul = arg_lit0("0", NULL, "lines end with NUL instead of LF");
	opt.pass = arg_lit0(NULL, "pass",
		"hand each record on, with where it was published: a filter, not a sink");
	opt.shard = arg_lit0(NULL, "shard",
		"CHANNEL is a sharded channel (SPUBLISH): in a cluster one of a slot's nodes");
	opt.stream = arg_str0(NULL, "stream", "STREAM",
		"add entries to this stream, a template: 'events:{topic}'");
	opt.maxlen = arg_str0(NULL, "maxlen", "[~]N",
		"keep N entries, or with ~ about so many, and trim older ones");
	opt.minid = arg_str0(NULL, "minid", "[~]ID|TIME",
		"trim entries with smaller ids, or that are older than TIME (1h)");
	opt.id = arg_str0(NULL, "id", "auto|offset",
		"offset: the id is the record's offset, so that nothing is added twice");
	opt.field = arg_str0(NULL, "field", "NAME", "the field of the payload (default payload)");
	opt.key_field = arg_str0(
		NULL, "key-field", "NAME", "the field of the key (default: the key is left out)");
	opt.min_receivers = arg_str0(
		NULL, "min-receivers", "N", "a message is done when N subscribers have got it");
	opt.on_few = arg_str0(NULL, "on-few", "hold|refuse",
		"hold (default): publish it again until so many get it");
	opt.wait =
		arg_str0(NULL, "wait", "N", "a record is done when N replicas have it too (WAIT)");
	opt.channel =
		arg_str0(NULL, NULL, "CHANNEL", "a channel's name, a template: 'sse:{topic}'");
	redis_opts(&opt.redis);
	input_opts(&opt.input, INPUT_DEAD_TO_FILE);
	ack_opts(&opt.ack);
	sink_opts(&opt.sink);
	opt_common(&opt.common);
	void *table[] = {opt.channel, opt.shard, opt.stream, opt.maxlen, opt.minid, opt.id,
		opt.field, opt.key_field, opt.min_receivers, opt.on_few, opt.wait, opt.raw, opt.nul,
		opt.pass, INPUT_ENTRIES(opt.input), SINK_ENTRIES(opt.sink), ACK_ENTRIES(opt.ack),
		REDIS_ENTRIES(opt.redis), OPT_COMMON_ENTRIES(opt.common), arg_end(8)};
	opt_parse(argc, argv, table, &opt.common, &page);
}

/* "[~]THRESHOLD": returns the threshold. */
static const char *take_about(struct rpub_stream *t, const char *text)
{
	t->trim_about = text[0] == '~';
	return text + t->trim_about;
}

static void take_trim(struct rpub_stream *t, const char *maxlen, const char *minid)
{
	t->max_length = t->max_age_ms = -1;
	if (maxlen && minid)
		opt_bad("--maxlen and --minid exclude each other");
	if (maxlen) {
		t->trim = "MAXLEN";
		if (num_i64(take_about(t, maxlen), &t->max_length) || t->max_length < 0)
			opt_bad("--maxlen takes a number, or ~ and a number, not '%s'", maxlen);
		if (!t->max_length)
			opt_bad("--maxlen 0 would keep no entry: without --maxlen all are kept");
	}
	if (minid) {
		const char *text = take_about(t, minid);

		t->trim = "MINID";
		if (!id_parse((struct span){text, strlen(text)}, &t->min_id))
			return;
		if (num_duration_ms(text, &t->max_age_ms) || t->max_age_ms < 0)
			opt_bad("--minid takes an entry's id or a time such as 1h, not '%s'",
				minid);
		if (t->by_offset)
			opt_bad("--minid takes no time with --id offset: those ids are no times");
	}
}

/* No entry can have the id 0-0: what Redis says to that tells whether it would take another one. */
static void probe_stream(struct rpub *s)
{
	const char *name = template_constant(s->template);

	if (s->to_stream && name)
		redis_probe_stream(
			&s->redis, "an entry", 5, (const char *[]){"XADD", name, "0-0", "x", "x"});
	else if (s->to_stream)
		redis_probe(
			&s->redis, 5, (const char *[]){"XADD", "evpipe:probe", "0-0", "x", "x"});
}

static void take_stream(struct rpub *s)
{
	struct rpub_stream *t = &s->stream;
	const char *id = opt_text(opt.id, "--id");

	if (opt.channel->count)
		opt_bad("a record goes to a CHANNEL or to a --stream, not to both");
	if (opt.shard->count)
		opt_bad("--shard is for a channel");
	if (opt.min_receivers->count || opt.on_few->count)
		opt_bad("--min-receivers and --on-few are for channels");
	if (id && strcmp(id, "auto") && strcmp(id, "offset"))
		opt_bad("--id takes auto or offset, not '%s'", id);
	t->by_offset = id && strcmp(id, "offset") == 0;
	if (t->by_offset && s->raw)
		opt_bad("lines of --raw have no offset to be the id");
	take_trim(t, opt_text(opt.maxlen, "--maxlen"), opt_text(opt.minid, "--minid"));
	t->field = opt.field->count ? opt_text(opt.field, "--field") : "payload";
	t->key_field = opt_text(opt.key_field, "--key-field");
	if (t->key_field && strcmp(t->key_field, t->field) == 0)
		opt_bad("--field and --key-field must differ");
	s->to_stream = true;
}

static void take_channel(struct rpub *s)
{
	const char *few = opt_text(opt.on_few, "--on-few");

	if (!opt.channel->count)
		opt_bad("name a CHANNEL or a --stream");
	if (opt.maxlen->count || opt.minid->count || opt.id->count || opt.field->count ||
		opt.key_field->count)
		opt_bad("--maxlen, --minid, --id, --field and --key-field are for a --stream");
	if (few && strcmp(few, "hold") && strcmp(few, "refuse"))
		opt_bad("--on-few takes hold or refuse, not '%s'", few);
	if (few && !opt.min_receivers->count)
		opt_bad("--on-few needs --min-receivers N");
	s->to_shard = opt.shard->count;
	s->refuses_few = few && strcmp(few, "refuse") == 0;
	s->min_receivers = opt_int(opt.min_receivers, "--min-receivers", 0, 1, INT32_MAX);
}

static void take_options(struct rpub *s)
{
	s->raw = opt.raw->count;
	if (opt.stream->count)
		take_stream(s);
	else
		take_channel(s);
	set_name(s,
		s->to_stream ? opt_text(opt.stream, "--stream") : opt_text(opt.channel, "CHANNEL"));
}

int main(int argc, char **argv)
{
	struct rpub *s = &self;
	int status;

	parse_options(argc, argv);
	take_options(s);
	metrics_counter("receivers_zero_total", "Messages published to no subscriber.",
		METRICS_PIPELINE, &s->receivers_zero);
	redis_open(&s->redis, &opt.redis, REDIS_PUBLISHER);
	if (s->redis.cluster && s->min_receivers && !s->to_shard)
		die(EXIT_PERM,
			"--min-receivers goes with --shard in a cluster: for another channel a node counts "
			"its own subscribers alone");
	s->stream.spreads = s->redis.cluster && !s->stream.by_offset;
	probe_stream(s);
	redis_wait(&s->redis, (int)opt_int(opt.wait, "--wait", 0, 1, 1000));
	sink_open(&s->sink,
		&(struct sink_setup){.input = &opt.input,
			.ack = &opt.ack,
			.opts = &opt.sink,
			.raw = s->raw,
			.end = opt.nul->count ? '\0' : '\n',
			.role = opt.pass->count ? ACK_FILTER : ACK_SINK,
			.slot_bytes = sizeof(struct rpub_slot),
			.slots = SLOTS,
			.window_bytes = WINDOW_BYTES,
			.self = s,
			.hand_on = hand_on});
	if (s->stream.by_offset && !opt.pass->count)
		start_open(s);
	s->digits = 3;
	loop(s);
	status = sink_close(&s->sink);
	redis_close(&s->redis);
	template_free(s->template);
	return status;
}
