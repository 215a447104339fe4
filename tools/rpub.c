/* SPDX-License-Identifier: ISC */
/* rpub - publish records on Redis channels.
 *
 * DESIGN: lines are turned into PUBLISH commands straight in the connection's output buffer, and
 * replies are read in place, many commands being out at any time.
 *
 *	done <= answered <= sent <= tail	counts of records
 *
 * - A line stays in the input block until it is done: ring[done..tail) says where. A lost connection
 *   sets sent back to done and these lines are encoded again, in order: published at least once,
 *   the order of a channel kept, nothing that was read lost.
 * - An answered PUBLISH may have gone to a server that had just become a replica, which says
 *   nothing of it. So a record is done only when a ROLE sent behind it has come back as master: one
 *   for each CHECK_BYTES of input, or CHECK_MS after the last.
 * - The window (RING records, WINDOW bytes) bounds what is kept; when it is full, and while Redis is
 *   away, input is not read.
 * - A refused record is never in the ring; one that Redis refuses is marked, and not sent again.
 * - EOF: all records done, then exit. First SIGTERM: ignored while input is open; the second, or one
 *   after EOF, ends it at once. */
#include "die.h"
#include "input.h"
#include "metrics.h"
#include "opt.h"
#include "record.h"
#include "redis.h"
#include "template.h"
#include "wake.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

enum {
	RING = 4096, /* a power of 2 */
	WINDOW = 1 << 20,
	CHECK_BYTES = WINDOW / 4,
	CHECK_MS = 100,
	PAYLOAD_MAX = 512 << 20, /* of Redis, for a string */
};

struct entry {
	uint64_t place, number; /* of the line */
	size_t len;
	bool refused; /* by Redis */
};

static struct rpub {
	struct redis redis;
	struct input in;
	struct template *template;
	bool raw;
	struct buf prefix; /* of a PUBLISH to a constant channel, up to the payload's length */
	struct buf channel, scratch;
	unsigned digits; /* of the last payload's length */
	struct entry ring[RING];
	uint64_t done, answered, sent, tail;
	bool role_out; /* a ROLE is unanswered; it was sent behind role_at records */
	uint64_t role_at;
	int64_t role_ms; /* when it was sent */
	bool hungry; /* no whole line is left in the block */
} self;

static struct entry *entry(struct rpub *s, uint64_t i)
{
	return &s->ring[i & (RING - 1)];
}

static struct span text_of(struct rpub *s, const struct entry *e)
{
	return (struct span){line_at(&s->in.line, e->place), e->len};
}

/* ---- records to commands ---- */

static void put_prefix(struct buf *b, struct span channel)
{
	buf_puts(b, "*3\r\n$7\r\nPUBLISH\r\n$");
	buf_int(b, (int64_t)channel.len);
	buf_put(b, "\r\n", 2);
	buf_span(b, channel);
	buf_put(b, "\r\n$", 3);
}

static unsigned digits_of(size_t n)
{
	unsigned d = 1;

	for (; n >= 10; n /= 10)
		d++;
	return d;
}

/* The payload's bytes, appended to @out or a span of the line. */
static int payload_of(struct rpub *s, const struct record *r, struct span line, struct buf *out,
	struct span *bytes, struct record_error *e)
{
	enum record_bytes got = RECORD_BYTES;

	if (s->raw)
		*bytes = line;
	else
		got = record_payload(r, out, bytes, e);
	if (got == RECORD_NULL)
		*e = (struct record_error){
			CLASS_INVALID_RECORD, "null payload: PUBLISH has no tombstone"};
	return got == RECORD_BYTES ? 0 : -1;
}

/* The payload is decoded where it is to stand, behind a guess of its length's width. */
static int put_payload(struct rpub *s, const struct record *r, struct span line, struct buf *out,
	struct record_error *e)
{
	size_t at = out->len, from;
	unsigned digits;
	struct span bytes;
	bool in_place;
	char *p;

