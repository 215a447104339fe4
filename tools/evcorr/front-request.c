/* SPDX-License-Identifier: ISC */
/* From a request by HTTP to a call. */
#include "evcorr/front.h"

#include "base/num.h"
#include "base/text.h"
#include "base/wake.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---- what is asked for ---- */

struct asked {
	int64_t timeout_ms, wait_ms; /* wait_ms: Prefer: wait=N; -1: not said */
	bool async, has_wait;
};

/* A time as in options: 5, 5s, 300ms. Returns -1 when it is none. */
static int64_t read_time(const char *text)
{
	char copy[32];
	int64_t ms;
	size_t n;

	text += strspn(text, " \t");
	n = strcspn(text, " \t");
	if (n >= sizeof(copy) || text[n + strspn(text + n, " \t")])
		return -1;
	memcpy(copy, text, n);
	copy[n] = '\0';
	return num_duration_ms(copy, &ms) || ms < 0 ? -1 : ms;
}

static bool is_token(struct span s, const char *token)
{
	return s.len == strlen(token) && strncasecmp(s.p, token, s.len) == 0;
}

static struct span trim(struct span s)
{
	while (s.len && strchr(" \t", s.p[s.len - 1]))
		s.len--;
	while (s.len && strchr(" \t", *s.p)) {
		s.p++;
		s.len--;
	}
	return s;
}

/* The next of a list with commas, without white space around and what stands behind a semicolon. */
static bool next_of(const char **list, struct span *item)
{
	*list += strspn(*list, " \t,");
	*item = trim((struct span){*list, text_until(*list, ",;")});
	*list += text_until(*list, ",");
	return item->len;
}

/* Of the value of a preference: 5, or "5". */
static int64_t read_wait(struct span value)
{
	char text[32];

	value = trim(value);
	if (value.len > 1 && *value.p == '"' && value.p[value.len - 1] == '"')
		value = (struct span){value.p + 1, value.len - 2};
	if (value.len >= sizeof(text))
		return -1;
	memcpy(text, value.p, value.len);
	text[value.len] = '\0';
	return read_time(text);
}

/* Of those with the same name the first counts (RFC 7240); one that cannot be read is as none. */
static void on_prefer(void *at, const char *name, const char *value)
{
	struct asked *a = at;
	struct span item;

	if (strcasecmp(name, "Prefer"))
		return;
	while (next_of(&value, &item)) {
		const char *equals = memchr(item.p, '=', item.len);
		size_t n = equals ? (size_t)(equals - item.p) : item.len;
		struct span key = trim((struct span){item.p, n});

		if (is_token(key, "respond-async"))
			a->async = true;
		if (!is_token(key, "wait") || a->has_wait)
			continue;
		a->has_wait = true;
		if (equals)
			a->wait_ms = read_wait((struct span){equals + 1, item.len - n - 1});
	}
}

/* Returns false when it has answered. */
static bool read_asked(struct front *f, struct http_request *r, struct asked *a)
{
	static const char *const names[] = {"X-Timeout", "Request-Timeout"};

	*a = (struct asked){.timeout_ms = f->calls.timeout_ms, .wait_ms = -1};
	for (size_t i = 2; i-- > 0;) {
		const char *value = http_header(r, names[i]);

		if (!value)
			continue;
		a->timeout_ms = read_time(value);
		if (a->timeout_ms <= 0) {
			http_error(r, 400, "header %s takes a time above 0, such as 5, 5s or 300ms",
				names[i]);
			return false;
		}
	}
	if (a->timeout_ms > f->max_timeout_ms)
		a->timeout_ms = f->max_timeout_ms;
	http_each(r, HTTP_HEADER, on_prefer, a);
	return true;
}

/* ---- what is refused ---- */

static bool may_call(struct front *f, struct http_request *r)
{
	if (tokens_allow(&f->tokens, http_header(r, "Authorization")))
		return true;
	http_set_header(r, "WWW-Authenticate", "Bearer");
	http_error(r, 401, "a token is needed: Authorization: Bearer TOKEN");
	return false;
}

