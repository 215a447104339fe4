/* SPDX-License-Identifier: ISC */
/* Records to commands: the payload is decoded straight into what Redis is sent. */
#include "rpub/rpub.h"

#include "base/msg.h"

#include <string.h>

enum { PAYLOAD_MAX = 512 << 20 }; /* of Redis, for a string */

void command_prefix(struct buf *b, bool to_shard, struct span channel)
{
	buf_puts(b, to_shard ? "*3\r\n$8\r\nSPUBLISH\r\n$" : "*3\r\n$7\r\nPUBLISH\r\n$");
	buf_int(b, (int64_t)channel.len);
	buf_put(b, "\r\n", 2);
	buf_span(b, channel);
	buf_put(b, "\r\n$", 3);
}

static unsigned digits_of(size_t n)
{
	unsigned d = 1;

	for (; n >= 10; n /= 10)
		d++;
	return d;
}

enum record_bytes command_payload(const struct rpub *s, const struct record *r, struct span line,
	struct buf *out, struct span *bytes, struct record_error *e)
{
	enum record_bytes got = RECORD_BYTES;

	if (s->raw)
		*bytes = line;
	else
		got = record_payload(r, out, bytes, e);
	if (got == RECORD_BYTES && bytes->len > PAYLOAD_MAX) {
		record_refuse(e, CLASS_TOO_LARGE, "the payload is over 512 MB");
		got = RECORD_BAD;
	}
	return got;
}

/* The payload is decoded where it is to stand, behind a guess of its length's width. */
static int put_payload(struct rpub *s, const struct record *r, struct span line, struct buf *out,
	struct record_error *e)
{
	size_t at = out->len, from;
	unsigned digits;
	struct span bytes;
	bool in_place;
	char *p;

	buf_room(out, line.len + 32);
	from = out->len = at + s->digits + 2;
	switch (command_payload(s, r, line, out, &bytes, e)) {
	case RECORD_NULL:
		return record_refuse(e, CLASS_INVALID_RECORD,
			"null payload: PUBLISH has no tombstone: drop it (evsel '.payload != null') or keep it (--dead-letter FILE)");
	case RECORD_BAD:
		return -1;
	case RECORD_BYTES:
		break;
	}
	digits = digits_of(bytes.len);
	in_place = bytes.p == out->p + from;
	out->len = at;
	p = buf_room(out, bytes.len + 32);
	if (!in_place || digits != s->digits)
		memmove(p + digits + 2, in_place ? p + from - at : bytes.p, bytes.len);
	s->digits = digits;
	for (size_t n = bytes.len; digits; n /= 10)
		p[--digits] = (char)('0' + n % 10);
	memcpy(p + s->digits, "\r\n", 2);
	out->len += s->digits + 2 + bytes.len;
	buf_put(out, "\r\n", 2);
	return 0;
}

int command_read(
	struct rpub *s, struct span line, struct record *r, bool *is_record, struct record_error *e)
{
	*is_record = false;
	*r = (struct record){.line = line};
	if (!s->raw && record_parse(r, line, e)) {
		record_hint_raw(e);
		return -1;
	}
	*is_record = !s->raw;
	if (!s->prefix.len) {
		buf_clear(&s->channel);
		if (template_expand(s->template, r, &s->scratch, &s->channel, e))
			return -1;
	}
	return 0;
}

/* All nodes of a cluster hear a PUBLISH, but in the order of one channel only if one node publishes
 * it. */
static struct span key(const struct rpub *s)
{
	const char *constant = template_constant(s->template);

	if (!s->to_shard)
		return SPAN_NONE;
	return constant ? (struct span){constant, strlen(constant)} : buf_as_span(&s->channel);
}

int command_put(
	struct rpub *s, struct span line, struct record *r, bool *is_record, struct record_error *e)
{
	struct buf *out;

	if (command_read(s, line, r, is_record, e))
		return -1;
	out = redis_begin(&s->redis, key(s));
	if (s->prefix.len)
		buf_span(out, buf_as_span(&s->prefix));
	else
		command_prefix(out, s->to_shard, buf_as_span(&s->channel));
	if (put_payload(s, r, line, out, e) == 0)
		return 0;
	redis_cancel(&s->redis);
	return -1;
}

/* Where the record goes to. */
static struct span name_of(struct rpub *s, uint64_t i)
{
	const char *constant = template_constant(s->template);
	struct record_error e = {0};
	struct record r;
	bool is_record;

	if (constant)
		return (struct span){constant, strlen(constant)};
	return command_read(s, sink_text(&s->sink, sink_slot(&s->sink, i)), &r, &is_record, &e)
		? SPAN("?")
		: buf_as_span(&s->channel);
}

bool command_refused(struct rpub *s, uint64_t i, struct span error, const char *what)
{
	int n = (int)(error.len < 200 ? error.len : 200);
	enum redis_fault fault = redis_fault(error);
	struct span name;

	if (fault == REDIS_FAULT_AWAY)
		return false;
	/* Renamed or never had: the next record would fare no better. */
	if (fault == REDIS_FAULT_CONFIG || span_starts(error, "ERR unknown command")) {
		name = name_of(s, i);
		sink_die(&s->sink, EXIT_PERM,
			"line %llu: redis at %s refuses %s: %.*s (%s '%.*s')%s", rpub_line(s, i),
			redis_name(&s->redis), what, n, error.p,
			s->to_stream ? "stream" : "channel", (int)(name.len < 200 ? name.len : 200),
			name.p, redis_advice(&s->redis, error));
	}
	sink_refuse(&s->sink, i, span_starts(error, "WRONGTYPE") ? CLASS_WRONG_TYPE : CLASS_REDIS,
		!s->raw, "redis says: %.*s", n, error.p);
	return true;
}

/* The bytes of a name need not be text: the member's name says what they are. */
static void put_name(struct record_member *m, const char *text, const char *base64,
	struct span name, struct buf *out)
{
	bool is_text = json_utf8(name);

	*m = (struct record_member){
		.name = is_text ? text : base64, .instead = is_text ? base64 : text};
	if (is_text) {
		json_put_text(out, name);
	} else {
		buf_putc(out, '"');
		buf_base64(out, name.p, name.len);
		buf_putc(out, '"');
	}
	m->value = buf_as_span(out);
}

void command_pass(struct rpub *s, struct span line, const struct rpub_slot *slot, struct buf *out)
{
	const char *constant = template_constant(s->template);
	struct record_member members[2] = {{.name = s->to_stream ? "id" : "receivers"}};
	struct buf name = {0}, where = {0};
	struct record_error e;
	struct record r;

	if (s->raw || record_parse(&r, line, &e)) {
		buf_span(out, line);
		return;
	}
	if (s->to_stream) {
		buf_putc(&where, '"');
		id_put(&where, slot->id);
		buf_putc(&where, '"');
	} else {
		buf_int(&where, slot->receivers);
	}
	members[0].value = buf_as_span(&where);
	buf_clear(&s->channel);
	if (constant)
		buf_puts(&s->channel, constant);
	else
		template_expand(s->template, &r, &s->scratch, &s->channel, &e);
	put_name(&members[1], s->to_stream ? "stream" : "channel",
		s->to_stream ? "stream_b64" : "channel_b64", buf_as_span(&s->channel), &name);
	record_set_members(&r, members, 2, out);
	buf_free(&name);
	buf_free(&where);
}
