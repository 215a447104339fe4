/* SPDX-License-Identifier: ISC */
/* From a reply to an answer. A reply that a client has been sent leaves the cache; one whose client
 * has gone stays for its time, as does one that was fetched. */
#include "evcorr/front.h"

#include "base/mem.h"
#include "base/text.h"
#include "base/wake.h"
#include "record/record.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { DONE = 200, NO_CONTENT = 204, RESET_CONTENT = 205, NOT_MODIFIED = 304 };

/* ---- clients that wait ---- */

static void forget_time(struct front_call *c)
{
	struct front *f = c->front;

	if (!c->accept_ms)
		return;
	*(c->previous ? &c->previous->next : &f->first) = c->next;
	*(c->next ? &c->next->previous : &f->last) = c->previous;
	c->accept_ms = 0;
}

static void on_done(struct http_request *r, bool whole)
{
	struct front_call *c = r->user;

	forget_time(c);
	if (c->number)
		calls_cancel(&c->front->calls, c->number);
	if (c->is_answered && whole)
		calls_taken(&c->front->calls, c->id);
	free((char *)(uintptr_t)c->id.p);
	free(c);
}

struct front_call *front_wait(struct front *f, struct http_request *r)
{
	struct front_call *c = mem_alloc(sizeof(*c));

	*c = (struct front_call){.front = f, .request = r, .until_ms = -1};
	r->user = c;
	r->done = on_done;
	return c;
}

/* Mostly the last one. */
void front_accept_at(struct front *f, struct front_call *c, int64_t accept_ms)
{
	struct front_call *before = f->last;

	while (before && before->accept_ms > accept_ms)
		before = before->previous;
	c->accept_ms = accept_ms;
	c->previous = before;
	c->next = before ? before->next : f->first;
	*(before ? &before->next : &f->first) = c;
	*(c->next ? &c->next->previous : &f->last) = c;
}

int front_due_ms(const struct front *f, int64_t now_ms)
{
	if (!f->first)
		return -1;
	return f->first->accept_ms > now_ms ? (int)(f->first->accept_ms - now_ms) : 0;
}

void front_accept_due(struct front *f, int64_t now_ms)
{
	while (f->first && f->first->accept_ms <= now_ms)
		front_accept(f->first);
}

/* ---- answers ---- */

/* The id as text, with a NUL. */
static const char *id_text(struct front_call *c)
{
	struct buf *text = &c->front->text;

	buf_clear(text);
	ident_print(c->id, text);
	buf_putc(text, '\0');
	return text->p;
}

static void set_id(struct front_call *c)
{
	http_set_header(c->request, c->front->calls.ident.id.p, id_text(c));
}

/* It answers later requests too: whichever process is asked, it needs no memory of the call. */
void front_accept(struct front_call *c)
{
	struct buf place = {0}, body = {0};
	const char *id = id_text(c);

	forget_time(c);
	buf_puts(&place, "/calls/");
	text_put_url(&place, (struct span){id, strlen(id)}, "-._~:");
	if (c->until_ms >= 0)
		buf_printf(&place, "?until=%" PRId64, c->until_ms);
	buf_putc(&place, '\0');
	buf_puts(&body, "{\"id\":");
	json_put_text(&body, (struct span){id, strlen(id)});
	buf_puts(&body, "}\n");
	set_id(c);
	http_set_header(c->request, "Location", place.p);
	http_set_header(c->request, "Retry-After", "1");
	if (!c->is_fetch)
		http_set_header(c->request, "Preference-Applied", "respond-async");
	http_reply(c->request, 202, "application/json", &body);
	buf_free(&place);
	/* Nobody waits here any more; the reply will stay in the cache. */
	if (c->number)
		calls_cancel(&c->front->calls, c->number);
	c->number = 0;
	c->front->answers++;
}

void front_unavailable(struct front *f, struct http_request *r, const char *fmt, ...)
{
	char text[300];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	f->unavailable++;
	http_set_header(r, "Retry-After", "1");
	if (f->stopping)
		http_set_header(r, "Connection", "close");
	http_error(r, 503, "%s", text);
}

