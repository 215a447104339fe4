/* SPDX-License-Identifier: ISC */
/* One connection to a Redis server for a program's poll loop: it resolves, connects, logs in,
 * notices that the server has gone, comes back with back-off, and never blocks.
 *
 * The protocol is RESP2 (redis.io/docs/reference/protocol-spec): commands are formatted and replies read by hiredis, except for the two
 * replies that come by the million, integers and published messages, which are read where they
 * stand. Bytes go through a transport (struct redis_transport), TCP or Unix socket; TLS is one
 * more of these. */
#ifndef EVPIPE_REDIS_H
#define EVPIPE_REDIS_H

#include "base/buf.h"
#include "base/opt.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct redis_opts {
	struct arg_str *url;
	struct arg_file *password_file;
};
void redis_opts(struct redis_opts *o);
#define REDIS_ENTRIES(o) (o).url, (o).password_file

enum redis_state {
	REDIS_DOWN, /* waiting for the next attempt */
	REDIS_RESOLVING,
	REDIS_CONNECTING,
	REDIS_HANDSHAKE,
	REDIS_UP, /* logged in; for a publisher: at a primary */
	REDIS_REFUSED, /* the configuration is wrong: end with 100 and r->trouble */
};

enum redis_news {
	REDIS_SAME,
	REDIS_CAME, /* it is up: out is empty, nothing is unanswered */
	REDIS_WENT, /* it was up and is lost: commands without their reply may or may not be done */
	REDIS_MUTE, /* nothing heard for 5 s: send a command, or the link is given up 15 s later */
	REDIS_FAILED, /* REDIS_REFUSED now */
};

struct redis {
	enum redis_state state;
	char *name; /* "HOST:PORT" or "unix:/path", for messages */
	char *trouble; /* state REDIS_REFUSED: the sentence to end with */
	struct buf out; /* commands to be sent: append while UP */
	size_t head; /* bytes of out already sent */
	size_t max_bulk; /* a published payload over this is skipped (reply.too_big); default 64M */
	int64_t away_ms; /* when the present or last outage began (monotonic) */
	bool role_unknown; /* this server has no ROLE command: a replica cannot be told */
	/* internal */
	const struct redis_transport *transport;
	int fd;
	char *host, *port, *path, *user, *password, *client;
	int db;
	bool publisher, said, said_replica, was_up;
	struct gaicb *resolving;
	struct addrinfo *addrs, *addr;
	struct buf in;
	size_t at, skip;
	unsigned char steps[4];
	int step_count, step_at;
	void *object;
	enum redis_news news;
	int64_t now_ms, deadline_ms, retry_ms, backoff_ms, heard_ms, mute_ms;
};

/* How bytes travel. A TLS transport does its handshake inside connect. */
struct redis_transport {
	/* Begins (fd < 0) or goes on. @late: the attempt under way took too long. 0: connected;
	 * 1: wait for POLLOUT and call again; -1 with errno: no address is left. */
	int (*connect)(struct redis *r, bool late);
	/* As read(2) and write(2) on a descriptor that does not block. */
	ssize_t (*read)(struct redis *r, void *p, size_t n);
	ssize_t (*write)(struct redis *r, const void *p, size_t n);
	void (*close)(struct redis *r);
};

/* Takes the options and the environment; connects nothing yet. Dies with 100 when they are wrong; a
 * password is never in the message, and gone from argv. A publisher is up only at a primary. */
void redis_open(struct redis *r, const struct redis_opts *o, bool publisher);
/* Closes, sending nothing more, and frees all. */
void redis_close(struct redis *r);

/* For the loop's pollfd (-1: nothing to wait for) and its timeout in milliseconds (-1: none). */
int redis_fd(const struct redis *r);
short redis_events(const struct redis *r);
int redis_timeout_ms(const struct redis *r, int64_t now_ms);
/* Goes on with whatever is due; call each turn of the loop with the descriptor's revents. While
 * UP it reads once when there is something. Says once that Redis is away and once that it is
 * back, keeps metrics.up, and ends no program. Never blocks. */
enum redis_news redis_step(struct redis *r, short revents, int64_t now_ms);
/* One read more, without a poll. Returns whether something came. A loss is told by the next step. */
bool redis_read(struct redis *r);
/* Sends what goes of out. A loss is told by a later step, once all that came has been read. */
void redis_flush(struct redis *r);
static inline size_t redis_pending(const struct redis *r)
{
	return r->out.len - r->head;
}
/* The time without a step was our own choice (not reading): it does not count as silence. */
void redis_heard(struct redis *r, int64_t now_ms);

/* Appends a command to out, by hiredis's formatter. */
void redis_command(struct redis *r, int argc, const char *const *argv);

enum redis_kind {
	REDIS_MORE, /* no whole reply yet */
	REDIS_INTEGER,
	REDIS_STATUS,
	REDIS_ERROR,
	REDIS_STRING,
	REDIS_NIL,
	REDIS_LIST,
	REDIS_MESSAGE, /* message or pmessage */
};
struct redis_reply {
	int64_t integer;
	struct span text; /* status, error, string */
	struct span item[3]; /* the first items of a list that are strings */
	struct span pattern, channel, payload; /* message; pattern.p NULL without one */
	size_t too_big; /* message: bytes of the payload that was skipped, payload.p NULL */
};
/* The next reply that has come. Its spans are valid until the next call of redis_next, redis_read or
 * redis_step. Bytes that are no RESP lose the link: REDIS_MORE, and the next step tells. */
enum redis_kind redis_next(struct redis *r, struct redis_reply *reply);

enum redis_fault {
	REDIS_FAULT_COMMAND, /* of this command alone */
	REDIS_FAULT_AWAY, /* the server cannot serve now: call redis_lose */
	REDIS_FAULT_CONFIG, /* login or permission: exit 100 */
};
enum redis_fault redis_judge(struct span error);
/* Gives the link up for a reason that the server told; the next step tells. */
void redis_lose(struct redis *r, struct span why);

/* ROLE, or PING where ROLE is not known, and the verdict on its reply: true for a primary. Else the
 * link is given up (or REFUSED), which the next step tells. */
void redis_put_role(struct redis *r);
bool redis_is_primary(struct redis *r, enum redis_kind kind, const struct redis_reply *reply);

#endif
