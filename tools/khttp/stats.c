/* SPDX-License-Identifier: ISC */
#include "khttp/stats.h"

#include "base/mem.h"

#include <inttypes.h>

/* Upper bounds in microseconds. */
static const int64_t bounds[] = {500, 1000, 2000, 5000, 10000, 25000, 50000, 100000, 250000, 500000,
	1000000, 2500000, 5000000, 10000000, 60000000};
enum { BOUNDS = sizeof(bounds) / sizeof(*bounds) };

struct stats_row {
	const char *route;
	char method[8];
	int status;
	uint64_t counts[BOUNDS + 1];
	int64_t sum_us;
};

static struct stats_row *find(struct stats *s, const char *route, const char *method, int status)
{
	struct stats_row *row;

	for (size_t i = 0; i < s->count; i++) {
		row = &s->rows[i];
		if (row->status == status && row->route == route &&
			strcmp(row->method, method) == 0)
			return row;
	}
	s->rows = mem_realloc(s->rows, (s->count + 1) * sizeof(*s->rows));
	row = &s->rows[s->count++];
	*row = (struct stats_row){.route = route, .status = status};
	memcpy(row->method, method, strlen(method) + 1);
	return row;
}

/* Few names, whatever clients send. */
static const char *known(const char *method)
{
	static const char *const all[] = {"GET", "POST", "DELETE", "HEAD", "OPTIONS", "PUT"};

	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
		if (method && strcmp(all[i], method) == 0)
			return all[i];
	return "other";
}

void stats_over(struct stats *s, const char *route, const char *method, int status, int64_t us)
{
	struct stats_row *row = find(s, route, known(method), status);
	size_t i = 0;

	while (i < BOUNDS && us > bounds[i])
		i++;
	row->counts[i]++;
	row->sum_us += us;
	if (status == 503)
		s->refused++;
}

void stats_open(struct stats *s)
{
	metrics_counter("produced_records_total", "Records by HTTP that Kafka has.", METRICS_TOOL,
		&s->records);
	metrics_counter("produced_bytes_total", "Their keys and values.", METRICS_TOOL, &s->bytes);
	metrics_counter("produce_failed_total", "Records by HTTP that Kafka does not have.",
		METRICS_TOOL, &s->failed);
	metrics_gauge("produce_in_flight", "Records by HTTP without Kafka's answer.", METRICS_TOOL,
		&s->in_flight);
	metrics_counter("http_repeated_total",
		"Requests that came again by their Idempotency-Key and were not done again.",
		METRICS_TOOL, &s->repeated);
	metrics_counter("http_unavailable_total", "Requests that were answered with 503.",
		METRICS_TOOL, &s->refused);
}

static void put_labels(const struct stats_row *row, struct buf *out)
{
	buf_putc(out, '{');
	metrics_put_label(out, "pipeline", metrics_pipeline());
	metrics_put_label(out, "method", row->method);
	metrics_put_label(out, "route", row->route ? row->route : "none");
	buf_printf(out, ",status=\"%d\"", row->status);
}

void stats_print(const struct stats *s, struct buf *out)
{
	static const char name[] = "evpipe_http_request_seconds";

	if (!s->count)
		return;
	buf_printf(out,
		"# HELP %s Requests by HTTP, from their first line to the end of their answer.\n"
		"# TYPE %s histogram\n",
		name, name);
	for (size_t i = 0; i < s->count; i++) {
		const struct stats_row *row = &s->rows[i];
		uint64_t sum = 0;

		for (size_t b = 0; b <= BOUNDS; b++) {
			sum += row->counts[b];
			buf_printf(out, "%s_bucket", name);
			put_labels(row, out);
			if (b < BOUNDS)
				buf_printf(out, ",le=\"%g\"} %" PRIu64 "\n",
					(double)bounds[b] / 1e6, sum);
			else
				buf_printf(out, ",le=\"+Inf\"} %" PRIu64 "\n", sum);
		}
		buf_printf(out, "%s_sum", name);
		put_labels(row, out);
		buf_printf(out, "} %.6f\n%s_count", (double)row->sum_us / 1e6, name);
		put_labels(row, out);
		buf_printf(out, "} %" PRIu64 "\n", sum);
	}
}
