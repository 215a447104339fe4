/* SPDX-License-Identifier: ISC */
/* Where a client has reached us, by what it has sent and what proxies say. */
#ifndef KHTTP_REACHED_H
#define KHTTP_REACHED_H

#include "base/buf.h"

#include <stdbool.h>

struct reached {
	/* Forwarded, X-Forwarded-Host, -Proto and -Path; NULL: there is none */
	const char *forwarded, *host, *proto, *path;
	struct span asked; /* whom it has asked: http_host */
	bool tls; /* and by what */
	const char *address; /* our own, where the rest names no host */
};
/* Appends "http://host:port" and @path, or what stands for it. False: *@bad is no scheme, and nothing
 * was appended. */
bool reached_put(const struct reached *how, const char *path, struct buf *out, struct span *bad);

#endif
