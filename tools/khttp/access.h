/* SPDX-License-Identifier: ISC */
/* Who may ask: by a token, by name and password; and from which web pages. */
#ifndef KHTTP_ACCESS_H
#define KHTTP_ACCESS_H

#include "http/http.h"
#include "http/tokens.h"

struct access {
	struct tokens tokens; /* --token-file */
	struct tokens users; /* --user-file: NAME:PASSWORD */
	const char **origins; /* --cors-origin */
	int origin_count;
};

/* Whether the request has a token or a password, if one is needed; else it has answered with
 * 401. */
bool access_allows(struct access *a, struct http_request *r);

/* Looks at the header Origin and sets the answer's headers. Returns whether it has answered: 403
 * for another origin; 204 for a preflight when @is_options. Without --cors-origin nothing is looked
 * at. */
bool access_cors(const struct access *a, struct http_request *r, bool is_options);

#endif
