/* SPDX-License-Identifier: ISC */
/* Why a peer cannot be asked, and what helps. */
#include "khttp/forward.h"

#include "base/msg.h"
#include "net/tls.h"

#include <stdio.h>
#include <string.h>

enum { AGAIN_MS = 10000 };

static struct peer *peer_of(const struct forward *f)
{
	return &f->set->list[f->peer];
}

/* To stand behind the cause; "": nothing is known that helps. */
static const char *remedy_of(const struct forward *f, const struct peer *p)
{
	struct tls_report r = {0};
	const char *fixed = "";

	/* What does not take our TLS may close a connection without a word. */
	if (!p->tls && !p->has_answered && f->state == FORWARD_HEAD)
		fixed = ": if it speaks TLS, --peers must name it with https://";
	if (p->tls && f->state != FORWARD_DIAL)
		tls_report(&f->bytes, &r);
	if (r.flaws & TLS_UNKNOWN_CA)
		fixed = " with --peer-ca";
	else if (r.flaws & TLS_EXPIRED)
		fixed = ": that bridge needs a new one";
	else if (r.flaws & TLS_OTHER_HOST)
		fixed = ": --peers must name it as its certificate does";
	else if (r.end == TLS_NO_TLS)
		fixed = ": --peers must name it with http://";
	else if (r.end == TLS_WANTS_CERT)
		fixed = ": --tls-cert is what it is shown";
	return fixed;
}

void forward_why(const struct forward *f, const char *cause, char *why, size_t size)
{
	struct peer *p = peer_of(f);

	snprintf(why, size, "%s: %s%s", p->address, cause, remedy_of(f, p));
	if (strcmp(p->told, why) == 0 || (*p->told && f->k->now_ms - p->told_ms < AGAIN_MS))
		return;
	snprintf(p->told, sizeof(p->told), "%s", why);
	p->told_ms = f->k->now_ms;
	msg_warn("peer %s://%s", p->tls ? "https" : "http", why);
}

void forward_answered(const struct forward *f)
{
	struct peer *p = peer_of(f);

	if (*p->told)
		msg_warn("peer %s://%s answers again", p->tls ? "https" : "http", p->address);
	*p->told = '\0';
	p->has_answered = true;
}
