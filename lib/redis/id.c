/* SPDX-License-Identifier: ISC */
#include "redis/id.h"

#include "base/mem.h"

#include <stdlib.h>

static int number(const char **p, const char *end, uint64_t *n)
{
	const char *from = *p;
	unsigned digit;

	*n = 0;
	for (; *p < end && (digit = (unsigned)**p - '0') < 10; ++*p) {
		if (*n > (UINT64_MAX - digit) / 10)
			return -1;
		*n = *n * 10 + digit;
	}
	return *p > from ? 0 : -1;
}

int id_parse(struct span text, struct id *id)
{
	const char *p = text.p, *end = text.p + text.len;

	id->seq = 0;
	if (number(&p, end, &id->ms))
		return -1;
	if (p == end)
		return 0;
	if (*p++ != '-' || number(&p, end, &id->seq))
		return -1;
	return p == end ? 0 : -1;
}

static char *put_number(char *end, uint64_t n)
{
	do
		*--end = (char)('0' + n % 10);
	while (n /= 10);
	return end;
}

struct span id_text(struct id id, char *text)
{
	char *end = text + ID_TEXT - 1, *p = put_number(end, id.seq);

	*end = '\0';
	*--p = '-';
	p = put_number(p, id.ms);
	return (struct span){p, (size_t)(end - p)};
}

struct id id_before(struct id id)
{
	if (id.seq)
		return (struct id){id.ms, id.seq - 1};
	return id.ms ? (struct id){id.ms - 1, UINT64_MAX} : id;
}

void id_set_add(struct id_set *s, struct id id)
{
	if (s->count == s->cap) {
		s->cap = s->cap ? 2 * s->cap : 64;
		s->ids = mem_realloc(s->ids, s->cap * sizeof(*s->ids));
	}
	s->ids[s->count++] = id;
}

static int compare(const void *a, const void *b)
{
	return id_compare(*(const struct id *)a, *(const struct id *)b);
}

void id_set_sort(struct id_set *s)
{
	if (s->count)
		qsort(s->ids, s->count, sizeof(*s->ids), compare);
}

bool id_set_has(const struct id_set *s, struct id id)
{
	return s->count && bsearch(&id, s->ids, s->count, sizeof(*s->ids), compare);
}
