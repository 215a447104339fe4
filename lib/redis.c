/* SPDX-License-Identifier: ISC */
#define _GNU_SOURCE
#include "redis.h"

#include "die.h"
#include "metrics.h"
#include "num.h"
#include "wake.h"

#include <errno.h>
#include <hiredis.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
	CONNECT_MS = 5000, /* an address, and the handshake */
	ASK_MS = 5000, /* of silence */
	ANSWER_MS = 1000, /* after that it is not up */
	LOST_MS = 20000, /* of silence */
	BACKOFF_MIN_MS = 100,
	BACKOFF_MAX_MS = 2000,
	BLOCK = 64 << 10, /* read at once */
	LARGE = 1 << 20, /* buffers over this are given back when empty */
	ODD_REPLY_MAX = 1 << 20, /* replies read by hiredis: confirmations, errors, ROLE */
	BULK_MAX = 64 << 20,
};

enum step { STEP_AUTH, STEP_SELECT, STEP_NAME, STEP_ROLE };

/* ---- options ---- */

void redis_opts(struct redis_opts *o)
{
	o->url = arg_str0("u", "url", "URL",
		"redis://[user[:password]@]host[:port][/db] or unix:/path[?db=N]");
	o->password_file =
		arg_file0(NULL, "password-file", "FILE", "the password is the first line of FILE");
}

/* %XX decoded. @what is named when it is malformed. */
static char *percent(const char *s, size_t n, const char *what)
{
	char *text = die_alloc(n + 1), *to = text;

	for (size_t i = 0; i < n; i++) {
		char hex[3] = "";
		char *stop = hex;

		if (s[i] != '%') {
			*to++ = s[i];
			continue;
		}
		if (n - i > 2) {
			memcpy(hex, s + i + 1, 2);
			*to++ = (char)strtoul(hex, &stop, 16);
		}
		if (stop != hex + 2 || !to[-1])
			opt_bad("the redis URL has a bad %% escape in its %s", what);
		i += 2;
	}
	*to = '\0';
	return text;
}

static void set_db(struct redis *r, const char *s, size_t n)
{
	char text[16] = "";
	int64_t db = -1;

	if (n < sizeof(text))
		memcpy(text, s, n);
	if (num_i64(text, &db) || db < 0 || db > INT32_MAX)
		opt_bad("the redis URL has a bad database number");
	r->db = (int)db;
}

static void set_query(struct redis *r, const char *query)
{
	if (!query)
		return;
	if (strncmp(query, "?db=", 4))
		opt_bad("the redis URL has a query other than ?db=N");
	set_db(r, query + 4, strlen(query + 4));
}

/* @mask: the URL stands in argv, where ps shows it. */
static void set_login(struct redis *r, const char *s, size_t n, bool mask)
{
	const char *colon = memchr(s, ':', n);
	size_t user = colon ? (size_t)(colon - s) : n;

	if (user)
		r->user = percent(s, user, "user");
	if (!colon)
		return;
	r->password = percent(colon + 1, n - user - 1, "password");
	if (mask)
		memset((char *)(uintptr_t)(colon + 1), '*', n - user - 1);
}

static void set_address(struct redis *r, const char *s, size_t n)
{
	const char *colon = memrchr(s, ':', n), *close = memrchr(s, ']', n);
	size_t host = n;

	if (colon && (!close || colon > close)) {
		int64_t port;

		r->port = strndup(colon + 1, (size_t)(s + n - colon - 1));
		if (num_i64(r->port, &port) || port < 1 || port > 65535)
			opt_bad("the redis URL has a bad port");
		host = (size_t)(colon - s);
	} else {
		r->port = die_strdup("6379");
	}
	if (host >= 2 && s[0] == '[' && s[host - 1] == ']')
		r->host = percent(s + 1, host - 2, "host");
	else if (memchr(s, ':', host))
		opt_bad("the redis URL has a bad host: an IPv6 address stands in [ ]");
	else
		r->host = percent(s, host, "host");
	if (!r->host[0]) {
		free(r->host);
		r->host = die_strdup("127.0.0.1");
	}
	if (asprintf(&r->name, strchr(r->host, ':') ? "[%s]:%s" : "%s:%s", r->host, r->port) < 0)
		die(EXIT_TEMP, "out of memory");
}

