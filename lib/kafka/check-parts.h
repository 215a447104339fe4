/* SPDX-License-Identifier: ISC */
/* What the parts of check.c share. */
#ifndef EVPIPE_KAFKA_CHECK_PARTS_H
#define EVPIPE_KAFKA_CHECK_PARTS_H

#include "kafka/check.h"

/* Fills in l->verdict of a listener that is done. */
void check_judge(const struct check *c, struct check_listener *l);
/* A look has found out what the address is. */
bool check_knows(const struct check_address *a);
/* What a server that is no broker is, by how its answer begins: "an HTTP server"; NULL: unknown. */
const char *check_kind(const char *first);

#endif
