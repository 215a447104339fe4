/* SPDX-License-Identifier: ISC */
/* evcorr http - a call for each POST.
 *
 * DESIGN: an HTTP server on the calls of calls.h: a POST's body goes as a request to CMD's standard
 * input, and is answered with the reply. What is asked and refused stands in front-request.c, what
 * is answered in front-reply.c.
 *
 * - No request is taken while its reply would not be heard, while CMD does not read, or while CMD,
 *   if it is ours, says
 *   that it cannot reach its server: 503.
 * - A reply leaves the cache once its client has been sent all of it. A client that has gone leaves
 *   it there.
 * - Nothing is remembered of a call that was answered with 202: its place has all that is needed,
 *   so any of several
 *   fronts can be asked.
 * - First SIGTERM: no connection is taken any more, and further requests on those that are open get
 *   503; what is on its
 *   way is answered; CMD's input ends, then CMD, then we do, with 0. The second one ends it at
 *   once. So it ends too, with
 *   the reason, when CMD has. */
#include "evcorr/front.h"

#include "base/mem.h"
#include "base/metrics.h"
#include "base/msg.h"
#include "base/prom.h"
#include "base/wake.h"
#include "evcorr/commands.h"
#include "http/pair.h"
#include "net/tls.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
	GRACE_MS = 10000, /* for which Redis or CMD's server may be away in good health */
	OTHER_CONNECTIONS =
		200, /* beside those that wait: probes, and clients between two requests */
	HEADER_BYTES = 16 << 10, /* memory of a connection */
	TIMEOUT_MAX_MS = 86400000,
};

static struct front program;

/* ---- health ---- */

static void unready(void *front, struct buf *causes)
{
	struct front *f = front;

	if (f->stopping)
		buf_puts(causes, "the server is about to end\n");
	if (!calls_hears(&f->calls))
		buf_puts(causes, "Redis cannot be reached\n");
	if (f->command.away)
		buf_puts(causes, "the server that requests go to cannot be reached\n");
	if (f->calls.trouble.status)
		buf_printf(causes, "%s\n", f->calls.trouble.text);
}

static void unhealthy(void *front, struct buf *causes)
{
	struct front *f = front;

	if (f->calls.trouble.status || (f->away_ms && f->now_ms >= f->away_ms + GRACE_MS))
		unready(front, causes);
}

/* CMD's beside ours. */
static void print_metrics(void *front, struct buf *out)
{
	struct front *f = front;
	struct prom merged = {0};
	struct buf own = {0};

	metrics_print(&own);
	prom_add(&merged, buf_as_span(&own));
	prom_add(&merged, buf_as_span(&f->command.metrics));
	prom_print(&merged, out);
	prom_free(&merged);
	buf_free(&own);
}

static void look(struct front *f)
{
	struct buf causes = {0};

	unready(f, &causes);
	metrics_set_ready(!causes.len);
	buf_free(&causes);
	if (calls_hears(&f->calls) && !f->command.away)
		f->away_ms = 0;
	else if (!f->away_ms)
		f->away_ms = f->now_ms;
}

/* ---- the loop ---- */

static void begin_to_stop(struct front *f)
{
	if (f->stopping)
		return;
	f->stopping = true;
	http_drain(f->http);
}

static void on_signal(struct front *f)
{
	int stops = wake_stops();

	if (stops)
		begin_to_stop(f);
	if (stops < 2 || f->ended)
		return;
	f->ended = true;
	f->calls.trouble = (struct trouble){0};
	trouble_set(&f->calls.trouble, EXIT_TEMP,
		"ended by a second signal; requests that are unanswered: %u", http_drain(f->http));
}

/* Whether all that came is answered, and CMD, which may end now, has ended. */
static bool is_over(struct front *f)
{
	if (f->ended)
		return true;
	if (!f->stopping || http_drain(f->http) || calls_count(&f->calls))
		return false;
	calls_end_input(&f->calls);
	return calls_over(&f->calls);
}

static int timeout_ms(struct front *f)
{
	int ms = wake_least(metrics_tick(f->now_ms), calls_timeout_ms(&f->calls, f->now_ms));

	ms = wake_least(ms, front_due_ms(f, f->now_ms));
	ms = wake_least(ms, http_timeout_ms(f->http));
	return wake_least(ms, front_command_look(&f->command, f->now_ms));
}

