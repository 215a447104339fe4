/* SPDX-License-Identifier: ISC */
/* DESIGN: all callbacks of librdkafka but three run in the loop's thread, when it serves a queue.
 * The three run in the threads of librdkafka's brokers: on_resolve, which reads a list that was
 * complete before the client began, and the interceptors of liveness.c, which wake the loop; what
 * they call in brokers.c has a lock. */
#define _GNU_SOURCE
#include "kafka/kafka-parts.h"

#include "base/msg.h"
#include "base/thread.h"
#include "base/wake.h"
#include "kafka/login.h"
#include "kafka/tls-conf.h"
#include "kafka/token.h"
#include "net/renewal.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

/* librdkafka 2.0.2 waits for ever for partitions of a topic that was deleted meanwhile. */
enum { STOP_MS = 2000, TICK_MS = 1000 };

/* Of group.protocol=consumer (KIP-848); librdkafka has it from 2.4 on. */
#define UNRELEASED_INSTANCE_ID ((rd_kafka_resp_err_t)111)

/* ---- callbacks and verdicts ---- */

static int on_resolve(const char *node, const char *service, const struct addrinfo *hints,
	struct addrinfo **res, void *opaque)
{
	struct kafka *k = opaque;
	int addresses = 0, error;

	/* librdkafka frees through the same callback. */
	if (!node) {
		freeaddrinfo(*res);
		return 0;
	}
	brokers_tried(&k->brokers, wake_now_ms(), node, service);
	error = resolve_ask(&k->reach.resolves, node, service, hints, res);
	for (const struct addrinfo *a = error ? NULL : *res; a; a = a->ai_next)
		addresses++;
	brokers_resolved(&k->brokers, node, service, addresses);
	return error;
}

static void on_log(const rd_kafka_t *rk, int level, const char *facility, const char *text)
{
	struct kafka *k = rd_kafka_opaque(rk);
	/* FAIL and FATAL come to on_error as well. CONFWARN names a property for the other kind of
	 * client, which a shared -F file may hold. After GETPID librdkafka tries again until it
	 * works. FAIL follows REQTMOUT. OFFSET tells of a consumer's positions, which the program
	 * tells better. What has failed a transaction, TXNERR, the next call of a function
	 * tells. */
	static const char *const quiet[] = {"FAIL", "FATAL", "CONFWARN", "GETPID", "REQTMOUT",
		"OFFSET", "TXNERR", "ADDOFFSETS", NULL};
	bool is_quiet = level > LOG_WARNING;

	if (level == LOG_DEBUG && k->own_debug) {
		if (k->refusal && strcmp(facility, "MSGSET") == 0)
			kafka_read_refusal(k, text, "]: MessageSet with ", " encountered error: ");
		if (k->refusal && strcmp(facility, "BROKERUA") == 0)
			kafka_read_refusal(k, text, "]: broker unavailable: ", " fetch: ");
		return;
	}
	if (strcmp(facility, "SESSTMOUT") == 0)
		k->session_was_over = true;
	/* Of a server that is no broker, a hundred times a second. A diagnosis tells. */
	if (strcmp(facility, "METADATA") == 0 && strstr(text, "feature not supported")) {
		kafka_outage_begins(k);
		return;
	}
	/* Nor does a controller take records, though it answers other questions. */
	if (strstr(text, "No viable ProduceRequest ApiVersions")) {
		brokers_all_away(&k->brokers);
		k->up = false;
		kafka_outage_begins(k);
		return;
	}
	/* "a client must not be simultaneously connected to multiple clusters" */
	if (strcmp(facility, "CLUSTERID") == 0) {
		kafka_doubts(k);
		is_quiet = true;
	}
	/* The error that follows is a warning while the last token serves. */
	if (strcmp(facility, "OIDC") == 0 && brokers_answered_ms(&k->brokers))
		is_quiet = true;
	for (const char *const *q = quiet; *q; q++)
		is_quiet = is_quiet || strcmp(facility, *q) == 0;
	if (is_quiet)
		msg_info("%s: %s", facility, text);
	else
		msg_warn("%s", text);
}

