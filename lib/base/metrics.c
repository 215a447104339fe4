/* SPDX-License-Identifier: ISC */
#define _GNU_SOURCE
#include "base/metrics.h"

#include "base/buf.h"
#include "base/mem.h"
#include "base/msg.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct metrics metrics = {.up = -1};

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

/* Bounds of delivery_seconds: a pipe within a machine is at the lower end, an outage at the upper. */
static const struct {
	int64_t us;
	const char *text;
} delivery_bounds[] = {{1000, "0.001"}, {2500, "0.0025"}, {5000, "0.005"}, {10000, "0.01"},
	{25000, "0.025"}, {50000, "0.05"}, {100000, "0.1"}, {250000, "0.25"}, {500000, "0.5"},
	{1000000, "1"}, {2500000, "2.5"}, {5000000, "5"}, {10000000, "10"}, {30000000, "30"},
	{60000000, "60"}};
enum { DELIVERY_BUCKETS = sizeof(delivery_bounds) / sizeof(*delivery_bounds) };

static struct {
	const char *tool;
	struct copy file, member; /* --metrics, $EVPIPE_DIR/metrics */
	char *ready_path; /* $EVPIPE_DIR/ready */
	pid_t pid; /* not that of a child which exits */
	char prefix[128];
	struct lag *lags;
	size_t lag_count;
	uint64_t delivery[DELIVERY_BUCKETS + 1]; /* the last: above all bounds */
	int64_t delivery_us;
	struct buf text;
	void (*print)(struct buf *text); /* NULL: print_all */
	int64_t due_ms;
	int ready_fd;
} self = {.ready_fd = -1};

static void copy_init(struct copy *c, char *text)
{
	free(c->path);
	free(c->temporary);
	*c = (struct copy){.path = text};
	if (text)
		c->temporary = mem_printf("%s.%ld.tmp", text, (long)getpid());
}

/* What evpipe calls this member: the program's name, or that with a number. Another name is that of a
 * script or an evbatch which runs this program, and not this program's to use. */
static const char *member_name(const char *tool)
{
	const char *name = getenv("EVPIPE_MEMBER");
	size_t n = strlen(tool);

	if (!name || strncmp(name, tool, n) || name[n] != '-' || !name[n + 1] ||
		name[n + 1 + strspn(name + n + 1, "0123456789")])
		return tool;
	return name;
}

/* A program that has ended is not ready; one that was killed may have left the file. */
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
	snprintf(self.prefix, sizeof(self.prefix), "%s", name && *name ? name : "evpipe");
	/* Prometheus: [a-zA-Z_:][a-zA-Z0-9_:]*. */
	for (char *c = self.prefix; *c; c++)
		if (!isalnum((unsigned char)*c) || (c == self.prefix && isdigit((unsigned char)*c)))
			*c = '_';
}

void metrics_print_with(void (*print)(struct buf *text))
{
	self.print = print;
}

