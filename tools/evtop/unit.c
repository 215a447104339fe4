/* SPDX-License-Identifier: ISC */
#define _GNU_SOURCE
#include "evtop/unit.h"

#include "base/mem.h"
#include "base/prom.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct series {
	char *text; /* name and labels as they stand */
	size_t len, name_len;
	double value;
	struct rate rate;
	uint64_t round; /* in which it was there last */
};

/* ---- reading ---- */

static struct series *find(struct unit *u, struct span text, size_t name_len)
{
	struct series *s;

	for (size_t i = 0; i < u->count; i++)
		if (u->series[i].len == text.len &&
			memcmp(u->series[i].text, text.p, text.len) == 0)
			return &u->series[i];
	if (u->count == u->room) {
		u->room = u->room ? u->room * 2 : 64;
		u->series = mem_realloc(u->series, u->room * sizeof(*u->series));
	}
	s = &u->series[u->count++];
	*s = (struct series){.text = span_text(text), .len = text.len, .name_len = name_len};
	return s;
}

static void forget_old(struct unit *u)
{
	size_t kept = 0;

	for (size_t i = 0; i < u->count; i++) {
		if (u->series[i].round == u->round)
			u->series[kept++] = u->series[i];
		else
			free(u->series[i].text);
	}
	u->count = kept;
}

size_t unit_take(struct unit *u, struct span text, double seconds)
{
	struct prom_line line;

	u->round++;
	while (prom_next(&text, &line)) {
		struct span whole = {
			line.name.p, (size_t)(line.labels.p + line.labels.len - line.name.p)};
		struct series *s;

		if (line.kind != PROM_SAMPLE || !span_starts(line.name, "evpipe_"))
			continue;
		s = find(u, whole, line.name.len);
		s->value = prom_value(&line);
		s->round = u->round;
		rate_take(&s->rate, s->value, seconds);
	}
	forget_old(u);
	return u->count;
}

