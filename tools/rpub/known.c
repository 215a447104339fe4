/* SPDX-License-Identifier: ISC */
/* With --id offset an entry's id is OFFSET-1, and an id that is not above the stream's last one
 * counts as delivered. In a stream with ids of another kind, or of another topic, all would count
 * so: each stream is looked at before its first entry. */
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

static void add(struct known *k, struct span name)
{
	struct known_stream *t;

	if (2 * k->count >= k->cap)
		grow(k);
	t = find(k, name);
	t->name = span_text(name);
	t->len = name.len;
	k->count++;
}

static bool is_known(const struct known *k, struct span name)
{
	return k->cap && find(k, name)->name;
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

_Noreturn static void refuse(struct rpub *s, struct span name, const char *why)
{
	sink_die(&s->sink, EXIT_PERM,
		"redis at %s: stream '%.*s' %s: with --id offset its records would count as delivered and be lost; "
		"give them another stream, or delete this one",
		redis_name(&s->redis), (int)(name.len < 100 ? name.len : 100), name.p, why);
}

static void judge(struct rpub *s, struct span name, const struct record *r, struct span line)
{
	const struct known *k = &s->stream.known;
	struct record_error e;
	struct span bytes;

	if (!k->last.ms && !k->last.seq)
		return;
	if (k->last.seq != 1)
		refuse(s, name, "has ids that are no offsets");
	if (!k->has_found)
		return;
	buf_clear(&s->scratch);
	if (command_payload(s, r, line, &s->scratch, &bytes, &e) != RECORD_BYTES)
		bytes = SPAN("");
	if (bytes.len != k->found.len || memcmp(bytes.p, buf_as_span(&k->found).p, bytes.len))
		refuse(s, name,
			"has another entry under the id of this record, so it is another topic's");
}

bool known_asks(const struct rpub *s)
{
	return !is_known(&s->stream.known, name_of(s));
}

bool known_good(struct rpub *s, const struct record *r, struct span line)
{
	struct known *k = &s->stream.known;
	int64_t offset = record_int(&r->offset, -1);
	struct span name = name_of(s);

	/* Such a record is refused. */
	if (offset < 0 || is_known(k, name))
		return true;
	if (!is_looked_at(k, name)) {
		ask(s, name, (struct id){(uint64_t)offset, 1});
		return false;
	}
	judge(s, name, r, line);
	add(k, name);
	buf_clear(&k->name);
	return true;
}

/* ---- answers ---- */

static void skip(struct resp *c, const struct resp_value *v)
{
	uint64_t left = v->type == RESP_ARRAY ? (uint64_t)v->n : 0;

	resp_skip(c, &left);
}

static void on_stream(struct known *k, const struct link_reply *reply)
{
	struct resp c = reply->elements;
	struct resp_value name, v;

	for (int64_t i = 0; i + 1 < reply->value.n; i += 2) {
		resp_next(&c, &name);
		resp_next(&c, &v);
		if (span_is(name.text, "last-generated-id"))
			id_parse(v.text, &k->last);
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

void known_result(struct rpub *s, enum redis_got got, const struct link_reply *reply)
{
	struct known *k = &s->stream.known;
	struct span text = reply->value.text;

	/* The second word about an answer that has come. */
	if (!k->answers || (got == REDIS_REPLY && reply->value.type == RESP_INTEGER))
		return;
	k->answers--;
	if (got == REDIS_AGAIN) {
		k->is_bad = true;
	} else if (reply->value.type == RESP_ARRAY) {
		if (reply->tag == TAG_STREAM)
			on_stream(k, reply);
		else
			on_entry(s, reply);
	} else if (reply->value.type == RESP_ERROR && !span_starts(text, "ERR no such key")) {
		k->is_bad = true;
		if (redis_fault(text) == REDIS_FAULT_AWAY)
			redis_lose(&s->redis, text);
		else if (!span_starts(text, "WRONGTYPE"))
			sink_die(&s->sink, EXIT_PERM, "redis at %s cannot look at a stream: %.*s%s",
				redis_name(&s->redis), (int)(text.len < 200 ? text.len : 200),
				text.p, redis_advice(&s->redis, text));
		else
			k->is_bad = false;
	}
}
