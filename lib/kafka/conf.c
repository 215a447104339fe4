/* SPDX-License-Identifier: ISC */
#define _GNU_SOURCE
#include "kafka/conf.h"

#include "base/mem.h"
#include "base/msg.h"
#include "base/wake.h"
#include "kafka/bootstrap.h"
#include "kafka/tls-conf.h"
#include "net/tls.h"

#include <ctype.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

void kafka_opts(struct kafka_opts *o)
{
	o->brokers = arg_str0("b", "brokers", "HOST:PORT[,...]",
		"where the cluster is first asked (default $KAFKA_BROKERS)");
	o->props = opt_many("X", NULL, "PROP=VALUE", 0, "set a librdkafka property");
	o->file = arg_file0("F", NULL, "FILE", "read properties, one PROP=VALUE a line, from FILE");
	o->resolve = opt_many(NULL, "resolve", "HOST:PORT:ADDR[:PORT]", 0,
		"connect to ADDR when HOST:PORT is meant, as in curl; @FILE has such lines");
	o->token_cmd = arg_str0(NULL, "oauth-token-cmd", "CMD",
		"a command that prints the token of a login by OAUTHBEARER");
}

void kafka_check_name(const char *name, const char *option)
{
	if (!*name)
		opt_bad("%s takes a name that is not empty", option);
	/* Kafka's strings have a length of 15 bits; librdkafka would send no such name. */
	if (strlen(name) > INT16_MAX)
		opt_bad("%s: a name has at most %d bytes", option, INT16_MAX);
}

const char *kafka_opt_name(const struct arg_str *a, const char *option)
{
	const char *name = opt_text(a, option);

	if (name && isspace((unsigned char)*name))
		opt_bad("%s: a name must not begin with white space, which librdkafka leaves out",
			option);
	if (name)
		kafka_check_name(name, option);
	return name;
}

/* ---- properties ---- */

/* The program's own property of that name, or NULL. */
static const struct kafka_prop *find_own(const struct kafka_prop *own, const char *name)
{
	for (; own->name; own++)
		if (strcmp(own->name, name) == 0)
			return own;
	return NULL;
}

static int set_default(struct kafka_conf *c, const struct kafka_prop *p, struct trouble *why)
{
	char text[400];
	rd_kafka_conf_res_t res = RD_KAFKA_CONF_OK;

	if (p->value)
		res = rd_kafka_conf_set(c->rd, p->name, p->value, text, sizeof(text));
	if (res == RD_KAFKA_CONF_INVALID)
		return trouble_set(why, EXIT_PERM, "default: %s", text);
	return 0;
}

/* The value of a secret may stand in a file: @FILE; "@@" is one '@'. */
static int set_prop(struct kafka_conf *c, const char *where, const char *name, const char *value,
	struct trouble *why)
{
	char text[400], *secret = NULL;
	int bad = 0;

	if (*value == '@' && strcmp(name, "ssl.key.pem") == 0)
		return trouble_set(why, EXIT_PERM,
			"%s: 'ssl.key.pem' takes the key itself; 'ssl.key.location' takes its file",
			where);
	if (*value == '@' && opt_is_secret(name)) {
		secret = value[1] == '@' ? mem_dup(value + 1) : secrets_read(where, value + 1, why);
		if (!secret)
			return -1;
		if (value[1] != '@')
			secrets_add(&c->secrets, name, value + 1);
		value = secret;
	}
	if (strcmp(name, "sasl.mechanisms") == 0 || strcmp(name, "sasl.mechanism") == 0)
		c->has_mechanism = true;
	if (rd_kafka_conf_set(c->rd, name, value, text, sizeof(text)))
		bad = trouble_set(why, EXIT_PERM, "%s: %s%s%s", where, text,
			strcmp(name, "group.protocol") ? ""
						       : "; it needs librdkafka 2.4, and this is ",
			strcmp(name, "group.protocol") ? "" : rd_kafka_version_str());
	if (secret)
		explicit_bzero(secret, strlen(secret));
	free(secret);
	return bad;
}

