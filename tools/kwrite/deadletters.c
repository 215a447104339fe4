/* SPDX-License-Identifier: ISC */
#include "kwrite/deadletters.h"

#include "base/mem.h"
#include "base/msg.h"
#include "kwrite/delivery.h"

#include <stdio.h>
#include <string.h>

/* The head of a batch; and of a message its length, attributes, time and place, no key and no
 * headers. */
enum { BATCH_HEAD = 61, MESSAGE_HEAD = 40 };

bool deadletters_ready(struct deadletters *l)
{
	if (!l->name)
		return true;
	if (!l->topic)
		l->topic = topics_get(l->topics, (struct span){l->name, strlen(l->name)});
	if (!l->topic) {
		trouble_set(&l->kafka->trouble, EXIT_PERM,
			"'%s' cannot be a topic's name, for dead letters", l->name);
		return false;
	}
	/* Later the topic may be asked about anew; what is wrong then, the delivery of a letter
	 * tells. */
	if (l->topic->rkt)
		return true;
	if (topic_look(l->topics, l->topic) == TOPIC_UNKNOWN)
		trouble_set(&l->kafka->trouble, EXIT_PERM,
			"the topic for dead letters, '%s', %s: create it, or name another",
			l->topic->name, l->topic->why);
	return l->topic->rkt;
}

void deadletters_produce(struct deadletters *l, struct delivery *d, struct span letter)
{
	size_t bytes = letter.len + MESSAGE_HEAD + BATCH_HEAD;
	struct message m = {
		.topic = l->topic, .payload = letter, .partition = RD_KAFKA_PARTITION_UA};
	rd_kafka_resp_err_t err;

	d->topic = l->topic;
	d->bytes = 0;
	if (bytes > l->topic->limit && l->topic->limit_known && !l->compressed) {
		trouble_set(&l->kafka->trouble, EXIT_PERM,
			"line %llu: the dead letter is too long for topic '%s' (%s is %zu): raise that, or keep dead letters in a FILE",
			(unsigned long long)d->slot.number, l->topic->name, l->topic->limit_name,
			l->topic->limit);
		return;
	}
	d->text = mem_printf("%.*s", (int)letter.len, letter.p);
	err = deliveries_hand_over(l->kafka->rk, l->topic->rkt, d, &m);
	if (err) {
		deadletters_report(l, d, err);
		return;
	}
	d->bytes = bytes;
	l->topic->out_bytes += bytes;
}

void deadletters_report(struct deadletters *l, struct delivery *d, rd_kafka_resp_err_t err)
{
	char why[512];

	l->topic->out_bytes -= d->bytes;
	d->bytes = 0;
	if (!err) {
		sink_done(&d->slot);
		return;
	}
	snprintf(why, sizeof(why), "line %llu: cannot write its dead letter to topic '%s': %s",
		(unsigned long long)d->slot.number, l->topic->name, kafka_why(err));
	if (!kafka_judge(l->kafka, err, why))
		trouble_set(&l->kafka->trouble, EXIT_TEMP, "%s", why);
}
