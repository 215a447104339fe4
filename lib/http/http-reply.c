/* SPDX-License-Identifier: ISC */
/* Answers. The daemon asks for one when the request is whole, or has gone on after it was
 * suspended; so an answer is kept until then. */
#include "http/http-parts.h"

#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* Of a stream to a client of HTTP/1.0, besides its connection's memory; pieces for others are made
 * in that. */
enum { BLOCK_BYTES = 1024, NO_BLOCK_BYTES = 16 };
enum { OWN_BYTES = 200 }; /* of an answer's head, besides the headers that are set */

void http_set_header(struct http_request *r, const char *name, const char *value)
{
	struct http_request_inner *inner = http_inner(r);

	if (inner->header_count == HTTP_HEADERS_MAX)
		return;
	inner->headers =
		mem_realloc(inner->headers, (inner->header_count + 1) * sizeof(*inner->headers));
	inner->headers[inner->header_count].name = mem_dup(name);
	inner->headers[inner->header_count++].value = mem_dup(value);
}

void http_drop_headers(struct http_request_inner *r)
{
	while (r->header_count) {
		free(r->headers[--r->header_count].name);
		free(r->headers[r->header_count].value);
	}
	free(r->headers);
	r->headers = NULL;
}

void http_answer(
	struct http_request_inner *r, int status, const char *type, struct MHD_Response *response)
{
	bool cached = false;

	r->answered = true;
	r->status = (unsigned)status;
	r->response = response;
	if (!response)
		return;
	if (status == MHD_HTTP_METHOD_NOT_ALLOWED && r->allow)
		http_set_header(&r->pub, MHD_HTTP_HEADER_ALLOW, r->allow);
	r->head_bytes = OWN_BYTES + (type ? strlen(type) : 0);
	for (size_t i = 0; i < r->header_count; i++) {
		cached = cached || strcasecmp(r->headers[i].name, "Cache-Control") == 0;
		r->head_bytes += strlen(r->headers[i].name) + strlen(r->headers[i].value) + 4;
	}
	if (type)
		MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	if (!cached)
		MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
	if (r->client->http->draining)
		MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
	for (size_t i = 0; i < r->header_count; i++)
		MHD_add_response_header(response, r->headers[i].name, r->headers[i].value);
	http_drop_headers(r);
	http_resume(r);
}

void http_reply(struct http_request *r, int status, const char *type, struct buf *body)
{
	static char empty[1];
	bool has_body = body && body->len;

	if (http_inner(r)->answered)
		return;
	http_answer(http_inner(r), status, type,
		MHD_create_response_from_buffer(has_body ? body->len : 0,
			has_body ? body->p : empty,
			has_body ? MHD_RESPMEM_MUST_FREE : MHD_RESPMEM_PERSISTENT));
	if (has_body)
		*body = (struct buf){0};
	else if (body)
		buf_free(body);
}

/* ---- errors ---- */

static void put_json(struct buf *b, const char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < 0x20)
			buf_printf(b, "\\u%04x", (unsigned char)*text);
		else if (*text == '"' || *text == '\\')
			buf_printf(b, "\\%c", *text);
		else
			buf_putc(b, *text);
}

static void say_error(struct http_request *r, int status, const char *message)
{
	const struct http *h = http_inner(r)->client->http;
	struct buf body = {0};

	if (h->conf.error) {
		h->conf.error(h->self, r, status, message);
		return;
	}
	buf_printf(&body, "{\"error_code\":%d,\"message\":\"", status);
	put_json(&body, message);
	buf_puts(&body, "\"}\n");
	http_reply(r, status, "application/json", &body);
}

