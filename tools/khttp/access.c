/* SPDX-License-Identifier: ISC */
#include "khttp/access.h"

#include "khttp/error.h"

#include <strings.h>

enum { ORIGIN_BYTES = 300 };

bool access_allows(struct access *a, struct http_request *r)
{
	const char *shown = http_header(r, "Authorization");

	if (!a->tokens.path && !a->users.path)
		return true;
	if ((a->tokens.path && tokens_allow(&a->tokens, shown)) ||
		(a->users.path && tokens_allow_basic(&a->users, shown)))
		return true;
	if (a->users.path)
		http_set_header(r, "WWW-Authenticate", "Basic realm=\"khttp\", charset=\"UTF-8\"");
	if (a->tokens.path)
		http_set_header(r, "WWW-Authenticate", "Bearer");
	http_error(r, 401, "%s is needed",
		!a->users.path		 ? "a token"
			: a->tokens.path ? "a token, or a name and a password,"
					 : "a name and a password");
	return false;
}

/* "*", or the origin, of which the host may begin with "*.". */
static bool fits(const char *wanted, const char *origin)
{
	const char *star = strstr(wanted, "://*."), *host = strstr(origin, "://");
	size_t n, m;

	if (strcmp(wanted, "*") == 0 || strcasecmp(wanted, origin) == 0)
		return true;
	if (!star || !host || star - wanted != host - origin ||
		strncasecmp(wanted, origin, (size_t)(star - wanted) + 3))
		return false;
	n = strlen(star + 4);
	m = strlen(host + 3);
	return m > n && strcasecmp(host + 3 + m - n, star + 4) == 0;
}

/* The answer has it again. A host's name has 253 characters at most. */
static bool is_known(const struct access *a, const char *origin)
{
	if (strlen(origin) > ORIGIN_BYTES)
		return false;
	for (int i = 0; i < a->origin_count; i++)
		if (fits(a->origins[i], origin))
			return true;
	return false;
}

/* A page that was served under the name that it asks. */
static bool is_own(struct http_request *r, const char *origin)
{
	const char *host = http_header(r, "Host"), *at = strstr(origin, "://");

	return host && at && strcasecmp(at + 3, host) == 0;
}

bool access_cors(const struct access *a, struct http_request *r, bool is_options)
{
	const char *origin = a->origin_count ? http_header(r, "Origin") : NULL;

	if (a->origin_count)
		http_set_header(r, "Vary", "Origin");
	if (!origin || (is_own(r, origin) && !is_known(a, origin)))
		return false;
	if (!is_known(a, origin)) {
		struct buf body = {0};

		error_put(&body, 403, "CORS Rejected - Invalid origin");
		http_reply(r, 403, TYPE_V2, &body);
		return true;
	}
	http_set_header(r, "Access-Control-Allow-Origin", origin);
	if (!is_options || !http_header(r, "Access-Control-Request-Method")) {
		http_set_header(r, "Access-Control-Expose-Headers",
			"Retry-After, Location, Idempotency-Replayed");
		return false;
	}
	http_set_header(r, "Access-Control-Allow-Methods", "GET, POST, DELETE, HEAD, OPTIONS");
	http_set_header(r, "Access-Control-Allow-Headers",
		"Accept, Authorization, Content-Type, Idempotency-Key, Last-Event-ID, Origin, "
		"X-Forwarded-Host, X-Forwarded-Proto, X-Requested-With");
	http_set_header(r, "Access-Control-Max-Age", "600");
	http_reply(r, 204, NULL, NULL);
	return true;
}