	buf_room(out, line.len + 32);
	from = out->len = at + s->digits + 2;
	if (payload_of(s, r, line, out, &bytes, e))
		return -1;
	if (bytes.len > PAYLOAD_MAX) {
		*e = (struct record_error){CLASS_TOO_LARGE, "the payload is over 512 MB"};
		return -1;
	}
	digits = digits_of(bytes.len);
	in_place = bytes.p == out->p + from;
	out->len = at;
	p = buf_room(out, bytes.len + 32);
	if (!in_place || digits != s->digits)
		memmove(p + digits + 2, in_place ? p + from - at : bytes.p, bytes.len);
	s->digits = digits;
	for (size_t n = bytes.len; digits; n /= 10)
		p[--digits] = (char)('0' + n % 10);
	memcpy(p + s->digits, "\r\n", 2);
	out->len += s->digits + 2 + bytes.len;
	buf_put(out, "\r\n", 2);
	return 0;
}

/* Appends the line's PUBLISH. Returns 0, or -1 with nothing appended. */
static int encode(struct rpub *s, struct span line, bool *is_record, struct record_error *e)
{
	struct buf *out = &s->redis.out;
	size_t before = out->len;
	struct record r;

	*is_record = false;
	if (!s->raw && record_parse(&r, line, e))
		return -1;
	*is_record = !s->raw;
	if (s->prefix.len) {
		buf_span(out, buf_as_span(&s->prefix));
	} else {
		buf_clear(&s->channel);
		if (template_expand(s->template, &r, &s->scratch, &s->channel, e))
			return -1;
		put_prefix(out, buf_as_span(&s->channel));
	}
	if (put_payload(s, &r, line, out, e) == 0)
		return 0;
	out->len = before;
	return -1;
}

/* ---- input ---- */

static void on_line(struct rpub *s, struct span text)
{
	struct record_error e = {0};
	bool is_record;

	if (encode(s, text, &is_record, &e)) {
		input_refuse(&s->in, e.class, text, is_record, s->in.line.number, "%s", e.message);
		return;
	}
	*entry(s, s->tail++) =
		(struct entry){line_place(&s->in.line, text), s->in.line.number, text.len, false};
	s->sent = s->tail;
}

static uint64_t kept_bytes(struct rpub *s)
{
	return s->done == s->tail ? 0 : s->in.line.base + s->in.line.at - entry(s, s->done)->place;
}

static bool has_room(struct rpub *s)
{
	return s->tail - s->done < RING && kept_bytes(s) < WINDOW;
}

static void on_lines(struct rpub *s)
{
	struct span text;

	while (!s->hungry && has_room(s)) {
		s->in.busy = s->done < s->tail;
		if (input_next(&s->in, &text))
			on_line(s, text);
		else if (s->in.held)
			return;
		else
			s->hungry = true;
	}
}

/* Not while away: that is what makes the writer wait. */
static bool wants_input(struct rpub *s)
{
	return s->redis.state == REDIS_UP && s->hungry && !s->in.ended && has_room(s);
}

static void on_input(struct rpub *s)
{
	line_keep(&s->in.line, s->done == s->tail ? UINT64_MAX : entry(s, s->done)->place);
	input_read(&s->in);
	s->hungry = false;
}

/* ---- Redis ---- */

static void ask_role(struct rpub *s, int64_t now_ms)
{
	s->role_out = true;
	s->role_at = s->sent;
	s->role_ms = now_ms;
	redis_put_role(&s->redis);
}

/* Milliseconds until a ROLE is to be sent, 0 now, -1 none. */
static int role_due_ms(struct rpub *s, int64_t now_ms)
{
	if (s->redis.state != REDIS_UP || s->role_out || s->done == s->sent)
		return -1;
	if (s->in.ended || kept_bytes(s) >= CHECK_BYTES || s->tail - s->done >= RING / 4 ||
		now_ms - s->role_ms >= CHECK_MS)
		return 0;
	return (int)(s->role_ms + CHECK_MS - now_ms);
}

