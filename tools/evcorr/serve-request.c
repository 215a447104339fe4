/* SPDX-License-Identifier: ISC */
/* A call's request, as a record: where its reply goes, and what of it the worker reads. */
#include "evcorr/serve.h"

#include "base/msg.h"
#include "base/wake.h"

#include <string.h>

/* What the worker reads: the record as it came, or the payload and its end. Returns 0, or -1 when
 * the payload cannot be told from what follows it. */
static int put_input(
	struct serve *s, const struct record *r, struct serve_request *q, struct record_error *e)
{
	struct span payload = SPAN_NONE;

	buf_clear(&q->input);
	if (s->records) {
		buf_span(&q->input, r->line);
	} else {
		buf_clear(&s->scratch);
		if (record_payload(r, &s->scratch, &payload, e) == RECORD_BAD)
			return -1;
		if (payload.len && memchr(payload.p, s->end, payload.len))
			return record_refuse(e, CLASS_INVALID_RECORD,
				s->end ? "the payload has more than one line, and this service takes one"
				       : "the payload has a NUL");
		buf_span(&q->input, payload);
	}
	buf_putc(&q->input, s->records ? '\n' : s->end);
	return 0;
}

/* Where each text stands in the buffer is known only when all of them are in. */
static void keep(struct serve_request *q, struct span id, struct span topic, struct span seq)
{
	const char *at;

	buf_clear(&q->kept);
	buf_span(&q->kept, id);
	buf_span(&q->kept, topic);
	buf_span(&q->kept, seq);
	at = q->kept.p;
	q->id = (struct span){at, id.len};
	q->topic = (struct span){at + id.len, topic.len};
	q->seq = (struct span){seq.p ? at + id.len + topic.len : NULL, seq.len};
}

static bool is_expired(struct serve *s, int64_t deadline_ms)
{
	int64_t late_ms = deadline_ms < 0 ? -1 : wake_epoch_ms() - s->skew_ms - deadline_ms;

	if (late_ms < 0)
		return false;
	if (!s->told_expired)
		msg_warn(
			"a request's deadline was over by %lld ms, so nobody waits for it, and it is not started; if its caller does, its clock is behind ours: see --skew",
			(long long)late_ms);
	s->told_expired = true;
	return true;
}

enum serve_verdict serve_request_read(
	struct serve *s, const struct record *r, struct serve_request *q, struct record_error *e)
{
	struct ident_call call;

	if (ident_read(&s->ident, r, &s->scratch, &call, e))
		return SERVE_REFUSE;
	if (!call.topic.p && s->reply_to.p) {
		call.topic = s->reply_to;
		call.partition = s->reply_partition;
	}
	if (call.bad)
		record_refuse(e, CLASS_INVALID_RECORD, "header '%s' cannot be read", call.bad);
	else if (!call.id.p)
		record_refuse(e, CLASS_MISSING_FIELD,
			"the request has no id in header '%.*s': nobody could tell whose the reply is",
			(int)s->ident.id.len, s->ident.id.p);
	else if (!call.topic.p)
		record_refuse(e, CLASS_MISSING_FIELD,
			"the request does not say in header '%.*s' where its reply goes to; --reply-to does for such",
			(int)s->ident.reply_to.len, s->ident.reply_to.p);
	if (call.bad || !call.id.p || !call.topic.p)
		return SERVE_REFUSE;
	q->partition = call.partition;
	keep(q, call.id, call.topic, r->seq.type == JSON_STRING ? r->seq.text : SPAN_NONE);
	if (is_expired(s, call.deadline_ms))
		return SERVE_EXPIRED;
	return put_input(s, r, q, e) ? SERVE_CANNOT : SERVE_TAKE;
}
