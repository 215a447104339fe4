/* SPDX-License-Identifier: ISC */
#include "kread/member.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void read_boot(char *text, int size)
{
	FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");

	if (!file || !fgets(text, size, file))
		*text = '\0';
	if (file)
		fclose(file);
}

const char *member_name(void)
{
	static char name[240]; /* Kafka takes 249 */
	const char *unit = getenv("EVPIPE_UNIT");
	char host[65] = "", boot[9] = "";

	if (!unit || !*unit)
		return NULL;
	gethostname(host, sizeof(host) - 1);
	read_boot(boot, sizeof(boot));
	snprintf(name, sizeof(name), "evpipe-%s-%s-%s", unit, host, boot);
	/* Kafka takes what a topic's name may have. */
	for (char *s = name; *s; s++)
		if (!isalnum((unsigned char)*s) && !strchr("._-", *s))
			*s = '_';
	return name;
}

/* librdkafka's form: a mark, the generation, and more. Of a member that has left or was thrown out
 * it is -1, and a broker takes positions under -1 as those of no group, without a look. */
static bool has_generation(const void *bytes, size_t size)
{
	static const char mark[] = "CGMDv2:";
	int32_t generation;

	if (size < sizeof(mark) - 1 + sizeof(generation) || memcmp(bytes, mark, sizeof(mark) - 1))
		return true;
	memcpy(&generation, (const char *)bytes + sizeof(mark) - 1, sizeof(generation));
	return generation >= 0;
}

bool member_is_in(rd_kafka_t *rk, struct buf *metadata)
{
	rd_kafka_consumer_group_metadata_t *md = rd_kafka_consumer_group_metadata(rk);
	void *bytes = NULL;
	size_t size = 0;
	bool good = md && !rd_kafka_consumer_group_metadata_write(md, &bytes, &size);

	if (good && metadata)
		buf_base64(metadata, bytes, size);
	good = good && has_generation(bytes, size);
	free(bytes);
	if (md)
		rd_kafka_consumer_group_metadata_destroy(md);
	return good;
}
