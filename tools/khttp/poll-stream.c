/* SPDX-License-Identifier: ISC */
/* GET of an instance's records that does not end: text/event-stream or application/x-ndjson.
 *
 * Records are printed when the client has taken all that was printed before, a block at a time;
 * librdkafka fetches no more than its queue holds. Positions move behind a block when the next one
 * is asked for: all of it was given to the kernel then. What a client that has gone was being given
 * comes again, to whoever asks. */
#include "khttp/instance.h"

#include "base/mem.h"
#include "record/record.h"

#include <inttypes.h>
#include <stdlib.h>

enum {
	BLOCK_BYTES = 64 << 10,
	HEARTBEAT_MS = 15000,
	STUCK_MS = 60000, /* after so long a client that takes nothing is cut off */
};

struct stream {
	struct wait *wait;
	bool lines; /* our records, one a line; else events */
	struct buf out, scratch;
	size_t at;
	bool idle;
	int64_t fed_ms;
	int64_t left; /* records that may still be printed */
	bool failed;
};

/* ---- the position, as the id of an event ---- */

static void put_id(const struct instance *i, struct buf *b)
{
	const char *topic = NULL;

	buf_puts(b, "id: ");
	for (const struct consumer_part *p = i->parts; p < i->parts + i->part_count; p++) {
		if (p->shown < SHOWN_BEGINNING)
			continue;
		if (topic)
			buf_putc(b, ',');
		if (!topic || strcmp(topic, p->topic) != 0)
			buf_printf(b, "%s/", p->topic);
		topic = p->topic;
		buf_printf(b, "%" PRId32 "=%" PRId64, p->partition, p->shown);
	}
	buf_puts(b, topic ? "\n" : "-\n");
}

int64_t stream_shown(const char *id, const char *topic, int32_t partition)
{
	bool is_topic = false;
	int64_t offset;

	while (*id) {
		size_t n = strcspn(id, ","), slash = strcspn(id, "/");
		const char *at = id;
		char *end;
		long number;

		if (slash < n) {
			is_topic = slash == strlen(topic) && memcmp(id, topic, slash) == 0;
			at = id + slash + 1;
		}
		number = strtol(at, &end, 10);
		if (is_topic && end > at && *end == '=' && number == partition) {
			at = end + 1;
			offset = strtoll(at, &end, 10);
			return end == at || end != id + n || offset < SHOWN_BEGINNING ||
					offset == INT64_MAX
				? SHOWN_NONE
				: offset;
		}
		id += n + (id[n] == ',');
	}
	return SHOWN_NONE;
}

void stream_resume(struct instance *i, struct consumer_part *p)
{
	int64_t offset = i->resume ? stream_shown(i->resume, p->topic, p->partition) : SHOWN_NONE;

	if (offset == SHOWN_NONE)
		return;
	group_seek(i, p, offset + 1);
	p->shown = offset;
}

/* ---- records ---- */

static void put_event(struct stream *s, const struct instance *i, const rd_kafka_message_t *m)
{
	const char *at, *end;

	buf_puts(&s->out, "event: ");
	buf_puts(&s->out, rd_kafka_topic_name(m->rkt));
	buf_putc(&s->out, '\n');
	put_id(i, &s->out);
	buf_clear(&s->scratch);
	print_json(&s->scratch, i->format, m);
	/* Outside strings JSON may have ends of lines. */
	at = s->scratch.p;
	for (end = at + s->scratch.len; at < end;) {
		const char *stop = at;

		while (stop < end && *stop != '\n' && *stop != '\r')
			stop++;
		buf_puts(&s->out, "data: ");
		buf_put(&s->out, at, (size_t)(stop - at));
		buf_putc(&s->out, '\n');
		at = stop + 1;
	}
	buf_putc(&s->out, '\n');
}

void print_line(struct buf *b, const rd_kafka_message_t *m)
{
	rd_kafka_timestamp_type_t type;
	int64_t ts = rd_kafka_message_timestamp(m, &type);
	rd_kafka_headers_t *headers;
	struct span name, value;

	buf_printf(b, "{\"topic\":\"%s\",\"partition\":%" PRId32 ",\"offset\":",
		rd_kafka_topic_name(m->rkt), m->partition);
	buf_int(b, m->offset);
	if (type != RD_KAFKA_TIMESTAMP_NOT_AVAILABLE) {
		buf_puts(b,
			type == RD_KAFKA_TIMESTAMP_CREATE_TIME
				? ",\"tstype\":\"create\",\"ts\":"
				: ",\"tstype\":\"logappend\",\"ts\":");
		buf_int(b, ts);
	}
	if (!rd_kafka_message_headers(m, &headers)) {
		for (size_t n = 0; !rd_kafka_header_get_all(
			     headers, n, &name.p, (const void **)&value.p, &value.len);
			n++) {
			buf_puts(b, n ? "," : ",\"headers\":[");
			name.len = strlen(name.p);
			record_put_header(b, name, value);
		}
		if (rd_kafka_header_cnt(headers))
			buf_putc(b, ']');
	}
	buf_putc(b, ',');
	record_put_bytes(b, "key", (struct span){m->key, m->key_len});
	buf_putc(b, ',');
	record_put_bytes(b, "payload", (struct span){m->payload, m->len});
	buf_puts(b, "}\n");
}

