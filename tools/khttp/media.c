/* SPDX-License-Identifier: ISC */
#include "khttp/media.h"

#include <stdlib.h>
#include <strings.h>

static const char *const names[] = {
	[MEDIA_V2] = "application/vnd.kafka.v2+json",
	[MEDIA_JSON] = "application/vnd.kafka.json.v2+json",
	[MEDIA_BINARY] = "application/vnd.kafka.binary.v2+json",
	[MEDIA_TEXT] = "application/vnd.kafka.text.v2+json",
	[MEDIA_PLAIN] = "application/json",
	[MEDIA_LINES] = "application/x-ndjson",
	[MEDIA_EVENTS] = "text/event-stream",
};
enum { NAMES = sizeof(names) / sizeof(*names) };

const char *media_name(enum media m)
{
	return (size_t)m < NAMES ? names[m] : NULL;
}

static enum media find(const char *text, size_t n)
{
	for (size_t i = MEDIA_V2; i < NAMES; i++)
		if (strlen(names[i]) == n && strncasecmp(names[i], text, n) == 0)
			return (enum media)i;
	return MEDIA_OTHER;
}

/* One type of a list, with its parameters: what stands before a comma that is not in quotes. */
static size_t item_len(const char *text)
{
	bool quoted = false;
	size_t n = 0;

	for (; text[n] && (quoted || text[n] != ','); n++)
		quoted = text[n] == '"' ? !quoted : quoted;
	return n;
}

static size_t name_len(const char *text, size_t n)
{
	size_t len = strcspn(text, ";,");

	len = len < n ? len : n;
	while (len && strchr(" \t", text[len - 1]))
		len--;
	return len;
}

/* The value of a parameter; empty when it is not there. */
static struct span parameter(const char *text, size_t n, const char *name)
{
	const char *end = text + n, *p = memchr(text, ';', n);
	size_t len = strlen(name);

	while (p) {
		const char *next = memchr(p + 1, ';', (size_t)(end - p - 1));
		const char *stop = next ? next : end;

		for (p++; p < stop && strchr(" \t", *p); p++)
			;
		if ((size_t)(stop - p) > len && strncasecmp(p, name, len) == 0 && p[len] == '=') {
			p += len + 1;
			while (stop > p && strchr(" \t\"", stop[-1]))
				stop--;
			if (p < stop && *p == '"')
				p++;
			return (struct span){p, (size_t)(stop - p)};
		}
		p = next;
	}
	return SPAN("");
}

enum media media_of(const char *content_type, bool exact)
{
	struct span charset;
	size_t n;

	if (!content_type)
		return MEDIA_NONE;
	for (size_t i = MEDIA_V2; i < NAMES; i++)
		if (strcmp(content_type, names[i]) == 0)
			return (enum media)i;
	if (exact)
		return MEDIA_OTHER;
	content_type += strspn(content_type, " \t");
	n = strlen(content_type);
	charset = parameter(content_type, n, "charset");
	if (charset.len && !(charset.len == 5 && strncasecmp(charset.p, "utf-8", 5) == 0) &&
		!(charset.len == 8 && strncasecmp(charset.p, "us-ascii", 8) == 0))
		return MEDIA_OTHER;
	/* A list is no type of a body. */
	return item_len(content_type) < n ? MEDIA_OTHER
					  : find(content_type, name_len(content_type, n));
}

/* How far the name of a list's item speaks of a type: 3 by name, 2 "application/" and a star, 1 two
 * stars, 0 not at all. */
static int fits(const char *text, size_t n, const char *name)
{
	if (n == strlen(name) && strncasecmp(text, name, n) == 0)
		return 3;
	if (n == 3 && memcmp(text, "*/*", 3) == 0)
		return 1;
	return n > 2 && memcmp(text + n - 2, "/*", 2) == 0 && strncasecmp(text, name, n - 1) == 0
		? 2
		: 0;
}

/* How much the list likes the type: what speaks of it most closely counts. */
static double liking(const char *accept, const char *name)
{
	double q = 0;
	int best = 0;

	while (*accept) {
		size_t n;
		struct span value;
		int how;

		accept += strspn(accept, " \t,");
		n = item_len(accept);
		how = fits(accept, name_len(accept, n), name);
		value = parameter(accept, n, "q");
		if (how > best) {
			best = how;
			q = value.len ? strtod(value.p, NULL) : 1;
		}
		accept += n;
	}
	return q;
}

enum media media_choose(const char *accept, const enum media *offered, bool exact)
{
	enum media best = MEDIA_NONE;
	double most = 0;

	if (!accept || !*accept)
		return exact ? MEDIA_NONE : *offered;
	for (; *offered; offered++) {
		double q = exact ? strcmp(accept, names[*offered]) == 0
				 : liking(accept, names[*offered]);

		if (q > most) {
			best = *offered;
			most = q;
		}
	}
	return best;
}
