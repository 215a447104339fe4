/* SPDX-License-Identifier: ISC */
/* What the parts of lib/ackd share. */
#ifndef EVPIPE_ACKD_PARTS_H
#define EVPIPE_ACKD_PARTS_H

#include "ack/ackd.h"

enum { ACKD_NAME_MAX_BYTES = 64 };

enum role { NOBODY, FILTER, SINK, TXN, REFUSED };

struct ackd_peer {
	int fd;
	enum role role;
	bool bye, gone;
	char name[ACKD_NAME_MAX_BYTES + 1], pid[12];
	struct buf in, out, question;
	bool asks; /* question waits for an answer */
	struct ackd_peer *next;
};

/* ---- ackd.c ---- */
/* Queues a line, and sends what can be sent. */
__attribute__((format(printf, 3, 4))) void ackd_tell(
	struct ackd *d, struct ackd_peer *p, const char *fmt, ...);

/* ---- ackd-message.c ---- */
/* One line without its LF. */
void ackd_take(struct ackd *d, struct ackd_peer *p, struct span line, int64_t now_us);
/* A question that waits: answers it when it can be answered. */
void ackd_answer(struct ackd *d, struct ackd_peer *p);
/* Counts it, says so, and has the connection closed after this turn. */
void ackd_garbage(struct ackd *d, struct ackd_peer *p, const char *why);

/* ---- ackd-socket.c ---- */
/* Listens on the path. Dies with 100 or 111. */
void ackd_listen(struct ackd *d, const char *path);
/* Removes it. */
void ackd_unlisten(struct ackd *d);

#endif