static int set_props(struct kafka_conf *c, const char *where, const struct kafka_prop *props,
	struct trouble *why)
{
	for (; props->name; props++)
		if (props->value && set_prop(c, where, props->name, props->value, why))
			return -1;
	return 0;
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

static int take_line(struct kafka_conf *c, const char *where, char *line,
	const struct kafka_prop *own, struct trouble *why)
{
	char *name = trim(line), *value = strchr(name, '=');
	const struct kafka_prop *o;

	if (!*name || *name == '#')
		return 0;
	if (!value)
		return trouble_set(why, EXIT_PERM, "%s: not of the form PROP=VALUE", where);
	*value++ = '\0';
	name = trim(name);
	value = trim(value);
	o = find_own(own, name);
	if (!o)
		return set_prop(c, where, name, value, why);
	/* The file may be another program's, too. */
	if (!o->value || strcmp(o->value, value))
		msg_warn("%s: left out: %s sets '%s' itself", where, msg_prog(), name);
	return 0;
}

static int read_file(
	struct kafka_conf *c, const char *file, const struct kafka_prop *own, struct trouble *why)
{
	FILE *f = fopen(file, "re");
	char *line = NULL, where[400];
	size_t size = 0;
	int bad = 0;

	if (!f)
		return trouble_set(why, msg_errno_status(errno), "cannot open '%s': %s", file,
			msg_errno(errno));
	for (int n = 1; !bad && getline(&line, &size, f) >= 0; n++) {
		snprintf(where, sizeof(where), "%s, line %d", file, n);
		bad = take_line(c, where, line, own, why);
	}
	if (ferror(f))
		bad = trouble_set(why, EXIT_PERM, "cannot read '%s': %s", file, msg_errno(errno));
	free(line);
	fclose(f);
	return bad;
}

/* ---- options ---- */

/* A wrong option, as opt_bad says it. */
#define BAD_OPTION(why, fmt, ...)                                                                  \
	trouble_set(why, EXIT_PERM, fmt "; try '%s --help'", __VA_ARGS__, msg_prog())

/* -X. */
static int set_option(
	struct kafka_conf *c, const char *text, const struct kafka_prop *own, struct trouble *why)
{
	const char *value = strchr(text, '=');
	char *name;
	int bad;

	if (strcmp(text, "dump") == 0) {
		c->dumps = true;
		return 0;
	}
	if (!value || value == text)
		return BAD_OPTION(why, "-X takes PROP=VALUE, not '%s'", text);
	name = mem_printf("%.*s", (int)(value - text), text);
	if (find_own(own, name))
		bad = BAD_OPTION(why, "-X cannot set '%s': %s sets it itself", name, msg_prog());
	else
		bad = set_prop(c, "-X", name, value + 1, why);
	/* argtable's text is that of argv, which ps shows. */
	if (opt_is_secret(name) && value[1] != '@')
		memset((char *)(uintptr_t)value + 1, 'x', strlen(value + 1));
	free(name);
	return bad;
}

/* ---- all of it ---- */

const char *kafka_conf_text(const struct kafka_conf *c, const char *name)
{
	static char value[4096];
	size_t size = sizeof(value);

	if (rd_kafka_conf_get(c->rd, name, value, &size) || size > sizeof(value))
		return "";
	return value;
}

char *kafka_conf_copy(const struct kafka_conf *c, const char *name)
{
	size_t size = 0;
	char *value;

	if (rd_kafka_conf_get(c->rd, name, NULL, &size) || size <= 1)
		return NULL;
	value = mem_alloc(size);
	if (rd_kafka_conf_get(c->rd, name, value, &size) || !*value) {
		free(value);
		return NULL;
	}
	return value;
}

int64_t kafka_conf_int(const struct kafka_conf *c, const char *name)
{
	return strtoll(kafka_conf_text(c, name), NULL, 10);
}

bool kafka_conf_lacks_mechanism(const struct kafka_conf *c)
{
	return !c->has_mechanism && strcmp(kafka_conf_text(c, "sasl.mechanisms"), "GSSAPI") == 0 &&
		strncasecmp(kafka_conf_text(c, "security.protocol"), "sasl", 4) == 0;
}

/* A middle box forgets a connection that is quiet for some minutes, and says nothing: so none is
 * quiet for longer than one. Linux's own default is two hours. */
static int open_socket(int domain, int type, int protocol, void *opaque)
{
	static const int idle_s = 60, between_s = 10, probes = 3;
	int fd = socket(domain, type | SOCK_CLOEXEC, protocol);

	(void)opaque;
	if (fd >= 0) {
		setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
		setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &between_s, sizeof(between_s));
		setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
	}
	return fd;
}

