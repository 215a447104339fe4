/* SPDX-License-Identifier: ISC */
/* Topics and their partitions: what there is, where it is, its first and last offsets; a topic is
 * made. */
#ifndef KHTTP_TOPICS_H
#define KHTTP_TOPICS_H

#include "khttp/route.h"

void topics_list(const struct call *c); /* GET /topics */
void topics_show(const struct call *c); /* GET /topics/{topic} */
void topics_partitions(const struct call *c); /* GET …/partitions */
void topics_partition(const struct call *c); /* GET …/partitions/{partition} */
void topics_offsets(const struct call *c); /* GET …/partitions/{partition}/offsets */
void topics_create(const struct call *c); /* POST /admin/topics */

/* The partition of the path. Returns 0, or -1 when it has answered: 400 for no number, 422 for more
 * than 32 bits. */
int topics_take_partition(const struct call *c, int32_t *partition);

/* Whether a topic can have this name. Among others, no name begins librdkafka's regular
 * expressions. */
bool topics_is_name(struct span s);

/* Once the client has started. In the loop topics_serve takes what Kafka has answered to
 * topics_show and topics_create. */
void topics_start(struct khttp *k);
void topics_serve(struct khttp *k);
void topics_end(struct khttp *k);

#endif
