/* SPDX-License-Identifier: ISC */
#include "evchain/origin.h"

#include "base/opt.h"

void origin_open(struct origin *o, const char *at)
{
	*o = (struct origin){0};
	if (strncmp(at, "header:", 7) == 0 && at[7]) {
		o->header = at + 7;
		return;
	}
	o->path = path_parse(at);
	o->parent = o->path ? path_parent(o->path, &o->name) : NULL;
	if (!o->parent)
		opt_bad("--at takes a path that ends in a name, or header:NAME, not '%s'", at);
}

static bool find_member(struct origin *o, const struct record *r, struct span *text)
{
	struct record_error e;
	struct json_value v;
	struct span payload;
	struct json why;

	/* Most payloads that have no such member are not parsed. */
	if (r->payload.type > JSON_NULL && !json_may_hold(r->payload.text, o->name))
		return false;
	buf_clear(&o->payload);
	if (record_payload(r, &o->payload, &payload, &e) != RECORD_BYTES)
		return false;
	if (path_find(o->path, payload, &v, &why) != 1)
		return false;
	if (v.type == JSON_NUMBER)
		*text = v.text;
	return v.type == JSON_NUMBER ||
		(v.type == JSON_STRING && json_string(&v, &o->text, text) == 0);
}

struct span origin_of(struct origin *o, const struct record *r)
{
	struct record_error e;
	struct span text = SPAN_NONE;

	buf_clear(&o->text);
	buf_clear(&o->escaped);
	if (o->header) {
		buf_room(&o->text, r->headers.text.len + 64);
		if (record_header_find(r, o->header, &o->text, &text, &e) != 1 || !text.p)
			return SPAN_NONE;
	} else if (!find_member(o, r, &text)) {
		return SPAN_NONE;
	}
	if (!json_utf8(text))
		return SPAN_NONE;
	json_escape(&o->escaped, text);
	return buf_as_span(&o->escaped);
}

void origin_close(struct origin *o)
{
	path_free(o->parent);
	path_free(o->path);
	buf_free(&o->payload);
	buf_free(&o->text);
	buf_free(&o->escaped);
}
