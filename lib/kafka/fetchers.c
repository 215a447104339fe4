/* SPDX-License-Identifier: ISC */
#include "kafka/fetchers.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Setting the login again is right for mechanisms that know only a name and a password, and has no
 * effect where there is no login. */
static bool login_allows(const struct kafka_conf *c)
{
	const char *protocol = kafka_conf_text(c, "security.protocol"), *mechanism;

	if (strncasecmp(protocol, "sasl", 4) != 0)
		return true;
	mechanism = kafka_conf_text(c, "sasl.mechanisms");
	return strcasecmp(mechanism, "PLAIN") == 0 || strncasecmp(mechanism, "SCRAM-", 6) == 0;
}

void fetchers_open(struct fetchers *f, const struct kafka_conf *c)
{
	*f = (struct fetchers){0};
	f->may_wake = !*kafka_conf_text(c, "fetch.queue.backoff.ms") && login_allows(c);
	f->full_messages = (size_t)kafka_conf_int(c, "queued.min.messages");
	f->full_bytes = (size_t)kafka_conf_int(c, "queued.max.messages.kbytes") * 1024;
	f->user = mem_dup(kafka_conf_text(c, "sasl.username"));
	f->password = mem_dup(kafka_conf_text(c, "sasl.password"));
}

void fetchers_close(struct fetchers *f)
{
	free(f->user);
	free(f->password);
}

void fetchers_taken(struct fetchers *f, rd_kafka_t *rk, size_t messages, size_t bytes, size_t left)
{
	size_t size = messages ? bytes / messages : 0, before = left + messages;

	if (!f->may_wake || !messages)
		return;
	/* librdkafka does not tell the bytes of its queue: messages in it are taken to be as long
	 * as those that came. */
	if (before >= f->full_messages * 3 / 4 || before * size >= f->full_bytes * 3 / 4)
		f->was_full = true;
	if (!f->was_full || left > f->full_messages / 2 || left * size > f->full_bytes / 2)
		return;
	f->was_full = false;
	/* The one effect that matters here: each broker's thread leaves its wait and decides anew
	 * what to fetch. No other call of the API that does not block does that. */
	rd_kafka_error_destroy(rd_kafka_sasl_set_credentials(rk, f->user, f->password));
}
