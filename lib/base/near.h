/* SPDX-License-Identifier: ISC */
/* What may have been meant by a mistyped word. */
#ifndef EVPIPE_NEAR_H
#define EVPIPE_NEAR_H

#include <stdbool.h>

/* Whether @typed becomes @word by one letter left out, put in, changed, or exchanged with its
 * neighbour; by two in words of eight letters and more. False for equal words and for those of more
 * than 63 bytes. */
bool near_word(const char *typed, const char *word);

#endif
