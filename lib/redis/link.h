/* SPDX-License-Identifier: ISC */
/* One connection to one Redis server, for a poll loop: it dials, shakes hands, logs in, carries
 * commands and their replies, and notices when the server says nothing any more. Never blocks,
 * prints nothing, keeps no metrics, decides nothing: its owner says when to dial. A process has as
 * many as it likes.
 *
 * Each command has a tag, a number of its owner's. Replies come in the order of the commands, each
 * with its command's tag. Of a link that is lost the tags without a reply are kept until the next
 * link_dial: those commands may or may not be done. */
#ifndef EVPIPE_REDIS_LINK_H
#define EVPIPE_REDIS_LINK_H

#include "base/buf.h"
#include "base/trouble.h"
#include "net/bytes.h"
#include "net/dial.h"
#include "redis/resp.h"

#include <stdbool.h>

enum link_state {
	LINK_DOWN,
	LINK_DIALING, /* or waiting for the end of a back-off */
	LINK_SHAKING, /* hands, for TLS */
	LINK_PROBING, /* finding out why the server did not answer: it may speak TLS, or not */
	LINK_LOGIN,
	LINK_UP,
};

enum link_news {
	LINK_SAME,
	LINK_CAME, /* LINK_UP now: commands may be sent */
	LINK_LOST, /* LINK_DOWN now: `trouble`; EXIT_PERM: the configuration is wrong */
	LINK_SILENT, /* nothing heard for 5 s: send a command, or the link is lost 15 s later */
};

#define LINK_SENTINEL                                                                              \
	"redis at %s is a sentinel: name the server itself, or all sentinels with "                \
	"redis+sentinel://"

/* How to log in. It is read at each login, and must live on. */
struct link_login {
	const char *what; /* the server is, for sentences: "redis" */
	const char *user, *password; /* NULL: none */
	const char
		*password_file; /* NULL; else its first line is the password, read at each login */
	const char *client; /* the name that CLIENT LIST shows */
	bool no_sentinel; /* one in the server's place is refused */
	int db;
	struct bytes_client *tls; /* tls_open's; NULL: plain */
	struct bytes_client
		*tls_if_spoken; /* plain, or through this where the port speaks TLS; else NULL */
};

enum link_probe { LINK_PROBE_NONE, LINK_PROBE_PLAIN, LINK_PROBE_TLS };

struct link_tags { /* a ring */
	uint64_t *p;
	size_t cap; /* a power of 2 */
	uint64_t head, tail; /* next out, next in */
};

struct link {
	enum link_state state;
	struct trouble trouble; /* why it was lost last */
	int64_t heard_ms; /* when something was read last */
	/* all that the server had sent before this time has been read, if the owner
	 * reads until link_read returns false */
	int64_t alive_ms;
	bool answers; /* false: LINK_UP, but a command has had no answer for a second */
	char *name; /* of the server, for sentences */
	struct dial dial;
	/* internal */
	const struct link_login *login;
	struct bytes bytes;
	enum link_probe probe; /* of the connection to come, or the present one */
	struct trouble probed; /* why it is probed */
	struct bytes_client *probe_tls;
	unsigned probes; /* since the last login, or as many as there may be: one was answered */
	bool is_hasty; /* the probe began when an answer might still have come: no loss yet */
	bool has_shaken; /* a server has spoken as it should, TLS or not */
	bool speaks_tls; /* as a probe has found */
	int64_t refused_ms; /* the login has been refused since then; 0: it was not */
	char advice[160]; /* of link_advice */
	struct buf out, in;
	size_t head; /* bytes of out already sent */
	size_t begun; /* out's length before the command that link_begin has lent it for */
	struct link_tags tags;
	struct resp resp; /* over what has come of in */
	/* the head of a reply that is an array has been taken, and the rest has not all come */
	bool in_array;
	struct resp_value array; /* that head */
	size_t scanned; /* bytes behind it that have been looked at */
	uint64_t scan_left; /* values behind them */
	enum link_news news;
	int64_t now_ms, deadline_ms, silent_ms;
	int64_t empty_ms; /* when the socket was last known to be empty */
};

