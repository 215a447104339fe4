/* SPDX-License-Identifier: ISC */
/* evchain show - prints entries. A range of numbers or times is found without reading what is
 * before it. */
#define _GNU_SOURCE
#include "evchain/parts.h"

#include "base/line.h"
#include "base/msg.h"
#include "base/num.h"
#include "evchain/entry.h"
#include "evchain/files.h"
#include "evchain/find.h"
#include "record/record.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static struct {
	struct opt_common common;
	struct arg_str *origin, *from, *until, *key, *number, *file;
	struct arg_lit *records;
} opt;

static struct show {
	struct files files;
	const char *origin, *key; /* NULL: any */
	int64_t from_ms, until_ms;
	uint64_t first, last; /* numbers */
	bool is_records;
	struct buf out, scratch;
	int status;
} self;

/* ---- what is shown ---- */

static bool has_origin(struct show *s, const struct entry *e)
{
	struct json_value v = {.type = JSON_STRING, .text = e->source};

	if (!s->origin || !e->source.p)
		return !s->origin;
	v.escaped = memchr(e->source.p, '\\', e->source.len) != NULL;
	return json_is(&v, s->origin);
}

static bool has_key(struct show *s, const struct entry *e)
{
	struct record_error error;
	struct record r;
	struct span key;

	if (!s->key)
		return true;
	buf_clear(&s->scratch);
	return record_parse(&r, e->record, &error) == 0 &&
		record_key(&r, &s->scratch, &key, &error) == RECORD_BYTES && span_is(key, s->key);
}

static void flush(struct show *s)
{
	if (file_write(STDOUT_FILENO, buf_as_span(&s->out)) == 0) {
		buf_clear(&s->out);
		return;
	}
	if (errno == EPIPE)
		die(EXIT_TEMP, "the reader of standard output has gone");
	die(EXIT_TEMP, "cannot write standard output: %s", strerror(errno));
}

static void print(struct show *s, struct span text)
{
	enum { BLOCK = 64 << 10 };

	buf_span(&s->out, text);
	buf_putc(&s->out, '\n');
	if (s->out.len >= BLOCK)
		flush(s);
}

/* Returns whether there may be more behind it. */
static bool show_line(struct show *s, const char *path, struct span line)
{
	struct entry e;

	if (entry_parse(line, &e)) {
		msg_error("'%s': a line is no entry: see what 'evchain verify' says", path);
		s->status = EXIT_REFUSED;
		return true;
	}
	if (e.n > s->last || e.at >= s->until_ms)
		return false;
	if (e.n >= s->first && e.at >= s->from_ms && has_origin(s, &e) && has_key(s, &e))
		print(s, s->is_records ? e.record : line);
	return true;
}

/* ---- where it stands ---- */

/* Moves to the first line that can be shown. */
static void seek(struct show *s, int fd)
{
	int64_t place = 0, later;

	if (s->first)
		place = find_entry(fd, index_find(s->files.dir, s->first), s->first);
	if (place >= 0 && s->from_ms > 0) {
		later = find_line(fd, FIND_TIME, (uint64_t)s->from_ms);
		place = later < 0 || later > place ? later : place;
	}
	if (place < 0 || lseek(fd, place, SEEK_SET) < 0)
		die(EXIT_TEMP, "cannot read '%s': %s", s->files.file, strerror(errno));
}

/* Returns whether there may be more in the next segment. */
static bool show_segment(struct show *s, const struct segment *g)
{
	int fd = open(g->path, O_RDONLY | O_CLOEXEC);
	enum line_status got;
	bool more = true;
	struct span text;
	struct line l;

	if (fd < 0)
		die(EXIT_TEMP, "cannot open '%s': %s", g->path, msg_errno(errno));
	seek(s, fd);
	line_init(&l, fd, '\n', SIZE_MAX / 4);
	while (more && (got = line_next(&l, &text)) != LINE_END) {
		if (got == LINE_WHOLE)
			more = show_line(s, g->path, text);
		else if (got == LINE_NONE && line_read(&l) < 0)
			die(EXIT_TEMP, "cannot read '%s': %s", g->path, strerror(errno));
		/* A torn line is being written, or is of a group that nobody was told of. */
	}
	line_free(&l);
	close(fd);
	return more;
}