/* "application/json", "application/" and a star, or stars. */
static bool type_fits(const char *pattern, struct span type)
{
	size_t n = strlen(pattern);

	if (strcmp(pattern, "*/*") == 0)
		return true;
	if (n > 2 && strcmp(pattern + n - 2, "/*") == 0)
		return type.len >= n && strncasecmp(type.p, pattern, n - 1) == 0;
	return is_token(type, pattern);
}

static bool is_json(struct span type)
{
	return is_token(type, "application/json") ||
		(type.len > 5 && strncasecmp(type.p + type.len - 5, "+json", 5) == 0);
}

/* Returns 0, or the status of a refusal. */
static int check_type(const struct front *f, struct http_request *r, struct span *type)
{
	const char *text = http_header(r, "Content-Type");

	*type = SPAN("");
	if (text)
		next_of(&text, type);
	if (http_body_is_coded(r))
		return 415;
	for (int i = 0; i < f->types->count; i++)
		if (type_fits(f->types->sval[i], *type))
			return 0;
	return f->types->count ? 415 : 0;
}

static bool check_body(struct front *f, struct http_request *r)
{
	struct json_value v;
	struct json why;
	struct span type;

	if (check_type(f, r, &type)) {
		http_error(r, 415, "the body's type '%.*s', or its encoding, is not taken here",
			(int)(type.len < 100 ? type.len : 100), type.p);
		return false;
	}
	if (!is_json(type))
		return true;
	if (!r->body.len) {
		http_error(r, 400, "the body is no JSON: it is empty");
		return false;
	}
	if (json_parse(r->body, &v, &why) == 0)
		return true;
	http_error(r, 400, "the body is no JSON: %s at byte %zu", why.why,
		(size_t)(why.p - why.start));
	return false;
}

/* Whether a call can be made now; else it has answered. */
static bool has_room(struct front *f, struct http_request *r)
{
	if (f->stopping)
		front_unavailable(f, r, "the server is about to end");
	else if (!calls_hears(&f->calls))
		front_unavailable(f, r, "Redis cannot be reached: a reply would not be heard");
	else if (f->command.away)
		front_unavailable(f, r, "the server that requests go to cannot be reached");
	else if (f->calls.trouble.status)
		front_unavailable(f, r, "requests cannot be sent");
	else if (!calls_room(&f->calls))
		front_unavailable(f, r, "%zu calls are on their way, and no more can be sent",
			calls_count(&f->calls));
	else
		return true;
	return false;
}

/* ---- the record ---- */

/* A request's headers become a record's. */
struct mapping {
	struct front *f;
	size_t count;
	bool has_id;
	bool bad_id;
};

static void put_header(struct mapping *m, struct span name, struct span value)
{
	struct buf *record = &m->f->record;

	if (m->count++)
		buf_putc(record, ',');
	record_put_header(record, name, value);
}

static struct span text_span(const char *text)
{
	return (struct span){text, strlen(text)};
}

static void put_id(struct mapping *m, const char *value)
{
	struct buf *id = &m->f->scratch;

	buf_clear(id);
	if (m->has_id || ident_parse(value, id))
		m->bad_id = true;
	else
		put_header(m, m->f->calls.ident.id, buf_as_span(id));
	m->has_id = true;
}

static void on_header(void *at, const char *name, const char *value)
{
	struct mapping *m = at;
	const struct front_map *map = &m->f->request_headers;

	if (strcasecmp(name, m->f->calls.ident.id.p) == 0)
		put_id(m, value);
	for (size_t i = 0; i < map->count; i++) {
		const struct front_pair *p = &map->pairs[i];

		if (strcasecmp(name, p->from))
			continue;
		if (strcmp(p->to, m->f->calls.ident.id.p) == 0)
			put_id(m, value);
		else
			put_header(m, text_span(p->to), text_span(value));
	}
}

