/* SPDX-License-Identifier: ISC */
#include "kafka/generation.h"

#include <stdlib.h>
#include <string.h>

/* librdkafka's form: a mark, the generation, and more. Of a member that has left or was thrown out
 * it is -1, and a broker takes positions under -1 as those of no group, without a look. */
static bool is_held(const void *bytes, size_t size)
{
	static const char mark[] = "CGMDv2:";
	int32_t generation;

	if (size < sizeof(mark) - 1 + sizeof(generation) || memcmp(bytes, mark, sizeof(mark) - 1))
		return true;
	memcpy(&generation, (const char *)bytes + sizeof(mark) - 1, sizeof(generation));
	return generation >= 0;
}

bool generation_held(rd_kafka_t *rk, struct buf *metadata)
{
	rd_kafka_consumer_group_metadata_t *md = rd_kafka_consumer_group_metadata(rk);
	void *bytes = NULL;
	size_t size = 0;
	bool good = md && !rd_kafka_consumer_group_metadata_write(md, &bytes, &size);

	if (good && metadata)
		buf_base64(metadata, bytes, size);
	good = good && is_held(bytes, size);
	free(bytes);
	if (md)
		rd_kafka_consumer_group_metadata_destroy(md);
	return good;
}