/* Defaults of all programs; -F and -X overrule them. */
static int set_common(struct kafka_conf *c, struct trouble *why)
{
	char id[64];
	const struct kafka_prop common[] = {
		{"client.id", id},
		{"log.queue", "true"},
		{"log.thread.name", "false"},
		{"log.connection.close", "false"},
		/* Ten seconds would be long for a reader that waits for a last commit or the next
		 * record. */
		{"reconnect.backoff.max.ms", "2000"},
		{"socket.keepalive.enable", "true"},
		{0},
	};

	snprintf(id, sizeof(id), "evpipe-%s", msg_prog());
	rd_kafka_conf_set_socket_cb(c->rd, open_socket);
	return set_props(c, "default", common, why);
}

/* The mechanism is clear then, unless -X or -F names another. */
static int take_token(struct kafka_conf *c, const struct kafka_opts *o, struct trouble *why)
{
	const char *command = o->token_cmd->count ? o->token_cmd->sval[0] : NULL;
	const char *mechanism = kafka_conf_text(c, "sasl.mechanisms");

	if (!command)
		return 0;
	if (!*command)
		return BAD_OPTION(why, "%s takes a command that is not empty", "--oauth-token-cmd");
	/* GSSAPI is librdkafka's default. */
	if (strcmp(mechanism, "GSSAPI") == 0)
		return set_prop(c, "own", "sasl.mechanisms", "OAUTHBEARER", why);
	if (strcasecmp(mechanism, "OAUTHBEARER") != 0)
		return BAD_OPTION(why,
			"--oauth-token-cmd is for OAUTHBEARER, not for sasl.mechanisms=%s",
			mechanism);
	return 0;
}

static void take_protocol(const char *text, bool *is_new)
{
	char value[16];

	if (sscanf(text, " group.protocol = %15[a-zA-Z]", value) == 1)
		*is_new = strcasecmp(value, "consumer") == 0;
}

/* Whether -F or -X asks for the group protocol in which brokers say what is_of_classic is
 * (KIP-848): librdkafka refuses both. */
static bool asks_new_protocol(const struct kafka_opts *o)
{
	FILE *f = o->file->count ? fopen(o->file->filename[0], "re") : NULL;
	bool is_new = false;
	char *line = NULL;
	size_t size = 0;

	while (f && getline(&line, &size, f) >= 0)
		take_protocol(line, &is_new);
	if (f)
		fclose(f);
	free(line);
	for (int i = 0; i < o->props->count; i++)
		take_protocol(o->props->sval[i], &is_new);
	return is_new;
}

static bool is_of_classic(const char *name)
{
	return strcmp(name, "session.timeout.ms") == 0 ||
		strcmp(name, "heartbeat.interval.ms") == 0;
}

static int check_bootstrap(const struct kafka_conf *c, struct trouble *why)
{
	char *list = kafka_conf_copy(c, "bootstrap.servers");
	char *protocol = kafka_conf_copy(c, "security.protocol");
	int count = list ? bootstrap_check(list, protocol, why) : 0;

	free(list);
	free(protocol);
	if (count == 0)
		return BAD_OPTION(
			why, "no broker is named: give -b HOST:PORT or set %s", "$KAFKA_BROKERS");
	return count < 0 ? -1 : 0;
}

static int set_all(struct kafka_conf *c, const struct kafka_opts *o,
	const struct kafka_prop *defaults, const struct kafka_prop *own, struct trouble *why)
{
	const char *brokers = o->brokers->count ? o->brokers->sval[0] : NULL;
	const char *file = o->file->count ? o->file->filename[0] : NULL;
	const char *env = getenv("KAFKA_BROKERS");
	bool is_new = asks_new_protocol(o);

	if (brokers && !*brokers)
		return BAD_OPTION(why, "%s takes a value that is not empty", "-b");
	if (file && !*file)
		return BAD_OPTION(why, "%s takes a file name that is not empty", "-F");
	if (set_common(c, why))
		return -1;
	if (!brokers && env && *env && set_prop(c, "$KAFKA_BROKERS", "bootstrap.servers", env, why))
		return -1;
	for (; defaults->name; defaults++)
		if (!(is_new && is_of_classic(defaults->name)) && set_default(c, defaults, why))
			return -1;
	if (file && read_file(c, file, own, why))
		return -1;
	for (int i = 0; i < o->props->count; i++)
		if (set_option(c, o->props->sval[i], own, why))
			return -1;
	if (brokers && set_prop(c, "-b", "bootstrap.servers", brokers, why))
		return -1;
	if (set_props(c, "own", own, why))
		return -1;
	for (int i = 0; i < o->resolve->count; i++)
		if (resolve_add(&c->resolves, o->resolve->sval[i], why))
			return -1;
	if (take_token(c, o, why))
		return -1;
	return check_bootstrap(c, why);
}

