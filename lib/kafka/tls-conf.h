/* SPDX-License-Identifier: ISC */
/* librdkafka's properties of TLS, as net/tls.h takes them. */
#ifndef EVPIPE_KAFKA_TLS_CONF_H
#define EVPIPE_KAFKA_TLS_CONF_H

#include "kafka/conf.h"
#include "net/tls.h"

/* The texts are copies; free them with tls_conf_free. */
void tls_conf_read(struct tls_config *t, const struct kafka_conf *k);
void tls_conf_free(struct tls_config *t);
/* Reads the files, when @k asks for TLS: -1 when that fails, in better words than librdkafka's. A
 * certificate without a key is given the place of the key: its own file. Without @all the CA
 * certificates are read only where a list of revoked ones is named. */
int tls_conf_try(struct kafka_conf *k, bool all, struct trouble *why);

#endif
