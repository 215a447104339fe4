/* SPDX-License-Identifier: ISC */
#define _GNU_SOURCE
#include "base/metrics.h"

#include "config.h"

#include "base/buf.h"
#include "base/mem.h"
#include "base/msg.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct metrics metrics;

struct lag {
	char *topic;
	int32_t partition;
	int64_t lag;
};

/* One of the places that the counters are written to. */
struct copy {
	char *path, *temporary;
	bool warned;
};

/* Bounds of a histogram: a pipe within a machine is at the lower end, an outage at the upper. */
static const struct {
	int64_t us;
	const char *text;
} bounds[METRICS_BUCKETS - 1] = {{1000, "0.001"}, {2500, "0.0025"}, {5000, "0.005"},
	{10000, "0.01"}, {25000, "0.025"}, {50000, "0.05"}, {100000, "0.1"}, {250000, "0.25"},
	{500000, "0.5"}, {1000000, "1"}, {2500000, "2.5"}, {5000000, "5"}, {10000000, "10"},
	{30000000, "30"}, {60000000, "60"}};

struct series {
	const char *name, *help, *type;
	enum metrics_labels labels;
	const void *value; /* uint64_t, or struct metrics_histogram */
};

struct peer {
	const char *name;
	bool up;
};

static struct {
	const char *tool;
	struct copy file, member; /* --metrics, $EVPIPE_DIR/metrics */
	char *ready_path; /* $EVPIPE_DIR/ready */
	pid_t pid; /* not that of a child which exits */
	char *pipeline;
	int64_t start_s;
	struct series *series;
	struct peer *peers;
	struct lag *lags;
	size_t series_count, peer_count, lag_count;
	bool ready;
	struct buf text;
	void (*print)(struct buf *text);
	int64_t due_ms;
	int ready_fd;
} self = {.ready_fd = -1, .print = metrics_print};

static void copy_init(struct copy *c, char *text)
{
	free(c->path);
	free(c->temporary);
	*c = (struct copy){.path = text};
	if (text)
		c->temporary = mem_printf("%s.%ld.tmp", text, (long)getpid());
}

/* evpipe's name for this member: the program's name, or that name with a number. $EVPIPE_MEMBER may
 * also be the name of a script or an evbatch that runs this program: then this program must not use
 * it. */
static const char *member_name(const char *tool)
{
	const char *name = getenv("EVPIPE_MEMBER");
	size_t n = strlen(tool);

	if (!name || strncmp(name, tool, n) || name[n] != '-' || !name[n + 1] ||
		name[n + 1 + strspn(name + n + 1, "0123456789")])
		return tool;
	return name;
}

/* A program that has ended is not ready. Called at the start too: a killed run may have left the
 * file. */
static void unready(void)
{
	if (self.ready_path && self.pid == getpid())
		unlink(self.ready_path);
}

void metrics_init(const char *tool, const char *file)
{
	static bool at_exit;
	const char *name = getenv("EVPIPE_NAME"), *directory = getenv("EVPIPE_DIR");

	self.tool = member_name(tool);
	self.pid = getpid();
	copy_init(&self.file, file ? mem_dup(file) : NULL);
	copy_init(&self.member, NULL);
	free(self.ready_path);
	self.ready_path = NULL;
	if (directory && *directory) {
		copy_init(&self.member, mem_printf("%s/metrics/%s.prom", directory, self.tool));
		self.ready_path = mem_printf("%s/ready/%s", directory, self.tool);
		unready();
		if (!at_exit)
			atexit(unready);
		at_exit = true;
	}
	free(self.pipeline);
	self.pipeline = mem_dup(name && *name ? name : "evpipe");
	self.start_s = time(NULL);
	self.ready = false;
}

void metrics_print_with(void (*print)(struct buf *text))
{
	self.print = print;
}

const char *metrics_pipeline(void)
{
	return self.pipeline;
}

/* ---- series ---- */

static void add_series(const struct series *new)
{
	struct series *s = self.series;

	for (size_t i = 0; i < self.series_count; i++, s++)
		if (strcmp(s->name, new->name) == 0) {
			*s = *new;
			return;
		}
	self.series = mem_realloc(self.series, (self.series_count + 1) * sizeof(*s));
	self.series[self.series_count++] = *new;
}

void metrics_counter(
	const char *name, const char *help, enum metrics_labels labels, const uint64_t *n)
{
	add_series(&(struct series){name, help, "counter", labels, n});
}

void metrics_gauge(
	const char *name, const char *help, enum metrics_labels labels, const uint64_t *n)
{
	add_series(&(struct series){name, help, "gauge", labels, n});
}

