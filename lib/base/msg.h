/* SPDX-License-Identifier: ISC */
/* Messages on standard error, and exit statuses.
 * A message is one sentence: "kread: cannot open 'x': reason". No stamps: the logger stamps. */
#ifndef EVPIPE_MSG_H
#define EVPIPE_MSG_H

#include <stdbool.h>

enum {
	EXIT_DONE = 0,
	EXIT_REFUSED = 1, /* finished, but records were refused */
	EXIT_TIMEOUT = 99,
	EXIT_PERM = 100, /* usage, configuration, authorisation: do not restart */
	EXIT_TEMP = 111, /* broker away, truncated input, system error: may be restarted */
};

/* The word that goes with a number: msg_warn("%zu %s", n, PLURAL(n, "record was", "records
 * were")). */
#define PLURAL(n, one, many) ((n) == 1 ? (one) : (many))

/* Names the program in every message. @prog must live on. Call first in main. */
void msg_init(const char *prog);
const char *msg_prog(void);
/* @level: -1 quiet (errors only), 0, 1 verbose. @json: one JSON object a message, with control
 * characters as escapes. */
void msg_setup(int level, bool json);
/* Whether messages are text, and not only errors. */
bool msg_is_for_people(void);
/* From now on @fn is called before each message. */
void msg_before(void (*fn)(void));

/* Makes @text fit for a terminal and for one line: control characters, also C1 and those that turn
 * the direction of text, and bytes that are not UTF-8, such as a character that was truncated,
 * become '?'. */
void msg_clean(char *text);

/* strerror's text; for EMFILE and ENFILE with the remedy. What fails so is temporary: a status must
 * not be EXIT_PERM. */
const char *msg_errno(int error);
/* Whether @error says that descriptors have run out: EMFILE, ENFILE. */
bool msg_errno_is_limit(int error);
/* The status for what is given by the user and fails with @error: EXIT_PERM, but for that. */
int msg_errno_status(int error);
/* Whether @text has msg_errno of such an error in it, or strerror of it. */
bool msg_tells_limit(const char *text);
/* "; raise the limit (…)" behind such a @text of strerror. */
const char *msg_limit_remedy(const char *text);

/* Prints an error and exits with @status. */
_Noreturn void die(int status, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* An error that does not end the program by itself; shown even with -q. */
void msg_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Something the user should know; not shown with -q. */
void msg_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Only with -v. */
void msg_info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
