/* SPDX-License-Identifier: ISC */
#include "kread/marks.h"

#include "base/mem.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

/* Marks that no commit settles are thinned as well. */
enum { OPEN_MAX = 1 << 16 };

#define HEAD "evpipe1"

void marks_free(struct marks *m)
{
	free(m->open);
	*m = (struct marks){0};
}

void marks_grow(struct marks *m)
{
	if (m->size < OPEN_MAX) {
		m->size = m->size ? m->size * 2 : 64;
		m->open = mem_realloc(m->open, m->size * sizeof(*m->open));
		return;
	}
	/* Every second one, and the last. */
	for (uint32_t i = 1; i < m->count; i += 2)
		m->open[i / 2] = m->open[i];
	m->count /= 2;
}

/* Of marks that are visited from the newest on: keeps each that is at least one part in @part
 * farther from the newest than the one kept before it. */
struct thinning {
	int64_t newest, least, part;
};

static bool keeps(struct thinning *t, int64_t offset)
{
	int64_t distance = t->newest - offset;

	if (distance < t->least)
		return false;
	t->least = distance + distance / t->part + 1;
	return true;
}

void marks_settle(struct marks *m, int64_t position)
{
	struct kread_mark kept[MARKS_PAST];
	size_t settled = marks_count(m), n = 0;
	struct thinning thinning = {.part = 4};

	while (settled > m->past_count && marks_at(m, settled - 1).offset >= position)
		settled--;
	if (settled == m->past_count)
		return;
	thinning.newest = marks_at(m, settled - 1).offset;
	for (size_t i = settled; i-- > 0 && n < MARKS_PAST;)
		if (keeps(&thinning, marks_at(m, i).offset))
			kept[n++] = marks_at(m, i);
	m->count -= (uint32_t)settled - m->past_count;
	memmove(m->open, m->open + (settled - m->past_count), m->count * sizeof(*m->open));
	for (size_t i = 0; i < n; i++)
		m->past[i] = kept[n - 1 - i];
	m->past_count = (uint32_t)n;
}

void marks_cut(struct marks *m, int64_t offset)
{
	while (m->count && m->open[m->count - 1].offset >= offset)
		m->count--;
	while (!m->count && m->past_count && m->past[m->past_count - 1].offset >= offset)
		m->past_count--;
}

/* "evpipe1 OFFSET:SUM … @ID", the newest first. */
void marks_print(const struct marks *m, const char *id, struct buf *b)
{
	struct thinning thinning = {.part = 2};

	if (m->past_count)
		thinning.newest = m->past[m->past_count - 1].offset;
	buf_puts(b, HEAD);
	for (size_t i = m->past_count; i-- > 0;)
		if (keeps(&thinning, m->past[i].offset))
			buf_printf(b, " %" PRId64 ":%" PRIx32, m->past[i].offset, m->past[i].sum);
	if (*id)
		buf_printf(b, " @%s", id);
}

void marks_parse(
	struct marks *m, char id[MARKS_ID_SIZE], const char *text, size_t size, int64_t position)
{
	struct kread_mark marks[MARKS_PAST];
	char copy[MARKS_PAST * 32], *s = copy + sizeof(HEAD) - 1, *end, *at;
	size_t n = 0;

	*id = '\0';
	if (size < sizeof(HEAD) || size >= sizeof(copy) || memcmp(text, HEAD, sizeof(HEAD) - 1))
		return;
	memcpy(copy, text, size);
	copy[size] = '\0';
	at = strstr(copy, " @");
	if (at) {
		snprintf(id, MARKS_ID_SIZE, "%s", at + 2);
		*at = '\0';
	}
	for (; *s == ' ' && n < MARKS_PAST; s = end, n++) {
		marks[n].offset = strtoll(s + 1, &end, 10);
		if (*end != ':')
			return;
		marks[n].sum = (uint32_t)strtoul(end + 1, &end, 16);
		if (marks[n].offset < 0 || marks[n].offset >= position ||
			(n && marks[n].offset >= marks[n - 1].offset))
			return;
	}
	if (*s)
		return;
	for (size_t i = 0; i < n; i++)
		m->past[i] = marks[n - 1 - i];
	m->past_count = (uint32_t)n;
}
