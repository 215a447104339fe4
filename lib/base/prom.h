/* SPDX-License-Identifier: ISC */
/* Prometheus's text format (version 0.0.4): reading it line by line, and merging several
 * expositions into one. */
#ifndef EVPIPE_PROM_H
#define EVPIPE_PROM_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>

enum prom_kind { PROM_HELP, PROM_TYPE, PROM_SAMPLE };

struct prom_line {
	enum prom_kind kind;
	struct span name; /* of the family, or of the sample */
	struct span labels; /* of a sample, with their braces; empty when it has none */
	struct span rest; /* the help, the type, or the value with its time stamp, if any */
};

/* Takes the next line off the front of @text. Skips other comments, blank lines and lines of no
 * such form. Returns false at the end. */
bool prom_next(struct span *text, struct prom_line *line);
/* The value of a label, as it is written between its quotes; p NULL: not there. */
struct span prom_label(struct span labels, const char *name);
/* The value of a sample; 0 when it is no number. */
double prom_value(const struct prom_line *sample);

/* A merger; all zero is empty. */
struct prom {
	struct prom_family *families;
	size_t count, texts;
};

/* Adds an exposition; @text must live until prom_free. A sample that an earlier text has with the
 * same name and labels is added to that sample. */
void prom_add(struct prom *p, struct span text);
/* Appends all of it: each family once, its samples together. */
void prom_print(const struct prom *p, struct buf *out);
void prom_free(struct prom *p);

#endif
