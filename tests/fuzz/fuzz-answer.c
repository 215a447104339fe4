/* SPDX-License-Identifier: ISC */
/* Any bytes as the answer of a peer of khttp: read at once and byte by byte it is the same. The
 * first byte says whether another peer may be asked. */
#include "fuzz.h"
#include "khttp/forward.h"

#include <string.h>

static struct buf headers;

/* In the place of the server's. */
void http_set_header(struct http_request *r, const char *name, const char *value)
{
	(void)r;
	must(*value != ' ' && !strpbrk(name, "\r\n:") && !strpbrk(value, "\r\n"));
	buf_printf(&headers, "%s: %s\n", name, value);
}

void http_stream_pull(struct http_request *r, int status, const char *type, http_fill *fill)
{
	(void)type;
	must(r && status >= 200 && fill != NULL);
}

void forward_watch(struct forward *f)
{
	(void)f;
}

struct outcome {
	bool failed, ended, unknown, streams;
	int status;
	enum forward_state state;
	int64_t length;
	struct buf body, headers;
};

static struct outcome read_all(const uint8_t *data, size_t size, size_t piece, size_t left)
{
	struct http_request r = {.method = "GET"};
	struct forward f = {.r = &r, .state = FORWARD_HEAD, .length = -1, .left = left};
	struct outcome o = {0};

	buf_clear(&headers);
	for (size_t at = 0; at < size && !o.failed && !f.ended; at += piece) {
		size_t n = size - at < piece ? size - at : piece;

		buf_put(&f.in, (const char *)data + at, n);
		o.failed = answer_read(&f) != 0;
		/* Another peer is asked, or the client is told why not. */
		if (f.refuses || (f.unknown && left))
			break;
	}
	if (!o.failed)
		answer_ends(&f);
	must(o.failed || f.state == FORWARD_HEAD || (f.status >= 200 && f.status <= 599));
	o.ended = f.ended;
	o.unknown = f.unknown;
	o.streams = f.streams;
	o.status = f.status;
	o.state = f.state;
	o.length = f.length;
	o.body = f.body;
	buf_span(&o.headers, buf_as_span(&headers));
	buf_free(&f.in);
	free(f.type);
	return o;
}

static bool same(const struct buf *a, const struct buf *b)
{
	return a->len == b->len && (!a->len || memcmp(a->p, b->p, a->len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct outcome a, b;

	if (!size)
		return 0;
	a = read_all(data + 1, size - 1, size, data[0] & 1);
	b = read_all(data + 1, size - 1, 1, data[0] & 1);
	/* What comes behind the length that was told is no answer; byte by byte it is not read. */
	must(a.failed == b.failed || (a.failed && b.ended && b.length >= 0));
	if (!a.failed) {
		must(a.ended == b.ended && a.unknown == b.unknown && a.streams == b.streams);
		must(a.status == b.status && a.state == b.state);
		must(same(&a.body, &b.body) && same(&a.headers, &b.headers));
	}
	buf_free(&a.body);
	buf_free(&b.body);
	buf_free(&a.headers);
	buf_free(&b.headers);
	return 0;
}
