/* SPDX-License-Identifier: ISC */
/* kwrite --txn: records, and the positions of the source's records they were made of, become
 * visible in one step.
 *
 * DESIGN: A transaction is always open. It is closed to further lines INTERVAL_MS after its first
 * record, or sooner: when it is large, or when it has many records and no more come (the source's
 * window may be full). When Kafka has answered for all its records, kwrite asks the source for the
 * positions that belong to just their labels. The source's reply carries the group's metadata under
 * which the positions were computed, so that the broker refuses them once the group has changed.
 * kwrite sends the positions, commits the transaction, and only then reports its records, dead
 * letters and drops too.
 *
 * The source answers when no number below the highest is missing. If the answer takes longer than
 * PATIENCE_MS, a filter may hold a record that belongs to this transaction, or a record is the
 * first of several parts. Then the transaction takes lines again, and the question is asked anew
 * with all labels. The reply to an overtaken question is not used.
 *
 * Without records kwrite asks once a second: records that filters have dropped move positions too.
 * Drops behind the last record may be read, and dropped, again.
 *
 * After a failure no transaction is taken up again. An ended assignment, a fence or an abortable
 * error ends the program with 111: nothing was visible, and the next kwrite begins where the last
 * commit stands. A record that the broker refuses ends the program with 1: the other records of the
 * transaction cannot be written without it. A record that kwrite itself refuses is no part of the
 * transaction's writes.
 *
 * librdkafka's calls block: a thread makes those that wait for brokers (call.h), and the loop goes
 * on, which tells of brokers that are away. rd_kafka_commit_transaction serves the client's queue,
 * in its thread, unless delivery reports are events. */
#include "kwrite/txn.h"

#include "base/mem.h"
#include "base/msg.h"
#include "base/metrics.h"
#include "base/wake.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	INTERVAL_MS = 100,
	QUIET_MS = 10,
	QUIET_RECORDS = 1000,
	PATIENCE_MS = 50, /* for the source's answer, before more lines are taken */
	IDLE_MS = 1000,
	ABORT_MS = 5000,
	RECORDS_MAX = 100000,
	LABELS_MAX = 256 << 10, /* bytes */
};

void txn_opts(struct txn_opts *o)
{
	o->id = arg_str0(NULL, "txn", "ID",
		"exactly once: write in transactions, and the source's positions with them");
	o->positions = arg_str0(NULL, "positions", "TOPIC",
		"with --txn: of a source that is not Kafka, in this compacted topic");
}

void txn_check(const struct txn_opts *o, const char *path)
{
	if (o->id->count && !path)
		opt_bad("--txn needs the source, for its positions: give it and kread -g the same --ack PATH, or run them with evpipe");
	if (o->positions->count && !o->id->count)
		opt_bad("--positions is for --txn");
	if (o->positions->count && !*o->positions->sval[0])
		opt_bad("--positions takes the name of a topic");
}

void txn_open(
	struct txn *t, struct place *p, struct sink *s, struct kafka *k, txn_delivery_fn *told)
{
	char text[32];
	size_t size = sizeof(text);

	*t = (struct txn){.id = p->id,
		.place = p,
		.sink = s,
		.kafka = k,
		.queue = p->id ? rd_kafka_queue_get_main(k->rk) : NULL,
		.told = told,
		.state = TXN_STARTING,
		.asked_ms = wake_now_ms()};
	s->take_back = txn_take_back;
	s->take_back_self = t;
	positions_open(&t->positions, k);
	if (rd_kafka_conf_get(rd_kafka_conf(k->rk), "transaction.timeout.ms", text, &size) == 0)
		t->timeout_ms = strtoll(text, NULL, 10);
	p->kafka = k;
	p->sink = s;
	if (p->id && p->name)
		ack_keep_place(&s->ack);
}

/* ---- its records ---- */

