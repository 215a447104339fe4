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
static void (*before)(void);

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

bool msg_is_for_people(void)
{
	return verbosity >= 0 && !as_json;
}

void msg_before(void (*fn)(void))
{
	before = fn;
}

/* The length in bytes of the character of UTF-8 at @s and its number; 0: there is none. A NUL ends
 * the text. */
static size_t decode(const char *s, unsigned *code)
{
	static const unsigned least[] = {0, 0, 0x80, 0x800, 0x10000};
	unsigned char c = (unsigned char)*s;
	size_t n = c < 0x80 ? 1 : c < 0xc2 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 0;

	*code = n > 1 ? c & (0x7fu >> n) : c;
	for (size_t i = 1; i < n; i++) {
		if (((unsigned char)s[i] & 0xc0) != 0x80)
			return 0;
		*code = *code << 6 | ((unsigned char)s[i] & 0x3f);
	}
	return n && (*code < least[n] || *code > 0x10ffff || (*code >= 0xd800 && *code < 0xe000))
		? 0
		: n;
}

/* Controls (C0, DEL, C1), what turns the direction of text, and other ends of lines. */
static bool is_control(unsigned code)
{
	return code < 0x20 || (code >= 0x7f && code < 0xa0) || code == 0x61c || code == 0x200e ||
		code == 0x200f || (code >= 0x2028 && code <= 0x202e) ||
		(code >= 0x2066 && code <= 0x2069);
}

/* A message may quote text from anywhere, and a terminal obeys control characters. */
void msg_clean(char *text)
{
	char *out = text;
	unsigned code;

	for (const char *s = text; *s;) {
		size_t n = decode(s, &code);

		if (!n || is_control(code)) {
			*out++ = '?';
			s += n ? n : 1;
			continue;
		}
		while (n--)
			*out++ = *s++;
	}
	*out = '\0';
}

/* Appends @text as the inside of a string of JSON, up to @end; returns its end. */
static char *escape(char *o, const char *end, const char *s)
{
	unsigned code;

	while (*s && o < end - 6) {
		size_t n = decode(s, &code);

		if (!n) {
			*o++ = '?';
			s++;
			continue;
		}
		if (is_control(code)) {
			o += sprintf(o, "\\u%04x", code);
			s += n;
			continue;
		}
		if (code == '"' || code == '\\')
			*o++ = '\\';
		while (n--)
			*o++ = *s++;
	}
	return o;
}

bool msg_errno_is_limit(int error)
{
	return error == EMFILE || error == ENFILE;
}

int msg_errno_status(int error)
{
	return msg_errno_is_limit(error) ? EXIT_TEMP : EXIT_PERM;
}

bool msg_tells_limit(const char *text)
{
	return strstr(text, strerror(EMFILE)) || strstr(text, strerror(ENFILE));
}

#define OF_PROCESS "; raise the limit (ulimit -n)"
#define OF_SYSTEM "; raise the limit (sysctl fs.file-max)"

const char *msg_limit_remedy(const char *text)
{
	return strstr(text, strerror(ENFILE)) ? OF_SYSTEM : OF_PROCESS;
}

const char *msg_errno(int error)
{
	return error == EMFILE	  ? "Too many open files" OF_PROCESS
		: error == ENFILE ? "Too many open files in the whole system" OF_SYSTEM
				  : strerror(error);
}

/* One write a message, so that messages of the members of a pipeline do not mix. */
static void say(const char *level, const char *fmt, va_list ap)
{
	char text[2048], line[2 * sizeof(text) + 512];
	const char *pipeline = getenv("EVPIPE_NAME");
	int saved = errno;
	size_t n;

	vsnprintf(text, sizeof(text), fmt, ap);
	if (as_json) {
		char *o = line;

		o += sprintf(o, "{\"level\":\"%s\",", level);
		if (pipeline && *pipeline) {
			o += sprintf(o, "\"pipeline\":\"");
			o = escape(o, o + 256, pipeline);
			o += sprintf(o, "\",");
		}
		o += sprintf(o, "\"tool\":\"%.64s\",\"message\":\"", prog);
		o = escape(o, line + sizeof(line) - 8, text);
		o += sprintf(o, "\"}\n");
		n = (size_t)(o - line);
	} else {
		msg_clean(text);
		n = (size_t)snprintf(line, sizeof(line), "%s: %s%s\n", prog,
			strcmp(level, "warning") == 0 ? "warning: " : "", text);
	}
	if (before)
		before();
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
