/* SPDX-License-Identifier: ISC */
/* What a server is that is no broker of Kafka, by the first bytes that come from it. */
#ifndef EVPIPE_KAFKA_STRANGER_H
#define EVPIPE_KAFKA_STRANGER_H

#include "base/buf.h"

/* "an HTTP server"; NULL: unknown. Static. */
const char *stranger_kind(struct span first);

#endif
