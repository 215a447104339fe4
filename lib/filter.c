/* SPDX-License-Identifier: ISC */
#include "filter.h"

#include "die.h"
#include "input.h"
#include "metrics.h"
#include "out.h"
#include "wake.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

struct run {
	const struct filter *f;
	struct input in;
	struct out out;
	bool gone; /* the reader of standard output */
};

static void on_line(struct run *r, struct span text)
{
	struct record_error e = {0};
	struct record record;
	size_t before = r->out.b.len;

	if (record_parse(&record, text, &e)) {
		input_refuse(&r->in, e.class, text, false, r->in.line.number, "%s", e.message);
		return;
	}
	switch (r->f->each(r->f->self, &record, &r->out.b, &e)) {
	case FILTER_PASS:
		buf_span(&r->out.b, text);
		break;
	case FILTER_EDITED:
		break;
	case FILTER_DROP:
		metrics.dropped++;
		return;
	case FILTER_REFUSE:
		r->out.b.len = before;
		input_refuse(&r->in, e.class, text, true, r->in.line.number, "%s", e.message);
		return;
	}
	buf_putc(&r->out.b, '\n');
	metrics.records_out++;
}

static void on_input(struct run *r)
{
	struct span text;

	input_read(&r->in);
	while (input_next(&r->in, &text))
		on_line(r, text);
	dead_sync(&r->in.dead);
}

static void on_output(struct run *r)
{
	if (out_flush(&r->out) == 0)
		return;
	if (errno != EPIPE)
		die(EXIT_TEMP, "cannot write standard output: %s", strerror(errno));
	/* The reader says itself why it left; `| head -1` is no fault. */
	die_info("the reader of standard output has gone");
	r->gone = true;
}

static int finish(struct run *r)
{
	int status;

	if (!r->gone && out_close(&r->out))
		die(EXIT_TEMP, "cannot write standard output: %s", strerror(errno));
	status = input_close(&r->in);
	metrics_flush();
	return r->gone ? EXIT_TEMP : status;
}

int filter_run(const struct filter *f)
{
	struct run r = {.f = f};
	int wake_fd = wake_open();

	input_open(&r.in, f->input, '\n');
	out_open(&r.out, STDOUT_FILENO);
	metrics_set_ready(true);
	while (!r.gone && (!r.in.ended || out_pending(&r.out))) {
		bool wanted = !r.in.ended && out_pending(&r.out) < OUT_BLOCK;
		struct pollfd p[] = {
			{.fd = wake_fd, .events = POLLIN},
			{.fd = STDOUT_FILENO, .events = out_events(&r.out)},
			{.fd = wanted ? STDIN_FILENO : -1, .events = POLLIN},
		};

		if (poll(p, 3, metrics_tick(wake_now_ms())) < 0) {
			if (errno != EINTR)
				die(EXIT_TEMP, "cannot poll: %s", strerror(errno));
			continue;
		}
		if (p[0].revents && wake_stops() > 1)
			die(EXIT_TEMP, "ended by a second signal with %s left",
				r.in.ended ? "output" : "input");
		if (p[1].revents & (POLLERR | POLLNVAL) && !out_pending(&r.out))
			buf_putc(&r.out.b, '\n'); /* the write tells the reason */
		if (p[2].revents)
			on_input(&r);
		on_output(&r);
	}
	return finish(&r);
}
