/* SPDX-License-Identifier: ISC */
/* evcorr wait - wait for replies to requests that were sent before, by whomever, and print them.
 *
 * DESIGN: calls.c without a command. Each id is a call that was not sent here. A reply leaves the
 * cache once it has been written. A signal ends it at once: nothing is lost by that. */
#include "evcorr/calls.h"
#include "evcorr/commands.h"
#include "evcorr/print.h"

#include "base/metrics.h"
#include "base/msg.h"
#include "base/out.h"
#include "base/wake.h"
#include "net/tls.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

struct wait {
	struct calls calls;
	struct out out;
	bool gone;
	uint64_t blind; /* ids whose time was over while Redis was away */
};

static struct {
	struct opt_common common;
	struct calls_opts calls;
	struct arg_str *ids;
} opt;

static struct wait program;

static void on_result(void *self, const struct calls_result *result)
{
	struct wait *s = self;

	if (result->line.p)
		print_reply(&s->calls.ident, result->line, NULL, &s->out.b);
	else
		print_timeout(&s->calls.ident, result->id, NULL, NULL, &s->out.b);
	if (!result->line.p && s->calls.redis.state != REDIS_UP)
		s->blind++;
	buf_putc(&s->out.b, '\n');
	metrics.records_out++;
	if (result->is_last && result->line.p)
		calls_taken(&s->calls, result->id);
}

static void flush(struct wait *s)
{
	if (out_flush(&s->out) == 0) {
		if (!out_pending(&s->out))
			calls_let_go(&s->calls);
		return;
	}
	if (errno != EPIPE)
		die(EXIT_TEMP, "cannot write standard output: %s", strerror(errno));
	msg_error("the reader of standard output has gone");
	s->gone = true;
}

static bool runs(const struct wait *s)
{
	return !s->gone && !s->calls.trouble.status &&
		(!calls_over(&s->calls) || out_pending(&s->out));
}

static void turn(struct wait *s, int wake_fd)
{
	enum { WAKE, OUTPUT, OWN };
	int64_t now_ms = wake_now_ms();
	struct pollfd p[OWN + CALLS_FDS] = {
		[WAKE] = {.fd = wake_fd, .events = POLLIN},
		[OUTPUT] = {.fd = STDOUT_FILENO, .events = out_events(&s->out)},
	};
	nfds_t n = OWN + (nfds_t)calls_poll(&s->calls, p + OWN);
	int timeout_ms = wake_least(metrics_tick(now_ms), calls_timeout_ms(&s->calls, now_ms));

	if (poll(p, n, timeout_ms) < 0) {
		wake_poll_failed();
		return;
	}
	if (p[WAKE].revents && wake_stops())
		die(EXIT_TEMP, "ended by a signal: %zu %s no reply yet", calls_count(&s->calls),
			PLURAL(calls_count(&s->calls), "call has", "calls have"));
	if (p[OUTPUT].revents & OUT_GONE && !out_pending(&s->out))
		buf_putc(&s->out.b, '\n'); /* the write tells the reason */
	calls_serve(&s->calls, p + OWN, wake_now_ms());
	flush(s);
	calls_flush(&s->calls, wake_now_ms());
	metrics_set_ready(calls_hears(&s->calls));
}

static int finish(struct wait *s)
{
	struct trouble *t = &s->calls.trouble;

	/* There may be a reply. */
	if (s->blind)
		trouble_set(t, EXIT_TEMP,
			"redis at %s was away: the replies of %llu of %d %s were not looked for",
			redis_name(&s->calls.redis), (unsigned long long)s->blind, opt.ids->count,
			PLURAL(opt.ids->count, "id", "ids"));
	if (s->calls.timeouts)
		trouble_set(t, EXIT_TIMEOUT, "%llu of %d %s had no reply in time",
			(unsigned long long)s->calls.timeouts, opt.ids->count,
			PLURAL(opt.ids->count, "id", "ids"));
	trouble_tell(t);
	if (!s->gone && out_close(&s->out))
		die(EXIT_TEMP, "cannot write standard output: %s", strerror(errno));
	metrics_flush();
	calls_close(&s->calls);
	return s->gone ? EXIT_TEMP : t->status;
}

/* ---- the command line ---- */

static void parse_options(int argc, char **argv)
{
	static const char *const examples[] = {
		"evcorr wait --timeout 1m order-17",
		NULL,
	};
	static const struct opt_page page = {
		.prog = "evcorr",
		.summary =
			"Waits for the replies of these ids, prints them, and takes them out of Redis.",
		.examples = examples,
		.libraries = {link_library, tls_library},
	};
	struct calls_opts *o = &opt.calls;

	calls_opts(o);
	arg_freetable((void *[]){o->reply_to, o->node, o->in_flight}, 3);
	o->reply_to = o->node = o->in_flight = NULL;
	opt.ids = opt_many(NULL, NULL, "ID", 1, "the id as its header has it, or hex:DIGITS");
	opt_common(&opt.common);
	void *table[] = {o->timeout, o->replies, IDENT_ENTRIES(o->ident), REDIS_ENTRIES(o->redis),
		OPT_COMMON_ENTRIES(opt.common), opt.ids, arg_end(8)};
	opt_parse(argc, argv, table, &opt.common, &page);
}

static void add_ids(struct wait *s)
{
	struct buf id = {0};

	for (int i = 0; i < opt.ids->count; i++) {
		buf_clear(&id);
		if (ident_parse(opt.ids->sval[i], &id))
			opt_bad("'%s' is no id: its text, or hex: and pairs of digits, up to %d bytes",
				opt.ids->sval[i], IDENT_MAX);
		if (table_is_full(&s->calls.table))
			opt_bad("there are more than %u ids", s->calls.table.cap);
		calls_wait(&s->calls, buf_as_span(&id), s->calls.timeout_ms, NULL);
	}
	buf_free(&id);
}

int wait_main(int argc, char **argv)
{
	struct wait *s = &program;
	int wake_fd;

	parse_options(argc, argv);
	metrics_counts(METRICS_OUT);
	wake_fd = wake_open();
	out_open(&s->out, STDOUT_FILENO);
	calls_open(&s->calls, &opt.calls, on_result, s);
	add_ids(s);
	while (runs(s))
		turn(s, wake_fd);
	return finish(s);
}
