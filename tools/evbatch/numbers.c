/* SPDX-License-Identifier: ISC */
/* The numbers of a batch: just those that were read, whatever order they came in. From least to
 * greatest would be wrong: behind a program that changes the order, a number between them may be
 * elsewhere. */
#include "evbatch/numbers.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

void numbers_add(struct numbers *n, uint64_t from, uint64_t to)
{
	if (n->count && from == n->ranges[n->count - 1].to + 1) {
		n->ranges[n->count - 1].to = to;
		return;
	}
	if (n->count == n->cap) {
		n->cap = n->cap ? n->cap * 2 : 16;
		n->ranges = mem_realloc(n->ranges, n->cap * sizeof(*n->ranges));
	}
	n->ranges[n->count++] = (struct numbers_range){from, to};
}

void numbers_add_name(struct numbers *n, struct span name)
{
	if (n->names.len >= name.len &&
		memcmp(n->names.p + n->names.len - name.len, name.p, name.len) == 0)
		return;
	if (n->names.len)
		buf_putc(&n->names, ' ');
	buf_span(&n->names, name);
}

void numbers_clear(struct numbers *n)
{
	n->count = 0;
	buf_clear(&n->names);
}

static int by_from(const void *a, const void *b)
{
	const struct numbers_range *x = a, *y = b;

	return x->from < y->from ? -1 : x->from > y->from;
}

static void merge(struct numbers *n)
{
	size_t last = 0;

	qsort(n->ranges, n->count, sizeof(*n->ranges), by_from);
	for (size_t i = 1; i < n->count; i++) {
		struct numbers_range *to = &n->ranges[last], *r = &n->ranges[i];

		if (r->from > to->to + 1)
			n->ranges[++last] = *r;
		else if (r->to > to->to)
			to->to = r->to;
	}
	n->count = last + 1;
}

void numbers_text(struct numbers *n, struct buf *out)
{
	if (!n->count)
		return;
	merge(n);
	for (size_t i = 0; i < n->count; i++) {
		if (i)
			buf_putc(out, ',');
		buf_int(out, (int64_t)n->ranges[i].from);
		if (n->ranges[i].to == n->ranges[i].from)
			continue;
		buf_putc(out, '-');
		buf_int(out, (int64_t)n->ranges[i].to);
	}
}
