/* SPDX-License-Identifier: ISC */
/* What the parts of lib/ack/server share. */
#ifndef EVPIPE_ACK_SERVER_PARTS_H
#define EVPIPE_ACK_SERVER_PARTS_H

#include "ack/server.h"

enum { ACK_NAME_MAX_BYTES = 64 };

enum role { NOBODY, FILTER, SINK, TXN, REFUSED };

struct ack_peer {
	int fd;
	enum role role;
	bool bye, gone;
	char name[ACK_NAME_MAX_BYTES + 1], pid[12];
	struct buf in, out, question;
	bool asks; /* question waits for an answer */
	struct ack_peer *next;
};

/* ---- server.c ---- */
/* Queues a line, and sends what can be sent. */
__attribute__((format(printf, 3, 4))) void ack_server_tell(
	struct ack_server *d, struct ack_peer *p, const char *fmt, ...);

/* ---- server-message.c ---- */
/* One line without its LF. */
void ack_server_take(struct ack_server *d, struct ack_peer *p, struct span line, int64_t now_us);
/* A question that waits: answers it when it can be answered. */
void ack_server_answer(struct ack_server *d, struct ack_peer *p);
/* Counts it, says so, and has the connection closed after this turn. */
void ack_server_garbage(struct ack_server *d, struct ack_peer *p, const char *why);

/* ---- server-socket.c ---- */
/* Listens on the path. Dies with 100 or 111. */
void ack_server_listen(struct ack_server *d, const char *path);
/* Removes it. */
void ack_server_unlisten(struct ack_server *d);

#endif
