/* SPDX-License-Identifier: ISC */
#include "kread/unheard.h"

#include "kread/refusal.h"

enum { ASK_MS = 1000 };

void unheard_open(struct unheard *u, struct parts *r)
{
	*u = (struct unheard){.parts = r};
	listing_open(&u->listing, r->kafka);
}

static void take_answer(struct unheard *u)
{
	const rd_kafka_topic_partition_list_t *list = u->listing.offsets;

	if (u->listing.err) {
		refusal_of_offsets(u->parts->kafka, &u->listing, &u->failure);
		return;
	}
	u->failure.since_ms = 0;
	for (int i = 0; i < list->cnt; i++) {
		struct kread_part *p =
			parts_find(u->parts, list->elems[i].topic, list->elems[i].partition);

		if (p)
			p->fresh = false;
	}
}

static void ask(struct unheard *u)
{
	struct parts *r = u->parts;
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
	int64_t low, high;

	for (struct kread_part *p = r->parts; p < r->parts + r->part_count; p++) {
		if (p->fresh &&
			!rd_kafka_get_watermark_offsets(
				r->kafka->rk, p->topic, p->partition, &low, &high) &&
			high >= 0)
			p->fresh = false;
		if (p->fresh && !p->leaving)
			rd_kafka_topic_partition_list_add(list, p->topic, p->partition)->offset =
				RD_KAFKA_OFFSET_END;
	}
	if (list->cnt) {
		listing_ask_offsets(&u->listing, list);
		return;
	}
	u->failure.since_ms = 0;
	rd_kafka_topic_partition_list_destroy(list);
}

void unheard_serve(struct unheard *u, int64_t now_ms)
{
	if (listing_take(&u->listing))
		take_answer(u);
	if (listing_is_out(&u->listing) || now_ms < u->next_ms)
		return;
	u->next_ms = now_ms + ASK_MS;
	ask(u);
}

bool unheard_close(struct unheard *u)
{
	return listing_close(&u->listing);
}