bool kafka_is_tls_config(const char *text)
{
	return strcasestr(text, "certificate") || strcasestr(text, "verify failed") ||
		strcasestr(text, "wrong version") || strcasestr(text, "unsupported protocol") ||
		strcasestr(text, "alert");
}

bool kafka_is_config_error(rd_kafka_resp_err_t err)
{
	switch (err) {
	case RD_KAFKA_RESP_ERR__AUTHENTICATION:
	case RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED:
	case RD_KAFKA_RESP_ERR_UNSUPPORTED_SASL_MECHANISM:
	case RD_KAFKA_RESP_ERR_ILLEGAL_SASL_STATE:
	case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
	case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
	case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
	case RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
	case RD_KAFKA_RESP_ERR_DELEGATION_TOKEN_AUTHORIZATION_FAILED:
	case RD_KAFKA_RESP_ERR_SECURITY_DISABLED:
	case RD_KAFKA_RESP_ERR_INCONSISTENT_GROUP_PROTOCOL:
	case RD_KAFKA_RESP_ERR_INVALID_SESSION_TIMEOUT:
	case RD_KAFKA_RESP_ERR_INVALID_GROUP_ID:
		return true;
	default:
		return false;
	}
}

/* Two processes that both came back would take each other's place for ever. One of them has been
 * assigned partitions by then. */
static bool judge_fenced(struct kafka *k, rd_kafka_resp_err_t err)
{
	char id[256] = "", why[512];
	size_t size = sizeof(id);

	if (err == RD_KAFKA_RESP_ERR__FATAL && k->rk)
		err = rd_kafka_fatal_error(k->rk, why, sizeof(why));
	if ((err != RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID && err != UNRELEASED_INSTANCE_ID) ||
		!k->rk)
		return false;
	rd_kafka_conf_get(rd_kafka_conf(k->rk), "group.instance.id", id, &size);
	if (err == UNRELEASED_INSTANCE_ID)
		trouble_set(&k->trouble, EXIT_TEMP,
			"group.instance.id '%s' is still a member's: of a process that was killed, until its session is over (group.consumer.session.timeout.ms at the broker), or of another process, and each needs one of its own",
			id);
	/* A broker that comes back may take a request of this process from before for another's. */
	else if (k->session_was_over)
		trouble_set(&k->trouble, EXIT_TEMP,
			"the session was over, and group.instance.id '%s' is taken: by an older request of this process, or by another one",
			id);
	else if (!k->was_assigned)
		trouble_set(&k->trouble, EXIT_TEMP,
			"group.instance.id '%s' was taken before the group gave out partitions: by an older request of a process that has ended, or by another process, which needs one of its own",
			id);
	else
		trouble_set(&k->trouble, EXIT_PERM,
			"another process runs with group.instance.id '%s': each needs one of its own",
			id);
	return true;
}

/* Up to 2.6.0 librdkafka puts its own nonce before the broker's, which begins with it already.
 * Kafka 4 refuses that as it refuses a wrong password. */
static const char *scram_hint(const char *text)
{
	static char hint[160];

	if (rd_kafka_version() >= 0x020601ff || !strstr(text, "SCRAM"))
		return "";
	snprintf(hint, sizeof(hint),
		"; with any password if the broker is Kafka 4: librdkafka %s errs at SCRAM's nonce, 2.6.1 does not",
		rd_kafka_version_str());
	return hint;
}

/* The remedy that kcheck knows. A command that fails to print a token says itself why. */
static const char *login_hint(struct kafka *k, const char *text)
{
	return strstr(text, "SASL authentication error")
		? login_remedy(kafka_conf_text(&k->reach, "sasl.mechanisms"))
		: "";
}

