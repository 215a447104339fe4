/* SPDX-License-Identifier: ISC */
/* evack - make any program a sink: what it prints back is acknowledged.
 *
 * DESIGN: a program that delivers records but knows nothing of acknowledgements prints each record
 * back once it is durable where it belongs, or only its seq; evack behind it tells the source. A
 * record that is not printed back stays open and is never committed. The payload does not matter
 * here: a line with a seq is enough. A line without one that is no record is refused, so that a
 * program which prints something else is found out.
 *
 * EOF: all is reported, then exit. First SIGTERM: ignored while input is open; the second, or one
 * after EOF, ends it at once. */
#include "ack/client.h"
#include "ack/label.h"
#include "base/metrics.h"
#include "base/msg.h"
#include "base/opt.h"
#include "base/wake.h"
#include "flow/sink.h"
#include "record/record.h"

#include <poll.h>
#include <string.h>

enum { SLOTS = 1024, WINDOW_BYTES = 1 << 20 };

static struct {
	struct opt_common common;
	struct input_opts input;
	struct ack_opts ack;
} opt;

static struct sink self;

static void parse_options(int argc, char **argv)
{
	static const char *const examples[] = {
		"kread -g archive -e payments | to-file delivered.log | evack",
		NULL,
	};
	static const struct opt_page page = {
		.prog = "evack",
		.summary = "Acknowledges the records that a sink of one's own prints back.",
		.examples = examples,
		.hints = input_hints,
	};

	opt_common(&opt.common);
	input_opts(&opt.input, INPUT_DEAD_TO_FILE);
	ack_opts(&opt.ack);
	void *table[] = {ACK_ENTRIES(opt.ack), INPUT_ENTRIES(opt.input),
		OPT_COMMON_ENTRIES(opt.common), arg_end(8)};
	opt_parse(argc, argv, table, &opt.common, &page);
}

/* The line's seq: a record's, some other object's, or the line itself. Returns 0, or -1 with @e. */
static int find_seq(struct span text, struct json_value *seq, struct record_error *e)
{
	struct span run, label;
	struct record r;
	int refused = record_parse(&r, text, e);

	*seq = r.seq;
	if (!refused || (seq->type == JSON_STRING && input_accounts(e->class)))
		return 0;
	*seq = (struct json_value){.type = JSON_STRING, .text = text};
	return label_split(text, &run, &label);
}

static void on_line(struct sink *s, struct span text)
{
	static const struct json_value none = {0};
	struct json_value seq;
	struct record_error e;
	struct sink_slot *slot;

	if (find_seq(text, &seq, &e)) {
		sink_refuse_line(s, &none, false, &e);
		return;
	}
	slot = sink_take(s, &seq);
	if (slot)
		sink_done(slot);
}

static void loop(struct sink *s)
{
	while (sink_runs(s)) {
		struct pollfd p[SINK_FDS];
		struct span text;

		sink_poll(s, p, true);
		if (poll(p, SINK_FDS, sink_timeout_ms(s, wake_now_ms())) < 0) {
			wake_poll_failed();
			continue;
		}
		sink_serve(s, p);
		while (sink_next(s, &text))
			on_line(s, text);
		sink_flush(s, wake_now_ms());
	}
}

int main(int argc, char **argv)
{
	struct sink *s = &self;

	parse_options(argc, argv);
	sink_open(s,
		&(struct sink_setup){.input = &opt.input,
			.ack = &opt.ack,
			.end = '\n',
			.role = ACK_SINK,
			.slot_bytes = sizeof(struct sink_slot),
			.slots = SLOTS,
			.window_bytes = WINDOW_BYTES});
	if (!ack_path(&opt.ack))
		msg_info("neither --ack nor $EVPIPE_ACK: nobody is told");
	metrics_set_ready(true);
	loop(s);
	return sink_close(s);
}
