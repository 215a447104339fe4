/* SPDX-License-Identifier: ISC */
/* The first exchange on a new connection. */
#define _GNU_SOURCE
#include "redis/fault.h"
#include "redis/link-parts.h"

#include "base/msg.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	REFUSED_MS = 4000, /* a password file may be behind the server for so long */
};

enum step { STEP_PING, STEP_AUTH, STEP_SELECT, STEP_NAME, STEP_MODE }; /* the commands' tags */

char *link_password(const char *file, struct trouble *why)
{
	char *text = NULL;
	size_t cap = 0;
	FILE *f = fopen(file, "re");
	ssize_t n;

	if (!f) {
		trouble_set(why, msg_errno_status(errno), "cannot open the password file '%s': %s",
			file, msg_errno(errno));
		return NULL;
	}
	n = getline(&text, &cap, f);
	fclose(f);
	while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == '\r'))
		text[--n] = '\0';
	if (n > 0)
		return text;
	free(text);
	trouble_set(why, EXIT_PERM, "the password file '%s' has no first line", file);
	return NULL;
}

static void put_auth(struct link *l, const char *password)
{
	const char *user = l->login->user;

	if (user)
		link_command(l, STEP_AUTH, 3, (const char *const[]){"AUTH", user, password});
	else if (password)
		link_command(l, STEP_AUTH, 2, (const char *const[]){"AUTH", password});
}

static void put_login(struct link *l)
{
	const struct link_login *by = l->login;
	struct trouble why = {0};
	char *password = by->password_file ? link_password(by->password_file, &why) : NULL;
	char db[16];

	if (why.status) {
		link_lose(l, EXIT_TEMP, "%s", why.text);
		return;
	}
	put_auth(l, password ? password : by->password);
	if (password)
		explicit_bzero(password, strlen(password));
	free(password);
	snprintf(db, sizeof(db), "%d", by->db);
	if (by->db)
		link_command(l, STEP_SELECT, 2, (const char *const[]){"SELECT", db});
	link_command(l, STEP_NAME, 3, (const char *const[]){"CLIENT", "SETNAME", by->client});
	if (by->no_sentinel)
		link_command(l, STEP_MODE, 1, (const char *const[]){"HELLO"});
	link_flush(l);
}

void link_begin_login(struct link *l)
{
	/* A password is not shown to a port that may speak TLS, nor before that is known. */
	if (!l->login->tls_if_spoken || l->speaks_tls) {
		put_login(l);
		return;
	}
	link_command(l, STEP_PING, 1, (const char *const[]){"PING"});
	link_flush(l);
}

/* The name is of use to people alone: its refusal does not count, unless all would be refused. */
static bool counts(uint64_t step, enum redis_fault fault, struct span error)
{
	if (step == STEP_PING || step == STEP_MODE)
		return false;
	return step != STEP_NAME || fault == REDIS_FAULT_AWAY ||
		(fault == REDIS_FAULT_CONFIG && !span_starts(error, "NOPERM"));
}

/* Whether the password file may yet get the password that the server wants: it is changed in two
 * places. */
static bool may_change(struct link *l)
{
	if (!l->login->password_file)
		return false;
	if (!l->refused_ms)
		l->refused_ms = l->now_ms;
	return l->now_ms - l->refused_ms < REFUSED_MS;
}

static void on_error(struct link *l, uint64_t step, struct span error)
{
	enum redis_fault fault = redis_fault(error);
	const char *what = l->login->what;
	int n = (int)(error.len < 200 ? error.len : 200);

	if (!counts(step, fault, error))
		return;
	if (fault == REDIS_FAULT_AWAY)
		link_lose(l, EXIT_TEMP, "%.*s", n, error.p);
	else if (span_starts(error, "NOAUTH"))
		link_lose(l, EXIT_PERM, "%s at %s wants a password%s", what, l->name,
			strcmp(what, "redis") ? ": give it by --sentinel-password-file"
					      : ": give it by --password-file, in the URL or in "
						"$REDISCLI_AUTH");
	else if (step == STEP_AUTH && may_change(l))
		link_lose(l, EXIT_TEMP,
			"it refuses the login: %.*s; the password file is read again", n, error.p);
	else
		link_lose(l, EXIT_PERM, "%s at %s refuses the %s: %.*s%s%s%s", what, l->name,
			fault == REDIS_FAULT_COMMAND && step == STEP_SELECT ? "database number"
									    : "login",
			n, error.p, l->login->user ? " (user '" : "",
			l->login->user ? l->login->user : "", l->login->user ? "')" : "");
}

const char *link_advice(struct link *l, struct span error)
{
	l->advice[0] = '\0';
	if (span_starts(error, "MOVED ") || span_starts(error, "ASK ") ||
		span_starts(error, "CROSSSLOT"))
		return "; the server is a node of a cluster: its URL is redis+cluster://";
	if (redis_is_denied(error))
		snprintf(l->advice, sizeof(l->advice),
			"; allow it to user '%.80s' with ACL SETUSER",
			l->login->user ? l->login->user : "default");
	return l->advice;
}

/* Names and values; a server before 6.2 has an error. */
static void on_mode(struct link *l, const struct link_reply *reply)
{
	struct resp c = reply->elements;
	struct resp_value name, value;

	for (int64_t left = reply->value.n; left > 1; left -= 2) {
		if (resp_next(&c, &name) != RESP_STRING || resp_next(&c, &value) == RESP_ARRAY)
			return;
		if (span_is(name.text, "mode") && span_is(value.text, "sentinel")) {
			link_lose(l, EXIT_PERM, LINK_SENTINEL, l->name);
			return;
		}
	}
}

void link_on_login(struct link *l)
{
	struct link_reply reply;
	enum resp_type type;

	while (l->state == LINK_LOGIN && l->tags.head != l->tags.tail) {
		type = link_reply(l, &reply);
		if (type == RESP_MORE)
			return;
		if (type == RESP_ERROR)
			on_error(l, reply.tag, reply.value.text);
		else if (reply.tag == STEP_MODE && type == RESP_ARRAY)
			on_mode(l, &reply);
		else if (type != RESP_STATUS)
			link_bad(l, "an answer has another form than that of its command");
		if (reply.tag == STEP_PING && l->state == LINK_LOGIN)
			put_login(l);
	}
	if (l->state != LINK_LOGIN)
		return;
	l->state = LINK_UP;
	l->news = LINK_CAME;
	l->probes = 0;
	l->refused_ms = 0;
	l->answers = true;
	l->heard_ms = l->silent_ms = l->empty_ms = l->alive_ms = l->now_ms;
}
