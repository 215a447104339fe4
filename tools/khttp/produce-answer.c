/* SPDX-License-Identifier: ISC */
/* The answer to a request whose records Kafka has answered for. */
#include "khttp/error.h"
#include "khttp/slots.h"

#include <inttypes.h>
#include <stdio.h>

static rd_kafka_resp_err_t error_of(const struct slot *s)
{
	return (rd_kafka_resp_err_t)s->err;
}

bool slot_is_missing(const struct slot *s)
{
	return s->err == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC ||
		s->err == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION ||
		s->err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART ||
		s->err == RD_KAFKA_RESP_ERR__DESTROY;
}

bool slot_had_no_answer(const struct slot *s)
{
	return s->err && !slot_is_missing(s) && error_status(error_of(s), false) >= 503;
}

int slot_status(const struct produce *p, const struct slot *s)
{
	int status = error_status(error_of(s), p->k->compat);

	if (slot_is_missing(s))
		return 404;
	/* Sent again it would be written twice, or it would not. */
	return status == 503 || status == 504 ? (s->maybe ? 504 : 503) : status;
}

void slot_text(const struct produce *p, const struct slot *s, char *text, size_t size)
{
	int64_t ms = p->k->now_ms - p->begun_ms;
	const char *written =
		s->maybe ? "the record may have been written" : "the record was not written";

	if (slot_is_missing(s) && s->partition >= 0 && p->partitions > 0)
		snprintf(text, size,
			"Partition %d of topic %s with partition count %d is not present in metadata "
			"after %" PRId64 " ms.",
			s->partition, p->share->topic, p->partitions, ms);
	else if (slot_is_missing(s))
		snprintf(text, size, "Topic %s not present in metadata after %" PRId64 " ms.",
			p->share->topic, ms);
	else if (s->oversize)
		snprintf(text, size,
			"%s: the brokers' socket.request.max.bytes leaves room for %zu bytes",
			kafka_why(error_of(s)), writers_batch_max(p->k->produces->writers));
	else if (s->err == RD_KAFKA_RESP_ERR__MSG_TIMED_OUT)
		snprintf(text, size, "Kafka has not answered within %" PRId64 " ms: %s", ms,
			written);
	else if (error_status(error_of(s), false) == 504)
		snprintf(text, size, "%s: %s", kafka_why(error_of(s)), written);
	else
		snprintf(text, size, "%s", kafka_why(error_of(s)));
}

/* Of all slots when they have the same, of the first that failed; 0: none did. */
static int common_status(const struct produce *p, size_t *failed)
{
	int status = 0, one;

	*failed = 0;
	for (size_t i = 0; i < p->count; i++) {
		if (!p->slots[i].err)
			continue;
		one = slot_status(p, &p->slots[i]);
		/* 503 says that nothing was written, and may be sent again; 504 that something may
		 * have been. */
		if (!status || (status == 503 && one == 504))
			status = one;
		++*failed;
	}
	return status;
}

/* With errors in slots it is 200 all the same, as clients of the reference expect; but not when
 * Kafka was away for all. */
static int answer_status(const struct produce *p)
{
	size_t failed;
	int status = common_status(p, &failed);

	if (!failed || p->k->compat)
		return 200;
	if (p->fails)
		return status;
	return failed == p->count && (status == 503 || status == 504) ? status : 200;
}

/* Makes the answer's body. */
static void put_answer(const struct produce *p, int status, struct buf *out)
{
	struct buf body = {0};
	char text[512];

	if (status != 200) {
		for (size_t i = 0; i < p->count; i++)
			if (p->slots[i].err) {
				slot_text(p, &p->slots[i], text, sizeof(text));
				break;
			}
		error_put(&body, status, text);
		body.len--;
		buf_putc(&body, ',');
	}
	buf_puts(&body, status == 200 ? "{\"offsets\":[" : "\"offsets\":[");
	for (size_t i = 0; i < p->count; i++) {
		const struct slot *s = &p->slots[i];

		if (i)
			buf_putc(&body, ',');
		if (s->err) {
			slot_text(p, s, text, sizeof(text));
			error_put(&body, slot_status(p, s), text);
			continue;
		}
		buf_puts(&body, "{\"partition\":");
		buf_int(&body, s->partition);
		buf_puts(&body, ",\"offset\":");
		buf_int(&body, s->offset);
		buf_putc(&body, '}');
	}
	buf_puts(&body, "]}");
	*out = body;
}

/* When something of it was written, or may have been, it must not be done again. */
static enum idem_outcome outcome_of(const struct produce *p)
{
	size_t written = 0, maybe = 0;

	for (size_t i = 0; i < p->count; i++) {
		written += !p->slots[i].err;
		maybe += p->slots[i].maybe;
	}
	if (written == p->count)
		return IDEM_DONE;
	return written || maybe ? IDEM_DONE_IN_PART : IDEM_UNDONE;
}

void produce_answer(struct produce *p, struct idem *idem)
{
	int status = answer_status(p);
	struct buf body = {0};

	/* 504 says that the same key may ask again, but this is the last word. */
	if (p->key && status == 504)
		status = 500;
	put_answer(p, status, &body);
	if (p->key)
		idem_end(idem, p->key, status, TYPE_V2, buf_as_span(&body), outcome_of(p),
			p->k->now_ms);
	p->key = NULL;
	if (status == 503 && p->r)
		http_set_header(p->r, "Retry-After", "1");
	if (p->r)
		http_reply(p->r, status, TYPE_V2, &body);
	buf_free(&body);
}
