/* SPDX-License-Identifier: ISC */
/* What could be read: the channels that have subscribers, or the streams. */
#ifndef EVPIPE_RSUB_LIST_H
#define EVPIPE_RSUB_LIST_H

#include "redis/url.h"

#include <stdint.h>

enum { LIST_MS = 5000 };

struct list {
	enum list_kind { LIST_CHANNELS, LIST_SHARD_CHANNELS, LIST_STREAMS } kind;
	const char *pattern; /* NULL: all */
	char end; /* behind each name */
	int64_t limit_ms; /* how long it may take */
};

/* Prints the names, in their order, each once, of all primaries of a cluster. Blocks. Returns the
 * exit status: 111 at once when Redis cannot be reached, 99 when it has not answered in time; what
 * is not whole is not printed. Dies with 100 when the options are wrong, or when Redis refuses. */
int list_names(const struct list *l, const struct redis_opts *o);

#endif