/* @host, @port as for dial_set. All are copied, but for @login. Connects nothing yet. */
void link_open(struct link *l, const char *name, const char *host, const char *port,
	const struct link_login *login);
/* Goes elsewhere from the next link_dial on. The link is down. */
void link_to(struct link *l, const char *name, const char *host, const char *port);
/* Closes, sending nothing more, and frees all. */
void link_close(struct link *l);

/* Begins to connect: at once, or after a back-off (dial.h). Tags without a reply are forgotten. */
void link_dial(struct link *l, int64_t now_ms);
void link_redial(struct link *l, int64_t now_ms);

/* For the loop's pollfd (-1: nothing to wait for) and its timeout in milliseconds (-1: none). */
int link_fd(const struct link *l);
short link_events(const struct link *l);
int link_timeout_ms(const struct link *l, int64_t now_ms);
/* Goes on with what is due; call each turn of the loop with the descriptor's revents. Reads once
 * when there is something. */
enum link_news link_step(struct link *l, short revents, int64_t now_ms);
/* Reads once more, without a poll. Returns whether something came. The next step reports a loss. */
bool link_read(struct link *l);
/* Sends pending commands. A later step reports a loss, once the replies that came before it have
 * been read. */
void link_flush(struct link *l);
/* The time without a step was the owner's choice (not reading): it does not count as silence. */
void link_heard(struct link *l, int64_t now_ms);
/* Closes for a reason of the owner's; link_step does not report it. Replies that have been read can
 * still be taken. */
void link_drop(struct link *l, int status, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Lends the buffer of what is sent for one command, which is appended in RESP. Then comes
 * link_commit, or link_cancel, which takes back what was appended; nothing else of the link is
 * called between. */
static inline struct buf *link_begin(struct link *l)
{
	l->begun = l->out.len;
	return &l->out;
}
void link_grow_tags(struct link_tags *t);
static inline void link_commit(struct link *l, uint64_t tag)
{
	struct link_tags *t = &l->tags;

	if (t->tail - t->head == t->cap)
		link_grow_tags(t);
	t->p[t->tail++ & (t->cap - 1)] = tag;
}
static inline void link_cancel(struct link *l)
{
	l->out.len = l->begun;
}
/* Appends a command of NUL-ended words. */
void link_words(struct buf *b, int argc, const char *const *argv);
/* Begins and commits such a command. */
void link_command(struct link *l, uint64_t tag, int argc, const char *const *argv);
static inline size_t link_unsent(const struct link *l)
{
	return l->out.len - l->head;
}

struct link_reply {
	uint64_t tag;
	struct resp_value value;
	struct resp elements; /* of an array: a walk over them, which never lacks bytes */
};
/* The next reply, whole: of an array with all that is in it. Its spans are valid until the next
 * link_reply, link_read or link_step. RESP_MORE: none. Bytes that are no reply lose the link. */
enum resp_type link_reply(struct link *l, struct link_reply *reply);
/* Takes the oldest tag without a reply: of a link that was lost. Returns whether there was one. */
static inline bool link_has_tags(const struct link *l)
{
	return l->tags.head != l->tags.tail;
}
static inline bool link_take_tag(struct link *l, uint64_t *tag)
{
	struct link_tags *t = &l->tags;

	if (!link_has_tags(l))
		return false;
	*tag = t->p[t->head++ & (t->cap - 1)];
	return true;
}

/* For published messages, which are no replies: the walk over the bytes that have been read.
 * SUBSCRIBE and its kin are appended to link_begin's buffer without a commit, since no reply
 * answers them. */
static inline struct resp *link_pushed(struct link *l)
{
	return &l->resp;
}
/* The link is lost: these bytes are no RESP. */
void link_bad(struct link *l, const char *why);

/* The first line of a password file; the caller clears and frees it. NULL: *@why has the sentence
 * and EXIT_PERM. */
char *link_password(const char *file, struct trouble *why);

/* "hiredis 0.14.1", of the library at build time. */
const char *link_library(void);

/* What is to be done about an error reply that is the configuration's fault, to stand at the end of
 * the sentence that tells it; "" when the reply says enough. Valid until the next call. */
const char *link_advice(struct link *l, struct span error);

#endif
