/* SPDX-License-Identifier: ISC */
/* TLS spoken to a plain port hangs, since Redis waits for the end of what it takes for a command;
 * plain commands sent to a TLS port get no word either. A second connection finds out, which says
 * the other thing. */
#include "redis/link-parts.h"

#include "base/msg.h"
#include "net/tls.h"

enum { PROBE_MS = 2000, PROBES_MAX = 5 };

static bool is_tls(const struct link *l)
{
	return l->login->tls || l->speaks_tls;
}

static enum link_probe probe_for(const struct link *l, enum link_state state)
{
	/* One answer is enough until a login succeeds; a busy server owes one. A Unix socket is
	 * always plain. */
	if (l->probes >= PROBES_MAX || l->trouble.status == EXIT_PERM || !l->dial.port)
		return LINK_PROBE_NONE;
	if (is_tls(l) && state == LINK_SHAKING)
		return LINK_PROBE_PLAIN;
	return !is_tls(l) && state == LINK_LOGIN && !l->in.len ? LINK_PROBE_TLS : LINK_PROBE_NONE;
}

bool link_should_probe(struct link *l, enum link_state state)
{
	l->probe = probe_for(l, state);
	if (!l->probe)
		return false;
	l->probes++;
	l->probed = l->trouble;
	return true;
}

void link_begin_probe(struct link *l, int fd)
{
	static const struct tls_config config;
	struct trouble why = {0};

	if (l->probe == LINK_PROBE_TLS && !l->probe_tls)
		l->probe_tls = tls_open(&config, &why);
	bytes_open(&l->bytes, fd, l->probe == LINK_PROBE_TLS ? l->probe_tls : NULL, l->dial.host);
	l->state = LINK_PROBING;
	l->deadline_ms = l->now_ms + PROBE_MS;
	if (l->probe == LINK_PROBE_PLAIN) {
		buf_puts(&l->out, "PING\r\n");
		link_send(l);
	}
	link_on_probing(l, 0);
}

/* Dials anew, with what was found out. */
static void go_on(struct link *l)
{
	l->probe = LINK_PROBE_NONE;
	bytes_close(&l->bytes);
	link_dial(l, l->now_ms);
}

static void lose_again(struct link *l)
{
	struct trouble why = l->probed;

	if (l->is_hasty) {
		go_on(l);
		return;
	}
	link_lose(l, why.status, "%s", why.text);
	l->probe = LINK_PROBE_NONE;
}

/* What the port speaks is known: @other, or not. */
static void end(struct link *l, bool other)
{
	const char *what = l->login->what;

	l->probes = PROBES_MAX;

	if (other && l->probe == LINK_PROBE_TLS && l->login->tls_if_spoken) {
		l->speaks_tls = true;
		l->probes = 0;
		go_on(l);
		return;
	}
	if (other && l->probe == LINK_PROBE_TLS)
		link_lose(l, EXIT_PERM,
			"%s at %s speaks TLS at this port: a URL with TLS is needed", what,
			l->name);
	else if (other)
		link_lose(l, EXIT_PERM,
			"%s at %s does not speak TLS at this port: a URL without TLS is needed, or "
			"its tls-port",
			what, l->name);
	else
		lose_again(l);
	l->probe = LINK_PROBE_NONE;
}

static void on_plain(struct link *l)
{
	char c;
	ssize_t n = bytes_read(&l->bytes, &c, 1);

	if (n > 0)
		end(l, c == '+' || c == '-');
	else if (n == 0 || l->bytes.trouble.status)
		end(l, false);
}

void link_on_probing(struct link *l, short revents)
{
	if (l->probe == LINK_PROBE_TLS) {
		if (bytes_shake(&l->bytes))
			end(l, l->bytes.is_tls);
	} else if (revents) {
		on_plain(l);
	}
	if (l->state == LINK_PROBING && l->now_ms >= l->deadline_ms)
		lose_again(l);
}
