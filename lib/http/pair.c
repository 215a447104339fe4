/* SPDX-License-Identifier: ISC */
#include "http/pair.h"

#include "base/msg.h"
#include "http/http-parts.h"

#include <errno.h>
#include <stdio.h>

/* Dies unless the file can be read. */
static char *read_pem(const char *what, const char *path)
{
	struct buf text = {0};
	FILE *file = fopen(path, "re");
	size_t n;

	while (file && (n = fread(buf_room(&text, 4096), 1, 4096, file)))
		text.len += n;
	if (!file || ferror(file))
		die(msg_errno_status(errno), "cannot read the %s '%s': %s", what, path,
			msg_errno(errno));
	fclose(file);
	buf_putc(&text, '\0');
	return text.p;
}

void pair_read(struct http_conf *c, const char *cert, const char *key)
{
	const char *flaw;
	bool of_key;

	if (!cert)
		return;
	c->cert = read_pem("certificate", cert);
	c->key = read_pem("key", key ? key : cert);
	flaw = http_pair_flaw(c->cert, c->key, &of_key);
	if (flaw)
		die(EXIT_PERM, "cannot read the %s '%s': %s", of_key ? "key" : "certificate",
			of_key && key ? key : cert, flaw);
}

void pair_read_ca(struct http_conf *c, const char *ca)
{
	char *text;

	if (!ca)
		return;
	text = read_pem("CA certificates", ca);
	if (!http_has_certs(text))
		die(EXIT_PERM, "cannot read the CA certificates '%s': it has none in PEM", ca);
	c->client_ca = text;
}
