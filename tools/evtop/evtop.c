/* SPDX-License-Identifier: ISC */
/* evtop - what flows, now: a table of a stream, or of a pipeline.
 *
 * DESIGN: of a stream it counts the records of its standard input; it is a filter then, and hands
 * each one on as it came when standard output is a pipe. Of a pipeline it reads the metrics, in its
 * directory (-d) or from its /metrics (URL). On a terminal the table is drawn again and again in
 * its place, else a table is printed each --every. Where standard output has the records, the table
 * is on standard error. Memory is bounded, whatever flows: keys are counted by space-saving.
 *
 * Handing records on it ends with its input, as a filter does, and q ends the table alone. Else it
 * is for looking: it takes no part in acknowledgements, and q, a signal or the end of the input end
 * it, with the last table left there. Its reader, its terminal and a server that is away hold up
 * nothing but the table.
 *
 * Files: evtop.c the command line and both loops; traffic.c a stream; heavy.c its keys; unit.c a
 * pipeline's metrics; fetch.c gets them; figures.c and table.c print; screen.c the terminal. */
#include "base/metrics.h"
#include "base/msg.h"
#include "base/opt.h"
#include "base/wake.h"
#include "evtop/fetch.h"
#include "evtop/screen.h"
#include "evtop/traffic.h"
#include "evtop/unit.h"
#include "base/out.h"
#include "flow/filter.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { KEY_MS = 100, TERMINAL_MS = 1000, PLAIN_MS = 10000, ROWS = 10 };

struct evtop {
	struct screen screen;
	struct table table;
	struct traffic traffic;
	struct unit unit;
	struct fetch fetch;
	struct tls_config tls;
	const char *directory;
	bool passes;
	bool hidden; /* q was pressed where records are handed on */
	int64_t every_ms, next_ms, taken_ms;
	int64_t tables_left; /* -1: no limit */
	size_t rows;
	bool reached; /* a unit's metrics, once */
	char trouble[400]; /* why they are not here now */
	struct buf text;
};

static struct evtop self;

static struct {
	struct opt_common common;
	struct input_opts input;
	struct ack_opts ack;
	struct arg_str *directory, *every, *count, *rows, *url;
	struct arg_file *ca, *cert, *key;
	struct arg_lit *pass;
} opt;

/* ---- tables ---- */

static double seconds_since(struct evtop *e, int64_t now_ms)
{
	double seconds = e->taken_ms ? (double)(now_ms - e->taken_ms) / 1000 : 0;

	e->taken_ms = now_ms;
	return seconds;
}

/* Places and keys share what a terminal has. */
static size_t rows_of(const struct evtop *e)
{
	unsigned rows = screen_rows(&e->screen);
	size_t fit = rows > 16 ? (rows - 10) / 2 : 3;

	return rows && fit < e->rows ? fit : e->rows;
}

static void show_traffic(struct evtop *e, int64_t now_ms, struct buf *out)
{
	double seconds = seconds_since(e, now_ms);

	traffic_take(&e->traffic, seconds);
	buf_clear(&e->text);
	traffic_print(&e->traffic, &e->table, rows_of(e), e->screen.utf8, &e->text);
	screen_show(&e->screen, buf_as_span(&e->text), out);
}

static void show_unit(struct evtop *e, struct buf *out)
{
	buf_clear(&e->text);
	if (*e->trouble)
		buf_printf(&e->text, "%s\n", e->trouble);
	unit_print(&e->unit, &e->table, rows_of(e), e->screen.utf8, &e->text);
	screen_show(&e->screen, buf_as_span(&e->text), out);
}

/* ---- a stream ---- */

static int64_t epoch_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return ts.tv_sec * INT64_C(1000) + ts.tv_nsec / 1000000;
}

static enum filter_verdict on_record(
	void *at, const struct record *r, struct buf *out, struct record_error *e)
{
	struct evtop *top = at;

	(void)out;
	(void)e;
	/* A clock a thousand records is enough for tables. */
	if (top->traffic.records % 1024 == 0 || !top->traffic.now_ms)
		top->traffic.now_ms = epoch_ms();
	traffic_add(&top->traffic, r, top->traffic.now_ms);
	return top->passes ? FILTER_PASS : FILTER_KEEP;
}

static bool is_last(struct evtop *e)
{
	return e->tables_left > 0 && --e->tables_left == 0;
}

