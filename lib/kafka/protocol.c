/* SPDX-License-Identifier: ISC */
#include "kafka/protocol-parts.h"

#include "base/mem.h"

#include <endian.h>
#include <limits.h>
#include <stdlib.h>

/* ---- requests ---- */

void proto_put_i8(struct buf *b, int8_t n)
{
	buf_putc(b, (char)n);
}

void proto_put_i16(struct buf *b, int16_t n)
{
	uint16_t be = htobe16((uint16_t)n);

	buf_put(b, &be, sizeof(be));
}

void proto_put_i32(struct buf *b, int32_t n)
{
	uint32_t be = htobe32((uint32_t)n);

	buf_put(b, &be, sizeof(be));
}

void proto_put_i64(struct buf *b, int64_t n)
{
	uint64_t be = htobe64((uint64_t)n);

	buf_put(b, &be, sizeof(be));
}

void proto_put_string(struct buf *b, const char *s)
{
	size_t len = s ? strnlen(s, INT16_MAX) : 0;

	proto_put_i16(b, s ? (int16_t)len : -1);
	if (s)
		buf_put(b, s, len);
}

void proto_put_bytes(struct buf *b, struct span s)
{
	proto_put_i32(b, (int32_t)s.len);
	buf_span(b, s);
}

size_t proto_begin(
	struct buf *b, enum proto_api api, int16_t version, int32_t number, const char *client)
{
	size_t start = b->len;

	proto_put_i32(b, 0);
	proto_put_i16(b, (int16_t)api);
	proto_put_i16(b, version);
	proto_put_i32(b, number);
	proto_put_string(b, client);
	return start;
}

void proto_end(struct buf *b, size_t start)
{
	uint32_t be = htobe32((uint32_t)(b->len - start - sizeof(be)));

	memcpy(b->p + start, &be, sizeof(be));
}

/* ---- answers ---- */

/* The next @n bytes, or NULL. */
static const char *take(struct proto_in *in, size_t n)
{
	const char *p = in->p;

	if (in->bad || (size_t)(in->end - p) < n) {
		in->bad = true;
		return NULL;
	}
	in->p += n;
	return p;
}

int8_t proto_i8(struct proto_in *in)
{
	const char *p = take(in, 1);

	return p ? (int8_t)*p : 0;
}

int16_t proto_i16(struct proto_in *in)
{
	const char *p = take(in, sizeof(uint16_t));
	uint16_t be = 0;

	if (p)
		memcpy(&be, p, sizeof(be));
	return (int16_t)be16toh(be);
}

int32_t proto_i32(struct proto_in *in)
{
	const char *p = take(in, sizeof(uint32_t));
	uint32_t be = 0;

	if (p)
		memcpy(&be, p, sizeof(be));
	return (int32_t)be32toh(be);
}

int64_t proto_i64(struct proto_in *in)
{
	const char *p = take(in, sizeof(uint64_t));
	uint64_t be = 0;

	if (p)
		memcpy(&be, p, sizeof(be));
	return (int64_t)be64toh(be);
}

static struct span of_length(struct proto_in *in, int32_t len)
{
	const char *p;

	if (len < 0)
		return SPAN_NONE;
	p = take(in, (size_t)len);
	return p ? (struct span){p, (size_t)len} : SPAN_NONE;
}

struct span proto_string(struct proto_in *in)
{
	return of_length(in, proto_i16(in));
}

struct span proto_bytes(struct proto_in *in)
{
	return of_length(in, proto_i32(in));
}

static int32_t count_of(struct proto_in *in, int32_t n, size_t least)
{
	if (n <= 0)
		return 0;
	if ((size_t)n > (size_t)(in->end - in->p) / least) {
		in->bad = true;
		return 0;
	}
	return n;
}

int32_t proto_count(struct proto_in *in, size_t least)
{
	return count_of(in, proto_i32(in), least);
}

/* ---- with tagged fields ---- */

