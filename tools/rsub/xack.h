/* SPDX-License-Identifier: ISC */
/* The entries of one stream that are final and whose XACK Redis has not yet confirmed. */
#ifndef EVPIPE_RSUB_XACK_H
#define EVPIPE_RSUB_XACK_H

#include "base/buf.h"
#include "redis/id.h"

#include <stddef.h>
#include <stdint.h>

struct xack { /* a ring: head <= sent <= ready <= tail */
	struct id *ids;
	size_t cap; /* a power of 2 */
	uint64_t head, sent; /* from sent on an XACK is to be sent */
	uint64_t ready; /* from here on it is to wait, for standard output */
	uint64_t tail;
	unsigned round; /* answers of other rounds do not count */
};

void xack_add(struct xack *a, struct id id);
/* How many are to be sent with the next XACK, and their ids appended as RESP words. */
uint64_t xack_due(const struct xack *a);
void xack_put(struct xack *a, uint64_t count, struct buf *out);
/* The oldest @count ids are confirmed. */
static inline void xack_confirm(struct xack *a, uint64_t count)
{
	a->head += count;
}
/* An XACK has failed or its fate is not known: all that is not confirmed is sent again. */
void xack_again(struct xack *a);

#endif
