/* SPDX-License-Identifier: ISC */
/* The names that are subscribed to: of the command line and of a file. */
#ifndef EVPIPE_RSUB_NAMES_H
#define EVPIPE_RSUB_NAMES_H

#include "base/opt.h"

/* A list of names, with room in front for a command's name. */
struct names {
	int count;
	const char **list; /* from [1] on */
};

/* Adds @given's names, and those in @file (or NULL), one a line, empty lines left out; @what is
 * "CHANNEL", for messages. Dies with 100 when a name is empty or the file cannot be read. The names
 * live on. */
void names_take(struct names *n, const struct arg_str *given, const struct arg_file *file,
	const char *option, const char *what);

/* Leaves out what is there already. For short lists. */
void names_once(struct names *n);

/* Adds one. It lives on. */
void names_add(struct names *n, const char *name);

#endif
