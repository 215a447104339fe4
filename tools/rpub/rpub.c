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
 * - The window (RING records, WINDOW bytes) bounds what is kept; when it is full, while Redis is away,
 *   and before the source has greeted, input is not read.
 * - A refused record is in the ring, marked, with nothing sent for it or sent again: what is
 *   reported to the source (evpipe-ack(7)) is reported in input order, up to the first record that is
 *   not done. Behind one refused under --on-error stop nothing is reported: the source's position
 *   stays there.
 * - With --pass it is a filter: what is confirmed is written to standard output with where it was
 *   published, and nothing is said of it. While the reader is slow nothing is let go (done <=
 *   confirmed <= answered), and the window fills.
 * - EOF: all records done, then exit; 111 without the source's word that this is all. First SIGTERM:
 *   ignored while input is open; the second, or one after EOF, ends it at once.
 *
 * Files: rpub.c the command line, Redis, the loop; rpub-command.c makes commands of lines. */
#include "rpub/rpub.h"

#include "base/msg.h"
#include "base/metrics.h"
#include "base/opt.h"
#include "base/wake.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

enum { CHECK_BYTES = WINDOW / 4, CHECK_MS = 100 };

static struct rpub self;

static struct entry *entry(struct rpub *s, uint64_t i)
{
	return &s->ring[i & (RING - 1)];
}

static struct span text_of(struct rpub *s, const struct entry *e)
{
	return (struct span){line_at(&s->in.line, e->place), e->len};
}

/* ---- input ---- */

static void keep(struct rpub *s, struct span text, const struct ack_label *label, bool refused)
{
	struct entry *e = entry(s, s->tail++);

	*e = (struct entry){.place = line_place(&s->in.line, text),
		.number = s->in.line.number,
		.len = text.len,
		.label = label->number,
		.refused = refused};
	if (label->text.p) {
		e->label = line_place(&s->in.line, label->text);
		e->label_len = (uint32_t)label->text.len;
	}
	s->sent = s->tail;
}