static void set_path(struct redis *r, const char *s)
{
	size_t n;

	if (strncmp(s, "//", 2) == 0)
		s += 2;
	n = strcspn(s, "?");
	r->path = percent(s, n, "path");
	if (!r->path[0] || strlen(r->path) >= sizeof(((struct sockaddr_un *)0)->sun_path))
		opt_bad("the redis URL has a socket path that is empty or too long");
	set_query(r, s[n] ? s + n : NULL);
	if (asprintf(&r->name, "unix:%s", r->path) < 0)
		die(EXIT_TEMP, "out of memory");
}

static void set_url(struct redis *r, const char *url, bool mask)
{
	static const char *const later[] = {"rediss:", "redis+", "redis-", "rediss+", "valkey"};
	const char *s, *at;
	size_t n;

	for (size_t i = 0; i < sizeof(later) / sizeof(*later); i++)
		if (strncmp(url, later[i], strlen(later[i])) == 0)
			die(EXIT_PERM, "%.*s URLs are not supported by this version",
				(int)strcspn(url, ":"), url);
	if (strncmp(url, "unix:", 5) == 0) {
		set_path(r, url + 5);
		return;
	}
	if (strncmp(url, "redis://", 8))
		opt_bad("the redis URL begins neither with redis:// nor with unix:");
	s = url + 8;
	n = strcspn(s, "/?");
	/* A raw '/' in a password is common, and no part of a host. */
	at = memrchr(s, '@', strcspn(s, "?"));
	if (at) {
		set_login(r, s, (size_t)(at - s), mask);
		s = at + 1;
		n = strcspn(s, "/?");
	}
	set_address(r, s, n);
	s += n;
	if (*s == '/') {
		n = strcspn(++s, "?");
		if (n)
			set_db(r, s, n);
		s += n;
	}
	set_query(r, *s ? s : NULL);
}

static char *read_password(const char *file)
{
	char *text = NULL;
	size_t cap = 0;
	FILE *f = fopen(file, "re");
	ssize_t n;

	if (!f)
		die(EXIT_PERM, "cannot open the password file '%s': %s", file, strerror(errno));
	n = getline(&text, &cap, f);
	while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == '\r'))
		text[--n] = '\0';
	if (n <= 0)
		die(EXIT_PERM, "the password file '%s' has no first line", file);
	fclose(f);
	return text;
}

static const struct redis_transport tcp_transport, unix_transport;

void redis_open(struct redis *r, const struct redis_opts *o, bool publisher)
{
	const char *url = opt_text(o->url, "--url"), *env = getenv("REDIS_URL");
	const char *file = opt_file(o->password_file, "--password-file");
	const char *auth = getenv("REDISCLI_AUTH");

	*r = (struct redis){.fd = -1, .publisher = publisher, .max_bulk = BULK_MAX};
	if (url)
		set_url(r, url, true);
	else
		set_url(r, env && *env ? env : "redis://127.0.0.1:6379", false);
	if (file) {
		free(r->password);
		r->password = read_password(file);
	} else if (!r->password && auth && *auth) {
		r->password = die_strdup(auth);
	}
	if (r->user && !r->password)
		opt_bad("the redis URL names a user and there is no password; one without a user "
			"is redis://:PASSWORD@HOST");
	r->client = die_strdup(die_prog());
	r->transport = r->path ? &unix_transport : &tcp_transport;
	metrics.peer = "redis";
	metrics.up = 0;
}

/* ---- transports ---- */

