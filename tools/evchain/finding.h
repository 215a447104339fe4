/* SPDX-License-Identifier: ISC */
/* What verify has found: damage, each with its entry. The first ones are kept, the others are
 * counted. */
#ifndef EVPIPE_EVCHAIN_FINDING_H
#define EVPIPE_EVCHAIN_FINDING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { FINDINGS_MAX = 50 };

struct findings {
	size_t count; /* all */
	struct finding {
		char *text;
		/* The entry is not the one that its tile has: one of the two is damaged. The roots
		 * tell which. */
		bool is_leaf;
		uint64_t n; /* of that entry */
	} first[FINDINGS_MAX];
	size_t leaves; /* of all */
};

/* Adds a sentence. */
void finding_add(struct findings *f, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Adds an entry that is not in its tile. */
void finding_add_leaf(struct findings *f, uint64_t n);
/* Prints them as errors. @lines_are_good: entries that are not in their tiles are right, and the
 * tiles are wrong. */
void findings_tell(const struct findings *f, const char *file, bool lines_are_good);
void findings_free(struct findings *f);

#endif
