/* SPDX-License-Identifier: ISC */
/* evack - make any program a sink: what it prints back is acknowledged.
 *
 * DESIGN: a program that delivers records but knows nothing of acknowledgements prints each one back once it
 * is durable where it belongs, or only its seq; evack behind it tells the source. What is not
 * printed back stays open and is never committed. The payload does not matter here: a line with a seq
 * is enough. A line without one that is no record is refused, so that a program which prints something
 * else is found out.
 *
 * EOF: all is reported, then exit. First SIGTERM: ignored while input is open; the second, or one after
 * EOF, ends it at once. */
#include "ack/client.h"
#include "base/msg.h"
#include "flow/input.h"
#include "ack/label.h"
#include "base/metrics.h"
#include "base/opt.h"
#include "record/record.h"
#include "base/wake.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

static struct evack {
	struct input in;
	struct ack ack;
} self;

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

static void on_line(struct evack *s, struct span text)
{
	struct json_value seq;
	struct ack_label label;
	struct record_error e;

	if (find_seq(text, &seq, &e)) {
		input_refuse(&s->in, e.class, text, false, s->in.line.number, "%s", e.message);
		return;
	}
	if (!ack_take(&s->ack, &seq, &label)) {
		s->in.ended = true;
		return;
	}
	ack_report(&s->ack, ACK_FINAL, &label);
	metrics.forwarded++;
	metrics.records_out++;
}

static void on_input(struct evack *s)
{
	struct span text;

	input_read(&s->in);
	while (input_next(&s->in, &text))
		on_line(s, text);
	dead_sync(&s->in.dead);
}

static void on_signal(struct evack *s)
{
	if (wake_must_end(s->in.ended))
		die(EXIT_TEMP, "ended by a second signal with input left");
}

static void run(struct evack *s, int wake_fd)
{
	while (!s->in.ended) {
		int64_t now_ms = wake_now_ms();
		struct pollfd p[] = {
			{.fd = wake_fd, .events = POLLIN},
			{.fd = ack_greeted(&s->ack) ? STDIN_FILENO : -1, .events = POLLIN},
			ack_pollfd(&s->ack),
		};

		if (poll(p, 3, wake_least(metrics_tick(now_ms), ack_timeout_ms(&s->ack, now_ms))) <
			0) {
			if (errno != EINTR)
				die(EXIT_TEMP, "cannot poll: %s", strerror(errno));
			continue;
		}
		if (p[0].revents)
			on_signal(s);
		if (p[1].revents)
			on_input(s);
		ack_idle(&s->ack);
		ack_serve(&s->ack, p[2].revents, wake_now_ms());
		if (s->ack.trouble.status)
			s->in.ended = true;
	}
}

static const char *const examples[] = {
	"kread -g archive -e payments | to-file delivered.log | evack",
	NULL,
};

int main(int argc, char **argv)
{
	static const struct opt_page page = {
		.prog = "evack",
		.summary = "Acknowledges the records that a sink of one's own prints back.",
		.examples = examples,
	};
	struct evack *s = &self;
	struct opt_common common;
	struct input_opts input;
	struct ack_opts ack;
	struct arg_end *end = arg_end(8);
	const char *path;
	int wake_fd, status, refused;

	opt_common(&common);
	input_opts(&input, INPUT_DEAD_TO_FILE);
	ack_opts(&ack);
	void *table[] = {ACK_ENTRIES(ack), INPUT_ENTRIES(input), OPT_COMMON_ENTRIES(common), end};
	opt_parse(argc, argv, table, &common, &page);

	metrics.is_sink = true;
	path = ack_path(&ack);
	if (!path)
		msg_info("neither --ack nor $EVPIPE_ACK: nobody is told");
	wake_fd = wake_open();
	input_open(&s->in, &input, '\n', NULL, NULL);
	ack_open(&s->ack, path, ACK_SINK);
	s->in.ack = &s->ack;
	metrics_set_ready(true);
	run(s, wake_fd);
	status = ack_close(&s->ack);
	refused = input_close(&s->in);
	metrics_flush();
	return status ? status : refused;
}
