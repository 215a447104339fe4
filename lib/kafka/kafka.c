/* SPDX-License-Identifier: ISC */
/* DESIGN: all callbacks of librdkafka but three run in the loop's thread, when it serves a queue. The three
 * are resolve_cb, which reads what was set before the client began, and the interceptors of requests and
 * answers, which run in the broker's thread: the only way in which the C API tells that a broker is back, or
 * mute. They call lib/brokers, which has a lock, and wake the loop. */
#define _GNU_SOURCE
#include "kafka/kafka.h"

#include "kafka/brokers.h"
#include "base/buf.h"
#include "base/mem.h"
#include "base/msg.h"
#include "base/metrics.h"
#include "base/wake.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

/* --resolve: what stands for HOST:PORT. */
struct resolve {
	char *host, *port, *to, *to_port;
};

static struct {
	struct resolve *resolves;
	size_t resolve_count;
} self;

/* ---- options ---- */

void kafka_opts(struct kafka_opts *o)
{
	o->brokers = arg_str0("b", "brokers", "HOST:PORT[,...]",
		"where the cluster is first asked (default $KAFKA_BROKERS)");
	o->props = arg_strn("X", NULL, "PROP=VALUE", 0, 200, "set a librdkafka property");
	o->file = arg_file0("F", NULL, "FILE", "read properties, one PROP=VALUE a line, from FILE");
	o->resolve = arg_strn(NULL, "resolve", "HOST:PORT:ADDR[:PORT]", 0, 100,
		"connect to ADDR when HOST:PORT is meant, as in curl");
}

static bool is_own(const struct kafka_prop *own, const char *name)
{
	for (; own->name; own++)
		if (strcmp(own->name, name) == 0)
			return true;
	return false;
}

static void set_prop(rd_kafka_conf_t *conf, const char *where, const char *name, const char *value)
{
	char why[512];

	if (rd_kafka_conf_set(conf, name, value, why, sizeof(why)))
		die(EXIT_PERM, "%s: %s", where, why);
}

static char *trim(char *s)
{
	char *end = s + strlen(s);

	while (isspace((unsigned char)*s))
		s++;
	while (end > s && isspace((unsigned char)end[-1]))
		*--end = '\0';
	return s;
}

static void read_file(rd_kafka_conf_t *conf, const char *file, const struct kafka_prop *own)
{
	FILE *f = fopen(file, "re");
	char *line = NULL, where[512];
	size_t size = 0;

	if (!f)
		die(EXIT_PERM, "cannot open '%s': %s", file, strerror(errno));
	for (int n = 1; getline(&line, &size, f) >= 0; n++) {
		char *name = trim(line), *value = strchr(name, '=');

		if (!*name || *name == '#')
			continue;
		snprintf(where, sizeof(where), "%s, line %d", file, n);
		if (!value)
			die(EXIT_PERM, "%s: not of the form PROP=VALUE", where);
		*value++ = '\0';
		name = trim(name);
		/* The file may be another program's, too. */
		if (is_own(own, name))
			msg_info("%s: left out: %s sets '%s' itself", where, msg_prog(), name);
		else
			set_prop(conf, where, name, trim(value));
	}
	if (ferror(f))
		die(EXIT_PERM, "cannot read '%s': %s", file, strerror(errno));
	free(line);
	fclose(f);
}

static bool is_secret(const char *name)
{
	return strcasestr(name, "password") || strcasestr(name, "secret") ||
		strcasestr(name, ".key.pem") || strcasestr(name, "oauthbearer.config");
}

static void set_options(
	rd_kafka_conf_t *conf, const struct arg_str *props, const struct kafka_prop *own)
{
	for (int i = 0; i < props->count; i++) {
		const char *text = props->sval[i], *value = strchr(text, '=');
		char *name;

		if (!value || value == text)
			opt_bad("-X takes PROP=VALUE, not '%s'", text);
		name = strndup(text, (size_t)(value - text));
		if (!name)
			die(EXIT_TEMP, "out of memory");
		if (is_own(own, name))
			opt_bad("-X cannot set '%s': %s sets it itself", name, msg_prog());
		set_prop(conf, "-X", name, value + 1);
		/* What argtable points at is argv, which ps shows. */
		if (is_secret(name))
			memset((char *)(uintptr_t)value + 1, 'x', strlen(value + 1));
		free(name);
	}
}

