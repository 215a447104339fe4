/* SPDX-License-Identifier: ISC */
/* evchain append - records become entries.
 *
 * DESIGN: what is there to be read is a group: it is written, synced, and only then are its records
 * done. Meanwhile the next ones gather in the pipe, which is made big, so that groups grow with the
 * load.
 *
 * - A head that cannot be signed, or a group that cannot be written, ends the program with 111:
 *   nothing is reported of
 *   what is not on the disk. An unfinished group is taken out of the file again.
 * - With --head-every 0 a group is done once its head is durable too.
 * - EOF: all done, a last head, exit. First SIGTERM: ignored while input is open; the second, or
 *   one after EOF, ends it
 *   at once, without a head: the next start signs what is left. */
#define _GNU_SOURCE
#include "evchain/parts.h"

#include "base/metrics.h"
#include "base/msg.h"
#include "base/num.h"
#include "base/out.h"
#include "base/wake.h"
#include "evchain/origin.h"
#include "evchain/rekey.h"
#include "evchain/repeats.h"
#include "evchain/writer.h"
#include "flow/sink.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

enum {
	SLOTS = 4096,
	WINDOW_BYTES = 1 << 20,
	GROUP_BYTES = 512 << 10, /* from here on a group waits for nothing more */
	PIPE_BYTES = 1 << 20, /* what Linux allows to everybody */
	LOOK_MS = 60000, /* the clock of the wall may be set */
	HEADS_PENDING_MAX = 64 << 10, /* bytes of records of heads for a reader that is slow */
};

static struct {
	struct opt_common common;
	struct input_opts input;
	struct ack_opts ack;
	struct arg_str *key, *head_every, *heads, *rotate, *rekey, *at, *repeats, *file;
	struct arg_lit *pass, *raw, *nul;
} opt;

static struct append {
	struct sink sink;
	struct writer writer;
	struct origin origin;
	struct repeats repeats;
	bool raw;
	int64_t every_ms; /* --head-every */
	int64_t head_ms; /* when the last head was signed; monotonic */
	int64_t rotate_bytes, rotate_ms; /* 0: not by this */
	const char *key_file; /* NULL: there is none */
	int64_t rekey_ms, key_ms; /* --rekey, 0: never; when the key was made */
	struct out heads; /* --heads */
	bool has_heads;
	struct buf record, scratch;
	uint64_t size, signed_size; /* metrics */
} self;

static int64_t clock_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---- records ---- */

_Noreturn static void end_by(struct append *s, const char *what)
{
	const char *file = s->writer.files.file;

	if (errno == ESTALE)
		sink_die(&s->sink, EXIT_PERM,
			"another program has changed, moved or removed '%s': a log has one writer",
			file);
	sink_die(&s->sink, EXIT_TEMP, "cannot %s '%s': %s", what, file, msg_errno(errno));
}

/* Whether the record is in the log already. */
static bool is_repeat(struct append *s, const struct record *r)
{
	struct writer *w = &s->writer;
	uint64_t n = repeats_find(&s->repeats, r);

	if (n == UINT64_MAX)
		return false;
	if (writer_commit(w))
		end_by(s, "write");
	return repeats_is(&s->repeats, &w->files, n, r);
}

static void on_line(struct append *s, struct span line, int64_t now_ms)
{
	struct span source = SPAN_NONE;
	struct record_error e;
	struct record r = {0};

	if (s->raw) {
		buf_clear(&s->scratch);
		buf_putc(&s->scratch, '{');
		record_put_bytes(&s->scratch, "payload", line);
		buf_putc(&s->scratch, '}');
		line = buf_as_span(&s->scratch);
	} else if (record_parse(&r, line, &e)) {
		record_hint_raw(&e);
		sink_refuse_line(&s->sink, &r.seq, false, &e);
		return;
	} else {
		source = origin_of(&s->origin, &r);
	}
	if (!sink_take(&s->sink, &r.seq) || is_repeat(s, &r))
		return;
	writer_add(&s->writer, source, line, now_ms);
	repeats_add(&s->repeats, &r);
}

static void hand_on(void *append, const struct sink_slot *slot, struct span line, struct buf *out)
{
	(void)append;
	(void)slot;
	buf_span(out, line);
}

/* ---- heads ---- */

