/* SPDX-License-Identifier: ISC */
#include "base/msg.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *prog = "evpipe";
static int verbosity;
static bool as_json;

void msg_init(const char *name)
{
	prog = name;
}

const char *msg_prog(void)
{
	return prog;
}

void msg_setup(int level, bool json)
{
	verbosity = level;
	as_json = json;
}

/* A message may quote text from anywhere, and a terminal obeys control characters. */
void msg_clean(char *text)
{
	for (char *s = text; *s; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			*s = '?';
}

/* One write a message, so that messages of the members of a pipeline do not mix. */
static void say(const char *level, const char *fmt, va_list ap)
{
	char text[2048], line[2 * sizeof(text) + 128];
	int saved = errno;
	size_t n;

	vsnprintf(text, sizeof(text), fmt, ap);
	if (as_json) {
		char *o = line, *end = line + sizeof(line) - 16;

		o += sprintf(o, "{\"level\":\"%s\",\"tool\":\"%.64s\",\"message\":\"", level, prog);
		for (const char *s = text; *s && o < end; s++) {
			if (*s == '"' || *s == '\\')
				*o++ = '\\';
			if ((unsigned char)*s < 0x20)
				o += sprintf(o, "\\u%04x", (unsigned char)*s);
			else
				*o++ = *s;
		}
		o += sprintf(o, "\"}\n");
		n = (size_t)(o - line);
	} else {
		msg_clean(text);
		n = (size_t)snprintf(line, sizeof(line), "%s: %s%s\n", prog,
			strcmp(level, "warning") == 0 ? "warning: " : "", text);
	}
	if (write(STDERR_FILENO, line, n) < 0) {
		/* nowhere is left to say it */
	}
	errno = saved;
}

#define SAY(level)                                                                                 \
	do {                                                                                       \
		va_list ap;                                                                        \
		va_start(ap, fmt);                                                                 \
		say(level, fmt, ap);                                                               \
		va_end(ap);                                                                        \
	} while (0)

_Noreturn void die(int status, const char *fmt, ...)
{
	SAY("error");
	exit(status);
}

void msg_error(const char *fmt, ...)
{
	SAY("error");
}

void msg_warn(const char *fmt, ...)
{
	if (verbosity >= 0)
		SAY("warning");
}

void msg_info(const char *fmt, ...)
{
	if (verbosity >= 1)
		SAY("info");
}
