/* SPDX-License-Identifier: ISC */
/* POST /consumers/{groupid}. */
#include "khttp/instance.h"
#include "khttp/peers.h"

#include "base/mem.h"
#include "base/msg.h"
#include "base/text.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

enum { NAME, FORMAT, RESET, MIN_BYTES, TIMEOUT, AUTO_COMMIT, ISOLATION, FIELDS };
enum { NAME_MAX_BYTES = 1024 };

/* What an instance is to be. */
struct wish {
	struct body_field fields[FIELDS];
	const char *name, *group;
	enum consumer_format format;
	const char *reset, *isolation; /* as librdkafka has them */
	int64_t min_bytes, timeout_ms; /* -1: not given */
	bool is_reader; /* for one request */
};

/* ---- values ---- */

static int refuse(struct http_request *r, const char *name, struct span value, const char *why)
{
	http_error(r, 422, "Invalid value %.*s for configuration %s: %s",
		(int)(value.len < 300 ? value.len : 300), value.p, name, why);
	return -1;
}

static int read_format(struct http_request *r, struct wish *w)
{
	const struct json_value *v = &w->fields[FORMAT].v;
	static const char *const names[] = {"json", "binary", "text"};

	w->format = FORMAT_BINARY;
	if (!v->type)
		return 0;
	for (int f = FORMAT_JSON; f <= FORMAT_TEXT; f++)
		if (json_is(v, names[f])) {
			w->format = (enum consumer_format)f;
			return 0;
		}
	http_error(r, 422, "Invalid format type.");
	return -1;
}

static int read_reset(struct http_request *r, struct wish *w)
{
	const struct body_field *f = &w->fields[RESET];
	char why[600];

	w->reset = "latest";
	if (!f->v.type || json_is(&f->v, "latest"))
		return 0;
	if (json_is(&f->v, "earliest")) {
		w->reset = "earliest";
		return 0;
	}
	if (json_is(&f->v, "none")) {
		w->reset = "error";
		return 0;
	}
	snprintf(why, sizeof(why),
		"Invalid value `%.*s` for configuration auto.offset.reset. The value must be either 'earliest', 'latest' or 'none'.",
		(int)(f->v.text.len < 300 ? f->v.text.len : 300), f->v.text.p);
	return refuse(r, f->name, f->v.text, why);
}

static int read_isolation(struct http_request *r, struct wish *w)
{
	const struct body_field *f = &w->fields[ISOLATION];

	w->isolation = "read_uncommitted";
	if (!f->v.type || json_is(&f->v, "read_uncommitted"))
		return 0;
	if (json_is(&f->v, "read_committed")) {
		w->isolation = "read_committed";
		return 0;
	}
	return refuse(
		r, f->name, f->v.text, "String must be one of: read_committed, read_uncommitted");
}

static int read_number(
	struct http_request *r, const struct body_field *f, const char *name, int64_t *n)
{
	*n = -1;
	if (!f->v.type)
		return 0;
	if (body_int(&f->v, n) || *n > INT32_MAX || *n < INT32_MIN)
		return refuse(r, name, f->v.text, "Not a number of type INT");
	if (*n < 0)
		return refuse(r, name, f->v.text, "Value must be at least 0");
	return 0;
}

/* kafka-bridge-consumer-UUID */
static char *make_name(const struct khttp *k)
{
	const char *id = k->advertise ? strstr(k->advertise, "://") + 3 : k->id;
	unsigned char b[16];

	if (getrandom(b, sizeof(b), 0) != sizeof(b))
		die(EXIT_TEMP, "cannot get random bytes");
	b[6] = (b[6] & 0x0f) | 0x40;
	b[8] = (b[8] & 0x3f) | 0x80;
	return mem_printf("%s-%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
		id ? id : "kafka-bridge-consumer", b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7],
		b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
}

/* How much of a name that another bridge has made is its address, which stands before a UUID; 0: it
 * is no such name. */
static size_t owner_len(const char *name)
{
	size_t n = strlen(name), len = n > 37 ? n - 37 : 0;
	const char *uuid = name + len;

	if (!len || strspn(uuid, "-0123456789abcdef") != 37 || uuid[0] != '-' || uuid[9] != '-')
		return 0;
	return memchr(name, ':', len) && strcspn(name, "/?# ") >= len ? len : 0;
}

