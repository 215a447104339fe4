/* SPDX-License-Identifier: ISC */
#include "kread/wire.h"

#include <stdint.h>

bool wire_has_no_headers(const rd_kafka_message_t *m)
{
	const unsigned char *p = m->key, *payload = m->payload;
	uint64_t zigzag = (uint64_t)m->len << 1;

	if (!m->key_len || !m->len)
		return false;
	for (p += m->key_len; zigzag >= 0x80; zigzag >>= 7, p++)
		if (p >= payload || *p != (unsigned char)(zigzag | 0x80))
			return false;
	return p + 1 == payload && *p == zigzag && payload[m->len] == 0;
}
