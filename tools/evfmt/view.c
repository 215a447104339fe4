/* SPDX-License-Identifier: ISC */
#include "evfmt/view.h"

void view_record(struct view *v, const struct record *r)
{
	v->r = r;
	v->known = 0;
}

static struct span plain(const struct json_value *value, struct buf *scratch)
{
	struct span s = SPAN_NONE;

	if (value->type == JSON_NUMBER)
		return value->text;
	if (value->type == JSON_STRING)
		json_string(value, scratch, &s);
	return s;
}

static struct span name(
	const struct json_value *text, const struct json_value *base64, struct buf *scratch)
{
	struct record_error e;
	struct span s;

	return record_name(text, base64, scratch, &s, &e) == RECORD_BYTES ? s : SPAN_NONE;
}

static struct span record_time(const struct record *r, struct buf *scratch)
{
	int64_t ms = r->ts.type == JSON_NUMBER ? -1 : record_time_ms(r);

	if (ms < 0)
		return plain(&r->ts, scratch);
	buf_int(scratch, ms);
	return buf_as_span(scratch);
}

static struct span decode(const struct record *r, enum view_field f, struct buf *scratch)
{
	switch (f) {
	case VIEW_TOPIC:
		return plain(&r->topic, scratch);
	case VIEW_PARTITION:
		return plain(&r->partition, scratch);
	case VIEW_OFFSET:
		return plain(&r->offset, scratch);
	case VIEW_TS:
		return record_time(r, scratch);
	case VIEW_TSTYPE:
		return plain(&r->tstype, scratch);
	case VIEW_KEY:
		return name(&r->key, &r->key_b64, scratch);
	case VIEW_PAYLOAD:
		return name(&r->payload, &r->payload_b64, scratch);
	case VIEW_CHANNEL:
		return name(&r->channel, &r->channel_b64, scratch);
	case VIEW_PATTERN:
		return name(&r->pattern, &r->pattern_b64, scratch);
	case VIEW_STREAM:
		return name(&r->stream, &r->stream_b64, scratch);
	case VIEW_ID:
		return plain(&r->id, scratch);
	case VIEW_SEQ:
		return plain(&r->seq, scratch);
	case VIEW_FIELDS:
		break;
	}
	return SPAN_NONE;
}

struct span view_field(struct view *v, enum view_field f)
{
	if (!(v->known & 1u << f)) {
		v->known |= 1u << f;
		buf_clear(&v->scratch[f]);
		v->field[f] = decode(v->r, f, &v->scratch[f]);
	}
	return v->field[f];
}

struct span view_header(struct view *v, const char *name)
{
	struct record_error e;
	struct span value;

	buf_clear(&v->header);
	return record_header_find(v->r, name, &v->header, &value, &e) == 1 ? value : SPAN_NONE;
}

void view_headers(struct view *v,
	void (*each)(void *ctx, size_t i, struct span name, struct span value), void *ctx)
{
	struct json j = {0};
	struct record_error e;
	struct span name, value;

	buf_clear(&v->header);
	buf_room(&v->header, v->r->headers.text.len + 64);
	for (size_t i = 0; record_header(v->r, &j, &v->header, &name, &value, &e) == 1; i++)
		each(ctx, i, name, value);
}
