/* SPDX-License-Identifier: ISC */
#include "rsub/exact.h"

#include "base/mem.h"
#include "base/msg.h"
#include "json/json.h"
#include "record/record.h"
#include "redis/request.h"
#include "rsub/streams.h"

#include <stdlib.h>
#include <string.h>

/* ---- the text ---- */

static struct exact_place *find(struct exact *x, struct span name)
{
	for (size_t i = 0; i < x->place_count; i++)
		if (x->places[i].name_len == name.len &&
			memcmp(x->places[i].name, name.p, name.len) == 0)
			return &x->places[i];
	return NULL;
}

static void keep(struct exact *x, struct span name, struct id id, int64_t read)
{
	struct exact_place *p = find(x, name);

	if (!p) {
		x->places = mem_realloc(x->places, (x->place_count + 1) * sizeof(*x->places));
		p = &x->places[x->place_count++];
		p->name = mem_alloc(name.len + 1);
		memcpy(p->name, name.p, name.len);
		p->name[name.len] = '\0';
		p->name_len = name.len;
	}
	p->id = id;
	p->read = read;
}

/* {"stream":"…","id":"MS-SEQ","read":N} or, for a name that is not UTF-8, stream_b64. */
static int take_place(struct exact *x, struct json *j)
{
	struct json_value key, v;
	struct buf name = {0}, text = {0};
	struct span plain;
	struct id id;
	int64_t read = -1;
	bool has_id = false, has_name = false;
	int rc;

	while ((rc = json_member(j, &key, &v)) == 1) {
		if (json_is(&key, "read") && v.type == JSON_NUMBER)
			read = strtoll(v.text.p, NULL, 10);
		else if (json_is(&key, "id") && v.type == JSON_STRING)
			has_id = id_parse(v.text, &id) == 0;
		else if (json_is(&key, "stream") && v.type == JSON_STRING)
			has_name = json_unescape(&name, v.text) == 0;
		else if (json_is(&key, "stream_b64") && v.type == JSON_STRING)
			has_name = json_string(&v, &text, &plain) == 0 &&
				buf_unbase64(&name, plain) == 0;
	}
	if (rc == 0 && has_id && has_name)
		keep(x, buf_as_span(&name), id, read);
	buf_free(&name);
	buf_free(&text);
	return rc == 0 && has_id && has_name ? 0 : -1;
}

/* {"streams":[…]}. Returns 0, or -1 when it is not ours. */
static int take_text(struct exact *x, struct span text)
{
	struct json j;

	json_init(&j, text);
	if (json_enter(&j, '{') || json_member_named(&j, SPAN("streams")) != 1 ||
		json_enter(&j, '['))
		return -1;
	while (json_next(&j, ']') == 1)
		if (json_enter(&j, '{') || take_place(x, &j))
			return -1;
	return j.why ? -1 : 0;
}

static void on_kept(void *ctx, struct span text)
{
	struct exact *x = ctx;

	if (text.p && take_text(x, text)) {
		source_fail(x->source, EXIT_PERM,
			"the sink's positions are none of rsub's: give its --txn an ID of its own, or its --positions another topic");
		return;
	}
	x->is_told = true;
}

/* Where a stream stands once @covered of the records of its account are final. */
static struct id id_at(const struct stream *st, uint64_t covered)
{
	const struct xack *a = &st->acks;
	uint64_t at = st->base + covered;

	if (at == a->head)
		return st->begun;
	return a->ids[(at - 1) & (a->cap - 1)];
}

/* How many entries the group has read up to there. */
static int64_t read_at(const struct stream *st, uint64_t covered)
{
	if (!st->info.has_read)
		return -1;
	return (int64_t)(st->info.read - (st->acks.tail - st->base - covered));
}

static void put_place(const struct exact_place *p, struct buf *out)
{
	buf_putc(out, '{');
	record_put_bytes(out, "stream", (struct span){p->name, p->name_len});
	buf_puts(out, ",\"id\":\"");
	id_put(out, p->id);
	buf_putc(out, '"');
	if (p->read >= 0)
		buf_printf(out, ",\"read\":%lld", (long long)p->read);
	buf_putc(out, '}');
}