const char *kafka_acl(struct kafka *k, const char *operation, const char *kind, const char *name)
{
	static char text[512];
	const char *user = kafka_conf_text(&k->reach, "sasl.username");

	snprintf(text, sizeof(text),
		"kafka-acls.sh --add --allow-principal User:%.99s --operation %s --%s %s",
		*user ? user : "NAME", operation, kind, name);
	return text;
}

/* The right that is missing. A sentence that names it already is left alone. */
static const char *acl_hint(struct kafka *k, rd_kafka_resp_err_t err, const char *text)
{
	bool writes = k->rk && rd_kafka_type(k->rk) == RD_KAFKA_PRODUCER;
	const char *topic = strstr(text, "topic '");
	char name[256] = "";

	if (strstr(text, "kafka-acls.sh"))
		return "";
	if (err == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED && topic) {
		topic += strlen("topic '");
		snprintf(name, sizeof(name), "%.*s", (int)strcspn(topic, "'"), topic);
		return kafka_acl(k, writes ? "Write" : "Read", "topic", name);
	}
	if (err != RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED)
		return "";
	snprintf(name, sizeof(name), "%s", kafka_conf_text(&k->reach, "group.id"));
	return kafka_acl(k, "Read", "group", name);
}

bool kafka_judge(struct kafka *k, rd_kafka_resp_err_t err, const char *text)
{
	bool config = kafka_is_config_error(err) ||
		(err == RD_KAFKA_RESP_ERR__SSL && kafka_is_tls_config(text));
	/* It would try for ever to make a socket. */
	bool limit = msg_tells_limit(text);
	const char *hint = "", *remedy = "";
	char cause[800];

	if (judge_fenced(k, err) ||
		(err == RD_KAFKA_RESP_ERR__FATAL && kafka_outage_holds(k, err, text)))
		return true;
	/* Of a question that fails for the login; on_error is told which broker's, and why. */
	if (err == RD_KAFKA_RESP_ERR__AUTHENTICATION && strcmp(text, kafka_why(err)) == 0)
		return false;
	if (err == RD_KAFKA_RESP_ERR__TIMED_OUT)
		kafka_misses(k);
	if (!config && !limit && err != RD_KAFKA_RESP_ERR__FATAL &&
		err != RD_KAFKA_RESP_ERR__CRIT_SYS_RESOURCE)
		return false;
	snprintf(cause, sizeof(cause), "%s", text);
	brokers_cut_after(cause);
	if (config) {
		hint = scram_hint(text);
		remedy = login_hint(k, text);
		if (!*remedy)
			remedy = acl_hint(k, err, text);
	} else if (limit) {
		hint = msg_limit_remedy(text);
	}
	trouble_set(&k->trouble, config ? EXIT_PERM : EXIT_TEMP, "%s%s%s%s", cause, hint,
		*remedy ? "; " : "", remedy);
	return true;
}

static void on_error(rd_kafka_t *rk, int code, const char *text, void *opaque)
{
	rd_kafka_resp_err_t err =
		kafka_login_cut(text) ? RD_KAFKA_RESP_ERR__TRANSPORT : (rd_kafka_resp_err_t)code;
	struct kafka *k = opaque;
	char why[512];

	if (err == RD_KAFKA_RESP_ERR__FATAL) {
		rd_kafka_fatal_error(rk, why, sizeof(why));
		text = why;
	}
	if (kafka_renew_certs(k, err) || kafka_outage_holds(k, err, text) ||
		kafka_renew_login(k, err, text) || !kafka_judge(k, err, text))
		kafka_outage_begins(k);
	if (k->held.status || k->trouble.status)
		return;
	if (k->refusal && err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
		kafka_read_refusal(k, text, "]: topic does not exist", "]: ");
	if (err == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN)
		brokers_all_away(&k->brokers);
	else
		brokers_away(&k->brokers, wake_now_ms(), text);
	msg_info("%s: %s", rd_kafka_err2name(err), text);
}

void kafka_take_event(struct kafka *k, rd_kafka_event_t *event)
{
	const char *facility, *text;
	int level;

	if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_ERROR)
		on_error(k->rk,
			rd_kafka_event_error_is_fatal(event) ? RD_KAFKA_RESP_ERR__FATAL
							     : rd_kafka_event_error(event),
			rd_kafka_event_error_string(event), k);
	else if (rd_kafka_event_log(event, &facility, &text, &level) == 0)
		on_log(k->rk, level, facility, text);
}

