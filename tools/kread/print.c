/* SPDX-License-Identifier: ISC */
#include "kread/print.h"

#include "json/json.h"
#include "kread/wire.h"
#include "record/record.h"

#include <string.h>

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

void print_record(
	struct source *s, const struct kread_part *p, const rd_kafka_message_t *m, bool inline_json)
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
	record_put_bytes(b, "key", key);
	buf_putc(b, ',');
	if (inline_json && payload.p) {
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
