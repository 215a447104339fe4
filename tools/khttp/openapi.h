/* SPDX-License-Identifier: ISC */
/* openapi.json, the description of the API, as it stands in the tree; the build makes openapi.inc
 * of it. */
#ifndef KHTTP_OPENAPI_H
#define KHTTP_OPENAPI_H

#include "base/buf.h"

/* Appends it; with "basePath" in front when @base is not NULL: where a gateway has put the API. */
void openapi_put(struct buf *out, const char *base);

#endif
