/* SPDX-License-Identifier: ISC */
/* Any bytes as what a broker answers: whatever is read, it stays within them. The first byte says
 * which answer it is, the second of which version. */
#include "fuzz.h"
#include "kafka/login.h"
#include "kafka/query.h"

#include <string.h>

static void read_login(struct span body)
{
	static const struct login_as as[] = {
		{.mechanism = "SCRAM-SHA-256", .user = "u", .password = "p"},
		{.mechanism = "OAUTHBEARER", .token = "t"},
	};
	struct span text, token;
	int16_t error;

	if (proto_read_login(body, &error, &text, &token))
		return;
	for (size_t i = 0; i < sizeof(as) / sizeof(*as); i++) {
		struct login l = {0};
		struct buf out = {0};

		must(login_first(&l, &as[i], &out) == 0);
		/* The nonce is made new each time: what the answer has of it is taken for the right
		 * one. */
		memset(l.nonce, 0, sizeof(l.nonce));
		buf_clear(&out);
		if (token.p && login_next(&l, token, &out) == 0)
			must(login_next(&l, token, &out) != 0);
		buf_free(&out);
		login_free(&l);
	}
}

static void read_metadata(struct span body, int16_t version)
{
	struct proto_metadata m;

	if (proto_read_metadata(body, version, &m) == 0)
		for (int32_t i = 0; i < m.topic_count; i++)
			must(strlen(m.topics[i].name) <= body.len);
	proto_metadata_free(&m);
}

static void read_query(struct span body, int which, int16_t version)
{
	struct query_coordinator c = {0};
	struct query_places places = {0};
	struct query_group group = {0};
	struct catalog names = {0};
	struct span text, value;
	int16_t error;

	if (which == 0)
		query_read_list_offsets(body, version, &places);
	else if (which == 1)
		query_read_offset_fetch(body, version, &error, &places);
	else if (which == 2)
		query_read_describe_groups(body, version, &group);
	else if (which == 3 && query_read_find_coordinator(body, version, &c) == 0)
		must(c.error || c.broker.host);
	else if (which == 4 && query_read_describe_configs(body, &error, &text, &value) == 0)
		must(text.len + value.len <= body.len);
	else if (which == 5)
		query_read_list_groups(body, version, &error, &names);
	else if (which == 6)
		query_read_consumer_group(body, &group);
	for (size_t i = 0; i < places.count; i++)
		must(strlen(places.list[i].topic) <= body.len);
	query_places_free(&places);
	query_group_free(&group);
	catalog_free(&names);
	free(c.broker.host);
}

enum { ANSWERS = 5 + 7 }; /* those below, and those of read_query */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct proto_versions versions;
	struct buf names = {0};
	struct span body;
	int16_t error;
	int32_t number;

	if (size < 2)
		return 0;
	body = (struct span){(const char *)data + 2, size - 2};
	switch (data[0] % ANSWERS) {
	case 0:
		if (proto_answer(body, &number, &body) > 0)
			must(body.p + body.len <= (const char *)data + size);
		break;
	case 1:
		proto_read_versions(body, &versions);
		break;
	case 2:
		proto_read_mechanisms(body, &error, &names);
		break;
	case 3:
		read_login(body);
		break;
	case 4:
		read_metadata(body, (int16_t)(1 + data[1] % PROTO_METADATA_MAX));
		break;
	default:
		read_query(body, data[0] % ANSWERS - 5, (int16_t)(data[1] % 6));
	}
	buf_free(&names);
	return 0;
}