/* Cuts "a:b:c" at its first colon outside brackets; takes the brackets off. NULL: nothing is left. */
static char *cut(char **rest)
{
	char *s = *rest, *end;

	if (!s)
		return NULL;
	if (*s == '[' && (end = strchr(s, ']')) && (!end[1] || end[1] == ':')) {
		*end = '\0';
		*rest = end[1] ? end + 2 : NULL;
		return s + 1;
	}
	end = strchr(s, ':');
	*rest = end ? end + 1 : NULL;
	if (end)
		*end = '\0';
	return s;
}

static int numeric(const char *host, const char *port, struct addrinfo **res)
{
	struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
		.ai_socktype = SOCK_STREAM,
		.ai_protocol = IPPROTO_TCP};

	return getaddrinfo(host, port, &hints, res);
}

static void add_resolve(const char *text)
{
	char *rest = mem_dup(text);
	struct resolve r = {.host = cut(&rest)};
	struct addrinfo *res;

	r.port = cut(&rest);
	r.to = cut(&rest);
	r.to_port = rest ? cut(&rest) : r.port;
	if (!r.to || rest || !*r.host || numeric(r.to, r.to_port, &res))
		opt_bad("--resolve takes HOST:PORT:ADDR[:PORT], ADDR being an address, not '%s'",
			text);
	freeaddrinfo(res);
	self.resolves =
		mem_realloc(self.resolves, (self.resolve_count + 1) * sizeof(*self.resolves));
	self.resolves[self.resolve_count++] = r;
}

static int on_resolve(const char *node, const char *service, const struct addrinfo *hints,
	struct addrinfo **res, void *opaque)
{
	(void)opaque;
	if (!node) {
		freeaddrinfo(*res);
		return 0;
	}
	for (size_t i = 0; i < self.resolve_count; i++) {
		struct resolve *r = &self.resolves[i];

		if (strcasecmp(r->host, node) == 0 && strcmp(r->port, service) == 0)
			return numeric(r->to, r->to_port, res);
	}
	return getaddrinfo(node, service, hints, res);
}

/* ---- what librdkafka tells ---- */

static void on_log(const rd_kafka_t *rk, int level, const char *facility, const char *text)
{
	/* FAIL comes to on_error as well; CONFWARN is of properties for the other kind of client,
	 * which a shared -F file may hold; GETPID is tried again until it works; after REQTMOUT
	 * comes FAIL. */
	static const char *const quiet[] = {"FAIL", "CONFWARN", "GETPID", "REQTMOUT", NULL};
	bool is_quiet = level > LOG_WARNING;

	(void)rk;
	for (const char *const *q = quiet; *q; q++)
		is_quiet = is_quiet || strcmp(facility, *q) == 0;
	if (is_quiet)
		msg_info("%s: %s", facility, text);
	else
		msg_warn("%s", text);
}

/* Both in the broker's thread. Of the requests before a login is done neither counts: their answers prove
 * nothing. */
static bool is_login(int16_t api)
{
	enum { SASL_HANDSHAKE = 17, API_VERSIONS = 18, SASL_AUTHENTICATE = 36 };

	return api == SASL_HANDSHAKE || api == API_VERSIONS || api == SASL_AUTHENTICATE;
}

static rd_kafka_resp_err_t on_request(rd_kafka_t *rk, int fd, const char *broker, int32_t id,
	int16_t api, int16_t version, int32_t number, size_t size, void *opaque)
{
	enum { FETCH = 1, JOIN_GROUP = 11, SYNC_GROUP = 14 };
	const struct kafka *k = opaque;

	(void)rk, (void)fd, (void)broker, (void)id, (void)version, (void)number, (void)size;
	/* A group is joined when all its members have come. */
	if (!is_login(api) && api != JOIN_GROUP && api != SYNC_GROUP)
		brokers_asked(wake_now_ms(), api == FETCH ? k->fetch_wait_ms : 0);
	return RD_KAFKA_RESP_ERR_NO_ERROR;
}

