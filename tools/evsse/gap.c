/* SPDX-License-Identifier: ISC */
#include "evsse/gap.h"

#include "json/json.h"

#include <stdlib.h>
#include <string.h>

static void put_place(struct buf *b, enum part_kind kind, struct place place)
{
	if (kind == PART_STREAM)
		buf_putc(b, '"');
	position_put_place(b, kind, place);
	if (kind == PART_STREAM)
		buf_putc(b, '"');
}

/* @to NULL: unknown. */
static void put_gap(struct client *c, const struct topic *t, struct part_name name,
	struct place from, const struct place *to, const char *reason)
{
	struct buf *out = &c->out;

	buf_puts(out, "event: gap\ndata: {");
	if (json_utf8(t->name)) {
		json_put_member(out, "topic", t->name);
		buf_putc(out, ',');
	}
	if (name.kind == PART_KAFKA)
		buf_printf(out, "\"partition\":%u,", name.number);
	buf_puts(out, "\"from\":");
	put_place(out, name.kind, from);
	buf_puts(out, ",\"to\":");
	if (to)
		put_place(out, name.kind, *to);
	else
		buf_puts(out, "null");
	buf_printf(out, ",\"reason\":\"%s\"}\n", reason);
	c->s->gaps++;
}

static void end_gap(struct client *c)
{
	stream_put_id(c);
	buf_putc(&c->out, '\n');
}

void gap_in(struct client *c, struct cursor *cursor, struct own *own, struct place first)
{
	struct place to = place_before(first);

	put_gap(c, cursor->topic, own->name, own->next, &to, "no longer here");
	own->next = first;
	own->refused = false;
	end_gap(c);
}

void gap_anew(struct client *c, struct cursor *cursor, struct own *own, const struct part *p)
{
	put_gap(c, cursor->topic, p->name, own->next, NULL, "the topic was made anew");
	own->next = p->origin;
	own->anew = false;
	end_gap(c);
}

void gap_of_run(struct client *c, const struct topic *t, struct place from)
{
	put_gap(c, t, (struct part_name){PART_COUNT, 0}, from, NULL,
		"counted by a process that has ended");
	buf_putc(&c->out, '\n');
}

void gap_of_id(struct client *c, const char *id)
{
	struct span text = {id, strlen(id)};

	buf_puts(&c->out, "event: gap\ndata: {\"from\":");
	if (json_utf8(text))
		json_put_text(&c->out, text);
	else
		buf_puts(&c->out, "null");
	buf_puts(&c->out, ",\"to\":null,\"reason\":\"the id is none of this server's\"}\n");
	c->s->gaps++;
	end_gap(c);
}
