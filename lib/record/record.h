/* SPDX-License-Identifier: ISC */
/* The record, evpipe-record(5): one JSON object a line. Reading gives spans of the line; editing
 * splices the line as text and copies what is not edited. */
#ifndef EVPIPE_RECORD_H
#define EVPIPE_RECORD_H

#include "base/buf.h"
#include "base/errclass.h"
#include "json/json.h"

/* The fields we own, as they stood in the line; JSON_ABSENT when not there or null (but a null key,
 * payload and headers are JSON_NULL). Of two members with one name the last counts. */
struct record {
	struct span line;
	struct json_value topic, partition, offset, tstype, ts, headers;
	struct json_value key, key_b64, payload, payload_b64;
	struct json_value channel, channel_b64, pattern, pattern_b64, stream, stream_b64, id, seq;
	const char *payload_name; /* the opening quote of the payload member's name */
};

/* Why a line was refused. */
struct record_error {
	enum errclass class;
	char message[256];
	bool is_payload; /* maybe: the line looks like no record at all */
};
/* For programs with --raw: adds a hint at --raw when the line looks like a payload. */
void record_hint_raw(struct record_error *e);
/* Fills in @e, so that the message is printable UTF-8 whatever the arguments hold. Returns -1. */
int record_refuse(struct record_error *e, enum errclass class, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Parses and checks types: integers where integers belong, headers as described, exactly one of
 * payload and payload_b64, at most one of key and key_b64 and so on, base64 canonical, no lone
 * surrogate in a field of ours: a record that passed can be read and edited without failing.
 * Returns 0 or -1. @line needs BUF_SLACK readable bytes behind it and must outlive @r. */
int record_parse(struct record *r, struct span line, struct record_error *e);

enum record_bytes {
	RECORD_BAD = -1, /* @e says why */
	RECORD_NULL, /* null: no key, a tombstone */
	RECORD_BYTES,
};
/* The payload's or key's bytes: decoded into @scratch (appended) or a span of the line. A payload
 * that is an object or array is its own text. An absent key is RECORD_NULL. */
enum record_bytes record_payload(
	const struct record *r, struct buf *scratch, struct span *bytes, struct record_error *e);
enum record_bytes record_key(
	const struct record *r, struct buf *scratch, struct span *bytes, struct record_error *e);

/* The bytes of channel, pattern or stream and its _b64: as above; RECORD_NULL when neither is
 * there. */
enum record_bytes record_name(const struct json_value *text, const struct json_value *base64,
	struct buf *scratch, struct span *bytes, struct record_error *e);

/* Walks headers in order. Start with *@j all zero. Returns 1 with name and value (value.p NULL: a
 * null value), 0 at the end, -1 (@e). Decoded bytes go to @scratch, which moves when it grows:
 * reserve with buf_room(scratch, r->headers.text.len + 64) before the walk. */
int record_header(const struct record *r, struct json *j, struct buf *scratch, struct span *name,
	struct span *value, struct record_error *e);
/* The last header of that name. 1, 0 (not there), -1. */
int record_header_find(const struct record *r, const char *name, struct buf *scratch,
	struct span *value, struct record_error *e);

/* Integers of the record; @absent when the field is not there. */
int64_t record_int(const struct json_value *v, int64_t absent);
/* When the record came to be, in ms since the epoch, below 0 before it: its ts, or the time in the
 * id of a stream's entry; -1: it does not say. */
int64_t record_time_ms(const struct record *r);

/* Edits: append to @out the line with one thing replaced, all other bytes as they were, no LF. */
void record_set_key(const struct record *r, struct span key, bool null, struct buf *out);
/* The header's last occurrence gets the value; appended when there is none. */
void record_set_header(
	const struct record *r, struct span name, struct span value, struct buf *out);
/* The seq becomes this text, which needs no escapes; null when it is SPAN_NONE and there was
 * one. */
void record_set_seq(const struct record *r, struct span seq, struct buf *out);
/* The payload's bytes from @from up to @to (as record_payload gives them) become @with. The payload
 * is not null. */
void record_splice_payload(
	const struct record *r, size_t from, size_t to, struct span with, struct buf *out);
/* Members of the record, ours or not, get these values (JSON texts) in place; members that are
 * missing are put in front. At most 8. */
struct record_member {
	const char *name;
	struct span value;
	const char *instead; /* a member of this name is replaced as well; NULL: none */
};
void record_set_members(
	const struct record *r, const struct record_member *members, size_t count, struct buf *out);

/* Printing, for sources: `"name":"text"`, or `"name_b64":"…"` when the bytes are not UTF-8, or
 * `"name":null` when bytes.p is NULL. Without a comma. */
void record_put_bytes(struct buf *out, const char *name, struct span bytes);
/* One header: `"name","value"`; null and {"b64":"…"} as described. */
void record_put_header(struct buf *out, struct span name, struct span value);

/* "topic orders, partition 2, offset 17", "channel x", "stream s, id 1-0", or "". For messages. */
void record_place(const struct record *r, struct buf *out);

#endif
