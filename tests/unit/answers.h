/* SPDX-License-Identifier: ISC */
/* What the tests of Kafka's answers share. */
#ifndef EVPIPE_ANSWERS_H
#define EVPIPE_ANSWERS_H

#include "kafka/protocol-parts.h"
#include "test.h"

/* Reads no part of the first @needed bytes, each at the end of what may be read, and then all,
 * which is returned: free it with span_free. */
static inline struct span answer_alone(struct buf *b, size_t needed, int (*read)(struct span))
{
	struct span all;

	for (size_t n = 0; n < needed; n++) {
		struct span part = span_flush((struct span){b->p, n}, 0);

		assert_int_equal(read(part), -1);
		span_free(part);
	}
	all = span_flush(buf_as_span(b), 'x');
	assert_int_equal(read(all), 0);
	buf_free(b);
	*b = (struct buf){0};
	return all;
}

static inline void put_ids(struct buf *b, int n, const int32_t *ids)
{
	proto_put_i32(b, n);
	for (int i = 0; i < n; i++)
		proto_put_i32(b, ids[i]);
}

#endif
