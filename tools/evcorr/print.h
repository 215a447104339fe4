/* SPDX-License-Identifier: ISC */
/* The records that `call` and `wait` print: a reply with its status, and a call that has timed
 * out. */
#ifndef EVPIPE_EVCORR_PRINT_H
#define EVPIPE_EVCORR_PRINT_H

#include "evcorr/ident.h"

enum { PRINT_DONE = 200, PRINT_TIMEOUT = 504 };

/* Appends the reply's record with its status: that of its header, else 200. @seq, a JSON text,
 * takes the place of the reply's own; NULL: none. No LF. */
void print_reply(const struct ident *i, struct span reply, const char *seq, struct buf *out);
/* Appends a record without payload, with the id and status 504. @key, @seq: JSON texts, or NULL. */
void print_timeout(
	const struct ident *i, struct span id, const char *key, const char *seq, struct buf *out);

#endif
