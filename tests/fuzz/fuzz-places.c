/* SPDX-License-Identifier: ISC */
/* Any bytes as the body of a request that names places of an instance: either it is refused with a
 * text that is JSON, or each place is one. */
#include "khttp/instance.h"

#include "base/mem.h"
#include "fuzz.h"

static bool refused;

void error_schema(struct http_request *r, struct buf *errors)
{
	struct buf list = {0};
	struct json_value v;
	struct json why;

	(void)r;
	refused = true;
	buf_putc(&list, '[');
	buf_span(&list, buf_as_span(errors));
	buf_putc(&list, ']');
	must(errors->len && json_parse(buf_as_span(&list), &v, &why) == 0);
	buf_free(&list);
	buf_free(errors);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct call c = {0};
	struct places places;
	struct buf text = {0};
	struct json why;

	buf_put(&text, data, size);
	if (json_parse(buf_as_span(&text), &c.body, &why) == 0)
		for (int offsets = 0; offsets < 2; offsets++) {
			places = (struct places){0};
			refused = false;
			must((places_read(&c, "offsets", offsets, &places) != 0) == refused);
			for (size_t n = 0; n < places.count; n++)
				must(places.list[n].topic);
			places_free(&places);
		}
	buf_free(&text);
	return 0;
}
