/* SPDX-License-Identifier: ISC */
/* A program's Redis server: the client finds it, comes back to it after an outage, says once that Redis is away and
 * once that it is back, and makes sure that a publisher's server is a primary. It never blocks and never ends the
 * program.
 *
 * Each command has a key, which decides where the command goes, and a tag, a number that the caller chooses. The
 * result of a command comes back with the command's tag, once. Results of one key come in the order of the commands,
 * but that an error may come before replies that wait for ROLE. A result is one of:
 *
 * - The reply. A server that has just become a replica answers PUBLISH as if nothing had happened. So a publisher's
 *   reply, unless it is an error, is given only after ROLE, sent behind the command, has answered "master".
 *   But a status ("QUEUED") is given at once; and so is an array, whose tag comes a second time, with an integer or as
 *   REDIS_AGAIN, when ROLE has answered.
 * - REDIS_AGAIN: the connection was lost before that. The server may or may not have done the command: send it again.
 *
 * Today there is one server and one link (link.h). With Sentinel or a cluster the client chooses the link behind the
 * same calls, and redis_fd is an epoll set of all links. */
#ifndef EVPIPE_REDIS_CLIENT_H
#define EVPIPE_REDIS_CLIENT_H

#include "redis/fault.h"
#include "redis/link.h"
#include "redis/url.h"

enum redis_use {
	REDIS_COMMANDS,
	REDIS_PUBLISHER, /* commands whose server must be a primary */
	REDIS_SUBSCRIBER, /* commands, then pushes alone: subscribe.h */
};

enum redis_state {
	REDIS_AWAY,
	REDIS_UP, /* logged in; a publisher: at a primary */
	REDIS_REFUSED, /* the configuration is wrong: end with 100 and r->trouble */
};

enum redis_news {
	REDIS_SAME,
	REDIS_CAME, /* REDIS_UP now */
	REDIS_WENT, /* it was up and is lost */
	REDIS_FAILED, /* REDIS_REFUSED now */
};

struct redis_held { /* a reply that waits for ROLE */
	uint64_t tag;
	int64_t n;
};

struct redis {
	enum redis_state state;
	struct redis_url url; /* url.name is for messages */
	struct trouble trouble; /* REDIS_REFUSED: the sentence to end with */
	bool reachable; /* REDIS_UP, and it answers: for health */
	int64_t away_ms; /* when the server was last heard before the present or last outage (monotonic) */
	struct link link;
	/* internal */
	enum redis_use use;
	struct link_login login;
	struct bytes_client *tls;
	bool is_useful; /* a subscriber's server, on this link: it has sent more than confirmations */
	bool is_asked; /* a subscriber's PING is unanswered */
	bool has_answered; /* … and one was answered well on this link */
	bool reported_away, reported_replica, role_unknown;
	bool role_sent; /* a ROLE is unanswered */
	bool hurry;
	size_t behind, behind_bytes; /* commands since the last ROLE */
	int64_t role_ms; /* when the last ROLE was sent */
	struct redis_held *held;
	size_t held_cap; /* a power of 2 */
	uint64_t held_head, held_sure, held_tail; /* up to held_sure ROLE has confirmed them */
	enum redis_news news;
	int64_t now_ms;
};

/* Takes the options and the environment; connects nothing yet. Dies with 100 when they are wrong. */
void redis_open(struct redis *r, const struct redis_opts *o, enum redis_use use);
/* Closes, sending nothing more, and frees all. */
void redis_close(struct redis *r);

/* For the loop's pollfd (-1: nothing to wait for) and its timeout in milliseconds (-1: none). */
int redis_fd(const struct redis *r);
short redis_events(const struct redis *r);
int redis_timeout_ms(const struct redis *r, int64_t now_ms);
/* Goes on with what is due; call each turn of the loop with the descriptor's revents, then take replies until there
 * are none, send, and call redis_flush. It reads once when there is something. */
enum redis_news redis_step(struct redis *r, short revents, int64_t now_ms);
/* Sends pending commands, and ROLE when it is due. A later step reports a loss. */
void redis_flush(struct redis *r, int64_t now_ms);
/* No more commands come: replies are not to wait for company. */
static inline void redis_hurry(struct redis *r)
{
	r->hurry = true;
}
/* The time without a step was the caller's choice (not reading): it does not count as silence. */
void redis_heard(struct redis *r, int64_t now_ms);

/* Sends a command of NUL-ended words. REDIS_UP only. */
void redis_command(
	struct redis *r, struct span key, uint64_t tag, int argc, const char *const *argv);
/* The same for one command in RESP, which the caller appends to the buffer that redis_begin returns; NULL: what serves
 * the key is away. Then redis_commit, or redis_cancel, which takes back what was appended. */
static inline struct buf *redis_begin(struct redis *r, struct span key)
{
	(void)key;
	return r->state == REDIS_UP ? link_begin(&r->link) : NULL;
}
static inline void redis_commit(struct redis *r, uint64_t tag)
{
	r->behind++;
	r->behind_bytes += r->link.out.len - r->link.begun;
	link_commit(&r->link, tag);
}
static inline void redis_cancel(struct redis *r)
{
	link_cancel(&r->link);
}

enum redis_got {
	REDIS_NONE, /* for now */
	REDIS_REPLY,
	REDIS_AGAIN,
};
/* The next result of a command. Of a publisher's replies only errors have a text; the others are integers. Spans are
 * valid until the next call. */
enum redis_got redis_next(struct redis *r, struct link_reply *reply);

/* Gives the link up for a reason that the server gave. The next step returns REDIS_WENT. */
void redis_lose(struct redis *r, struct span why);

#endif
