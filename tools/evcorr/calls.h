/* SPDX-License-Identifier: ISC */
/* Calls on their way: requests go stamped to a command's standard input (`kwrite -t req`), replies
 * come out of Redis. `call`, `http` and `wait` stand on it. It never blocks and prints nothing but
 * news of Redis.
 *
 * The process listens on the channel of its node, and on the channel of each id that is not of its
 * node, and takes no request before Redis has confirmed that. A reply that comes there ends its
 * call at once. What was stored while a connection was lost is found by reading the keys of all
 * calls again; and a call times out only after a last look at its key.
 *
 * A call ends with its last reply, at its time-out, or by calls_cancel. A reply stays in the cache
 * until calls_taken and calls_let_go, so that a process that is killed before it has dealt with a
 * reply leaves it to `evcorr wait`. A call that has timed out leaves a mark for `evcorr store`, for
 * as long again as the call was given: the reply is late.
 *
 * A turn of the loop:
 *
 * 	struct pollfd p[… + CALLS_FDS];
 * 	n += calls_poll(c, p + n);
 * 	poll(p, n, wake_least(…, calls_timeout_ms(c, now_ms)));
 * 	calls_serve(c, p + …, now_ms);			calls back
 * 	while (calls_room(c) && …)
 * 		calls_send(c, …);
 * 	… when what was called back has been written: calls_let_go(c);
 * 	calls_flush(c, now_ms); */
#ifndef EVPIPE_EVCORR_CALLS_H
#define EVPIPE_EVCORR_CALLS_H

#include "base/child.h"
#include "base/trouble.h"
#include "evcorr/ident.h"
#include "evcorr/table.h"
#include "redis/client.h"

enum { CALLS_FDS = 2 * REDIS_FDS + CHILD_FDS };

struct calls_opts {
	struct redis_opts redis;
	struct ident_opts ident;
	struct arg_str *reply_to, *node, *timeout, *in_flight, *replies;
	struct arg_str *command; /* CMD; the last operand */
	const char *directory; /* CMD's $EVPIPE_DIR, for its metrics; NULL: none */
};
void calls_opts(struct calls_opts *o);
/* For the argtable, but for o.command and OPT_COMMON_ENTRIES. */
#define CALLS_ENTRIES(o)                                                                           \
	(o).reply_to, (o).timeout, (o).node, (o).in_flight, (o).replies, IDENT_ENTRIES((o).ident), \
		REDIS_ENTRIES((o).redis)

/* What has become of a call. */
struct calls_result {
	uint64_t call; /* as calls_send has numbered it */
	void *user;
	struct span id;
	struct span
		/* a reply: its record as it was stored, which record_parse takes; p NULL: timed
		 * out */
		line;
	unsigned had; /* replies, with this one */
	bool is_last; /* the call has ended; false: more replies are awaited (--replies) */
};
/* Spans are valid until the return. It may call calls_send, calls_wait and calls_cancel. */
typedef void calls_result_fn(void *self, const struct calls_result *result);

struct calls {
	struct trouble
		/* Redis refuses us for good, or CMD has ended before its input: no request is taken
		 * any more */
		trouble;
	struct ident ident;
	int64_t timeout_ms; /* --timeout */
	uint64_t timeouts,
		strays; /* calls that timed out; replies that no call waited for: late, or twice */
	/* internal */
	struct table table;
	struct redis redis, ears; /* for commands; for pushes */
	struct child child;
	char **argv; /* CMD; NULL: none */
	struct buf giving, filling; /* what CMD reads; what it gets next */
	bool ends_input, has_ended; /* CMD gets no more; it has ended */
	int64_t end_by_ms; /* no call is left, and CMD is to end by then; 0: not yet */
	unsigned replies; /* that each call awaits */
	struct span reply_topic;
	int32_t reply_partition;
	bool is_heard; /* the own channel's subscription is confirmed */
	struct table_ring
		unconfirmed; /* calls whose channel is not the own one, and not confirmed yet */
	struct buf done; /* keys to be deleted, as words of a command */
	size_t done_count;
	size_t out; /* commands without a result */
	bool looks_again; /* keys of all calls are to be read */
	struct buf scratch, words, headers, new_id, last_id;
	int redis_fds, ears_fds;
	calls_result_fn *result;
	void *self;
	int64_t now_ms, opened_ms;
};

/* Takes the options, connects, and starts CMD, if there is one; dies with 100 when they are wrong.
 * @result is called back by calls_serve alone, with @self. Call after wake_open, and after
 * ack_open: CMD is no member of the pipeline. */
void calls_open(struct calls *c, const struct calls_opts *o, calls_result_fn *result, void *self);
/* Ends CMD if it still runs, and closes. */
void calls_close(struct calls *c);

/* For the loop: fills in at most CALLS_FDS entries and returns how many; poll's time-out, -1 for
 * none. */
int calls_poll(struct calls *c, struct pollfd *p);
int calls_timeout_ms(const struct calls *c, int64_t now_ms);
/* Takes what has come and what is due. @p: as calls_poll has filled it in. */
void calls_serve(struct calls *c, const struct pollfd *p, int64_t now_ms);
/* Lets requests and commands leave. Call before the wait. */
void calls_flush(struct calls *c, int64_t now_ms);

/* Whether a reply would be heard: Redis is there and has confirmed the subscription. */
bool calls_hears(const struct calls *c);
/* How many requests may be sent now: 0 while !calls_hears, and while CMD does not read. */
size_t calls_room(const struct calls *c);
static inline size_t calls_count(const struct calls *c)
{
	return c->table.count;
}

/* Sends a request, with the headers that it lacks; needs calls_room. A deadline that the record has
 * is kept to; else it is @timeout_ms from now on. Returns the number of the call, which @user is
 * given back with; or 0 and @e: it is refused. */
uint64_t calls_send(struct calls *c, const struct record *r, int64_t timeout_ms, void *user,
	struct record_error *e);
/* Waits for the reply to a request that was sent before, by whomever. Needs no calls_hears; needs
 * room in the table (calls_count below --in-flight). Returns 0 when a call of this id is on its way
 * here already. */
uint64_t calls_wait(struct calls *c, struct span id, int64_t timeout_ms, void *user);
/* The id of a call on its way; valid until the call's end. */
struct span calls_id(const struct calls *c, uint64_t call);
/* Nobody waits any more: the call ends without a word. Its reply will stay in the cache for its
 * time. */
void calls_cancel(struct calls *c, uint64_t call);
/* The replies to this id have been dealt with: they leave the cache with the next calls_let_go. */
void calls_taken(struct calls *c, struct span id);
void calls_let_go(struct calls *c);

/* No more requests come: CMD's input ends once it has read it all. When no call is left either, CMD
 * has five seconds to end in: what it still holds nobody waits for. */
void calls_end_input(struct calls *c);
/* No call is on its way, CMD has ended, and nothing is left to be sent to Redis that is there. */
bool calls_over(const struct calls *c);

#endif