static void sign(struct append *s)
{
	struct buf *to = &s->record;

	buf_clear(to);
	if (writer_head(&s->writer, clock_ms(), to))
		end_by(s, "write a head of");
	s->head_ms = wake_now_ms();
	s->signed_size = s->writer.has_key ? s->writer.head_size : 0;
	/* A reader that is slow misses heads in between: the next one says more. */
	if (s->has_heads && out_pending(&s->heads) < HEADS_PENDING_MAX)
		buf_span(&s->heads.b, buf_as_span(to));
}

static void send_heads(struct append *s)
{
	if (s->has_heads && out_flush(&s->heads))
		sink_die(&s->sink, EXIT_TEMP, "cannot write heads to descriptor %s: %s",
			opt.heads->sval[0], strerror(errno));
}

/* ---- groups ---- */

static void rotate(struct append *s)
{
	struct writer *w = &s->writer;
	bool is_big = s->rotate_bytes && w->bytes >= (uint64_t)s->rotate_bytes;
	bool is_old = s->rotate_ms && w->first_at >= 0 && clock_ms() - w->first_at >= s->rotate_ms;

	if (w->tree.size == w->first || !(is_big || is_old))
		return;
	if (writer_has_unsigned(w))
		sign(s);
	if (writer_rotate(w))
		end_by(s, "rotate");
}

static void commit(struct append *s)
{
	struct writer *w = &s->writer;

	if (writer_commit(w))
		end_by(s, "write");
	if (!s->every_ms && writer_has_unsigned(w))
		sign(s);
	for (uint64_t i = s->sink.head; i < s->sink.tail; i++)
		sink_done(sink_slot(&s->sink, i));
	s->size = w->tree.size;
	rotate(s);
}

static int rekey_timeout_ms(const struct append *s)
{
	int64_t left_ms = s->key_ms + s->rekey_ms - clock_ms();

	if (!s->rekey_ms)
		return -1;
	return left_ms <= 0 ? 0 : left_ms < LOOK_MS ? (int)left_ms : LOOK_MS;
}

/* From the head that has the new key's entry on. */
static void finish_rekey(struct append *s)
{
	sign(s);
	rekey_turn(&s->writer);
	sign(s);
	if (rekey_end(s->key_file))
		end_by(s, "change the key of");
	s->key_ms = rekey_made_ms(s->key_file);
}

static void rekey(struct append *s)
{
	if (rekey_timeout_ms(s))
		return;
	if (rekey_begin(&s->writer, s->key_file, clock_ms()))
		end_by(s, "change the key of");
	repeats_add(&s->repeats, NULL);
	finish_rekey(s);
	s->size = s->writer.tree.size;
}

/* What a crash has left of a change of keys. */
static void resume_rekey(struct append *s)
{
	struct writer *w = &s->writer;

	if (!w->has_next)
		return;
	if (w->is_named && !w->has_turned) {
		finish_rekey(s);
		return;
	}
	if (!w->has_turned) {
		rekey_forget(w, s->key_file);
		return;
	}
	rekey_turn(w);
	if (rekey_end(s->key_file))
		end_by(s, "change the key of");
}

/* ---- the loop ---- */

static int head_timeout_ms(const struct append *s, int64_t now_ms)
{
	int64_t due_ms = s->head_ms + s->every_ms - now_ms;

	if (!writer_has_unsigned(&s->writer))
		return -1;
	return due_ms < 0 ? 0 : due_ms < INT32_MAX ? (int)due_ms : INT32_MAX;
}

static int rotate_timeout_ms(const struct append *s)
{
	int64_t age_ms = clock_ms() - s->writer.first_at;

	if (!s->rotate_ms || s->writer.first_at < 0)
		return -1;
	return age_ms >= s->rotate_ms		  ? 0
		: s->rotate_ms - age_ms < LOOK_MS ? (int)(s->rotate_ms - age_ms)
						  : LOOK_MS;
}

/* Takes what was read. Returns whether there may be more for the group. */
static bool take_lines(struct append *s)
{
	size_t before = s->writer.group.len;
	int64_t now_ms = clock_ms();
	struct span line;

	while (sink_next(&s->sink, &line))
		on_line(s, line, now_ms);
	return s->writer.group.len > before && s->writer.group.len < GROUP_BYTES;
}