/* Prints the next block. */
static void print_block(struct stream *s, struct instance *i)
{
	size_t n = 0;

	poll_take(i);
	for (; n < i->held_count && s->out.len < BLOCK_BYTES && s->left; n++) {
		const rd_kafka_message_t *m = i->held[n];
		struct consumer_part *p = part_of(i, m);

		if (p)
			p->shown = m->offset;
		s->left--;
		if (s->lines)
			print_line(&s->out, m);
		else
			put_event(s, i, m);
	}
	if (!n)
		return;
	i->out = n;
	i->out_to = s->wait;
	i->all->bytes += s->out.len;
}

/* ---- the stream ---- */

static size_t fill(struct http_request *r, char *to, size_t max)
{
	struct wait *w = r->user;
	struct stream *s = w->stream;
	struct instance *i = w->instance;
	size_t n;

	if (s->at == s->out.len) {
		buf_clear(&s->out);
		s->at = 0;
		if (i && i->out_to == w)
			poll_written(w, true);
		if (i && !i->closing && !i->out_to && !i->receipt)
			print_block(s, i);
		/* What is left to do is not to be done in here. */
		if (i && i->read && !s->out.len)
			consumers_again(w->all);
	}
	n = s->out.len - s->at < max ? s->out.len - s->at : max;
	if (n)
		memcpy(to, s->out.p + s->at, n);
	s->at += n;
	s->idle = n == 0;
	s->fed_ms = w->all->k->now_ms;
	return n;
}

void stream_wake(struct wait *w)
{
	if (w->stream->idle)
		http_wake(w->request);
}

void stream_due(struct wait *w)
{
	struct stream *s = w->stream;

	wait_until(w, w->all->now_ms + HEARTBEAT_MS);
	if (!s->idle && w->all->now_ms - s->fed_ms >= STUCK_MS) {
		http_cut(w->request);
	} else if (s->idle && !s->lines) {
		buf_puts(&s->out, ":\n\n");
		http_wake(w->request);
	}
	if (w->instance)
		w->instance->used_ms = w->all->now_ms;
}

void stream_free(struct stream *s)
{
	if (!s)
		return;
	buf_free(&s->out);
	buf_free(&s->scratch);
	free(s);
}

/* An id without an event: whoever has had none yet can go on from there, too. */
static void put_beginning(struct stream *s, const struct instance *i)
{
	bool known = false;

	for (size_t n = 0; n < i->part_count; n++)
		known = known || i->parts[n].shown != SHOWN_NONE;
	buf_puts(&s->out, "retry: 1000\n");
	if (known)
		put_id(i, &s->out);
	buf_putc(&s->out, '\n');
}

void stream_begin(struct wait *w, bool lines, int64_t limit)
{
	w->kind = WAIT_STREAM;
	wait_until(w, w->all->now_ms + HEARTBEAT_MS);
	w->stream = mem_alloc(sizeof(*w->stream));
	*w->stream =
		(struct stream){.wait = w, .lines = lines, .fed_ms = w->all->now_ms, .left = limit};
	if (!lines)
		put_beginning(w->stream, w->instance);
	http_stream_pull(w->request, 200, media_name(lines ? MEDIA_LINES : MEDIA_EVENTS), fill);
}

void stream_open(struct instance *i, struct http_request *r, bool lines)
{
	const char *id = http_header(r, "Last-Event-ID");
	struct wait *w;

	poll_take(i);
	if (!i->held_count && (error_is_new(i) || (error_is_again(i) && !error_ask(i)))) {
		http_error(r, i->error_status, "%s", i->error);
		error_told(i);
		return;
	}
	w = wait_open(i, r, WAIT_STREAM, -1);
	if (!w)
		return;
	if (id && !lines) {
		free(i->resume);
		i->resume = mem_dup(id);
		for (size_t n = 0; n < i->part_count; n++)
			stream_resume(i, &i->parts[n]);
	}
	stream_begin(w, lines, INT64_MAX);
}

bool stream_fail(struct wait *w, int status, const char *text)
{
	struct stream *s = w->stream;

	if (s->failed || !s->idle)
		return s->failed;
	s->failed = true;
	if (!s->lines)
		buf_puts(&s->out, "event: error\ndata: ");
	error_put(&s->out, status, text);
	buf_puts(&s->out, s->lines ? "\n" : "\n\n");
	http_end(w->request);
	return true;
}

void stream_end(struct wait *w, bool whole)
{
	if (w->stream->idle && (whole || !w->stream->left))
		http_end(w->request);
}