static rd_kafka_resp_err_t on_response(rd_kafka_t *rk, int fd, const char *broker, int32_t id,
	int16_t api, int16_t version, int32_t number, size_t size, int64_t rtt,
	rd_kafka_resp_err_t err, void *opaque)
{
	(void)rk, (void)fd, (void)version, (void)number, (void)size, (void)rtt, (void)opaque;
	if (!err && !is_login(api) && brokers_answered(wake_now_ms(), broker, id))
		wake_poke();
	return RD_KAFKA_RESP_ERR_NO_ERROR;
}

static rd_kafka_resp_err_t on_new(
	rd_kafka_t *rk, const rd_kafka_conf_t *conf, void *opaque, char *why, size_t why_size)
{
	rd_kafka_resp_err_t err =
		rd_kafka_interceptor_add_on_request_sent(rk, "evpipe", on_request, opaque);

	(void)conf, (void)why, (void)why_size;
	return err
		? err
		: rd_kafka_interceptor_add_on_response_received(rk, "evpipe", on_response, opaque);
}

bool kafka_tick(struct kafka *k)
{
	(void)k;
	metrics.up = brokers_tick(wake_now_ms());
	return metrics.up;
}

/* Handshakes also fail because a broker goes away; certificates and protocols do not mend
 * themselves. */
static bool is_tls_config(const char *text)
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

bool kafka_judge(struct kafka *k, rd_kafka_resp_err_t err, const char *text)
{
	bool config = kafka_is_config_error(err) ||
		(err == RD_KAFKA_RESP_ERR__SSL && is_tls_config(text));

	if (!config && err != RD_KAFKA_RESP_ERR__FATAL &&
		err != RD_KAFKA_RESP_ERR__CRIT_SYS_RESOURCE)
		return false;
	if (!k->trouble_status) {
		k->trouble_status = config ? EXIT_PERM : EXIT_TEMP;
		k->trouble = mem_dup(text);
		brokers_cut_after(k->trouble);
	}
	return true;
}

static void on_error(rd_kafka_t *rk, int code, const char *text, void *opaque)
{
	rd_kafka_resp_err_t err = (rd_kafka_resp_err_t)code;
	char why[512];

	if (err == RD_KAFKA_RESP_ERR__FATAL) {
		rd_kafka_fatal_error(rk, why, sizeof(why));
		text = why;
	}
	if (kafka_judge(opaque, err, text))
		return;
	if (err == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN) {
		brokers_all_away();
	} else {
		brokers_away(wake_now_ms(), text);
	}
	msg_info("%s: %s", rd_kafka_err2name(err), text);
}

const char *kafka_why(rd_kafka_resp_err_t err)
{
	const char *text = rd_kafka_err2str(err);

	if (strncmp(text, "Broker: ", 8) == 0)
		text += 8;
	else if (strncmp(text, "Local: ", 7) == 0)
		text += 7;
	return text;
}

/* ---- the client ---- */

const char *kafka_conf_text(const rd_kafka_conf_t *conf, const char *name)
{
	static char value[4096];
	size_t size = sizeof(value);

	if (rd_kafka_conf_get(conf, name, value, &size) || size > sizeof(value))
		return "";
	return value;
}

int64_t kafka_conf_int(const rd_kafka_conf_t *conf, const char *name)
{
	return strtoll(kafka_conf_text(conf, name), NULL, 10);
}

