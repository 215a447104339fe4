/* SPDX-License-Identifier: ISC */
#include "khttp/instance.h"

#include "base/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

void places_free(struct places *places)
{
	for (size_t n = 0; n < places->count; n++)
		free(places->list[n].topic);
	free(places->list);
	*places = (struct places){0};
}

static bool read_int(const struct json_value *v, const char *where, int64_t least, int64_t most,
	int64_t *n, struct buf *errors)
{
	if (body_int(v, n) == 0 && *n >= least && *n <= most)
		return true;
	body_wrong(errors, "%s: the integer has too many digits", where);
	return false;
}

static void read_place(const struct json_value *v, size_t at, const char *list, bool offsets,
	struct places *places, struct buf *errors)
{
	enum { TOPIC, PARTITION, OFFSET };
	struct body_field fields[] = {{.name = "topic", .types = BODY_STRING, .required = true},
		{.name = "partition", .types = BODY_INTEGER, .required = true},
		{.name = "offset", .types = BODY_INTEGER, .required = true}};
	struct place *p = &places->list[places->count];
	int64_t partition;
	char where[80];

	snprintf(where, sizeof(where), "#/%s/%zu", list, at);
	*p = (struct place){.offset = -1};
	if (!body_object(v, where, fields, offsets ? 3 : 2, errors) ||
		!read_int(&fields[PARTITION].v, where, INT32_MIN, INT32_MAX, &partition, errors) ||
		(offsets &&
			!read_int(&fields[OFFSET].v, where, INT64_MIN, INT64_MAX, &p->offset,
				errors)))
		return;
	p->partition = (int32_t)partition;
	p->topic = body_text(&fields[TOPIC].v);
	if (p->topic)
		places->count++;
	else
		body_wrong(errors, "%s/topic: it is no text", where);
}

int places_read(const struct call *c, const char *name, bool offsets, struct places *places)
{
	struct body_field list = {.name = name, .types = BODY_ARRAY, .required = true};
	struct buf errors = {0};
	struct json_value v;
	struct json j;
	size_t room = 0, at = 0;

	if (body_object(&c->body, "#", &list, 1, &errors)) {
		json_init(&j, list.v.text);
		json_enter(&j, '[');
		while (json_element(&j, &v) == 1) {
			if (places->count == room) {
				room = room ? 2 * room : 16;
				places->list =
					mem_realloc(places->list, room * sizeof(struct place));
			}
			read_place(&v, at++, name, offsets, places, &errors);
		}
	}
	if (!errors.len)
		return 0;
	error_schema(c->r, &errors);
	return -1;
}