void metrics_counts(unsigned which)
{
	if (which & METRICS_IN)
		metrics_counter(
			"records_in_total", "Records read.", METRICS_TOOL, &metrics.records_in);
	if (which & METRICS_OUT)
		metrics_counter("records_out_total", "Records handed on or delivered.",
			METRICS_TOOL, &metrics.records_out);
	if (which & METRICS_FORWARDED)
		metrics_counter("messages_forwarded_total", "Records delivered by the sink.",
			METRICS_PIPELINE, &metrics.forwarded);
	if (which & METRICS_DROPPED)
		metrics_counter("dropped_total", "Records dropped by declared choice.",
			METRICS_TOOL, &metrics.dropped);
	if (which & METRICS_ERRORS)
		metrics_counter("errors_total", "Records refused, by class.", METRICS_CLASS,
			metrics.errors);
	if (which & METRICS_DEAD_LETTERS)
		metrics_counter("dead_letters_total", "Records in a dead letter, by class.",
			METRICS_CLASS, metrics.dead_letters);
}

void metrics_histogram(const char *name, const char *help, const struct metrics_histogram *h)
{
	add_series(&(struct series){name, help, "histogram", METRICS_PIPELINE, h});
}

void metrics_observe(struct metrics_histogram *h, int64_t us, uint64_t count)
{
	int i = 0;

	while (i < METRICS_BUCKETS - 1 && us > bounds[i].us)
		i++;
	h->counts[i] += count;
	h->sum_us += us * (int64_t)count;
}

void metrics_up(const char *peer, bool up)
{
	size_t i = 0;

	while (i < self.peer_count && strcmp(self.peers[i].name, peer) != 0)
		i++;
	if (i == self.peer_count)
		self.peers = mem_realloc(self.peers, ++self.peer_count * sizeof(*self.peers));
	self.peers[i] = (struct peer){peer, up};
}

const char *metrics_down(void)
{
	for (size_t i = 0; i < self.peer_count; i++)
		if (!self.peers[i].up)
			return self.peers[i].name;
	return NULL;
}

void metrics_lag(const char *topic, int32_t partition, int64_t lag)
{
	struct lag *l = self.lags;

	for (size_t i = 0; i < self.lag_count; i++, l++)
		if (l->partition == partition && strcmp(l->topic, topic) == 0) {
			l->lag = lag;
			return;
		}
	if (lag < 0)
		return;
	self.lags = mem_realloc(self.lags, (self.lag_count + 1) * sizeof(*l));
	self.lags[self.lag_count++] = (struct lag){mem_dup(topic), partition, lag};
}

/* ---- the text ---- */

void metrics_put_label(struct buf *b, const char *name, const char *value)
{
	buf_printf(b, "%s%s=\"", b->p[b->len - 1] == '{' ? "" : ",", name);
	for (; *value; value++) {
		if (*value == '"' || *value == '\\' || *value == '\n')
			buf_putc(b, '\\');
		buf_putc(b, *value == '\n' ? 'n' : *value);
	}
	buf_putc(b, '"');
}

static void put_family(struct buf *b, const char *name, const char *type, const char *help)
{
	buf_printf(b, "# HELP evpipe_%s %s\n# TYPE evpipe_%s %s\n", name, help, name, type);
}

/* A sample up to its last label; @suffix is part of the name. */
static void put_name(struct buf *b, const char *name, const char *suffix, bool tool)
{
	buf_printf(b, "evpipe_%s%s{", name, suffix);
	metrics_put_label(b, "pipeline", self.pipeline);
	if (tool)
		metrics_put_label(b, "tool", self.tool);
}

static void put_histogram(struct buf *b, const char *name, const struct metrics_histogram *h)
{
	uint64_t n = 0;

	for (int i = 0; i < METRICS_BUCKETS; i++) {
		n += h->counts[i];
		put_name(b, name, "_bucket", false);
		metrics_put_label(b, "le", i < METRICS_BUCKETS - 1 ? bounds[i].text : "+Inf");
		buf_printf(b, "} %" PRIu64 "\n", n);
	}
	put_name(b, name, "_sum", false);
	buf_printf(b, "} %" PRId64 ".%06" PRId64 "\n", h->sum_us / 1000000, h->sum_us % 1000000);
	put_name(b, name, "_count", false);
	buf_printf(b, "} %" PRIu64 "\n", n);
}

static void put_series(struct buf *b, const struct series *s)
{
	bool classes = s->labels == METRICS_CLASS;
	const uint64_t *n = s->value;

	put_family(b, s->name, s->type, s->help);
	if (strcmp(s->type, "histogram") == 0) {
		put_histogram(b, s->name, s->value);
		return;
	}
	for (int c = CLASS_NONE + 1; c < (classes ? CLASS_COUNT : CLASS_NONE + 2); c++) {
		put_name(b, s->name, "", s->labels != METRICS_PIPELINE);
		if (classes)
			metrics_put_label(b, "type", errclass_name((enum errclass)c));
		buf_printf(b, "} %" PRIu64 "\n", classes ? n[c] : *n);
	}
}

