/* SPDX-License-Identifier: ISC */
#define _GNU_SOURCE
#include "evsse/serve.h"

#include "evsse/access.h"
#include "evsse/client.h"
#include "evsse/page.h"

#include "base/mem.h"
#include "base/metrics.h"
#include "base/msg.h"
#include "base/num.h"
#include "base/opt.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum {
	BODY_MAX_BYTES = 4 << 10,
	OTHERS =
		/* connections beyond those of streams: probes, the page, those that are turned
		 * away */
	64,
	OTHER_FILES = 64,
	RETRY_FULL_MS = 15000,
};

static char *path, *base; /* base: without "/{topic}"; NULL */

/* ---- every answer ---- */

static bool may_read(const struct evsse *s, const char *origin)
{
	for (const char *o = s->origins; o && *o; o += strlen(o) + 1)
		if (strcmp(o, "*") == 0 || strcasecmp(o, origin) == 0)
			return true;
	return false;
}

static bool all_may_read(const struct evsse *s)
{
	for (const char *o = s->origins; o && *o; o += strlen(o) + 1)
		if (strcmp(o, "*") == 0)
			return true;
	return false;
}

static void put_origin(const struct evsse *s, struct http_request *r)
{
	const char *origin = http_header(r, "Origin");
	bool all = all_may_read(s);

	if (!s->origins)
		return;
	if (!all)
		http_set_header(r, "Vary", "Origin");
	if (!origin || !may_read(s, origin))
		return;
	http_set_header(r, "Access-Control-Allow-Origin", all ? "*" : origin);
	if (!all)
		http_set_header(r, "Access-Control-Allow-Credentials", "true");
}

static void on_options(struct evsse *s, struct http_request *r)
{
	put_origin(s, r);
	http_set_header(r, "Allow", "GET, HEAD, OPTIONS");
	http_set_header(r, "Access-Control-Allow-Methods", "GET, HEAD, OPTIONS");
	http_set_header(
		r, "Access-Control-Allow-Headers", "Last-Event-ID, Authorization, Cache-Control");
	http_set_header(r, "Access-Control-Max-Age", "600");
	http_reply(r, 204, NULL, NULL);
}

/* OPTIONS is answered wherever it asks. */
static void on_error(void *self, struct http_request *r, int status, const char *message)
{
	struct buf text = {0};

	if (r->method && strcmp(r->method, "OPTIONS") == 0) {
		on_options(self, r);
		return;
	}
	put_origin(self, r);
	buf_printf(&text, "%s\n", message);
	http_reply(r, status, "text/plain; charset=utf-8", &text);
}

/* ---- streams ---- */

/* An EventSource takes every answer but 200 for the last one: it is told when to ask again. */
static void turn_away(struct evsse *s, struct http_request *r, int64_t ms)
{
	struct buf text = {0};

	s->too_many++;
	buf_printf(&text, "retry: %" PRId64 "\n\n", client_retry_ms(ms));
	http_reply(r, 200, "text/event-stream", &text);
}

/* The names in "a,b" */
static void add_names(struct buf *topics, const char *text)
{
	while (*text) {
		size_t n = strcspn(text, ",");

		if (n) {
			buf_put(topics, text, n);
			buf_putc(topics, '\0');
		}
		text += n + (text[n] == ',');
	}
}

static void on_query(void *ctx, const char *name, const char *value)
{
	if (strcmp(name, "topic") == 0)
		add_names(ctx, value);
}

static char *take_topics(struct http_request *r)
{
	const char *topic = http_param(r, "topic");
	struct buf topics = {0};

	if (topic)
		add_names(&topics, topic);
	http_each(r, HTTP_QUERY, on_query, &topics);
	if (!topics.len)
		buf_put(&topics, "*", 2);
	buf_putc(&topics, '\0');
	return topics.p;
}

static int take_last(struct http_request *r, uint64_t *last)
{
	const char *text = http_query(r, "last");
	int64_t n = 0;

	if (text && (num_i64(text, &n) || n < 0))
		return -1;
	*last = (uint64_t)n;
	return 0;
}

static int take_as(const struct evsse *s, struct http_request *r, bool *as_record)
{
	const char *as = http_query(r, "as");

	*as_record = as ? strcmp(as, "record") == 0 : s->as_record;
	return as && strcmp(as, "record") && strcmp(as, "payload") ? -1 : 0;
}

/* The header is what the client has seen; the query is from when the page was made. */
static const char *last_id(struct http_request *r)
{
	const char *id = http_header(r, "Last-Event-ID");

	if (!id || !*id)
		id = http_query(r, "lastEventID");
	if (!id)
		id = http_query(r, "lastEventId");
	return id && *id ? id : NULL;
}

/* The copy of a list of names. */
static char *copy_names(const char *names)
{
	const char *end = names;
	char *copy;

	if (!names)
		return NULL;
	while (*end)
		end += strlen(end) + 1;
	copy = mem_alloc((size_t)(end - names) + 1);
	memcpy(copy, names, (size_t)(end - names) + 1);
	return copy;
}

/* A name that the client must not have is refused; patterns stand for what it may have. */
static const char *find_forbidden(const char *topics, const char *allowed)
{
	for (const char *t = topics; allowed && *t; t += strlen(t) + 1)
		if (!client_is_pattern(t) && !client_names(allowed, t))
			return t;
	return NULL;
}

