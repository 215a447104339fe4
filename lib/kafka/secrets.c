/* SPDX-License-Identifier: ISC */
#define _GNU_SOURCE
#include "kafka/secrets.h"

#include "base/mem.h"
#include "base/msg.h"
#include "base/wake.h"
#include "net/renewal.h"

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
		trouble_set(why, msg_errno_status(errno), "%s: cannot read '%s': %s", where, file,
			msg_errno(errno));
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
		s->list[i].stamp = secrets_file_stamp(file);
		return;
	}
	s->list = mem_realloc(s->list, (s->count + 1) * sizeof(*s->list));
	s->list[s->count++] =
		(struct secret){mem_dup(name), mem_dup(file), secrets_file_stamp(file)};
}

uint64_t secrets_file_stamp(const char *file)
{
	struct stat st;
	uint64_t stamp;

	if (stat(file, &st))
		return 0;
	stamp = (uint64_t)st.st_ino;
	stamp = stamp * 31 + (uint64_t)st.st_size;
	return stamp * 31 + (uint64_t)st.st_mtim.tv_sec * 1000000000 + (uint64_t)st.st_mtim.tv_nsec;
}

static bool is_of_key(const char *name)
{
	return strcmp(name, "ssl.key.password") == 0 || strcmp(name, "ssl.keystore.password") == 0;
}

uint64_t secrets_stamp(const struct secrets *s)
{
	uint64_t stamp = 0;

	for (size_t i = 0; i < s->count; i++)
		stamp = stamp * 31 + secrets_file_stamp(s->list[i].file);
	return stamp;
}

static void add_cert(struct cert_files *certs, const char *name, const char *file)
{
	certs->list[certs->count++] =
		(struct secret){mem_dup(name), mem_dup(file), secrets_file_stamp(file)};
	certs->at_hup |= strcmp(name, "ssl.ca.location") != 0;
}

void secrets_add_certs(struct secrets *s, const rd_kafka_conf_t *rd)
{
	static const char *const names[] = {"ssl.certificate.location", "ssl.key.location",
		"ssl.keystore.location", "ssl.ca.location", "ssl.crl.location"};
	struct cert_files *certs = mem_alloc(sizeof(*certs));

	*certs = (struct cert_files){.hups = wake_hups()};
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		char file[4096];
		size_t size = sizeof(file);

		/* "probe" is no file, but OpenSSL's default. */
		if (rd_kafka_conf_get(rd, names[i], file, &size) != RD_KAFKA_CONF_OK || !*file ||
			strcmp(file, "probe") == 0)
			continue;
		add_cert(certs, names[i], file);
	}
	for (size_t i = 0; certs->count && i < s->count; i++)
		if (is_of_key(s->list[i].name))
			add_cert(certs, s->list[i].name, s->list[i].file);
	if (!certs->count) {
		free(certs);
		return;
	}
	certs->renewal = renewal_new();
	s->certs = certs;
}

static bool has_changed(struct secret *one)
{
	uint64_t stamp = secrets_file_stamp(one->file);

	/* While it is put in its place there may be none. */
	if (!stamp || stamp == one->stamp)
		return false;
	one->stamp = stamp;
	return true;
}

const char *secrets_changed_cert(const struct secrets *s)
{
	const char *changed = NULL;

	for (size_t i = 0; s->certs && i < s->certs->count; i++) {
		struct secret *cert = &s->certs->list[i];

		if (has_changed(cert) && !changed)
			changed = cert->file;
	}
	return changed;
}

const char *secrets_changed_fixed(const struct secrets *s)
{
	const char *changed = NULL;

	for (size_t i = 0; i < s->count; i++)
		if (strcmp(s->list[i].name, "sasl.password") && !is_of_key(s->list[i].name) &&
			has_changed(&s->list[i]))
			changed = s->list[i].name;
	return changed;
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