static void show(struct show *s)
{
	bool more = true;

	files_list(&s->files);
	if (!s->files.count)
		die(EXIT_PERM, "cannot open '%s': %s", s->files.file, strerror(ENOENT));
	for (size_t i = 0; i < s->files.count && more; i++)
		if (s->files.segments[i].last >= s->first)
			more = show_segment(s, &s->files.segments[i]);
	flush(s);
}

/* ---- the command line ---- */

static void parse_options(int argc, char **argv)
{
	static const char *const examples[] = {
		"evchain show --origin cloud-run-api --from -1h audit.ndjson",
		"evchain show --records --number 100-199 audit.ndjson | kwrite -t again",
		NULL,
	};
	static const struct opt_page page = {
		.prog = "evchain",
		.summary = "Prints entries of the log FILE as they stand.",
		.examples = examples,
		.libraries = {evchain_library},
	};

	opt.file = arg_str1(NULL, NULL, "FILE", "the log");
	opt.origin = arg_str0(NULL, "origin", "NAME", "entries of this origin alone");
	opt.from = arg_str0(NULL, "from", "TIME",
		"entries from this time on: ms, ISO 8601, or -1h (an hour ago)");
	opt.until = arg_str0(NULL, "until", "TIME", "entries before this time");
	opt.key = arg_str0(NULL, "key", "KEY", "entries whose record has this key");
	opt.number = arg_str0(NULL, "number", "N[-[M]]", "these entries alone, from 0");
	opt.records = arg_lit0(NULL, "records", "print the records alone, as they came");
	opt_common(&opt.common);
	void *table[] = {opt.file, opt.origin, opt.from, opt.until, opt.key, opt.number,
		opt.records, OPT_COMMON_ENTRIES(opt.common), arg_end(8)};
	opt_parse(argc, argv, table, &opt.common, &page);
}

static int64_t take_time(const struct arg_str *a, const char *name, int64_t absent)
{
	int64_t ms;

	if (!a->count)
		return absent;
	if (num_time_ms(a->sval[0], (int64_t)time(NULL) * 1000, &ms))
		opt_bad("%s takes ms since the epoch, ISO 8601, or -1h, not '%s'", name,
			a->sval[0]);
	return ms;
}

/* "N", "N-", "N-M". */
static void take_number(struct show *s)
{
	const char *text = opt_text(opt.number, "--number");
	char *end;

	s->last = UINT64_MAX;
	if (!text)
		return;
	if (text[0] < '0' || text[0] > '9')
		opt_bad("--number takes N, N- or N-M, not '%s'", text);
	s->first = s->last = strtoull(text, &end, 10);
	if (*end == '-' && !end[1]) {
		s->last = UINT64_MAX;
		end++;
	} else if (*end == '-' && end[1] >= '0' && end[1] <= '9') {
		s->last = strtoull(end + 1, &end, 10);
	}
	if (*end || s->first > s->last)
		opt_bad("--number takes N, N- or N-M, not '%s'", text);
}

int show_command(int argc, char **argv)
{
	struct show *s = &self;

	parse_options(argc, argv);
	s->origin = opt_text(opt.origin, "--origin");
	s->key = opt_text(opt.key, "--key");
	s->from_ms = take_time(opt.from, "--from", 0);
	s->until_ms = take_time(opt.until, "--until", INT64_MAX);
	if (s->from_ms >= s->until_ms)
		opt_bad("--until is not after --from: no entry could be shown");
	s->is_records = opt.records->count;
	take_number(s);
	signal(SIGPIPE, SIG_IGN);
	files_open_if(&s->files, opt_text(opt.file, "FILE"));
	show(s);
	if (close(STDOUT_FILENO))
		die(EXIT_TEMP, "cannot write standard output: %s", strerror(errno));
	files_close(&s->files);
	buf_free(&s->out);
	buf_free(&s->scratch);
	return s->status;
}