static void on_role(struct rpub *s, enum redis_kind kind, const struct redis_reply *reply)
{
	if (!redis_is_primary(&s->redis, kind, reply))
		return;
	s->role_out = false;
	for (; s->done < s->role_at; s->done++)
		if (!entry(s, s->done)->refused)
			metrics.forwarded++;
	metrics.records_out = metrics.forwarded;
}

static void on_publish_error(struct rpub *s, struct entry *e, struct span text)
{
	int n = (int)(text.len < 200 ? text.len : 200);

	switch (redis_judge(text)) {
	case REDIS_FAULT_AWAY:
		redis_lose(&s->redis, text);
		return;
	case REDIS_FAULT_CONFIG:
		dead_close(&s->in.dead);
		die(EXIT_PERM, "line %llu: redis at %s refuses to publish: %.*s",
			(unsigned long long)e->number, s->redis.name, n, text.p);
	case REDIS_FAULT_COMMAND:
		break;
	}
	e->refused = true;
	input_refuse(&s->in, strncmp(text.p, "WRONGTYPE", 9) ? CLASS_REDIS : CLASS_WRONG_TYPE,
		text_of(s, e), !s->raw, e->number, "redis says: %.*s", n, text.p);
	s->answered++;
}

static void on_replies(struct rpub *s)
{
	struct redis_reply reply;
	enum redis_kind kind;

	while (s->redis.state == REDIS_UP && (kind = redis_next(&s->redis, &reply)) != REDIS_MORE) {
		struct entry *e = entry(s, s->answered);

		if (s->role_out && s->answered == s->role_at) {
			on_role(s, kind, &reply);
		} else if (s->answered == s->sent) {
			redis_lose(&s->redis, SPAN("it answered what was not asked"));
		} else if (kind == REDIS_ERROR) {
			on_publish_error(s, e, reply.text);
		} else {
			if (kind == REDIS_INTEGER && reply.integer == 0) {
				metrics.receivers_zero++;
				die_info("line %llu: published to no subscriber",
					(unsigned long long)e->number);
			}
			s->answered++;
		}
	}
}

/* All that is not done is sent again, without what Redis has refused. */
static void send_again(struct rpub *s)
{
	uint64_t to = s->done;
	struct record_error error;
	bool is_record;

	for (uint64_t i = s->done; i < s->tail; i++)
		if (!entry(s, i)->refused)
			*entry(s, to++) = *entry(s, i);
	s->tail = to;
	s->role_out = false;
	s->answered = s->sent = s->done;
	/* What could be encoded once can be again. */
	for (; s->sent < s->tail; s->sent++)
		if (encode(s, text_of(s, entry(s, s->sent)), &is_record, &error))
			die(EXIT_TEMP, "cannot encode a record again: %s", error.message);
	if (s->sent > s->done)
		die_info("%llu records without a reply are sent again",
			(unsigned long long)(s->sent - s->done));
}

static void on_redis(struct rpub *s, short revents, int64_t now_ms)
{
	switch (redis_step(&s->redis, revents, now_ms)) {
	case REDIS_CAME:
		metrics_set_ready(true);
		send_again(s);
		break;
	case REDIS_WENT:
		metrics_set_ready(false);
		break;
	case REDIS_MUTE:
		if (!s->role_out)
			ask_role(s, now_ms);
		break;
	case REDIS_FAILED:
		dead_close(&s->in.dead);
		die(EXIT_PERM, "%s", s->redis.trouble);
	case REDIS_SAME:
		break;
	}
	on_replies(s);
}

/* ---- the loop ---- */

