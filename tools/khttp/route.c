/* SPDX-License-Identifier: ISC */
/* DESIGN: all routes have one handler, which finds the row of the table by the pattern and looks,
 * in this order, at the origin, at who asks, at the body's type, and whether the body is JSON. What
 * is left is the part's. */
#include "khttp/route.h"

#include "config.h"

#include "khttp/body.h"
#include "khttp/consumer.h"
#include "khttp/error.h"
#include "khttp/openapi.h"
#include "khttp/peers.h"
#include "khttp/produce.h"
#include "khttp/reached.h"
#include "khttp/request.h"
#include "khttp/topics.h"

#include "base/metrics.h"
#include "base/msg.h"
#include "json/json.h"

#include <stdio.h>
#include <stdlib.h>

enum body_kind {
	BODY_NONE, /* what is sent is not looked at */
	BODY_OF_V2,
	BODY_OPTIONAL, /* V2, or none */
	BODY_OF_RECORDS, /* json, binary, text, lines */
	BODY_OF_JSON, /* the json one alone */
};

enum {
	OPEN = 1, /* without a token: probes */
	TAKES = 2, /* not for HEAD */
};

#define INSTANCE "/consumers/{group}/instances/{name}"

static void show_info(const struct call *c);
static void show_openapi(const struct call *c);
static void show_health(const struct call *c);
static void show_readiness(const struct call *c);
static void show_metrics(const struct call *c);

static const struct route {
	const char *method, *pattern;
	enum body_kind body;
	void (*fn)(const struct call *c); /* NULL: the consumers' */
	int what; /* enum consumer_what */
	unsigned flags;
} routes[] = {
	{"GET", "/", BODY_NONE, show_info, 0, 0},
	{"GET", "/openapi", BODY_NONE, show_openapi, 0, 0},
	{"GET", "/openapi/v3", BODY_NONE, show_openapi, 0, 0},
	{"GET", "/healthy", BODY_NONE, show_health, 0, OPEN},
	{"GET", "/ready", BODY_NONE, show_readiness, 0, OPEN},
	{"GET", "/metrics", BODY_NONE, show_metrics, 0, 0},
	{"GET", "/topics", BODY_NONE, topics_list, 0, 0},
	{"GET", "/topics/{topic}", BODY_NONE, topics_show, 0, 0},
	{"POST", "/topics/{topic}", BODY_OF_RECORDS, produce_post, 0, 0},
	{"GET", "/topics/{topic}/records", BODY_NONE, NULL, CONSUMER_READ_TOPIC, TAKES},
	{"POST", "/topics/{topic}/request", BODY_OF_RECORDS, request_post, 0, 0},
	{"GET", "/topics/{topic}/partitions", BODY_NONE, topics_partitions, 0, 0},
	{"GET", "/topics/{topic}/partitions/{partition}", BODY_NONE, topics_partition, 0, 0},
	{"POST", "/topics/{topic}/partitions/{partition}", BODY_OF_RECORDS, produce_post, 0, 0},
	{"GET", "/topics/{topic}/partitions/{partition}/offsets", BODY_NONE, topics_offsets, 0, 0},
	{"POST", "/admin/topics", BODY_OF_JSON, topics_create, 0, 0},
	{"POST", "/consumers/{group}", BODY_OPTIONAL, NULL, CONSUMER_CREATE, 0},
	{"DELETE", INSTANCE, BODY_NONE, NULL, CONSUMER_DELETE, 0},
	{"POST", INSTANCE "/subscription", BODY_OF_V2, NULL, CONSUMER_SUBSCRIBE, 0},
	{"GET", INSTANCE "/subscription", BODY_NONE, NULL, CONSUMER_SUBSCRIPTION, 0},
	{"DELETE", INSTANCE "/subscription", BODY_NONE, NULL, CONSUMER_UNSUBSCRIBE, 0},
	{"POST", INSTANCE "/assignments", BODY_OF_V2, NULL, CONSUMER_ASSIGN, 0},
	{"GET", INSTANCE "/records", BODY_NONE, NULL, CONSUMER_POLL, TAKES},
	{"POST", INSTANCE "/offsets", BODY_OPTIONAL, NULL, CONSUMER_COMMIT, 0},
	{"POST", INSTANCE "/positions", BODY_OF_V2, NULL, CONSUMER_SEEK, 0},
	{"POST", INSTANCE "/positions/beginning", BODY_OF_V2, NULL, CONSUMER_SEEK_BEGINNING, 0},
	{"POST", INSTANCE "/positions/end", BODY_OF_V2, NULL, CONSUMER_SEEK_END, 0},
};
enum { ROUTES = sizeof(routes) / sizeof(*routes) };

