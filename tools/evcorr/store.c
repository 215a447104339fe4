/* SPDX-License-Identifier: ISC */
/* evcorr store - put replies into Redis, and wake those that wait for them.
 *
 * DESIGN: a sink. A reply is one script in Redis, so that nobody sees a part of it: the record is
 * appended to the list under its id, the list gets its time to live, and the channel of the id
 * hears the id, with the record if that is short.
 *
 * - A reply is done when Redis has answered, and a ROLE behind it with "master" (redis/client.h);
 *   with --wait also when
 *   so many replicas have it.
 * - The script goes by its digest. A server that does not know it (a new one, after a failover or
 *   SCRIPT FLUSH), or does
 *   not permit EVALSHA, gets its text.
 * - What a lost connection left unanswered is sent again, in order, and so is what a server without
 *   the script has
 *   refused; nothing else is sent before that. A list that has this very record already stays as it
 *   is, and nobody is
 *   woken twice. Two replies of one call can only change places when another store has made the
 *   script known between
 *   them: none is lost by that.
 * - While Redis is away no input is read.
 * - What the script has found is its result: see `enum fate`. */
#include "evcorr/commands.h"
#include "evcorr/ident.h"

#include "base/metrics.h"
#include "base/msg.h"
#include "base/wake.h"
#include "flow/rsink.h"
#include "net/tls.h"
#include "redis/request.h"

#include <string.h>

enum {
	SLOTS = 4096,
	WINDOW_BYTES = 4 << 20,
	REPLY_MAX = 512 << 20, /* Redis's limit of a string */
};

/* Of a reply, as the script says it. */
enum fate {
	FATE_AGAIN, /* it was there already: sent twice by us */
	FATE_REPEATED, /* not kept: others were faster */
	FATE_LATE_OUT, /* its call has timed out: not kept */
	FATE_NOBODY_OUT, /* nobody listens: not kept */
	FATE_LATE, /* the same, kept */
	FATE_NOBODY,
	FATE_HEARD,
	FATE_COUNT
};

/* KEYS: the list, the mark of a call that has timed out. ARGV: the reply, its time to live in ms,
 * how many replies are kept, the channel, the id, whether late ones are not kept, and those that
 * nobody hears. */
#define PUSH_MAX "16384"
static const char script[] =
	"local k,r=KEYS[1],ARGV[1] "
	"local l=redis.call('LRANGE',k,0,-1) "
	"for i=1,#l do if l[i]==r then return 0 end end "
	"if #l>=tonumber(ARGV[3]) then return 1 end "
	"local late=redis.call('EXISTS',KEYS[2])==1 "
	"if late and ARGV[6]=='1' then return 2 end "
	"redis.call('RPUSH',k,r) "
	"redis.call('PEXPIRE',k,ARGV[2]) "
	"local n=redis.call('PUBLISH',ARGV[4],#r<=" PUSH_MAX " and ARGV[5]..' '..r or ARGV[5]) "
	"if late then return 4 end "
	"if n>0 then return 6 end "
	"if ARGV[7]=='1' then redis.call('DEL',k) return 3 end "
	"return 5";
/* What EVALSHA calls it. */
static const char script_sha[] = "0d9c5dbab4ddd6de8446379409f6baa3f046ca3e";

enum policy { POLICY_KEEP, POLICY_DROP, POLICY_REFUSE };

struct store_slot {
	struct sink_slot slot;
	bool sent, by_text;
};

struct store {
	struct redis redis;
	struct sink sink;
	struct ident ident;
	int64_t ttl_ms, replies;
	enum policy late, nobody, repeated;
	uint64_t unsent; /* slots to be sent again, once nothing is on its way */
	uint64_t out; /* scripts without a result */
	bool lost; /* some of unsent since the connection was lost */
	bool by_text; /* the server does not permit EVALSHA */
	uint64_t fates[FATE_COUNT], late_count, nobody_count;
	struct buf scratch, key, mark, channel, hex, line;
};

static struct {
	struct opt_common common;
	struct input_opts input;
	struct ack_opts ack;
	struct sink_opts sink;
	struct redis_opts redis;
	struct ident_opts ident;
	struct arg_str *ttl, *replies, *late, *nobody, *repeated, *wait;
} opt;

static struct store self;

static struct store_slot *slot_at(struct store *s, uint64_t i)
{
	return (struct store_slot *)sink_slot(&s->sink, i);
}

/* ---- replies to commands ---- */