/* Returns 0, or -1 when the id that the client has chosen is none. */
static int make_record(struct front *f, struct http_request *r)
{
	const struct front_map *map = &f->request_headers;
	struct mapping m = {.f = f};

	buf_clear(&f->record);
	buf_puts(&f->record, "{\"headers\":[");
	for (size_t i = 0; i < map->count; i++)
		if (strcmp(map->pairs[i].from, ":path") == 0)
			put_header(&m, text_span(map->pairs[i].to), text_span(r->path));
	http_each(r, HTTP_HEADER, on_header, &m);
	buf_puts(&f->record, "],");
	record_put_bytes(&f->record, "payload", r->body.p ? r->body : SPAN(""));
	buf_putc(&f->record, '}');
	return m.bad_id ? -1 : 0;
}

/* ---- the handlers ---- */

static void send_call(struct front *f, struct http_request *r, const struct asked *a)
{
	struct record_error e = {0};
	struct front_call *c;
	struct span id;
	struct record record;
	uint64_t number;

	if (make_record(f, r)) {
		http_error(r, 400, "header %s is no id", f->calls.ident.id.p);
		return;
	}
	if (record_parse(&record, buf_as_span(&f->record), &e)) {
		http_error(r, 400, "%s", e.message);
		return;
	}
	c = front_wait(f, r);
	number = calls_send(&f->calls, &record, a->timeout_ms, c, &e);
	if (!number) {
		http_error(r, e.class == CLASS_INVALID_RECORD ? 409 : 400, "%s", e.message);
		return;
	}
	c->number = number;
	c->until_ms = wake_epoch_ms() + a->timeout_ms;
	id = calls_id(&f->calls, number);
	c->id = (struct span){span_text(id), id.len};
	http_drop_body(r);
	if (a->async && a->wait_ms > 0)
		front_accept_at(f, c, f->now_ms + a->wait_ms);
	else if (a->async)
		front_accept(c);
}

void front_post(void *front, struct http_request *r)
{
	struct front *f = front;
	struct asked asked;

	f->requests++;
	if (may_call(f, r) && check_body(f, r) && read_asked(f, r, &asked) && has_room(f, r))
		send_call(f, r, &asked);
}

static int64_t read_until(struct http_request *r)
{
	const char *text = http_query(r, "until");
	int64_t ms;

	return text && num_i64(text, &ms) == 0 && ms >= 0 ? ms : -1;
}

/* A reply is fetched as often as it is in the cache. */
static void fetch(struct front *f, struct http_request *r, const struct asked *a)
{
	int64_t wait_ms = http_header(r, "X-Timeout") || http_header(r, "Request-Timeout")
		? a->timeout_ms
		: a->wait_ms;
	struct front_call *c = front_wait(f, r);

	c->is_fetch = true;
	c->until_ms = read_until(r);
	buf_clear(&f->scratch);
	if (ident_parse(http_param(r, "id"), &f->scratch)) {
		http_error(r, 404, "there is no call of this id");
		return;
	}
	c->id = (struct span){span_text(buf_as_span(&f->scratch)), f->scratch.len};
	if (wait_ms > f->max_timeout_ms)
		wait_ms = f->max_timeout_ms;
	c->number = calls_wait(&f->calls, c->id, wait_ms < 0 ? 0 : wait_ms, c);
	/* Another client waits for it. */
	if (!c->number)
		front_accept(c);
}

void front_fetch(void *front, struct http_request *r)
{
	struct front *f = front;
	struct asked asked;

	f->requests++;
	if (!may_call(f, r) || !read_asked(f, r, &asked))
		return;
	if (!calls_hears(&f->calls))
		front_unavailable(f, r, "Redis cannot be reached");
	else if (table_is_full(&f->calls.table))
		front_unavailable(f, r, "%zu calls are on their way", calls_count(&f->calls));
	else
		fetch(f, r, &asked);
}