/* A header's value fits into a line of HTTP. */
static bool is_line(struct span value)
{
	for (size_t i = 0; i < value.len; i++)
		if (((unsigned char)value.p[i] < ' ' && value.p[i] != '\t') || value.p[i] == 0x7f)
			return false;
	return value.p;
}

static void set_header(struct front_call *c, const char *name, struct span value)
{
	struct buf *text = &c->front->text;

	if (!is_line(value))
		return;
	buf_clear(text);
	buf_span(text, value);
	buf_putc(text, '\0');
	http_set_header(c->request, name, text->p);
}

static bool same(const char *name, struct span header)
{
	return strlen(name) == header.len && strncasecmp(name, header.p, header.len) == 0;
}

/* Those of the list. @type: a copy of the content type, NULL none. */
static void set_headers(struct front_call *c, const struct record *r, char **type)
{
	const struct front_map *map = &c->front->reply_headers;
	struct buf *scratch = &c->front->scratch;
	struct span name, value;
	struct record_error e;
	struct json j = {0};

	*type = NULL;
	if (r->headers.type != JSON_ARRAY)
		return;
	buf_clear(scratch);
	buf_room(scratch, r->headers.text.len + BUF_SLACK);
	while (record_header(r, &j, scratch, &name, &value, &e) == 1) {
		for (size_t i = 0; i < map->count; i++)
			if (same(map->pairs[i].from, name))
				set_header(c, map->pairs[i].to, value);
		if (same("content-type", name) && is_line(value)) {
			free(*type);
			*type = span_text(value);
		}
	}
}

static const char *guess_type(struct span payload)
{
	struct json_value v;
	struct json why;

	if (payload.len && strchr("{[", payload.p[0]) && json_parse(payload, &v, &why) == 0)
		return "application/json";
	return json_utf8(payload) ? "text/plain; charset=utf-8" : "application/octet-stream";
}

/* The status that HTTP can say: one below 200 is no answer. */
static int http_status(int status)
{
	return status < 0 ? DONE : status < DONE ? 502 : status;
}

static void answer(struct front_call *c, struct span line)
{
	struct front *f = c->front;
	struct span payload = SPAN(""), got;
	struct record_error e;
	struct ident_call call;
	struct buf body = {0};
	struct record r;
	char *type;
	int status;

	if (record_parse(&r, line, &e) || ident_read(&f->calls.ident, &r, &f->scratch, &call, &e)) {
		http_error(c->request, 502, "the reply cannot be read: %s", e.message);
		return;
	}
	status = http_status(call.status);
	set_id(c);
	set_headers(c, &r, &type);
	buf_clear(&f->text);
	if (record_payload(&r, &f->text, &got, &e) == RECORD_BYTES)
		payload = got;
	if (status != NO_CONTENT && status != RESET_CONTENT && status != NOT_MODIFIED)
		buf_span(&body, payload);
	/* The text has room behind its end, as a scanner needs it. */
	http_reply(c->request, status,
		!body.len      ? type
			: type ? type
			       : guess_type(buf_as_span(&body)),
		&body);
	free(type);
}

static void no_reply(struct front_call *c)
{
	if (c->is_fetch && c->until_ms < 0) {
		http_error(c->request, 404, "there is no reply to a call of this id");
	} else if (c->is_fetch && c->until_ms > wake_epoch_ms()) {
		front_accept(c);
	} else {
		set_id(c);
		http_error(c->request, 504, "no reply has come in time");
	}
}

void front_result(void *front, const struct calls_result *result)
{
	struct front_call *c = result->user;
	struct front *f = front;

	/* Of several replies the first one counts here. */
	if (!c->number)
		return;
	forget_time(c);
	c->number = 0;
	if (!result->is_last)
		calls_cancel(&f->calls, result->call);
	if (result->line.p) {
		c->is_answered = !c->is_fetch;
		answer(c, result->line);
		f->answers++;
	} else {
		no_reply(c);
	}
}
