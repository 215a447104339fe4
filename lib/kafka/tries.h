/* SPDX-License-Identifier: ISC */
/* Connections of one client that are being made, up to the first answer; a part of brokers.c, which
 * has the lock. Times are those of wake_now_ms. */
#ifndef EVPIPE_TRIES_H
#define EVPIPE_TRIES_H

#include <stdbool.h>
#include <stdint.h>

struct tries {
	struct tries_one {
		char name[256]; /* host:port */
		int64_t since_ms;
		bool looked; /* a diagnosis has ended since it was slow */
	} * list; /* realloc'ed */
	int count, room;
};

void tries_begin(struct tries *t, int64_t now_ms, const char *name);
void tries_end(struct tries *t, const char *name);
/* It takes long. */
bool tries_is_slow(const struct tries_one *y, int64_t now_ms);
/* NULL: there is none of that name. */
struct tries_one *tries_find(const struct tries *t, const char *name);
void tries_free(struct tries *t);

#endif
