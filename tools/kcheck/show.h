/* SPDX-License-Identifier: ISC */
/* What kcheck prints. */
#ifndef EVPIPE_KCHECK_SHOW_H
#define EVPIPE_KCHECK_SHOW_H

#include "base/buf.h"
#include "kafka/check.h"

struct show {
	bool json, colour;
};

/* Appends the line of a listener that is judged. */
void show_listener(const struct show *s, struct buf *b, const struct check_listener *l);
/* Appends the verdicts and remedies; nothing as JSON, where the lines have them. */
void show_verdicts(const struct show *s, struct buf *b, const struct check *c);

#endif
