/* SPDX-License-Identifier: ISC */
#include "flow/sink-parts.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Of so many bytes that are not read yet the lines are counted, when nobody writes more of them,
 * and when the input is open: a file may be long, and a writer need not stop. */
enum { CLOSED_BYTES = 64 << 20, OPEN_BYTES = 1 << 20 };

/* The first of those that are left. */
struct first {
	uint64_t count, number;
	char place[300];
};

static size_t put_text(char *to, size_t size, const char *name, const struct json_value *v)
{
	int n = 0;

	if (v->type == JSON_STRING)
		n = snprintf(to, size, "%s '%.*s', ", name,
			(int)(v->text.len < 100 ? v->text.len : 100), v->text.p);
	else if (v->type == JSON_NUMBER)
		n = snprintf(to, size, "%s %" PRId64 ", ", name, record_int(v, -1));
	return n > 0 ? (size_t)n : 0;
}

/* Where the record comes from: " (topic 'x', partition 0, offset 5)", or nothing. */
static void put_place(const struct sink *s, struct span line, char *to, size_t size)
{
	struct record_error e;
	struct record r;
	size_t n = 2;

	to[0] = '\0';
	if (s->setup.raw || record_parse(&r, line, &e))
		return;
	n += put_text(to + n, size - n, "topic", &r.topic);
	n += put_text(to + n, size - n, "partition", &r.partition);
	n += put_text(to + n, size - n, "offset", &r.offset);
	n += put_text(to + n, size - n, "channel", &r.channel);
	n += put_text(to + n, size - n, "stream", &r.stream);
	n += put_text(to + n, size - n, "id", &r.id);
	if (n == 2)
		return;
	memcpy(to, " (", 2);
	snprintf(to + n - 2, size - n + 2, ")");
}

static void add(const struct sink *s, struct first *f, uint64_t number, struct span line)
{
	if (f->count++)
		return;
	f->number = number;
	put_place(s, line, f->place, sizeof(f->place));
}

static void add_taken(const struct sink *s, struct first *f)
{
	for (uint64_t i = s->head; i < s->tail; i++) {
		const struct sink_slot *slot = sink_slot(s, i);

		if (!slot->done || s->setup.settle)
			add(s, f, slot->number, sink_text(s, slot));
	}
	/* The lines of released records are gone, but each line has had one slot. */
	if (s->setup.settle && s->settled < s->head) {
		f->count = s->tail - s->settled;
		f->number = s->in.line.number - s->has_line - (f->count - 1);
		f->place[0] = '\0';
	}
	if (s->has_line)
		add(s, f, s->in.line.number, s->line);
}

static bool can_read(void)
{
	return poll(&(struct pollfd){.fd = STDIN_FILENO, .events = POLLIN}, 1, 0) > 0;
}

/* Whether all of the input was counted. */
static bool add_rest(struct sink *s, struct first *f)
{
	uint64_t from = s->in.line.base + s->in.line.at;
	uint64_t most = input_is_closed(&s->in) ? CLOSED_BYTES : OPEN_BYTES;
	struct span line;

	line_keep(&s->in.line, UINT64_MAX);
	while (!input_ended(&s->in)) {
		if (input_take(&s->in, &line) != INPUT_NONE)
			add(s, f, s->in.line.number, line);
		else if (!input_ended(&s->in) &&
			(s->in.line.base + s->in.line.at - from > most || !can_read()))
			return false;
		else if (!input_ended(&s->in))
			input_read(&s->in);
	}
	return true;
}

bool sink_left(struct sink *s, char *text, size_t size)
{
	struct first f = {0};
	bool all;
	int n;

	add_taken(s, &f);
	all = add_rest(s, &f);
	n = snprintf(text, size, "%" PRIu64 " %s not delivered%s", f.count,
		f.count == 1 ? "record was" : "records were", all ? "" : ", and input is left");
	if (f.count)
		snprintf(text + n, size - (size_t)n, "; the first is line %" PRIu64 "%s", f.number,
			f.place);
	return f.count || !all;
}
