/* SPDX-License-Identifier: ISC */
/* What librdkafka's properties mean to a conversation of our own. */
#define _GNU_SOURCE
#include "kafka/check.h"

#include "base/mem.h"
#include "base/msg.h"
#include "kafka/conf.h"
#include "kafka/token.h"

#include <ctype.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/socket.h>

/* The value, to be freed; NULL: not set, or empty. */
static char *value_of(const struct kafka_conf *k, const char *name)
{
	size_t size = 0;
	char *value;

	if (rd_kafka_conf_get(k->rd, name, NULL, &size) || size <= 1)
		return NULL;
	value = mem_alloc(size);
	if (rd_kafka_conf_get(k->rd, name, value, &size) || !*value) {
		free(value);
		return NULL;
	}
	return value;
}

static bool is(const struct kafka_conf *k, const char *name, const char *text)
{
	char *value = value_of(k, name);
	bool same = value && strcasecmp(value, text) == 0;

	free(value);
	return same;
}

static void free_tls_config(struct tls_config *t)
{
	const char *all[] = {t->ca_file, t->ca_pem, t->cert_file, t->cert_pem, t->key_file,
		t->key_pem, t->key_password, t->keystore_file, t->keystore_password};

	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
		free((char *)(uintptr_t)all[i]);
}

static int open_tls(struct check_conf *c, const struct kafka_conf *k, struct trouble *why)
{
	struct tls_config t = {
		.ca_file = value_of(k, "ssl.ca.location"),
		.ca_pem = value_of(k, "ssl.ca.pem"),
		.cert_file = value_of(k, "ssl.certificate.location"),
		.cert_pem = value_of(k, "ssl.certificate.pem"),
		.key_file = value_of(k, "ssl.key.location"),
		.key_pem = value_of(k, "ssl.key.pem"),
		.key_password = value_of(k, "ssl.key.password"),
		.keystore_file = value_of(k, "ssl.keystore.location"),
		.keystore_password = value_of(k, "ssl.keystore.password"),
		.any_host = is(k, "ssl.endpoint.identification.algorithm", "none"),
		.any_cert = true,
	};

	/* Not a file, but to look where systems have it: OpenSSL's default. */
	if (t.ca_file && strcmp(t.ca_file, "probe") == 0) {
		free((char *)(uintptr_t)t.ca_file);
		t.ca_file = NULL;
	}
	c->has_cert = t.cert_file || t.cert_pem || t.keystore_file;
	c->as.any_cert = is(k, "enable.ssl.certificate.verification", "false");
	c->as.tls_client = tls_open(&t, why);
	free_tls_config(&t);
	return c->as.tls_client ? 0 : -1;
}

static void set_family(struct check_conf *c, const struct kafka_conf *k)
{
	c->family = is(k, "broker.address.family", "v4") ? AF_INET
		: is(k, "broker.address.family", "v6")	 ? AF_INET6
							 : AF_UNSPEC;
}

/* The command is waited for: nothing else is done yet. The token stays as long as all of this. */
static int take_token(struct check_conf *c, const char *command, struct trouble *why)
{
	struct token t;
	char text[300];

	if (token_run(command, &t, text, sizeof(text)))
		return trouble_set(why, EXIT_PERM, "%s", text);
	c->as.login.token = mem_dup(t.text);
	c->token_end_ms = t.end_ms;
	token_free(&t);
	return 0;
}

int check_conf_open(struct check_conf *c, const struct kafka_conf *k, struct trouble *why)
{
	static const struct tls_config any = {.any_cert = true, .any_host = true};
	struct trouble ignored = {0};
	char *mechanism = value_of(k, "sasl.mechanisms");

	*c = (struct check_conf){.bootstrap = value_of(k, "bootstrap.servers"),
		.protocol = value_of(k, "security.protocol"),
		.resolves = &k->resolves};
	for (char *p = c->protocol; *p; p++)
		*p = (char)toupper((unsigned char)*p);
	c->as = (struct talk_as){.tls = strstr(c->protocol, "SSL") != NULL,
		.sasl = strncmp(c->protocol, "SASL", 4) == 0,
		.tls_look = tls_open(&any, &ignored),
		.client_id = value_of(k, "client.id"),
		.login = {.mechanism = mechanism,
			.user = value_of(k, "sasl.username"),
			.password = value_of(k, "sasl.password")}};
	set_family(c, k);
	if (k->token_cmd && take_token(c, k->token_cmd, why))
		return -1;
	return c->as.tls ? open_tls(c, k, why) : 0;
}

static void forget(const char *secret)
{
	char *p = (char *)(uintptr_t)secret;

	if (p)
		explicit_bzero(p, strlen(p));
	free(p);
}

void check_conf_close(struct check_conf *c)
{
	if (c->as.tls_client)
		tls_free(c->as.tls_client);
	if (c->as.tls_look)
		tls_free(c->as.tls_look);
	forget(c->as.login.password);
	forget(c->as.login.token);
	free((char *)(uintptr_t)c->as.login.mechanism);
	free((char *)(uintptr_t)c->as.login.user);
	free((char *)(uintptr_t)c->as.client_id);
	free(c->bootstrap);
	free(c->protocol);
	*c = (struct check_conf){0};
}
