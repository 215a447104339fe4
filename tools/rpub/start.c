/* SPDX-License-Identifier: ISC */
/* With --id offset a source that has positions (kread -g) says of each partition that it is given
 * where it ends, and waits to be told where to begin (evpipe-ack(7)).
 *
 * A stream that has ids beyond that end is not of this topic, which was made anew, or has lost its
 * tail: its next records would count as delivered. Where the group is not behind the stream's last
 * entry, that entry's record is the first one to be read: its payload shows whether the two are of
 * one topic, also where all others have been trimmed. */
#include "rpub/rpub.h"

#include "base/mem.h"
#include "redis/request.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct start { /* a partition */
	char *topic;
	int32_t partition;
	int64_t high, committed; /* as they were when it was assigned last; -1: none */
	char *stream; /* NULL: its name is not known, or nothing will be asked of it */
	size_t len;
	bool due; /* the source waits for the answer */
	bool out; /* Redis is asked */
};

static struct start *find(struct rpub *s, struct span topic, int32_t partition)
{
	struct rpub_stream *t = &s->stream;
	struct start *p;

	for (size_t i = 0; i < t->start_count; i++)
		if (t->starts[i].partition == partition && span_is(topic, t->starts[i].topic))
			return &t->starts[i];
	t->starts = mem_realloc(t->starts, (t->start_count + 1) * sizeof(*t->starts));
	p = &t->starts[t->start_count++];
	*p = (struct start){.topic = span_text(topic), .partition = partition};
	return p;
}

/* The stream, unless its name depends on more than the partition. */
static void name_stream(struct rpub *s, struct start *p)
{
	struct buf line = {0}, name = {0};
	struct record_error e;
	struct record r = {0};

	/* A topic's name has nothing that would have to be escaped. */
	buf_printf(&line, "{\"topic\":\"%s\",\"partition\":%" PRId32 ",\"payload\":null}", p->topic,
		p->partition);
	buf_room(&line, BUF_SLACK);
	if (record_parse(&r, buf_as_span(&line), &e) == 0 &&
		template_expand(s->template, &r, &s->scratch, &name, &e) == 0) {
		p->stream = span_text(buf_as_span(&name));
		p->len = name.len;
	}
	buf_free(&line);
	buf_free(&name);
}

static void refuse_shared(struct rpub *s, const struct start *p)
{
	for (size_t i = 0; i < s->stream.start_count; i++) {
		const struct start *o = &s->stream.starts[i];
		char why[400];

		if (o == p || !o->stream || o->len != p->len ||
			memcmp(o->stream, p->stream, p->len))
			continue;
		snprintf(why, sizeof(why),
			"is that of two partitions, %.100s %" PRId32 " and %.100s %" PRId32
			" (name it '{topic}-{partition}')",
			o->topic, o->partition, p->topic, p->partition);
		known_refuse(s, (struct span){p->stream, p->len}, why);
	}
}

static void answer(struct rpub *s, struct start *p, int64_t offset)
{
	p->due = false;
	ack_start(&s->sink.ack, (struct span){p->topic, strlen(p->topic)}, p->partition, offset);
}

static void on_assigned(void *rpub, const struct ack_assigned *a)
{
	struct rpub *s = rpub;
	struct start *p = find(s, a->topic, a->partition);

	p->high = a->high;
	p->committed = a->committed;
	p->due = true;
	/* A partition that is empty has no share in a stream. */
	if (!p->stream && p->high)
		name_stream(s, p);
	if (p->stream)
		refuse_shared(s, p);
	else
		answer(s, p, -1);
}

/* Nothing was asked for. */
static void on_from(void *rpub, struct span topic, int32_t partition, uint64_t number)
{
	(void)rpub, (void)topic, (void)partition, (void)number;
}

void start_open(struct rpub *s)
{
	static const struct ack_keeper keeper = {.assigned = on_assigned, .from = on_from};

	ack_keep_positions(&s->sink.ack, &keeper, s);
}

bool start_named(const struct rpub *s, struct span stream)
{
	for (size_t i = 0; i < s->stream.start_count; i++) {
		const struct start *p = &s->stream.starts[i];

		if (p->stream && p->len == stream.len && !memcmp(p->stream, stream.p, p->len))
			return true;
	}
	return false;
}

void start_ask(struct rpub *s, int64_t now_ms)
{
	bool asks = false;

	for (size_t i = 0; i < s->stream.start_count; i++) {
		struct start *p = &s->stream.starts[i];
		struct span name = {p->stream, p->len};
		struct buf *out;

		if (!p->due || p->out || s->redis.state != REDIS_UP)
			continue;
		out = redis_begin(&s->redis, name);
		request_begin(out, 3, "XINFO");
		request_text(out, "STREAM");
		request_word(out, name);
		redis_commit(&s->redis, START_TAG + i);
		asks = p->out = true;
	}
	if (asks)
		redis_flush(&s->redis, now_ms);
}

static int64_t where_to_begin(struct rpub *s, const struct start *p, struct id last, struct id top)
{
	struct span name = {p->stream, p->len};
	char why[400];

	if (!last.ms && !last.seq)
		return -1;
	if (last.seq != 1)
		known_refuse(s, name, "has ids that are no offsets");
	if (last.ms >= (uint64_t)p->high) {
		snprintf(why, sizeof(why),
			"is not of topic '%.250s', partition %" PRId32
			", which ends at offset %" PRId64 " while the stream's last id is %" PRIu64
			"-1",
			p->topic, p->partition, p->high, last.ms);
		known_refuse(s, name, why);
	}
	if (p->committed > (int64_t)last.ms)
		return -1;
	return (int64_t)last.ms + (id_compare(last, top) != 0);
}

void start_result(struct rpub *s, enum redis_got got, const struct link_reply *reply)
{
	struct start *p = &s->stream.starts[reply->tag - START_TAG];
	struct id last = {0}, top = {0};

	/* The second word about an answer that has come. */
	if (!p->out || (got == REDIS_REPLY && reply->value.type == RESP_INTEGER))
		return;
	p->out = false;
	if (got == REDIS_AGAIN || !p->due)
		return;
	if (reply->value.type == RESP_ARRAY)
		known_ids(reply, &last, &top);
	else if (reply->value.type != RESP_ERROR || !known_error(s, reply->value.text))
		return;
	answer(s, p, where_to_begin(s, p, last, top));
}
