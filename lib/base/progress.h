/* SPDX-License-Identifier: ISC */
/* The line on a terminal that says how far a source or a sink is: "kread: 63 records read, 21/s,
 * orders/2@24, lag 12".
 *
 * It is shown while standard error is a terminal, the program is in its foreground, -q is not
 * given, and it is no member of evpipe(1); of several programs of a pipeline by one. Where records
 * are printed on the same terminal, by this program or by one behind it, it is shown only while
 * none comes, and goes before the next one. It is never part of standard output, and a terminal
 * that takes nothing is not waited for. */
#ifndef EVPIPE_PROGRESS_H
#define EVPIPE_PROGRESS_H

#include "base/buf.h"

#include <stdbool.h>
#include <stdint.h>

enum progress_kind { PROGRESS_READ, PROGRESS_WRITTEN };

/* Appends what the program knows, behind ", ". @per_second: records. Returns whether it has. */
typedef bool progress_fn(void *ctx, struct buf *text, uint64_t per_second);

/* Call once messages are set up. @prints: records go to standard output. @reads: from standard
 * input, so that nothing is shown while that is a terminal. */
void progress_open(enum progress_kind kind, bool prints, bool reads);
/* From now on @fn says what the program knows; without it, which server is waited for. */
void progress_more(progress_fn *fn, void *ctx);
/* Shows the line when it is time. @records: in all. Call each turn of the loop. */
void progress_tick(int64_t now_ms, uint64_t records);
/* Milliseconds until it is time; -1: never. */
int progress_timeout_ms(int64_t now_ms);
/* The program is about to write to standard output. */
void progress_print(void);
/* Removes the line; with -v says how many records there were in all. */
void progress_close(uint64_t records);

#endif