void http_error(struct http_request *r, int status, const char *fmt, ...)
{
	char message[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	say_error(r, status, message);
}

void http_refuse(struct http_request_inner *r, int status)
{
	if (r->why) {
		/* What follows may be its body. */
		http_set_header(&r->pub, MHD_HTTP_HEADER_CONNECTION, "close");
		http_error(&r->pub, status, "%s", r->why);
		return;
	}
	switch (status) {
	case MHD_HTTP_NOT_FOUND:
		http_error(&r->pub, status, "there is no such path");
		break;
	case MHD_HTTP_METHOD_NOT_ALLOWED:
		http_error(&r->pub, status, "this path does not take %s", r->pub.method);
		break;
	case MHD_HTTP_FORBIDDEN:
		http_error(&r->pub, status,
			"a client certificate is needed, of a CA that is known here");
		break;
	case MHD_HTTP_REQUEST_HEADER_FIELDS_TOO_LARGE:
		http_error(&r->pub, status,
			"the first line and the headers have more than %zu bytes, or there are "
			"too many",
			r->client->http->conf.max_head);
		break;
	default:
		http_error(&r->pub, status, "the body is longer than %zu bytes",
			r->client->http->conf.max_body);
	}
}

/* ---- streams ---- */

static enum MHD_Result take_header(
	void *header, enum MHD_ValueKind kind, const char *name, const char *value)
{
	struct http_answer_header *to = header;

	(void)kind;
	*to = (struct http_answer_header){mem_dup(name), mem_dup(value)};
	return MHD_NO;
}

/* A stream may be open for days, and its headers were sent before its first byte. */
void http_forget_headers(struct http_request_inner *r)
{
	struct http_answer_header h;
	bool more = r->begun_stream != NULL;

	while (more && MHD_get_response_headers(r->begun_stream, take_header, &h)) {
		more = MHD_del_response_header(r->begun_stream, h.name, h.value) == MHD_YES;
		free(h.name);
		free(h.value);
	}
	r->begun_stream = NULL;
}

static ssize_t on_room(void *cls, uint64_t at, char *to, size_t max)
{
	struct http_request_inner *r = cls;
	size_t n;

	(void)at;
	if (r->cut || r->client->closed || r->client->http->closing)
		return MHD_CONTENT_READER_END_WITH_ERROR;
	http_forget_headers(r);
	n = r->fill(&r->pub, to, max);
	if (n)
		return (ssize_t)n;
	if (r->ended)
		return MHD_CONTENT_READER_END_OF_STREAM;
	http_suspend(r);
	return 0;
}

void http_stream_pull(struct http_request *r, int status, const char *type, http_fill *fill)
{
	struct http_request_inner *inner = http_inner(r);

	if (inner->answered)
		return;
	inner->fill = fill;
	http_answer(inner, status, type,
		MHD_create_response_from_callback(MHD_SIZE_UNKNOWN,
			inner->is_old ? BLOCK_BYTES : NO_BLOCK_BYTES, on_room, inner, NULL));
}

static size_t take_queue(struct http_request *r, char *to, size_t max)
{
	struct http_request_inner *inner = http_inner(r);
	size_t waiting = inner->queue.len - inner->head, n = waiting < max ? waiting : max;

	if (n)
		memcpy(to, inner->queue.p + inner->head, n);
	inner->head += n;
	if (inner->head == inner->queue.len) {
		buf_clear(&inner->queue);
		inner->head = 0;
	}
	return n;
}

void http_stream(struct http_request *r, int status, const char *type, size_t max_bytes)
{
	http_inner(r)->queue_max = max_bytes;
	http_stream_pull(r, status, type, take_queue);
}

int http_stream_put(struct http_request *r, struct span data)
{
	struct http_request_inner *inner = http_inner(r);
	struct buf *q = &inner->queue;

	if (q->len - inner->head + data.len > inner->queue_max)
		return -1;
	if (inner->head > inner->queue_max) {
		q->len -= inner->head;
		memmove(q->p, q->p + inner->head, q->len);
		inner->head = 0;
	}
	buf_span(q, data);
	http_wake(r);
	return 0;
}

void http_wake(struct http_request *r)
{
	if (http_inner(r)->direct)
		http_direct_wake(http_inner(r)->direct);
	else if (http_inner(r)->fill)
		http_resume(http_inner(r));
}

void http_end(struct http_request *r)
{
	http_inner(r)->ended = true;
	http_wake(r);
}

void http_cut(struct http_request *r)
{
	struct http_request_inner *inner = http_inner(r);

	inner->cut = true;
	/* A connection that waits for room in its socket hears of nothing else. */
	if (inner->answered && !inner->suspended)
		shutdown(inner->client->fd, SHUT_RDWR);
	http_resume(inner);
}

enum { PASS_OVER_BYTES = 64 << 10 };

/* Closed with bytes unread a connection is reset, and its client may never see the answer that did
 * not wait for them. */
void http_pass_over(const struct http_client *c)
{
	char bytes[4096];

	for (size_t n = 0; n < PASS_OVER_BYTES; n += sizeof(bytes))
		if (recv(c->fd, bytes, sizeof(bytes), MSG_DONTWAIT) <= 0)
			return;
}

/* The library would close the connection in silence. */
static enum MHD_Result say_last(struct http_request_inner *r)
{
	bool of_request = r->refused == MHD_HTTP_REQUEST_HEADER_FIELDS_TOO_LARGE;
	char body[100], text[300];
	int n;

	r->status = of_request ? MHD_HTTP_REQUEST_HEADER_FIELDS_TOO_LARGE
			       : MHD_HTTP_INTERNAL_SERVER_ERROR;
	n = snprintf(body, sizeof(body),
		"{\"error_code\":%u,\"message\":\"the headers%s are too long\"}\n", r->status,
		of_request ? "" : " of the answer");
	n = snprintf(text, sizeof(text),
		"HTTP/1.1 %u %s\r\nConnection: close\r\nContent-Type: application/json\r\n"
		"Content-Length: %d\r\n\r\n%s",
		r->status, MHD_get_reason_phrase_for(r->status), n, body);
	http_send_last(r, text, (size_t)n);
	MHD_destroy_response(r->response);
	r->response = NULL;
	return MHD_NO;
}

enum MHD_Result http_queue(struct http_request_inner *r)
{
	enum MHD_Result result = MHD_NO;

	if (r->response && r->head_bytes > r->room)
		return say_last(r);
	/* A slow reader of a stream is its writer's to judge. */
	if (r->fill)
		MHD_set_connection_option(r->connection, MHD_CONNECTION_OPTION_TIMEOUT, 0u);
	if (r->response) {
		result = MHD_queue_response(r->connection, r->status, r->response);
		/* The connection has it as long as it asks for more. */
		MHD_destroy_response(r->response);
		r->begun_stream = r->fill ? r->response : NULL;
	}
	r->response = NULL;
	return result;
}
