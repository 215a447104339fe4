/* SPDX-License-Identifier: ISC */
/* Secrets that stand in files, "sasl.password=@FILE": the first line is the secret. They are read
 * anew when a file has changed. */
#ifndef EVPIPE_KAFKA_SECRETS_H
#define EVPIPE_KAFKA_SECRETS_H

#include "base/trouble.h"

#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Which properties stand in which files. It is never freed: copies of a configuration share it. */
struct secrets {
	struct secret {
		char *name, *file;
		uint64_t stamp; /* of the file, when it was looked at last */
	} * list;
	size_t count;
	struct cert_files *certs; /* NULL: none */
};

struct renewal;

/* Files of certificates and keys and their passwords, which librdkafka reads when a client is
 * made. */
struct cert_files {
	struct secret list[7];
	size_t count;
	bool at_hup; /* there is more than CA certificates: SIGHUP has them read anew */
	int hups; /* how many there were when that was done last */
	/* What the clients made with these files are given later. */
	struct renewal *renewal;
	bool is_fixed; /* a client was made that takes nothing later */
	const char *stale; /* a file that is to be read and could not be taken yet; NULL */
	const char *why_stale; /* "has changed" */
	int64_t stale_ms, renewed_ms; /* since when; when they were taken last, 0: never */
	bool is_warned; /* that it cannot be taken */
};

/* The first line of a file, to be freed; NULL: *@why, in which @where says who wants it. */
char *secrets_read(const char *where, const char *file, struct trouble *why);
void secrets_add(struct secrets *s, const char *name, const char *file);
/* A number that changes when the file does; 0: there is none. */
uint64_t secrets_file_stamp(const char *file);
/* A number that changes when one of the files does. */
uint64_t secrets_stamp(const struct secrets *s);
/* Notes the files that @rd names, once the secrets are there. */
void secrets_add_certs(struct secrets *s, const rd_kafka_conf_t *rd);
/* One of those that have changed since the last call, for whichever client; NULL: none. */
const char *secrets_changed_cert(const struct secrets *s);
/* The name of a secret whose file has changed since the last call, for whichever client, and which
 * no client takes once it is made; NULL: none. */
const char *secrets_changed_fixed(const struct secrets *s);
/* Reads all files into @rd. Returns 0, or -1 with *@why: then @rd keeps what it had of those that
 * cannot be read. */
int secrets_reread(const struct secrets *s, rd_kafka_conf_t *rd, struct trouble *why);

#endif
