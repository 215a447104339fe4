/* SPDX-License-Identifier: ISC */
#include "khttp/body.h"

#include "base/msg.h"
#include "base/num.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static size_t count_of(const struct buf *errors)
{
	size_t n = errors->len ? 1 : 0;

	/* Members stand on lines of their own. */
	for (size_t i = 0; i < errors->len; i++)
		n += errors->p[i] == '\n';
	return n;
}

void body_wrong(struct buf *errors, const char *fmt, ...)
{
	char text[300];
	va_list ap;

	if (count_of(errors) >= BODY_ERRORS_MAX)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	msg_clean(text);
	if (errors->len)
		buf_puts(errors, ",\n");
	json_put_text(errors, (struct span){text, strlen(text)});
}

const char *body_type_name(const struct json_value *v)
{
	static const char *const names[] = {[JSON_NULL] = "null",
		[JSON_FALSE] = "boolean",
		[JSON_TRUE] = "boolean",
		[JSON_NUMBER] = "number",
		[JSON_STRING] = "string",
		[JSON_ARRAY] = "array",
		[JSON_OBJECT] = "object"};

	return v->type == JSON_NUMBER && v->integer ? "integer" : names[v->type];
}

/* "string, object" */
static const char *types_text(unsigned types, char *text, size_t size)
{
	static const struct {
		unsigned type;
		const char *name;
	} all[] = {{BODY_STRING, "string"}, {BODY_OBJECT, "object"}, {BODY_ARRAY, "array"},
		{BODY_NUMBER, "number"}, {BODY_INTEGER, "integer"}, {BODY_BOOLEAN, "boolean"},
		{BODY_NULL, "null"}};
	size_t n = 0;

	*text = '\0';
	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
		if (types & all[i].type)
			n += (size_t)snprintf(
				text + n, size - n, "%s%s", n ? ", " : "", all[i].name);
	return text;
}

static bool has_type(const struct json_value *v, unsigned types)
{
	return (types & (1u << v->type)) ||
		((types & BODY_INTEGER) && v->type == JSON_NUMBER && v->integer);
}

static struct body_field *find(
	struct body_field *fields, size_t count, const struct json_value *name)
{
	for (size_t i = 0; i < count; i++)
		if (name->escaped ? json_is(name, fields[i].name)
				  : span_is(name->text, fields[i].name))
			return &fields[i];
	return NULL;
}

/* Returns whether it fits: not every error finds room in @errors. */
static bool take(const struct json_value *name, const struct json_value *v, const char *where,
	struct body_field *f, struct buf *errors)
{
	char types[80];

	if (!f) {
		int shown = name->text.len < 80 ? (int)name->text.len : 80;

		body_wrong(
			errors, "%s: property '%.*s' is not allowed", where, shown, name->text.p);
	} else if (!has_type(v, f->types)) {
		body_wrong(errors, "%s/%s: instance type %s is invalid. Expected %s", where,
			f->name, body_type_name(v), types_text(f->types, types, sizeof(types)));
	} else {
		f->v = *v;
		return true;
	}
	return false;
}

/* The value at the cursor. The elements of a list are passed by one after the other. */
static int take_value(struct json *j, struct http_body *file, struct json_value *v)
{
	struct json_value element;
	int got;

	if (!http_body_is_large(file) || json_peek(j) != '[')
		return json_value(j, v);
	*v = (struct json_value){.type = JSON_ARRAY, .text.p = j->p};
	if (json_enter(j, '['))
		return -1;
	while ((got = json_element(j, &element)) == 1)
		http_body_pass(file, j->p);
	v->text.len = (size_t)(j->p - v->text.p);
	return got;
}

int body_parse(struct span text, struct http_body *file, struct json_value *v)
{
	struct json_value name, value;
	struct json j;
	int got;

	json_init(&j, text);
	if (!http_body_is_large(file) || json_peek(&j) != '{')
		return json_parse(text, v, NULL);
	*v = (struct json_value){.type = JSON_OBJECT, .text.p = j.p};
	json_enter(&j, '{');
	while ((got = json_key(&j, &name)) == 1)
		if (take_value(&j, file, &value))
			return -1;
	v->text.len = (size_t)(j.p - v->text.p);
	return got ? -1 : json_done(&j);
}

static bool take_members(const struct json_value *object, struct http_body *file, const char *where,
	struct body_field *fields, size_t count, struct buf *errors)
{
	struct json_value name, v;
	bool fits = true;
	struct json j;

	if (object->type != JSON_OBJECT) {
		body_wrong(errors, "%s: instance type %s is invalid. Expected object", where,
			body_type_name(object));
		return false;
	}
	json_init(&j, object->text);
	json_enter(&j, '{');
	while (json_key(&j, &name) == 1 && !take_value(&j, file, &v))
		fits = take(&name, &v, where, find(fields, count, &name), errors) && fits;
	for (size_t i = 0; fits && i < count; i++)
		if (fields[i].required && !fields[i].v.type) {
			body_wrong(errors, "%s: instance does not have required property '%s'",
				where, fields[i].name);
			fits = false;
		}
	return fits;
}

bool body_object(const struct json_value *object, const char *where, struct body_field *fields,
	size_t count, struct buf *errors)
{
	return take_members(object, NULL, where, fields, count, errors);
}

bool body_root(const struct json_value *object, struct http_body *file, struct body_field *fields,
	size_t count, struct buf *errors)
{
	return take_members(object, file, "#", fields, count, errors);
}

int body_int(const struct json_value *v, int64_t *n)
{
	char text[24];

	if (v->text.len >= sizeof(text))
		return -1;
	memcpy(text, v->text.p, v->text.len);
	text[v->text.len] = '\0';
	return num_i64(text, n);
}

char *body_text(const struct json_value *v)
{
	struct buf text = {0};

	if (v->lone || json_unescape(&text, v->text) || memchr(text.p ? text.p : "", 0, text.len)) {
		buf_free(&text);
		return NULL;
	}
	buf_putc(&text, '\0');
	return text.p;
}

static int digit(char c)
{
	return c >= 'A' && c <= 'Z'    ? c - 'A'
		: c >= 'a' && c <= 'z' ? c - 'a' + 26
		: c >= '0' && c <= '9' ? c - '0' + 52
		: c == '+'	       ? 62
		: c == '/'	       ? 63
				       : -1;
}

int body_base64(struct buf *out, struct span text, char *why, size_t why_size)
{
	size_t n = text.len, padding = 0;
	unsigned bits = 0, got = 0;
	char *to;

	while (padding < 2 && n && text.p[n - 1] == '=') {
		n--;
		padding++;
	}
	to = buf_room(out, n / 4 * 3 + 3);
	for (size_t i = 0; i < n; i++) {
		int d = digit(text.p[i]);

		if (d < 0) {
			snprintf(why, why_size, "Illegal base64 character %x",
				(unsigned char)text.p[i]);
			return -1;
		}
		bits = bits << 6 | (unsigned)d;
		if (++got == 4) {
			*to++ = (char)(bits >> 16);
			*to++ = (char)(bits >> 8);
			*to++ = (char)bits;
			got = bits = 0;
		}
	}
	if (got == 1 || (padding && (got + padding) % 4)) {
		snprintf(why, why_size, "Input byte array has wrong 4-byte ending unit");
		return -1;
	}
	if (got == 2)
		*to++ = (char)(bits >> 4);
	if (got == 3) {
		*to++ = (char)(bits >> 10);
		*to++ = (char)(bits >> 2);
	}
	out->len = (size_t)(to - out->p);
	return 0;
}
