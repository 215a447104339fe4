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