/* Appends the record without its seq, which is the source's own affair. */
static void put_reply(const struct record *r, struct buf *out)
{
	static const char member[] = ",\"seq\":\"";
	const char *from, *to;

	if (r->seq.type != JSON_STRING) {
		buf_span(out, r->line);
		return;
	}
	from = r->seq.text.p - (sizeof(member) - 1);
	to = r->seq.text.p + r->seq.text.len + 1;
	if (from > r->line.p && memcmp(from, member, sizeof(member) - 1) == 0) {
		buf_put(out, r->line.p, (size_t)(from - r->line.p));
		buf_put(out, to, (size_t)(r->line.p + r->line.len - to));
	} else {
		record_set_seq(r, SPAN_NONE, out);
	}
}

/* Fills in s->key and so on. */
static int read_reply(struct store *s, struct span line, struct record *r, struct record_error *e)
{
	struct ident_call c;

	*r = (struct record){.line = line};
	if (record_parse(r, line, e)) {
		record_hint_raw(e);
		return -1;
	}
	if (ident_read(&s->ident, r, &s->scratch, &c, e))
		return -1;
	if (!c.id.p)
		return record_refuse(e, CLASS_MISSING_FIELD,
			"the record has no header '%s', so it is no reply", s->ident.id.p);
	if (line.len > REPLY_MAX)
		return record_refuse(e, CLASS_TOO_LARGE, "the reply is over 512 MB");
	buf_clear(&s->key);
	buf_clear(&s->mark);
	buf_clear(&s->channel);
	buf_clear(&s->hex);
	buf_clear(&s->line);
	ident_put_key(c.id, &s->key);
	ident_put_mark(c.id, &s->mark);
	ident_put_channel(c.id, &s->channel);
	ident_put_hex(c.id, &s->hex);
	put_reply(r, &s->line);
	return 0;
}

static void put_script(struct store *s, bool by_text, struct buf *out)
{
	request_begin(out, 12, by_text ? "EVAL" : "EVALSHA");
	request_word(out, by_text ? SPAN(script) : SPAN(script_sha));
	request_number(out, 2);
	request_word(out, buf_as_span(&s->key));
	request_word(out, buf_as_span(&s->mark));
	request_word(out, buf_as_span(&s->line));
	request_number(out, s->ttl_ms);
	request_number(out, s->replies);
	request_word(out, buf_as_span(&s->channel));
	request_word(out, buf_as_span(&s->hex));
	request_number(out, s->late != POLICY_KEEP);
	request_number(out, s->nobody != POLICY_KEEP && !s->redis.cluster);
}

static void send_reply(struct store *s, uint64_t i, bool by_text)
{
	struct store_slot *slot = slot_at(s, i);

	put_script(s, by_text, redis_begin(&s->redis, buf_as_span(&s->key)));
	redis_commit(&s->redis, i);
	slot->sent = true;
	slot->by_text = by_text;
	s->out++;
}

static bool takes_more(const struct store *s)
{
	return s->redis.state == REDIS_UP && !s->unsent;
}

static void on_lines(struct store *s)
{
	struct record_error e;
	struct span line;
	struct record r;

	while (takes_more(s) && sink_next(&s->sink, &line)) {
		e = (struct record_error){0};
		if (read_reply(s, line, &r, &e))
			sink_refuse_line(&s->sink, &r.seq, r.payload_name, &e);
		else if (sink_take(&s->sink, &r.seq))
			send_reply(s, s->sink.tail - 1, s->by_text);
	}
}

/* ---- results ---- */

static void on_left_out(struct store *s, uint64_t i, enum policy policy, const char *why)
{
	if (policy == POLICY_REFUSE) {
		sink_refuse(&s->sink, i, CLASS_TIMEOUT, true, "%s", why);
		return;
	}
	metrics.dropped++;
	sink_done(&slot_at(s, i)->slot);
}

static void on_fate(struct store *s, uint64_t i, enum fate fate)
{
	s->fates[fate]++;
	s->late_count = s->fates[FATE_LATE] + s->fates[FATE_LATE_OUT];
	s->nobody_count = s->fates[FATE_NOBODY] + s->fates[FATE_NOBODY_OUT];
	switch (fate) {
	case FATE_REPEATED:
		on_left_out(s, i, s->repeated, "the call has its reply already");
		break;
	case FATE_LATE_OUT:
		on_left_out(s, i, s->late, "the reply is late: its call has timed out");
		break;
	case FATE_NOBODY_OUT:
		on_left_out(s, i, s->nobody, "nobody waits for the reply");
		break;
	default:
		sink_done(&slot_at(s, i)->slot);
	}
}

