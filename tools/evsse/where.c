/* SPDX-License-Identifier: ISC */
#include "evsse/where.h"

#include "base/mem.h"
#include "json/path.h"
#include "record/record.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum op { OP_IS, OP_EQUAL, OP_UNEQUAL, OP_LESS, OP_AT_MOST, OP_MORE, OP_AT_LEAST };

struct condition {
	struct path *path; /* NULL: of a header */
	char *header;
	enum op op;
	char *value;
	bool is_number;
	double number;
};

struct where {
	char *text; /* of the query: what is the same is shared */
	struct where *next;
	unsigned refs;
	char **keys;
	size_t key_count;
	struct condition *conditions;
	size_t count;
	/* The last answer: clients ask one after the other for the same event. */
	const struct entry *entry;
	uint64_t seq;
	bool holds;
};

static struct where *all;

/* ---- reading ---- */

/* Where the operator begins: not within quotes or brackets. */
static size_t find_op(const char *s)
{
	bool quoted = false;
	size_t i, depth = 0;

	for (i = 0; s[i]; i++) {
		if (s[i] == '\\' && quoted && s[i + 1])
			i++;
		else if (s[i] == '"')
			quoted = !quoted;
		else if (!quoted && s[i] == '[')
			depth++;
		else if (!quoted && s[i] == ']' && depth)
			depth--;
		else if (!quoted && !depth && strchr("=!<>", s[i]))
			break;
	}
	return i;
}

static const struct {
	const char *text;
	enum op op;
} ops[] = {{"==", OP_EQUAL}, {"!=", OP_UNEQUAL}, {"<=", OP_AT_MOST}, {">=", OP_AT_LEAST},
	{"=", OP_EQUAL}, {"<", OP_LESS}, {">", OP_MORE}};

static bool is_number(const char *s, double *n)
{
	char *end;

	*n = strtod(s, &end);
	return end != s && !*end && !strpbrk(s, "xXnNpP");
}

static char *trim(char *s)
{
	size_t n;

	s += strspn(s, " ");
	n = strlen(s);
	while (n && s[n - 1] == ' ')
		s[--n] = '\0';
	return s;
}

/* Returns whether there is an operator that is known, and cuts the text there. */
static int read_op(struct condition *c, char *text)
{
	char *at = text + find_op(text), *value;
	size_t n;

	if (!*at)
		return 0;
	for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
		n = strlen(ops[i].text);
		if (strncmp(at, ops[i].text, n))
			continue;
		*at = '\0';
		c->op = ops[i].op;
		value = trim(at + n);
		n = strlen(value);
		if (n > 1 && value[0] == '"' && value[n - 1] == '"') {
			value[n - 1] = '\0';
			value++;
		} else {
			c->is_number = is_number(value, &c->number);
		}
		c->value = mem_dup(value);
		return 0;
	}
	return -1;
}

static int read_condition(struct condition *c, const char *query)
{
	char *text = mem_dup(query), *path, *name;
	int bad = read_op(c, text);

	name = trim(text);
	if (!bad && strncmp(name, "header:", 7) == 0) {
		c->header = mem_dup(name + 7);
		bad = !name[7];
	} else if (!bad) {
		path = mem_printf("%s%s", *name == '.' || *name == '[' ? "" : ".", name);
		c->path = path_parse(path);
		bad = !*name || !c->path;
		free(path);
	}
	free(text);
	return bad ? -1 : 0;
}

struct reading {
	struct where *w;
	struct buf text;
	char *bad; /* the condition that is none */
};

static void on_query(void *ctx, const char *name, const char *value)
{
	struct reading *g = ctx;
	struct where *w = g->w;

	if (strcmp(name, "key") == 0) {
		w->keys = mem_realloc(w->keys, (w->key_count + 1) * sizeof(*w->keys));
		w->keys[w->key_count++] = mem_dup(value);
	} else if (strcmp(name, "where") == 0) {
		w->conditions = mem_realloc(w->conditions, (w->count + 1) * sizeof(*w->conditions));
		w->conditions[w->count] = (struct condition){0};
		if (read_condition(&w->conditions[w->count++], value) && !g->bad)
			g->bad = mem_dup(value);
	} else {
		return;
	}
	buf_printf(&g->text, "%s=%s\n", name, value);
}

static void free_where(struct where *w)
{
	for (size_t i = 0; i < w->key_count; i++)
		free(w->keys[i]);
	for (size_t i = 0; i < w->count; i++) {
		if (w->conditions[i].path)
			path_free(w->conditions[i].path);
		free(w->conditions[i].header);
		free(w->conditions[i].value);
	}
	free(w->keys);
	free(w->conditions);
	free(w->text);
	free(w);
}