static void loop(struct append *s)
{
	bool gathers = false;

	while (sink_runs(&s->sink)) {
		int64_t now_ms = wake_now_ms();
		struct pollfd p[SINK_FDS + 1];
		int timeout_ms;

		sink_poll(&s->sink, p, true);
		p[SINK_FDS] = (struct pollfd){
			.fd = s->has_heads ? s->heads.fd : -1, .events = out_events(&s->heads)};
		timeout_ms =
			wake_least(sink_timeout_ms(&s->sink, now_ms), head_timeout_ms(s, now_ms));
		timeout_ms = wake_least(timeout_ms, rotate_timeout_ms(s));
		timeout_ms = wake_least(timeout_ms, rekey_timeout_ms(s));
		if (poll(p, SINK_FDS + 1, gathers ? 0 : timeout_ms) < 0) {
			wake_poll_failed();
			continue;
		}
		if (p[SINK_FDS].revents & OUT_GONE)
			sink_die(&s->sink, EXIT_TEMP,
				"the reader of descriptor %s (--heads) has gone",
				opt.heads->sval[0]);
		sink_serve(&s->sink, p);
		gathers = take_lines(s);
		if (gathers)
			continue;
		commit(s);
		rekey(s);
		if (head_timeout_ms(s, wake_now_ms()) == 0)
			sign(s);
		send_heads(s);
		sink_flush(&s->sink, wake_now_ms());
	}
}

/* ---- the command line ---- */

static void parse_options(int argc, char **argv)
{
	static const char *const examples[] = {
		"kread -e -o beginning orders payments | evchain append --key @audit.key audit.ndjson",
		"kread -e -o beginning orders | evchain append --key @audit.key --pass audit.ndjson | rpub 'sse:{topic}'",
		"evchain append --raw --key @audit.key audit.ndjson <access.log",
		NULL,
	};
	static const struct opt_page page = {
		.prog = "evchain",
		.summary = "Appends records to the log FILE, which is made when it is not there.",
		.examples = examples,
		.hints = input_hints,
		.libraries = {evchain_library},
	};

	opt.file = arg_str1(NULL, NULL, "FILE", "the log");
	opt.key = arg_str0(NULL, "key", "FILE",
		"the private key that signs heads (default: they are not signed)");
	opt.head_every = arg_str0(NULL, "head-every", "TIME",
		"sign a head so often; 0: after each group of entries (default 1s)");
	opt.heads = arg_str0(NULL, "heads", "FD", "print each head as a record to this descriptor");
	opt.rotate = arg_str0(NULL, "rotate", "SIZE|TIME",
		"begin a new FILE when it is so big (1G) or so old (1d)");
	opt.rekey = arg_str0(
		NULL, "rekey", "TIME", "make a new key so often (1d), and erase the old one");
	opt.at = arg_str0(NULL, "at", "PLACE",
		"where a record's origin stands, as for evstamp (default .source)");
	opt.repeats = arg_str0(NULL, "repeats", "N",
		"look for records that a source sends again among the last N entries (default 65536)");
	opt.pass = arg_lit0(
		NULL, "pass", "hand each record on once it is in the log: a filter, not a sink");
	opt.raw = arg_lit0(NULL, "raw", "each line is a payload, not a record");
	opt.nul = arg_lit0("0", NULL, "lines end with NUL instead of LF");
	input_opts(&opt.input, INPUT_DEAD_TO_FILE);
	ack_opts(&opt.ack);
	opt_common(&opt.common);
	void *table[] = {opt.file, opt.key, opt.head_every, opt.heads, opt.rotate, opt.rekey,
		opt.at, opt.repeats, opt.pass, opt.raw, opt.nul, INPUT_ENTRIES(opt.input),
		ACK_ENTRIES(opt.ack), OPT_COMMON_ENTRIES(opt.common), arg_end(8)};
	opt_parse(argc, argv, table, &opt.common, &page);
}

/* "1G" is a size, "1d" a time; a bare number is a size. */
static void take_rotate(struct append *s)
{
	const char *text = opt_text(opt.rotate, "--rotate");

	if (!text)
		return;
	if (num_size(text, &s->rotate_bytes) == 0 && s->rotate_bytes > 0)
		return;
	s->rotate_bytes = 0;
	if (num_duration_ms(text, &s->rotate_ms) || s->rotate_ms <= 0)
		opt_bad("--rotate takes a size such as 1G or a time such as 1d, not '%s'", text);
}