static int64_t on_tick(void *at, int64_t now_ms, bool ended, struct buf *out)
{
	struct evtop *e = at;

	e->traffic.now_ms = epoch_ms();
	if (screen_quits(&e->screen)) {
		if (!e->passes)
			return FILTER_QUIT;
		e->hidden = true;
		screen_close(&e->screen);
	}
	if (e->hidden)
		return -1;
	if (!e->taken_ms) {
		traffic_take(&e->traffic, seconds_since(e, now_ms));
		e->next_ms = now_ms + e->every_ms;
	}
	if (ended || now_ms >= e->next_ms) {
		show_traffic(e, now_ms, out);
		e->next_ms = now_ms + e->every_ms;
		if (is_last(e)) {
			e->hidden = true;
			return e->passes ? -1 : FILTER_QUIT;
		}
	}
	if (e->screen.terminal)
		return KEY_MS;
	return e->next_ms - now_ms;
}

static int run_stream(struct evtop *e)
{
	return filter_run(&(struct filter){
		.each = on_record,
		.self = e,
		.input = &opt.input,
		.ack = e->passes ? &opt.ack : NULL,
		.prints = !e->passes,
		.tick = on_tick,
		.ends_on_signal = !e->passes,
	});
}

/* ---- a pipeline ---- */

/* What cannot be had at the start is a mistake of the user; later it is a server that is away. */
static void fail(struct evtop *e, int status, const char *what, const char *why)
{
	if (!e->reached)
		die(status, "cannot %s: %s", what, why);
	if (!*e->trouble && !e->screen.terminal)
		msg_warn("cannot %s: %s; trying again", what, why);
	snprintf(e->trouble, sizeof(e->trouble), "cannot %.200s: %.150s", what, why);
}

static void take(struct evtop *e, struct span text, int64_t now_ms)
{
	unit_take(&e->unit, text, seconds_since(e, now_ms));
	e->reached = true;
	*e->trouble = '\0';
}

static void look_into_directory(struct evtop *e, int64_t now_ms)
{
	struct buf text = {0};
	char what[300];

	snprintf(what, sizeof(what), "read the metrics in '%.200s'", e->directory);
	if (unit_read_directory(e->directory, &text) < 0)
		fail(e, EXIT_PERM, what,
			errno == ENOENT && !e->reached
				? "there is no 'metrics' in it: it is no directory of a pipeline"
				: strerror(errno));
	else
		take(e, buf_as_span(&text), now_ms);
	buf_free(&text);
}

/* Whether the answer is there, or there will be none. */
static bool is_fetched(struct evtop *e, short revents, int64_t now_ms)
{
	struct span body;
	char what[300];
	int got = fetch_step(&e->fetch, revents, now_ms, &body);

	snprintf(what, sizeof(what), "get '%.200s'", e->fetch.url);
	if (got > 0)
		take(e, body, now_ms);
	else if (got < 0)
		fail(e, EXIT_TEMP, what, e->fetch.why);
	return got;
}

static bool is_waiting(const struct evtop *e)
{
	return !e->directory && e->fetch.until_ms;
}

/* Shows a table when it is due and its figures are there. Whether it was the last. */
static bool look(struct evtop *e, short revents, struct buf *out)
{
	int64_t now_ms = wake_now_ms();

	if (is_waiting(e)) {
		if (!is_fetched(e, revents, now_ms))
			return false;
	} else if (now_ms < e->next_ms) {
		return false;
	} else if (e->directory) {
		look_into_directory(e, now_ms);
	} else {
		fetch_start(&e->fetch, now_ms);
		return false;
	}
	show_unit(e, out);
	e->next_ms = now_ms + e->every_ms;
	return is_last(e);
}

static int unit_timeout_ms(const struct evtop *e)
{
	int64_t now_ms = wake_now_ms();
	int ms = e->next_ms > now_ms ? (int)(e->next_ms - now_ms) : 0;

	if (is_waiting(e))
		ms = fetch_timeout_ms(&e->fetch, now_ms);
	if (e->screen.terminal)
		ms = wake_least(ms, KEY_MS);
	return wake_least(ms, metrics_tick(now_ms));
}

static int flush(struct out *o)
{
	if (out_flush(o) == 0)
		return 0;
	if (errno != EPIPE)
		die(EXIT_TEMP, "cannot write standard output: %s", strerror(errno));
	return -1;
}

static int run_unit(struct evtop *e, int wake_fd)
{
	struct out out;
	bool over = false;

	out_open(&out, STDOUT_FILENO);
	metrics_set_ready(true);
	e->next_ms = wake_now_ms();
	while (!over) {
		struct pollfd p[] = {
			{.fd = wake_fd, .events = POLLIN},
			{.fd = STDOUT_FILENO, .events = out_events(&out)},
			{.fd = is_waiting(e) ? fetch_fd(&e->fetch) : -1,
				.events = fetch_events(&e->fetch)},
		};

		if (poll(p, 3, unit_timeout_ms(e)) < 0)
			wake_poll_failed();
		over = look(e, p[2].revents, &out.b) || p[1].revents & OUT_GONE || flush(&out) ||
			wake_stops() || screen_quits(&e->screen);
	}
	if (out_close(&out) && errno != EPIPE)
		die(EXIT_TEMP, "cannot write standard output: %s", strerror(errno));
	metrics_flush();
	return EXIT_DONE;
}

