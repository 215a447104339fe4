/* SPDX-License-Identifier: ISC */
#define _GNU_SOURCE
#include "kafka/tls-conf.h"

#include <stdlib.h>
#include <string.h>

void tls_conf_read(struct tls_config *t, const struct kafka_conf *k)
{
	char *identification = kafka_conf_copy(k, "ssl.endpoint.identification.algorithm");

	*t = (struct tls_config){
		.ca_file = kafka_conf_copy(k, "ssl.ca.location"),
		.ca_pem = kafka_conf_copy(k, "ssl.ca.pem"),
		.crl_file = kafka_conf_copy(k, "ssl.crl.location"),
		.cert_file = kafka_conf_copy(k, "ssl.certificate.location"),
		.cert_pem = kafka_conf_copy(k, "ssl.certificate.pem"),
		.key_file = kafka_conf_copy(k, "ssl.key.location"),
		.key_pem = kafka_conf_copy(k, "ssl.key.pem"),
		.key_password = kafka_conf_copy(k, "ssl.key.password"),
		.keystore_file = kafka_conf_copy(k, "ssl.keystore.location"),
		.keystore_password = kafka_conf_copy(k, "ssl.keystore.password"),
		.any_host = identification && strcasecmp(identification, "none") == 0,
	};
	free(identification);
	/* Not a file, but to look where systems have it: OpenSSL's default. */
	if (t->ca_file && strcmp(t->ca_file, "probe") == 0) {
		free((char *)(uintptr_t)t->ca_file);
		t->ca_file = NULL;
	}
}

static void forget(const char *text)
{
	char *p = (char *)(uintptr_t)text;

	if (p)
		explicit_bzero(p, strlen(p));
	free(p);
}

void tls_conf_free(struct tls_config *t)
{
	const char *all[] = {t->ca_file, t->ca_pem, t->crl_file, t->cert_file, t->cert_pem,
		t->key_file, t->key_pem, t->key_password, t->keystore_file, t->keystore_password};

	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
		forget(all[i]);
}

int tls_conf_try(struct kafka_conf *k, bool all, struct trouble *why)
{
	struct bytes_client *client;
	struct tls_config config;

	if (!strcasestr(kafka_conf_text(k, "security.protocol"), "ssl"))
		return 0;
	tls_conf_read(&config, k);
	/* Without its key librdkafka shows no certificate, and says nothing of it. */
	if (config.cert_file && !config.key_file && !config.key_pem && !config.keystore_file)
		rd_kafka_conf_set(k->rd, "ssl.key.location", config.cert_file, NULL, 0);
	config.no_trust = !all && !config.crl_file;
	client = tls_open(&config, why);
	tls_conf_free(&config);
	tls_free(client);
	return client ? 0 : -1;
}
