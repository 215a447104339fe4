/* SPDX-License-Identifier: ISC */
#include "kread/offsets.h"

#include "base/line.h"
#include "base/mem.h"
#include "base/msg.h"
#include "base/num.h"
#include "base/opt.h"
#include "base/sorted.h"
#include "record/record.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TOPIC_MAX = 249 };

/* By topic and partition. */
static int compare(const void *key, const void *place)
{
	const struct offsets_place *k = key, *p = place;
	size_t n = k->topic.len < p->topic.len ? k->topic.len : p->topic.len;
	int c = memcmp(k->topic.p, p->topic.p, n);

	if (!c)
		c = (k->topic.len > p->topic.len) - (k->topic.len < p->topic.len);
	return c ? c : (k->partition > p->partition) - (k->partition < p->partition);
}

/* The place of the same partition, which is or belongs at index *@i; NULL: there is none. */
static struct offsets_place *find(const struct offsets *o, const struct offsets_place *k, size_t *i)
{
	*i = sorted_place(o->places, o->count, sizeof(*o->places), compare, k);
	return *i < o->count && compare(k, &o->places[*i]) == 0 ? &o->places[*i] : NULL;
}

static void add(struct offsets *o, struct span topic, int32_t partition, int64_t next)
{
	struct offsets_place place = {topic, partition, next}, *p;
	size_t i;

	p = find(o, &place, &i);

	if (p) {
		p->next = next > p->next ? next : p->next;
		return;
	}
	if (o->count == o->room) {
		o->room = o->room ? 2 * o->room : 64;
		o->places = mem_realloc(o->places, o->room * sizeof(*o->places));
	}
	p = &o->places[i];
	memmove(p + 1, p, (o->count++ - i) * sizeof(*p));
	place.topic.p = span_text(topic);
	*p = place;
}

int64_t offsets_find(const struct offsets *o, const char *topic, int32_t partition)
{
	const struct offsets_place place = {{topic, strlen(topic)}, partition, 0}, *p;
	size_t i;

	p = find(o, &place, &i);
	return p ? p->next : -1;
}

int offsets_topics(const struct offsets *o, const char ***topics)
{
	const char **names = mem_alloc((o->count + 1) * sizeof(*names));
	int count = 0;

	for (size_t i = 0; i < o->count; i++)
		if (!count || strcmp(names[count - 1], o->places[i].topic.p))
			names[count++] = o->places[i].topic.p;
	*topics = names;
	return count;
}

/* ---- lines ---- */

/* Takes the number behind the last of @separators off the end of @text. */
static bool take_number(char *text, const char *separators, int64_t max, int64_t *n)
{
	char *at = text + strlen(text);

	while (at > text && !strchr(separators, at[-1]))
		at--;
	if (at == text || num_i64(at, n) || *n < 0 || *n > max)
		return false;
	while (at > text && strchr(" \t", at[-1]))
		at--;
	if (*at != ' ' && *at != '\t' && at > text && strchr(separators, at[-1]))
		at--;
	*at = '\0';
	return true;
}

/* "orders:2:17", "orders/2@17", "orders 2 17" */
static bool add_words(struct offsets *o, struct span line)
{
	char text[TOPIC_MAX + 64];
	int64_t partition, next;

	if (line.len >= sizeof(text))
		return false;
	memcpy(text, line.p, line.len);
	text[line.len] = '\0';
	if (!take_number(text, ":@ \t", INT64_MAX, &next) ||
		!take_number(text, ":/ \t", INT32_MAX, &partition) || !*text)
		return false;
	add(o, (struct span){text, strlen(text)}, (int32_t)partition, next);
	return true;
}

/* A record, or a place: record_parse takes neither a place, which has no payload, nor a receipt of
 * kwrite. */
static bool add_object(struct offsets *o, struct span line)
{
	struct json_value v, name, value, topic = {0}, partition = {0}, offset = {0};
	bool is_read = false;
	struct span text;
	struct buf b = {0};
	struct json j;

	if (json_parse(line, &v, &j) || v.type != JSON_OBJECT)
		return false;
	json_init(&j, v.text);
	json_enter(&j, '{');
	while (json_member(&j, &name, &value) == 1) {
		if (json_equals(&name, SPAN("topic")))
			topic = value;
		else if (json_equals(&name, SPAN("partition")))
			partition = value;
		else if (json_equals(&name, SPAN("offset")))
			offset = value;
		is_read = is_read || json_equals(&name, SPAN("payload")) ||
			json_equals(&name, SPAN("payload_b64")) || json_equals(&name, SPAN("line"));
	}
	if (topic.type != JSON_STRING || json_string(&topic, &b, &text) < 0 ||
		record_int(&partition, -1) < 0 || record_int(&partition, -1) > INT32_MAX ||
		record_int(&offset, -1) < 0) {
		buf_free(&b);
		return false;
	}
	add(o, text, (int32_t)record_int(&partition, -1), record_int(&offset, -1) + is_read);
	buf_free(&b);
	return true;
}

static void take_line(struct offsets *o, const char *file, uint64_t number, struct span line)
{
	if (line.len && line.p[line.len - 1] == '\r')
		line.len--;
	if (!line.len || *line.p == '#')
		return;
	if (!(*line.p == '{' ? add_object : add_words)(o, line))
		opt_bad("--offsets: line %llu of '%s' names no place: it is a record, {\"topic\":…,\"partition\":…,\"offset\":…}, or TOPIC:PARTITION:OFFSET",
			(unsigned long long)number, file);
}

void offsets_load(struct offsets *o, const char *file)
{
	int fd = strcmp(file, "-") ? open(file, O_RDONLY | O_CLOEXEC) : STDIN_FILENO;
	enum line_status got;
	struct span text;
	struct line l;

	if (fd < 0)
		opt_bad("--offsets: cannot open '%s': %s", file, msg_errno(errno));
	line_init(&l, fd, '\n', LINE_MAX_DEFAULT);
	do {
		while ((got = line_next(&l, &text)) == LINE_WHOLE)
			take_line(o, file, l.number, text);
		if (got == LINE_LONG)
			opt_bad("--offsets: line %llu of '%s' is too long",
				(unsigned long long)l.number, file);
		if (got == LINE_NONE && line_read(&l) < 0 && errno != EINTR)
			opt_bad("--offsets: cannot read '%s': %s", file, msg_errno(errno));
	} while (got == LINE_NONE);
	/* A torn line is a record that is not whole: reading goes on before it. */
	line_free(&l);
	if (fd != STDIN_FILENO)
		close(fd);
}