/* ---- the client ---- */

/* Makes librdkafka's part, with all callbacks to @k. */
static rd_kafka_t *make(
	struct kafka *k, rd_kafka_type_t type, rd_kafka_conf_t *conf, char *why, size_t why_size)
{
	struct cert_files *certs = k->reach.secrets.certs;
	rd_kafka_t *rk;

	rd_kafka_conf_set_log_cb(conf, on_log);
	rd_kafka_conf_set_error_cb(conf, on_error);
	rd_kafka_conf_set_opaque(conf, k);
	rd_kafka_conf_set_resolve_cb(conf, on_resolve);
	if (k->reach.token_cmd)
		token_prepare(conf);
	liveness_watch(&k->liveness, conf);
	if (certs)
		renewal_begin(certs->renewal);
	/* On failure @conf would be ours to destroy, but librdkafka (2.0.2) has freed the
	 * interceptors in it and would free them again. So those few kilobytes are lost. */
	rk = rd_kafka_new(type, conf, why, why_size);
	if (certs && !renewal_end(certs->renewal))
		certs->is_fixed = true;
	return rk;
}

struct token_source *token_source_of(void *opaque)
{
	struct kafka *k = opaque;

	return &k->token;
}

static void release(struct kafka *k)
{
	close(k->wake_fd);
	close(k->wake_in);
	diagnosis_drop(k->diagnosis);
	rd_kafka_conf_destroy(k->reach.rd);
	token_forget(k->reach.token);
	token_source_close(&k->token);
	brokers_close(&k->brokers);
	fetchers_close(&k->fetchers);
}

int kafka_start(struct kafka *k, rd_kafka_type_t type, struct kafka_conf *c, struct trouble *why)
{
	char text[400];
	int fds[2];

	*k = (struct kafka){.reach = {.resolves = c->resolves,
				    .secrets = c->secrets,
				    .has_mechanism = c->has_mechanism,
				    .token_cmd = c->token_cmd},
		.token = {.command = c->token_cmd},
		.secrets_stamp = secrets_stamp(&c->secrets),
		.hups = wake_hups(),
		.has_coordinator = *kafka_conf_text(
			c, type == RD_KAFKA_PRODUCER ? "transactional.id" : "group.id"),
		.told_resolves = true,
		.diagnose_ms = wake_now_ms() + KAFKA_UNANSWERED_MS};
	k->own_debug = !*kafka_conf_text(c, "debug");
	if (k->own_debug)
		rd_kafka_conf_set(
			c->rd, "debug", type == RD_KAFKA_PRODUCER ? "msg" : "topic", NULL, 0);
	if (pipe2(fds, O_NONBLOCK | O_CLOEXEC))
		return trouble_set(why, EXIT_TEMP, "cannot make a pipe: %s", msg_errno(errno));
	k->wake_fd = fds[0];
	k->wake_in = fds[1];
	brokers_open(&k->brokers);
	fetchers_open(&k->fetchers, c);
	k->liveness = (struct liveness){.brokers = &k->brokers,
		.fetch_wait_ms = kafka_conf_int(c, "fetch.wait.max.ms"),
		.wake_fd = k->wake_in};
	/* It may have been made long ago. What cannot be read any more stays as it was. */
	secrets_reread(&c->secrets, c->rd, &(struct trouble){0});
	k->reach.rd = rd_kafka_conf_dup(c->rd);
	k->rk = make(k, type, c->rd, text, sizeof(text));
	c->rd = NULL;
	if (!k->rk) {
		/* The default mechanism, GSSAPI, wants more properties, or another build. */
		if (kafka_conf_lacks_mechanism(&k->reach))
			diagnosis_mechanism(&k->reach, why);
		else if (tls_conf_try(&k->reach, true, why) == 0)
			trouble_set(why, EXIT_PERM, "cannot start librdkafka: %s", text);
		release(k);
		return -1;
	}
	if (k->reach.token_cmd)
		token_start(k->rk);
	if (k->own_debug)
		rd_kafka_set_log_level(k->rk, LOG_INFO);
	rd_kafka_set_log_queue(k->rk, NULL);
	return 0;
}