/* ---- the command line ---- */

static void parse_options(int argc, char **argv)
{
	static const char *const examples[] = {
		"kread orders | evtop",
		"evtop -d bridge.d",
		"evtop unix:bridge.http",
		NULL,
	};
	static const struct opt_page page = {
		.prog = "evtop",
		.summary = "Shows what flows, now: a table of a stream or of a pipeline.",
		.examples = examples,
		.libraries = {tls_library},
	};

	opt.directory = arg_str0("d", "directory", "PATH",
		"a pipeline's directory: $EVPIPE_DIR, or that of evpipe -d");
	opt.every = arg_str0(
		NULL, "every", "TIME", "a table each TIME (default 1s on a terminal, else 10s)");
	opt.count = arg_str0("c", "count", "N", "end after N tables");
	opt.rows = arg_str0("n", "rows", "N", "show so many keys and places (default 10)");
	opt.pass = arg_lit0(
		NULL, "pass", "hand records on to standard output, as happens when it is a pipe");
	opt.ca = arg_file0(NULL, "cacert", "FILE", "https: trust these CA certificates alone");
	opt.cert = arg_file0(NULL, "cert", "FILE", "https: our certificate");
	opt.key = arg_file0(NULL, "key", "FILE", "https: its key");
	opt.url = arg_str0(NULL, NULL, "URL", "a pipeline's /metrics");
	input_opts(&opt.input, INPUT_DEAD_TO_FILE);
	ack_opts(&opt.ack);
	opt_common(&opt.common);
	void *table[] = {opt.directory, opt.every, opt.count, opt.rows, opt.pass, opt.ca, opt.cert,
		opt.key, INPUT_ENTRIES(opt.input), ACK_ENTRIES(opt.ack),
		OPT_COMMON_ENTRIES(opt.common), opt.url, arg_end(8)};
	opt_parse(argc, argv, table, &opt.common, &page);
}

static bool output_is_pipe(void)
{
	struct stat st;

	return fstat(STDOUT_FILENO, &st) == 0 && (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode));
}

static void take_options(struct evtop *e)
{
	const char *url = opt_text(opt.url, "URL");

	e->directory = opt_text(opt.directory, "-d");
	if (e->directory && url)
		opt_bad("-d and a URL exclude each other: one pipeline is shown");
	e->passes = opt.pass->count;
	if (e->passes && (e->directory || url))
		opt_bad("--pass is for a stream: a pipeline's metrics are no records");
	e->tls.ca_file = opt.ca->count ? opt.ca->filename[0] : NULL;
	e->tls.cert_file = opt.cert->count ? opt.cert->filename[0] : NULL;
	e->tls.key_file = opt.key->count ? opt.key->filename[0] : NULL;
	if (e->tls.key_file && !e->tls.cert_file)
		opt_bad("--key goes with --cert");
	if ((e->tls.ca_file || e->tls.cert_file) && (!url || strncmp(url, "https://", 8) != 0))
		opt_bad("--cacert, --cert and --key are for an https URL");
	if (url && !strchr(url, ':') && access(url, F_OK) == 0)
		opt_bad("'%s' is no URL: records come by standard input, <FILE, and a pipeline's "
			"directory is -d PATH",
			url);
	if (url && fetch_set(&e->fetch, url, &e->tls))
		opt_bad("'%s': %s", url, e->fetch.why);
	if (!url && !e->directory && output_is_pipe())
		e->passes = true;
	e->every_ms = opt_duration_ms(opt.every, "--every", 0);
	if (opt.every->count && e->every_ms < 1)
		opt_bad("--every takes a time above 0");
	e->tables_left = opt_int(opt.count, "-c", -1, 1, INT32_MAX);
	e->rows = (size_t)opt_int(opt.rows, "-n", ROWS, 1, 500);
}

int main(int argc, char **argv)
{
	struct evtop *e = &self;
	bool unit;
	int wake_fd, status;

	parse_options(argc, argv);
	take_options(e);
	unit = e->directory || e->fetch.url;
	wake_fd = unit ? wake_open() : -1;
	screen_open(&e->screen, e->passes);
	if (!e->every_ms)
		e->every_ms = e->screen.terminal ? TERMINAL_MS : PLAIN_MS;
	status = unit ? run_unit(e, wake_fd) : run_stream(e);
	screen_close(&e->screen);
	return status;
}
