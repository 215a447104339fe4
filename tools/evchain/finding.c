/* SPDX-License-Identifier: ISC */
#include "evchain/finding.h"

#include "base/mem.h"
#include "base/msg.h"
#include "evchain/tiles.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void finding_add(struct findings *f, const char *fmt, ...)
{
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (f->count++ < FINDINGS_MAX)
		f->first[f->count - 1] = (struct finding){.text = mem_dup(text)};
}

void finding_add_leaf(struct findings *f, uint64_t n)
{
	f->leaves++;
	if (f->count++ < FINDINGS_MAX)
		f->first[f->count - 1] = (struct finding){.is_leaf = true, .n = n};
}

void findings_tell(const struct findings *f, const char *file, bool lines_are_good)
{
	size_t count = f->count < FINDINGS_MAX ? f->count : FINDINGS_MAX;

	for (size_t i = 0; i < count; i++) {
		const struct finding *one = &f->first[i];
		char path[TILE_PATH];

		if (!one->is_leaf) {
			msg_error("%s", one->text);
		} else if (lines_are_good) {
			tile_path((struct tile){0, one->n / TILE_WIDTH}, path);
			msg_error("'%s.tlog/%s' is damaged: it has another hash for entry %" PRIu64
				  ", which is as it was signed",
				file, path, one->n);
		} else {
			msg_error("entry %" PRIu64 ": it was changed: its hash is not in its tile",
				one->n);
		}
	}
	if (f->count > count)
		msg_error("and %zu more", f->count - count);
}

void findings_free(struct findings *f)
{
	for (size_t i = 0; i < f->count && i < FINDINGS_MAX; i++)
		free(f->first[i].text);
}