void txn_settle(struct txn *t, enum ack_kind kind, const struct ack_label *label)
{
	if (!t->run_count || t->runs[t->run_count - 1].kind != kind) {
		ack_list_text(&t->labels);
		t->runs = mem_realloc(t->runs, (t->run_count + 1) * sizeof(*t->runs));
		t->runs[t->run_count++] = (struct txn_run){kind, t->labels.text.len};
	}
	ack_list_add(&t->labels, label);
	t->delivered += kind == ACK_FINAL;
}

/* Deliveries come in runs of one partition: it is the last one that was looked for, mostly. */
static struct txn_end *end_of(struct txn *t, const struct topic *topic, int32_t partition)
{
	size_t i = t->end_count;

	while (i-- > 0)
		if (t->ends[i].topic == topic && t->ends[i].partition == partition)
			break;
	if (i >= t->end_count) {
		if (t->end_count == t->end_capacity) {
			t->end_capacity = t->end_capacity ? 2 * t->end_capacity : 16;
			t->ends = mem_realloc(t->ends, t->end_capacity * sizeof(*t->ends));
		}
		i = t->end_count++;
		t->ends[i] = (struct txn_end){topic, partition, -1};
	}
	if (i + 1 < t->end_count) {
		struct txn_end found = t->ends[i];

		t->ends[i] = t->ends[t->end_count - 1];
		t->ends[t->end_count - 1] = found;
	}
	return &t->ends[t->end_count - 1];
}

/* The broker takes a producer in the midst of its transaction when the topic is a new one, and
 * knows nothing of what the old one took. */
void txn_written(struct txn *t, const struct topic *topic, int32_t partition, int64_t offset)
{
	struct txn_end *end = end_of(t, topic, partition);

	if (offset <= end->offset)
		t->anew = topic;
	end->offset = offset;
}

/* All that was read is committed. */
static bool is_empty(const struct txn *t)
{
	return t->sink->tail == t->begun && !t->run_count;
}

/* Reports the records of the committed transaction, in the order of input. */
static void report(struct txn *t)
{
	struct span all = ack_list_text(&t->labels);

	for (size_t i = 0; i < t->run_count; i++) {
		size_t end = i + 1 < t->run_count ? t->runs[i + 1].from : all.len;
		struct span rest = {all.p + t->runs[i].from, end - t->runs[i].from};

		while (rest.len) {
			struct ack_label label = {.text = span_word(&rest)};

			if (label.text.len)
				ack_report(&t->sink->ack, t->runs[i].kind, &label);
		}
	}
	metrics.forwarded += t->delivered;
	metrics.records_out += t->delivered;
}

/* ---- failing ---- */

/* -1: as long as the transaction lives. */
static rd_kafka_error_t *init_transactions(void *rk)
{
	return rd_kafka_init_transactions(rk, -1);
}

static rd_kafka_error_t *commit_transaction(void *rk)
{
	return rd_kafka_commit_transaction(rk, -1);
}

/* Returns what has become of it; "": there is none. */
static const char *end_transaction(struct txn *t)
{
	positions_drop(&t->positions);
	call_wait(&t->call, ABORT_MS);
	if (t->state <= TXN_PLACING)
		return "";
	if (t->state == TXN_COMMITTING && t->call.is_out)
		return "; whether the transaction is committed is not known";
	if (t->state == TXN_COMMITTING && t->call.fn == commit_transaction && !t->call.error)
		return "; the transaction is committed";
	/* If it cannot be aborted, the brokers do that: nobody commits it. */
	if (!t->call.is_out)
		txn_abort(t, wake_now_ms() + ABORT_MS);
	return "; the transaction is aborted, nothing of it was written";
}