static void take_back(struct store *s, uint64_t i)
{
	slot_at(s, i)->sent = false;
	s->unsent++;
}

static void on_error(struct store *s, uint64_t i, struct span text)
{
	enum redis_fault fault = redis_fault(text);
	int len;

	text = redis_cause(text);
	len = (int)(text.len < 200 ? text.len : 200);
	if (!slot_at(s, i)->by_text &&
		(span_starts(text, "NOSCRIPT") || span_starts(text, "NOPERM"))) {
		s->by_text = s->by_text || span_starts(text, "NOPERM");
		take_back(s, i);
	} else if (fault == REDIS_FAULT_AWAY) {
		s->lost = true;
		take_back(s, i);
		redis_lose(&s->redis, text);
	} else if (fault == REDIS_FAULT_CONFIG || span_starts(text, "ERR unknown command")) {
		sink_die(&s->sink, EXIT_PERM,
			"line %llu: redis at %s refuses to store a reply: %.*s%s",
			(unsigned long long)sink_slot(&s->sink, i)->number, redis_name(&s->redis),
			len, text.p, redis_advice(&s->redis, text));
	} else {
		sink_refuse(&s->sink, i,
			span_starts(text, "WRONGTYPE") ? CLASS_WRONG_TYPE : CLASS_REDIS, true,
			"redis says: %.*s", len, text.p);
	}
}

static void on_result(struct store *s, enum redis_got got, const struct link_reply *reply)
{
	s->out--;
	if (got == REDIS_AGAIN) {
		s->lost = true;
		take_back(s, reply->tag);
	} else if (reply->value.type == RESP_ERROR) {
		on_error(s, reply->tag, reply->value.text);
	} else if (reply->value.n >= 0 && reply->value.n < FATE_COUNT) {
		on_fate(s, reply->tag, (enum fate)reply->value.n);
	} else {
		on_fate(s, reply->tag, FATE_HEARD);
	}
}

static void send_again(struct store *s)
{
	struct record_error e;
	struct record r;

	if (s->lost)
		msg_info("%llu %s sent again", (unsigned long long)s->unsent,
			PLURAL(s->unsent, "reply without an answer is",
				"replies without an answer are"));
	for (uint64_t i = s->sink.head; s->unsent && i < s->sink.tail; i++) {
		struct store_slot *slot = slot_at(s, i);

		if (slot->sent || slot->slot.refused || slot->slot.done)
			continue;
		/* This cannot fail: it did not before. */
		if (read_reply(s, sink_text(&s->sink, &slot->slot), &r, &e))
			die(EXIT_TEMP, "cannot read a reply again: %s", e.message);
		send_reply(s, i, true);
		s->unsent--;
	}
	s->lost = false;
}

static void on_redis(struct store *s, const struct pollfd *p, int64_t now_ms)
{
	struct link_reply reply;
	enum redis_got got;

	rsink_step(&s->sink, &s->redis, p, now_ms);
	while ((got = redis_next(&s->redis, &reply)) != REDIS_NONE)
		on_result(s, got, &reply);
	if (s->unsent && !s->out && s->redis.state == REDIS_UP)
		send_again(s);
}

/* ---- the loop ---- */

static void loop(struct store *s)
{
	while (sink_runs(&s->sink)) {
		struct pollfd p[RSINK_FDS];
		int64_t now_ms;

		if (!rsink_wait(&s->sink, &s->redis, p, takes_more(s), -1))
			continue;
		now_ms = wake_now_ms();
		on_redis(s, p, now_ms);
		sink_serve(&s->sink, p);
		sink_server(&s->sink, s->redis.state == REDIS_UP, now_ms);
		on_lines(s);
		rsink_flush(&s->sink, &s->redis, now_ms);
	}
}

/* ---- the command line ---- */

