/* SPDX-License-Identifier: ISC */
/* Which brokers of Kafka can be reached and answer, as one client sees them; says each change on
 * standard error, once each way. Knows nothing of the client.
 *
 * All functions but brokers_cut_after take a lock: any thread may call them, and none waits for
 * anything else. Times are those of wake_now_ms. */
#ifndef EVPIPE_BROKERS_H
#define EVPIPE_BROKERS_H

#include "base/buf.h"
#include "kafka/tries.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

enum {
	BROKERS_AWAY_MAX = 32, /* brokers named one by one; of further ones nothing is said */
	BROKERS_CUTS_MAX = 8,
};

struct brokers {
	pthread_mutex_t lock; /* guards all below */
	/* BROKERS_AWAY_MAX, made when the first is away: a process may have a thousand clients */
	struct brokers_lost {
		char name[256]; /* host:port */
		char cause[384];
		char remedy[384]; /* "" */
		int64_t since_ms;
		bool reported, back;
		bool explained; /* the cause is that of brokers_explain, and stays */
		bool at_once; /* it is no matter of a moment */
		bool was_there; /* it has answered before */
		bool looked; /* a diagnosis has ended since */
		int untried; /* addresses of its name that have not failed yet */
	} * away;
	int away_count;
	/* Brokers that have ended a connection while records were on their way to them. */
	struct brokers_cut {
		char name[256];
		unsigned count; /* connections, with few answers between */
		unsigned answers; /* to requests with records, since the last one */
		int64_t last_ms;
		bool is_new; /* the present connection */
		bool reported;
	} * cuts;
	int cut_count;
	/* HOST:PORT with more than one address; realloc'ed */
	struct brokers_name {
		char name[256];
		int addresses;
	} * names;
	int name_count;
	struct tries tries;
	int32_t nodes[BROKERS_AWAY_MAX]; /* ids of brokers that have answered */
	int node_count;
	bool awaits; /* a diagnosis is under way */
	bool answered; /* since all brokers were last away */
	int64_t node_ms; /* when a broker answered last that is not just a bootstrap address */
	int64_t answered_ms; /* when any did */
	int64_t due_ms; /* when the first answer should have come; 0: none is waited for */
	int64_t next_ms; /* see brokers_next_ms */
	bool silent; /* it has not come, and that was reported */
};

void brokers_open(struct brokers *b);
void brokers_close(struct brokers *b);
/* An error of one broker's connection, in librdkafka's words: "host:port/1: reason (after 3ms in
 * state CONNECT)". Another text is no broker's and does nothing. */
void brokers_away(struct brokers *b, int64_t now_ms, const char *text);
/* The name of a broker has so many addresses. librdkafka tries one after the other, and tells of
 * each that fails: what is said of the broker waits until all have, for five seconds at most. */
void brokers_resolved(struct brokers *b, const char *host, const char *port, int addresses);
/* A connection to that broker begins, or waits for its first answer. librdkafka says nothing for
 * ten or thirty seconds of a server that takes it and is silent. */
void brokers_tried(struct brokers *b, int64_t now_ms, const char *host, const char *port);
void brokers_greeted(struct brokers *b, int64_t now_ms, const char *broker);
/* The first answer has come, before the login. */
void brokers_welcomed(struct brokers *b, const char *broker);
/* None can be reached. */
void brokers_all_away(struct brokers *b);
/* A diagnosis has found why @name, HOST:PORT, cannot be used. @passing: it may be over soon. @all:
 * so it is with all of them; else this explains only what is known to be away, for the client may
 * not need the others, and has no remedy for one that was there and may be back soon. */
void brokers_explain(struct brokers *b, int64_t now_ms, const char *name, const char *cause,
	const char *remedy, bool passing, bool all);
/* Whether a diagnosis is under way: what is away is told when it is done, or after five seconds. */
void brokers_await(struct brokers *b, bool diagnosis);
/* Whether @name is slow to be connected to. */
bool brokers_tries(struct brokers *b, int64_t now_ms, const char *name);
/* A diagnosis has ended. */
void brokers_looked(struct brokers *b, int64_t now_ms);
/* Whether one is away, or slow to be connected to, of which no diagnosis knows. */
bool brokers_wonder(struct brokers *b, int64_t now_ms);
/* Whether one that is more than a bootstrap address has ever answered. */
bool brokers_were_there(struct brokers *b);
/* When any broker answered last; 0: none has. */
int64_t brokers_answered_ms(struct brokers *b);
/* A request has left for a broker, which may keep it for @wait_ms before it must answer. */
void brokers_asked(struct brokers *b, int64_t now_ms, int64_t wait_ms);
/* An answer has come. @broker: "sasl_ssl://host:port/1"; NULL: maybe it was no broker's. @id: -1 when
 * it is only a bootstrap address. Returns whether brokers_tick has something new to say. */
bool brokers_answered(struct brokers *b, int64_t now_ms, const char *broker, int32_t id);
/* A connection to @broker, named as above, is there, before its login. */
void brokers_connected(struct brokers *b, const char *broker);
/* A request with records has its answer, or (@cut) has lost its connection. Where that happens to
 * one connection after the other a broker may cut them for the size of the request: its
 * socket.request.max.bytes has no other answer. Returns whether brokers_tick has something new to
 * say. */
bool brokers_wrote(struct brokers *b, int64_t now_ms, const char *broker, bool cut);
/* Says whether brokers cut connections so, each change once; brokers_tick does, too. */
void brokers_tell_cuts(struct brokers *b, int64_t now_ms);
/* Says on standard error what has changed. Call at least once a second. Returns whether Kafka
 * answers: a broker does, none that is away has been the only one, and no request has been waiting
 * for five seconds while nothing came from anywhere: a broker may be frozen with its connections
 * open. */
bool brokers_tick(struct brokers *b, int64_t now_ms);
/* When the next call has something to say of a broker that was away at the last one, if it stays
 * away; INT64_MAX: there is none. */
int64_t brokers_next_ms(struct brokers *b);
/* Appends ", waiting for broker x:9092", or for the brokers when none is known to be away. */
void brokers_put_away(struct brokers *b, struct buf *text);

/* Whether one is away, and that was said. */
bool brokers_told(struct brokers *b);
/* Appends why Kafka does not answer: "cannot reach broker x:9092: reason". */
void brokers_put_why(struct brokers *b, struct buf *text);

/* Removes " (after 3ms in state CONNECT)" from the end. */
void brokers_cut_after(char *text);

#endif
