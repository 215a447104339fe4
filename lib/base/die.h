/* SPDX-License-Identifier: ISC */
/* Messages on stderr, exit statuses, and memory that is there or ends the program.
 * A message is one sentence: "kread: cannot open 'x': reason". No stamps: the logger stamps. */
#ifndef EVPIPE_DIE_H
#define EVPIPE_DIE_H

#include <stdbool.h>
#include <stddef.h>

enum {
	EXIT_DONE = 0,
	EXIT_REFUSED = 1, /* finished, but records were refused */
	EXIT_TIMEOUT = 99,
	EXIT_PERM = 100, /* usage, configuration, authorisation: do not restart */
	EXIT_TEMP = 111, /* broker away, truncated input, system error: may be restarted */
};

/* Names the program in every message. @prog must live on. Call first in main. */
void die_init(const char *prog);
const char *die_prog(void);
/* @level: -1 quiet (errors only), 0, 1 verbose. @json: one JSON object a message. */
void die_setup(int level, bool json);

/* Prints an error and exits with @status. */
_Noreturn void die(int status, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* An error that does not end the program by itself; shown even with -q. */
void die_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Something the user should know; not shown with -q. */
void die_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Only with -v. */
void die_info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* malloc and its kin, which end the program with 111 when there is no memory. Free with free(). */
void *die_alloc(size_t size);
void *die_realloc(void *p, size_t size);
char *die_strdup(const char *s);
char *die_asprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
