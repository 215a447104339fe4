/* SPDX-License-Identifier: ISC */
/* rapply - apply a log of commands to Redis, in order, once.
 *
 * DESIGN: a batch of records is one transaction, which also writes the position of each partition
 * in it: the offset of the last record that was applied. So records and positions are there
 * together or not at all, and the position in Redis, not the group's, decides where reading begins
 * (evpipe-ack(7), positions).
 *
 * 	WATCH and MGET of the positions → compared with those that the batch follows → MULTI,
 *  commands, SET of
 * 	the new positions, EXEC; and with it, in one write, WATCH and MGET for the next batch
 *
 * - A batch says which position it follows, so that only the next records of the log can ever be
 *   applied, whoever
 *   sends them: a process that was stopped for an hour does no harm, and needs no epoch to be told
 *   so.
 * - When positions and ours differ: Redis is ahead: another process, or our own batch whose answer
 *   was lost, has
 *   applied these records; they are done. Redis is behind: it has lost its tail (a failover, an old
 *   dump,
 *   FLUSHALL); the source is told to go back, and records that it had read before are dropped
 *   unreported.
 * - One batch is in flight; the next one is encoded meanwhile, so that it grows to what comes
 *   during a round trip.
 * - Partitions without records are compared once a second: nothing else would find out.
 * - A batch that Redis refuses as a whole (memory, disk, replicas, a role) waits, with back-off.
 *   One with a record that
 *   is no command is sent again without that record, whose dead letter is durable before the
 *   position passes it.
 * - In a cluster a transaction has one slot, so each slot has a position, and what a batch has for
 *   a slot is a script that
 *   compares the position itself (shards.c): each round trip takes as many as there are.
 * - Input is read while Redis is there. EOF: all records done, then exit. Signals: as all sinks.
 *
 * Files: rapply.c the command line and the loop; commands.c records to commands, names.c those that
 * are refused; places.c partitions and positions; batch.c what is sent, replies.c what is answered;
 * in a cluster keys.c the keys of commands, spots.c the table of positions, looks.c how they are
 * read, shards.c what is sent, answers.c what is answered. */
#include "rapply/rapply.h"

#include "base/metrics.h"
#include "base/msg.h"
#include "base/opt.h"
#include "base/wake.h"
#include "flow/rsink.h"
#include "net/tls.h"

#include <stdlib.h>
#include <string.h>

enum { SLOTS = 8192, WINDOW_BYTES = 4 << 20, BATCH_MAX = SLOTS / 2, IDLE_MS = 10000 };

static struct {
	struct opt_common common;
	struct input_opts input;
	struct ack_opts ack;
	struct sink_opts sink;
	struct redis_opts redis;
	struct arg_str *position, *on_gap, *wait, *allow, *form, *batch;
	struct arg_lit *adopt;
} opt;

static struct rapply self;

/* ---- the loop ---- */

static void on_redis(struct rapply *s, const struct pollfd *p)
{
	enum redis_news news = rsink_step(&s->sink, &s->redis, p, s->now_ms);

	if (news == REDIS_CAME)
		s->look_due = true;
	if (s->waits)
		metrics_set_ready(false);
	replies_take(s);
	if (news == REDIS_WENT)
		replies_lost(s);
}

static void at_least(uint64_t *number, uint64_t least)
{
	*number = *number < least ? least : *number;
}

static void settle(void *rapply, enum ack_kind kind, const struct ack_label *label)
{
	struct rapply *s = rapply;

	s->sink.settled = s->sink.head + 1;
	/* Another process may have applied more than the ring holds, in which the next records take
	 * the places of these. */
	at_least(&s->flight, s->sink.head + 1);
	at_least(&s->sent, s->sink.head + 1);
	at_least(&s->encoded, s->sink.head + 1);
	if (slot_at(s, s->sink.head)->stale)
		return;
	ack_report(&s->sink.ack, kind, label);
	if (kind == ACK_FINAL)
		metrics.records_out = ++metrics.forwarded;
}

/* Positions are read each second, which a server that takes no writes answers as any other. */
static void try_idle(struct rapply *s)
{
	if (s->in_flight || s->waits || s->redis.state != REDIS_UP)
		s->idle_ms = s->now_ms;
	if (s->now_ms - s->idle_ms < IDLE_MS)
		return;
	redis_try(&s->redis);
	s->idle_ms = s->now_ms;
}

static void loop(struct rapply *s)
{
	/* The last positions may have no record behind them. */
	while (sink_runs(&s->sink) || s->in_flight || s->next_places ||
		(s->spots && shards_finish(s))) {
		struct pollfd p[RSINK_FDS];

		s->now_ms = wake_now_ms();
		if (!rsink_wait(&s->sink, &s->redis, p,
			    s->redis.state == REDIS_UP && batch_has_room(s),
			    batch_timeout_ms(s, s->now_ms)))
			continue;
		s->now_ms = wake_now_ms();
		on_redis(s, p);
		s->sink.owes = !sink_count(&s->sink) && (s->in_flight || s->next_places)
			? "positions are not in redis"
			: NULL;
		sink_serve(&s->sink, p);
		sink_server(&s->sink, s->redis.state == REDIS_UP && !s->waits, s->now_ms);
		batch_fill(s);
		try_idle(s);
		batch_send(s);
		if (!sink_count(&s->sink) && !s->in_flight)
			ack_idle(&s->sink.ack);
		/* Dead letters become durable before the position passes their records. */
		rsink_flush(&s->sink, &s->redis, s->now_ms);
	}
}

/* ---- the command line ---- */

