/* SPDX-License-Identifier: ISC */
/* The names of all topics, and of all groups. */
#include "kcheck/parts.h"

#include "base/wake.h"

#include <string.h>

static bool topic_names(struct views *v, struct catalog *names)
{
	struct proto_metadata m = {0};
	bool told = views_metadata(v, NULL, &m);

	for (int32_t i = 0; told && i < m.topic_count; i++)
		catalog_add(names, (struct span){m.topics[i].name, strlen(m.topics[i].name)});
	proto_metadata_free(&m);
	return told;
}

static bool groups_of(struct views *v, int32_t broker, struct catalog *names)
{
	struct check_listener *l = check_broker(v->check, broker);
	struct check_address *a = l ? check_usable(l) : NULL;
	int16_t version, error;

	return a &&
		talk_request(&a->talk, PROTO_LIST_GROUPS, QUERY_LIST_GROUPS_MIN,
			QUERY_LIST_GROUPS_MAX, &version) &&
		views_ask(v, &a->talk) &&
		query_read_list_groups(a->talk.answer, version, &error, names) == 0 && !error;
}

bool views_names(struct views *v, enum view_names which, struct catalog *names)
{
	const struct proto_metadata *m;
	bool told = true;

	if (which == VIEW_TOPIC_NAMES)
		return topic_names(v, names);
	if (!v->check->via)
		return false;
	/* Each broker knows the groups that it coordinates. */
	m = &v->check->via_address->talk.metadata;
	for (int32_t i = 0; i < m->broker_count && !wake_stops(); i++)
		told &= groups_of(v, m->brokers[i].id, names);
	return told;
}
