/* SPDX-License-Identifier: ISC */
#include "rapply/commands.h"

#include "rapply/names.h"
#include "rapply/writer.h"

#include <inttypes.h>
#include <stdio.h>
#include <strings.h>

void commands_free(struct commands *c)
{
	buf_free(&c->payload);
	buf_free(&c->key);
	buf_free(&c->text);
}

bool commands_can_allow(const char *name, const char **why)
{
	switch (names_kind((struct span){name, strlen(name)})) {
	case NAME_NEVER:
		*why = "it changes the connection or the transaction, and is refused always";
		return false;
	case NAME_HARMLESS:
		*why = "no dangerous command of that name is known, and others need not be let through";
		return false;
	case NAME_DANGEROUS:
		break;
	}
	return true;
}

/* ["SET","k","v"], or a list of such. */
static int put_array(struct writer *w, struct span array)
{
	struct json_value v;
	struct json j;

	json_init(&j, array);
	json_enter(&j, '[');
	while (json_next(&j, ']') == 1 && json_peek(&j) == '[') {
		if (json_value(&j, &v))
			return writer_refuse(w, "the payload is not JSON");
		writer_begin(w);
		if (writer_words(w, v.text) || writer_end(w))
			return -1;
		array.len = 0;
	}
	if (!array.len)
		return j.depth ? writer_refuse(w, "a list holds commands alone: arrays of words")
			       : 0;
	writer_begin(w);
	return writer_words(w, array) ? -1 : writer_end(w);
}

/* ---- {"op":…} ---- */

struct op {
	struct json_value op, key, key_b64, value, value_b64, field, fields, args, ttl_ms, ttl;
};

static int read_op(struct writer *w, struct span object, struct op *op)
{
	const struct {
		const char *name;
		struct json_value *v;
	} members[] = {{"op", &op->op}, {"key", &op->key}, {"key_b64", &op->key_b64},
		{"value", &op->value}, {"value_b64", &op->value_b64}, {"field", &op->field},
		{"fields", &op->fields}, {"args", &op->args}, {"ttl_ms", &op->ttl_ms},
		{"ttl", &op->ttl}};
	struct json_value key, value;
	struct json j;

	*op = (struct op){0};
	json_init(&j, object);
	json_enter(&j, '{');
	while (json_member(&j, &key, &value) == 1)
		for (size_t i = 0; i < sizeof(members) / sizeof(*members); i++)
			if (json_is(&key, members[i].name) && value.type != JSON_NULL)
				*members[i].v = value;
	if (op->op.type != JSON_STRING)
		return writer_refuse(w, "an object without \"op\", the name of a command");
	if (op->ttl.type)
		return writer_refuse(w, "\"ttl\" has no unit: give \"ttl_ms\"");
	if (op->ttl_ms.type && (op->ttl_ms.type != JSON_NUMBER || !op->ttl_ms.integer))
		return writer_refuse(w, "\"ttl_ms\" is no integer");
	if (op->fields.type && op->fields.type != JSON_OBJECT)
		return writer_refuse(w, "\"fields\" is no object");
	return 0;
}

/* When the key is to expire: counted from the record's time, so that a replay does not lengthen its
 * life. */
static int expiry(struct writer *w, const struct op *op, char text[24], struct span *at)
{
	int64_t ttl_ms = record_int(&op->ttl_ms, INT64_MAX), at_ms;
	int n;

	if (*op->ttl_ms.text.p == '-' || ttl_ms == 0)
		return writer_refuse(w, "\"ttl_ms\" is not above 0");
	if (w->ts < 0)
		return writer_refuse(
			w, "\"ttl_ms\" counts from the record's time, and it has none");
	if (ttl_ms == INT64_MAX || __builtin_add_overflow(w->ts, ttl_ms, &at_ms))
		return writer_refuse(w, "\"ttl_ms\" is too large");
	n = snprintf(text, 24, "%" PRId64, at_ms);
	*at = (struct span){text, (size_t)n};
	return 0;
}

static int put_key(struct writer *w, const struct op *op)
{
	if (op->key_b64.type)
		return writer_base64(w, &op->key_b64);
	return writer_scalar(w, &op->key);
}

static int put_fields(struct writer *w, struct span object)
{
	struct json_value key, value;
	struct json j;
	int got;

	json_init(&j, object);
	json_enter(&j, '{');
	while ((got = json_member(&j, &key, &value)) == 1)
		if (value.type != JSON_NULL && (writer_string(w, &key) || writer_value(w, &value)))
			return -1;
	return got;
}

static int put_operands(struct writer *w, const struct op *op)
{
	if (op->field.type && writer_scalar(w, &op->field))
		return -1;
	if (op->fields.type && put_fields(w, op->fields.text))
		return -1;
	if (op->value_b64.type && writer_base64(w, &op->value_b64))
		return -1;
	if (op->value.type && writer_value(w, &op->value))
		return -1;
	if (op->args.type && writer_words(w, op->args.text))
		return -1;
	return 0;
}

