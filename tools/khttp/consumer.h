/* SPDX-License-Identifier: ISC */
/* Consumer instances: all that stands below /consumers/, and reading without an instance, GET
 * /topics/{topic}/records.
 *
 * route.c has looked at the request before: the origin, who asks, path and method (404, 405), the
 * body's type (400), whether it is JSON (400). What is left is the schema (body.h; 400 by
 * error_schema), the instance (404), and the meaning (409, 422). A request is answered with
 * http_reply, http_error, error_… or a stream, before the function returns or later; call->r lives
 * until its `done`, which is this part's to set, and its texts as long; *call only until the
 * function returns. */
#ifndef KHTTP_CONSUMER_H
#define KHTTP_CONSUMER_H

#include "khttp/route.h"

/* Defaults of the instances' clients, for the list that kafka_conf_open is given. A client has a
 * fetch of each broker, and records that nobody has asked for yet: there may be a thousand clients.
 * A larger record comes all the same. While a group's partitions are shared anew it waits for a
 * member that has gone for as long as the longest max.poll.interval.ms of its members; an instance
 * is served each second, whatever its client does. */
#define CONSUMER_DEFAULTS                                                                          \
	{"queued.min.messages", "10000"}, {"queued.max.messages.kbytes", "1024"},                  \
		{"fetch.max.bytes", "1048576"}, {"fetch.message.max.bytes", "524288"},             \
                                                                                                   \
		{"fetch.queue.backoff.ms", "1"}, {"session.timeout.ms", "10000"},                  \
		{"heartbeat.interval.ms", "1000"}, {"max.poll.interval.ms", "30000"},              \
		{"topic.metadata.refresh.interval.ms", "10000"},                                   \
	{                                                                                          \
		"allow.auto.create.topics", "true"                                                 \
	}

/* Once at the start. NULL: with --no-consumer; then none of the others is called. */
struct consumers *consumers_open(struct khttp *k);

/* What is asked of an instance, by what follows its name. */
enum consumer_what {
	CONSUMER_CREATE, /* POST /consumers/{group}; the body is an object, or absent */
	CONSUMER_DELETE, /* DELETE of the instance */
	CONSUMER_SUBSCRIBE, /* POST …/subscription; ?wait=assignment */
	CONSUMER_SUBSCRIPTION, /* GET */
	CONSUMER_UNSUBSCRIBE, /* DELETE */
	CONSUMER_ASSIGN, /* POST …/assignments */
	CONSUMER_POLL, /* GET …/records; Accept is not looked at before */
	CONSUMER_COMMIT, /* POST …/offsets; the body is an object, or absent */
	CONSUMER_SEEK, /* POST …/positions */
	CONSUMER_SEEK_BEGINNING, /* POST …/positions/beginning */
	CONSUMER_SEEK_END,
	/* GET /topics/{topic}/records, without an instance; group and name are NULL, topic is
	 * set */
	CONSUMER_READ_TOPIC,
};
/* @group and @name are decoded; NULL where the path has none. route_base(k, r, path, …) makes
 * base_uri. */
struct consumer_call {
	struct call call;
	enum consumer_what what;
	const char *group, *name, *topic;
};
void consumers_request(struct consumers *cs, const struct consumer_call *c);

/* In the loop: consumers_fd is polled for POLLIN (-1: none; an epoll descriptor may stand for the
 * clients' wake_fd), no longer than consumers_timeout_ms (-1: no limit); consumers_serve is called
 * in each turn, before http_run. */
int consumers_fd(const struct consumers *cs);
int consumers_timeout_ms(const struct consumers *cs, int64_t now_ms);
void consumers_serve(struct consumers *cs, int64_t now_ms);

/* SIGTERM has come: polls that wait are answered now, streams end, no instance is made any more.
 * Call once. */
void consumers_leave(struct consumers *cs);
/* Ends all instances, with their commits and their farewell to the group. False: not yet; call
 * again in each turn, up to a limit of the caller's. Requests that are left are answered or cut by
 * then. */
bool consumers_close(struct consumers *cs);

/* Appends this part's families to /metrics, whole: HELP, TYPE, samples. */
void consumers_metrics(struct consumers *cs, struct buf *out);

#endif
