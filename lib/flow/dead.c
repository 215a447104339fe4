/* SPDX-License-Identifier: ISC */
/* DESIGN: a dead letter is appended whole under flock(2), since programs of one pipeline may share
 * the file. Under the lock the open file is compared with the one that has the name now: a rotation
 * may have moved or removed it, and a letter in a file without a name is lost. A torn letter of a
 * killed writer is ended with a LF first, and a letter that a full disk has truncated is taken
 * back. fdatasync is put off to dead_sync, so that a block of bad lines costs one. */
#define _GNU_SOURCE
#include "flow/dead.h"

#include "base/mem.h"
#include "base/msg.h"
#include "json/json.h"
#include "base/metrics.h"
#include "base/wake.h"
#include "record/record.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* So many messages of one class are shown; further ones are only counted. */
enum { SHOWN_MAX = 10, LOCK_MS = 10000, LOCK_STEP_MAX_US = 10000 };

/* A new file is durable once its directory is synced. */
static void sync_directory(const char *file)
{
	char *copy = mem_dup(file);
	int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0) {
		fsync(fd);
		close(fd);
	}
	free(copy);
}

/* Whether opening the file may succeed later without a change by the user. */
static bool is_shortage(int error)
{
	return error == EMFILE || error == ENFILE || error == ENOMEM || error == ENOSPC ||
		error == EDQUOT || error == EIO;
}

/* A pipe that is opened for reading too would never be seen to have no reader. Waits for one for a
 * while. */
static int open_pipe(const struct dead *d)
{
	int64_t until_ms = wake_now_ms() + d->lock_ms;
	int fd;

	while ((fd = open(d->file, O_WRONLY | O_NONBLOCK | O_CLOEXEC)) < 0 && errno == ENXIO &&
		wake_now_ms() < until_ms)
		nanosleep(&(struct timespec){.tv_nsec = LOCK_STEP_MAX_US * 1000}, NULL);
	if (fd < 0 && errno == ENXIO)
		die(EXIT_TEMP, "nobody reads the pipe '%s', which is to take dead letters",
			d->file);
	if (fd >= 0)
		fcntl(fd, F_SETFL, O_APPEND);
	return fd;
}