static void parse_options(int argc, char **argv)
{
	static const char *const examples[] = {
		"evpipe -n replies kread -g replies replies '|' evcorr store",
		NULL,
	};
	static const struct opt_page page = {
		.prog = "evcorr",
		.summary = "Puts replies into Redis under their id, and wakes those that wait.",
		.examples = examples,
		.hints = input_hints,
		.libraries = {link_library, tls_library},
	};

	opt.ttl = arg_str0(NULL, "ttl", "TIME", "how long a reply stays in Redis (default 30s)");
	opt.replies = arg_str0(
		NULL, "replies", "N", "replies that are kept for each id (default 1: the first)");
	opt.late = arg_str0(NULL, "late", "keep|drop|refuse",
		"a reply whose call has timed out (default keep)");
	opt.nobody = arg_str0(NULL, "nobody", "keep|drop|refuse",
		"a reply that nobody is listening for (default keep)");
	opt.repeated = arg_str0(NULL, "repeated", "drop|refuse",
		"a reply above --replies for its id (default drop)");
	opt.wait =
		arg_str0(NULL, "wait", "N", "a reply is final when N replicas have it too (WAIT)");
	ident_opts(&opt.ident);
	redis_opts(&opt.redis);
	input_opts(&opt.input, INPUT_DEAD_TO_FILE);
	ack_opts(&opt.ack);
	sink_opts(&opt.sink);
	opt_common(&opt.common);
	void *table[] = {opt.ttl, opt.replies, opt.late, opt.nobody, opt.repeated, opt.wait,
		IDENT_ENTRIES(opt.ident), INPUT_ENTRIES(opt.input), SINK_ENTRIES(opt.sink),
		ACK_ENTRIES(opt.ack), REDIS_ENTRIES(opt.redis), OPT_COMMON_ENTRIES(opt.common),
		arg_end(8)};
	opt_parse(argc, argv, table, &opt.common, &page);
}

static enum policy take_policy(
	const struct arg_str *a, const char *name, const char *values, enum policy absent)
{
	const char *text = opt_text(a, name);

	if (!text)
		return absent;
	if (strcmp(text, "keep") == 0 && absent == POLICY_KEEP)
		return POLICY_KEEP;
	if (strcmp(text, "drop") == 0)
		return POLICY_DROP;
	if (strcmp(text, "refuse") == 0)
		return POLICY_REFUSE;
	opt_bad("%s takes %s, not '%s'", name, values, text);
}

static void take_options(struct store *s)
{
	ident_open(&s->ident, &opt.ident, NULL);
	s->ttl_ms = opt_duration_ms(opt.ttl, "--ttl", 30000);
	if (s->ttl_ms < 1)
		opt_bad("--ttl takes a time above 0");
	s->replies = opt_int(opt.replies, "--replies", 1, 1, 10000);
	s->late = take_policy(opt.late, "--late", "keep, drop or refuse", POLICY_KEEP);
	s->nobody = take_policy(opt.nobody, "--nobody", "keep, drop or refuse", POLICY_KEEP);
	s->repeated = take_policy(opt.repeated, "--repeated", "drop or refuse", POLICY_DROP);
	redis_open(&s->redis, &opt.redis, REDIS_PUBLISHER);
	redis_wait(&s->redis, (int)opt_int(opt.wait, "--wait", 0, 1, 1000));
	/* Nobody has this list, and nothing is added to one that is not there. */
	redis_probe(&s->redis, 3, (const char *const[]){"RPUSHX", "evcorr:{probe}", "x"});
	if (s->nobody != POLICY_KEEP && s->redis.cluster)
		opt_bad("--nobody: a node of a cluster does not know who listens at the others");
}

static void count(struct store *s)
{
	metrics_counter("heard_replies_total", "Replies that woke somebody.", METRICS_TOOL,
		&s->fates[FATE_HEARD]);
	metrics_counter("late_replies_total", "Replies whose call had timed out.", METRICS_TOOL,
		&s->late_count);
	metrics_counter("unheard_replies_total", "Replies that nobody was listening for.",
		METRICS_TOOL, &s->nobody_count);
	metrics_counter("repeated_replies_total", "Replies of calls that had theirs already.",
		METRICS_TOOL, &s->fates[FATE_REPEATED]);
	metrics_counts(METRICS_DROPPED);
}

int store_main(int argc, char **argv)
{
	struct store *s = &self;

	parse_options(argc, argv);
	take_options(s);
	count(s);
	sink_open(&s->sink,
		&(struct sink_setup){.input = &opt.input,
			.ack = &opt.ack,
			.opts = &opt.sink,
			.end = '\n',
			.role = ACK_SINK,
			.slot_bytes = sizeof(struct store_slot),
			.slots = SLOTS,
			.window_bytes = WINDOW_BYTES,
			.self = s});
	loop(s);
	redis_close(&s->redis);
	return sink_close(&s->sink);
}
