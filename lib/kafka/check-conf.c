/* SPDX-License-Identifier: ISC */
/* What librdkafka's properties mean to a conversation of our own. */
#define _GNU_SOURCE
#include "kafka/check.h"

#include "base/mem.h"
#include "base/msg.h"
#include "kafka/conf.h"
#include "kafka/tls-conf.h"
#include "kafka/token.h"

#include <ctype.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/socket.h>

static bool is(const struct kafka_conf *k, const char *name, const char *text)
{
	char *value = kafka_conf_copy(k, name);
	bool same = value && strcasecmp(value, text) == 0;

	free(value);
	return same;
}

static int open_tls(struct check_conf *c, const struct kafka_conf *k, struct trouble *why)
{
	struct tls_config t;

	tls_conf_read(&t, k);
	t.any_cert = true;
	c->has_cert = t.cert_file || t.cert_pem || t.keystore_file;
	c->as.any_cert = is(k, "enable.ssl.certificate.verification", "false");
	c->as.tls_client = tls_open(&t, why);
	tls_conf_free(&t);
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
	static const struct tls_config any = {.any_cert = true, .any_host = true, .no_trust = true};
	struct trouble ignored = {0};
	char *mechanism = kafka_conf_copy(k, "sasl.mechanisms");

	*c = (struct check_conf){.bootstrap = kafka_conf_copy(k, "bootstrap.servers"),
		.protocol = kafka_conf_copy(k, "security.protocol"),
		.lacks_mechanism = kafka_conf_lacks_mechanism(k),
		.resolves = &k->resolves};
	for (char *p = c->protocol; *p; p++)
		*p = (char)toupper((unsigned char)*p);
	c->as = (struct talk_as){.tls = strstr(c->protocol, "SSL") != NULL,
		.sasl = strncmp(c->protocol, "SASL", 4) == 0,
		.tls_look = tls_open(&any, &ignored),
		.client_id = kafka_conf_copy(k, "client.id"),
		.login = {.mechanism = mechanism,
			.user = kafka_conf_copy(k, "sasl.username"),
			.password = kafka_conf_copy(k, "sasl.password")}};
	set_family(c, k);
	if (k->token)
		c->as.login.token = mem_dup(k->token);
	else if (k->token_cmd && take_token(c, k->token_cmd, why))
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
