/* SPDX-License-Identifier: ISC */
/* The acknowledgement socket as filters and sinks see it (evpipe-ack(7)); server.h is the source's
 * end.
 *
 * Nothing here waits but ack_close: reports coalesce while the socket is full, so that delivery
 * never depends on the source. Without a path (struct all zero) all functions do nothing.
 *
 * In a loop: put ack_pollfd into the array, call ack_serve after each poll, read no input while
 * !ack_greeted, look at trouble.status, and ack_close last, before standard output is closed.
 * Nothing leaves but in ack_serve, ack_close and ack_abandon: what must be durable first is made so
 * before. */
#ifndef EVPIPE_ACK_CLIENT_H
#define EVPIPE_ACK_CLIENT_H

#include "base/buf.h"
#include "json/json.h"
#include "ack/label.h"
#include "ack/list.h"
#include "ack/position.h"
#include "base/opt.h"
#include "base/trouble.h"

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

enum ack_role { ACK_FILTER, ACK_SINK, ACK_TXN };
enum ack_kind {
	ACK_FINAL,
	ACK_DROP,
	ACK_DEAD,
	ACK_EARLY, /* delivered, though the sink holds a record that came before */
};

/* What the source tells a sink that keeps positions. Spans are valid until the return. */
struct ack_keeper {
	/* Answer with ack_start, at once or later; of two questions for one partition the answers
	 * may differ. */
	void (*assigned)(void *ctx, const struct ack_assigned *a);
	/* The answer to ack_back: records of the partition whose number is lower are to be dropped
	 * without a report. */
	void (*from)(void *ctx, struct span topic, int32_t partition, uint64_t number);
};

struct ack {
	/* With a status: the program ends with it, after the records it holds are done. ack_close
	 * says the sentence. */
	struct trouble trouble;
	bool ended; /* the source has said `end`: the EOF to come is whole */
	uint64_t unlabelled; /* a sink's records without a seq that passed ack_take */
	bool has_reply; /* a txn's question is answered: reply holds what stood behind "offsets " */
	bool aborted; /* … with abort */
	bool is_place; /* … with a place, in base64 */
	struct buf reply;
	/* internal */
	bool on;
	int fd;
	int state;
	enum ack_role role;
	const char *path;
	bool optional; /* the path is evpipe's: there may be no source */
	bool absent; /* … and at the last look there was no socket */
	char run[LABEL_RUN_LEN + 1];
	int64_t give_up_ms, retry_ms, backoff_ms;
	struct label_text next; /* what the next record's seq is, usually */
	struct buf in, out;
	size_t sent; /* bytes of out */
	struct ack_list list; /* the report that can take more labels; it is not in out yet */
	bool listing;
	enum ack_kind list_kind;
	bool idle, idle_reported; /* as it is; as the source knows it */
	uint64_t bare_reported; /* of unlabelled */
	bool stopped; /* we have sent `stop` */
	unsigned questions; /* without a reply */
	const struct ack_keeper *keeper;
	void *keeper_ctx;
	bool keeps_place;
};

/* The option --ack PATH; $EVPIPE_ACK is its default. */
struct ack_opts {
	struct arg_file *path;
};
void ack_opts(struct ack_opts *o);
#define ACK_ENTRIES(o) (o).path
const char *ack_path(const struct ack_opts *o); /* NULL: none */
/* Whether @path is the one that evpipe gives to each pipeline ($EVPIPE_DIR/ack), maybe without a
 * source that listens there. */
bool ack_is_evpipes(const char *path);

/* Begins to connect, for ten seconds at most; then says hello. @path NULL: off. Off too from the
 * moment that standard input ends before anything has come and before a source has greeted. A
 * source listens before it prints: when @path is evpipe's, input that comes while there is no
 * socket comes from a program that is no source, and the connection is off (for ACK_TXN: trouble);
 * until then there is no time limit. Call when signals and input are set up, and ack_serve before
 * the first poll. */
