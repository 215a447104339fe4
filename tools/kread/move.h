/* SPDX-License-Identifier: ISC */
/* kread --offsets-from: where a group that has read the old cluster goes on in this one, by the map
 * of offsets that kwrite --map keeps (kwrite(1), "The map").
 *
 * The position is that of the first record that the group has not read in the old cluster, or of
 * one before it: all records from its position on stand behind it, those too that were written
 * twice. */
#ifndef EVPIPE_KREAD_MOVE_H
#define EVPIPE_KREAD_MOVE_H

#include "base/opt.h"
#include "base/trouble.h"
#include "kafka/kafka.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct move_opts {
	struct arg_str *map, *old;
	struct arg_file *old_config;
};
void move_opts(struct move_opts *o);
#define MOVE_ENTRIES(o) (o).map, (o).old, (o).old_config

/* @count records of the old cluster from the offset `from` on stand here from `to` on. */
struct move_run {
	int64_t from, to, count;
};

/* A partition of the old cluster, as far as its records went to one of this. */
struct move_part {
	char *topic, *to;
	int32_t partition, to_partition;
	struct move_run *runs; /* in the order in which they were written */
	size_t count, segment; /* where the last segment begins */
	int64_t position; /* the group's there; -1: none */
};

/* A position of the group that the map has. */
struct move_noted {
	char *topic;
	int32_t partition;
	int64_t position;
};

/* All zero: nothing is moved. */
struct move {
	bool is_on;
	const char *map, *group;
	/* internal */
	struct move_part *parts;
	size_t count;
	struct move_noted *noted;
	size_t noted_count;
};

/* Reads the options. @group: NULL without. Dies with 100. */
void move_options(struct move *m, const struct move_opts *o, const char *group);
/* Reads the map, and the group's positions from the old cluster; without --old from the map, too.
 * @conf says how this cluster is reached. Waits for the brokers, and returns early when a signal
 * comes. 0, or the status of @why. */
int move_read(struct move *m, const struct move_opts *o, const struct kafka_conf *conf,
	int signal_fd, struct trouble *why);
/* Sets the offsets of those of @list that have none, nor are in @past, to where the group goes on,
 * where the map says that. */
void move_fill(const struct move *m, rd_kafka_topic_partition_list_t *past,
	rd_kafka_topic_partition_list_t *list);
/* Where the group goes on in a partition of this cluster; -1: the map does not say. */
int64_t move_position(const struct move *m, const char *topic, int32_t partition);
void move_close(struct move *m);

#endif
