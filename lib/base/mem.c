/* SPDX-License-Identifier: ISC */
#define _GNU_SOURCE
#include "base/mem.h"

#include "base/msg.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *mem_alloc(size_t size)
{
	return mem_realloc(NULL, size);
}

void *mem_realloc(void *p, size_t size)
{
	p = realloc(p, size ? size : 1);
	if (!p)
		die(EXIT_TEMP, "out of memory: cannot get %zu bytes", size);
	return p;
}

char *mem_dup(const char *s)
{
	size_t n = strlen(s) + 1;

	return memcpy(mem_alloc(n), s, n);
}

char *mem_printf(const char *fmt, ...)
{
	char *text;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		die(EXIT_TEMP, "out of memory");
	va_end(ap);
	return text;
}