static void parse_options(int argc, char **argv)
{
	static const char *const examples[] = {
		"evpipe -n applier kread -g applier redis-writes '|' rapply",
		"evpipe -n cache kread -g cache prices '|' rapply --as hash -u \"$CACHE\"",
		NULL,
	};
	static const struct opt_page page = {
		.prog = "rapply",
		.summary = "Applies a log of Redis commands to Redis, in order, each once.",
		.examples = examples,
		.libraries = {link_library, tls_library},
		.hints = redis_hints,
	};

	opt.position = arg_str0(NULL, "position", "KEY|none",
		"prefix of the keys that hold the positions (default evpipe:pos)");
	opt.adopt = arg_lit0(NULL, "adopt",
		"without a position in redis begin at the consumer group's, not at the beginning");
	opt.on_gap = arg_str0(NULL, "on-gap", "stop|go",
		"what records do that kafka deleted before they were applied (default stop)");
	opt.wait = arg_str0(
		NULL, "wait", "N", "a record is final when N replicas have it too (default 0)");
	opt.allow =
		opt_many(NULL, "allow", "CMD", 0, "let a dangerous command through, such as EVAL");
	opt.form = arg_str0(NULL, "as", "command|string|hash",
		"what payloads are: commands (default), or the value of the record's key");
	opt.batch =
		arg_str0(NULL, "batch", "N", "at most N records in a transaction (default 1000)");
	redis_opts(&opt.redis);
	input_opts(&opt.input, INPUT_DEAD_TO_FILE);
	sink_opts(&opt.sink);
	ack_opts(&opt.ack);
	opt_common(&opt.common);
	void *table[] = {opt.form, opt.position, opt.adopt, opt.on_gap, opt.wait, opt.allow,
		opt.batch, INPUT_ENTRIES(opt.input), SINK_ENTRIES(opt.sink), ACK_ENTRIES(opt.ack),
		REDIS_ENTRIES(opt.redis), OPT_COMMON_ENTRIES(opt.common), arg_end(8)};
	opt_parse(argc, argv, table, &opt.common, &page);
}

static void take_position(struct rapply *s)
{
	const char *key = opt_text(opt.position, "--position");
	static struct buf prefix;

	s->position = !key ? "evpipe:pos" : strcmp(key, "none") ? key : NULL;
	s->adopt = opt.adopt->count;
	if (s->position) {
		buf_puts(&prefix, s->position);
		buf_putc(&prefix, ':');
		s->commands.positions = buf_as_span(&prefix);
	} else if (s->adopt || opt.on_gap->count) {
		opt_bad("--adopt and --on-gap need positions");
	}
}

static void take_form(struct rapply *s)
{
	static const char *const forms[] = {"command", "string", "hash"};
	const char *form = opt_text(opt.form, "--as");

	for (size_t i = 0; form && i < sizeof(forms) / sizeof(*forms); i++)
		if (strcmp(form, forms[i]) == 0) {
			s->commands.form = (enum commands_form)i;
			form = NULL;
		}
	if (form)
		opt_bad("--as takes command, string or hash, not '%s'", form);
}

static void take_options(struct rapply *s)
{
	const char *on_gap = opt_text(opt.on_gap, "--on-gap"), *why;

	take_position(s);
	take_form(s);
	if (on_gap && strcmp(on_gap, "stop") && strcmp(on_gap, "go"))
		opt_bad("--on-gap takes stop or go, not '%s'", on_gap);
	s->gap_go = on_gap && strcmp(on_gap, "go") == 0;
	s->wait = (int)opt_int(opt.wait, "--wait", 0, 0, 1000);
	s->batch_max = (uint64_t)opt_int(opt.batch, "--batch", 1000, 1, BATCH_MAX);
	s->commands.allowed = opt.allow->sval;
	s->commands.allowed_count = opt.allow->count;
	for (int i = 0; i < opt.allow->count; i++)
		if (!commands_can_allow(opt.allow->sval[i], &why))
			opt_bad("--allow %s: %s", opt.allow->sval[i], why);
}

static void count(struct rapply *s)
{
	metrics_counter("gaps_total", "Times that records were gone before they were applied.",
		METRICS_TOOL, &s->gaps);
	metrics_counter("lost_records_total", "Records that were gone before they were applied.",
		METRICS_TOOL, &s->lost);
	metrics_counter("position_losses_total", "Times that redis had lost what was applied.",
		METRICS_TOOL, &s->backs);
	metrics_counter("wait_shortfalls_total",
		"Times that fewer replicas than --wait had the records in time.", METRICS_TOOL,
		&s->shortfalls);
	metrics_counts(METRICS_ERRORS);
}

int main(int argc, char **argv)
{
	/* Refused in any case, and for another reason while the server takes no writes. */
	static const char *const probe[] = {"XADD", "evpipe:probe", "0-0", "a", "b"};
	struct rapply *s = &self;
	int status;

	parse_options(argc, argv);
	take_options(s);
	count(s);
	redis_open(&s->redis, &opt.redis, REDIS_COMMANDS);
	s->commands.in_script = s->redis.url.kind == REDIS_CLUSTER;
	if (s->commands.in_script)
		spots_open(s);
	redis_probe(&s->redis, 5, probe);
	sink_open(&s->sink,
		&(struct sink_setup){.input = &opt.input,
			.ack = &opt.ack,
			.opts = &opt.sink,
			.end = '\n',
			.role = ACK_SINK,
			.slot_bytes = sizeof(struct rapply_slot),
			.slots = SLOTS,
			.window_bytes = WINDOW_BYTES,
			.self = s,
			.settle = settle});
	places_open(s);
	s->watch = 1;
	loop(s);
	status = sink_close(&s->sink);
	redis_close(&s->redis);
	spots_free(s);
	places_free(s);
	commands_free(&s->commands);
	free(s->look);
	free(s->refusals.p);
	buf_free(&s->next);
	buf_free(&s->scratch);
	return status;
}
