/* SPDX-License-Identifier: ISC */
/* Replies: records for `kwrite -p have`, made from what a worker has printed. */
#include "evcorr/serve.h"

#include "base/metrics.h"
#include "base/msg.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { STATUS_DONE = 200, STATUS_MIN = 100, STATUS_MAX = 599 };

/* ---- the status ---- */

static int status_of(struct span digits)
{
	int n = 0;

	if (digits.len != 3)
		return -1;
	for (size_t i = 0; i < digits.len; i++) {
		if (digits.p[i] < '0' || digits.p[i] > '9')
			return -1;
		n = n * 10 + digits.p[i] - '0';
	}
	return n >= STATUS_MIN && n <= STATUS_MAX ? n : -1;
}

/* The last line counts. */
int serve_status_of(struct span note)
{
	size_t from;

	while (note.len && strchr(" \r\n", note.p[note.len - 1]))
		note.len--;
	for (from = note.len; from && note.p[from - 1] != '\n'; from--)
		;
	note.p += from;
	note.len -= from;
	return note.len ? status_of(note) : 0;
}

/* ---- a reply ---- */

/* All but the payload, up to the last header, which is the status. */
static void put_head(struct serve *s, const struct serve_request *q)
{
	struct buf *out = &s->out.b;

	buf_puts(out, "{\"topic\":");
	json_put_text(out, q->topic);
	if (q->partition >= 0)
		buf_printf(out, ",\"partition\":%d", (int)q->partition);
	buf_puts(out, ",\"headers\":[");
	record_put_header(out, s->ident.id, q->id);
}

static void put_end(struct serve *s, const struct serve_request *q)
{
	struct buf *out = &s->out.b;

	if (q->seq.p) {
		buf_puts(out, ",\"seq\":\"");
		buf_span(out, q->seq);
		buf_putc(out, '"');
	}
	buf_puts(out, "}\n");
	metrics.records_out++;
}

static void put_payload(
	struct serve *s, const struct serve_request *q, struct span payload, int status)
{
	put_head(s, q);
	ident_put_status(&s->ident, status, &s->out.b);
	buf_puts(&s->out.b, "],");
	record_put_bytes(&s->out.b, "payload", payload);
	put_end(s, q);
}

void serve_reply_error(
	struct serve *s, const struct serve_request *q, int status, const char *fmt, ...)
{
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	msg_clean(text);
	s->failed++;
	put_payload(s, q, (struct span){text, strlen(text)}, status);
}

/* ---- a reply from a record ---- */

static bool same(struct span a, struct span b)
{
	return !a.p == !b.p && a.len == b.len && (a.len == 0 || memcmp(a.p, b.p, a.len) == 0);
}

/* Whether the request had this header with this value: then the worker has not added it, but left
 * it in. */
static bool was_there(const struct record *request, struct span name, struct span value)
{
	struct buf scratch = {0};
	struct record_error e;
	struct span n, v;
	struct json j = {0};
	bool found = false;

	buf_room(&scratch, request->headers.text.len + BUF_SLACK);
	while (!found && record_header(request, &j, &scratch, &n, &v, &e) == 1)
		found = same(n, name) && same(v, value);
	buf_free(&scratch);
	return found;
}

/* The headers that the worker has added. */
static void put_added(struct serve *s, const struct record *request, const struct record *reply)
{
	struct record_error e;
	struct span name, value;
	struct json j = {0};

	buf_clear(&s->scratch);
	buf_room(&s->scratch, reply->headers.text.len + BUF_SLACK);
	while (record_header(reply, &j, &s->scratch, &name, &value, &e) == 1) {
		if (same(name, s->ident.id) || same(name, s->ident.status) ||
			was_there(request, name, value))
			continue;
		buf_putc(&s->out.b, ',');
		record_put_header(&s->out.b, name, value);
	}
}

/* The member "status". Returns 0 when there is none, -1 when it is no status. */
static int status_member(const struct record *r)
{
	struct json_value name, value, status = {0};
	struct json j;

	json_init(&j, r->line);
	json_enter(&j, '{');
	while (json_member(&j, &name, &value) == 1)
		if (json_is(&name, "status"))
			status = value;
	if (status.type == JSON_ABSENT || status.type == JSON_NULL)
		return 0;
	return status.type == JSON_NUMBER ? status_of(status.text) : -1;
}

/* What stands in the worker's record for a member, as it stands there. */
static void put_member(struct serve *s, const char *name, const struct json_value *v)
{
	const char *quote = v->type == JSON_STRING ? "\"" : "";

	if (v->type == JSON_ABSENT)
		return;
	buf_printf(&s->out.b, ",\"%s\":%s", name, quote);
	buf_span(&s->out.b, v->text);
	buf_puts(&s->out.b, quote);
}

/* Whether the record names another call: the worker and we do not agree whose turn it is. */
static bool is_anothers(struct serve *s, const struct serve_request *q, const struct record *r)
{
	struct ident_call call;
	struct record_error e;

	return ident_read(&s->ident, r, &s->scratch, &call, &e) ||
		(call.id.p && !same(call.id, q->id));
}

static void reply_record(
	struct serve *s, const struct serve_request *q, struct span text, int status)
{
	struct record request, reply;
	struct record_error e;
	int own;

	if (record_parse(&reply, text, &e)) {
		serve_reply_error(s, q, 500, "'%s' printed a line that is no record: %s",
			s->argv[0], e.message);
		return;
	}
	own = status_member(&reply);
	if (own < 0 || is_anothers(s, q, &reply)) {
		serve_reply_error(s, q, 500, "'%s' printed a record with %s", s->argv[0],
			own < 0 ? "a \"status\" that is no number from 100 to 599"
				: "the id of another call");
		return;
	}
	record_parse(&request, (struct span){q->input.p, q->input.len - 1}, &e);
	put_head(s, q);
	put_added(s, &request, &reply);
	ident_put_status(&s->ident, own ? own : status ? status : STATUS_DONE, &s->out.b);
	buf_putc(&s->out.b, ']');
	put_member(s, "key", &reply.key);
	put_member(s, "key_b64", &reply.key_b64);
	put_member(s, "payload", &reply.payload);
	put_member(s, "payload_b64", &reply.payload_b64);
	put_end(s, q);
}

void serve_reply(struct serve *s, const struct serve_request *q, struct span text, int status)
{
	if (s->records)
		reply_record(s, q, text, status);
	else
		put_payload(s, q, text, status ? status : STATUS_DONE);
}
