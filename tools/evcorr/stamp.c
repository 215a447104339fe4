/* SPDX-License-Identifier: ISC */
/* evcorr stamp - give requests an id, the place where their reply goes to, and a deadline.
 *
 * DESIGN: a filter. A header that is there stays as it is; what is missing is put behind the
 * headers, all at once. */
#include "evcorr/commands.h"
#include "evcorr/ident.h"

#include "base/num.h"
#include "base/wake.h"
#include "flow/filter.h"

#include <string.h>

struct stamp {
	struct ident ident;
	struct span topic; /* p NULL: no --reply-to */
	int32_t partition;
	int64_t deadline_ms; /* -1: no --deadline; since the epoch, or from now on */
	bool from_now;
	struct buf scratch, id, headers;
};

static struct {
	struct opt_common common;
	struct input_opts input;
	struct ack_opts ack;
	struct ident_opts ident;
	struct arg_str *reply_to, *node, *deadline;
} opt;

static enum filter_verdict on_record(
	void *self, const struct record *r, struct buf *out, struct record_error *e)
{
	struct stamp *s = self;
	struct ident_call c;

	if (ident_read(&s->ident, r, &s->scratch, &c, e))
		return FILTER_REFUSE;
	buf_clear(&s->headers);
	if (!c.id.p) {
		buf_clear(&s->id);
		ident_make(&s->ident, &s->id);
		ident_put_id(&s->ident, buf_as_span(&s->id), &s->headers);
	}
	if (s->topic.p && !c.topic.p)
		ident_put_reply_to(&s->ident, s->topic, s->partition, &s->headers);
	if (s->deadline_ms >= 0 && c.deadline_ms < 0)
		ident_put_deadline(&s->ident, s->deadline_ms + (s->from_now ? wake_epoch_ms() : 0),
			&s->headers);
	if (!s->headers.len)
		return FILTER_PASS;
	ident_splice(r, buf_as_span(&s->headers), out);
	return FILTER_EDITED;
}

/* ---- the command line ---- */

static void parse_options(int argc, char **argv)
{
	static const char *const examples[] = {
		"evcorr stamp --reply-to replies --deadline 5s <requests.ndjson",
		NULL,
	};
	static const struct opt_page page = {
		.prog = "evcorr",
		.summary =
			"Gives requests an id, where their reply goes to, and a deadline, unless they have them.",
		.examples = examples,
		.hints = input_hints,
	};

	opt.reply_to =
		arg_str0(NULL, "reply-to", "TOPIC[/PARTITION]", "where the reply is to be written");
	opt.node = arg_str0(NULL, "node", "NAME",
		"who makes the ids, and is woken for their replies (default: this process)");
	opt.deadline = arg_str0(NULL, "deadline", "TIME",
		"nobody waits any more from then on: 5s from now, or a point in time");
	ident_opts(&opt.ident);
	input_opts(&opt.input, INPUT_DEAD_TO_FILE);
	ack_opts(&opt.ack);
	opt_common(&opt.common);
	void *table[] = {opt.reply_to, opt.node, opt.deadline, IDENT_ENTRIES(opt.ident),
		INPUT_ENTRIES(opt.input), ACK_ENTRIES(opt.ack), OPT_COMMON_ENTRIES(opt.common),
		arg_end(8)};
	opt_parse(argc, argv, table, &opt.common, &page);
}

/* A number of thirty years and more is no duration but a time since the epoch. */
static void take_deadline(struct stamp *s, const char *text)
{
	const int64_t too_long_ms = INT64_C(30) * 366 * 86400 * 1000;

	s->deadline_ms = -1;
	if (!text)
		return;
	s->from_now = num_duration_ms(text, &s->deadline_ms) == 0 && s->deadline_ms < too_long_ms;
	if (!s->from_now &&
		(text[0] == '-' || num_time_ms(text, 0, &s->deadline_ms) || s->deadline_ms < 0))
		opt_bad("--deadline takes a time such as 5s, or a point in time, not '%s'", text);
}

int stamp_main(int argc, char **argv)
{
	struct stamp s = {.partition = -1};
	const char *text;

	parse_options(argc, argv);
	ident_open(&s.ident, &opt.ident, opt_text(opt.node, "--node"));
	text = opt_text(opt.reply_to, "--reply-to");
	if (text && ident_parse_reply_to((struct span){text, strlen(text)}, &s.topic, &s.partition))
		opt_bad("--reply-to takes TOPIC or TOPIC/PARTITION, not '%s'", text);
	take_deadline(&s, opt_text(opt.deadline, "--deadline"));
	return filter_run(&(struct filter){
		.each = on_record,
		.self = &s,
		.input = &opt.input,
		.ack = &opt.ack,
	});
}
