/* SPDX-License-Identifier: ISC */
#include "evcorr/ident.h"

#include "base/msg.h"
#include "base/num.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

/* ---- the names of the headers ---- */

static const struct preset {
	const char *name, *id, *reply_to, *partition, *deadline, *status;
	bool raw_id, iso_deadline;
} presets[] = {
	{"", "correlation-id", "reply-to", NULL, "deadline", "status", false, false},
	{"spring", "kafka_correlationId", "kafka_replyTopic", "kafka_replyPartition", "deadline",
		"status", true, false},
	/* CloudEvents' extensions "correlation" and "expirytime"; none names a reply's place or a
	 * status. */
	{"cloudevents", "ce_correlationid", "ce_replyto", NULL, "ce_expirytime", "ce_status", false,
		true},
};

void ident_opts(struct ident_opts *o)
{
	o->preset = arg_str0(NULL, "preset", "spring|cloudevents",
		"the headers as Spring Kafka or CloudEvents has them");
	o->id = arg_str0(NULL, "id-header", "NAME", "the id's header (default correlation-id)");
	o->reply_to = arg_str0(NULL, "reply-to-header", "NAME",
		"the header of the reply's topic, TOPIC or TOPIC/PARTITION (default reply-to)");
	o->partition = arg_str0(NULL, "partition-header", "NAME",
		"the reply's partition has a header of its own: 4 bytes, big-endian");
	o->deadline = arg_str0(NULL, "deadline-header", "NAME",
		"the deadline's header, ms since the epoch or ISO 8601 (default deadline)");
	o->status = arg_str0(
		NULL, "status-header", "NAME", "the header of the reply's status (default status)");
}

static struct span name_of(const struct arg_str *a, const char *option, const char *preset)
{
	const char *name = opt_text(a, option);

	if (!name)
		name = preset;
	if (name && !json_utf8((struct span){name, strlen(name)}))
		opt_bad("%s takes a name in UTF-8", option);
	return name ? (struct span){name, strlen(name)} : SPAN_NONE;
}

/* FNV-1a. */
static uint32_t hash(const char *name)
{
	uint32_t h = 0x811c9dc5;

	for (; *name; name++)
		h = (h ^ (unsigned char)*name) * 0x01000193;
	return h;
}

static uint32_t random_number(void)
{
	uint32_t n;

	if (getrandom(&n, sizeof(n), 0) != sizeof(n))
		die(EXIT_TEMP, "cannot get random bytes: %s", msg_errno(errno));
	return n;
}

void ident_open(struct ident *i, const struct ident_opts *o, const char *node)
{
	const char *preset = opt_text(o->preset, "--preset");
	const struct preset *p = presets;

	for (size_t n = 1; preset && n < sizeof(presets) / sizeof(*presets); n++)
		if (strcmp(preset, presets[n].name) == 0)
			p = &presets[n];
	if (preset && p == presets)
		opt_bad("--preset takes spring or cloudevents, not '%s'", preset);
	*i = (struct ident){
		.id = name_of(o->id, "--id-header", p->id),
		.reply_to = name_of(o->reply_to, "--reply-to-header", p->reply_to),
		.partition = name_of(o->partition, "--partition-header", p->partition),
		.deadline = name_of(o->deadline, "--deadline-header", p->deadline),
		.status = name_of(o->status, "--status-header", p->status),
		.raw_id = p->raw_id,
		.iso_deadline = p->iso_deadline,
		.node = node ? hash(node) : random_number(),
		.run = random_number() & 0x3fffffff,
	};
}

/* ---- out of a record ---- */

static bool same(struct span a, struct span b)
{
	return a.p && a.len == b.len && memcmp(a.p, b.p, a.len) == 0;
}

static bool copy(char *text, size_t size, struct span s)
{
	if (!s.len || s.len >= size || memchr(s.p, '\0', s.len))
		return false;
	memcpy(text, s.p, s.len);
	text[s.len] = '\0';
	return true;
}

/* Returns -1 when it is no point in time. */
static int64_t read_deadline(struct span value)
{
	char text[64];
	int64_t ms;

	if (!copy(text, sizeof(text), value) || text[0] == '-' || num_time_ms(text, 0, &ms) ||
		ms < 0)
		return -1;
	return ms;
}

static int read_status(struct span value)
{
	char text[8];
	int64_t n;

	if (!copy(text, sizeof(text), value) || num_i64(text, &n) || n < 100 || n > 599)
		return -1;
	return (int)n;
}

static int32_t read_partition(struct span value)
{
	const unsigned char *p = (const unsigned char *)value.p;
	uint32_t n;

	if (value.len != 4)
		return -1;
	n = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
	return n <= INT32_MAX ? (int32_t)n : -1;
}

static bool is_topic(struct span s)
{
	if (!s.len || s.len > 249)
		return false;
	for (size_t n = 0; n < s.len; n++) {
		char c = s.p[n];

		if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') &&
			c != '.' && c != '_' && c != '-')
			return false;
	}
	return true;
}

