/* SPDX-License-Identifier: ISC */
/* A peer's answer: its head, and its body by length, in chunks, or to the end of the connection.
 * One with a length is collected; another one goes through as it comes. */
#define _GNU_SOURCE
#include "khttp/forward.h"

#include "base/mem.h"
#include "base/num.h"

#include <stdlib.h>
#include <strings.h>

enum { HEAD_MAX = 64 << 10, BODY_ROOM = 256 << 10 };

static struct span unread(const struct forward *f)
{
	return (struct span){f->in.p + f->used, f->in.len - f->used};
}

static bool is_name(struct span s, const char *name)
{
	return s.len == strlen(name) && strncasecmp(s.p, name, s.len) == 0;
}

/* Headers of this connection, and those that we set. */
static bool is_own(struct span name)
{
	static const char *const own[] = {"Connection", "Keep-Alive", "Transfer-Encoding",
		"Content-Length", "Content-Type", "Date", "Trailer", "Vary", "Khttp-Asked", NULL};

	for (const char *const *o = own; *o; o++)
		if (is_name(name, *o))
			return true;
	return name.len > 15 && strncasecmp(name.p, "Access-Control-", 15) == 0;
}

static void take_header(struct forward *f, struct span name, const char *value)
{
	char *text;

	if (is_name(name, "Content-Length") && num_i64(value, &f->length))
		f->length = -1;
	if (is_name(name, "Transfer-Encoding"))
		f->chunked = strcasecmp(value, "chunked") == 0;
	if (is_name(name, "Khttp-Elsewhere"))
		f->unknown = true;
	if (is_name(name, "Content-Type")) {
		free(f->type);
		f->type = mem_dup(value);
	}
	if (is_own(name) || is_name(name, "Khttp-Elsewhere"))
		return;
	text = mem_printf("%.*s", (int)name.len, name.p);
	http_set_header(f->r, text, value);
	free(text);
}

/* Whether the client is still to be given this one, and not another peer's. */
static bool is_last(const struct forward *f)
{
	return !f->refuses && (!f->unknown || !f->left);
}

/* "HTTP/1.1 200 OK" and headers, each with CRLF. */
static int read_head(struct forward *f, char *head)
{
	char *line, *save = NULL, *colon;

	line = strtok_r(head, "\r\n", &save);
	if (!line || strncmp(line, "HTTP/1.", 7) || strlen(line) < 12)
		return -1;
	f->status = atoi(line + 9);
	f->length = -1;
	f->chunked = f->unknown = false;
	f->refuses = f->status == 403;
	/* Only the one that counts may set headers. */
	for (const char *p = save; p && *p; p += strcspn(p, "\n") + (p[strcspn(p, "\n")] != '\0')) {
		if (strncasecmp(p, "Khttp-Elsewhere:", 16) == 0)
			f->unknown = true;
		if (strncasecmp(p, "Khttp-Asked:", 12) == 0)
			f->refuses = false;
	}
	while (is_last(f) && (line = strtok_r(NULL, "\r\n", &save))) {
		colon = strchr(line, ':');
		if (!colon)
			return -1;
		take_header(f, (struct span){line, (size_t)(colon - line)},
			colon + 1 + strspn(colon + 1, " \t"));
	}
	return f->status < 100 || f->status > 599 ? -1 : 0;
}

static size_t on_fill(struct http_request *r, char *to, size_t max)
{
	struct forward *f = r->user;
	bool was_full = answer_is_full(f);
	size_t n = f->body.len - f->given;

	n = n < max ? n : max;
	if (n)
		memcpy(to, f->body.p + f->given, n);
	f->given += n;
	if (f->given == f->body.len) {
		buf_clear(&f->body);
		f->given = 0;
	}
	if (was_full && !answer_is_full(f))
		forward_watch(f);
	return n;
}

static void begin_body(struct forward *f)
{
	bool none = f->status == 204 || f->status == 304 || strcmp(f->r->method, "HEAD") == 0;

	f->state = FORWARD_BODY;
	if (none) {
		f->length = 0;
		f->chunked = false;
	}
	f->streams = !none && (f->chunked || f->length < 0);
	if (!f->streams)
		return;
	f->until_ms = -1;
	http_stream_pull(f->r, f->status, f->type, on_fill);
}

/* Takes a line of the chunks' frame. Returns its length, 0: it is not whole. */
static size_t take_line(struct forward *f, const char **line)
{
	struct span in = unread(f);
	const char *end = in.len ? memchr(in.p, '\n', in.len) : NULL;

	if (!end)
		return 0;
	*line = in.p;
	f->used += (size_t)(end + 1 - in.p);
	return (size_t)(end + 1 - in.p);
}

/* Returns 1: go on; 0: more has to come; -1: it is no chunk. */
static int read_chunk(struct forward *f)
{
	struct span in = unread(f);
	const char *line;
	size_t n;

	if (f->chunk == CHUNK_DATA) {
		n = in.len < (size_t)f->chunk_left ? in.len : (size_t)f->chunk_left;
		buf_span(&f->body, (struct span){in.p, n});
		f->used += n;
		f->chunk_left -= (int64_t)n;
		if (f->chunk_left)
			return 0;
		f->chunk = CHUNK_END;
		return 1;
	}
	n = take_line(f, &line);
	if (!n)
		return in.len > HEAD_MAX ? -1 : 0;
	if (f->chunk == CHUNK_END) {
		f->chunk = CHUNK_SIZE;
	} else if (f->chunk == CHUNK_TRAILER) {
		f->ended = n <= 2;
	} else {
		f->chunk_left = (int64_t)strtoull(line, NULL, 16);
		if (!strchr("0123456789abcdefABCDEF", *line) || f->chunk_left < 0)
			return -1;
		f->chunk = f->chunk_left ? CHUNK_DATA : CHUNK_TRAILER;
	}
	return !f->ended;
}

static int read_body(struct forward *f)
{
	struct span in = unread(f);
	int more = 1;

	while (f->chunked && more > 0 && !f->ended)
		more = read_chunk(f);
	if (f->chunked)
		return more < 0 ? -1 : 0;
	if (f->length >= 0 && (int64_t)(f->body.len + in.len) > f->length)
		return -1;
	buf_span(&f->body, in);
	f->used = f->in.len;
	f->ended = f->length >= 0 && (int64_t)f->body.len == f->length;
	return 0;
}

/* The bytes that were read are not needed any more. */
static void forget_read(struct forward *f)
{
	size_t n = f->in.len - f->used;

	if (n && f->used)
		memmove(f->in.p, f->in.p + f->used, n);
	f->in.len = n;
	f->used = 0;
}

int answer_read(struct forward *f)
{
	char *end, *head;
	int err = 0;

	while (f->state == FORWARD_HEAD) {
		struct span in = unread(f);

		end = in.len ? memmem(in.p, in.len, "\r\n\r\n", 4) : NULL;
		if (!end)
			return in.len > HEAD_MAX ? -1 : 0;
		head = mem_printf("%.*s", (int)(end - in.p), in.p);
		f->used += (size_t)(end + 4 - in.p);
		err = read_head(f, head);
		free(head);
		if (err)
			return -1;
		if (!is_last(f))
			return 0;
		if (f->status >= 200)
			begin_body(f);
	}
	err = read_body(f);
	forget_read(f);
	return err;
}

bool answer_ends(struct forward *f)
{
	if (f->state == FORWARD_BODY && !f->chunked && f->length < 0)
		f->ended = true;
	return f->ended;
}

bool answer_is_full(const struct forward *f)
{
	return f->streams && f->body.len - f->given > BODY_ROOM;
}
