/* SPDX-License-Identifier: ISC */
/* Records whose topic was deleted under them, and maybe made anew: with fewer partitions, say. That
 * is no fault of theirs. The topic is asked about again, which takes as long as a topic that does
 * not exist may need to come about, and they are sent to what is there then, in the order of their
 * refusal. */
#ifndef KWRITE_ANEW_H
#define KWRITE_ANEW_H

#include "kwrite/delivery.h"

struct anew {
	/* internal */
	bool off;
	struct topics *topics;
	struct deliveries *deliveries;
	struct shape shape; /* with buffers of its own */
	struct delivery **list;
	size_t count, capacity;
};

/* @shape: as lines became messages. @off: for transactions; then nothing is taken over. */
void anew_open(struct anew *a, struct topics *ts, struct deliveries *ds, const struct shape *shape,
	bool off);
/* Takes over a record of which the report says that its topic or its partition is not there. */
bool anew_takes(struct anew *a, struct delivery *d, rd_kafka_resp_err_t err);
/* Waits until the topic is there again, or taken for gone: some seconds. Blocks. For a transaction:
 * who is started again with it finds the topic. */
void anew_await(struct anew *a, struct topic *t);
/* Sends what can be sent; refuses what has no topic any more. Call each turn, before further lines
 * are taken. */
void anew_serve(struct anew *a);

#endif