rd_kafka_conf_t *kafka_conf(struct kafka *k, const struct kafka_opts *o,
	const struct kafka_prop *defaults, const struct kafka_prop *own)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	const char *brokers = opt_text(o->brokers, "-b"), *file = opt_file(o->file, "-F");
	const char *env = getenv("KAFKA_BROKERS");
	char id[64];

	snprintf(id, sizeof(id), "evpipe-%s", msg_prog());
	set_prop(conf, "client.id", "client.id", id);
	set_prop(conf, "log", "log.queue", "true");
	set_prop(conf, "log", "log.thread.name", "false");
	set_prop(conf, "log", "log.connection.close", "false");
	/* Ten seconds would be long for those who wait for a last commit, or for the next record. */
	set_prop(conf, "default", "reconnect.backoff.max.ms", "2000");
	if (!brokers && env && *env)
		set_prop(conf, "$KAFKA_BROKERS", "bootstrap.servers", env);
	for (; defaults->name; defaults++)
		set_prop(conf, "default", defaults->name, defaults->value);
	if (file)
		read_file(conf, file, own);
	set_options(conf, o->props, own);
	if (brokers)
		set_prop(conf, "-b", "bootstrap.servers", brokers);
	for (; own->name; own++)
		if (own->value)
			set_prop(conf, "own", own->name, own->value);
	for (int i = 0; i < o->resolve->count; i++)
		add_resolve(o->resolve->sval[i]);
	if (!*kafka_conf_text(conf, "bootstrap.servers"))
		opt_bad("no broker is named: give -b HOST:PORT or set $KAFKA_BROKERS");

	rd_kafka_conf_set_log_cb(conf, on_log);
	rd_kafka_conf_set_error_cb(conf, on_error);
	rd_kafka_conf_set_opaque(conf, k);
	if (self.resolve_count)
		rd_kafka_conf_set_resolve_cb(conf, on_resolve);
	rd_kafka_conf_interceptor_add_on_new(conf, "evpipe", on_new, k);
	return conf;
}

/* Prodding sets the login again: right for mechanisms that know only a name and a password, and
 * without effect where there is no login. */
static void prepare_prod(struct kafka *k, const rd_kafka_conf_t *conf)
{
	const char *mechanism;

	k->sasl_user = mem_dup(kafka_conf_text(conf, "sasl.username"));
	k->sasl_password = mem_dup(kafka_conf_text(conf, "sasl.password"));
	k->full_messages = (size_t)kafka_conf_int(conf, "queued.min.messages");
	k->full_bytes = (size_t)kafka_conf_int(conf, "queued.max.messages.kbytes") * 1024;
	k->may_prod = !*kafka_conf_text(conf, "fetch.queue.backoff.ms");
	k->fetch_wait_ms = kafka_conf_int(conf, "fetch.wait.max.ms");
	if (!strcasestr(kafka_conf_text(conf, "security.protocol"), "sasl"))
		return;
	mechanism = kafka_conf_text(conf, "sasl.mechanisms");
	if (strcasecmp(mechanism, "PLAIN") && strncasecmp(mechanism, "SCRAM-", 6))
		k->may_prod = false;
}

void kafka_start(struct kafka *k, rd_kafka_type_t type, rd_kafka_conf_t *conf)
{
	char why[512];
	int fds[2];

	if (pipe2(fds, O_NONBLOCK | O_CLOEXEC))
		die(EXIT_TEMP, "cannot make a pipe: %s", strerror(errno));
	k->wake_fd = fds[0];
	k->wake_in = fds[1];
	prepare_prod(k, conf);
	k->rk = rd_kafka_new(type, conf, why, sizeof(why));
	if (!k->rk)
		die(EXIT_PERM, "cannot start librdkafka: %s", why);
	rd_kafka_set_log_queue(k->rk, NULL);
	metrics.up = 0;
	metrics.peer = "kafka";
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

void kafka_taken(struct kafka *k, size_t messages, size_t bytes, size_t left)
{
	size_t size = messages ? bytes / messages : 0, before = left + messages;

	if (!k->may_prod || !messages)
		return;
	/* The queue's bytes cannot be asked for: what is left is taken to be like what came. */
	if (before >= k->full_messages * 3 / 4 || before * size >= k->full_bytes * 3 / 4)
		k->was_full = true;
	if (!k->was_full || left > k->full_messages / 2 || left * size > k->full_bytes / 2)
		return;
	k->was_full = false;
	/* Its only effect that matters here: each broker's thread leaves its wait and decides anew
	 * what to fetch. No other call of the API that does not block does that. */
	rd_kafka_error_destroy(
		rd_kafka_sasl_set_credentials(k->rk, k->sasl_user, k->sasl_password));
}

void kafka_stop(struct kafka *k)
{
	rd_kafka_destroy_flags(k->rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
	k->rk = NULL;
}