/* ---- what is looked at ---- */

bool route_cors(struct khttp *k, struct http_request *r, int status)
{
	/* An answer to a route has had its headers. */
	if (http_pattern(r))
		return false;
	return access_cors(
		&k->access, r, status == 405 && r->method && strcmp(r->method, "OPTIONS") == 0);
}

static bool type_fits(const struct call *c, enum body_kind kind)
{
	bool lenient = !c->k->compat;

	switch (kind) {
	case BODY_NONE:
		return true;
	case BODY_OF_V2:
	case BODY_OPTIONAL:
		return c->type == MEDIA_V2 || (lenient && c->type == MEDIA_PLAIN);
	case BODY_OF_JSON:
		return c->type == MEDIA_JSON || c->type == MEDIA_BINARY || c->type == MEDIA_TEXT
			? c->type == MEDIA_JSON
			: lenient && (c->type == MEDIA_PLAIN || c->type == MEDIA_V2);
	case BODY_OF_RECORDS:
		return c->type == MEDIA_JSON || c->type == MEDIA_BINARY || c->type == MEDIA_TEXT ||
			(lenient && (c->type == MEDIA_PLAIN || c->type == MEDIA_LINES));
	}
	return false;
}

static void invalid(const struct call *c, const char *why)
{
	http_error(c->r, 400, "Validation error on: %s", why);
}

/* Returns whether the part may go on; else it has answered. */
static bool body_fits(struct call *c, enum body_kind kind)
{
	c->type = media_of(http_header(c->r, "Content-Type"), c->k->compat);
	if (kind == BODY_NONE || (!c->r->body.len && kind == BODY_OPTIONAL))
		return true;
	if (!c->r->body.len && c->type != MEDIA_LINES) {
		invalid(c, "The related request does not contain the required body.");
		return false;
	}
	if (!type_fits(c, kind)) {
		invalid(c, "The format of the request body is not supported");
		return false;
	}
	if (http_body_is_coded(c->r)) {
		http_error(c->r, 415,
			"the body must not be compressed: a Content-Encoding other than 'identity' is not known here");
		return false;
	}
	if (c->type == MEDIA_LINES || !body_parse(c->r->body, http_body(c->r), &c->body))
		return true;
	invalid(c, "The request body can't be decoded");
	return false;
}

enum media route_accept(const struct http_request *r, const enum media *offered, bool exact)
{
	struct buf joined = {0};
	const char *accept =
		exact ? http_header(r, "Accept") : http_header_list(r, "Accept", &joined);
	enum media media = media_choose(accept, offered, exact);

	buf_free(&joined);
	return media;
}

static const struct route *find(const struct http_request *r)
{
	const char *pattern = http_pattern(r),
		   *method = strcmp(r->method, "HEAD") ? r->method : "GET";

	for (size_t i = 0; i < ROUTES; i++)
		if (strcmp(routes[i].pattern, pattern) == 0 &&
			strcmp(routes[i].method, method) == 0)
			return &routes[i];
	return NULL;
}

static void consumers_part(const struct call *c, int what)
{
	if (c->k->no_consumer) {
		http_error(c->r, 503,
			"Consumer is disabled in config. To enable consumer update "
			"http.consumer.enabled to true");
		return;
	}
	consumers_request(c->k->consumers,
		&(struct consumer_call){.call = *c,
			.what = (enum consumer_what)what,
			.group = http_param(c->r, "group"),
			.name = http_param(c->r, "name"),
			.topic = http_param(c->r, "topic")});
}