void ack_open(struct ack *a, const char *path, enum ack_role role);
/* Whether input may be read: off, or the source's greeting has come. */
bool ack_greeted(const struct ack *a);
/* For poll: fd -1 when there is nothing to wait for; may be standard input, which is not read. */
struct pollfd ack_pollfd(const struct ack *a);
/* Milliseconds until ack_serve is to be called without an event; -1 none. */
int ack_timeout_ms(const struct ack *a, int64_t now_ms);
/* Connects, reads, writes; what was reported since the last call leaves here. Call each turn. A
 * source that has gone is no trouble at once: what it has written is still in the pipe, and
 * ack_close will miss the `end`. Only when input goes on for ten seconds more. */
void ack_serve(struct ack *a, short revents, int64_t now_ms);

/* The label of a record that was read. @seq: the field as it stands, .text.p NULL when absent; the
 * label points into it. Returns false when it is of another source's run or no label: for a sink
 * trouble is set, a filter hands such a record on as it is. Says busy for a sink: it holds a
 * record. */
bool ack_take(struct ack *a, const struct json_value *seq, struct ack_label *label);
/* Reports. Sinks report in the order of arrival, and only up to the first record they still hold,
 * but for ACK_EARLY.
 * Only after the fact is durable. No label: nothing. */
void ack_report(struct ack *a, enum ack_kind kind, const struct ack_label *label);
/* Call whenever it is so: a change is told once.
 * idle: a sink holds nothing unanswered and reads its input; a filter holds no record for long.
 * busy: it holds records, or lets them wait in its input, and has a reason to: its server is away,
 * a command is at work. So the source does not blame another program for the delay. For a sink
 * ack_take says it too. */
void ack_idle(struct ack *a);
void ack_busy(struct ack *a);
/* A transaction of these labels (as ack_list_text gives them; may be empty) asks for positions.
 *
 * While a question waits (for a number that some filter holds, and that may yet come here) more
 * records may be taken into the transaction and ack_ask called again with all of its labels: each
 * question has one reply, in order, that of an overtaken one is `again RUN`. has_reply and aborted
 * speak of the last question alone; replies to earlier ones are swallowed. */
void ack_ask(struct ack *a, struct span labels);
/* An ACK_SINK keeps positions. Call behind ack_open, before the first ack_serve. @keeper stays. */
void ack_keep_positions(struct ack *a, const struct ack_keeper *keeper, void *ctx);
/* An ACK_TXN keeps with its transactions a text that a source gives it in place of positions. Call
 * behind ack_open. */
void ack_keep_place(struct ack *a);
/* Tells it, in bytes: what stands with the last transaction that was committed; p NULL: none does.
 * Once. */
void ack_place(struct ack *a, struct span text);
/* The partition is to be read from this offset on; -1: from where the group is. */
void ack_start(struct ack *a, struct span topic, int32_t partition, int64_t offset);
/* Of a partition that was assigned: what was read of it is to be read again, from this offset
 * on. */
void ack_back(struct ack *a, struct span topic, int32_t partition, int64_t offset);
/* Gives a set of labels a name, "#…", which no other program of the pipeline gives. Returns false,
 * and does nothing, when there is no source. A record with the name may be handed on once
 * ack_has_left: until then the name may not have reached the source, and the sink's report may be
 * faster. */
bool ack_name(struct ack *a, const char *name, struct span labels);
/* Whether the socket has taken all that was reported; it is tried. True when there is no source. */
bool ack_has_left(struct ack *a);
/* Permanent trouble: asks the source to stop reading. Only the first reason is told. */
void ack_stop(struct ack *a, const char *reason);

/* At the end of input, or when the program ends by itself: writes what is left and, after `end` or
 * ack_stop, says bye; waits ten seconds at most for a full socket. Reads first what has come, so
 * that `end` is seen. Returns EXIT_DONE; trouble.status, with its sentence on standard error; or
 * EXIT_TEMP with a message when the source ended without `end`: what came may not be all. */
int ack_close(struct ack *a);
/* A sudden end: what was reported leaves if the socket takes it, but no bye, so that the source
 * stops. */
void ack_abandon(struct ack *a);

#endif