static int tcp_connect(struct redis *r, bool late)
{
	int err = ETIMEDOUT, on = 1;

	if (r->fd >= 0) {
		socklen_t size = sizeof(err);

		if (!late && getsockopt(r->fd, SOL_SOCKET, SO_ERROR, &err, &size) == 0 && !err)
			return 0;
		r->transport->close(r);
		r->addr = r->addr->ai_next;
	}
	for (; r->addr; r->addr = r->addr->ai_next) {
		r->fd = socket(r->addr->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		if (r->fd < 0) {
			err = errno;
			continue;
		}
		setsockopt(r->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		if (connect(r->fd, r->addr->ai_addr, r->addr->ai_addrlen) == 0)
			return 0;
		err = errno;
		if (err == EINPROGRESS)
			return 1;
		r->transport->close(r);
	}
	errno = err;
	return -1;
}

static int unix_connect(struct redis *r, bool late)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	int err = ETIMEDOUT;

	memcpy(sun.sun_path, r->path, strlen(r->path) + 1);
	r->fd = late ? -1 : socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (r->fd >= 0 && connect(r->fd, (struct sockaddr *)&sun, sizeof(sun)) == 0)
		return 0;
	if (!late)
		err = errno;
	r->transport->close(r);
	errno = err;
	return -1;
}

static ssize_t socket_read(struct redis *r, void *p, size_t n)
{
	return read(r->fd, p, n);
}

static ssize_t socket_write(struct redis *r, const void *p, size_t n)
{
	return send(r->fd, p, n, MSG_NOSIGNAL);
}

static void socket_close(struct redis *r)
{
	if (r->fd >= 0)
		close(r->fd);
	r->fd = -1;
}

static const struct redis_transport tcp_transport = {
	tcp_connect,
	socket_read,
	socket_write,
	socket_close,
};
static const struct redis_transport unix_transport = {
	unix_connect,
	socket_read,
	socket_write,
	socket_close,
};

/* ---- losing and refusing ---- */

static void drop(struct redis *r)
{
	r->transport->close(r);
	if (r->state == REDIS_UP) {
		r->news = REDIS_WENT;
		r->away_ms = r->now_ms;
		r->backoff_ms = 0;
	}
	r->retry_ms = r->now_ms + wake_backoff_ms(&r->backoff_ms, BACKOFF_MIN_MS, BACKOFF_MAX_MS);
	r->state = REDIS_DOWN;
	metrics.up = 0;
}

/* Counts as one outage until it is up again, and is said once. */
__attribute__((format(printf, 2, 3))) static void lose(struct redis *r, const char *fmt, ...)
{
	char why[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	if (!r->said)
		die_warn("%s redis at %s: %s; trying again",
			r->state == REDIS_UP ? "lost" : "cannot reach", r->name, why);
	r->said = true;
	drop(r);
}

void redis_lose(struct redis *r, struct span why)
{
	if (r->state == REDIS_UP || r->state == REDIS_HANDSHAKE)
		lose(r, "%.*s", (int)(why.len < 200 ? why.len : 200), why.p);
}

__attribute__((format(printf, 2, 3))) static void refuse(struct redis *r, const char *fmt, ...)
{
	va_list ap;

	r->transport->close(r);
	r->state = REDIS_REFUSED;
	r->news = REDIS_FAILED;
	metrics.up = 0;
	va_start(ap, fmt);
	if (vasprintf(&r->trouble, fmt, ap) < 0)
		r->trouble = NULL;
	va_end(ap);
}

/* ---- bytes ---- */

static bool read_some(struct redis *r)
{
	ssize_t n;
	size_t skip;

	if (r->at == r->in.len) {
		r->at = 0;
		buf_clear(&r->in);
		if (r->in.cap > LARGE)
			buf_free(&r->in);
	} else if (r->in.cap - r->in.len < BLOCK && r->at) {
		memmove(r->in.p, r->in.p + r->at, r->in.len - r->at);
		r->in.len -= r->at;
		r->at = 0;
	}
	if (r->in.cap - r->in.len < BLOCK / 4)
		buf_room(&r->in, BLOCK);
	n = r->transport->read(r, r->in.p + r->in.len, r->in.cap - r->in.len);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n <= 0) {
		lose(r, "%s", n ? strerror(errno) : "the server closed the connection");
		return false;
	}
	r->in.len += (size_t)n;
	r->heard_ms = r->now_ms;
	skip = r->in.len - r->at < r->skip ? r->in.len - r->at : r->skip;
	r->at += skip;
	r->skip -= skip;
	return true;
}

bool redis_read(struct redis *r)
{
	return r->state == REDIS_UP && read_some(r);
}

/* Moves what is left to the front when that costs no more than was sent. */
static void compact_out(struct redis *r)
{
	if (r->head < r->out.len / 2)
		return;
	memmove(r->out.p, r->out.p + r->head, redis_pending(r));
	r->out.len -= r->head;
	r->head = 0;
	if (!r->out.len && r->out.cap > LARGE)
		buf_free(&r->out);
}

void redis_flush(struct redis *r)
{
	size_t n = redis_pending(r);
	ssize_t sent;

	if (!n || (r->state != REDIS_UP && r->state != REDIS_HANDSHAKE))
		return;
	do
		sent = r->transport->write(r, r->out.p + r->head, n);
	while (sent < 0 && errno == EINTR);
	if (sent < 0 && errno == EAGAIN)
		return;
	/* On another error the server has closed it, or is told now that we have, lest what comes later
	 * arrives and this does not: what it said before is still to be read, up to the end, which the next
	 * poll tells of. */
	if (sent < 0)
		shutdown(r->fd, SHUT_WR);
	r->head += sent < 0 ? n : (size_t)sent;
	compact_out(r);
}

void redis_heard(struct redis *r, int64_t now_ms)
{
	r->heard_ms = now_ms;
}

void redis_command(struct redis *r, int argc, const char *const *argv)
{
	char *text;
	/* hiredis has char ** where it means const. */
	int n = redisFormatCommandArgv(&text, argc, (const char **)(uintptr_t)argv, NULL);

	if (n < 0)
		die(EXIT_TEMP, "out of memory");
	buf_put(&r->out, text, (size_t)n);
	explicit_bzero(text, (size_t)n);
	redisFreeCommand(text);
}

/* ---- replies ---- */

static void *object_free(struct redis *r)
{
	if (r->object)
		freeReplyObject(r->object);
	return r->object = NULL;
}

static struct span object_text(const redisReply *o)
{
	return o->type == REDIS_REPLY_STRING || o->type == REDIS_REPLY_STATUS
		? (struct span){o->str, (size_t)o->len}
		: SPAN_NONE;
}

static enum redis_kind object_reply(const redisReply *o, struct redis_reply *reply)
{
	switch (o->type) {
	case REDIS_REPLY_INTEGER:
		reply->integer = o->integer;
		return REDIS_INTEGER;
	case REDIS_REPLY_NIL:
		return REDIS_NIL;
	case REDIS_REPLY_ARRAY:
		for (size_t i = 0; i < o->elements && i < 3; i++)
			reply->item[i] = object_text(o->element[i]);
		return REDIS_LIST;
	}
	reply->text = (struct span){o->str, (size_t)o->len};
	return o->type == REDIS_REPLY_ERROR	? REDIS_ERROR
		: o->type == REDIS_REPLY_STATUS ? REDIS_STATUS
						: REDIS_STRING;
}

/* By hiredis: fed in small pieces, since what it was fed beyond the reply is read again. */
static enum redis_kind next_any(struct redis *r, struct redis_reply *reply)
{
	redisReader *reader = redisReaderCreate();
	const char *p = r->in.p + r->at;
	size_t n = r->in.len - r->at, fed = 0;
	bool bad = false;

	if (!reader)
		die(EXIT_TEMP, "out of memory");
	while (!r->object && !bad && fed < n) {
		size_t piece = n - fed < 256 ? n - fed : 256;

		bad = redisReaderFeed(reader, p + fed, piece) != REDIS_OK ||
			redisReaderGetReply(reader, &r->object) != REDIS_OK;
		fed += piece;
	}
	if (bad || (!r->object && n > ODD_REPLY_MAX))
		lose(r, "this is not the redis protocol: %s", bad ? reader->errstr : "no end");
	fed -= reader->len - reader->pos;
	redisReaderFree(reader);
	if (!r->object)
		return REDIS_MORE;
	r->at += fed;
	return object_reply(r->object, reply);
}

/* A number and CR LF at *@p. 1 and *@p behind it; 0: there is more to come; -1: something else. */
static int number(const char **p, const char *end, int64_t *n)
{
	const char *s = *p;
	int64_t v = 0;

	for (; s < end && *s >= '0' && *s <= '9' && s - *p < 18; s++)
		v = v * 10 + (*s - '0');
	if (end - s < 2)
		return 0;
	if (s == *p || s[0] != '\r' || s[1] != '\n')
		return -1;
	*n = v;
	*p = s + 2;
	return 1;
}

static int bulk(const char **p, const char *end, size_t max, struct span *s)
{
	const char *q = *p + 1;
	int64_t n;
	int got;

	if (*p == end)
		return 0;
	if (**p != '$')
		return -1;
	got = number(&q, end, &n);
	if (got <= 0)
		return got;
	if ((size_t)n > max) {
		*s = (struct span){NULL, (size_t)n};
		*p = q;
		return 1;
	}
	if (end - q < n + 2)
		return 0;
	*s = (struct span){q, (size_t)n};
	*p = q + n + 2;
	return 1;
}

/* A published message, where it stands. -1: it is none. */
static int next_message(struct redis *r, struct redis_reply *reply)
{
	static const char plain[] = "*3\r\n$7\r\nmessage\r\n",
			  pattern[] = "*4\r\n$8\r\npmessage\r\n";
	const char *p = r->in.p + r->at, *end = r->in.p + r->in.len;
	size_t n = (size_t)(end - p);
	int got = 1;

	if (n < sizeof(pattern))
		return -1;
	reply->pattern = SPAN_NONE;
	if (memcmp(p, plain, sizeof(plain) - 1) == 0) {
		p += sizeof(plain) - 1;
	} else if (memcmp(p, pattern, sizeof(pattern) - 1) == 0) {
		p += sizeof(pattern) - 1;
		got = bulk(&p, end, SIZE_MAX / 2, &reply->pattern);
	} else {
		return -1;
	}
	if (got > 0)
		got = bulk(&p, end, SIZE_MAX / 2, &reply->channel);
	if (got > 0)
		got = bulk(&p, end, r->max_bulk, &reply->payload);
	if (got <= 0)
		return got;
	r->at = (size_t)(p - r->in.p);
	reply->too_big = 0;
	if (!reply->payload.p) {
		size_t have = r->in.len - r->at;

		reply->too_big = reply->payload.len;
		r->skip = reply->too_big + 2;
		have = have < r->skip ? have : r->skip;
		r->at += have;
		r->skip -= have;
	}
	return 1;
}

enum redis_kind redis_next(struct redis *r, struct redis_reply *reply)
{
	const char *p = r->in.p + r->at, *end = r->in.p + r->in.len;

	if (p == end)
		return REDIS_MORE;
	object_free(r);
	if (*p == ':') {
		int got;

		p++;
		got = number(&p, end, &reply->integer);
		if (got > 0)
			r->at = (size_t)(p - r->in.p);
		if (got >= 0)
			return got ? REDIS_INTEGER : REDIS_MORE;
	} else if (*p == '*') {
		int got = next_message(r, reply);

		if (got >= 0)
			return got ? REDIS_MESSAGE : REDIS_MORE;
	}
	*reply = (struct redis_reply){0};
	return next_any(r, reply);
}

static bool starts(struct span s, const char *with)
{
	size_t n = strlen(with);

	return s.len >= n && memcmp(s.p, with, n) == 0;
}

enum redis_fault redis_judge(struct span error)
{
	static const char *const config[] = {"NOAUTH", "NOPERM", "WRONGPASS", "DENIED"};
	static const char *const away[] = {"LOADING", "MASTERDOWN", "TRYAGAIN", "BUSY ",
		"CLUSTERDOWN", "READONLY", "ERR max number of clients"};

	for (size_t i = 0; i < sizeof(config) / sizeof(*config); i++)
		if (starts(error, config[i]))
			return REDIS_FAULT_CONFIG;
	for (size_t i = 0; i < sizeof(away) / sizeof(*away); i++)
		if (starts(error, away[i]))
			return REDIS_FAULT_AWAY;
	return REDIS_FAULT_COMMAND;
}

/* ---- the handshake ---- */

static void put_step(struct redis *r, enum step step, int argc, const char *const *argv)
{
	r->steps[r->step_count++] = (unsigned char)step;
	if (step == STEP_ROLE)
		redis_put_role(r);
	else
		redis_command(r, argc, argv);
}

static void begin_handshake(struct redis *r)
{
	char db[16];

	r->state = REDIS_HANDSHAKE;
	r->deadline_ms = r->now_ms + CONNECT_MS;
	r->step_count = r->step_at = 0;
	r->at = r->skip = r->head = 0;
	buf_clear(&r->in);
	buf_clear(&r->out);
	if (r->user)
		put_step(r, STEP_AUTH, 3, (const char *const[]){"AUTH", r->user, r->password});
	else if (r->password)
		put_step(r, STEP_AUTH, 2, (const char *const[]){"AUTH", r->password});
	snprintf(db, sizeof(db), "%d", r->db);
	if (r->db)
		put_step(r, STEP_SELECT, 2, (const char *const[]){"SELECT", db});
	put_step(r, STEP_NAME, 3, (const char *const[]){"CLIENT", "SETNAME", r->client});
	if (r->publisher)
		put_step(r, STEP_ROLE, 0, NULL);
	redis_flush(r);
}

void redis_put_role(struct redis *r)
{
	redis_command(r, 1, (const char *const[]){r->role_unknown ? "PING" : "ROLE"});
}

/* Returns whether the handshake may go on after an error reply. */
static bool on_error(struct redis *r, enum step step, struct span error)
{
	int n = (int)(error.len < 200 ? error.len : 200);

	switch (redis_judge(error)) {
	case REDIS_FAULT_AWAY:
		redis_lose(r, error);
		return false;
	case REDIS_FAULT_CONFIG:
		if (starts(error, "NOAUTH"))
			refuse(r,
				"redis at %s wants a password: give it by --password-file, in "
				"the URL or in $REDISCLI_AUTH",
				r->name);
		else if (step == STEP_ROLE)
			refuse(r, "redis at %s: %.*s; allow it with ACL SETUSER … +role", r->name,
				n, error.p);
		else if (step == STEP_NAME && starts(error, "NOPERM"))
			return true;
		else
			refuse(r, "redis at %s refuses the login: %.*s", r->name, n, error.p);
		return false;
	case REDIS_FAULT_COMMAND:
		break;
	}
	switch (step) {
	case STEP_NAME:
		return true;
	case STEP_ROLE:
		/* Some proxies and hosted servers have no ROLE. */
		if (!starts(error, "ERR unknown command"))
			break;
		if (!r->role_unknown)
			die_warn("redis at %s does not know ROLE: a replica would not be noticed",
				r->name);
		r->role_unknown = true;
		return true;
	case STEP_AUTH:
	case STEP_SELECT:
		break;
	}
	refuse(r, "redis at %s refuses %s: %.*s", r->name,
		step == STEP_AUTH	    ? "the login"
			: step == STEP_ROLE ? "ROLE"
					    : "the database number",
		n, error.p);
	return false;
}

bool redis_is_primary(struct redis *r, enum redis_kind kind, const struct redis_reply *reply)
{
	if (kind == REDIS_ERROR)
		return on_error(r, STEP_ROLE, reply->text);
	if (kind == REDIS_STATUS || span_is(reply->item[0], "master"))
		return true;
	if (span_is(reply->item[0], "sentinel")) {
		refuse(r, "redis at %s is a sentinel: name the server itself", r->name);
		return false;
	}
	if (!r->said_replica)
		die_warn(
			"redis at %s is a replica: PUBLISH there does not reach the subscribers of its "
			"primary; trying again until it is one",
			r->name);
	r->said = r->said_replica = true;
	drop(r);
	return false;
}

static void on_handshake(struct redis *r)
{
	struct redis_reply reply;
	enum redis_kind kind;

	while (r->state == REDIS_HANDSHAKE && r->step_at < r->step_count) {
		enum step step = r->steps[r->step_at];

		kind = redis_next(r, &reply);
		if (kind == REDIS_MORE)
			return;
		r->step_at++;
		if (step == STEP_ROLE) {
			if (!redis_is_primary(r, kind, &reply))
				return;
		} else if (kind == REDIS_ERROR && !on_error(r, step, reply.text)) {
			return;
		}
	}
	if (r->state != REDIS_HANDSHAKE)
		return;
	if (r->said)
		die_warn("redis at %s is there after %.1f s", r->name,
			(double)(r->now_ms - r->away_ms) / 1000);
	r->said = r->said_replica = false;
	r->state = REDIS_UP;
	r->news = REDIS_CAME;
	r->heard_ms = r->mute_ms = r->now_ms;
	metrics.up = 1;
}

/* ---- reaching the server ---- */

static void go_on_connecting(struct redis *r, bool late)
{
	int got;

	r->state = REDIS_CONNECTING;
	r->deadline_ms = r->now_ms + CONNECT_MS;
	got = r->transport->connect(r, late);
	if (got < 0)
		lose(r, "%s", strerror(errno));
	else if (got == 0)
		begin_handshake(r);
}

static void drop_addrs(struct redis *r)
{
	if (r->addrs)
		freeaddrinfo(r->addrs);
	r->addrs = r->addr = NULL;
}

static void on_resolved(union sigval v)
{
	(void)v;
	wake_poke();
}

static void resolve(struct redis *r)
{
	static const struct addrinfo numeric = {
		.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST};
	static const struct addrinfo any = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
	struct sigevent sev = {.sigev_notify = SIGEV_THREAD, .sigev_notify_function = on_resolved};

	drop_addrs(r);
	if (r->path || getaddrinfo(r->host, r->port, &numeric, &r->addrs) == 0) {
		r->addr = r->addrs;
		go_on_connecting(r, false);
		return;
	}
	/* getaddrinfo blocks for as long as the name servers please: it has a thread of its own. */
	r->resolving = die_alloc(sizeof(*r->resolving));
	*r->resolving =
		(struct gaicb){.ar_name = r->host, .ar_service = r->port, .ar_request = &any};
	r->state = REDIS_RESOLVING;
	r->deadline_ms = r->now_ms + CONNECT_MS;
	if (getaddrinfo_a(GAI_NOWAIT, &r->resolving, 1, &sev)) {
		free(r->resolving);
		r->resolving = NULL;
		lose(r, "cannot resolve '%s'", r->host);
	}
}

static void on_resolving(struct redis *r)
{
	int err = gai_error(r->resolving);

	if (err == EAI_INPROGRESS) {
		/* A request under way cannot be taken back, so the next attempt is the same one. */
		if (r->now_ms >= r->deadline_ms) {
			if (!r->said)
				die_warn("cannot reach redis at %s: the name servers do not "
					 "answer; waiting",
					r->name);
			r->said = true;
			r->deadline_ms = r->now_ms + CONNECT_MS;
		}
		return;
	}
	r->addrs = r->addr = r->resolving->ar_result;
	free(r->resolving);
	r->resolving = NULL;
	if (err)
		lose(r, "%s", gai_strerror(err));
	else
		go_on_connecting(r, false);
}

/* When silence, so far, means something new. */
static int64_t silent_until_ms(const struct redis *r)
{
	if (r->mute_ms <= r->heard_ms)
		return r->heard_ms + ASK_MS;
	return metrics.up ? r->mute_ms + ANSWER_MS : r->heard_ms + LOST_MS;
}

static void on_up(struct redis *r, short revents)
{
	if (revents & ~POLLOUT && read_some(r))
		metrics.up = 1;
	if (r->state == REDIS_UP && revents & POLLOUT)
		redis_flush(r);
	if (r->state != REDIS_UP || r->heard_ms == r->now_ms || r->now_ms < silent_until_ms(r))
		return;
	if (r->mute_ms <= r->heard_ms) {
		r->mute_ms = r->now_ms;
		r->news = REDIS_MUTE;
	} else if (metrics.up) {
		metrics.up = 0;
	} else {
		lose(r, "no answer for %d s", LOST_MS / 1000);
	}
}

enum redis_news redis_step(struct redis *r, short revents, int64_t now_ms)
{
	enum redis_news news;
	bool late = now_ms >= r->deadline_ms;

	r->now_ms = now_ms;
	if (!r->away_ms)
		r->away_ms = now_ms;
	switch (r->state) {
	case REDIS_DOWN:
		/* What a caller lost between two steps is told first. */
		if (r->news == REDIS_SAME && now_ms >= r->retry_ms)
			resolve(r);
		break;
	case REDIS_RESOLVING:
		on_resolving(r);
		break;
	case REDIS_CONNECTING:
		if (revents || late)
			go_on_connecting(r, late && !revents);
		break;
	case REDIS_HANDSHAKE:
		if (revents & POLLOUT)
			redis_flush(r);
		if (revents & ~POLLOUT && read_some(r))
			on_handshake(r);
		else if (late && r->state == REDIS_HANDSHAKE)
			lose(r, "no answer within %d s", CONNECT_MS / 1000);
		break;
	case REDIS_UP:
		on_up(r, revents);
		break;
	case REDIS_REFUSED:
		break;
	}
	news = r->news;
	r->news = REDIS_SAME;
	return news;
}

int redis_fd(const struct redis *r)
{
	return r->fd;
}

short redis_events(const struct redis *r)
{
	if (r->state == REDIS_CONNECTING)
		return POLLOUT;
	return redis_pending(r) ? POLLIN | POLLOUT : POLLIN;
}

int redis_timeout_ms(const struct redis *r, int64_t now_ms)
{
	int64_t at = r->deadline_ms;

	if (r->news != REDIS_SAME)
		return 0;
	switch (r->state) {
	case REDIS_DOWN:
		at = r->retry_ms;
		break;
	case REDIS_UP:
		at = silent_until_ms(r);
		break;
	case REDIS_REFUSED:
		return -1;
	default:
		break;
	}
	return at > now_ms ? (int)(at - now_ms) : 0;
}

void redis_close(struct redis *r)
{
	char **texts[] = {&r->name, &r->trouble, &r->host, &r->port, &r->path, &r->user,
		&r->password, &r->client};

	r->transport->close(r);
	object_free(r);
	drop_addrs(r);
	buf_free(&r->in);
	buf_free(&r->out);
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		free(*texts[i]);
		*texts[i] = NULL;
	}
}
