/* SPDX-License-Identifier: ISC */
/* What is wrong with a consumer group, in words, and the remedy. */
#define _GNU_SOURCE
#include "kafka/check.h"

#include "base/msg.h"

#include <stdio.h>

bool check_group_is_passing(int16_t error)
{
	return error == PROTO_COORDINATOR_NOT_AVAILABLE || error == PROTO_COORDINATOR_LOADING ||
		error == PROTO_NOT_COORDINATOR;
}

void check_group_error(struct check_verdict *v, const char *group, const char *user, int16_t error)
{
	v->status = EXIT_TEMP;
	*v->remedy = '\0';
	if (error == PROTO_GROUP_DENIED) {
		v->status = EXIT_PERM;
		snprintf(v->text, sizeof(v->text),
			"group '%s': we may not see it: no ACL allows it", group);
		snprintf(v->remedy, sizeof(v->remedy),
			"kafka-acls.sh --add --allow-principal User:%.99s --operation Read --group %s",
			user ? user : "NAME", group);
	} else if (check_group_is_passing(error)) {
		snprintf(v->text, sizeof(v->text),
			"group '%s': it has no coordinator: the topic __consumer_offsets has no leader, or cannot be made",
			group);
		snprintf(v->remedy, sizeof(v->remedy),
			"start all brokers; a cluster of fewer than three brokers needs "
			"offsets.topic.replication.factor=1");
	} else {
		snprintf(v->text, sizeof(v->text), "group '%s': the broker answers with error %d",
			group, error);
	}
	msg_clean(v->text);
	msg_clean(v->remedy);
}

void check_group_unreached(
	struct check_verdict *v, const char *group, const struct check_listener *l)
{
	v->status = l->verdict.status ? l->verdict.status : EXIT_TEMP;
	snprintf(v->text, sizeof(v->text), "group '%.255s': its coordinator cannot be used: %.300s",
		group, l->verdict.text);
	snprintf(v->remedy, sizeof(v->remedy), "%s", l->verdict.remedy);
}