int ident_parse_reply_to(struct span text, struct span *topic, int32_t *partition)
{
	const char *slash = text.len ? memchr(text.p, '/', text.len) : NULL;
	char digits[16];
	int64_t n = -1;

	*topic = text;
	if (slash) {
		topic->len = (size_t)(slash - text.p);
		if (!copy(digits, sizeof(digits),
			    (struct span){slash + 1, text.len - topic->len - 1}) ||
			num_i64(digits, &n) || n < 0 || n > INT32_MAX)
			return -1;
	}
	*partition = (int32_t)n;
	return is_topic(*topic) ? 0 : -1;
}

static void read_header(
	const struct ident *i, struct span name, struct span value, struct ident_call *c)
{
	if (!value.p)
		return;
	if (same(i->id, name)) {
		c->id = value.len ? value : SPAN_NONE;
	} else if (same(i->reply_to, name)) {
		int32_t partition;

		if (ident_parse_reply_to(value, &c->topic, &partition))
			c->bad = i->reply_to.p;
		else if (partition >= 0)
			c->partition = partition;
	} else if (same(i->partition, name)) {
		c->partition = read_partition(value);
		if (c->partition < 0)
			c->bad = i->partition.p;
	} else if (same(i->deadline, name)) {
		c->deadline_ms = read_deadline(value);
		if (c->deadline_ms < 0)
			c->bad = i->deadline.p;
	} else if (same(i->status, name)) {
		c->status = read_status(value);
	}
}

int ident_read(const struct ident *i, const struct record *r, struct buf *scratch,
	struct ident_call *call, struct record_error *e)
{
	struct span name, value;
	struct json j = {0};
	int more = 0;

	*call = (struct ident_call){.partition = -1, .deadline_ms = -1, .status = -1};
	if (r->headers.type != JSON_ARRAY)
		return 0;
	buf_clear(scratch);
	buf_room(scratch, r->headers.text.len + 64);
	while ((more = record_header(r, &j, scratch, &name, &value, e)) == 1)
		read_header(i, name, value, call);
	if (call->id.len > IDENT_MAX)
		return record_refuse(e, CLASS_TOO_LARGE, "the id in header '%s' has over %d bytes",
			i->id.p, IDENT_MAX);
	return more;
}

/* ---- into a record ---- */

static void put_u32(unsigned char *p, uint32_t n)
{
	for (int k = 0; k < 4; k++)
		p[k] = (unsigned char)(n >> (24 - 8 * k));
}

static void put_header(struct buf *b, struct span name, struct span value)
{
	buf_putc(b, ',');
	record_put_header(b, name, value);
}

void ident_put_id(const struct ident *i, struct span id, struct buf *b)
{
	put_header(b, i->id, id);
}

void ident_put_reply_to(const struct ident *i, struct span topic, int32_t partition, struct buf *b)
{
	char text[300];
	unsigned char bytes[4];

	if (i->partition.p) {
		put_header(b, i->reply_to, topic);
		put_u32(bytes, (uint32_t)partition);
		if (partition >= 0)
			put_header(b, i->partition, (struct span){(char *)bytes, sizeof(bytes)});
		return;
	}
	if (partition >= 0) {
		topic.len = (size_t)snprintf(
			text, sizeof(text), "%.*s/%d", (int)topic.len, topic.p, partition);
		topic.p = text;
	}
	put_header(b, i->reply_to, topic);
}

void ident_put_deadline(const struct ident *i, int64_t deadline_ms, struct buf *b)
{
	time_t seconds = deadline_ms / 1000;
	char text[64];
	struct tm tm;
	size_t len;

	if (i->iso_deadline && gmtime_r(&seconds, &tm)) {
		len = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
		len += (size_t)snprintf(
			text + len, sizeof(text) - len, ".%03dZ", (int)(deadline_ms % 1000));
	} else {
		len = (size_t)snprintf(text, sizeof(text), "%lld", (long long)deadline_ms);
	}
	put_header(b, i->deadline, (struct span){text, len});
}

void ident_put_status(const struct ident *i, int status, struct buf *b)
{
	char text[16];

	put_header(b, i->status,
		(struct span){text, (size_t)snprintf(text, sizeof(text), "%d", status)});
}

void ident_splice(const struct record *r, struct span headers, struct buf *out)
{
	const char *end = r->line.p + r->line.len, *from = r->payload_name, *to = from;
	bool is_array = r->headers.type == JSON_ARRAY, is_null = r->headers.type == JSON_NULL;

	if (is_array) {
		from = r->headers.text.p + r->headers.text.len - 1;
		to = from;
		/* Of an empty array the first header has no comma in front. */
		for (const char *p = from - 1; strchr(" \t\r[", *p); p--)
			if (*p == '[') {
				headers.p++;
				headers.len--;
				break;
			}
	} else {
		headers.p++;
		headers.len--;
		if (is_null) {
			from = r->headers.text.p;
			to = from + r->headers.text.len;
		}
	}
	buf_put(out, r->line.p, (size_t)(from - r->line.p));
	buf_puts(out, is_array ? "" : is_null ? "[" : "\"headers\":[");
	buf_span(out, headers);
	buf_puts(out, is_array ? "" : is_null ? "]" : "],");
	buf_put(out, to, (size_t)(end - to));
}
