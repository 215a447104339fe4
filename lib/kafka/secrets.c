/* SPDX-License-Identifier: ISC */
#define _GNU_SOURCE
#include "kafka/secrets.h"

#include "base/mem.h"
#include "base/msg.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

char *secrets_read(const char *where, const char *file, struct trouble *why)
{
	FILE *f = fopen(file, "re");
	char *line = NULL;
	size_t size = 0;
	ssize_t n = f ? getline(&line, &size, f) : -1;
	bool bad = true;

	if (!f || (n < 0 && ferror(f)))
		trouble_set(why, msg_errno_is_limit(errno) ? EXIT_TEMP : EXIT_PERM,
			"%s: cannot read '%s': %s", where, file, msg_errno(errno));
	else if (n <= 0 || strcspn(line, "\r\n") == 0)
		trouble_set(why, EXIT_PERM, "%s: '%s' has no first line", where, file);
	else
		bad = false;
	if (f)
		fclose(f);
	if (bad) {
		free(line);
		return NULL;
	}
	line[strcspn(line, "\r\n")] = '\0';
	return line;
}

void secrets_add(struct secrets *s, const char *name, const char *file)
{
	size_t i = 0;

	/* -X wins over -F. */
	while (i < s->count && strcmp(s->list[i].name, name) != 0)
		i++;
	if (i < s->count) {
		free(s->list[i].file);
		s->list[i].file = mem_dup(file);
		return;
	}
	s->list = mem_realloc(s->list, (s->count + 1) * sizeof(*s->list));
	s->list[s->count++] = (struct secret){.name = mem_dup(name), .file = mem_dup(file)};
}

uint64_t secrets_stamp(const struct secrets *s)
{
	uint64_t stamp = 0;
	struct stat st;

	for (size_t i = 0; i < s->count; i++) {
		if (stat(s->list[i].file, &st))
			st = (struct stat){0};
		stamp = stamp * 31 + (uint64_t)st.st_ino;
		stamp = stamp * 31 + (uint64_t)st.st_size;
		stamp = stamp * 31 + (uint64_t)st.st_mtim.tv_sec * 1000000000 +
			(uint64_t)st.st_mtim.tv_nsec;
	}
	return stamp;
}

int secrets_reread(const struct secrets *s, rd_kafka_conf_t *rd, struct trouble *why)
{
	for (size_t i = 0; i < s->count; i++) {
		char *text = secrets_read(s->list[i].name, s->list[i].file, why);

		if (!text)
			continue;
		rd_kafka_conf_set(rd, s->list[i].name, text, NULL, 0);
		explicit_bzero(text, strlen(text));
		free(text);
	}
	return why->status ? -1 : 0;
}
