/* SPDX-License-Identifier: ISC */
/* libmicrohttpd asks a client for its certificate, and leaves it to us to look at. */
#include "http/http-parts.h"

#include <gnutls/gnutls.h>

bool http_is_certified(const struct http_request_inner *r)
{
	const union MHD_ConnectionInfo *info;
	unsigned flaws = 0;

	if (!r->client->http->conf.client_ca)
		return true;
	info = MHD_get_connection_info(r->connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);
	return info && gnutls_certificate_verify_peers2(info->tls_session, &flaws) == 0 && !flaws;
}