/* Answers what cannot be had. */
static bool may_have(struct evsse *s, struct http_request *r, struct wish *w)
{
	const char *allowed, *forbidden;

	if (!access_check(s->access, r, &allowed)) {
		http_set_header(r, "WWW-Authenticate", "Bearer");
		http_error(r, 401, "a token is needed");
		return false;
	}
	w->topics = take_topics(r);
	forbidden = find_forbidden(w->topics, allowed);
	if (forbidden)
		http_error(r, 403, "the token is not for '%s'", forbidden);
	else
		w->allowed = copy_names(allowed);
	return !forbidden;
}

static void free_wish(struct wish *w)
{
	free(w->topics);
	free(w->allowed);
	where_drop(w->where);
}

/* Names are topics; a page that does not know them takes all as "message". */
static int take_event(struct http_request *r, bool *unnamed)
{
	const char *event = http_query(r, "event");

	*unnamed = event && strcmp(event, "message") == 0;
	return event && !*unnamed && strcmp(event, "topic") ? -1 : 0;
}

/* What the query says besides. */
static bool take_query(struct evsse *s, struct http_request *r, struct wish *w)
{
	char why[300];

	if (take_last(r, &w->last))
		http_error(r, 400, "last=N takes a number");
	else if (take_as(s, r, &w->as_record))
		http_error(r, 400, "as= takes payload or record");
	else if (take_event(r, &w->unnamed))
		http_error(r, 400, "event= takes topic or message");
	else if (where_take(r, &w->where, why, sizeof(why)))
		http_error(r, 400, "%s", why);
	else
		return true;
	return false;
}

static void on_events(void *self, struct http_request *r)
{
	struct evsse *s = self;
	struct wish w = {0};

	put_origin(s, r);
	http_set_header(r, "X-Accel-Buffering", "no");
	if (!may_have(s, r, &w) || !take_query(s, r, &w)) {
		free_wish(&w);
		return;
	}
	if (strcmp(r->method, "HEAD") == 0) {
		free_wish(&w);
		http_reply(r, 200, "text/event-stream", NULL);
		return;
	}
	if (s->leaving || s->client_count >= s->max_clients) {
		free_wish(&w);
		turn_away(s, r, s->leaving ? s->retry_ms : RETRY_FULL_MS);
		return;
	}
	w.last_id = last_id(r);
	client_open(s, r, &w);
}

/* ---- the rest ---- */

/* With the streams' own path. */
static void put_page(struct buf *text)
{
	static const struct span usual = {"/events/{topic}", 15};
	struct span page = page_html();
	const char *at = memmem(page.p, page.len, usual.p, usual.len);

	if (!at || strpbrk(path, "\"<\\")) {
		buf_span(text, page);
		return;
	}
	buf_put(text, page.p, (size_t)(at - page.p));
	buf_puts(text, path);
	at += usual.len;
	buf_put(text, at, (size_t)(page.p + page.len - at));
}

static void on_page(void *self, struct http_request *r)
{
	struct buf text = {0};

	(void)self;
	put_page(&text);
	http_set_header(r, "Content-Security-Policy",
		"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
		"connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'");
	http_set_header(r, "X-Content-Type-Options", "nosniff");
	http_reply(r, 200, "text/html; charset=utf-8", &text);
}

static void on_metrics(void *self, struct buf *out)
{
	(void)self;
	metrics_print(out);
}

static void on_health(void *self, struct buf *causes)
{
	(void)self;
	(void)causes;
}

static void on_readiness(void *self, struct buf *causes)
{
	struct evsse *s = self;

	if (s->leaving)
		buf_puts(causes, "evsse ends\n");
}

/* As many descriptors as there may be clients. */
static void raise_limit(struct evsse *s)
{
	struct rlimit limit;
	uint64_t wanted = s->max_clients + OTHERS + OTHER_FILES;

	if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur >= wanted)
		return;
	limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
	setrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_cur >= wanted)
		return;
	s->max_clients = limit.rlim_cur > OTHERS + OTHER_FILES + 1
		? limit.rlim_cur - OTHERS - OTHER_FILES
		: 1;
	msg_warn("the limit of open files (ulimit -n) leaves room for %" PRIu64 " client%s only",
		s->max_clients, s->max_clients == 1 ? "" : "s");
}

static void take_path(const char *text)
{
	static const char end[] = "/{topic}";
	size_t n = strlen(text);
	const char *brace = strchr(text, '{');

	if (text[0] != '/' || (brace && strncmp(brace, "{topic}", 7)) ||
		(brace && (brace[-1] != '/' || (brace[7] && brace[7] != '/'))) ||
		(brace && strchr(brace + 1, '{')))
		opt_bad("--path takes a path such as /events/{topic}, not '%s'", text);
	path = mem_dup(text);
	if (n <= sizeof(end) - 1 || strcmp(text + n - (sizeof(end) - 1), end))
		return;
	base = mem_dup(text);
	base[n - (sizeof(end) - 1)] = '\0';
}

void serve_open(
	struct evsse *s, const char *listen, const char *events, const struct http_conf *limits)
{
	static const struct http_status status = {
		.metrics = on_metrics, .unhealthy = on_health, .unready = on_readiness};
	struct http_conf conf = *limits;

	take_path(events);
	raise_limit(s);
	conf.error = on_error;
	conf.max_body = BODY_MAX_BYTES;
	conf.max_connections = (unsigned)s->max_clients + OTHERS;
	s->http = http_open(listen, &conf, s);
	http_route(s->http, "GET", path, on_events);
	if (base)
		http_route(s->http, "GET", base, on_events);
	http_route(s->http, "GET", "/", on_page);
	http_status_routes(s->http, &status);
	msg_info("listening on %s", http_address(s->http));
}

void serve_close(struct evsse *s)
{
	http_close(s->http);
	free(path);
	free(base);
}
