/* SPDX-License-Identifier: ISC */
#include "kwrite/receipts.h"

#include "base/msg.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

void receipts_open(struct receipts *r, const struct arg_str *fd, int taken, bool raw)
{
	int n = (int)opt_int(fd, "--receipts", -1, 1, 1 << 20);
	int flags;

	r->on = n >= 0;
	r->raw = raw;
	if (!r->on)
		return;
	flags = n == taken ? -1 : fcntl(n, F_GETFL);
	if (n == taken)
		opt_bad("--receipts %d: --pass hands records on there; name another descriptor", n);
	if (flags < 0 || (flags & O_ACCMODE) == O_RDONLY)
		opt_bad("--receipts %d: the descriptor is not open for writing: add %d>FILE", n, n);
	fcntl(n, F_SETFD, FD_CLOEXEC);
	out_open(&r->out, n);
}

static void put_text(struct buf *b, const char *name, const struct json_value *v)
{
	if (v->type == JSON_ABSENT)
		return;
	buf_printf(b, "%s\"%s\":%s", b->len ? "," : "", name, v->type == JSON_STRING ? "\"" : "");
	buf_span(b, v->text);
	if (v->type == JSON_STRING)
		buf_putc(b, '"');
}

/* Where a record comes from, as it stands in it. */
static void put_from(struct receipts *r, struct span line)
{
	struct record_error e;
	struct record rec;

	buf_clear(&r->from);
	if (r->raw || record_parse(&rec, line, &e))
		return;
	put_text(&r->from, "topic", &rec.topic);
	put_text(&r->from, "partition", &rec.partition);
	put_text(&r->from, "offset", &rec.offset);
	put_text(&r->from, "channel", &rec.channel);
	put_text(&r->from, "stream", &rec.stream);
	put_text(&r->from, "id", &rec.id);
}

void receipts_add(struct receipts *r, const struct delivery *d, struct span line)
{
	struct buf *b = &r->out.b;

	if (!r->on || r->is_broken)
		return;
	put_from(r, line);
	buf_printf(b, "{\"line\":%" PRIu64, d->slot.number);
	if (d->slot.refused)
		buf_puts(b, ",\"refused\":true");
	else
		buf_printf(b, ",\"topic\":\"%s\",\"partition\":%" PRId32 ",\"offset\":%" PRId64,
			d->topic->name, d->partition, d->offset);
	if (r->from.len) {
		buf_puts(b, ",\"from\":{");
		buf_span(b, buf_as_span(&r->from));
		buf_putc(b, '}');
	}
	buf_put(b, "}\n", 2);
}

void receipts_poll(const struct receipts *r, struct pollfd *p)
{
	*p = (struct pollfd){
		.fd = r->on && !r->is_broken ? r->out.fd : -1, .events = out_events(&r->out)};
}

void receipts_flush(struct receipts *r, const struct pollfd *p)
{
	if (!r->on || r->is_broken)
		return;
	if (p->revents & OUT_GONE) {
		r->is_broken = true;
	} else if (out_flush(&r->out)) {
		if (errno != EPIPE)
			die(EXIT_TEMP, "cannot write the receipts: %s", msg_errno(errno));
		r->is_broken = true;
	}
}

void receipts_close(struct receipts *r)
{
	if (r->on && !r->is_broken && out_close(&r->out))
		die(EXIT_TEMP, "cannot write the receipts: %s", msg_errno(errno));
	buf_free(&r->from);
}
