/* SPDX-License-Identifier: ISC */
#include "kread/show.h"

#include "kread/parts.h"

#include <inttypes.h>

/* What is left up to the ends that reading has, or to where the logs end now. */
struct way {
	int64_t left, count;
	bool has_end, is_known;
	const struct kread_part *at; /* where most is left */
	int64_t most;
};

static struct way look(const struct parts *r)
{
	struct way w = {.has_end = r->to_end || r->has_until, .is_known = true, .most = -1};

	for (const struct kread_part *p = r->parts; p < r->parts + r->part_count; p++) {
		int64_t low = -1, high = p->end, left;

		if (p->done && w.has_end)
			continue;
		if (high < 0)
			rd_kafka_get_watermark_offsets(
				r->kafka->rk, p->topic, p->partition, &low, &high);
		if (p->next < 0 || high < 0) {
			w.is_known = false;
			continue;
		}
		left = high > p->next ? high - p->next : 0;
		w.left += left;
		w.count++;
		if (left > w.most) {
			w.most = left;
			w.at = p;
		}
	}
	return w;
}

static void put_time(struct buf *text, int64_t s)
{
	if (s < 60)
		buf_printf(text, ", %" PRId64 " s", s);
	else if (s < 3600)
		buf_printf(text, ", %" PRId64 " min", s / 60);
	else
		buf_printf(text, ", %" PRId64 " h %" PRId64 " min", s / 3600, s / 60 % 60);
}

static void put_left(struct buf *text, const struct way *w, uint64_t per_second)
{
	buf_printf(text, ", at %s/%" PRId32 "@%" PRId64 " of %" PRId64 ", %" PRId64 " left",
		w->at->topic, w->at->partition, w->at->next, w->at->next + w->most, w->left);
	if (per_second)
		put_time(text, (w->left + (int64_t)per_second - 1) / (int64_t)per_second);
}

static void put_lag(struct buf *text, const struct way *w)
{
	if (w->left)
		buf_printf(text, ", at %s/%" PRId32 "@%" PRId64 ", lag %" PRId64, w->at->topic,
			w->at->partition, w->at->next, w->left);
	else
		buf_printf(text, ", waiting at the end of %" PRId64 " partition%s", w->count,
			w->count == 1 ? "" : "s");
}

bool show_parts(void *parts, struct buf *text, uint64_t per_second)
{
	const struct parts *r = parts;
	struct way w;

	if (kafka_put_away(r->kafka, text))
		return true;
	if (!r->known || !r->part_count) {
		buf_puts(text, r->known ? ", without a partition" : ", waiting for its partitions");
		return true;
	}
	w = look(r);
	if (w.at && w.has_end)
		put_left(text, &w, per_second);
	else if (w.at && w.is_known)
		put_lag(text, &w);
	return true;
}