void txn_fail(struct txn *t, int status, const char *fmt, ...)
{
	char why[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	t->ends_with_trouble = true;
	dead_sync(&t->sink->in.dead);
	sink_die(t->sink, status, "%s%s", why, end_transaction(t));
}

static void check_fenced(struct txn *t, rd_kafka_resp_err_t code, const char *why)
{
	if (code == RD_KAFKA_RESP_ERR__FENCED || code == RD_KAFKA_RESP_ERR_PRODUCER_FENCED ||
		code == RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH)
		txn_fail(t, EXIT_TEMP,
			"another kwrite writes transactions as '%s', or this one was too slow: %s",
			t->id, why);
}

void txn_trouble(struct txn *t, const struct trouble *why)
{
	char text[400];

	/* It may be told before the call that met with it has ended. */
	check_fenced(t, rd_kafka_fatal_error(t->kafka->rk, text, sizeof(text)), text);
	txn_fail(t, why->status, "%s", why->text);
}

/* By then the coordinator has ended the transaction, and librdkafka should have given up its
 * records. Once in 300 deletions of their topic the last ones had no answer for minutes (2.0.2);
 * whose fault it is was not found. */
static void check_age(struct txn *t, int64_t now_ms)
{
	if (t->sink->head < t->sink->tail && now_ms >= t->open_ms + 2 * t->timeout_ms)
		txn_fail(t, EXIT_TEMP,
			"transaction '%s': twice its transaction.timeout.ms, %" PRId64
			" ms, is over, and not all of its records are answered",
			t->id, t->timeout_ms);
}

/* Whether a call of librdkafka has done its work. If not, call it again. */
static bool is_done(struct txn *t, rd_kafka_error_t *error, const char *what)
{
	rd_kafka_resp_err_t code;
	char why[400];

	if (!error)
		return true;
	if (rd_kafka_error_is_retriable(error)) {
		msg_info("transaction '%s': %s: %s", t->id, what, rd_kafka_error_string(error));
		rd_kafka_error_destroy(error);
		return false;
	}
	code = rd_kafka_error_code(error);
	snprintf(why, sizeof(why), "%s", rd_kafka_error_string(error));
	rd_kafka_error_destroy(error);
	check_fenced(t, code, why);
	if (code == RD_KAFKA_RESP_ERR_OFFSET_METADATA_TOO_LARGE)
		txn_fail(t, EXIT_PERM,
			"transaction '%s': the brokers keep too little metadata with a position for kread's marks: give them offset.metadata.max.bytes=4096, Kafka's default",
			t->id);
	if (kafka_is_config_error(code) || code == RD_KAFKA_RESP_ERR_INVALID_TRANSACTION_TIMEOUT ||
		code == RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE)
		txn_fail(t, EXIT_PERM, "transaction '%s': cannot %s: %s", t->id, what, why);
	txn_fail(t, EXIT_TEMP, "transaction '%s': cannot %s: %s", t->id, what, why);
}

/* ---- begin, ask, commit ---- */

/* Whether this has been done. Call again each turn. */
static bool has_called(struct txn *t, call_fn *fn, const char *what)
{
	if (!t->call.is_out)
		call_start(&t->call, t->kafka, fn, t->kafka->rk);
	return call_take(&t->call) && is_done(t, t->call.error, what);
}

static void begin(struct txn *t)
{
	while (!is_done(t, rd_kafka_begin_transaction(t->kafka->rk), "begin"))
		;
	t->state = TXN_OPEN;
	t->begun = t->sink->settled = t->sink->tail;
	t->open_ms = wake_now_ms();
	t->delivered = 0;
	t->run_count = 0;
	t->end_count = 0;
	ack_list_clear(&t->labels);
}

static void ask(struct txn *t, int64_t now_ms)
{
	t->asked = t->sink->tail;
	t->asked_ms = now_ms;
	t->state = TXN_ASKED;
	ack_ask(&t->sink->ack, ack_list_text(&t->labels));
}

static void on_reply(struct txn *t)
{
	struct buf *reply = &t->sink->ack.reply;

	t->sink->ack.has_reply = false;
	if (t->sink->ack.aborted)
		txn_fail(t, EXIT_TEMP,
			"the group has given partitions away that records of this transaction are of");
	/* More records have been taken since the question. */
	if (t->asked != t->sink->tail) {
		t->state = TXN_OPEN;
		return;
	}
	t->state = TXN_SENDING;
	if (is_empty(t) && reply->len == t->committed.len &&
		(!reply->len || memcmp(reply->p, t->committed.p, reply->len) == 0))
		t->state = TXN_OPEN;
	buf_clear(&t->committed);
	buf_span(&t->committed, buf_as_span(reply));
	/* strtoll needs an end. */
	*buf_room(&t->committed, 1) = '\0';
	t->is_sent = false;
}

/* Another cluster knows no member of the group, now or later. */
static void check_cluster(struct txn *t)
{
	struct span source = positions_cluster(buf_as_span(&t->committed));
	char *own = rd_kafka_clusterid(t->kafka->rk, 0);

	if (own && source.len && !span_is(source, own))
		txn_fail(t, EXIT_PERM,
			"the source reads from the cluster %.*s, and transaction '%s' is of the cluster %s, where no positions of that group can be committed: read and write in one cluster, or write without --txn",
			(int)source.len, source.p, t->id, own);
	if (own)
		rd_kafka_mem_free(t->kafka->rk, own);
}

static void commit_positions(struct txn *t)
{
	rd_kafka_error_t *error;

	if (!t->positions.call.is_out)
		check_cluster(t);
	if (!t->positions.call.is_out && !positions_send(&t->positions, buf_as_span(&t->committed)))
		txn_fail(t, EXIT_TEMP, "the source's reply holds no metadata of a group");
	if (!positions_take(&t->positions))
		return;
	error = t->positions.call.error;
	/* The source may have left the group. Without records only drops are lost. */
	if (error && is_empty(t) && rd_kafka_error_txn_requires_abort(error)) {
		rd_kafka_error_destroy(error);
		if (!txn_abort(t, wake_now_ms() + ABORT_MS))
			txn_fail(t, EXIT_TEMP,
				"transaction '%s': the source has left its group, and the transaction cannot be taken back",
				t->id);
		buf_clear(&t->committed);
		begin(t);
	} else if (is_done(t, error, "commit positions")) {
		t->state = TXN_COMMITTING;
	}
}

static void commit(struct txn *t)
{
	if (t->state == TXN_SENDING && t->sink->ack.is_place) {
		if (!t->is_sent)
			place_write(t->place, buf_as_span(&t->committed));
		t->is_sent = true;
		if (place_is_written(t->place))
			t->state = TXN_COMMITTING;
	} else if (t->state == TXN_SENDING) {
		commit_positions(t);
	}
	if (t->state != TXN_COMMITTING || !has_called(t, commit_transaction, "commit"))
		return;
	report(t);
	begin(t);
}

/* ---- when ---- */

/* The time to ask the source; INT64_MAX: the present records give no reason to. */
static int64_t due_ms(const struct txn *t)
{
	bool full = t->sink->tail - t->begun >= RECORDS_MAX || t->labels.text.len >= LABELS_MAX ||
		!sink_has_room(t->sink);

	if (t->state == TXN_ASKED && t->asked == t->sink->tail)
		return INT64_MAX;
	/* A source that has sent `end` leaves once all records are reported. */
	if (is_empty(t))
		return input_ended(&t->sink->in) || t->sink->ack.ended ? INT64_MAX
								       : t->asked_ms + IDLE_MS;
	if (input_ended(&t->sink->in))
		return 0;
	if (t->state == TXN_ASKED)
		return t->asked_ms + INTERVAL_MS;
	if (t->sink->tail - t->begun >= QUIET_RECORDS &&
		t->moved_ms + QUIET_MS < t->first_ms + INTERVAL_MS)
		return full ? 0 : t->moved_ms + QUIET_MS;
	return full ? 0 : t->first_ms + INTERVAL_MS;
}

bool txn_accepts(const struct txn *t, int64_t now_ms)
{
	if (!t->id)
		return true;
	if (t->state == TXN_ASKED && now_ms < t->asked_ms + PATIENCE_MS)
		return false;
	return (t->state == TXN_OPEN || t->state == TXN_ASKED) && now_ms < due_ms(t);
}

int txn_timeout_ms(const struct txn *t, int64_t now_ms)
{
	int64_t at = due_ms(t);

	if (!t->id || !ack_greeted(&t->sink->ack))
		return -1;
	/* The delivery report wakes it, the answer, or what is told of the topic. */
	if (call_waits(&t->call))
		return -1;
	if (t->state == TXN_SENDING ? !place_is_written(t->place) || call_waits(&t->positions.call)
				    : t->state == TXN_PLACING && place_waits(t->place))
		return -1;
	if (t->state != TXN_OPEN && t->state != TXN_ASKED)
		return 0;
	/* It is read at the end of a turn. */
	if (t->state == TXN_ASKED && t->sink->ack.has_reply)
		return 0;
	if (t->state == TXN_ASKED && now_ms < t->asked_ms + PATIENCE_MS)
		at = t->asked_ms + PATIENCE_MS;
	/* Deliveries wake it. */
	if (at == INT64_MAX || (at <= now_ms && t->sink->head < t->sink->tail))
		return -1;
	return at > now_ms ? (int)(at - now_ms) : 0;
}

bool txn_is_done(const struct txn *t)
{
	return !t->id || t->state <= TXN_PLACING || (t->state == TXN_OPEN && is_empty(t));
}

/* What a signal leaves behind. */
static const char *owes(const struct txn *t)
{
	if (t->state == TXN_COMMITTING && t->call.is_out)
		return "whether the transaction is committed is not known";
	return txn_is_done(t) || !is_empty(t) ? NULL : "positions are not committed";
}

void txn_step(struct txn *t, int64_t now_ms)
{
	if (!t->id || !ack_greeted(&t->sink->ack))
		return;
	if (t->state == TXN_STARTING) {
		if (!has_called(t, init_transactions, "begin"))
			return;
		t->state = TXN_PLACING;
	}
	if (t->state == TXN_PLACING) {
		if (t->place->name && !place_read(t->place))
			return;
		begin(t);
	}
	if (is_empty(t))
		t->first_ms = t->open_ms = now_ms;
	if (t->moved != t->sink->tail)
		t->moved_ms = now_ms;
	t->moved = t->sink->tail;
	check_age(t, now_ms);
	if (t->anew)
		txn_fail(t, EXIT_TEMP,
			"topic '%s' was deleted and made anew, or has lost its last records, while the transaction was open",
			t->anew->name);
	if (t->state == TXN_ASKED && t->sink->ack.has_reply)
		on_reply(t);
	if (t->state == TXN_ASKED && ack_pollfd(&t->sink->ack).fd < 0 && is_empty(t))
		t->state = TXN_OPEN;
	else if (t->state == TXN_ASKED && ack_pollfd(&t->sink->ack).fd < 0)
		txn_fail(t, EXIT_TEMP,
			"the source has gone and left the positions of a transaction unanswered");
	if ((t->state == TXN_OPEN || t->state == TXN_ASKED) && t->sink->head == t->sink->tail &&
		now_ms >= due_ms(t))
		ask(t, now_ms);
	if (t->state == TXN_SENDING || t->state == TXN_COMMITTING)
		commit(t);
	t->sink->owes = owes(t);
	/* Between two questions it reads no input for a moment: that is not worth a word. */
	if (is_empty(t) && !sink_count(t->sink) && (t->state == TXN_OPEN || t->state == TXN_ASKED))
		ack_idle(&t->sink->ack);
	else
		ack_busy(&t->sink->ack);
}
