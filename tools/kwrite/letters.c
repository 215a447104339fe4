/* SPDX-License-Identifier: ISC */
/* kwrite --dead-letter kafka:TOPIC: dead letters are messages without a key, in the order of input, and
 * their records are let go once the brokers have them. What keeps one from being written ends the
 * program: a dead letter is never lost, nor skipped.
 *
 * Nothing is read before the topic is known to exist. */
#include "kwrite/kwrite.h"

#include "base/msg.h"

#include <stdio.h>

bool letters_ready(struct kwrite *s)
{
	if (!s->dead_topic)
		return true;
	if (!s->letters)
		s->letters =
			topics_get(&s->topics, (struct span){s->dead_topic, strlen(s->dead_topic)});
	if (!s->letters) {
		trouble_set(&s->kafka.trouble, EXIT_PERM,
			"'%s' cannot be a topic's name, for dead letters", s->dead_topic);
		return false;
	}
	/* Later it may be asked about anew; what is wrong then, its delivery tells. */
	if (s->letters->rkt)
		return true;
	if (topic_look(&s->topics, s->letters) == TOPIC_UNKNOWN)
		trouble_set(&s->kafka.trouble, EXIT_PERM,
			"the topic for dead letters, '%s', %s: create it, or name another",
			s->letters->name, s->letters->why);
	return s->letters->rkt;
}

bool letters_have_room(const struct kwrite *s)
{
	const struct topic *t = s->letters;

	/* A batch must not grow over what the topic takes. */
	return !t || t->limit >= BATCH_BYTES || !t->out_bytes;
}

void letters_give(void *kwrite, struct span letter)
{
	struct kwrite *s = kwrite;
	struct slot *slot = &s->slots[s->refusing % RING];
	rd_kafka_resp_err_t err = RD_KAFKA_RESP_ERR_NO_ERROR;
	/* Length, attributes, time, place, no key, no headers; and the batch's head. */
	size_t bytes = letter.len + 40 + 61;

	slot->done = false;
	slot->topic = s->letters;
	slot->bytes = 0;
	if (bytes > s->letters->limit && !s->shape.compressed) {
		trouble_set(&s->kafka.trouble, EXIT_PERM,
			"line %llu: the dead letter is too long for topic '%s' (max.message.bytes is %zu): raise that, or keep dead letters in a FILE",
			(unsigned long long)slot->number, s->letters->name, s->letters->limit);
		return;
	}
	if (rd_kafka_produce(s->letters->rkt, RD_KAFKA_PARTITION_UA, RD_KAFKA_MSG_F_COPY,
		    (void *)(uintptr_t)letter.p, letter.len, NULL, 0,
		    (void *)(uintptr_t)s->refusing))
		err = rd_kafka_last_error();
	if (err) {
		letters_delivered(s, slot, err);
		return;
	}
	slot->bytes = bytes;
	s->letters->out_bytes += bytes;
}

void letters_delivered(struct kwrite *s, struct slot *slot, rd_kafka_resp_err_t err)
{
	char why[512];

	s->letters->out_bytes -= slot->bytes;
	slot->bytes = 0;
	if (!err) {
		slot->done = true;
		return;
	}
	snprintf(why, sizeof(why), "line %llu: cannot write its dead letter to topic '%s': %s",
		(unsigned long long)slot->number, s->letters->name, kafka_why(err));
	if (!kafka_judge(&s->kafka, err, why))
		trouble_set(&s->kafka.trouble, EXIT_TEMP, "%s", why);
}
