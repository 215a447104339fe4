/* SPDX-License-Identifier: ISC */
/* What sentinels answer. */
#include "redis/sentinel-parts.h"

bool sentinel_word_take(const struct link_reply *reply, struct span *host, struct span *port)
{
	struct resp c = reply->elements;
	struct resp_value h, p;

	if (reply->value.type != RESP_ARRAY || reply->value.n != 2 ||
		resp_next(&c, &h) != RESP_STRING || resp_next(&c, &p) != RESP_STRING)
		return false;
	*host = h.text;
	*port = p.text;
	return host->len && port->len;
}

bool sentinel_peer_take(struct resp *c, struct sentinel_peer *peer)
{
	struct resp_value head, name, value;
	int64_t left;

	*peer = (struct sentinel_peer){0};
	if (resp_next(c, &head) != RESP_ARRAY)
		return false;
	for (left = head.n; left >= 2; left -= 2) {
		if (resp_next(c, &name) != RESP_STRING || resp_next(c, &value) != RESP_STRING)
			return false;
		if (span_is(name.text, "ip"))
			peer->host = value.text;
		else if (span_is(name.text, "port"))
			peer->port = value.text;
		else if (span_is(name.text, "runid"))
			peer->id = value.text;
	}
	return left == 0;
}
