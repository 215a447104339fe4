/* SPDX-License-Identifier: ISC */
/* kwrite --old: the cluster that the records come from. It is asked what its topics are like
 * (--create like), and again and again for the positions of its groups (--map). Nothing is written
 * there. */
#ifndef KWRITE_OLD_H
#define KWRITE_OLD_H

#include "base/opt.h"
#include "kafka/kafka.h"
#include "kafka/like.h"
#include "kwrite/map.h"

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* --create, --map, --old, --old-config. */
struct old_opts {
	struct arg_str *create, *map, *old;
	struct arg_file *old_config;
};
void old_opts(struct old_opts *o);
#define OLD_ENTRIES(o) (o).create, (o).map, (o).old, (o).old_config
/* Call before opt_parse: makes one word of "--create like". Returns argc. */
int old_join(int argc, char **argv);
/* Dies with 100 when they do not go together. */
void old_check(const struct old_opts *o, bool raw);
/* Whether topics are to be like those of the old cluster. */
bool old_is_model(const struct old_opts *o);

struct old {
	bool is_on;
	struct kafka kafka;
	struct like like;
	struct map *map;
	/* internal */
	rd_kafka_queue_t *answers;
	char **groups;
	size_t count, next; /* the one that is asked about is next - 1 */
	bool is_out; /* a question */
	bool is_last; /* the round that is under way began at the end of input */
	int64_t end_ms; /* when that was */
	bool warned;
	int64_t ask_ms; /* when the groups are asked for */
	struct old_position {
		char *group, *topic;
		int32_t partition;
		int64_t offset;
	} * positions; /* that the map has */
	size_t position_count;
};

/* Starts the client, if there is an --old. @conf: of the other client, which is not started yet.
 * Fails as kafka_start. */
int old_open(struct old *o, const struct old_opts *opts, const struct kafka_conf *conf,
	struct map *map, struct trouble *why);
/* For poll; old_serve takes what comes. */
static inline void old_poll(const struct old *o, struct pollfd *p)
{
	*p = (struct pollfd){.fd = o->is_on ? o->kafka.wake_fd : -1, .events = POLLIN};
}
/* Asks and takes answers. Call each turn. */
void old_serve(struct old *o, int64_t now_ms);
/* Call at the end of input: whether the positions of the groups were taken once more. Waits a few
 * seconds at most. */
bool old_is_done(struct old *o, int64_t now_ms);
void old_close(struct old *o);

#endif
