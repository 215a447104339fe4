/* SPDX-License-Identifier: ISC */
/* Which handler a request is for. */
#include "http/http-parts.h"

#include "base/mem.h"
#include "base/msg.h"

#include <stdlib.h>
#include <string.h>

static void add(struct http *h, struct http_route route)
{
	if (h->route_count == HTTP_ROUTES_MAX)
		die(EXIT_PERM, "more than %d routes", HTTP_ROUTES_MAX);
	h->routes[h->route_count++] = route;
}

void http_route(struct http *h, const char *method, const char *pattern, http_fn *fn)
{
	add(h, (struct http_route){method, pattern, fn, false});
}

void http_route_take(struct http *h, const char *pattern, http_fn *fn)
{
	add(h, (struct http_route){"GET", pattern, fn, true});
}

static int hex(char c)
{
	return c >= '0' && c <= '9'    ? c - '0'
		: c >= 'a' && c <= 'f' ? c - 'a' + 10
		: c >= 'A' && c <= 'F' ? c - 'A' + 10
				       : -1;
}

/* Decodes %41 and the like; others stay. @blank: what is a blank. Returns NULL when a NUL is among
 * them. */
static char *decode(struct span s, char blank)
{
	char *text = mem_alloc(s.len + 1), *to = text;

	for (size_t i = 0; i < s.len; i++) {
		int high = s.p[i] == '%' && i + 2 < s.len ? hex(s.p[i + 1]) : -1;
		int low = high >= 0 ? hex(s.p[i + 2]) : -1;

		*to = low >= 0 ? (char)(high << 4 | low) : s.p[i] == blank ? ' ' : s.p[i];
		i += low < 0 ? 0 : 2;
		if (!*to++) {
			free(text);
			return NULL;
		}
	}
	*to = '\0';
	return text;
}

/* The next part of a path, behind its slash. Returns false at the end. */
static bool next_part(const char **at, struct span *part)
{
	if (**at != '/')
		return false;
	part->p = *at + 1;
	part->len = strcspn(part->p, "/");
	*at = part->p + part->len;
	return true;
}

static void forget_params(struct http_request_inner *r)
{
	while (r->param_count)
		free(r->params[--r->param_count].value);
}

static void add_param(struct http_request_inner *r, struct span name, char *value)
{
	r->params = mem_realloc(r->params, (r->param_count + 1) * sizeof(*r->params));
	r->params[r->param_count++] = (struct http_param){name, value};
}

static bool part_fits(struct http_request_inner *r, struct span wanted, struct span part)
{
	char *text = decode(part, ' ');
	bool fits;

	if (!text)
		return false;
	if (wanted.len > 2 && wanted.p[0] == '{' && r->param_count < HTTP_PARAMS_MAX) {
		add_param(r, (struct span){wanted.p + 1, wanted.len - 2}, text);
		return *text != '\0';
	}
	fits = span_is(wanted, text);
	free(text);
	return fits;
}

/* "{name*}" stands for the rest of the path, which may be empty. */
static bool takes_rest(struct span *wanted)
{
	if (wanted->len < 3 || wanted->p[0] != '{' || memcmp(wanted->p + wanted->len - 2, "*}", 2))
		return false;
	wanted->p++;
	wanted->len -= 3;
	return true;
}

static bool rest_fits(struct http_request_inner *r, struct span name, const char *path)
{
	char *text = *path == '/' ? decode((struct span){path + 1, strlen(path + 1)}, ' ') : NULL;

	if (!text || r->param_count == HTTP_PARAMS_MAX) {
		free(text);
		return false;
	}
	add_param(r, name, text);
	return true;
}

static bool path_fits(struct http_request_inner *r, const char *pattern)
{
	const char *path = r->path;
	struct span wanted, part;

	forget_params(r);
	while (next_part(&pattern, &wanted)) {
		if (takes_rest(&wanted))
			return rest_fits(r, wanted, path);
		if (!next_part(&path, &part) || !part_fits(r, wanted, part))
			return false;
	}
	return !*pattern && !*path;
}

static bool has_head(const struct http_route *route)
{
	return strcmp(route->method, "GET") == 0 && !route->takes;
}

static bool method_fits(const struct http_route *route, const char *method)
{
	return strcmp(route->method, method) == 0 ||
		(has_head(route) && strcmp(method, "HEAD") == 0);
}

