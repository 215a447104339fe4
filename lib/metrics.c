/* SPDX-License-Identifier: ISC */
#define _GNU_SOURCE
#include "metrics.h"

#include "buf.h"
#include "die.h"

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

static struct {
	const char *tool, *file;
	char *temporary;
	char prefix[128];
	struct lag *lags;
	size_t lag_count;
	struct buf text;
	int64_t due_ms;
	int ready_fd;
	bool warned;
} self = {.ready_fd = -1};

void metrics_init(const char *tool, const char *file)
{
	const char *name = getenv("EVPIPE_NAME");

	self.tool = tool;
	self.file = file;
	snprintf(self.prefix, sizeof(self.prefix), "%s", name && *name ? name : "evpipe");
	/* Prometheus: [a-zA-Z_:][a-zA-Z0-9_:]*. */
	for (char *c = self.prefix; *c; c++)
		if (!isalnum((unsigned char)*c) || (c == self.prefix && isdigit((unsigned char)*c)))
			*c = '_';
	free(self.temporary);
	self.temporary = NULL;
	if (file && asprintf(&self.temporary, "%s.%ld.tmp", file, (long)getpid()) < 0)
		die(EXIT_TEMP, "out of memory");
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
	self.lags = die_realloc(self.lags, (self.lag_count + 1) * sizeof(*l));
	self.lags[self.lag_count++] = (struct lag){die_strdup(topic), partition, lag};
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
			name, self.tool, class_name((enum error_class)c), counts[c]);
}

static void print_all(void)
{
	buf_clear(&self.text);
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

void metrics_flush(void)
{
	int fd;
	bool ok;

	if (!self.file)
		return;
	print_all();
	fd = open(self.temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	ok = fd >= 0 && write(fd, self.text.p, self.text.len) == (ssize_t)self.text.len;
	if (fd >= 0 && close(fd))
		ok = false;
	if (ok && rename(self.temporary, self.file))
		ok = false;
	if (!ok) {
		if (!self.warned)
			die_warn("cannot write metrics to '%s': %s", self.file, strerror(errno));
		unlink(self.temporary);
	}
	self.warned = !ok;
}

int metrics_tick(int64_t now_ms)
{
	if (!self.file)
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
	metrics.ready = ready;
	if (ready && self.ready_fd >= 0) {
		if (write(self.ready_fd, "\n", 1) < 0)
			die_warn("cannot write to the --ready-fd descriptor: %s", strerror(errno));
		close(self.ready_fd);
		self.ready_fd = -1;
	}
}
