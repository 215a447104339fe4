/* SPDX-License-Identifier: ISC */
#include "base/catalog.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

void catalog_add(struct catalog *c, struct span name)
{
	buf_put(&c->text, &name.len, sizeof(name.len));
	buf_span(&c->text, name);
	c->count++;
}

static int by_bytes(const void *a, const void *b)
{
	const struct span *x = a, *y = b;
	int order = memcmp(x->p, y->p, x->len < y->len ? x->len : y->len);

	return order ? order : (x->len > y->len) - (x->len < y->len);
}

size_t catalog_put(const struct catalog *c, char end, struct buf *b)
{
	struct span *names = mem_alloc((c->count + 1) * sizeof(*names));
	const char *p = c->text.p;
	size_t left_out = 0;

	for (size_t i = 0; i < c->count; i++) {
		memcpy(&names[i].len, p, sizeof(names[i].len));
		names[i].p = p + sizeof(names[i].len);
		p = names[i].p + names[i].len;
	}
	qsort(names, c->count, sizeof(*names), by_bytes);
	for (size_t i = 0; i < c->count; i++) {
		if (i && by_bytes(&names[i - 1], &names[i]) == 0)
			continue;
		if (memchr(names[i].p, end, names[i].len)) {
			left_out++;
			continue;
		}
		buf_span(b, names[i]);
		buf_putc(b, end);
	}
	free(names);
	return left_out;
}

void catalog_free(struct catalog *c)
{
	buf_free(&c->text);
	c->count = 0;
}
