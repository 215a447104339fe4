/* SPDX-License-Identifier: ISC */
/* Which brokers of Kafka can be reached and answer, from what a client sees of them; what is said of it, once
 * each way. Knows nothing of the client.
 *
 * One state a process. All functions but brokers_cut_after take a lock, so that they may be called from any
 * thread; none waits for anything else. Times are those of wake_now_ms. */
#ifndef EVPIPE_BROKERS_H
#define EVPIPE_BROKERS_H

#include <stdbool.h>
#include <stdint.h>

/* An error of one broker's connection, in librdkafka's words: "host:port/1: reason (after 3ms in state
 * CONNECT)". Another text is no broker's and does nothing. */
void brokers_away(int64_t now_ms, const char *text);
/* None can be reached. */
void brokers_all_away(void);
/* A request has left for a broker, which may keep it for @wait_ms before it is to answer. */
void brokers_asked(int64_t now_ms, int64_t wait_ms);
/* An answer has come. @broker: "sasl_ssl://host:port/1"; @id: -1 when it is only a bootstrap address.
 * Returns whether that is news, and brokers_tick is to be called soon. */
bool brokers_answered(int64_t now_ms, const char *broker, int32_t id);
/* Says on standard error what has changed. Call at least once a second. Returns whether Kafka answers: some
 * broker does, none that is away has been the only one, and no request has been waiting for five seconds
 * while nothing came from anywhere: a broker may be frozen with its connections open. */
bool brokers_tick(int64_t now_ms);

/* Cuts " (after 3ms in state CONNECT)" off. */
void brokers_cut_after(char *text);

#endif
