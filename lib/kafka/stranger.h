/* SPDX-License-Identifier: ISC */
/* What a server is that is no broker of Kafka, by the first bytes that come from it; and what to
 * say to those that do not answer a broker's client. */
#ifndef EVPIPE_KAFKA_STRANGER_H
#define EVPIPE_KAFKA_STRANGER_H

#include "base/buf.h"

/* "an HTTP server"; NULL: unknown. Static. */
const char *stranger_kind(struct span first);

/* What servers of other protocols answer, each on a connection of its own: they close when they
 * are asked anything else. The last one is followed by SPAN_NONE. */
extern const struct span stranger_questions[];
enum { STRANGER_QUESTIONS = 5 };

#endif
