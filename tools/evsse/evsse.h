/* SPDX-License-Identifier: ISC */
/* evsse's state. See evsse.c for the design. */
#ifndef EVSSE_EVSSE_H
#define EVSSE_EVSSE_H

#include "evsse/ring.h"

#include "flow/sink.h"
#include "http/http.h"
#include "record/template.h"

#include <stdbool.h>
#include <stdint.h>

struct evsse {
	struct sink sink;
	struct ring ring;
	struct http *http;
	bool raw;
	struct template *name; /* of an event; NULL: the record's topic, channel or stream */
	struct buf scratch, topic, line;
	/* For clients: */
	bool as_record; /* unless ?as= says otherwise */
	int64_t retry_ms, heartbeat_ms, stuck_ms;
	uint64_t max_clients;
	struct access *access; /* NULL: all may read */
	/* that may read from elsewhere: NUL-ended, an empty one behind the last; NULL: none */
	char *origins;
	struct client *clients;
	uint64_t client_count, delivered, gaps, too_many;
	/* NULL: none; and as a message may show it, without secrets */
	const char *replay_command, *replay_shown;
	struct replay *replays;
	size_t replay_bytes;
	unsigned replays_running;
	uint64_t replays_started;
	int64_t linger_ms, until_ms; /* after the end of input; until_ms: 0 before it */
	bool leaving; /* no clients are taken any more */
	bool behind; /* a client takes what it gets, and still has much to get */
	int64_t now_ms, sweep_ms; /* sweep_ms: the next */
};

#endif