static void on_signal(struct rpub *s)
{
	if (!wake_must_end(s->in.ended))
		return;
	dead_sync(&s->in.dead);
	metrics_flush();
	die(EXIT_TEMP, "ended by a signal with %llu records unanswered%s",
		(unsigned long long)(s->tail - s->done), s->in.ended ? "" : " and input left");
}

static int least(int a, int b)
{
	return a < 0 ? b : b < 0 || a < b ? a : b;
}

static void run(struct rpub *s, int wake_fd)
{
	while (!s->in.ended || s->done < s->tail) {
		int64_t now_ms = wake_now_ms();
		bool input = wants_input(s);
		struct pollfd p[] = {
			{.fd = wake_fd, .events = POLLIN},
			{.fd = redis_fd(&s->redis), .events = redis_events(&s->redis)},
			{.fd = input ? STDIN_FILENO : -1, .events = POLLIN},
		};
		int timeout = least(metrics_tick(now_ms), redis_timeout_ms(&s->redis, now_ms));

		if (poll(p, 3, least(timeout, role_due_ms(s, now_ms))) < 0) {
			if (errno != EINTR)
				die(EXIT_TEMP, "cannot poll: %s", strerror(errno));
			continue;
		}
		now_ms = wake_now_ms();
		if (p[0].revents || s->in.ended)
			on_signal(s);
		on_redis(s, p[1].revents, now_ms);
		if (p[2].revents)
			on_input(s);
		if (s->redis.state == REDIS_UP)
			on_lines(s);
		dead_sync(&s->in.dead);
		if (role_due_ms(s, now_ms) == 0)
			ask_role(s, now_ms);
		redis_flush(&s->redis);
	}
}

static int finish(struct rpub *s)
{
	int status = input_close(&s->in);

	metrics_flush();
	redis_close(&s->redis);
	template_free(s->template);
	return status;
}

static void set_channel(struct rpub *s, const char *text)
{
	char why[200];
	const char *constant;

	s->template = template_parse(text, why, sizeof(why));
	if (!s->template)
		opt_bad("'%s' is no template: %s", text, why);
	constant = template_constant(s->template);
	if (constant)
		put_prefix(&s->prefix, (struct span){constant, strlen(constant)});
	else if (s->raw)
		opt_bad("lines of --raw have no fields for '%s'", text);
}

static const char *const examples[] = {
	"kread -g bridge --commit written '^(orders|payments)$' | rpub 'sse:{topic}'",
	"tail -f events.log | rpub --raw -u \"$CACHE\" events",
	NULL,
};

int main(int argc, char **argv)
{
	static const struct opt_page page = {
		.prog = "rpub",
		.summary = "Publishes each record's payload on a Redis channel.",
		.examples = examples,
	};
	struct rpub *s = &self;
	struct redis_opts redis;
	struct opt_common common;
	struct opt_input input;
	struct arg_lit *raw = arg_lit0(NULL, "raw", "each line is a payload, not a record");
	struct arg_lit *nul = arg_lit0("0", NULL, "lines end with NUL instead of LF");
	struct arg_str *channel =
		arg_str1(NULL, NULL, "CHANNEL", "a channel's name, a template: 'sse:{topic}'");
	struct arg_end *end = arg_end(8);
	int wake_fd;

	redis_opts(&redis);
	opt_input(&input);
	opt_common(&common);
	void *table[] = {channel, raw, nul, OPT_INPUT_ENTRIES(input), REDIS_ENTRIES(redis),
		OPT_COMMON_ENTRIES(common), end};
	opt_parse(argc, argv, table, &common, &page);

	s->raw = raw->count;
	set_channel(s, opt_text(channel, "CHANNEL"));
	metrics.is_sink = metrics.is_publisher = true;
	redis_open(&s->redis, &redis, true);
	wake_fd = wake_open();
	input_open(&s->in, &input, nul->count ? '\0' : '\n');
	s->hungry = true;
	s->digits = 3;
	run(s, wake_fd);
	return finish(s);
}
