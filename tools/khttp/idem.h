/* SPDX-License-Identifier: ISC */
/* Idempotency-Key: a POST that comes again with the key that it came with before is not done again,
 * but answered as it was. While the first is on its way the second waits for its answer, but no
 * longer than a request may take: then it is 504, and may come again. Keys are remembered for
 * IDEM_TTL_MS, and only so many of them; by this process alone. Of the answers there are
 * IDEM_ANSWER_BYTES: an older one is forgotten, not its key. */
#ifndef KHTTP_IDEM_H
#define KHTTP_IDEM_H

#include "http/http.h"

#include <stdbool.h>
#include <stdint.h>

enum {
	IDEM_TTL_MS = 600000,
	IDEM_KEYS_MAX = 100000,
	IDEM_KEY_BYTES = 255,
	IDEM_ANSWER_BYTES = 32 << 20
};

/* With the time in milliseconds, an int64_t. */
#define IDEM_UNKNOWN                                                                               \
	"Kafka has not answered within %" PRId64                                                   \
	" ms, and may still do so: the same Idempotency-Key asks what has become of it"

struct idem;
struct idem_entry;

/* *@repeated counts requests that came again and were not done again. */
struct idem *idem_open(uint64_t *repeated);
/* Looks at the header. Returns whether it has answered, or will: it is a repetition, or no key
 * (400), or the key was another request's (422). Else *@entry is the new key, or NULL when the
 * request has none; idem_end must be called with it. */
bool idem_begin(struct idem *d, struct http_request *r, int64_t now_ms, struct idem_entry **entry);
/* What became of a request, for those that come again. */
enum idem_outcome {
	IDEM_UNDONE, /* nothing: the next with this key is done */
	IDEM_DONE_IN_PART, /* 500 when the answer is forgotten */
	IDEM_DONE, /* 204 then */
};
/* The answer of the first, which those that wait get as well. @body is copied. */
void idem_end(struct idem *d, struct idem_entry *e, int status, const char *type, struct span body,
	enum idem_outcome outcome, int64_t now_ms);
/* Answers those that have waited for @timeout_ms with 504; 0: none. Call each turn. */
void idem_tick(struct idem *d, int64_t now_ms, int64_t timeout_ms);
void idem_close(struct idem *d);

#endif