static void turn(struct front *f, int wake_fd)
{
	enum { WAKE, HTTP, OWN };
	struct pollfd p[OWN + CALLS_FDS] = {
		[WAKE] = {.fd = wake_fd, .events = POLLIN},
		[HTTP] = {.fd = http_fd(f->http), .events = POLLIN},
	};
	nfds_t n = OWN + (nfds_t)calls_poll(&f->calls, p + OWN);

	f->now_ms = wake_now_ms();
	if (poll(p, n, timeout_ms(f)) < 0) {
		wake_poll_failed();
		return;
	}
	f->now_ms = wake_now_ms();
	if (p[WAKE].revents)
		on_signal(f);
	calls_serve(&f->calls, p + OWN, f->now_ms);
	front_accept_due(f, f->now_ms);
	http_run(f->http);
	if (f->calls.trouble.status)
		begin_to_stop(f);
	look(f);
	calls_let_go(&f->calls);
	calls_flush(&f->calls, f->now_ms);
}

static int finish(struct front *f)
{
	int status = trouble_tell(&f->calls.trouble);

	http_close(f->http);
	calls_let_go(&f->calls);
	calls_flush(&f->calls, f->now_ms);
	metrics_flush();
	calls_close(&f->calls);
	child_end_all();
	return status;
}

/* ---- the command line ---- */

static struct {
	struct opt_common common;
	struct calls_opts calls;
	struct arg_str *listen, *headers, *reply_headers, *types, *max_timeout, *max_body;
	struct arg_file *token, *cert, *key;
} opt;

static void parse_options(int argc, char **argv)
{
	static const char *const examples[] = {
		"evcorr http --listen 127.0.0.1:8080 --reply-to replies -- kwrite -t requests",
		NULL,
	};
	static const struct opt_page page = {
		.prog = "evcorr",
		.summary =
			"Answers a POST with the reply to a request, which a command takes to its topic.",
		.examples = examples,
		.libraries = {link_library, tls_library, http_library},
	};

	calls_opts(&opt.calls);
	opt.listen = arg_str0(
		NULL, "listen", "ADDR", "[HOST]:PORT or unix:PATH (default 127.0.0.1:8080)");
	opt.headers = opt_many(NULL, "header", "NAME[=AS]", 0,
		"header of the request that the record gets; :path is the path");
	opt.reply_headers = opt_many(
		NULL, "reply-header", "NAME[=AS]", 0, "header of the reply that the answer gets");
	opt.types = opt_many(NULL, "content-type", "TYPE", 0,
		"what a body may be, such as application/json (default: anything)");
	opt.max_timeout = arg_str0(
		NULL, "max-timeout", "TIME", "the longest time that a client gets (default 5m)");
	opt.max_body = arg_str0(NULL, "max-body", "SIZE", "longest body (default 1M)");
	opt.token =
		arg_file0(NULL, "token-file", "FILE", "only who has one of its tokens may call");
	opt.cert = arg_file0(
		NULL, "tls-cert", "FILE", "speak TLS: the certificate and its chain, PEM");
	opt.key = arg_file0(NULL, "tls-key", "FILE", "its key, PEM");
	opt.calls.command = opt_many(NULL, NULL, "CMD", 1,
		"command that takes requests to their topic; behind -- when it has options");
	opt_common(&opt.common);
	void *table[] = {opt.listen, opt.headers, opt.reply_headers, opt.types, opt.max_timeout,
		opt.max_body, opt.token, opt.cert, opt.key, CALLS_ENTRIES(opt.calls),
		opt.calls.command, OPT_COMMON_ENTRIES(opt.common), arg_end(8)};
	opt_parse(argc, argv, table, &opt.common, &page);
}

/* NAME or NAME=AS. */
static void add_pair(struct front_map *map, const char *option, const char *text)
{
	const char *equals = strchr(text, '=');
	struct front_pair *p;

	map->pairs = mem_realloc(map->pairs, (map->count + 1) * sizeof(*map->pairs));
	p = &map->pairs[map->count++];
	p->from = span_text((struct span){text, equals ? (size_t)(equals - text) : strlen(text)});
	p->to = mem_dup(equals ? equals + 1 : text + (*text == ':'));
	if (!*p->from || !*p->to || !json_utf8((struct span){text, strlen(text)}))
		opt_bad("%s takes NAME or NAME=AS, not '%s'", option, text);
}

static void take_map(struct front_map *map, const char *option, const struct arg_str *a)
{
	for (int i = 0; i < a->count; i++)
		add_pair(map, option, a->sval[i]);
}