const char *metrics_prefix(void)
{
	return self.prefix;
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

void metrics_delivery(int64_t taken_us)
{
	int i = 0;

	while (i < DELIVERY_BUCKETS && taken_us > delivery_bounds[i].us)
		i++;
	self.delivery[i]++;
	self.delivery_us += taken_us;
}

/* One family: its TYPE line, then a sample. */
static void family(const char *name, const char *type, const char *help)
{
	buf_printf(&self.text, "# HELP %s_%s %s\n# TYPE %s_%s %s\n", self.prefix, name, help,
		self.prefix, name, type);
}

static void counter(const char *name, const char *help, uint64_t n)
{
	family(name, "counter", help);
	buf_printf(&self.text, "%s_%s{tool=\"%s\"} %" PRIu64 "\n", self.prefix, name, self.tool, n);
}

static void by_class(const char *name, const char *help, const uint64_t *counts)
{
	family(name, "counter", help);
	for (int c = CLASS_NONE + 1; c < CLASS_COUNT; c++)
		buf_printf(&self.text, "%s_%s{tool=\"%s\",type=\"%s\"} %" PRIu64 "\n", self.prefix,
			name, self.tool, errclass_name((enum errclass)c), counts[c]);
}

static void gauge(const char *name, const char *help, uint64_t n)
{
	family(name, "gauge", help);
	buf_printf(&self.text, "%s_%s %" PRIu64 "\n", self.prefix, name, n);
}

static void print_ledger(void)
{
	uint64_t n = 0;

	gauge("open_records", "Records read and not yet final.", metrics.open_records);
	gauge("stalled_records", "Open records that no program will account for.",
		metrics.stalled_records);
	counter("late_reports_total", "Reports of records that were another's by then.",
		metrics.late_reports);
	counter("stale_reports_total", "Reports of another source's records.",
		metrics.stale_reports);
	counter("ack_garbage_total", "Acknowledgement connections closed for garbage.",
		metrics.ack_garbage);
	family("delivery_seconds", "histogram", "Time from reading a record until it was final.");
	for (int i = 0; i <= DELIVERY_BUCKETS; i++) {
		n += self.delivery[i];
		buf_printf(&self.text, "%s_delivery_seconds_bucket{le=\"%s\"} %" PRIu64 "\n",
			self.prefix, i < DELIVERY_BUCKETS ? delivery_bounds[i].text : "+Inf", n);
	}
	buf_printf(&self.text, "%s_delivery_seconds_sum %" PRId64 ".%06" PRId64 "\n", self.prefix,
		self.delivery_us / 1000000, self.delivery_us % 1000000);
	buf_printf(&self.text, "%s_delivery_seconds_count %" PRIu64 "\n", self.prefix, n);
}

static void print_all(void)
{
	counter("records_in_total", "Records read.", metrics.records_in);
	counter("records_out_total", "Records handed on or delivered.", metrics.records_out);
	counter("dropped_total", "Records dropped by declared choice.", metrics.dropped);
	by_class("errors_total", "Records refused, by class.", metrics.errors);
	by_class("dead_letters_total", "Records in a dead letter, by class.", metrics.dead_letters);
	if (metrics.is_sink) {
		family("messages_forwarded_total", "counter", "Records delivered by the sink.");
		buf_printf(&self.text, "%s_messages_forwarded_total %" PRIu64 "\n", self.prefix,
			metrics.forwarded);
	}
	if (metrics.is_publisher) {
		family("receivers_zero_total", "counter", "Messages published to no subscriber.");
		buf_printf(&self.text, "%s_receivers_zero_total %" PRIu64 "\n", self.prefix,
			metrics.receivers_zero);
	}
	if (metrics.is_subscriber) {
		family("gaps_total", "counter", "Interruptions in which messages may be missing.");
		buf_printf(&self.text, "%s_gaps_total %" PRIu64 "\n", self.prefix, metrics.gaps);
	}
	if (metrics.is_ledger)
		print_ledger();
	if (metrics.up >= 0) {
		family("up", "gauge", "Whether the peer can be reached.");
		buf_printf(&self.text, "%s_up{tool=\"%s\",peer=\"%s\"} %d\n", self.prefix,
			self.tool, metrics.peer, metrics.up);
	}
	family("ready", "gauge", "Whether the program is ready.");
	buf_printf(&self.text, "%s_ready{tool=\"%s\"} %d\n", self.prefix, self.tool, metrics.ready);
	if (self.lag_count)
		family("consumer_lag", "gauge", "Records behind the end of the partition.");
	for (size_t i = 0; i < self.lag_count; i++)
		if (self.lags[i].lag >= 0)
			buf_printf(&self.text,
				"%s_consumer_lag{topic=\"%s\",partition=\"%" PRId32 "\"} %" PRId64
				"\n",
				self.prefix, self.lags[i].topic, self.lags[i].partition,
				self.lags[i].lag);
}

static void copy_write(struct copy *c)
{
	int fd;
	bool ok;

	if (!c->path)
		return;
	fd = open(c->temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	ok = fd >= 0 && write(fd, self.text.p, self.text.len) == (ssize_t)self.text.len;
	if (fd >= 0 && close(fd))
		ok = false;
	if (ok && rename(c->temporary, c->path))
		ok = false;
	if (!ok) {
		if (!c->warned)
			msg_warn("cannot write metrics to '%s': %s", c->path, strerror(errno));
		unlink(c->temporary);
	}
	c->warned = !ok;
}

void metrics_flush(void)
{
	if (!self.file.path && !self.member.path)
		return;
	buf_clear(&self.text);
	if (self.print)
		self.print(&self.text);
	else
		print_all();
	copy_write(&self.file);
	copy_write(&self.member);
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
	/* Who hears of it may look at the others too. */
	if (ready != metrics.ready)
		self.due_ms = 0;
	if (self.ready_path && !ready)
		unready();
	if (self.ready_path && ready && !metrics.ready) {
		int fd = open(self.ready_path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

		if (fd < 0)
			msg_warn("cannot make '%s': %s", self.ready_path, strerror(errno));
		else
			close(fd);
	}
	metrics.ready = ready;
	if (ready && self.ready_fd >= 0) {
		if (write(self.ready_fd, "\n", 1) < 0)
			msg_warn("cannot write to the --ready-fd descriptor: %s", strerror(errno));
		close(self.ready_fd);
		self.ready_fd = -1;
	}
}
