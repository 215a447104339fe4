/* SPDX-License-Identifier: ISC */
#include "http/pair.h"

#include "base/msg.h"

#include <errno.h>
#include <stdio.h>

static char *read_pem(const char *path)
{
	struct buf text = {0};
	FILE *file = fopen(path, "re");
	size_t n;

	if (!file)
		die(msg_errno_status(errno), "cannot open '%s': %s", path, msg_errno(errno));
	while ((n = fread(buf_room(&text, 4096), 1, 4096, file)))
		text.len += n;
	if (ferror(file))
		die(msg_errno_status(errno), "cannot read '%s': %s", path, msg_errno(errno));
	fclose(file);
	buf_putc(&text, '\0');
	return text.p;
}

void pair_read(struct http_conf *c, const char *cert, const char *key)
{
	if (!cert)
		return;
	c->cert = read_pem(cert);
	c->key = read_pem(key ? key : cert);
}

void pair_read_ca(struct http_conf *c, const char *ca)
{
	char *text;

	if (!ca)
		return;
	text = read_pem(ca);
	if (!strstr(text, "-----BEGIN CERTIFICATE-----"))
		die(EXIT_PERM, "there is no certificate in '%s'", ca);
	c->client_ca = text;
}
