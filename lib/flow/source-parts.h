/* SPDX-License-Identifier: ISC */
/* Between source.c, the phases, and source-fate.c, the fate of the records. */
#ifndef EVPIPE_SOURCE_PARTS_H
#define EVPIPE_SOURCE_PARTS_H

#include "flow/source.h"

/* Prints what evpipe saw in the line: no sink of ours, and programs that may drop records in
 * silence. */
void source_explain(const struct source *s);
/* Registers the metrics, and has the ledger feed them. */
void source_count(struct source *s);
/* Serves the socket, brings the metrics up to date, and prints which records are held up. Once a
 * second. */
void source_tick(struct source *s);
/* Prints which records nobody has acknowledged; the status becomes 111, unless they were only
 * dropped. */
void source_complain(struct source *s);

#endif