/* What a call is must not come from outside, but for its id. */
static void check_map(struct front *f)
{
	struct ident *ident = &f->calls.ident;

	ident_open(ident, &opt.calls.ident, NULL);

	for (size_t i = 0; i < f->request_headers.count; i++) {
		struct span to = {f->request_headers.pairs[i].to, 0};

		to.len = strlen(to.p);
		if (span_is(to, ident->reply_to.p) || span_is(to, ident->deadline.p) ||
			span_is(to, ident->status.p) ||
			(ident->partition.p && span_is(to, ident->partition.p)))
			opt_bad("--header must not set '%s', which is a call's own", to.p);
	}
}

static void take_tls(struct front *f)
{
	const char *cert = opt_file(opt.cert, "--tls-cert"), *key = opt_file(opt.key, "--tls-key");

	if (!cert != !key)
		opt_bad("--tls-cert and --tls-key go together");
	pair_read(&f->conf, cert, key);
}

/* A connection for each call that waits. */
static void raise_limit(unsigned connections)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur >= connections + 64)
		return;
	limit.rlim_cur = limit.rlim_max > connections + 64 ? connections + 64 : limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_cur < connections + 64)
		msg_warn(
			"%llu files may be open, and --in-flight asks for %u connections; raise the limit (ulimit -n)",
			(unsigned long long)limit.rlim_cur, connections);
}

static void take_options(struct front *f)
{
	if (opt_duration_ms(opt.calls.timeout, "--timeout", 1) < 1)
		opt_bad("--timeout takes a time above 0");
	take_map(&f->request_headers, "--header", opt.headers);
	take_map(&f->reply_headers, "--reply-header", opt.reply_headers);
	check_map(f);
	f->types = opt.types;
	f->max_timeout_ms = opt_duration_ms(opt.max_timeout, "--max-timeout", 300000);
	if (f->max_timeout_ms < 1 || f->max_timeout_ms > TIMEOUT_MAX_MS)
		opt_bad("--max-timeout takes a time from 1ms to a day");
	f->conf.max_body = (size_t)opt_size(opt.max_body, "--max-body", 1 << 20);
	if (!f->conf.max_body)
		opt_bad("--max-body takes a size above 0");
	take_tls(f);
	tokens_open(&f->tokens, opt_file(opt.token, "--token-file"));
}

/* Whether processes of other machines reach it. */
static bool is_open(const char *address)
{
	return strncmp(address, "unix:", 5) && strncmp(address, "127.", 4) &&
		strncmp(address, "[::1]:", 6);
}

static void open_server(struct front *f)
{
	static const struct http_status about = {
		.metrics = print_metrics, .unhealthy = unhealthy, .unready = unready};
	const char *listen = opt_text(opt.listen, "--listen");

	f->conf.max_connections = OTHER_CONNECTIONS +
		(unsigned)opt_int(opt.calls.in_flight, "--in-flight", 10000, 1, 1000000);
	f->conf.memory = HEADER_BYTES;
	f->conf.idle_s = 60;
	raise_limit(f->conf.max_connections);
	f->http = http_open(listen ? listen : "127.0.0.1:8080", &f->conf, f);
	http_status_routes(f->http, &about);
	http_route(f->http, "GET", "/calls/{id}", front_fetch);
	http_route(f->http, "POST", "/{path*}", front_post);
	msg_info("listening on %s", http_address(f->http));
	if (!f->tokens.path && is_open(http_address(f->http)))
		msg_warn(
			"whoever reaches %s may call: give --token-file, or an address of this machine alone such as 127.0.0.1:8080",
			http_address(f->http));
	metrics_counter("http_requests_total", "Requests by HTTP: calls, and replies fetched.",
		METRICS_TOOL, &f->requests);
	metrics_counter("http_answers_total", "Of them, those with a reply or with 202.",
		METRICS_TOOL, &f->answers);
	metrics_counter("http_unavailable_total", "Of them, those refused with 503.", METRICS_TOOL,
		&f->unavailable);
}

int http_main(int argc, char **argv)
{
	struct front *f = &program;
	int wake_fd;

	parse_options(argc, argv);
	take_options(f);
	wake_fd = wake_open();
	f->now_ms = wake_now_ms();
	open_server(f);
	front_command_open(&f->command);
	opt.calls.directory = f->command.directory;
	calls_open(&f->calls, &opt.calls, front_result, f);
	while (!is_over(f))
		turn(f, wake_fd);
	return finish(f);
}
