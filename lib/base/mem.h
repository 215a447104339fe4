/* SPDX-License-Identifier: ISC */
/* malloc and its kin, which end the program with 111 when there is no memory: none of these returns
 * NULL. Free with free(). */
#ifndef EVPIPE_MEM_H
#define EVPIPE_MEM_H

#include <stddef.h>

void *mem_alloc(size_t size);
void *mem_realloc(void *p, size_t size);
char *mem_dup(const char *s);
char *mem_printf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
