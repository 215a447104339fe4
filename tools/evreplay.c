/* SPDX-License-Identifier: ISC */
/* evreplay - lets records go at the pace at which they came to be.
 *
 * DESIGN: records wait in a heap, the oldest on top, and go out when it is their time: the gap to
 * the record before, divided by --speed, and never longer than --max-gap. A topic's partitions and
 * a unit's sources come one block after the other, so the heap is filled ahead (--ahead), and the
 * first record waits until input pauses: then partitions are mixed by time. Within a partition the
 * order stays, whatever the times say. Lines go on as they came, byte for byte.
 *
 * A record whose time is over goes at once. When the reader or the input was late for more than a
 * second, what follows keeps its gaps and is late too; less is made up for.
 *
 * A signal: an input that is a file ends at once, since it can be read again. With a pipe, or when
 * the unit is stopped, the gaps end: the rest goes out, and the program ends with its input. Under
 * acknowledgements it hands each record on and reports nothing; it says that it is busy while it
 * holds some. */
#include "base/mem.h"
#include "base/opt.h"
#include "base/out.h"
#include "base/wake.h"
#include "flow/filter.h"
#include "record/record.h"

#include <math.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	PAUSE_MS = 100, /* input that is silent for so long has given what it has */
	FIRST_MS = 1000, /* the first record waits no longer */
	LATE_MS = 1000,
	LOOK_MS = 200, /* whether the unit is being stopped */
	AHEAD_DEFAULT = 16 << 20,
};

#define NO_TIME INT64_MIN

struct kept {
	int64_t ms; /* its place in time */
	uint64_t number; /* of its arrival */
	size_t len;
	char text[];
};

/* A partition, or another sequence whose order stays. */
struct part {
	char *name;
	size_t len;
	int64_t ms; /* of its last record */
};

struct evreplay {
	double speed;
	double max_gap_ms;
	size_t ahead;
	bool from_file;
	struct kept **heap;
	size_t count, room, bytes;
	struct part *parts;
	size_t part_count;
	uint64_t taken;
	int64_t newest_ms; /* of all records */
	int64_t first_in_ms, last_in_ms; /* when records came in */
	bool started;
	int64_t last_ms; /* the record before: its time … */
	double last_due_ms; /* … and when it was due */
	struct buf name;
};

static struct {
	struct opt_common common;
	struct input_opts input;
	struct ack_opts ack;
	struct arg_str *speed, *max_gap, *ahead;
} opt;

/* ---- the heap ---- */

static bool is_before(const struct kept *a, const struct kept *b)
{
	return a->ms != b->ms ? a->ms < b->ms : a->number < b->number;
}

static void push(struct evreplay *r, struct kept *k)
{
	size_t i = r->count++;

	if (r->count > r->room) {
		r->room = r->room ? r->room * 2 : 1024;
		r->heap = mem_realloc(r->heap, r->room * sizeof(struct kept *));
	}
	for (; i && is_before(k, r->heap[(i - 1) / 2]); i = (i - 1) / 2)
		r->heap[i] = r->heap[(i - 1) / 2];
	r->heap[i] = k;
	r->bytes += k->len;
}

static struct kept *pop(struct evreplay *r)
{
	struct kept *top = r->heap[0], *last = r->heap[--r->count];
	size_t i = 0, child;

	while ((child = 2 * i + 1) < r->count) {
		if (child + 1 < r->count && is_before(r->heap[child + 1], r->heap[child]))
			child++;
		if (!is_before(r->heap[child], last))
			break;
		r->heap[i] = r->heap[child];
		i = child;
	}
	r->heap[i] = last;
	r->bytes -= top->len;
	return top;
}

/* ---- records come in ---- */

static struct part *part_of(struct evreplay *r, const struct record *record)
{
	struct buf *name = &r->name;
	size_t i = 0;

	buf_clear(name);
	buf_span(name, record->topic.text);
	buf_putc(name, '\0');
	buf_span(name, record->partition.text);
	buf_putc(name, '\0');
	buf_span(name, record->stream.text);
	buf_span(name, record->stream_b64.text);
	while (i < r->part_count &&
		(r->parts[i].len != name->len || memcmp(r->parts[i].name, name->p, name->len) != 0))
		i++;
	if (i == r->part_count) {
		r->parts = mem_realloc(r->parts, ++r->part_count * sizeof(*r->parts));
		r->parts[i] = (struct part){mem_alloc(name->len), name->len, NO_TIME};
		memcpy(r->parts[i].name, name->p, name->len);
	}
	return &r->parts[i];
}

/* Its time, but not before that of the record in front of it. A record that has none stands where
 * it came. */
static int64_t place_in_time(struct evreplay *r, const struct record *record)
{
	int64_t ms = record_time_ms(record);
	struct part *part;

	if (ms == -1)
		return r->newest_ms;
	part = part_of(r, record);
	if (part->ms > ms)
		ms = part->ms;
	part->ms = ms;
	if (ms > r->newest_ms)
		r->newest_ms = ms;
	return ms;
}

