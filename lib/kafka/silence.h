/* SPDX-License-Identifier: ISC */
/* Fetches that librdkafka tries again twice a second without an error: a broker's disk fails, say.
 * A warning tells after two seconds, since a leader that moves is no trouble. A disk that has
 * failed is that of many partitions: one sentence, until none is refused for ten seconds. */
#ifndef EVPIPE_KAFKA_SILENCE_H
#define EVPIPE_KAFKA_SILENCE_H

#include "kafka/kafka.h"

/* Of one client, or of several of a process, short-lived ones too. To be zeroed before, but for
 * tells_gone. */
struct silence {
	struct silent {
		char topic[250];
		char text[450]; /* the sentence */
		int32_t partition;
		int64_t since_ms, last_ms; /* when it was refused first, and last */
	} list[8];
	int64_t told_ms; /* the last refusal of those that were told */
	bool tells_gone; /* the program does not tell of topics that have gone */
};

/* Looks at a consumer's fetches from now on; @s lives as long as the client. */
void silence_watch(struct silence *s, struct kafka *k);
/* "topic 't', partition 3 cannot be read: reason", if it was refused in the last ten seconds;
 * @partition -1: any. Else NULL. Valid until events are served. */
const char *silence_text(const struct silence *s, const char *topic, int32_t partition);

#endif
