/* SPDX-License-Identifier: ISC */
#include "khttp/openapi.h"

#include "json/json.h"

static const unsigned char text[] = {
#include "khttp/openapi.inc"
};

void openapi_put(struct buf *out, const char *base)
{
	struct span name = {base, base ? strlen(base) : 0};

	if (!base || !json_utf8(name)) {
		buf_put(out, text, sizeof(text));
		return;
	}
	/* The text begins with a brace. */
	buf_puts(out, "{");
	json_put_member(out, "basePath", name);
	buf_puts(out, ",");
	buf_put(out, text + 1, sizeof(text) - 1);
}