static void on_line(struct rpub *s, struct span text)
{
	size_t before = s->redis.out.len;
	struct record_error e = {0};
	struct ack_label label = {0};
	struct record r;
	bool is_record, good = command_put(s, text, &r, &is_record, &e) == 0;
	bool takes = good || (r.seq.type == JSON_STRING && (is_record || input_accounts(e.class)));

	/* With --pass what is none of our source's goes on like the rest. */
	if (takes && !ack_take(&s->ack, &r.seq, &label) && s->ack.trouble.status) {
		s->redis.out.len = before;
		s->in.ended = true;
		return;
	}
	keep(s, text, &label, !good);
	if (!good)
		input_refuse(&s->in, e.class, text, is_record, s->in.line.number, "%s", e.message);
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

	while (!s->hungry && !s->in.ended && has_room(s)) {
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
	return s->redis.state == REDIS_UP && s->hungry && !s->in.ended && has_room(s) &&
		ack_greeted(&s->ack);
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
	if (s->redis.state != REDIS_UP || s->role_out || s->confirmed == s->sent)
		return -1;
	if (s->in.ended || kept_bytes(s) >= CHECK_BYTES || s->tail - s->done >= RING / 4 ||
		now_ms - s->role_ms >= CHECK_MS)
		return 0;
	return (int)(s->role_ms + CHECK_MS - now_ms);
}

static void report(struct rpub *s, struct entry *e)
{
	struct ack_label label = {.number = e->label};

	if (e->label_len)
		label = (struct ack_label){.text = {line_at(&s->in.line, e->label), e->label_len}};
	s->mute = s->mute || (e->refused && s->in.dead.stopped);
	if (s->mute)
		return;
	if (s->pass) {
		if (e->refused)
			buf_span(&s->out.b, text_of(s, e));
		else
			command_pass(s, text_of(s, e), e->receivers, &s->out.b);
		buf_putc(&s->out.b, s->in.line.end);
	} else if (e->refused)
		input_account(&s->in, &label);
	else
		ack_report(&s->ack, ACK_FINAL, &label);
}

static bool has_done(const struct rpub *s)
{
	return s->done < s->confirmed && out_pending(&s->out) < OUT_BLOCK;
}

/* What is confirmed is reported, or handed on while standard output takes it. */
static void let_go(struct rpub *s)
{
	for (; has_done(s); s->done++) {
		metrics.forwarded += !entry(s, s->done)->refused;
		report(s, entry(s, s->done));
	}
	metrics.records_out = metrics.forwarded;
}

static void on_role(struct rpub *s, enum redis_kind kind, const struct redis_reply *reply)
{
	if (!redis_is_primary(&s->redis, kind, reply))
		return;
	s->role_out = false;
	s->confirmed = s->role_at;
	let_go(s);
}

/* What no record is at fault for. */
_Noreturn static void fail(struct rpub *s, const char *why)
{
	dead_close(&s->in.dead);
	ack_stop(&s->ack, why);
	ack_close(&s->ack);
	die(EXIT_PERM, "%s", why);
}

static void on_publish_error(struct rpub *s, struct entry *e, struct span text)
{
	int n = (int)(text.len < 200 ? text.len : 200);
	enum redis_fault fault = redis_judge(text);
	char why[512];

	/* Renamed or never had: the next record would fare no better. */
	if (span_starts(text, "ERR unknown command"))
		fault = REDIS_FAULT_CONFIG;
	switch (fault) {
	case REDIS_FAULT_AWAY:
		redis_lose(&s->redis, text);
		return;
	case REDIS_FAULT_CONFIG:
		snprintf(why, sizeof(why), "line %llu: redis at %s refuses to publish: %.*s",
			(unsigned long long)e->number, s->redis.name, n, text.p);
		fail(s, why);
	case REDIS_FAULT_COMMAND:
		break;
	}
	e->refused = true;
	input_refuse(&s->in, strncmp(text.p, "WRONGTYPE", 9) ? CLASS_REDIS : CLASS_WRONG_TYPE,
		text_of(s, e), !s->raw, e->number, "redis says: %.*s", n, text.p);
	s->answered++;
}

/* The record whose reply comes next. */
static struct entry *skip_refused(struct rpub *s)
{
	uint64_t to = s->role_out ? s->role_at : s->sent;

	while (s->answered < to && entry(s, s->answered)->refused)
		s->answered++;
	return entry(s, s->answered);
}

static void on_replies(struct rpub *s)
{
	struct redis_reply reply;
	enum redis_kind kind;

	while (s->redis.state == REDIS_UP && (kind = redis_next(&s->redis, &reply)) != REDIS_MORE) {
		struct entry *e = skip_refused(s);

		if (s->role_out && s->answered == s->role_at) {
			on_role(s, kind, &reply);
		} else if (s->answered == s->sent) {
			redis_lose(&s->redis, SPAN("it answered what was not asked"));
		} else if (kind == REDIS_ERROR) {
			on_publish_error(s, e, reply.text);
		} else {
			if (kind == REDIS_INTEGER && reply.integer == 0) {
				metrics.receivers_zero++;
				msg_info("line %llu: published to no subscriber",
					(unsigned long long)e->number);
			}
			e->receivers = reply.integer;
			s->answered++;
		}
	}
}

/* All that is not done is sent again, without what was refused. */
static void send_again(struct rpub *s)
{
	uint64_t count = 0;
	struct record_error error;
	struct record r;
	bool is_record;

	s->role_out = false;
	s->answered = s->confirmed;
	/* What could be encoded once can be again. */
	for (s->sent = s->confirmed; s->sent < s->tail; s->sent++) {
		if (entry(s, s->sent)->refused)
			continue;
		if (command_put(s, text_of(s, entry(s, s->sent)), &r, &is_record, &error))
			die(EXIT_TEMP, "cannot encode a record again: %s", error.message);
		count++;
	}
	if (count)
		msg_info("%llu records without a reply are sent again", (unsigned long long)count);
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
		fail(s, s->redis.trouble);
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
	ack_abandon(&s->ack);
	metrics_flush();
	die(EXIT_TEMP, "ended by a signal with %llu records unanswered%s",
		(unsigned long long)(s->tail - s->done), s->in.ended ? "" : " and input left");
}

/* Writes what was let go, which makes room for more. */
static void on_output(struct rpub *s)
{
	while (s->pass && !s->gone) {
		if (out_flush(&s->out) == 0) {
			if (out_pending(&s->out) || !has_done(s))
				return;
			let_go(s);
			continue;
		}
		if (errno != EPIPE)
			die(EXIT_TEMP, "cannot write standard output: %s", strerror(errno));
		s->gone = true;
	}
}

static void run(struct rpub *s, int wake_fd)
{
	ack_serve(&s->ack, 0, wake_now_ms());
	while (!s->gone && (!s->in.ended || s->done < s->tail || out_pending(&s->out))) {
		int64_t now_ms = wake_now_ms();
		bool input = wants_input(s);
		struct pollfd p[] = {
			{.fd = wake_fd, .events = POLLIN},
			{.fd = redis_fd(&s->redis), .events = redis_events(&s->redis)},
			{.fd = input ? STDIN_FILENO : -1, .events = POLLIN},
			ack_pollfd(&s->ack),
			{.fd = s->pass ? STDOUT_FILENO : -1, .events = out_events(&s->out)},
		};
		int timeout = wake_least(metrics_tick(now_ms), redis_timeout_ms(&s->redis, now_ms));

		timeout = wake_least(timeout, ack_timeout_ms(&s->ack, now_ms));
		if (poll(p, 5, wake_least(timeout, role_due_ms(s, now_ms))) < 0) {
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
		if (p[4].revents & OUT_GONE)
			s->gone = true;
		dead_sync(&s->in.dead);
		on_output(s);
		if (s->done == s->tail)
			ack_idle(&s->ack);
		ack_serve(&s->ack, p[3].revents, now_ms);
		s->in.ended = s->in.ended || s->ack.trouble.status;
		if (role_due_ms(s, now_ms) == 0)
			ask_role(s, now_ms);
		redis_flush(&s->redis);
	}
}

static int finish(struct rpub *s)
{
	int status = EXIT_DONE, refused;

	/* Reports leave first: a source that drains sees them before the end. */
	if (s->gone)
		ack_abandon(&s->ack);
	else
		status = ack_close(&s->ack);
	if (s->pass && !s->gone && out_close(&s->out))
		die(EXIT_TEMP, "cannot write standard output: %s", strerror(errno));
	refused = input_close(&s->in);
	metrics_flush();
	redis_close(&s->redis);
	template_free(s->template);
	return s->gone ? EXIT_TEMP : status ? status : refused;
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
		command_prefix(&s->prefix, (struct span){constant, strlen(constant)});
	else if (s->raw)
		opt_bad("lines of --raw have no fields for '%s'", text);
}

static const char *const examples[] = {
	"evpipe -n bridge kread -g bridge '^(orders|payments)$' '|' rpub 'sse:{topic}'",
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
	struct input_opts input;
	struct ack_opts ack;
	struct arg_lit *raw = arg_lit0(NULL, "raw", "each line is a payload, not a record");
	struct arg_lit *nul = arg_lit0("0", NULL, "lines end with NUL instead of LF");
	struct arg_lit *pass = arg_lit0(NULL, "pass",
		"hand each record on, with where it was published: a filter, not a sink");
	struct arg_str *channel =
		arg_str1(NULL, NULL, "CHANNEL", "a channel's name, a template: 'sse:{topic}'");
	struct arg_end *end = arg_end(8);
	int wake_fd;

	redis_opts(&redis);
	input_opts(&input, INPUT_DEAD_TO_FILE);
	ack_opts(&ack);
	opt_common(&common);
	void *table[] = {channel, raw, nul, pass, INPUT_ENTRIES(input), ACK_ENTRIES(ack),
		REDIS_ENTRIES(redis), OPT_COMMON_ENTRIES(common), end};
	opt_parse(argc, argv, table, &common, &page);

	s->raw = raw->count;
	set_channel(s, opt_text(channel, "CHANNEL"));
	metrics.is_sink = metrics.is_publisher = true;
	redis_open(&s->redis, &redis, true);
	wake_fd = wake_open();
	input_open(&s->in, &input, nul->count ? '\0' : '\n', NULL, NULL);
	s->pass = pass->count;
	if (s->pass)
		out_open(&s->out, STDOUT_FILENO);
	ack_open(&s->ack, ack_path(&ack), s->pass ? ACK_FILTER : ACK_SINK);
	s->in.ack = &s->ack;
	s->hungry = true;
	s->digits = 3;
	run(s, wake_fd);
	return finish(s);
}
