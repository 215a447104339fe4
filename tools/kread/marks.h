/* SPDX-License-Identifier: ISC */
/* Marks of the records of one partition that were read: by them it is seen whether a position still
 * names the record that it was taken behind. A log that was truncated, or a topic that was made
 * anew, has others there.
 *
 * A mark is an offset and a sum over the record's time, its lengths and the first and last bytes of
 * key and payload. Marks below the position that is committed are thinned: each is a quarter
 * farther from the newest than the one before it, so that few are kept however long the log is.
 * Fewer still, each half as far again, travel in the metadata of a commit. */
#ifndef EVPIPE_KREAD_MARKS_H
#define EVPIPE_KREAD_MARKS_H

#include "base/buf.h"

#include <librdkafka/rdkafka.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { MARKS_PAST = 96, MARKS_ID_SIZE = 24 };

struct kread_mark {
	int64_t offset;
	uint32_t sum;
};

/* All zero: none. Offsets ascend. */
struct marks {
	struct kread_mark past[MARKS_PAST]; /* below the position that was settled last */
	struct kread_mark *open; /* the others */
	uint32_t past_count, count, size;
};

void marks_free(struct marks *m);
/* Makes room for a mark. */
void marks_grow(struct marks *m);

static inline uint32_t marks_mix(uint32_t sum, const unsigned char *bytes, size_t size)
{
	uint64_t first = 0, last = 0;

	if (size >= 8) {
		memcpy(&first, bytes, 8);
		memcpy(&last, bytes + size - 8, 8);
	} else if (size) {
		memcpy(&first, bytes, size);
	}
	first = (first ^ sum ^ (uint64_t)size << 32) * UINT64_C(0x9e3779b97f4a7c15);
	last = (last ^ first >> 29 ^ first) * UINT64_C(0xbf58476d1ce4e5b9);
	return (uint32_t)(last >> 32);
}

static inline uint32_t marks_sum(const rd_kafka_message_t *m)
{
	rd_kafka_timestamp_type_t type;
	int64_t ts = rd_kafka_message_timestamp(m, &type);

	return marks_mix(
		marks_mix(marks_mix(0, (const unsigned char *)&ts, sizeof(ts)), m->key, m->key_len),
		m->payload, m->len);
}

/* A record was read. Its offset is above all before. */
static inline void marks_put(struct marks *m, int64_t offset, uint32_t sum)
{
	if (m->count == m->size)
		marks_grow(m);
	m->open[m->count++] = (struct kread_mark){offset, sum};
}

/* All records below @position are settled: their marks are thinned. */
void marks_settle(struct marks *m, int64_t position);
/* How many there are; the one with that index, from the oldest. */
static inline size_t marks_count(const struct marks *m)
{
	return m->past_count + m->count;
}
static inline struct kread_mark marks_at(const struct marks *m, size_t i)
{
	return i < m->past_count ? m->past[i] : m->open[i - m->past_count];
}
/* Forgets those from @offset on. */
void marks_cut(struct marks *m, int64_t offset);

/* The settled marks and the topic's @id ("": not known) as text for a commit's metadata, appended;
 * without a NUL. */
void marks_print(const struct marks *m, const char *id, struct buf *b);
/* Reads such a text into @m, which has no marks: those below @position; and into @id. Any other
 * text gives none. */
void marks_parse(
	struct marks *m, char id[MARKS_ID_SIZE], const char *text, size_t size, int64_t position);

#endif
