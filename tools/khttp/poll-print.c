/* SPDX-License-Identifier: ISC */
#include "khttp/instance.h"

#include "base/text.h"

#include <inttypes.h>
#include <stdio.h>

const enum media print_media[] = {MEDIA_JSON, MEDIA_BINARY, MEDIA_TEXT};

static void put_base64(struct buf *b, struct span s)
{
	buf_putc(b, '"');
	buf_base64(b, s.p, s.len);
	buf_putc(b, '"');
}

/* Appends a key or a value. Returns NULL; or why it is not of the format, with null in its
 * place. */
static const char *put_bytes(struct buf *b, enum consumer_format format, struct span s)
{
	size_t at = b->len;
	struct json_value v;
	struct json why = {.why = "empty"};

	if (!s.p) {
		buf_puts(b, "null");
	} else if (format == FORMAT_BINARY) {
		put_base64(b, s);
	} else if (format == FORMAT_TEXT) {
		if (json_utf8(s)) {
			json_put_text(b, s);
		} else {
			buf_puts(b, "null");
			return "not UTF-8";
		}
	} else {
		/* The scanner needs readable bytes behind the text, which a message has not. */
		buf_span(b, s);
		if (!s.len || json_parse((struct span){b->p + at, s.len}, &v, &why)) {
			b->len = at;
			buf_puts(b, "null");
			return why.why;
		}
	}
	return NULL;
}

static void put_headers(struct buf *b, const rd_kafka_message_t *m)
{
	rd_kafka_headers_t *headers;
	struct span name, value;

	if (rd_kafka_message_headers(m, &headers))
		return;
	for (size_t n = 0;
		!rd_kafka_header_get_all(headers, n, &name.p, (const void **)&value.p, &value.len);
		n++) {
		buf_puts(b, n ? ",{\"key\":" : ",\"headers\":[{\"key\":");
		name.len = strlen(name.p);
		if (json_utf8(name))
			json_put_text(b, name);
		else
			put_base64(b, name);
		buf_puts(b, ",\"value\":");
		if (value.p)
			put_base64(b, value);
		else
			buf_puts(b, "null");
		buf_putc(b, '}');
	}
	if (rd_kafka_header_cnt(headers))
		buf_putc(b, ']');
}

/* What stands beside the null of a key or value that has no such form. */
static void put_raw(struct buf *b, const char *name, struct span s)
{
	buf_printf(b, ",\"%s\":", name);
	put_base64(b, s);
}

void print_json(struct buf *b, enum consumer_format format, const rd_kafka_message_t *m)
{
	struct span key = {m->key, m->key_len}, value = {m->payload, m->len};
	const char *bad_key, *bad_value, *flaw;

	buf_puts(b, "{\"topic\":\"");
	buf_puts(b, rd_kafka_topic_name(m->rkt));
	buf_puts(b, "\",\"key\":");
	bad_key = put_bytes(b, format, key);
	buf_puts(b, ",\"value\":");
	bad_value = put_bytes(b, format, value);
	buf_puts(b, ",\"partition\":");
	buf_int(b, m->partition);
	buf_puts(b, ",\"offset\":");
	buf_int(b, m->offset);
	buf_puts(b, ",\"timestamp\":");
	buf_int(b, rd_kafka_message_timestamp(m, NULL));
	put_headers(b, m);
	if (bad_value)
		put_raw(b, "raw", value);
	if (bad_key)
		put_raw(b, "raw_key", key);
	flaw = bad_value ? bad_value : bad_key;
	if (flaw) {
		buf_puts(b, ",\"error\":");
		json_put_text(b, (struct span){flaw, strlen(flaw)});
	}
	buf_putc(b, '}');
}

const char *print_flaw(enum consumer_format format, const rd_kafka_message_t *m)
{
	struct span key = {m->key, m->key_len}, value = {m->payload, m->len};
	struct buf scratch = {0};
	const char *bad_key = put_bytes(&scratch, format, key);
	const char *bad_value = put_bytes(&scratch, format, value);
	static char text[400];

	buf_free(&scratch);
	if (!bad_key && !bad_value)
		return NULL;
	snprintf(text, sizeof(text),
		"Failed to decode: the %s at %s-%" PRId32 ", offset %" PRId64 ", is not %s: %s",
		bad_key ? "key" : "value", rd_kafka_topic_name(m->rkt), m->partition, m->offset,
		format == FORMAT_TEXT ? "text" : "JSON", bad_key ? bad_key : bad_value);
	return text;
}
