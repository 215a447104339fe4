/* SPDX-License-Identifier: ISC */
/* Any bytes as what three peers say to a source: each number has one fate, positions never fall nor
 * pass what is open, and nobody's garbage closes another's connection. A byte from 0 to 2 begins a
 * piece and says whose it is; the run is 0123456789abcdef. Of the first byte 0x80 is accounting in
 * order, 0x40 a source whose position is a text. */
#define _GNU_SOURCE
#include "ack/server.h"
#include "base/msg.h"
#include "fuzz.h"

#include <sys/socket.h>
#include <unistd.h>

enum { PEERS = 3, RECORDS = 20 };

static bool put_metadata(void *ctx, struct buf *out)
{
	(void)ctx;
	buf_puts(out, "bQ==");
	return true;
}

static void on_kept(void *ctx, struct span text)
{
	unsigned *told = ctx;

	must(text.p || !text.len);
	must(++*told == 1);
}

static void put_place(void *ctx, struct buf *out)
{
	(void)ctx;
	buf_puts(out, "here");
}

static const struct ack_place place = {on_kept, put_place};

static int64_t check(struct ack_server *d, const struct ledger_part *p, int64_t before)
{
	struct ledger_counts c = ledger_counts(d->ledger);
	int64_t position = ledger_position(d->ledger, p);
	struct ledger_open o;

	must(c.emitted == c.final + c.dropped + c.dead + c.vouched + c.open);
	must(position >= before);
	if (ledger_first_open(d->ledger, &o))
		must(position <= o.at);
	must(d->connections <= PEERS);
	must(!d->has_sink || d->had_sink);
	must(!d->void_account || d->trouble.status);
	return position;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	bool order = size && data[0] & 0x80;
	struct ledger *l = ledger_new(1000, UINT64_MAX, order);
	struct ledger_part *p = ledger_assign(l, "t", 0, NULL);
	int64_t position = -1;
	int fds[PEERS][2];
	struct ack_server d;
	size_t who = 0;
	unsigned told = 0;

	/* In order numbers are put together early. */
	ledger_keep(l, 4);
	msg_setup(-1, false);
	ack_server_open(&d, NULL, l);
	if (size && data[0] & 0x40)
		ack_server_on_place(&d, &place, &told);
	else
		ack_server_on_txn(&d, put_metadata, NULL);
	snprintf(d.run, sizeof(d.run), "0123456789abcdef");
	for (int i = 0; i < PEERS; i++) {
		must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds[i]) == 0);
		ack_server_add(&d, fds[i][0]);
	}
	for (int64_t at = 0; at < RECORDS; at++)
		ledger_emit(l, p, at, 0, 1, 0);
	for (size_t at = 0; at < size;) {
		size_t end = at;

		if (data[at] < PEERS) {
			who = data[at++];
			continue;
		}
		while (end < size && data[end] >= PEERS)
			end++;
		if (send(fds[who][1], data + at, end - at, MSG_NOSIGNAL) < 0)
			break;
		at = end;
		ack_server_serve(&d, 1);
		position = check(&d, p, position);
	}
	for (int i = 0; i < PEERS; i++)
		close(fds[i][1]);
	ack_server_serve(&d, 2);
	check(&d, p, position);
	must(d.connections == 0);
	ack_server_close(&d);
	ledger_free(l);
	return 0;
}
