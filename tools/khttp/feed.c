/* SPDX-License-Identifier: ISC */
#include "khttp/feed.h"

enum { WINDOW_BYTES = 1 << 20 };

int feed_open(struct feed *f, const struct call *c, const struct records_how *how)
{
	*f = (struct feed){.in = {.how = *how, .file = http_body(c->r), .window = WINDOW_BYTES}};
	if (!records_begin(&f->in, &c->body, c->r->body))
		return f->in.status;
	f->begin = f->in;
	while (records_next(&f->in, &f->rs)) {
		f->count += f->rs.count;
		f->bytes += f->rs.bytes;
	}
	return f->in.status;
}

void feed_take(struct feed *f, struct http_request *r)
{
	f->body = http_take_body(r);
	f->in = f->begin;
}

void feed_next(struct feed *f)
{
	f->at += f->rs.count;
	f->over = !records_next(&f->in, &f->rs);
}

void feed_close(struct feed *f)
{
	records_free(&f->rs);
	buf_free(&f->in.errors);
	http_body_free(f->body);
}
