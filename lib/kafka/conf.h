/* SPDX-License-Identifier: ISC */
/* The configuration of a client of Kafka: the options -b -X -F --resolve, a program's own
 * properties.
 *
 * Nothing here ends the program: a function that can fail takes @why and notes there the status and
 * the sentence to end with. */
#ifndef EVPIPE_KAFKA_CONF_H
#define EVPIPE_KAFKA_CONF_H

#include "base/opt.h"
#include "base/trouble.h"
#include "kafka/resolve.h"
#include "kafka/secrets.h"

#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kafka_opts {
	struct arg_str *brokers, *props, *resolve, *token_cmd;
	struct arg_file *file;
};
void kafka_opts(struct kafka_opts *o);
/* Ends the program for a name that is empty, or longer than Kafka's names are. */
void kafka_check_name(const char *name, const char *option);
/* The value of an option that names a group or a producer; NULL: it is not given. Ends the program
 * for leading white space, which librdkafka leaves out: ' ' would be no name. */
const char *kafka_opt_name(const struct arg_str *a, const char *option);
#define KAFKA_ENTRIES(o) (o).brokers, (o).props, (o).file, (o).resolve, (o).token_cmd

/* A property of librdkafka. Lists end with a NULL name. */
struct kafka_prop {
	const char *name, *value;
};

/* For one client. For several: a copy of the struct for each, with its own rd_kafka_conf_dup of
 * `rd`. */
struct kafka_conf {
	rd_kafka_conf_t *rd; /* more may be set before the client starts */
	struct kafka_resolves resolves;
	struct secrets secrets; /* properties whose values stand in files */
	const char *token_cmd; /* NULL: none; it stays */
	const char *token; /* what it has printed; NULL: check_conf_open runs it */
	bool dumps; /* -X dump */
	bool has_mechanism; /* -F or -X names one; librdkafka's default is GSSAPI */
};

/* Builds a configuration: @defaults without those that this librdkafka does not know, then -F, then
 * -X and -b. @own are the properties that the program's promises rest on: they are set last, -X
 * must not name one, and one in the file is left out, with a warning unless the value is the same;
 * .value NULL: an option of the program sets it. Fails with 100 when no broker is named or a
 * property is wrong, with librdkafka's reason; and without trouble, status 0, when -X dump has
 * printed all properties: the program ends then. Afterwards argv no longer holds the text of
 * secrets given with -X, so call it once. */
int kafka_conf_open(struct kafka_conf *c, const struct kafka_opts *o,
	const struct kafka_prop *defaults, const struct kafka_prop *own, struct trouble *why);
/* Builds the configuration of a further client, of another cluster or of the same: how brokers are
 * reached and logged in to is as in @base, whose client is not started yet. @brokers: of the other
 * cluster; NULL: as in @base. @file, of the form of -F, says all of it instead of @base; NULL:
 * none. Fails with 100, as kafka_conf_open. */
int kafka_conf_other(struct kafka_conf *c, const struct kafka_conf *base, const char *brokers,
	const char *file, struct trouble *why);
/* The value, in a static buffer; "" when it is not set. */
const char *kafka_conf_text(const struct kafka_conf *c, const char *name);
/* A copy, to be freed; NULL: not set, or empty. */
char *kafka_conf_copy(const struct kafka_conf *c, const char *name);
/* A login is asked for without its mechanism. */
bool kafka_conf_lacks_mechanism(const struct kafka_conf *c);
int64_t kafka_conf_int(const struct kafka_conf *c, const char *name);

#endif