static void take_heads(struct append *s)
{
	int64_t fd = opt_int(opt.heads, "--heads", -1, 1, INT32_MAX);

	if (fd < 0)
		return;
	if (!opt.key->count)
		opt_bad("--heads needs --key: without a key there are no heads");
	if ((fd == STDOUT_FILENO && opt.pass->count) || fd == STDERR_FILENO ||
		fcntl((int)fd, F_GETFD) < 0)
		opt_bad("--heads takes an open descriptor that nothing else is written to, not %d",
			(int)fd);
	if (fd > STDERR_FILENO)
		fcntl((int)fd, F_SETFD, FD_CLOEXEC);
	out_open(&s->heads, (int)fd);
	s->has_heads = true;
}

static void open_log(struct append *s)
{
	const char *text = opt_text(opt.key, "--key");
	struct skey key, next;
	bool has_next = false;

	if (text) {
		take_skey(text, &key, &s->key_file);
		/* A new key takes the place of the file, not of a link to it. */
		if (s->key_file)
			s->key_file = file_behind_links(s->key_file);
		has_next = s->key_file && rekey_find(s->key_file, &next);
	}
	s->rekey_ms = opt_duration_ms(opt.rekey, "--rekey", 0);
	if (opt.rekey->count && (!s->key_file || s->rekey_ms <= 0))
		opt_bad("--rekey takes a time such as 1d, and needs --key with the name of a file");
	writer_open(&s->writer, opt_text(opt.file, "FILE"), text ? &key : NULL,
		has_next ? &next : NULL);
	explicit_bzero(&key, sizeof(key));
	explicit_bzero(&next, sizeof(next));
	if (s->key_file)
		s->key_ms = rekey_made_ms(s->key_file);
}

/* Without a source to acknowledge to, nothing comes again. */
static void open_repeats(struct append *s)
{
	int64_t n = opt_int(opt.repeats, "--repeats", 65536, 0, 1 << 28);
	uint64_t window = n ? 1 : 0;

	while (window < (uint64_t)n)
		window *= 2;
	repeats_open(&s->repeats, ack_path(&opt.ack) ? window : 0, &s->writer.files,
		s->writer.tree.size);
	metrics_counter("repeats_total", "Records that came again and were in the log already.",
		METRICS_TOOL, &s->repeats.count);
}

int append_command(int argc, char **argv)
{
	struct append *s = &self;
	int status;

	parse_options(argc, argv);
	s->every_ms = opt_duration_ms(opt.head_every, "--head-every", 1000);
	s->raw = opt.raw->count;
	take_rotate(s);
	take_heads(s);
	origin_open(&s->origin, opt.at->count ? opt_text(opt.at, "--at") : ".source");
	/* A limit of the shell's on a file's size is an error of write like any other. */
	signal(SIGXFSZ, SIG_IGN);
	/* Fewer groups, and so fewer syncs, for what comes fast. Of no pipe it is refused. */
	fcntl(STDIN_FILENO, F_SETPIPE_SZ, PIPE_BYTES);
	open_log(s);
	metrics_gauge("chain_entries", "Entries of the log.", METRICS_TOOL, &s->size);
	metrics_gauge("chain_signed_entries", "Entries that the newest head signs for.",
		METRICS_TOOL, &s->signed_size);
	sink_open(&s->sink,
		&(struct sink_setup){.input = &opt.input,
			.ack = &opt.ack,
			.raw = s->raw,
			.end = opt.nul->count ? '\0' : '\n',
			.role = opt.pass->count ? ACK_FILTER : ACK_SINK,
			.slot_bytes = sizeof(struct sink_slot),
			.slots = SLOTS,
			.window_bytes = WINDOW_BYTES,
			.self = s,
			.hand_on = hand_on});
	open_repeats(s);
	resume_rekey(s);
	sign(s);
	s->size = s->writer.tree.size;
	metrics_set_ready(true);
	loop(s);
	if (writer_has_unsigned(&s->writer))
		sign(s);
	if (s->has_heads && out_close(&s->heads))
		sink_die(&s->sink, EXIT_TEMP, "cannot write heads to descriptor %s: %s",
			opt.heads->sval[0], strerror(errno));
	status = sink_close(&s->sink);
	writer_close(&s->writer);
	origin_close(&s->origin);
	repeats_close(&s->repeats);
	buf_free(&s->record);
	buf_free(&s->scratch);
	return status;
}
