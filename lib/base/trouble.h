/* SPDX-License-Identifier: ISC */
/* Why a program ends before its work is done: an exit status and one sentence. All zero: no
 * trouble.
 *
 * One rule for all programs: the first reason counts, since later reasons often follow from it; but
 * a permanent reason (100) replaces a temporary one (111), and either replaces a time-out (99). A
 * module that can fail holds a struct trouble or is given one; the program prints it at its end. */
#ifndef EVPIPE_TROUBLE_H
#define EVPIPE_TROUBLE_H

struct trouble {
	int status; /* EXIT_PERM, EXIT_TEMP or EXIT_TIMEOUT; 0: none */
	char text[1536]; /* the sentence, without control characters; may be cut short */
};

/* Notes a reason, unless the reason already noted counts. Returns -1, for `return`. */
int trouble_set(struct trouble *t, int status, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* The same with the reason in @from, if there is one. */
void trouble_take(struct trouble *t, const struct trouble *from);
/* Prints the sentence as an error, if there is one. Returns the status. */
int trouble_tell(const struct trouble *t);
/* Of two exit statuses the one that counts, by the same rule; EXIT_REFUSED (1) counts only above
 * 0. */
int trouble_worse(int a, int b);

#endif