/* -X dump: what librdkafka holds for a secret it prints as "[redacted]". */
static void dump(const struct kafka_conf *c)
{
	size_t count;
	const char **all = rd_kafka_conf_dump(c->rd, &count);

	for (size_t i = 0; i + 1 < count; i += 2)
		printf("%s = %s\n", all[i], opt_is_secret(all[i]) ? "[redacted]" : all[i + 1]);
	rd_kafka_conf_dump_free(all, count);
}

int kafka_conf_open(struct kafka_conf *c, const struct kafka_opts *o,
	const struct kafka_prop *defaults, const struct kafka_prop *own, struct trouble *why)
{
	tls_outlive();
	*c = (struct kafka_conf){.rd = rd_kafka_conf_new(),
		.token_cmd = o->token_cmd->count ? o->token_cmd->sval[0] : NULL};
	if (set_all(c, o, defaults, own, why) == 0 && !c->dumps &&
		tls_conf_try(c, false, why) == 0) {
		secrets_add_certs(&c->secrets, c->rd);
		if (c->secrets.count || c->token_cmd || c->resolves.files ||
			(c->secrets.certs && c->secrets.certs->at_hup))
			wake_hup_reloads();
		return 0;
	}
	if (c->dumps && !why->status) {
		dump(c);
		if (fflush(stdout))
			trouble_set(why, EXIT_TEMP, "cannot write standard output: %s",
				msg_errno(errno));
	}
	rd_kafka_conf_destroy(c->rd);
	c->rd = NULL;
	return -1;
}

/* What says how to reach a cluster, and not what to do there. */
static bool is_of_reach(const char *name)
{
	static const char *const begin[] = {"metadata.broker.list", "security.", "sasl.", "ssl.",
		"enable.sasl.", "enable.ssl.", "broker.", "socket.", "client.dns."};

	for (size_t i = 0; i < sizeof(begin) / sizeof(*begin); i++)
		if (strncmp(name, begin[i], strlen(begin[i])) == 0)
			return true;
	return false;
}

static void copy_reach(struct kafka_conf *c, const struct kafka_conf *base)
{
	size_t count;
	const char **all = rd_kafka_conf_dump(base->rd, &count);

	for (size_t i = 0; i + 1 < count; i += 2) {
		char *value = mem_dup(kafka_conf_text(base, all[i]));

		/* Some defaults are refused by a library that was built without what they are
		 * for. */
		if (is_of_reach(all[i]) && strcmp(value, kafka_conf_text(c, all[i])))
			rd_kafka_conf_set(c->rd, all[i], value, NULL, 0);
		explicit_bzero(value, strlen(value));
		free(value);
	}
	rd_kafka_conf_dump_free(all, count);
}

int kafka_conf_other(struct kafka_conf *c, const struct kafka_conf *base, const char *brokers,
	const char *file, struct trouble *why)
{
	static const struct kafka_prop none = {0};

	*c = (struct kafka_conf){.rd = rd_kafka_conf_new(),
		.resolves = base->resolves,
		.has_mechanism = !file && base->has_mechanism};
	if (!file) {
		c->token_cmd = base->token_cmd;
		c->secrets = base->secrets;
		copy_reach(c, base);
	}
	if (set_common(c, why) || (file && read_file(c, file, &none, why)) ||
		(brokers && set_prop(c, "--old", "bootstrap.servers", brokers, why)) ||
		(!*kafka_conf_text(c, "bootstrap.servers") &&
			trouble_set(why, EXIT_PERM, "'%s' names no bootstrap.servers", file)) ||
		(file && tls_conf_try(c, false, why))) {
		rd_kafka_conf_destroy(c->rd);
		c->rd = NULL;
		return -1;
	}
	return 0;
}
