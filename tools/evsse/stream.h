/* SPDX-License-Identifier: ISC */
/* What a client gets next: out of what is written for it alone, of the event that it is in, and of
 * the ring. */
#ifndef EVSSE_STREAM_H
#define EVSSE_STREAM_H

#include "evsse/evsse.h"
#include "evsse/where.h"

/* A client in a topic. */
struct sub {
	struct cursor cursor;
	struct sub *next;
};

struct client {
	struct evsse *s;
	struct http_request *r;
	struct client *next, **link;
	char *topics, *allowed;
	struct where *where;
	struct sub *subs, first;
	/* Bytes on their way, in this order: out from out_at on, then of the entry's text @at to
	 * @end and @then_at to @then_end. */
	struct buf out;
	size_t out_at;
	struct entry *entry;
	size_t at, end, then_at, then_end;
	int64_t since_ms; /* when it came; of the clock of the wall */
	int64_t fed_ms; /* when it took bytes last, or had none to take */
	unsigned replays; /* of its places */
	bool as_record, unnamed;
	bool idle; /* it has had all, and waits */
	bool moved; /* its position, since the last id that it got */
	bool leaves; /* its stream ends */
};

/* Milliseconds since the epoch. */
int64_t stream_wall_ms(void);
/* The stream's http_fill. */
size_t stream_fill(struct http_request *r, char *to, size_t max);
/* Appends "id: …\n", all of its positions, to what is written for it. */
void stream_put_id(struct client *c);
/* Whether something from the cursor on is for it; what is not is passed over. The cursor is in
 * step. */
bool stream_wants(struct client *c, struct cursor *cursor);

#endif