static void *destroy(void *rk)
{
	rd_kafka_destroy_flags(rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
	return NULL;
}

void kafka_stop(struct kafka *k)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, destroy, k->rk)) {
		destroy(k->rk);
	} else if (!thread_join(thread, STOP_MS)) {
		msg_info("librdkafka does not end; leaving it");
		return;
	}
	k->rk = NULL;
	release(k);
}

void kafka_end(struct kafka *k)
{
	k->ends = pthread_create(&k->ender, NULL, destroy, k->rk) == 0;
	if (!k->ends)
		destroy(k->rk);
}

bool kafka_has_ended(struct kafka *k)
{
	if (k->ends && pthread_tryjoin_np(k->ender, NULL))
		return false;
	k->rk = NULL;
	release(k);
	return true;
}

bool kafka_tick(struct kafka *k)
{
	int64_t now_ms = wake_now_ms();

	kafka_renew(k, now_ms);
	kafka_outage_tick(k, now_ms);
	if (k->liveness.lacks && !k->trouble.status)
		trouble_set(&k->trouble, EXIT_TEMP, "cannot make a connection to each broker: %s",
			msg_errno(k->liveness.lacks));
	/* One sentence, and the better one: what ends the client is told with the remedy. */
	brokers_await(&k->brokers, k->diagnosis || k->held.status || k->trouble.status);
	k->up = brokers_tick(&k->brokers, now_ms);
	k->tick_ms = now_ms + TICK_MS;
	if (kafka_outage_next_ms(k) < k->tick_ms)
		k->tick_ms = kafka_outage_next_ms(k);
	if (brokers_next_ms(&k->brokers) < k->tick_ms)
		k->tick_ms = brokers_next_ms(&k->brokers);
	return k->up;
}

int kafka_timeout_ms(const struct kafka *k, int64_t now_ms)
{
	return k->tick_ms <= now_ms ? 0 : (int)(k->tick_ms - now_ms);
}

bool kafka_put_away(struct kafka *k, struct buf *text)
{
	if (k->up)
		return false;
	brokers_put_away(&k->brokers, text);
	return true;
}

void kafka_wake_on(struct kafka *k, rd_kafka_queue_t *q)
{
	rd_kafka_queue_io_event_enable(q, k->wake_in, "", 1);
}

void kafka_woken(struct kafka *k)
{
	char bytes[64];

	while (read(k->wake_fd, bytes, sizeof(bytes)) > 0)
		;
}

void kafka_on_refusal(struct kafka *k, kafka_refusal_fn *fn, void *ctx)
{
	k->refusal = fn;
	k->refusal_ctx = ctx;
}

void kafka_tell_refusals(struct kafka *k, bool on)
{
	if (k->own_debug && on != k->tells_refusals)
		rd_kafka_set_log_level(k->rk, on ? LOG_DEBUG : LOG_INFO);
	k->tells_refusals = on;
}

const char *kafka_library(void)
{
	static char text[64];

	snprintf(text, sizeof(text), "librdkafka %s", rd_kafka_version_str());
	return text;
}
