/* SPDX-License-Identifier: ISC */
/*
 * DESIGN: net/peers has the connections; what is sent is little (a greeting, an end, the answer to
 * one question at a time): a peer for which much waits does not read.
 *
 * A report is a fact about records, whichever program sends it and however late: labels before
 * garbage on a line count.
 *
 * Files: server.c the server; server-message.c what peers say. */
#define _GNU_SOURCE
#include "ack/server-parts.h"

#include "base/msg.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

static void tell_end(struct ack_server *d, struct peer *p)
{
	peer_tell(
		&d->peers, p, "end %s %llu\n", d->run, (unsigned long long)ledger_last(d->ledger));
}

/* ---- what happens to connections ---- */

static void on_opened(void *ctx, struct peer *p)
{
	struct ack_server *d = ctx;
	uid_t uid;

	if (!peers_trust(p->fd, &uid)) {
		msg_warn(
			"refused a process of another user (uid %ld) on the acknowledgement socket",
			(long)uid);
		p->closed = true;
		return;
	}
	/* At once: who has the run may read all of its input before the next line comes. */
	if (d->ended)
		peer_tell(&d->peers, p, "run %s\nend %s %llu\n", d->run, d->run,
			(unsigned long long)ledger_last(d->ledger));
	else
		peer_tell(&d->peers, p, "run %s\n", d->run);
}

static void on_line(void *ctx, struct peer *p, struct span line, int64_t now_us)
{
	ack_server_take(ctx, (struct ack_peer *)p, line, now_us);
}

/* A program names a set before it hands on what is labelled with the name. So before a block with
 * names is taken, what other peers have sent is looked through for the sets. */
static bool is_set(void *ctx, struct peer *peer, struct span line)
{
	struct ack_peer *p = (struct ack_peer *)peer;
	struct span verb = span_word(&line);

	if (p->role == REFUSED || p->bye || !span_is(verb, "set"))
		return false;
	ack_server_name(ctx, p, line);
	return true;
}

static void on_refused(void *ctx, struct peer *p, const char *why)
{
	struct ack_server *d = ctx;

	if (p)
		ack_server_garbage(d, (struct ack_peer *)p, why);
	else
		d->garbage++;
}

static void on_freed(void *ctx, struct peer *peer)
{
	struct ack_peer *p = (struct ack_peer *)peer;
	struct ack_server *d = ctx;

	if (p->role != NOBODY && p->role != REFUSED)
		d->connections--;
	d->busy -= p->busy;
	if (p->role == SINK || p->role == TXN) {
		d->has_sink = false;
		d->sink_lost = d->sink_lost || !p->bye;
	}
	buf_free(&p->question);
	buf_free(&p->also);
}

static struct ack_peer *first(const struct ack_server *d)
{
	return (struct ack_peer *)d->peers.first;
}

static struct ack_peer *next(const struct ack_peer *p)
{
	return (struct ack_peer *)p->peer.next;
}

void ack_server_add(struct ack_server *d, int fd)
{
	peers_add(&d->peers, fd);
}

void ack_server_serve(struct ack_server *d, int64_t now_us)
{
	if (d->fd < 0)
		return;
	peers_serve(&d->peers, now_us);
	trouble_take(&d->trouble, &d->peers.trouble);
	if (d->asked) {
		d->asked = false;
		for (struct ack_peer *p = first(d); p; p = next(p))
			if (p->asks && !p->peer.closed)
				ack_server_answer(d, p);
	}
	peers_reap(&d->peers);
}

void ack_server_end(struct ack_server *d)
{
	if (d->fd < 0 || d->ended)
		return;
	d->ended = true;
	for (struct ack_peer *p = first(d); p; p = next(p))
		if (p->role != REFUSED)
			tell_end(d, &p->peer);
}

bool ack_server_flushed(const struct ack_server *d)
{
	for (const struct ack_peer *p = first(d); p; p = next(p))
		if (peer_is_behind(&p->peer) && p->role != NOBODY && p->role != REFUSED)
			return false;
	return true;
}

