/* SPDX-License-Identifier: ISC */
/* A password that stands in a file may change while the client runs: the next login takes the new
 * one; a token likewise. So may certificates and keys, and the lines of --resolve: the next
 * connection takes them. */
#define _GNU_SOURCE
#include "kafka/kafka-parts.h"

#include "base/mem.h"
#include "base/msg.h"
#include "base/wake.h"
#include "kafka/tls-conf.h"
#include "net/renewal.h"

#include <stdlib.h>
#include <string.h>

enum {
	LOOK_MS = 1000, /* between two looks at the files */
	PAIR_MS = 10000, /* a certificate and its key come one after the other */
	LOGIN_MS = 10000, /* a login or a handshake that began before may fail so much later */
	STREAK_MS = 120000, /* librdkafka asks for a token again within a minute */
};

static void set_credentials(struct kafka *k)
{
	char *user = mem_dup(kafka_conf_text(&k->reach, "sasl.username"));
	char *password = mem_dup(kafka_conf_text(&k->reach, "sasl.password"));
	rd_kafka_error_t *error = rd_kafka_sasl_set_credentials(k->rk, user, password);

	/* Without a login there is nothing to set. */
	if (error)
		rd_kafka_error_destroy(error);
	explicit_bzero(password, strlen(password));
	free(password);
	free(user);
}

static void renew(struct kafka *k, int64_t now_ms, uint64_t stamp)
{
	struct trouble why = {0};
	const char *fixed;

	k->secrets_stamp = stamp;
	if (secrets_reread(&k->reach.secrets, k->reach.rd, &why)) {
		msg_warn("%s; going on with what was read before", why.text);
		return;
	}
	k->renewed_ms = now_ms;
	set_credentials(k);
	msg_info("the files of secrets were read anew");
	fixed = secrets_changed_fixed(&k->reach.secrets);
	if (fixed)
		msg_warn(
			"the file of '%s' has changed, but librdkafka keeps what it has read: start the program anew",
			fixed);
}

static int read_certs(const struct kafka *k, struct trouble *why)
{
	struct tls_config config;
	int bad;

	tls_conf_read(&config, &k->reach);
	bad = renewal_set(k->reach.secrets.certs->renewal, &config, why);
	tls_conf_free(&config);
	return bad;
}

/* Several clients share these files: the first to ask reads them for all. */
static void renew_certs(const struct kafka *k, int64_t now_ms)
{
	const char *changed = secrets_changed_cert(&k->reach.secrets);
	struct cert_files *certs = k->reach.secrets.certs;
	struct trouble why = {0};
	bool is_told;

	if (!certs)
		return;
	is_told = certs->hups != wake_hups();
	certs->hups = wake_hups();
	if (changed && certs->is_fixed) {
		msg_warn(
			"'%s' has changed, but librdkafka keeps what it has read: start the program anew before the "
			"old one expires",
			changed);
		return;
	}
	if (changed || (is_told && !certs->stale && !certs->is_fixed)) {
		certs->stale = changed ? changed : certs->list[0].file;
		certs->why_stale = changed ? "has changed" : "is read anew";
		certs->stale_ms = now_ms;
		certs->is_warned = false;
	}
	if (!certs->stale)
		return;
	if (read_certs(k, &why) == 0) {
		msg_info("'%s' %s: connections from now on use what is in it", certs->stale,
			certs->why_stale);
		certs->stale = NULL;
		certs->renewed_ms = now_ms;
	} else if (is_told || (!certs->is_warned && now_ms - certs->stale_ms >= PAIR_MS)) {
		certs->is_warned = true;
		msg_warn("'%s' %s: %s; going on with what was read before", certs->stale,
			certs->why_stale, why.text);
	}
}

static void renew_resolves(const struct kafka *k)
{
	struct trouble why = {0};
	const char *file = resolve_reread(&k->reach.resolves, &why);

	if (file)
		msg_info("'%s' was read anew", file);
	if (why.status)
		msg_warn("%s; going on with what was read before", why.text);
}

void kafka_renew(struct kafka *k, int64_t now_ms)
{
	bool is_told = wake_hups() != k->hups;
	uint64_t stamp;

	if (!is_told && now_ms < k->secrets_ms)
		return;
	k->secrets_ms = now_ms + LOOK_MS;
	k->hups = wake_hups();
	stamp = secrets_stamp(&k->reach.secrets);
	if (k->reach.secrets.count && (is_told || stamp != k->secrets_stamp))
		renew(k, now_ms, stamp);
	if (is_told && k->token.command) {
		token_anew(k->rk, &k->token);
		msg_info("--oauth-token-cmd is run anew");
	}
	renew_certs(k, now_ms);
	renew_resolves(k);
}

bool kafka_renew_certs(struct kafka *k, rd_kafka_resp_err_t err)
{
	const struct cert_files *certs = k->reach.secrets.certs;
	int64_t now_ms = wake_now_ms();

	if (err != RD_KAFKA_RESP_ERR__SSL || !certs)
		return false;
	k->secrets_ms = now_ms;
	kafka_renew(k, now_ms);
	return certs->renewed_ms && now_ms - certs->renewed_ms < LOGIN_MS;
}

static const char no_token[] = "Failed to acquire SASL OAUTHBEARER token: ";

/* There was a token, and the command fails now. */
static bool renew_token(struct kafka *k, const char *text)
{
	int64_t end_ms = k->token.end_ms;

	if (!end_ms)
		return false;
	if (strncmp(text, no_token, sizeof(no_token) - 1) == 0)
		text += sizeof(no_token) - 1;
	else if (k->token_warned_ms != end_ms)
		return false;
	if (wake_epoch_ms() >= end_ms)
		trouble_set(&k->trouble, EXIT_TEMP, "the token is over, and there is no other: %s",
			text);
	else if (k->token_warned_ms != end_ms)
		msg_warn("%s; trying again, the last token serves for %lld s more", text,
			(long long)(end_ms - wake_epoch_ms()) / 1000);
	k->token_warned_ms = end_ms;
	return true;
}

/* The same of tokens that librdkafka gets by itself. It does not tell when the last one ends: the
 * broker that refuses it does, perhaps before it is told that there is no other. */
static bool renew_own_token(struct kafka *k, const char *text)
{
	int64_t now_ms = wake_epoch_ms();

	if (strcmp(kafka_conf_text(&k->reach, "sasl.oauthbearer.method"), "oidc") != 0 ||
		!brokers_answered_ms(&k->brokers))
		return false;
	if (strncmp(text, no_token, sizeof(no_token) - 1) != 0) {
		trouble_set(&k->trouble, EXIT_TEMP, "the token is over, and there is no other: %s",
			text);
		return true;
	}
	if (now_ms - k->token_warned_ms > STREAK_MS)
		msg_warn("%s; trying again, the last token serves until it is over",
			text + sizeof(no_token) - 1);
	k->token_warned_ms = now_ms;
	return true;
}

bool kafka_renew_login(struct kafka *k, rd_kafka_resp_err_t err, const char *text)
{
	int64_t now_ms = wake_now_ms();

	if (err != RD_KAFKA_RESP_ERR__AUTHENTICATION &&
		err != RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED)
		return false;
	if (renew_token(k, text) || renew_own_token(k, text))
		return true;
	k->secrets_ms = now_ms;
	kafka_renew(k, now_ms);
	return k->renewed_ms && now_ms - k->renewed_ms < LOGIN_MS;
}