bool create_is_elsewhere(struct khttp *k, const struct call *c, const char *name)
{
	const char *own = k->advertise ? strstr(k->advertise, "://") + 3 : "";
	struct http_request *r = c->r;
	size_t len = owner_len(name);
	char *url;

	if (len && strlen(own) == len && memcmp(own, name, len) == 0)
		return false;
	if (peers_take(k->peers, c, len ? (struct span){name, len} : SPAN_NONE))
		return true;
	if (!len)
		return false;
	url = mem_printf("%s://%.*s%s",
		k->advertise ? (k->advertise[4] == 's' ? "https" : "http")
			     : (k->conf.cert ? "https" : "http"),
		(int)len, name, r->path);
	http_set_header(r, "Location", url);
	http_error(r, 421, "The consumer instance is in another bridge, at %.*s", (int)len, name);
	free(url);
	return true;
}

static bool read_fields(const struct call *c, struct wish *w)
{
	static const struct body_field fields[FIELDS] = {
		[NAME] = {.name = "name", .types = BODY_STRING},
		[FORMAT] = {.name = "format", .types = BODY_STRING},
		[RESET] = {.name = "auto.offset.reset", .types = BODY_STRING},
		[MIN_BYTES] = {.name = "fetch.min.bytes", .types = BODY_INTEGER},
		[TIMEOUT] = {.name = "consumer.request.timeout.ms", .types = BODY_INTEGER},
		[AUTO_COMMIT] = {.name = "enable.auto.commit", .types = BODY_BOOLEAN},
		[ISOLATION] = {.name = "isolation.level", .types = BODY_STRING},
	};
	struct buf errors = {0};

	memcpy(w->fields, fields, sizeof(fields));
	if (!c->body.type || body_object(&c->body, "#", w->fields, FIELDS, &errors))
		return true;
	error_schema(c->r, &errors);
	return false;
}

/* ---- its URI ---- */

/* Returns 0, or -1 when it has answered. */
static int put_uri(const struct call *c, const char *name, struct buf *uri)
{
	size_t n = strlen(c->r->path);

	if (route_base(c->k, c->r, c->r->path, uri))
		return -1;
	/* With X-Forwarded-Path, too, it is our path that counts. */
	if (!n || c->r->path[n - 1] != '/')
		buf_putc(uri, '/');
	buf_puts(uri, "instances/");
	if (c->k->compat)
		buf_puts(uri, name);
	else
		text_put_url(uri, (struct span){name, strlen(name)}, "-._~:@!$&'()*+,;=");
	return 0;
}

/* ---- its client ---- */

static void set(struct kafka_conf *conf, const char *name, const char *value)
{
	char why[256];

	if (rd_kafka_conf_set(conf->rd, name, value, why, sizeof(why)))
		msg_info("%s", why);
}

static void set_number(
	struct kafka_conf *conf, const char *name, int64_t n, int64_t least, int64_t most)
{
	char text[24];

	if (n < 0)
		return;
	snprintf(text, sizeof(text), "%" PRId64, n < least ? least : n > most ? most : n);
	set(conf, name, text);
}

static struct instance *start(struct consumers *all, const struct wish *w, struct trouble *why)
{
	struct kafka_conf conf = khttp_consumer_conf(all->k);
	struct instance *i = mem_alloc(sizeof(*i));

	*i = (struct instance){.all = all,
		.format = w->format,
		.auto_commit = w->fields[AUTO_COMMIT].v.type != JSON_FALSE,
		.used_ms = all->now_ms,
		.commit_ms = all->now_ms + COMMIT_MS};
	set(&conf, "group.id", w->group);
	set(&conf, "client.id", w->name);
	set(&conf, "auto.offset.reset", w->reset);
	set(&conf, "isolation.level", w->isolation);
	set(&conf, "enable.auto.commit", "false");
	set(&conf, "enable.auto.offset.store", "false");
	set(&conf, "enable.partition.eof", "true");
	if (w->is_reader)
		set(&conf, "allow.auto.create.topics", "false");
	set_number(&conf, "fetch.min.bytes", w->min_bytes, 1, 100000000);
	/* librdkafka wants it a second above fetch.wait.max.ms. */
	set_number(&conf, "socket.timeout.ms", w->timeout_ms,
		kafka_conf_int(&conf, "fetch.wait.max.ms") + 1000, 300000);
	if (group_open(i, &conf, why)) {
		free(i);
		return NULL;
	}
	silence_watch(&all->k->silence, &i->kafka);
	i->group = mem_dup(w->group);
	i->name = mem_dup(w->name);
	return i;
}