/* Who reaches the management's address may ask there. */
static void on_management(void *khttp, struct http_request *r)
{
	struct call c = {.k = khttp, .r = r};

	find(r)->fn(&c);
}

/* A broker ends the connection on which a name comes that is no text, and all requests share it. */
static bool has_names(const struct http_request *r)
{
	static const char *const names[] = {"topic", "group", "name"};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		const char *text = http_param(r, names[i]);

		if (text && !json_utf8((struct span){text, strlen(text)}))
			return false;
	}
	return true;
}

static void on_request(void *khttp, struct http_request *r)
{
	struct call c = {.k = khttp, .r = r};
	const struct route *route = find(r);

	if (!has_names(r)) {
		http_error(r, 404, "Not Found");
		return;
	}
	peers_say_asked(r);
	if (access_cors(&c.k->access, r, false))
		return;
	if (!(route->flags & OPEN) && !access_allows(&c.k->access, r))
		return;
	if (!body_fits(&c, route->body))
		return;
	if (route->fn)
		route->fn(&c);
	else
		consumers_part(&c, route->what);
}

void route_all(struct khttp *k)
{
	for (size_t i = 0; i < ROUTES; i++)
		if (routes[i].flags & TAKES)
			http_route_take(k->api, routes[i].pattern, on_request);
		else
			http_route(k->api, routes[i].method, routes[i].pattern, on_request);
	if (!k->management)
		return;
	for (size_t i = 0; i < ROUTES; i++)
		if (routes[i].fn == show_health || routes[i].fn == show_readiness ||
			routes[i].fn == show_metrics)
			http_route(
				k->management, routes[i].method, routes[i].pattern, on_management);
}

/* ---- where the client has reached us ---- */

int route_base(struct khttp *k, struct http_request *r, const char *path, struct buf *out)
{
	const struct reached how = {.forwarded = http_header(r, "Forwarded"),
		.host = http_header(r, "X-Forwarded-Host"),
		.proto = http_header(r, "X-Forwarded-Proto"),
		.path = http_header(r, "X-Forwarded-Path"),
		.asked = http_host(r),
		.tls = k->conf.cert != NULL,
		.address = http_address(k->api)};
	struct span proto;

	if (k->advertise) {
		buf_puts(out, k->advertise);
		buf_puts(out, path);
		return 0;
	}
	if (reached_put(&how, path, out, &proto))
		return 0;
	http_error(r, 500, "%.*s is not a valid schema/proto.",
		proto.len < 100 ? (int)proto.len : 100, proto.p);
	return -1;
}

/* ---- what the program says of itself ---- */

static void show_info(const struct call *c)
{
	struct buf body = {0};

	buf_puts(&body, "{\"bridge_version\":\"" PACKAGE_VERSION "\"}");
	http_reply(c->r, 200, "application/json", &body);
}

static void show_openapi(const struct call *c)
{
	const char *base = http_header(c->r, "X-Forwarded-Path");
	struct buf body = {0};

	if (!base)
		base = http_header(c->r, "X-Forwarded-Prefix");
	openapi_put(&body, base);
	http_reply(c->r, 200, "application/json", &body);
}

static void show_health(const struct call *c)
{
	http_reply(c->r, 200, NULL, NULL);
}

static void show_readiness(const struct call *c)
{
	struct buf why = {0};

	if (c->k->stopping) {
		error_unavailable(c->r, "the bridge is about to end");
	} else if (c->k->is_up) {
		http_reply(c->r, 200, NULL, NULL);
	} else {
		brokers_put_why(&c->k->kafka.brokers, &why);
		error_unavailable(c->r, "Kafka does not answer: %.*s", (int)why.len, why.p);
	}
	buf_free(&why);
}

static void show_metrics(const struct call *c)
{
	struct buf text = {0};

	khttp_metrics(c->k, &text);
	http_reply(c->r, 200, "text/plain; version=0.0.4; charset=utf-8", &text);
}
