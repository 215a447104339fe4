/* SPDX-License-Identifier: ISC */
/* With --id offset an entry's id is OFFSET-1, and an id that is not above the stream's last one
 * counts as delivered. In a stream with ids of another kind, or of another topic, all would count
 * so: each stream is looked at before its first entry, and whenever offsets fall, since the topic
 * may have been made anew. */
#include "rpub/rpub.h"

#include "base/mem.h"
#include "base/msg.h"
#include "redis/request.h"

#include <stdlib.h>
#include <string.h>

#define TAG_STREAM KNOWN_TAG
#define TAG_ENTRY (KNOWN_TAG + 1)

struct known_stream {
	char *name; /* NULL: free */
	size_t len;
	int64_t offset; /* of the last record */
	bool doubted; /* it was said that entries are gone */
};

static struct span name_of(const struct rpub *s)
{
	const char *constant = template_constant(s->template);

	return constant ? (struct span){constant, strlen(constant)} : buf_as_span(&s->channel);
}

static struct known_stream *find(const struct known *k, struct span name)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < name.len; i++)
		hash = (hash ^ (unsigned char)name.p[i]) * UINT64_C(0x100000001b3);
	for (;; hash++) {
		struct known_stream *t = &k->table[hash & (k->cap - 1)];

		if (!t->name || (t->len == name.len && memcmp(t->name, name.p, name.len) == 0))
			return t;
	}
}

static void grow(struct known *k)
{
	struct known old = *k;

	k->cap = old.cap ? 2 * old.cap : 64;
	k->table = mem_alloc(k->cap * sizeof(*k->table));
	memset(k->table, 0, k->cap * sizeof(*k->table));
	for (size_t i = 0; i < old.cap; i++)
		if (old.table[i].name)
			*find(k, (struct span){old.table[i].name, old.table[i].len}) = old.table[i];
	free(old.table);
}

static struct known_stream *add(struct known *k, struct span name)
{
	struct known_stream *t;

	if (2 * k->count >= k->cap)
		grow(k);
	t = find(k, name);
	if (t->name)
		return t;
	*t = (struct known_stream){.name = span_text(name), .len = name.len};
	k->count++;
	return t;
}

/* NULL: the stream is to be looked at before it takes this offset. */
static struct known_stream *known(const struct known *k, struct span name, int64_t offset)
{
	struct known_stream *t = k->cap ? find(k, name) : NULL;

	return t && t->name && offset > t->offset ? t : NULL;
}

static bool is_looked_at(const struct known *k, struct span name)
{
	return k->name.len == name.len && memcmp(k->name.p, name.p, name.len) == 0 && !k->is_bad;
}

static void ask(struct rpub *s, struct span name, struct id id)
{
	struct known *k = &s->stream.known;
	struct buf *out = redis_begin(&s->redis, name);

	request_begin(out, 3, "XINFO");
	request_text(out, "STREAM");
	request_word(out, name);
	redis_commit(&s->redis, TAG_STREAM);
	out = redis_begin(&s->redis, name);
	request_begin(out, 4, "XRANGE");
	request_word(out, name);
	request_id(out, id);
	request_id(out, id);
	redis_commit(&s->redis, TAG_ENTRY);
	buf_clear(&k->name);
	buf_span(&k->name, name);
	k->is_bad = k->has_found = false;
	k->last = (struct id){0};
	k->answers = 2;
}

void known_refuse(struct rpub *s, struct span name, const char *why)
{
	sink_die(&s->sink, EXIT_PERM,
		"redis at %s: stream '%.*s' %s: with --id offset its records would count as delivered and be lost; "
		"give them another stream, or delete this one",
		redis_name(&s->redis), (int)(name.len < 100 ? name.len : 100), name.p, why);
}

/* The entry is no longer there, or never was. Where the source began as start.c says, it is another
 * topic's. Else this is what a lawful start over looks like, too, once the stream was trimmed. */
static void doubt(struct rpub *s, struct known_stream *t)
{
	if (start_named(s, (struct span){t->name, t->len}))
		known_refuse(s, (struct span){t->name, t->len},
			"has later entries, and none under the id of this record: it was trimmed, or is another topic's");
	if (!t->doubted)
		msg_warn(
			"redis at %s: stream '%.*s' has later entries, and none under the id of a record that comes "
			"now: up to offset %llu records count as delivered",
			redis_name(&s->redis), (int)(t->len < 100 ? t->len : 100), t->name,
			(unsigned long long)s->stream.known.last.ms);
	t->doubted = true;
}