static int put_expiry(struct writer *w, const struct op *op, struct span at)
{
	writer_begin(w);
	writer_word(w, SPAN("PEXPIREAT"));
	if (put_key(w, op))
		return -1;
	writer_word(w, at);
	return writer_end(w);
}

static int put_op(struct writer *w, struct span object)
{
	struct span at = SPAN_NONE;
	char text[24];
	struct op op;
	bool sets, expires;

	if (read_op(w, object, &op) || (op.ttl_ms.type && expiry(w, &op, text, &at)))
		return -1;
	if (!op.key.type && !op.key_b64.type && !op.args.type)
		return writer_refuse(w, "an object without \"key\"");
	if (at.p && !op.key.type && !op.key_b64.type)
		return writer_refuse(w, "\"ttl_ms\" without \"key\"");
	sets = op.op.text.len == 3 && strncasecmp(op.op.text.p, "SET", 3) == 0;
	if (sets && !op.value.type && !op.value_b64.type)
		return writer_refuse(w, "SET without \"value\"");
	expires = at.p &&
		((op.op.text.len == 6 && strncasecmp(op.op.text.p, "EXPIRE", 6) == 0) ||
			(op.op.text.len == 7 && strncasecmp(op.op.text.p, "PEXPIRE", 7) == 0));
	if (expires)
		return put_expiry(w, &op, at);
	writer_begin(w);
	if (writer_string(w, &op.op) || ((op.key.type || op.key_b64.type) && put_key(w, &op)) ||
		put_operands(w, &op))
		return -1;
	if (sets && at.p) {
		writer_word(w, SPAN("PXAT"));
		writer_word(w, at);
	}
	if (writer_end(w))
		return -1;
	if (!at.p || sets)
		return 0;
	w->c->hangs_together = true;
	return w->c->in_script ? put_expiry(w, &op, at) : writer_expire(w, at);
}

/* ---- records ---- */

static int put_command(struct writer *w, struct span payload)
{
	struct json_value v;
	struct json why;

	if (json_parse(payload, &v, &why))
		return record_refuse(w->e, CLASS_JSON_DECODE,
			"the payload is no command: not JSON: %s", why.why);
	if (v.type == JSON_ARRAY)
		return put_array(w, v.text);
	if (v.type == JSON_OBJECT)
		return put_op(w, v.text);
	return writer_refuse(w, "the payload is no command: neither an array nor an object");
}

static int put_string(struct writer *w, struct span key, struct span payload)
{
	writer_begin(w);
	writer_word(w, SPAN("SET"));
	writer_word(w, key);
	writer_word(w, payload);
	return writer_end(w);
}

static int put_delete(struct writer *w, struct span key)
{
	writer_begin(w);
	writer_word(w, SPAN("DEL"));
	writer_word(w, key);
	return writer_end(w);
}

/* The hash becomes the object: fields that are not in it go. */
static int put_hash(struct writer *w, struct span key, struct span payload)
{
	struct json_value v;
	struct json why;

	if (json_parse(payload, &v, &why))
		return record_refuse(
			w->e, CLASS_JSON_DECODE, "the payload is no hash: not JSON: %s", why.why);
	if (v.type != JSON_OBJECT)
		return writer_refuse(w, "the payload is no hash: not an object");
	if (put_delete(w, key))
		return -1;
	writer_begin(w);
	writer_word(w, SPAN("HSET"));
	writer_word(w, key);
	if (put_fields(w, v.text))
		return -1;
	if (w->words > 2)
		return writer_end(w);
	w->out->len = w->begin;
	return 0;
}

static int put_record(struct writer *w, const struct record *r)
{
	struct commands *c = w->c;
	struct span payload, key = SPAN_NONE;
	enum record_bytes got;

	buf_clear(&c->payload);
	buf_clear(&c->key);
	got = record_payload(r, &c->payload, &payload, w->e);
	if (got == RECORD_BAD)
		return -1;
	if (got == RECORD_BYTES && c->form == COMMANDS_AS_COMMAND)
		return put_command(w, payload);
	switch (record_key(r, &c->key, &key, w->e)) {
	case RECORD_BAD:
		return -1;
	case RECORD_NULL:
		return record_refuse(w->e, CLASS_MISSING_KEY, "%s without a key",
			got == RECORD_NULL ? "a tombstone" : "a record");
	case RECORD_BYTES:
		break;
	}
	if (got == RECORD_NULL)
		return put_delete(w, key);
	return c->form == COMMANDS_AS_HASH ? put_hash(w, key, payload)
					   : put_string(w, key, payload);
}

int commands_put(struct commands *c, const struct record *r, struct buf *out, uint32_t *count,
	struct record_error *e)
{
	struct writer w = {.c = c, .out = out, .e = e, .ts = record_int(&r->ts, -1)};
	size_t at = out->len;

	c->hangs_together = false;
	if (put_record(&w, r)) {
		out->len = at;
		return -1;
	}
	*count = w.count;
	return 0;
}