static void on_put(void *ctx, struct buf *out)
{
	struct exact *x = ctx;

	for (int i = 0; i < x->count; i++)
		for (int k = 0; k < x->readers[i].count && x->readers[i].is_exact; k++) {
			const struct stream *st = &x->readers[i].streams[k];
			uint64_t covered = ledger_txn_covered(x->source->ledger, st->account);

			keep(x, (struct span){st->name, strlen(st->name)}, id_at(st, covered),
				read_at(st, covered));
		}
	/* Nothing is known yet, and nothing was printed. */
	if (!x->place_count)
		return;
	buf_puts(out, "{\"streams\":[");
	for (size_t i = 0; i < x->place_count; i++) {
		if (i)
			buf_putc(out, ',');
		put_place(&x->places[i], out);
	}
	buf_puts(out, "]}");
}

void exact_open(struct exact *x, struct source *source, struct streams *readers, int count)
{
	static const struct ack_place place = {on_kept, on_put};

	*x = (struct exact){.source = source, .readers = readers, .count = count};
	ack_server_on_place(&source->server, &place, x);
}

void exact_close(struct exact *x)
{
	for (size_t i = 0; i < x->place_count; i++)
		free(x->places[i].name);
	free(x->places);
}

bool exact_is_on(const struct exact *x)
{
	return x->source && x->source->server.is_txn;
}

/* ---- a stream ---- */

/* What the group says of itself: nothing before it is open. */
static struct id group_at(const struct stream *st)
{
	const struct info *i = &st->info;

	return i->pending ? id_least(i->delivered, id_before(i->pending_first)) : i->delivered;
}

static const char *doubt(const struct stream *st, const struct exact_place *p)
{
	if (st->made_group)
		return "its group was not there";
	if (id_compare(p->id, st->info.last) > 0)
		return "it has never had so high an id";
	return NULL;
}

static void begin(struct streams *s, struct stream *st)
{
	const struct exact_place *p =
		find(&s->whole->exact, (struct span){st->name, strlen(st->name)});
	const char *why = p ? doubt(st, p) : NULL;
	struct id at = !st->made_group ? group_at(st) : s->from_end ? st->info.last : s->from;
	char id[ID_TEXT], from[ID_TEXT];

	if (why)
		msg_warn(
			"redis at %s: stream '%s': %s: the sink's position, %s, counts for nothing; read from id %s on",
			redis_name(&s->redis), st->name, why, id_text(p->id, id).p,
			id_text(at, from).p);
	if (st->made_group) {
		st->info.has_read = s->from_end ? st->info.has_added : !at.ms && !at.seq;
		st->info.read = s->from_end ? st->info.added : 0;
	}
	if (p && !why && id_compare(p->id, at) >= 0) {
		at = p->id;
		st->info.has_read = p->read >= 0;
		st->info.read = p->read >= 0 ? (uint64_t)p->read : 0;
	}
	st->begun = st->read = at;
	st->has_read = true;
	st->base = st->acks.tail;
}

void exact_begin(struct streams *s)
{
	if (s->has_no_info) {
		source_end(s->source, EXIT_PERM,
			"redis at %s refuses XINFO, without which nobody knows where the group is: allow it, or write without --txn",
			redis_name(&s->redis));
		return;
	}
	for (int i = 0; i < s->count; i++)
		begin(s, &s->streams[i]);
	s->is_exact = true;
}

void exact_confirmed(struct stream *st, uint64_t count)
{
	const struct xack *a = &st->acks;

	if (count)
		st->begun = a->ids[(a->head + count - 1) & (a->cap - 1)];
}

void exact_ack(struct streams *s, struct stream *st)
{
	struct xack *a = &st->acks;
	uint64_t covered = ledger_covered(s->source->ledger, st->account), count;
	struct id at;
	int64_t read;
	bool counts;
	struct buf *b;

	a->ready = st->base + covered;
	count = a->ready - a->sent;
	if (!count)
		return;
	at = id_at(st, covered);
	read = read_at(st, covered);
	counts = st->info.has_added && read >= 0;
	b = streams_begin(s, st, counts ? 7 : 5, "XGROUP");
	if (!b)
		return;
	request_text(b, "SETID");
	request_text(b, st->name);
	request_text(b, s->group);
	request_id(b, at);
	if (counts) {
		request_text(b, "ENTRIESREAD");
		request_number(b, read);
	}
	a->sent = a->ready;
	streams_commit(s, ASK_ACK, st, count);
}
