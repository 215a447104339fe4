/* SPDX-License-Identifier: ISC */
/* What the ring has not, from where it came: --replay names a program such as "kread -b HOST:PORT",
 * which is run for one partition from one place on, a piece at a time. Clients that lack the same
 * share a run, and what it has brought. */
#ifndef EVSSE_REPLAY_H
#define EVSSE_REPLAY_H

#include "evsse/evsse.h"

#include "base/child.h"

enum { REPLAY_RUNS = 2, REPLAY_FDS = REPLAY_RUNS * CHILD_FDS };

/* A stretch of a part's events. */
struct replay {
	struct span topic;
	struct part_name part;
	struct place from, until; /* until: the first that is not wanted */
	bool to_end; /* … or all that there is */
	struct entry **entries;
	size_t count, bytes;
	struct place next; /* behind the last entry */
	enum { REPLAY_WAITS, REPLAY_RUNS_NOW, REPLAY_DONE, REPLAY_FAILED } state;
	bool is_whole; /* done, and not at the limit of a piece: the source has no more */
	/* internal */
	bool lost; /* the source has said that it has lost what is before the first */
	unsigned users;
	int64_t done_ms;
	size_t taken;
	struct child child;
	char **argv;
	struct replay *older;
};

/* Whether what is missing of a part can be asked for. */
bool replay_can(const struct evsse *s, struct part_name part);
/* What is from @from on, up to but without *@until, or to the end (NULL): one that is there
 * already, or a new one. */
struct replay *replay_ask(struct evsse *s, struct span topic, struct part_name part,
	struct place from, const struct place *until);
void replay_leave(struct evsse *s, struct replay *r);

/* In the loop. */
void replays_poll(struct evsse *s, struct pollfd *p);
/* Calls @wake for each replay that has got on. */
void replays_serve(struct evsse *s, const struct pollfd *p,
	void (*wake)(struct evsse *s, const struct replay *r));
int replays_timeout_ms(const struct evsse *s);
void replays_end(struct evsse *s);

#endif