static void put_lags(struct buf *b)
{
	char partition[16];

	if (self.lag_count)
		put_family(b, "consumer_lag", "gauge", "Records behind the end of the partition.");
	for (size_t i = 0; i < self.lag_count; i++) {
		const struct lag *l = &self.lags[i];

		if (l->lag < 0)
			continue;
		snprintf(partition, sizeof(partition), "%" PRId32, l->partition);
		put_name(b, "consumer_lag", "", false);
		metrics_put_label(b, "topic", l->topic);
		metrics_put_label(b, "partition", partition);
		buf_printf(b, "} %" PRId64 "\n", l->lag);
	}
}

void metrics_print(struct buf *b)
{
	for (size_t i = 0; i < self.series_count; i++)
		put_series(b, &self.series[i]);
	if (self.peer_count)
		put_family(b, "up", "gauge", "Whether the peer can be reached.");
	for (size_t i = 0; i < self.peer_count; i++) {
		put_name(b, "up", "", true);
		metrics_put_label(b, "peer", self.peers[i].name);
		buf_printf(b, "} %d\n", self.peers[i].up);
	}
	put_lags(b);
	put_family(b, "ready", "gauge", "Whether the program is ready.");
	put_name(b, "ready", "", true);
	buf_printf(b, "} %d\n", self.ready);
	put_family(b, "start_time_seconds", "gauge", "When the program started, since the epoch.");
	put_name(b, "start_time_seconds", "", true);
	buf_printf(b, "} %" PRId64 "\n", self.start_s);
	put_family(b, "build_info", "gauge", "Always 1; the label tells the version.");
	put_name(b, "build_info", "", true);
	metrics_put_label(b, "version", PACKAGE_VERSION);
	buf_puts(b, "} 1\n");
}

/* ---- the files ---- */

/* Makes a file that was not there, so that a link of another user is never followed. What an
 * earlier process with this process's id has left is removed. */
static int create(const char *path)
{
	int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
	int fd = open(path, flags, 0644);

	if (fd < 0 && errno == EEXIST && unlink(path) == 0)
		fd = open(path, flags, 0644);
	return fd;
}

static void copy_write(struct copy *c)
{
	int fd;
	bool ok;

	if (!c->path)
		return;
	fd = create(c->temporary);
	ok = fd >= 0 && write(fd, self.text.p, self.text.len) == (ssize_t)self.text.len;
	if (fd >= 0 && close(fd))
		ok = false;
	if (ok && rename(c->temporary, c->path))
		ok = false;
	if (!ok) {
		if (!c->warned)
			msg_warn("cannot write metrics to '%s': %s", c->path, msg_errno(errno));
		unlink(c->temporary);
	}
	c->warned = !ok;
}

/* Also when somebody has removed it with its directory, or the file system was full. */
static void make_ready_file(void)
{
	static bool warned;
	int fd;

	if (!self.ready || !self.ready_path || access(self.ready_path, F_OK) == 0)
		return;
	fd = create(self.ready_path);
	if (fd >= 0)
		close(fd);
	else if (!warned)
		msg_warn("cannot make '%s': %s", self.ready_path, msg_errno(errno));
	warned = fd < 0;
}

void metrics_flush(void)
{
	if (!self.file.path && !self.member.path)
		return;
	buf_clear(&self.text);
	self.print(&self.text);
	copy_write(&self.file);
	copy_write(&self.member);
	make_ready_file();
}

int metrics_tick(int64_t now_ms)
{
	if (!self.file.path && !self.member.path)
		return -1;
	if (now_ms >= self.due_ms) {
		metrics_flush();
		self.due_ms = now_ms + 1000;
	}
	return (int)(self.due_ms - now_ms);
}

void metrics_ready_fd(int fd)
{
	self.ready_fd = fd;
}

void metrics_set_ready(bool ready)
{
	if (ready == self.ready)
		return;
	self.ready = ready;
	/* A supervisor that learns of it may look at the counters too: write them at the next
	 * tick. */
	self.due_ms = 0;
	if (!ready)
		unready();
	make_ready_file();
	if (ready && self.ready_fd >= 0) {
		if (write(self.ready_fd, "\n", 1) < 0)
			msg_warn("cannot write to the --ready-fd descriptor: %s", msg_errno(errno));
		close(self.ready_fd);
		self.ready_fd = -1;
	}
}
