/* SPDX-License-Identifier: ISC */
#include "kread/print.h"

#include "base/msg.h"
#include "json/json.h"
#include "kread/wire.h"
#include "record/record.h"

#include <inttypes.h>
#include <string.h>

/* ---- options ---- */

void print_opts(struct print_opts *o)
{
	o->json = arg_lit0("j", "json", "print JSON objects and arrays inline, not as strings");
	o->key_type = arg_str0(NULL, "key-type", "i32|i64|i32le|i64le",
		"keys are numbers in binary form: print their digits; also i8, i16, u8 to u64");
	o->raw = arg_lit0(NULL, "raw", "print payloads alone, one a line; tombstones not at all");
	o->nul = arg_lit0("0", "null", "with --raw: end payloads with NUL instead of LF");
	o->framing = arg_str0(NULL, "framing", "len32",
		"payloads alone, each behind its length in four bytes, big endian");
	o->no_end = arg_lit0(NULL, "no-end", "with --raw -c 1: a payload and nothing behind it");
}

void print_take(struct print *p, const struct print_opts *o, int64_t count)
{
	const char *framing = opt_text(o->framing, "--framing");
	const char *type = opt_text(o->key_type, "--key-type");

	if (framing && strcmp(framing, "len32"))
		opt_bad("--framing takes len32, not '%s'", framing);
	if (type && !keytype_parse(type, &p->key_type))
		opt_bad("--key-type takes " KEYTYPE_FORMS ", not '%s'", type);
	p->framed = framing;
	p->raw = o->raw->count || framing;
	p->inline_json = o->json->count;
	p->no_end = o->no_end->count;
	p->end = o->nul->count ? '\0' : '\n';
	if (o->nul->count && !p->raw)
		opt_bad("-0 needs --raw: a record is one line");
	if (p->no_end && !(p->raw && count == 1))
		opt_bad("--no-end needs --raw -c 1: further payloads could not be told apart; --framing len32 puts their lengths before them");
	if (o->nul->count + p->no_end + p->framed > 1)
		opt_bad("-0, --no-end and --framing exclude each other");
	if (p->inline_json && p->raw)
		opt_bad("-j and --raw exclude each other");
	if (type && p->raw)
		opt_bad("--key-type does not go with --raw, which prints no keys");
}

/* ---- a record ---- */

/* The payload as it stands, when it is a JSON object or array that fits into a line. Tried in
 * place, in brackets, so that the nesting counts as it will in the record. */
static bool put_inline(struct buf *b, struct span payload)
{
	struct json_value v;
	struct json why;
	size_t at = b->len;

	if (!payload.len || !strchr("{[", payload.p[0]) || memchr(payload.p, '\n', payload.len) ||
		memchr(payload.p, '\r', payload.len) || !strchr("}]", payload.p[payload.len - 1]))
		return false;
	buf_putc(b, '[');
	buf_span(b, payload);
	buf_putc(b, ']');
	if (json_parse((struct span){b->p + at, payload.len + 2}, &v, &why)) {
		b->len = at;
		return false;
	}
	b->p[at] = ':';
	b->len--;
	return true;
}

static void put_headers(struct buf *b, const rd_kafka_message_t *m)
{
	rd_kafka_headers_t *headers;
	struct span name, value;

	if (wire_has_no_headers(m) || rd_kafka_message_headers(m, &headers))
		return;
	for (size_t i = 0;
		!rd_kafka_header_get_all(headers, i, &name.p, (const void **)&value.p, &value.len);
		i++) {
		buf_puts(b, i ? "," : ",\"headers\":[");
		name.len = strlen(name.p);
		record_put_header(b, name, value);
	}
	if (rd_kafka_header_cnt(headers))
		buf_putc(b, ']');
}

/* A key of another length is printed in base64, so that no program takes it for a number's
 * digits. */
static void put_number(struct print *p, struct buf *b, const rd_kafka_message_t *m)
{
	char text[KEYTYPE_TEXT_MAX];
	struct span key = {m->key, m->key_len};
	struct span digits = keytype_digits(&p->key_type, key, text);

	if (digits.p || !key.p) {
		record_put_bytes(b, "key", digits);
		return;
	}
	if (!p->told_key)
		msg_warn(
			"%s/%" PRId32 "@%" PRId64
			": a key of %zu bytes is no %s; it is printed as key_b64, as will be others; this is said once",
			rd_kafka_topic_name(m->rkt), m->partition, m->offset, key.len,
			p->key_type.name);
	p->told_key = true;
	buf_puts(b, "\"key_b64\":\"");
	buf_base64(b, key.p, key.len);
	buf_putc(b, '"');
}

static void put_record(struct print *form, struct source *s, const struct kread_part *p,
	const rd_kafka_message_t *m)
{
	struct span key = {m->key, m->key_len}, payload = {m->payload, m->len};
	struct buf *b = &s->out.b;
	rd_kafka_timestamp_type_t type;
	int64_t ts = rd_kafka_message_timestamp(m, &type);
	int32_t broker = rd_kafka_message_broker_id(m);

	buf_put(b, p->head.p, p->head.len);
	buf_int(b, m->offset);
	if (p->account)
		source_put_seq(s, b);
	if (type != RD_KAFKA_TIMESTAMP_NOT_AVAILABLE) {
		buf_puts(b,
			type == RD_KAFKA_TIMESTAMP_CREATE_TIME
				? ",\"tstype\":\"create\",\"ts\":"
				: ",\"tstype\":\"logappend\",\"ts\":");
		buf_int(b, ts);
	}
	if (broker >= 0) {
		buf_puts(b, ",\"broker\":");
		buf_int(b, broker);
	}
	put_headers(b, m);
	buf_putc(b, ',');
	if (form->key_type.bytes)
		put_number(form, b, m);
	else
		record_put_bytes(b, "key", key);
	buf_putc(b, ',');
	if (form->inline_json && payload.p) {
		buf_puts(b, "\"payload\"");
		if (put_inline(b, payload)) {
			buf_put(b, "}\n", 2);
			return;
		}
		b->len -= sizeof("\"payload\"") - 1;
	}
	record_put_bytes(b, "payload", payload);
	buf_put(b, "}\n", 2);
}

/* ---- a payload ---- */

/* A tombstone has the length -1. */
static void put_frame(struct buf *b, const rd_kafka_message_t *m)
{
	uint32_t n = m->payload ? (uint32_t)m->len : UINT32_MAX;

	buf_put(b,
		(const unsigned char[]){(unsigned char)(n >> 24), (unsigned char)(n >> 16),
			(unsigned char)(n >> 8), (unsigned char)n},
		4);
	buf_put(b, m->payload, m->payload ? m->len : 0);
}

void print_message(struct print *p, struct source *s, const struct kread_part *part,
	const rd_kafka_message_t *m)
{
	if (!p->raw) {
		put_record(p, s, part, m);
	} else if (p->framed) {
		put_frame(&s->out.b, m);
	} else if (m->payload) {
		buf_put(&s->out.b, m->payload, m->len);
		if (!p->no_end)
			buf_putc(&s->out.b, p->end);
	}
}
