/* SPDX-License-Identifier: ISC */
/* Where reading of partitions begins that the group has given. */
#ifndef EVPIPE_KREAD_GIVE_H
#define EVPIPE_KREAD_GIVE_H

#include "kread/group.h"

/* What arrives is read from now on, and librdkafka is told. @list: it, with the positions that were
 * committed. */
void give_partitions(struct group *g, rd_kafka_topic_partition_list_t *list);
/* Sees to partitions that were given while they were ours. Call each turn. */
void give_serve(struct group *g, int64_t now_ms);

#endif
