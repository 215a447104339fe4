/* SPDX-License-Identifier: ISC */
/* Any bytes as a header Authorization, and behind its line as a file of tokens: who is let in has
 * shown a line of the file, and whoever shows one is let in. */
#include "fuzz.h"
#include "http/tokens.h"

#include <string.h>

static const char blanks[] = " \t\r";

/* Whether a line, without blanks around and no remark, is @given. */
static bool has_line(const char *file, const char *given)
{
	size_t n;

	for (const char *p = file; *p; p += n + (p[n] == '\n')) {
		const char *begin, *end;

		n = strcspn(p, "\n");
		for (end = p + n; end > p && strchr(blanks, end[-1]);)
			end--;
		for (begin = p; begin < end && strchr(" \t", *begin);)
			begin++;
		if (begin < end && *begin != '#' && strlen(given) == (size_t)(end - begin) &&
			memcmp(given, begin, (size_t)(end - begin)) == 0)
			return true;
	}
	return false;
}

static void check(struct tokens *t, const char *file, const char *header)
{
	const char *given = strncasecmp(header, "Bearer ", 7) ? NULL : header + 7;

	if (given)
		given += strspn(given, " ");
	must(tokens_allow(t, header) == (given && has_line(file, given)));
	/* Base64 is read elsewhere; what is let in is in the file. */
	must(!tokens_allow_basic(t, header) || strncasecmp(header, "Basic ", 6) == 0);
}

static void show(struct tokens *t, const char *file, const char *token)
{
	struct buf header = {0};

	buf_printf(&header, "Bearer %s", token);
	buf_putc(&header, '\0');
	must(tokens_allow(t, header.p) == has_line(file, token + strspn(token, " ")));
	buf_clear(&header);
	buf_puts(&header, "basic  ");
	buf_base64(&header, token, strlen(token));
	buf_putc(&header, '\0');
	must(tokens_allow_basic(t, header.p) == has_line(file, token));
	buf_free(&header);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* A file that is not there leaves the tokens as they are. */
	struct tokens t = {.path = "/nothing/here"};
	char *header = malloc(size + 1), *file;

	must(header != NULL);
	memcpy(header, data, size);
	header[size] = '\0';
	file = strchr(header, '\n');
	if (file && strlen(header) == size) {
		*file++ = '\0';
		buf_puts(&t.text, file);
		check(&t, file, header);
		show(&t, file, header);
		must(!tokens_allow(&t, NULL) && !tokens_allow_basic(&t, NULL));
	}
	buf_free(&t.text);
	free(header);
	return 0;
}