static void judge(struct rpub *s, struct known_stream *t, const struct record *r, struct span line)
{
	const struct known *k = &s->stream.known;
	struct span name = {t->name, t->len}, bytes;
	struct record_error e;

	if (!k->last.ms && !k->last.seq)
		return;
	if (k->last.seq != 1)
		known_refuse(s, name, "has ids that are no offsets");
	if (!k->has_found && (uint64_t)record_int(&r->offset, -1) <= k->last.ms)
		doubt(s, t);
	if (!k->has_found)
		return;
	buf_clear(&s->scratch);
	if (command_payload(s, r, line, &s->scratch, &bytes, &e) != RECORD_BYTES)
		bytes = SPAN("");
	if (bytes.len != k->found.len || memcmp(bytes.p, buf_as_span(&k->found).p, bytes.len))
		known_refuse(s, name,
			"has another entry under the id of this record, so it is another topic's");
}

bool known_asks(const struct rpub *s, const struct record *r)
{
	return !known(&s->stream.known, name_of(s), record_int(&r->offset, -1));
}

bool known_good(struct rpub *s, const struct record *r, struct span line)
{
	struct known *k = &s->stream.known;
	int64_t offset = record_int(&r->offset, -1);
	struct span name = name_of(s);
	struct known_stream *t;

	/* Such a record is refused. */
	if (offset < 0)
		return true;
	t = known(k, name, offset);
	if (!t && !is_looked_at(k, name)) {
		ask(s, name, (struct id){(uint64_t)offset, 1});
		return false;
	}
	if (!t) {
		t = add(k, name);
		judge(s, t, r, line);
		buf_clear(&k->name);
	}
	t->offset = offset;
	return true;
}

/* ---- answers ---- */

static void skip(struct resp *c, const struct resp_value *v)
{
	uint64_t left = v->type == RESP_ARRAY ? (uint64_t)v->n : 0;

	resp_skip(c, &left);
}

void known_ids(const struct link_reply *reply, struct id *last, struct id *top)
{
	struct resp c = reply->elements;
	struct resp_value name, v, id;

	for (int64_t i = 0; i + 1 < reply->value.n; i += 2) {
		struct resp entry;

		resp_next(&c, &name);
		resp_next(&c, &v);
		entry = c;
		if (span_is(name.text, "last-generated-id"))
			id_parse(v.text, last);
		else if (span_is(name.text, "last-entry") && v.type == RESP_ARRAY && v.n &&
			resp_next(&entry, &id) == RESP_STRING)
			id_parse(id.text, top);
		skip(&c, &v);
	}
}

/* [[id, [name, value, …]]] or nothing. */
static void on_entry(struct rpub *s, const struct link_reply *reply)
{
	struct known *k = &s->stream.known;
	struct resp c = reply->elements;
	struct resp_value v, name;
	int64_t count;

	if (!reply->value.n || resp_next(&c, &v) != RESP_ARRAY ||
		resp_next(&c, &v) != RESP_STRING || resp_next(&c, &v) != RESP_ARRAY)
		return;
	k->has_found = true;
	buf_clear(&k->found);
	count = v.n;
	for (int64_t i = 0; i + 1 < count; i += 2) {
		resp_next(&c, &name);
		resp_next(&c, &v);
		if (span_is(name.text, s->stream.field)) {
			buf_span(&k->found, v.text);
			return;
		}
	}
}

bool known_error(struct rpub *s, struct span text)
{
	if (span_starts(text, "ERR no such key") || span_starts(text, "WRONGTYPE"))
		return true;
	if (redis_fault(text) != REDIS_FAULT_AWAY)
		sink_die(&s->sink, EXIT_PERM, "redis at %s cannot look at a stream: %.*s%s",
			redis_name(&s->redis), (int)(text.len < 200 ? text.len : 200), text.p,
			redis_advice(&s->redis, text));
	redis_lose(&s->redis, text);
	return false;
}

void known_result(struct rpub *s, enum redis_got got, const struct link_reply *reply)
{
	struct known *k = &s->stream.known;
	struct span text = reply->value.text;
	struct id top;

	/* The second word about an answer that has come. */
	if (!k->answers || (got == REDIS_REPLY && reply->value.type == RESP_INTEGER))
		return;
	k->answers--;
	if (got == REDIS_AGAIN) {
		k->is_bad = true;
	} else if (reply->value.type == RESP_ARRAY) {
		if (reply->tag == TAG_STREAM)
			known_ids(reply, &k->last, &top);
		else
			on_entry(s, reply);
	} else if (reply->value.type == RESP_ERROR) {
		k->is_bad |= !known_error(s, text);
	}
}