static bool read_file(int directory, const char *name, struct buf *text)
{
	int fd = openat(directory, name, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return false;
	while ((n = read(fd, buf_room(text, 65536), 65536)) > 0)
		text->len += (size_t)n;
	close(fd);
	return true;
}

int unit_read_directory(const char *path, struct buf *text)
{
	static const char *const places[] = {"metrics", "current/metrics"};
	struct dirent *entry;
	DIR *dir = NULL;
	int files = 0;

	for (size_t i = 0; !dir && i < 2; i++) {
		char full[PATH_MAX];

		snprintf(full, sizeof(full), "%s/%s", path, places[i]);
		dir = opendir(full);
	}
	if (!dir)
		return -1;
	while ((entry = readdir(dir))) {
		size_t len = strlen(entry->d_name);

		if (len > 5 && strcmp(entry->d_name + len - 5, ".prom") == 0)
			files += read_file(dirfd(dir), entry->d_name, text);
	}
	closedir(dir);
	return files;
}

/* ---- looking things up ---- */

static struct span label(const struct series *s, const char *name)
{
	return prom_label((struct span){s->text + s->name_len, s->len - s->name_len}, name);
}

static bool is(const struct series *s, const char *name)
{
	return strlen(name) == s->name_len - 7 && memcmp(s->text + 7, name, s->name_len - 7) == 0;
}

static bool same(struct span a, struct span b)
{
	return a.len == b.len && (!a.len || memcmp(a.p, b.p, a.len) == 0);
}

/* The next series of a name, of a pipeline and a tool, where p is not NULL; starts with *@at 0. */
static const struct series *next(
	const struct unit *u, size_t *at, const char *name, struct span pipeline, struct span tool)
{
	while (*at < u->count) {
		const struct series *s = &u->series[(*at)++];

		if (is(s, name) && (!pipeline.p || same(label(s, "pipeline"), pipeline)) &&
			(!tool.p || same(label(s, "tool"), tool)))
			return s;
	}
	return NULL;
}

/* Adds up all series; false: there is none. */
static bool sum(const struct unit *u, const char *name, struct span pipeline, struct span tool,
	double *value, double *rate)
{
	const struct series *s;
	size_t at = 0;
	bool any = false;

	*value = *rate = 0;
	while ((s = next(u, &at, name, pipeline, tool))) {
		*value += s->value;
		*rate += s->rate.now;
		any = true;
	}
	return any;
}

/* ---- printing ---- */

static void put_value(struct table *t, bool any, double value)
{
	if (any)
		table_print(t, "%.0f", value);
	else
		table_text(t, "-");
}

static void put_total(const struct unit *u, struct table *t, const char *name, struct span pipeline,
	struct span tool)
{
	double value, rate;
	bool any = sum(u, name, pipeline, tool, &value, &rate);

	put_value(t, any, value);
}

static void put_counter(const struct unit *u, struct table *t, const char *name,
	struct span pipeline, struct span tool)
{
	double value, rate;
	bool any = sum(u, name, pipeline, tool, &value, &rate);

	put_value(t, any, value);
	if (any)
		figures_rate(table_open(t), rate);
	else
		buf_putc(table_open(t), '-');
	table_close(t);
}

/* The mean of a histogram since the start. */
static void put_mean(const struct unit *u, struct table *t, struct span pipeline)
{
	double total, count, rate;
	bool any = sum(u, "delivery_seconds_sum", pipeline, SPAN_NONE, &total, &rate) &&
		sum(u, "delivery_seconds_count", pipeline, SPAN_NONE, &count, &rate) && count > 0;

	if (any)
		figures_ms(table_open(t), 1000 * total / count);
	else
		buf_putc(table_open(t), '-');
	table_close(t);
}

static void put_bars(const struct unit *u, struct table *t, struct span pipeline, bool utf8)
{
	static const char *const names[] = {"messages_forwarded_total", "records_out_total"};
	const struct series *s = NULL;

	for (size_t i = 0, at = 0; !s && i < 2; i++, at = 0)
		s = next(u, &at, names[i], pipeline, SPAN_NONE);
	table_open(t);
	if (s)
		rate_sparkline(&s->rate, utf8, &t->text);
	table_close(t);
}

static void put_headings(struct table *t, const char *const *headings)
{
	for (; *headings; headings++)
		table_text(t, *headings);
}

/* Whether the series is the first of its pipeline, or of its tool. */
static bool is_first(const struct unit *u, size_t i, const char *name, bool by_tool)
{
	const struct series *s = &u->series[i];
	struct span pipeline = label(s, "pipeline");
	size_t at = 0;

	return is(s, name) &&
		next(u, &at, name, pipeline, by_tool ? label(s, "tool") : SPAN_NONE) == s;
}

static void put_pipelines(const struct unit *u, struct table *t, bool utf8, struct buf *out)
{
	static const char *const headings[] = {"PIPELINE", "FORWARDED", "RATE/S", "OPEN", "STALLED",
		"LAG", "DELIVERY", "GAPS", "LOST", "", NULL};

	table_begin(t, 10);
	put_headings(t, headings);
	for (size_t i = 0; i < u->count; i++) {
		struct span p = label(&u->series[i], "pipeline");

		if (!is_first(u, i, "ready", false))
			continue;
		table_cell(t, p);
		put_counter(u, t, "messages_forwarded_total", p, SPAN_NONE);
		put_total(u, t, "open_records", p, SPAN_NONE);
		put_total(u, t, "stalled_records", p, SPAN_NONE);
		put_total(u, t, "consumer_lag", p, SPAN_NONE);
		put_mean(u, t, p);
		put_total(u, t, "gaps_total", p, SPAN_NONE);
		put_total(u, t, "lost_records_total", p, SPAN_NONE);
		put_bars(u, t, p, utf8);
	}
	table_put(t, out);
}

static void put_up(const struct unit *u, struct table *t, struct span pipeline, struct span tool)
{
	const struct series *s;
	struct buf *text = table_open(t);
	size_t at = 0, was = text->len;

	while ((s = next(u, &at, "up", pipeline, tool))) {
		buf_puts(text, text->len > was ? " " : "");
		buf_span(text, label(s, "peer"));
		buf_puts(text, s->value > 0 ? "" : " AWAY");
	}
	if (text->len == was)
		buf_putc(text, '-');
	table_close(t);
}

static void put_tools(const struct unit *u, struct table *t, struct buf *out)
{
	static const char *const headings[] = {"TOOL", "PIPELINE", "READY", "SERVER", "IN", "IN/S",
		"OUT", "OUT/S", "DROPPED", "ERRORS", "DEAD", NULL};

	table_begin(t, 11);
	put_headings(t, headings);
	for (size_t i = 0; i < u->count; i++) {
		const struct series *s = &u->series[i];
		struct span p = label(s, "pipeline"), tool = label(s, "tool");

		if (!is_first(u, i, "ready", true))
			continue;
		table_cell(t, tool);
		table_cell(t, p);
		table_text(t, s->value > 0 ? "yes" : "no");
		put_up(u, t, p, tool);
		put_counter(u, t, "records_in_total", p, tool);
		put_counter(u, t, "records_out_total", p, tool);
		put_total(u, t, "dropped_total", p, tool);
		put_total(u, t, "errors_total", p, tool);
		put_total(u, t, "dead_letters_total", p, tool);
	}
	table_put(t, out);
}

static void put_errors(const struct unit *u, struct table *t, struct buf *out)
{
	const struct series *s;
	size_t at = 0;

	table_begin(t, 5);
	put_headings(
		t, (const char *const[]){"ERROR", "TOOL", "PIPELINE", "RECORDS", "RATE/S", NULL});
	while ((s = next(u, &at, "errors_total", SPAN_NONE, SPAN_NONE))) {
		if (s->value <= 0)
			continue;
		table_cell(t, label(s, "type"));
		table_cell(t, label(s, "tool"));
		table_cell(t, label(s, "pipeline"));
		table_print(t, "%.0f", s->value);
		figures_rate(table_open(t), s->rate.now);
		table_close(t);
	}
	if (t->count > 5) {
		buf_putc(out, '\n');
		table_put(t, out);
	}
}

static int by_lag(const void *a, const void *b)
{
	const struct series *const *x = a, *const *y = b;

	if ((*x)->value != (*y)->value)
		return (*x)->value < (*y)->value ? 1 : -1;
	return strcmp((*x)->text, (*y)->text);
}

static void put_lags(const struct unit *u, struct table *t, size_t rows, struct buf *out)
{
	const struct series *s, **all = mem_alloc((u->count + 1) * sizeof(struct series *));
	size_t at = 0, n = 0;

	while ((s = next(u, &at, "consumer_lag", SPAN_NONE, SPAN_NONE)))
		all[n++] = s;
	qsort(all, n, sizeof(struct series *), by_lag);
	table_begin(t, 4);
	put_headings(t, (const char *const[]){"TOPIC", "PARTITION", "PIPELINE", "LAG", NULL});
	for (size_t i = 0; i < n && i < rows; i++) {
		struct span partition = label(all[i], "partition");

		table_cell(t, label(all[i], "topic"));
		table_cell(t, partition.p ? partition : SPAN("-"));
		table_cell(t, label(all[i], "pipeline"));
		table_print(t, "%.0f", all[i]->value);
	}
	if (n) {
		buf_putc(out, '\n');
		table_put(t, out);
	}
	if (n > rows)
		buf_printf(out, "… and %zu more\n", n - rows);
	free(all);
}

void unit_print(const struct unit *u, struct table *table, size_t rows, bool utf8, struct buf *out)
{
	if (!u->count) {
		buf_puts(out, "no metrics of evpipe's: no pipeline runs here\n");
		return;
	}
	put_pipelines(u, table, utf8, out);
	buf_putc(out, '\n');
	put_tools(u, table, out);
	put_errors(u, table, out);
	put_lags(u, table, rows, out);
}
