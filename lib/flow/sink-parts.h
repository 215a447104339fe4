/* SPDX-License-Identifier: ISC */
/* Between the parts of the sink: sink.c, and sink-left.c, what was not delivered when it ends. */
#ifndef EVPIPE_SINK_PARTS_H
#define EVPIPE_SINK_PARTS_H

#include "flow/sink.h"

enum { SINK_LEFT_MAX = 400 };

/* Puts into @text "3 records were not delivered; the first is line 7 (topic 'x', partition 0,
 * offset 5)", and returns whether anything is left. Counts what was read, and what can be read
 * without waiting, up to a limit. Takes it, too: only for a sink that ends. */
bool sink_left(struct sink *s, char *text, size_t size);
/* sink_die without the records that are left. */
_Noreturn void sink_end(struct sink *s, int status, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#endif
