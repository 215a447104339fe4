/* SPDX-License-Identifier: ISC */
/* Any bytes as a method and a path: what is found has a name in each of its braces, and is found
 * just so when each byte of a part is sent as %41; else it is known why not. */
#include "fuzz.h"
#include "http/http-parts.h"

#include <string.h>

static void nothing(void *self, struct http_request *r)
{
	(void)self;
	(void)r;
}

static void add_routes(struct http *h)
{
	http_route(h, "GET", "/", nothing);
	http_route(h, "GET", "/topics/{topic}", nothing);
	http_route(h, "POST", "/topics/{topic}", nothing);
	http_route_take(h, "/topics/{topic}/records", nothing);
	http_route(h, "GET", "/topics/{topic}/partitions/{partition}/offsets", nothing);
	http_route(h, "DELETE", "/consumers/{group}/instances/{name}", nothing);
	http_route(h, "GET", "/files/{rest*}", nothing);
}

static void forget(struct http_request_inner *r)
{
	while (r->param_count)
		free(r->params[--r->param_count].value);
	free(r->params);
	free(r->allow);
}

static void check(const struct http_request_inner *r)
{
	if (r->refused) {
		must(!r->fn && !r->pattern);
		must(r->refused == 404 || (r->refused == 405 && r->allow));
		return;
	}
	must(r->fn == nothing && http_pattern(&r->pub) == r->pattern);
	for (size_t i = 0; i < r->param_count; i++) {
		must(memchr(r->pattern, '{', strlen(r->pattern)) != NULL);
		must(*r->params[i].value || strstr(r->pattern, "*}"));
		must(strlen(r->params[i].value) <= strlen(r->path));
	}
}

static char *encoded(const char *path)
{
	struct buf b = {0};

	for (; *path; path++)
		if (*path == '/')
			buf_putc(&b, '/');
		else
			buf_printf(&b, "%%%02x", (unsigned char)*path);
	buf_putc(&b, '\0');
	return b.p;
}

/* A path in which something is encoded already says something else when it is once more. */
static void find_encoded(struct http *h, const struct http_request_inner *r)
{
	struct http_request_inner again = {.pub = {.method = r->pub.method}};

	if (strchr(r->path, '%'))
		return;
	again.path = encoded(r->path);
	http_find_route(h, &again);
	must(again.refused == r->refused && again.pattern == r->pattern);
	must(again.param_count == r->param_count);
	for (size_t i = 0; i < r->param_count && !r->refused; i++)
		must(strcmp(again.params[i].value, r->params[i].value) == 0);
	forget(&again);
	free(again.path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct http h;
	char *text = malloc(size + 1), *path;

	if (!h.route_count)
		add_routes(&h);
	must(text != NULL);
	memcpy(text, data, size);
	text[size] = '\0';
	path = strchr(text, ' ');
	if (path) {
		struct http_request_inner r = {.pub = {.method = text}};

		*path++ = '\0';
		r.path = path;
		http_find_route(&h, &r);
		check(&r);
		find_encoded(&h, &r);
		forget(&r);
	}
	free(text);
	return 0;
}