int where_take(const struct http_request *r, struct where **where, char *why, size_t why_size)
{
	struct reading g = {.w = mem_alloc(sizeof(*g.w))};
	struct where *w;

	*where = NULL;
	*g.w = (struct where){.refs = 1};
	http_each(r, HTTP_QUERY, on_query, &g);
	buf_putc(&g.text, '\0');
	g.w->text = g.text.p;
	if (g.bad || !g.w->text[0]) {
		if (g.bad)
			snprintf(why, why_size,
				"where=%s is no condition: .a.b=VALUE, header:NAME=VALUE, or with != < <= > >=",
				g.bad);
		free_where(g.w);
		free(g.bad);
		return g.bad ? -1 : 0;
	}
	for (w = all; w && strcmp(w->text, g.w->text); w = w->next)
		;
	if (w) {
		free_where(g.w);
		w->refs++;
	} else {
		w = g.w;
		w->next = all;
		all = w;
	}
	*where = w;
	return 0;
}

void where_drop(struct where *w)
{
	struct where **link = &all;

	if (!w || --w->refs)
		return;
	while (*link != w)
		link = &(*link)->next;
	*link = w->next;
	free_where(w);
}

/* ---- asking ---- */

/* The record of an event, parsed once for all conditions. */
static struct {
	const struct entry *entry;
	uint64_t seq;
	bool is_record, has_payload, has_key;
	struct record record;
	struct buf scratch;
	struct span payload, key;
} view;

static void look_at(const struct entry *e)
{
	struct span line = {e->text + e->record_at + 6, e->record_end - e->record_at - 8};
	struct record_error why;
	static struct buf keys;

	if (view.entry == e && view.seq == e->seq)
		return;
	view.entry = e;
	view.seq = e->seq;
	buf_clear(&view.scratch);
	buf_clear(&keys);
	view.is_record = record_parse(&view.record, line, &why) == 0;
	view.has_key =
		view.is_record && record_key(&view.record, &keys, &view.key, &why) == RECORD_BYTES;
	view.has_payload = view.is_record &&
		record_payload(&view.record, &view.scratch, &view.payload, &why) == RECORD_BYTES;
}

static int compare(const struct condition *c, struct span text, bool number)
{
	size_t len = strlen(c->value), least = text.len < len ? text.len : len;
	int order;

	if (number && c->is_number) {
		char *copy = span_text(text);
		double n = strtod(copy, NULL);

		free(copy);
		return n < c->number ? -1 : n > c->number;
	}
	order = least ? memcmp(text.p, c->value, least) : 0;
	return order ? order : text.len < len ? -1 : text.len > len;
}

static bool op_holds(const struct condition *c, struct span text, bool number)
{
	int order;

	if (c->op == OP_IS)
		return true;
	order = compare(c, text, number);
	switch (c->op) {
	case OP_EQUAL:
		return order == 0;
	case OP_UNEQUAL:
		return order != 0;
	case OP_LESS:
		return order < 0;
	case OP_AT_MOST:
		return order <= 0;
	case OP_MORE:
		return order > 0;
	default:
		return order >= 0;
	}
}

static bool payload_holds(const struct condition *c)
{
	static struct buf text;
	struct json_value v;
	struct json why;
	struct span s;

	if (!view.has_payload || path_find(c->path, view.payload, &v, &why) != 1)
		return c->op == OP_UNEQUAL;
	if (c->op == OP_IS)
		return v.type != JSON_NULL && v.type != JSON_FALSE;
	s = v.text;
	buf_clear(&text);
	if (v.type == JSON_STRING && json_string(&v, &text, &s))
		return c->op == OP_UNEQUAL;
	return op_holds(c, s, v.type == JSON_NUMBER);
}

static bool header_holds(const struct condition *c)
{
	static struct buf scratch;
	struct record_error why;
	struct span value;
	double n;
	char *text;
	bool number;

	buf_clear(&scratch);
	buf_room(&scratch, view.record.headers.text.len + 64);
	if (!view.is_record ||
		record_header_find(&view.record, c->header, &scratch, &value, &why) != 1 ||
		!value.p)
		return c->op == OP_UNEQUAL;
	text = span_text(value);
	number = is_number(text, &n);
	free(text);
	return op_holds(c, value, number);
}

static bool key_holds(const struct where *w)
{
	for (size_t i = 0; i < w->key_count; i++)
		if (view.has_key && span_is(view.key, w->keys[i]))
			return true;
	return !w->key_count;
}

bool where_holds(struct where *w, const struct entry *e)
{
	if (w->entry == e && w->seq == e->seq)
		return w->holds;
	look_at(e);
	w->entry = e;
	w->seq = e->seq;
	w->holds = key_holds(w);
	for (size_t i = 0; i < w->count && w->holds; i++)
		w->holds = w->conditions[i].path ? payload_holds(&w->conditions[i])
						 : header_holds(&w->conditions[i]);
	return w->holds;
}
