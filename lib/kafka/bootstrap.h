/* SPDX-License-Identifier: ISC */
/* bootstrap.servers: "[PROTOCOL://]HOST[:PORT],…". Of an address that it cannot read librdkafka
 * only warns, and then waits for ever. */
#ifndef EVPIPE_KAFKA_BOOTSTRAP_H
#define EVPIPE_KAFKA_BOOTSTRAP_H

#include "base/buf.h"
#include "base/trouble.h"

#include <stdbool.h>

/* Returns how many addresses there are; -1, with EXIT_PERM: one is none, or is for another protocol
 * than @protocol, which is security.protocol's. A password, which a URL may have, is not shown. */
int bootstrap_check(const char *list, const char *protocol, struct trouble *why);
/* Whether the text is a port's number, from 1 to 65535. */
bool bootstrap_is_port(struct span text);

#endif
