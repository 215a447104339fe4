/* SPDX-License-Identifier: ISC */
/* The first field of the payload's name is the payload, and the first of the key's name the key;
 * all others are headers, in their order. So an entry that rpub has written comes back as the
 * record that it was. */
#include "rsub/entry.h"

#include "record/record.h"

int entry_take(struct resp *list, struct entry *e)
{
	struct resp_value v;
	uint64_t left;

	*e = (struct entry){.count = -1};
	switch (resp_next(list, &v)) {
	case RESP_NIL:
		return 0;
	case RESP_ARRAY:
		break;
	default:
		return -1;
	}
	if (v.n != 2 || resp_next(list, &v) != RESP_STRING || id_parse(v.text, &e->id))
		return -1;
	if (resp_next(list, &v) == RESP_NIL)
		return 0;
	if (v.type != RESP_ARRAY || v.n % 2)
		return -1;
	e->count = v.n;
	e->fields = *list;
	left = (uint64_t)v.n;
	return resp_skip(list, &left) == RESP_NIL ? 0 : -1;
}

struct parts {
	struct span key, payload;
	bool has_key, has_payload;
};

static bool is_named(struct span name, const char *field)
{
	return field && span_is(name, field);
}

static void take_fields(struct entry_form *f, const struct entry *e, struct parts *p)
{
	struct resp c = e->fields;
	struct resp_value name, value;

	buf_clear(&f->headers);
	for (int64_t i = 0; i < e->count; i += 2) {
		resp_next(&c, &name);
		resp_next(&c, &value);
		if (!p->has_payload && is_named(name.text, f->field)) {
			p->payload = value.text;
			p->has_payload = true;
		} else if (!p->has_key && is_named(name.text, f->key_field)) {
			p->key = value.text;
			p->has_key = true;
		} else if (!f->raw) {
			if (f->headers.len)
				buf_putc(&f->headers, ',');
			record_put_header(&f->headers, name.text, value.text);
		}
	}
}

size_t entry_put(struct entry_form *f, struct source *s, struct span head, bool numbered,
	const struct entry *e, struct buf *out)
{
	struct parts p = {0};

	take_fields(f, e, &p);
	if (f->raw) {
		buf_span(out, p.payload);
		buf_putc(out, f->end);
		return p.payload.len;
	}
	buf_span(out, head);
	id_put(out, e->id);
	buf_putc(out, '"');
	if (f->headers.len) {
		buf_puts(out, ",\"headers\":[");
		buf_span(out, buf_as_span(&f->headers));
		buf_putc(out, ']');
	}
	if (numbered)
		source_put_seq(s, out);
	if (f->key_field) {
		buf_putc(out, ',');
		record_put_bytes(out, "key", p.key);
	}
	buf_putc(out, ',');
	record_put_bytes(out, "payload", p.payload);
	buf_putc(out, '}');
	buf_putc(out, f->end);
	return p.key.len + p.payload.len;
}
