/* SPDX-License-Identifier: ISC */
/* What the Kafka programs share: the options -b -X -F --resolve, a client whose events wake a poll
 * loop, what is said of brokers that are away, and which errors are the configuration's fault.
 *
 * One client a process; all functions belong to the thread that runs the loop. Messages of
 * librdkafka come out as sentences of this program, and never a secret in them. */
#ifndef EVPIPE_KAFKA_H
#define EVPIPE_KAFKA_H

#include "base/opt.h"

#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stdint.h>

struct kafka_opts {
	struct arg_str *brokers, *props, *resolve;
	struct arg_file *file;
};
void kafka_opts(struct kafka_opts *o);
#define KAFKA_ENTRIES(o) (o).brokers, (o).props, (o).file, (o).resolve

/* A property of librdkafka. Lists end with a NULL name. */
struct kafka_prop {
	const char *name, *value;
};

struct kafka {
	rd_kafka_t *rk;
	int wake_fd; /* POLLIN: something stands in a queue given to kafka_wake_on */
	/* Not 0: the program cannot go on. The exit status, and the sentence to end with. */
	int trouble_status;
	char *trouble;
	/* internal */
	int wake_in;
	bool may_prod, was_full;
	size_t full_messages, full_bytes;
	char *sasl_user, *sasl_password;
	int64_t fetch_wait_ms;
};

/* Builds a configuration: @defaults, then -F, then -X and -b. @own are the properties that the
 * program's promises rest on: they are set last, and naming one with -X is refused; each may say in
 * .value NULL that it is set by an option. Dies with 100 when no broker is named or a property is
 * wrong, with librdkafka's reason. Afterwards the text of -X options that hold secrets is gone from
 * argv. */
rd_kafka_conf_t *kafka_conf(struct kafka *k, const struct kafka_opts *o,
	const struct kafka_prop *defaults, const struct kafka_prop *own);
/* The value in @conf, in a static buffer; "" when it is not set. */
const char *kafka_conf_text(const rd_kafka_conf_t *conf, const char *name);
int64_t kafka_conf_int(const rd_kafka_conf_t *conf, const char *name);
/* Starts the client and takes @conf over. Dies with 100 and librdkafka's reason. */
void kafka_start(struct kafka *k, rd_kafka_type_t type, rd_kafka_conf_t *conf);
/* From now on an event in @q makes wake_fd readable; once until the queue has been served empty. */
void kafka_wake_on(struct kafka *k, rd_kafka_queue_t *q);
/* Reads wake_fd dry. Call before the queues are served. */
void kafka_woken(struct kafka *k);
/* Says once that a broker cannot be reached or answers nothing, and once that it is back; keeps
 * metrics.up (brokers.h). Call each turn of the loop, after the queues were served, at least once a
 * second. Returns whether Kafka answers; then look at trouble_status. */
bool kafka_tick(struct kafka *k);
/* As if librdkafka had told that @err happened: sets trouble when it is a configuration error or
 * fatal, and returns whether. @text: the sentence. */
bool kafka_judge(struct kafka *k, rd_kafka_resp_err_t err, const char *text);
/* The error is the configuration's fault (login, certificate, permission, a group's protocol),
 * never a record's: nothing is dead-lettered, exit 100. */
bool kafka_is_config_error(rd_kafka_resp_err_t err);
/* "reason" as librdkafka has it, without its "Broker: " and "Local: ". Static. */
const char *kafka_why(rd_kafka_resp_err_t err);

/* A consumer tells each time it has taken messages: how many, of how many bytes, and how many are
 * left in the queue. Keeps fetching going: up to librdkafka 2.1 a broker's thread that finds the
 * local queue full looks again only after up to a second, by when the queue has long been empty. */
void kafka_taken(struct kafka *k, size_t messages, size_t bytes, size_t left);

/* Ends the client; never waits for brokers that are away. */
void kafka_stop(struct kafka *k);

#endif
