/* SPDX-License-Identifier: ISC */
/* What the parts of lib/ack/server share. */
#ifndef EVPIPE_ACK_SERVER_PARTS_H
#define EVPIPE_ACK_SERVER_PARTS_H

#include "ack/server.h"

enum { ACK_NAME_MAX_BYTES = 64 };

enum role { NOBODY, FILTER, SINK, TXN, REFUSED };

struct ack_peer {
	struct peer peer;
	enum role role;
	bool bye;
	bool busy; /* a filter */
	bool keeps, has_told; /* a txn: it keeps a place; … and has told it */
	char name[ACK_NAME_MAX_BYTES + 1], pid[12];
	struct buf question;
	struct buf also; /* the beginning of the next question */
	bool asks; /* question waits for an answer */
};

/* ---- server-message.c: it calls nothing of server.c ---- */
/* One line without its LF. */
void ack_server_take(struct ack_server *d, struct ack_peer *p, struct span line, int64_t now_us);
/* `set`: a name is given to a set. */
void ack_server_name(struct ack_server *d, struct ack_peer *p, struct span line);
/* A question that waits: answers it when it can be answered. */
void ack_server_answer(struct ack_server *d, struct ack_peer *p);
/* Counts it, says so to both sides, and closes the connection. */
void ack_server_garbage(struct ack_server *d, struct ack_peer *p, const char *why);

#endif
