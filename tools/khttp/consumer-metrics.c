/* SPDX-License-Identifier: ISC */
#include "khttp/instance.h"

#include "base/metrics.h"

#include <inttypes.h>

static void put_family(struct buf *out, const char *name, const char *help, bool gauge, uint64_t n)
{
	buf_printf(out, "# HELP evpipe_%s %s\n# TYPE evpipe_%s %s\nevpipe_%s{", name, help, name,
		gauge ? "gauge" : "counter", name);
	metrics_put_label(out, "pipeline", metrics_pipeline());
	buf_printf(out, "} %" PRIu64 "\n", n);
}

/* Samples of an instance's partitions: how many records are behind its position. */
static void put_lags(const struct instance *i, struct buf *out)
{
	for (const struct consumer_part *p = i->parts; p < i->parts + i->part_count; p++) {
		int64_t low, high;

		if (p->next < 0 ||
			rd_kafka_get_watermark_offsets(
				i->kafka.rk, p->topic, p->partition, &low, &high) ||
			high < 0)
			continue;
		buf_puts(out, "evpipe_http_consumer_lag{");
		metrics_put_label(out, "pipeline", metrics_pipeline());
		metrics_put_label(out, "group", i->group);
		metrics_put_label(out, "instance", i->name);
		metrics_put_label(out, "topic", p->topic);
		buf_printf(out, ",partition=\"%" PRId32 "\"} %" PRId64 "\n", p->partition,
			high > p->next ? high - p->next : 0);
	}
}

void consumers_metrics(struct consumers *all, struct buf *out)
{
	struct buf lags = {0};

	put_family(out, "http_instances", "Consumer instances.", true, all->instance_count);
	put_family(out, "http_waiting", "Requests to instances that wait.", true, all->wait_count);
	put_family(out, "http_consumed_records_total",
		"Records that were written to clients in full.", false, all->records);
	put_family(out, "http_consumed_bytes_total", "Bytes of answers with records.", false,
		all->bytes);
	put_family(out, "http_given_back_records_total",
		"Records whose answer was not written in full: they come again.", false,
		all->given_back);
	put_family(out, "http_reaped_instances_total",
		"Instances that were deleted because nobody used them.", false, all->reaped);
	for (const struct instance *i = all->instances; i; i = i->next)
		if (!i->closing)
			put_lags(i, &lags);
	if (lags.len) {
		buf_puts(out,
			"# HELP evpipe_http_consumer_lag Records behind an instance's position.\n"
			"# TYPE evpipe_http_consumer_lag gauge\n");
		buf_span(out, buf_as_span(&lags));
	}
	buf_free(&lags);
}