/* Seven bits a byte, the lowest first. */
static uint32_t varint(struct proto_in *in)
{
	enum { BITS = 7, MORE = 0x80, SHIFT_MAX = 28 };
	uint32_t n = 0;

	for (unsigned shift = 0; shift <= SHIFT_MAX; shift += BITS) {
		unsigned char byte = (unsigned char)proto_i8(in);

		n |= (uint32_t)(byte & ~MORE) << shift;
		if (!(byte & MORE))
			return n;
	}
	in->bad = true;
	return 0;
}

/* 0 stands for null, and each other number for one less. */
static int32_t compact(struct proto_in *in)
{
	uint32_t n = varint(in);

	if (n > INT32_MAX)
		in->bad = true;
	return in->bad ? -1 : (int32_t)n - 1;
}

struct span proto_compact_string(struct proto_in *in)
{
	return of_length(in, compact(in));
}

int32_t proto_compact_count(struct proto_in *in, size_t least)
{
	return count_of(in, compact(in), least);
}

void proto_skip_tags(struct proto_in *in)
{
	for (uint32_t n = varint(in); n > 0 && !in->bad; n--) {
		uint32_t len;

		varint(in);
		len = varint(in);
		if (len > INT32_MAX)
			in->bad = true;
		else
			of_length(in, (int32_t)len);
	}
}

void proto_put_compact(struct buf *b, const char *s)
{
	enum { BITS = 7, MORE = 0x80 };
	size_t len = strnlen(s, INT16_MAX), n = len + 1;

	for (; n >= MORE; n >>= BITS)
		buf_putc(b, (char)(n | MORE));
	buf_putc(b, (char)n);
	buf_put(b, s, len);
}

int proto_answer(struct span b, int32_t *number, struct span *body)
{
	struct proto_in in = {b.p, b.p + b.len, false};
	int32_t len;

	if (b.len < sizeof(uint32_t))
		return 0;
	len = proto_i32(&in);
	if (len < (int32_t)sizeof(uint32_t) || len > PROTO_ANSWER_MAX)
		return -1;
	if (b.len >= 2 * sizeof(uint32_t))
		*number = proto_i32(&in);
	if (b.len - sizeof(uint32_t) < (size_t)len)
		return 0;
	*body = (struct span){in.p, (size_t)len - sizeof(uint32_t)};
	return 1;
}

/* ---- ApiVersions ---- */

int proto_read_versions(struct span body, struct proto_versions *v)
{
	struct proto_in in = proto_in(body);
	int32_t n;

	*v = (struct proto_versions){.error = proto_i16(&in)};
	for (int i = 0; i < PROTO_APIS; i++)
		v->min[i] = v->max[i] = -1;
	n = proto_count(&in, 6);
	while (n-- > 0) {
		int16_t api = proto_i16(&in), min = proto_i16(&in), max = proto_i16(&in);

		if (api >= 0 && api < PROTO_APIS && min >= 0 && max >= min) {
			v->min[api] = min;
			v->max[api] = max;
		}
	}
	return proto_whole(&in);
}

bool proto_has(const struct proto_versions *v, enum proto_api api)
{
	return v->max[api] >= 0;
}

int16_t proto_version(const struct proto_versions *v, enum proto_api api, int16_t low, int16_t high)
{
	int16_t best = v->max[api] < high ? v->max[api] : high;

	return best >= low && best >= v->min[api] ? best : -1;
}

/* ---- Metadata ---- */

void proto_put_metadata(struct buf *b, int16_t version, const char *const *topics)
{
	int32_t n = 0;

	while (topics && topics[n])
		n++;
	proto_put_i32(b, topics ? n : -1);
	for (int32_t i = 0; i < n; i++)
		proto_put_string(b, topics[i]);
	if (version >= 4)
		proto_put_i8(b, 0);
}

static char *text_or_null(struct span s)
{
	return s.p ? span_text(s) : NULL;
}

char *proto_text(struct span s)
{
	return s.p ? span_text(s) : mem_dup("");
}