struct instance *create_reader(struct consumers *all, struct http_request *r, struct read *d)
{
	struct wish w = {.group = "khttp-reader",
		.name = "khttp-reader",
		.reset = "earliest",
		.isolation = "read_uncommitted",
		.min_bytes = -1,
		.timeout_ms = -1,
		.is_reader = true};
	struct trouble why = {0};
	struct instance *i = start(all, &w, &why);

	if (!i) {
		http_error(r, 500, "%s", why.text);
		return NULL;
	}
	i->auto_commit = false;
	i->mode = MODE_ASSIGNED;
	i->read = d;
	consumers_add(all, i);
	return i;
}

/* ---- the request ---- */

bool create_may(struct consumers *all, const struct call *c)
{
	if (all->leaving)
		error_unavailable(c->r, "the bridge is about to end");
	else if (all->instance_count >= all->k->max_instances)
		error_unavailable(
			c->r, "there are %" PRIu64 " instances: no more", all->k->max_instances);
	else
		return true;
	return false;
}

/* Clients take them out of a path, in some cases as %2E, too. */
static bool is_dots(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* Looks at what is asked for. Returns whether an instance may be made; else it has answered. */
static bool may_create(struct consumers *all, const struct call *c, struct wish *w, struct buf *uri)
{
	/* librdkafka leaves it out: it would be another group's name, or none. */
	if (isspace((unsigned char)*w->group)) {
		refuse(c->r, "group.id", (struct span){w->group, strlen(w->group)},
			"it must not begin with white space");
		return false;
	}
	if (is_dots(w->group)) {
		refuse(c->r, "group.id", (struct span){w->group, strlen(w->group)},
			"clients leave it out of a URL");
		return false;
	}
	if (read_format(c->r, w))
		return false;
	if (consumers_named(all, w->group, w->name)) {
		http_error(c->r, 409,
			"A consumer instance with the specified name already exists in the Kafka Bridge.");
		return false;
	}
	if (put_uri(c, w->name, uri) || read_reset(c->r, w) ||
		read_number(c->r, &w->fields[MIN_BYTES], "fetch.min.bytes", &w->min_bytes) ||
		read_number(c->r, &w->fields[TIMEOUT], "request.timeout.ms", &w->timeout_ms) ||
		read_isolation(c->r, w))
		return false;
	if (!create_may(all, c))
		return false;
	return c->k->compat || khttp_kafka_answers(c->k, c->r);
}

static void create(struct consumers *all, const struct call *c, struct wish *w)
{
	struct buf uri = {0}, body = {0};
	struct trouble why = {0};
	struct instance *i;

	if (may_create(all, c, w, &uri)) {
		i = start(all, w, &why);
		if (i) {
			consumers_add(all, i);
			buf_putc(&body, '{');
			json_put_member(
				&body, "instance_id", (struct span){w->name, strlen(w->name)});
			buf_putc(&body, ',');
			json_put_member(&body, "base_uri", buf_as_span(&uri));
			buf_putc(&body, '}');
			http_reply(c->r, 200, TYPE_V2, &body);
		} else {
			http_error(c->r, 500, "%s", why.text);
		}
	}
	buf_free(&uri);
}

void create_instance(struct consumers *all, const struct consumer_call *c)
{
	struct wish w = {.group = c->group};
	const struct json_value *v = &w.fields[NAME].v;
	char *name;

	if (!read_fields(&c->call, &w))
		return;
	w.name = name = v->type ? body_text(v) : make_name(all->k);
	if (!name || !*name)
		http_error(c->call.r, 422,
			"The name of an instance cannot be empty, nor have a NUL in it.");
	else if (is_dots(name))
		http_error(c->call.r, 422,
			"The name of an instance cannot be '%s': clients leave it out of a URL.",
			name);
	else if (strlen(name) > NAME_MAX_BYTES)
		http_error(c->call.r, 422, "The name of an instance has at most %d bytes.",
			NAME_MAX_BYTES);
	else
		create(all, &c->call, &w);
	free(name);
}
