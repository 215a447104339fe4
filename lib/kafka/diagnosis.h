/* SPDX-License-Identifier: ISC */
/* Why a client cannot reach its cluster, found out beside it: check.h in a thread of its own, which
 * dials what the client dials and ends within seconds. */
#ifndef EVPIPE_KAFKA_DIAGNOSIS_H
#define EVPIPE_KAFKA_DIAGNOSIS_H

#include "kafka/conf.h"

#include <stdbool.h>
#include <stddef.h>

/* What is wrong with a listener. */
struct diagnosis_finding {
	char name[300]; /* HOST:PORT */
	char reason[640];
	char remedy[640]; /* "" */
	bool is_stranger; /* a broker answers there, of another cluster */
	/* Another address of the name can be used. This one is silent, and a client may wait for it
	 * long. */
	bool is_partial;
	bool is_silent; /* nothing has come in time */
	bool is_passing; /* it may be over soon: a broker that starts again looks so */
};

struct diagnosis;

enum diagnosis_turn {
	/* The program waits for it: it begins at once, waits less for who is silent, and finds
	 * nothing of him. */
	DIAGNOSIS_FIRST,
	DIAGNOSIS_SECOND, /* behind that: who is silent still is so for good */
	DIAGNOSIS_ANY, /* a moment later, for a connection that is back soon needs none */
};

struct check_verdict;

/* Begins; @c stays the caller's, and its list of resolves lives on. With @asks_group it looks at
 * the coordinator of the group of @c, too. When it is done a byte is written to @wake_fd, of which
 * a duplicate is made. NULL: there are no means for it, or another one is under way in this
 * process. */
struct diagnosis *diagnosis_start(
	const struct kafka_conf *c, enum diagnosis_turn turn, bool asks_group, int wake_fd);
/* Of a configuration that lacks the mechanism of its login: sets 100, and which mechanisms are
 * offered if a broker of bootstrap.servers answers within three seconds. Waits for that. */
void diagnosis_mechanism(const struct kafka_conf *c, struct trouble *why);
bool diagnosis_done(const struct diagnosis *d);
/* Of one that is done. Returns how many; they live until diagnosis_drop. */
size_t diagnosis_findings(const struct diagnosis *d, const struct diagnosis_finding **list);
/* Our own configuration is wrong, or the certificate, for each address of bootstrap.servers: the
 * first of those findings; else NULL. */
const struct diagnosis_finding *diagnosis_ours(const struct diagnosis *d);
/* The group has no coordinator, or one that cannot be used; NULL: nothing of the kind was found. */
const struct check_verdict *diagnosis_group(const struct diagnosis *d);
/* What of --resolve is not used, in a sentence; "": nothing; NULL: it is not known. */
const char *diagnosis_unused(const struct diagnosis *d);
/* None of the addresses that brokers advertise can be used, or none was told. */
bool diagnosis_all_away(const struct diagnosis *d);
/* It was a first look, and somebody was silent: another one is due. */
bool diagnosis_is_short(const struct diagnosis *d);
/* Does not wait: a thread that goes on frees what it has. NULL is nothing. */
void diagnosis_drop(struct diagnosis *d);

#endif
