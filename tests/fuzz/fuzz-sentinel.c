/* SPDX-License-Identifier: ISC */
/* Any bytes as what sentinels answer: what is taken lies within them. */
#include "fuzz.h"
#include "redis/sentinel-parts.h"

static void check(struct span s, const uint8_t *data, size_t size)
{
	must(!s.len || (s.p > (const char *)data && s.p + s.len < (const char *)data + size));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *p = (const char *)data;
	struct link_reply reply = {.elements = {.p = p, .end = p + size, .max_string = 1000}};
	struct sentinel_peer peer;
	struct span host, port;
	struct resp c;

	if (!size || resp_next(&reply.elements, &reply.value) == RESP_MORE)
		return 0;
	if (sentinel_word_take(&reply, &host, &port)) {
		must(host.len && port.len);
		check(host, data, size);
		check(port, data, size);
	}
	c = reply.elements;
	for (int64_t n = reply.value.n;
		reply.value.type == RESP_ARRAY && n > 0 && sentinel_peer_take(&c, &peer); n--) {
		check(peer.host, data, size);
		check(peer.port, data, size);
		check(peer.id, data, size);
	}
	must(c.p <= c.end);
	return 0;
}