void ack_server_stop(struct ack_server *d, const char *reason)
{
	for (struct ack_peer *p = first(d); p; p = next(p))
		if (p->role != REFUSED)
			peer_tell(&d->peers, &p->peer, "stop %s\n", reason);
}

void ack_server_filters(const struct ack_server *d, struct buf *names)
{
	for (const struct ack_peer *p = first(d); p; p = next(p))
		if (p->role == FILTER)
			buf_printf(names, "%s%s", names->len ? ", " : "", p->name);
}

/* ---- the whole ---- */

static void listen_on(struct ack_server *d, const char *path)
{
	struct trouble why = {0};

	if (peers_listen(&d->peers, path, 0600, &why) == 0)
		return;
	if (errno == EADDRINUSE && why.status == EXIT_PERM)
		die(EXIT_PERM,
			"another source listens on '%s': a pipeline has one source; run two pipelines",
			path);
	die(why.status, "%s", why.text);
}

void ack_server_open(struct ack_server *d, const char *path, struct ledger *l)
{
	static const struct peers_events events = {
		.size = sizeof(struct ack_peer),
		.opened = on_opened,
		.line = on_line,
		.mark = '#',
		.ahead = is_set,
		.refused = on_refused,
		.freed = on_freed,
	};
	unsigned char random[LABEL_RUN_LEN / 2];

	*d = (struct ack_server){.ledger = l};
	if (getrandom(random, sizeof(random), 0) != sizeof(random))
		die(EXIT_TEMP, "cannot get random numbers: %s", msg_errno(errno));
	for (size_t i = 0; i < sizeof(random); i++)
		snprintf(d->run + 2 * i, 3, "%02x", random[i]);
	peers_open(&d->peers, &events, d);
	d->fd = d->peers.fd;
	if (path)
		listen_on(d, path);
}

void ack_server_on_txn(
	struct ack_server *d, bool (*metadata)(void *ctx, struct buf *out), void *ctx)
{
	d->metadata = metadata;
	d->ctx = ctx;
}

void ack_server_on_note(struct ack_server *d,
	void (*note)(void *ctx, const struct ledger_part *p, int64_t position, struct buf *out))
{
	d->note = note;
}

void ack_server_on_positions(struct ack_server *d, const struct ack_positions *p, void *ctx)
{
	d->positions = p;
	d->positions_ctx = ctx;
}

void ack_server_on_place(struct ack_server *d, const struct ack_place *p, void *ctx)
{
	d->place = p;
	d->place_ctx = ctx;
}

/* NULL: none, or it has gone. */
static struct peer *keeper(const struct ack_server *d)
{
	for (struct ack_peer *p = first(d); p && d->keeps_positions; p = next(p))
		if (p->role == SINK && !p->peer.closed)
			return &p->peer;
	return NULL;
}

void ack_server_assigned(struct ack_server *d, const struct ack_assigned *a)
{
	struct peer *p = keeper(d);
	struct buf *out;

	if (!p)
		return;
	out = peer_out(p);
	buf_printf(out, "assigned %s %.*s %d %lld %lld ", d->run, (int)a->topic.len, a->topic.p,
		(int)a->partition, (long long)a->low, (long long)a->high);
	ack_offset_put(out, a->committed);
	buf_printf(out, " %.*s\n", (int)a->cluster.len, a->cluster.p);
	peer_flush(&d->peers, p);
}

void ack_server_from(struct ack_server *d, struct span topic, int32_t partition, uint64_t number)
{
	struct peer *p = keeper(d);

	if (p)
		peer_tell(&d->peers, p, "from %s %.*s %d %llu\n", d->run, (int)topic.len, topic.p,
			(int)partition, (unsigned long long)number);
}

void ack_server_close(struct ack_server *d)
{
	if (d->fd < 0)
		return;
	peers_close(&d->peers);
	d->fd = -1;
}