static enum filter_verdict on_record(
	void *self, const struct record *record, struct buf *out, struct record_error *e)
{
	struct evreplay *r = self;
	struct kept *k = mem_alloc(sizeof(*k) + record->line.len);

	(void)out;
	(void)e;
	k->ms = place_in_time(r, record);
	k->number = r->taken++;
	k->len = record->line.len;
	memcpy(k->text, record->line.p, k->len);
	push(r, k);
	r->last_in_ms = wake_now_ms();
	if (k->number == 0)
		r->first_in_ms = r->last_in_ms;
	return FILTER_KEEP;
}

static bool is_full(void *self)
{
	const struct evreplay *r = self;

	return r->bytes + r->count * sizeof(struct kept) >= r->ahead;
}

/* ---- records go out ---- */

/* How long the first record still waits for what comes of other partitions. */
static int64_t settles_ms(struct evreplay *r, int64_t now_ms, bool ended)
{
	int64_t pause_ms = r->last_in_ms + PAUSE_MS, first_ms = r->first_in_ms + FIRST_MS;
	int64_t until_ms = pause_ms < first_ms ? pause_ms : first_ms;

	if (r->started || ended || is_full(r) || now_ms >= until_ms) {
		if (!r->started)
			r->last_due_ms = (double)now_ms;
		r->started = true;
		return 0;
	}
	return until_ms - now_ms;
}

static double due_ms(const struct evreplay *r, const struct kept *k, int64_t now_ms)
{
	double gap = 0, due;

	if (k->ms != NO_TIME && r->last_ms != NO_TIME && k->ms > r->last_ms)
		gap = ((double)k->ms - (double)r->last_ms) / r->speed;
	due = r->last_due_ms + (gap < r->max_gap_ms ? gap : r->max_gap_ms);
	return due < (double)(now_ms - LATE_MS) ? (double)now_ms : due;
}

static void put(struct evreplay *r, struct buf *out)
{
	struct kept *k = pop(r);

	buf_put(out, k->text, k->len);
	buf_putc(out, '\n');
	if (k->ms > r->last_ms)
		r->last_ms = k->ms;
	free(k);
}

static int64_t emit(void *self, int64_t now_ms, bool ended, struct buf *out, uint64_t *count)
{
	struct evreplay *r = self;
	int64_t wait_ms;
	bool hurries;

	if (!r->count)
		return -1;
	hurries = !r->from_file && wake_stopped();
	wait_ms = hurries ? 0 : settles_ms(r, now_ms, ended);
	if (wait_ms)
		return wait_ms;
	while (r->count && out->len < OUT_BLOCK) {
		double due = due_ms(r, r->heap[0], now_ms);

		if (!hurries && due > (double)now_ms) {
			double left = ceil(due - (double)now_ms);

			return left < LOOK_MS ? (int64_t)left : LOOK_MS;
		}
		r->last_due_ms = due;
		put(r, out);
		++*count;
	}
	return r->count ? 0 : -1;
}

/* ---- the command line ---- */

static void parse_options(int argc, char **argv)
{
	static const char *const examples[] = {
		"kread -o @-1h --until @-30m orders | evreplay --speed 10 | rpub 'sse:{topic}'",
		"evreplay --max-gap 5s <day.ndjson | kwrite -t rehearsal",
		NULL,
	};
	static const struct opt_page page = {
		.prog = "evreplay",
		.summary = "Lets records go at the pace at which they came to be.",
		.examples = examples,
		.hints = input_hints,
	};

	opt.speed = arg_str0("s", "speed", "N", "so many times as fast (default 1)");
	opt.max_gap = arg_str0("m", "max-gap", "TIME", "wait no longer than this for a record");
	opt.ahead = arg_str0(NULL, "ahead", "SIZE",
		"read so much ahead, to mix partitions by time (default 16M)");
	input_opts(&opt.input, INPUT_DEAD_TO_FILE);
	ack_opts(&opt.ack);
	opt_common(&opt.common);
	void *table[] = {opt.speed, opt.max_gap, opt.ahead, INPUT_ENTRIES(opt.input),
		ACK_ENTRIES(opt.ack), OPT_COMMON_ENTRIES(opt.common), arg_end(8)};
	opt_parse(argc, argv, table, &opt.common, &page);
}

static void take_options(struct evreplay *r)
{
	struct stat st;
	char *end;

	r->speed = 1;
	if (opt.speed->count) {
		const char *text = opt.speed->sval[0];

		r->speed = strtod(text, &end);
		if (end == text || *end || !(r->speed > 0) || !isfinite(r->speed))
			opt_bad("--speed takes a number above 0 such as 10 or 0.5, not '%s'", text);
	}
	r->max_gap_ms = INFINITY;
	if (opt.max_gap->count)
		r->max_gap_ms = (double)opt_duration_ms(opt.max_gap, "--max-gap", 0);
	r->ahead = (size_t)opt_size(opt.ahead, "--ahead", AHEAD_DEFAULT);
	if (!r->ahead)
		opt_bad("--ahead takes a size above 0");
	r->from_file = fstat(STDIN_FILENO, &st) == 0 && S_ISREG(st.st_mode);
	r->last_ms = r->newest_ms = NO_TIME;
}

int main(int argc, char **argv)
{
	static const struct filter_later later = {.emit = emit, .is_full = is_full};
	static struct evreplay r;

	parse_options(argc, argv);
	take_options(&r);
	return filter_run(&(struct filter){
		.each = on_record,
		.self = &r,
		.input = &opt.input,
		.ack = &opt.ack,
		.later = &later,
	});
}