static void read_brokers(struct proto_in *in, struct proto_metadata *m)
{
	int32_t n = proto_count(in, 12);

	m->brokers = mem_alloc((size_t)(n + 1) * sizeof(*m->brokers));
	while (m->broker_count < n && !in->bad) {
		struct proto_broker *k = &m->brokers[m->broker_count++];

		k->id = proto_i32(in);
		k->host = proto_text(proto_string(in));
		k->port = proto_i32(in);
		k->rack = text_or_null(proto_string(in));
	}
}

static int32_t read_ids(struct proto_in *in, int32_t **ids)
{
	int32_t n = proto_count(in, sizeof(uint32_t));

	*ids = mem_alloc((size_t)(n + 1) * sizeof(**ids));
	for (int32_t i = 0; i < n; i++)
		(*ids)[i] = proto_i32(in);
	return n;
}

static void read_partition(struct proto_in *in, int16_t version, struct proto_partition *p)
{
	*p = (struct proto_partition){.error = proto_i16(in)};
	p->id = proto_i32(in);
	p->leader = proto_i32(in);
	if (version >= 7)
		proto_i32(in);
	p->replica_count = read_ids(in, &p->replicas);
	p->isr_count = read_ids(in, &p->isr);
	if (version >= 5)
		for (int32_t n = proto_count(in, sizeof(uint32_t)); n > 0; n--)
			proto_i32(in);
}

static void read_topics(struct proto_in *in, int16_t version, struct proto_metadata *m)
{
	int32_t n = proto_count(in, 9);

	m->topics = mem_alloc((size_t)(n + 1) * sizeof(*m->topics));
	while (m->topic_count < n && !in->bad) {
		struct proto_topic *t = &m->topics[m->topic_count++];
		int32_t count;

		*t = (struct proto_topic){.error = proto_i16(in)};
		t->name = proto_text(proto_string(in));
		t->is_internal = proto_i8(in);
		count = proto_count(in, 18);
		t->partitions = mem_alloc((size_t)(count + 1) * sizeof(*t->partitions));
		while (t->partition_count < count && !in->bad)
			read_partition(in, version, &t->partitions[t->partition_count++]);
	}
}

int proto_read_metadata(struct span body, int16_t version, struct proto_metadata *m)
{
	struct proto_in in = proto_in(body);

	*m = (struct proto_metadata){.controller = -1};
	if (version >= 3)
		proto_i32(&in);
	read_brokers(&in, m);
	if (version >= 2)
		m->cluster = text_or_null(proto_string(&in));
	m->controller = proto_i32(&in);
	read_topics(&in, version, m);
	return proto_whole(&in);
}

void proto_metadata_free(struct proto_metadata *m)
{
	for (int32_t i = 0; i < m->broker_count; i++) {
		free(m->brokers[i].host);
		free(m->brokers[i].rack);
	}
	for (int32_t i = 0; i < m->topic_count; i++) {
		struct proto_topic *t = &m->topics[i];

		for (int32_t k = 0; k < t->partition_count; k++) {
			free(t->partitions[k].replicas);
			free(t->partitions[k].isr);
		}
		free(t->partitions);
		free(t->name);
	}
	free(m->brokers);
	free(m->topics);
	free(m->cluster);
	*m = (struct proto_metadata){0};
}

/* ---- the login ---- */

int proto_read_mechanisms(struct span body, int16_t *error, struct buf *names)
{
	struct proto_in in = proto_in(body);
	int32_t n;

	*error = proto_i16(&in);
	n = proto_count(&in, 2);
	for (int32_t i = 0; i < n && !in.bad; i++) {
		if (i)
			buf_puts(names, ", ");
		buf_span(names, proto_string(&in));
	}
	return proto_whole(&in);
}

int proto_read_login(struct span body, int16_t *error, struct span *text, struct span *token)
{
	struct proto_in in = proto_in(body);

	*error = proto_i16(&in);
	*text = proto_string(&in);
	*token = proto_bytes(&in);
	/* Version 1 has how long the session lasts. */
	return in.bad ? -1 : 0;
}
