/* SPDX-License-Identifier: ISC */
/* kwrite --map: where each record of the old cluster stands in the new one, in a compacted topic of
 * the new one (kwrite(1), "The map"). A record is reported as final once the map has it: what the
 * map lacks is written again.
 *
 * Offsets that go on side by side are one run. Runs of one partition are a segment, one message of
 * the map, which is written anew while it grows. */
#ifndef KWRITE_MAP_H
#define KWRITE_MAP_H

#include "ack/client.h"
#include "ack/list.h"
#include "base/buf.h"
#include "flow/sink.h"
#include "kafka/kafka.h"
#include "kafka/topics.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct delivery;
struct message;

/* The source's @count records from the offset `from` on stand one behind the other from `to` on. */
struct map_run {
	int64_t from, to, count;
};

enum { MAP_RUNS = 64 }; /* of a segment */

struct map_segment {
	const struct topic *to;
	int32_t to_partition;
	struct map_run runs[MAP_RUNS];
	int count;
	bool is_dirty; /* what the map has of it is not all */
};

/* A partition of the source. */
struct map_place {
	char *topic;
	int32_t partition;
	struct map_segment **segments; /* a partition's records may go to several */
	size_t count;
};

/* Labels whose records stand in one state of the map. */
struct map_labels {
	struct ack_list list;
	struct map_run_of_kind {
		enum ack_kind kind;
		size_t from; /* in the list's text */
	} * kinds;
	size_t kind_count;
	uint64_t count, final, end; /* end: the slot behind the last */
};

struct map {
	const char *name; /* of the topic; NULL: no map, and nothing is done */
	struct sink *sink;
	struct kafka *kafka;
	struct topics *topics;
	/* internal */
	struct topic *topic;
	struct map_place **places;
	size_t place_count;
	struct map_place *last;
	struct map_labels open, sent; /* settled; and waiting for the map's messages that are out */
	size_t out; /* messages */
	int64_t first_ms; /* since when a label is open */
	struct buf key, value;
};

/* The place of the record that the message was made of; it stays. */
struct map_place *map_place(struct map *m, const struct message *msg);
/* The sink's `settle`. */
void map_settle(struct map *m, enum ack_kind kind, const struct ack_label *label);
/* A group of the source stands at @offset. */
void map_group(
	struct map *m, const char *group, const char *topic, int32_t partition, int64_t offset);
/* Takes the delivery report of a message of the map; false: it is none. */
bool map_takes(struct map *m, const rd_kafka_message_t *report);
/* Writes and reports what is due. Call each turn. */
void map_step(struct map *m, int64_t now_ms);
/* Milliseconds until map_step is to be called; -1 none. */
int map_timeout_ms(const struct map *m, int64_t now_ms);
/* Whether all that was settled is reported, and the map has all that was said. */
bool map_is_done(const struct map *m);

#endif