static void open_file(struct dead *d, bool first)
{
	struct stat st;

	if (!stat(d->file, &st) && S_ISFIFO(st.st_mode))
		d->fd = open_pipe(d);
	else
		d->fd = open(d->file, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	if (d->fd < 0)
		die(first && !is_shortage(errno) ? EXIT_PERM : EXIT_TEMP,
			"cannot open the dead-letter file '%s': %s", d->file, msg_errno(errno));
	sync_directory(d->file);
}

void dead_open(
	struct dead *d, const char *on_error, const char *file, dead_give_fn *give, void *ctx)
{
	*d = (struct dead){.policy = DEAD_STOP, .file = file, .fd = -1, .lock_ms = LOCK_MS};
	metrics_counts(METRICS_ERRORS | METRICS_DEAD_LETTERS);
	if (on_error && file)
		die(EXIT_PERM,
			"--on-error and --dead-letter exclude each other: a dead letter is kept and the program goes on");
	if (on_error && strcmp(on_error, "skip") == 0)
		d->policy = DEAD_SKIP;
	else if (on_error && strcmp(on_error, "stop"))
		die(EXIT_PERM, "--on-error takes stop or skip, not '%s'", on_error);
	if (!file)
		return;
	if (strncmp(file, "kafka:", 6) == 0) {
		if (!give)
			die(EXIT_PERM,
				"--dead-letter %s: only kwrite writes dead letters to a topic; give a FILE (./%s, if this is one)",
				file, file);
		d->policy = DEAD_TOPIC;
		d->give = give;
		d->ctx = ctx;
		return;
	}
	d->policy = DEAD_FILE;
	open_file(d, true);
}

bool dead_is_file_of(const struct dead *d, int fd)
{
	struct stat a, b;

	return d->fd >= 0 && fstat(d->fd, &a) == 0 && fstat(fd, &b) == 0 && S_ISREG(b.st_mode) &&
		a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

static void write_all(struct dead *d, struct span s)
{
	while (s.len) {
		ssize_t n = write(d->fd, s.p, s.len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			int saved = errno;
			struct stat st;

			if (d->start >= 0 && !fstat(d->fd, &st) && st.st_size > d->start &&
				ftruncate(d->fd, d->start))
				msg_error("cannot take back a torn dead letter in '%s': %s",
					d->file, msg_errno(errno));
			die(EXIT_TEMP, "cannot write to the dead-letter file '%s': %s", d->file,
				msg_errno(saved));
		}
		s.p += n;
		s.len -= (size_t)n;
	}
}

/* A lock of the kernel has no limit of time; so it is asked for again and again. */
static void take_lock(struct dead *d)
{
	int64_t until_ms = wake_now_ms() + d->lock_ms;
	long step_us = 50;

	/* Another error: the file system has no locks. */
	while (flock(d->fd, LOCK_EX | LOCK_NB) && (errno == EWOULDBLOCK || errno == EINTR)) {
		if (wake_now_ms() >= until_ms)
			die(EXIT_TEMP,
				"cannot lock the dead-letter file '%s' within %d ms: another program holds its lock",
				d->file, d->lock_ms);
		nanosleep(&(struct timespec){.tv_nsec = step_us * 1000}, NULL);
		step_us = step_us * 2 < LOCK_STEP_MAX_US ? step_us * 2 : LOCK_STEP_MAX_US;
	}
}

/* Locks the file for one dead letter, which is the one that has the name now, and notes where the
 * letter begins. */
static void lock(struct dead *d)
{
	struct stat st, named;
	char last;

	take_lock(d);
	d->start = -1;
	if (fstat(d->fd, &st) || !S_ISREG(st.st_mode))
		return;
	while (stat(d->file, &named) || named.st_dev != st.st_dev || named.st_ino != st.st_ino) {
		msg_info("the dead-letter file '%s' was moved or removed; it is opened anew",
			d->file);
		dead_sync(d);
		close(d->fd);
		open_file(d, false);
		d->replaced = true;
		take_lock(d);
		if (fstat(d->fd, &st) || !S_ISREG(st.st_mode))
			return;
	}
	d->start = st.st_size;
	if (st.st_size && pread(d->fd, &last, 1, st.st_size - 1) == 1 && last != '\n')
		write_all(d, SPAN("\n"));
}

static void end(struct dead *d)
{
	buf_putc(&d->b, '}');
	if (d->policy == DEAD_TOPIC) {
		d->give(d->ctx, buf_as_span(&d->b));
		return;
	}
	buf_putc(&d->b, '\n');
	lock(d);
	write_all(d, buf_as_span(&d->b));
	flock(d->fd, LOCK_UN);
	d->dirty = true;
}

static void begin(struct dead *d, enum errclass c, const char *message)
{
	struct span text = {message, strlen(message)};
	struct timespec ts;
	struct tm tm;
	char at[32];

	clock_gettime(CLOCK_REALTIME, &ts);
	gmtime_r(&ts.tv_sec, &tm);
	strftime(at, sizeof(at), "%Y-%m-%dT%H:%M:%S", &tm);
	buf_clear(&d->b);
	buf_printf(&d->b, "{\"error\":{\"tool\":\"%s\",\"class\":\"%s\",\"message\":\"", msg_prog(),
		errclass_name(c));
	json_escape(&d->b, text);
	buf_printf(&d->b, "\",\"at\":\"%s.%03ldZ\"},", at, ts.tv_nsec / 1000000);
}

/* @place: of the record, or nothing. Returns whether the program may go on. */
static bool count(struct dead *d, enum errclass c, const char *message, const char *place)
{
	d->refused++;
	metrics.errors[c]++;
	if (d->policy == DEAD_STOP) {
		msg_error("%s (%s)%s", message, errclass_name(c), place);
		d->stopped = true;
		return false;
	}
	if (d->shown[c]++ < SHOWN_MAX)
		msg_warn("%s (%s)%s", message, errclass_name(c), place);
	if (d->shown[c] == SHOWN_MAX)
		msg_warn("further records refused as %s are only counted", errclass_name(c));
	if (dead_keeps(d))
		metrics.dead_letters[c]++;
	return true;
}

static void put_line(struct dead *d, struct span line)
{
	if (json_utf8(line)) {
		json_put_member(&d->b, "line", line);
	} else {
		buf_puts(&d->b, "\"line_b64\":\"");
		buf_base64(&d->b, line.p, line.len);
		buf_putc(&d->b, '"');
	}
}

/* Where the record comes from, for the user, who has no line of a pipe; the dead letter has the
 * record. */
static void put_place(struct span line, struct buf *out)
{
	/* The scanner reads behind a text, and nobody promises that it can. */
	struct buf copy = {0};
	struct record_error e;
	struct record r;

	buf_room(&copy, 1);
	buf_span(&copy, line);
	if (record_parse(&r, buf_as_span(&copy), &e))
		r = (struct record){0};
	if (r.topic.type == JSON_STRING && r.partition.type == JSON_NUMBER &&
		r.offset.type == JSON_NUMBER)
		buf_printf(out, "; record %.*s/%.*s@%.*s", (int)r.topic.text.len, r.topic.text.p,
			(int)r.partition.text.len, r.partition.text.p, (int)r.offset.text.len,
			r.offset.text.p);
	else if (r.stream.type == JSON_STRING && r.id.type == JSON_STRING)
		buf_printf(out, "; stream '%.*s', id %.*s", (int)r.stream.text.len, r.stream.text.p,
			(int)r.id.text.len, r.id.text.p);
	else if (r.channel.type == JSON_STRING)
		buf_printf(out, "; channel '%.*s'", (int)r.channel.text.len, r.channel.text.p);
	buf_free(&copy);
}

bool dead_refuse(struct dead *d, enum errclass c, struct span line, bool is_record, uint64_t number,
	const char *fmt, ...)
{
	char message[512];
	struct buf place = {0};
	va_list ap;
	bool goes_on;
	int n;

	n = number ? snprintf(message, sizeof(message), "line %llu: ", (unsigned long long)number)
		   : 0;
	va_start(ap, fmt);
	vsnprintf(message + n, sizeof(message) - (size_t)n, fmt, ap);
	va_end(ap);
	msg_clean(message);
	if (is_record && number && d->shown[c] < SHOWN_MAX)
		put_place(line, &place);
	buf_putc(&place, '\0');
	msg_clean(place.p);
	goes_on = count(d, c, message, place.p);
	buf_free(&place);
	if (!goes_on || !dead_keeps(d))
		return goes_on;
	begin(d, c, message);
	if (is_record) {
		buf_puts(&d->b, "\"record\":");
		buf_span(&d->b, line);
	} else {
		put_line(d, line);
	}
	end(d);
	return true;
}

bool dead_refuse_long(
	struct dead *d, struct span head, uint64_t length, size_t max, uint64_t number)
{
	char message[128];

	snprintf(message, sizeof(message),
		"line %llu: longer than %zu bytes; --max-line sets the limit",
		(unsigned long long)number, max);
	if (!count(d, CLASS_TOO_LARGE, message, ""))
		return false;
	if (!dead_keeps(d))
		return true;
	begin(d, CLASS_TOO_LARGE, message);
	put_line(d, head);
	if (length > head.len)
		buf_printf(&d->b, ",\"length\":%llu", (unsigned long long)length);
	end(d);
	return true;
}

void dead_sync(struct dead *d)
{
	if (!d->dirty)
		return;
	/* EINVAL: a pipe or a device, which has nothing to sync. */
	if (fdatasync(d->fd) && errno != EINVAL && errno != EROFS)
		die(EXIT_TEMP, "cannot sync the dead-letter file '%s': %s", d->file,
			msg_errno(errno));
	d->dirty = false;
}

int dead_close(struct dead *d)
{
	dead_sync(d);
	if (d->fd >= 0 && close(d->fd))
		die(EXIT_TEMP, "cannot close the dead-letter file '%s': %s", d->file,
			msg_errno(errno));
	d->fd = -1;
	if (!d->refused)
		return EXIT_DONE;
	if (dead_keeps(d))
		msg_warn("%llu %s in '%s'%s", (unsigned long long)d->refused,
			PLURAL(d->refused, "record was refused; it is",
				"records were refused; they are"),
			d->file, d->replaced ? " and in the file that had this name before" : "");
	else if (d->policy == DEAD_SKIP)
		msg_warn("%llu %s refused and skipped", (unsigned long long)d->refused,
			PLURAL(d->refused, "record was", "records were"));
	/* A stop is no end of the work: nothing was left undone if each of them can be found
	 * again. */
	return dead_keeps(d) && wake_stopped() ? EXIT_DONE : EXIT_REFUSED;
}
