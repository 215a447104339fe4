/* SPDX-License-Identifier: ISC */
/* Any bytes as what proxies and a client say of where khttp was reached, a header a line: a URL is
 * made of a scheme, of a host that is one, and of a path. */
#include "fuzz.h"
#include "khttp/reached.h"

#include <string.h>

enum { FORWARDED, HOST, PROTO, PATH, ASKED, HEADERS };

/* Where the host of "scheme://host…" ends. */
static const char *check_host(const char *p, const char *end)
{
	const char *slash = memchr(p, '/', (size_t)(end - p));
	const char *port = slash;

	must(slash && slash > p);
	for (const char *c = p; c < slash; c++)
		must(*c > ' ' && *c <= '~' && !strchr("\"\\?#@<>^`{|}", *c));
	while (port > p && port[-1] >= '0' && port[-1] <= '9')
		port--;
	must(port < slash && port - 1 > p && port[-1] == ':');
	must((*p == '[') == (port[-2] == ']'));
	return slash;
}

static void put(const struct reached *how)
{
	static const char own[] = "/consumers/g/instances/i";
	struct buf out = {0};
	struct span bad = SPAN_NONE;
	const char *path;

	if (!reached_put(how, own, &out, &bad)) {
		must(!out.len && bad.len);
		return;
	}
	buf_putc(&out, '\0');
	must(strncmp(out.p, "http://", 7) == 0 || strncmp(out.p, "https://", 8) == 0);
	path = check_host(strstr(out.p, "://") + 3, out.p + out.len - 1);
	must(strcmp(path, own) == 0 || (how->path && strstr(how->path, path)));
	buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *copy = malloc(size + 1), *rest = copy, *line;
	const char *headers[HEADERS] = {NULL};

	must(copy != NULL);
	memcpy(copy, data, size);
	copy[size] = '\0';
	for (size_t i = 0; i < HEADERS && (line = strsep(&rest, "\n")); i++)
		if (*line)
			headers[i] = line;
	put(&(struct reached){.forwarded = headers[FORWARDED],
		.host = headers[HOST],
		.proto = headers[PROTO],
		.path = headers[PATH],
		.asked = {headers[ASKED], headers[ASKED] ? strlen(headers[ASKED]) : 0},
		.tls = size & 1,
		.address = "127.0.0.1:8080"});
	free(copy);
	return 0;
}