void http_find_route(struct http *h, struct http_request_inner *r)
{
	struct buf allow = {0};

	for (size_t i = 0; i < h->route_count; i++) {
		const struct http_route *route = &h->routes[i];

		if (!path_fits(r, route->pattern))
			continue;
		if (method_fits(route, r->pub.method)) {
			r->fn = route->fn;
			r->pattern = route->pattern;
			buf_free(&allow);
			return;
		}
		buf_printf(&allow, "%s%s%s", allow.len ? ", " : "", route->method,
			has_head(route) ? ", HEAD" : "");
	}
	r->refused = allow.len ? MHD_HTTP_METHOD_NOT_ALLOWED : MHD_HTTP_NOT_FOUND;
	if (allow.len) {
		buf_putc(&allow, '\0');
		r->allow = allow.p;
	}
}

/* ---- the query ---- */

/* A text ends at a NUL: of "1%003" a handler would read 1. */
static void take_part(struct http_request_inner *r, const char *p, size_t len)
{
	char *text = decode((struct span){p, len}, '+');

	r->has_nul = r->has_nul || !text;
	len = text ? strlen(text) : 0;
	if (len)
		memcpy(r->query + r->query_len, text, len);
	r->query_len += len;
	r->query[r->query_len++] = '\0';
	free(text);
}

/* The library would take it apart in the connection's memory, and end the connection without an
 * answer where that is too small. */
void http_take_query(struct http_request_inner *r, const char *uri)
{
	const char *at = *uri ? uri + 1 : uri;

	if (*at)
		r->query = mem_alloc(2 * strlen(at) + 2);
	while (*at) {
		size_t name = strcspn(at, "=&"), len = strcspn(at, "&");

		take_part(r, at, name);
		take_part(r, at + name + (name < len), len - name - (name < len));
		at += len + (at[len] == '&');
	}
	if (*uri)
		((char *)(uintptr_t)uri)[1] = '\0';
}

void http_each_query(const struct http_request_inner *r,
	void (*each)(void *ctx, const char *name, const char *value), void *ctx)
{
	for (size_t at = 0; at < r->query_len;) {
		const char *name = r->query + at, *value = name + strlen(name) + 1;

		at += (size_t)(value - name) + strlen(value) + 1;
		each(ctx, name, value);
	}
}

struct asked {
	const char *name, *value;
};

static void on_query(void *ctx, const char *name, const char *value)
{
	struct asked *asked = ctx;

	if (!asked->value && strcmp(name, asked->name) == 0)
		asked->value = value;
}

const char *http_query(const struct http_request *r, const char *name)
{
	struct asked asked = {name, NULL};

	http_each_query(http_inner(r), on_query, &asked);
	return asked.value;
}

const char *http_pattern(const struct http_request *r)
{
	return http_inner(r)->pattern;
}

const char *http_param(const struct http_request *r, const char *name)
{
	const struct http_request_inner *inner = http_inner(r);

	for (size_t i = 0; i < inner->param_count; i++)
		if (span_is(inner->params[i].name, name))
			return inner->params[i].value;
	return NULL;
}

/* ---- the routes of every server program ---- */

static void on_metrics(void *self, struct http_request *r)
{
	struct buf text = {0};

	http_inner(r)->client->http->status->metrics(self, &text);
	http_reply(r, MHD_HTTP_OK, "text/plain; version=0.0.4; charset=utf-8", &text);
}

static void reply_causes(struct http_request *r, struct buf *causes,
	void (*note)(void *self, struct buf *text), void *self)
{
	int status = causes->len ? MHD_HTTP_SERVICE_UNAVAILABLE : MHD_HTTP_OK;

	if (!causes->len) {
		buf_puts(causes, "ok\n");
		if (note)
			note(self, causes);
	}
	http_reply(r, status, "text/plain; charset=utf-8", causes);
}

static void on_health(void *self, struct http_request *r)
{
	struct buf causes = {0};
	const struct http_status *s = http_inner(r)->client->http->status;

	s->unhealthy(self, &causes);
	reply_causes(r, &causes, s->note, self);
}

static void on_readiness(void *self, struct http_request *r)
{
	struct buf causes = {0};

	http_inner(r)->client->http->status->unready(self, &causes);
	reply_causes(r, &causes, NULL, NULL);
}

void http_status_routes(struct http *h, const struct http_status *s)
{
	h->status = s;
	http_route(h, "GET", "/metrics", on_metrics);
	http_route(h, "GET", "/healthz", on_health);
	http_route(h, "GET", "/readyz", on_readiness);
}
