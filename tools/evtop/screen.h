/* SPDX-License-Identifier: ISC */
/* Where the table is shown: drawn in place on a terminal, or printed one below the other. */
#ifndef EVPIPE_EVTOP_SCREEN_H
#define EVPIPE_EVTOP_SCREEN_H

#include "base/buf.h"

#include <stdbool.h>

struct screen {
	bool terminal;
	bool utf8;
	int fd; /* to which frames are written; -1: they go to the caller's buffer */
	/* internal */
	int tty; /* for keys; -1: none */
	unsigned drawn; /* lines of the frame that stands there */
	struct buf frame;
};

/* Frames go to standard output, or with @aside to standard error, since standard output has the
 * records. Takes the terminal over when it is one, to read keys; it is given back at the end of the
 * program, also at one by die(). Call when signals are set up. */
void screen_open(struct screen *s, bool aside);
/* How many lines a frame may have; 0: any number. */
unsigned screen_rows(const struct screen *s);
/* Shows @text, lines of text that a terminal may be given. It is cut to the terminal's size. On
 * standard output it is appended to @out, and else written at once; what a terminal does not take
 * without waiting is left out. */
void screen_show(struct screen *s, struct span text, struct buf *out);
/* Whether q was pressed. Never blocks. */
bool screen_quits(struct screen *s);
/* Gives the terminal back; what was drawn stays. */
void screen_close(struct screen *s);

#endif
