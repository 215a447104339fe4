/* SPDX-License-Identifier: ISC */
/* Kafka does not answer: why, as a diagnosis finds, or as librdkafka says. */
#define _GNU_SOURCE
#include "kafka/kafka-parts.h"

#include "base/msg.h"
#include "base/wake.h"
#include "kafka/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	DIAGNOSE_AGAIN_MS = 15000,
	GROUP_AGAIN_MS = 10000, /* the topic of the groups' positions is made for the first group */
	GROUP_PAUSE_MAX_MS = 240000, /* a member may wait for its topic for days */
	HELD_MS = 8000,
	QUIET_MS = 8000, /* longer than from one heartbeat to the next */
	TOKEN_MS = 50, /* between two looks whether there is a token */
};

const char *kafka_why(rd_kafka_resp_err_t err)
{
	const char *text = rd_kafka_err2str(err);

	if (strncmp(text, "Broker: ", 8) == 0)
		text += 8;
	else if (strncmp(text, "Local: ", 7) == 0)
		text += 7;
	return text;
}

bool kafka_login_cut(const char *text)
{
	return strstr(text, "mechanism handshake failed: Local: ");
}

/* "broker:9092/1: topic [0]: MessageSet with 3 message(s) (…) encountered error: Broker: reason
 * (actions Retry)" of a producer, "topic [0]: broker unavailable: fetch: Broker: reason" and
 * "topic [0]: topic does not exist (reason)" of a consumer, as librdkafka has written them at least
 * from 2.0 to 2.15. */
void kafka_read_refusal(
	const struct kafka *k, const char *text, const char *before, const char *behind)
{
	const char *set = strstr(text, before), *open = set, *topic;
	const char *why = set ? strstr(set, behind) : NULL, *end;
	char name[256], reason[256];

	if (!why)
		return;
	while (open > text && *open != '[')
		open--;
	for (topic = open > text ? open - 1 : text; topic > text && topic[-1] != ' ';)
		topic--;
	if (*open != '[' || topic >= open)
		return;
	why += strlen(behind);
	if (strncmp(why, "Broker: ", 8) == 0)
		why += 8;
	end = strstr(why, " (actions ");
	/* What is refused for good a delivery report tells. */
	if (end && strstr(end, "Permanent"))
		return;
	snprintf(name, sizeof(name), "%.*s", (int)(open - 1 - topic), topic);
	snprintf(reason, sizeof(reason), "%.*s", end ? (int)(end - why) : (int)strlen(why), why);
	k->refusal(k->refusal_ctx, name, (int32_t)strtol(open + 1, NULL, 10), reason);
}

void kafka_outage_begins(struct kafka *k)
{
	if (!k->is_out)
		k->diagnose_ms = wake_now_ms();
	k->is_out = true;
}

/* librdkafka has one sentence for all that may be wrong with a certificate, and one for all that is
 * no broker: a diagnosis tells which. It tells the remedy too when a login by another mechanism is
 * wanted, or none. */
bool kafka_outage_holds(struct kafka *k, rd_kafka_resp_err_t err, const char *text)
{
	if (!(err == RD_KAFKA_RESP_ERR__SSL && kafka_is_tls_config(text)) &&
		!strstr(text, "Idempotent producer not supported") &&
		!strstr(text, "Unsupported SASL mechanism:") &&
		!strstr(text, "not valid in current SASL state"))
		return false;
	if (!k->held.status)
		k->held_ms = k->diagnose_ms = wake_now_ms();
	trouble_set(&k->held, EXIT_PERM, "%s", text);
	return true;
}

static void trouble_found(struct kafka *k, const struct diagnosis_finding *f)
{
	trouble_set(&k->trouble, EXIT_PERM, "%s: %s%s%s", f->name, f->reason,
		*f->remedy ? "; " : "", f->remedy);
}

static bool is_of(const struct kafka *k, const struct diagnosis_finding *f)
{
	/* The newest librdkafka ends for it, and names no broker. */
	if (strstr(k->held.text, "Idempotent producer not supported by any"))
		return !f->is_partial && !f->is_passing;
	return !f->is_partial && strstr(k->held.text, f->name);
}

/* What was held becomes trouble: in the words of the finding about the broker that it names, or in
 * its own. */
static void tell_held(struct kafka *k, const struct diagnosis_finding *list, size_t count)
{
	if (!k->held.status)
		return;
	for (size_t i = 0; i < count; i++)
		if (is_of(k, &list[i])) {
			trouble_found(k, &list[i]);
			return;
		}
	trouble_take(&k->trouble, &k->held);
}

void kafka_doubts(struct kafka *k)
{
	int64_t now_ms = wake_now_ms();

	if (k->doubts || now_ms < k->doubt_ms)
		return;
	k->doubts = true;
	k->diagnose_ms = now_ms;
	k->doubt_ms = now_ms + DIAGNOSE_AGAIN_MS;
}

void kafka_look_first(struct kafka *k)
{
	const struct kafka_conf *c = &k->reach;

	k->told_resolves = false;
	k->looks_first = resolve_is_any(&c->resolves) ||
		strchr(kafka_conf_text(c, "bootstrap.servers"), ',');
	if (k->looks_first)
		kafka_doubts(k);
}

void kafka_ask_group(struct kafka *k, bool on)
{
	if (on && !k->asks_group) {
		k->group_ms = wake_now_ms();
		k->group_pause_ms = DIAGNOSE_AGAIN_MS;
	}
	k->asks_group = on;
	k->doubts_group = k->doubts_group && on;
}

static void take_group(struct kafka *k, int64_t now_ms)
{
	const struct check_verdict *v = diagnosis_group(k->diagnosis);
	bool doubted = k->doubts_group;

	if (!k->asks_group)
		return;
	/* What we may not do librdkafka tells. */
	k->doubts_group = v && v->status != EXIT_PERM;
	if (!k->doubts_group) {
		k->group_ms = now_ms + k->group_pause_ms;
		if (k->group_pause_ms < GROUP_PAUSE_MAX_MS)
			k->group_pause_ms *= 2;
		return;
	}
	if (!doubted) {
		k->group_ms = now_ms + GROUP_AGAIN_MS;
		return;
	}
	k->asks_group = k->doubts_group = false;
	msg_warn("%s; waiting for it%s%s%s", v->text, *v->remedy ? " (" : "", v->remedy,
		*v->remedy ? ")" : "");
}

void kafka_misses(struct kafka *k)
{
	int64_t now_ms = wake_now_ms();

	if (k->diagnosis) {
		k->misses = true;
		return;
	}
	if (k->misses && now_ms - k->diagnosed_ms < DIAGNOSE_AGAIN_MS)
		return;
	k->misses = k->looks_again = true;
	k->diagnose_ms = now_ms;
}

/* Only by the client that is the first of its program. */
static void tell_unused(struct kafka *k)
{
	const char *unused = diagnosis_unused(k->diagnosis);

	if (k->told_resolves || !unused)
		return;
	k->told_resolves = true;
	if (*unused)
		msg_warn("%s", unused);
}

static void explain(
	struct kafka *k, int64_t now_ms, const struct diagnosis_finding *list, size_t count)
{
	bool were_there = brokers_were_there(&k->brokers);
	bool all_away = (!k->up || !were_there) && diagnosis_all_away(k->diagnosis);

	for (size_t i = 0; i < count; i++)
		brokers_explain(&k->brokers, now_ms, list[i].name, list[i].reason, list[i].remedy,
			list[i].is_passing,
			all_away || (list[i].is_partial && !were_there) ||
				(list[i].is_silent &&
					brokers_tries(&k->brokers, now_ms, list[i].name)) ||
				(k->misses && !list[i].is_passing && !list[i].is_partial));
	k->misses = k->misses && diagnosis_is_short(k->diagnosis);
}

static void take_diagnosis(struct kafka *k, int64_t now_ms)
{
	const struct diagnosis_finding *list, *ours = diagnosis_ours(k->diagnosis);
	size_t count = diagnosis_findings(k->diagnosis, &list);

	if (k->has_coordinator && diagnosis_all_away(k->diagnosis) &&
		brokers_answered_ms(&k->brokers) < k->diagnosed_ms) {
		brokers_all_away(&k->brokers);
		k->up = false;
	}
	if (ours && !brokers_were_there(&k->brokers))
		trouble_found(k, ours);
	tell_held(k, list, count);
	tell_unused(k);
	k->doubts = k->looks_first = false;
	/* librdkafka would go on with both clusters. */
	for (size_t i = 0; i < count; i++)
		if (list[i].is_stranger)
			trouble_found(k, &list[i]);
	if (!k->trouble.status)
		explain(k, now_ms, list, count);
	brokers_looked(&k->brokers, now_ms);
	take_group(k, now_ms);
	k->looks_again = k->looks_second = diagnosis_is_short(k->diagnosis);
	if (k->looks_again)
		k->diagnose_ms = now_ms;
	diagnosis_drop(k->diagnosis);
	k->diagnosis = NULL;
}

/* Kafka answers, but only at an address of -b so far. */
static bool is_stuck(struct kafka *k)
{
	return !k->was_diagnosed && !brokers_were_there(&k->brokers);
}

/* librdkafka says that all brokers are down when the last connection goes. When the connection to a
 * coordinator is the last one, and it is no coordinator any more by then, librdkafka says nothing
 * (2.0.2): seen where a proxy takes connections and closes them, which is no error of one broker.
 * Who has a coordinator is answered all the time, though, and looks himself when he is not. */
static void look_when_quiet(struct kafka *k, int64_t now_ms)
{
	int64_t since_ms = brokers_answered_ms(&k->brokers);

	if (!k->has_coordinator || !k->up || !since_ms || k->diagnosis ||
		now_ms - since_ms < QUIET_MS || now_ms - k->diagnosed_ms < DIAGNOSE_AGAIN_MS)
		return;
	k->looks_again = true;
	k->diagnose_ms = now_ms;
}

static bool is_well(struct kafka *k, int64_t now_ms)
{
	return k->up && !k->held.status && !k->doubts && !k->looks_again && !is_stuck(k) &&
		!brokers_wonder(&k->brokers, now_ms);
}

int64_t kafka_outage_next_ms(struct kafka *k)
{
	/* The end of a diagnosis wakes the loop. */
	if (k->diagnosis || is_well(k, wake_now_ms()))
		return k->held.status ? k->held_ms + HELD_MS : INT64_MAX;
	return k->diagnose_ms;
}

/* A diagnosis logs in with the client's token, and begins when there is one: the command is not run
 * for it. */
static bool has_token(struct kafka *k)
{
	if (!k->token.command)
		return true;
	token_forget(k->reach.token);
	k->reach.token = token_last(&k->token);
	return k->reach.token;
}

static void start(struct kafka *k, int64_t now_ms)
{
	if (!has_token(k)) {
		k->diagnose_ms = k->group_ms = now_ms + TOKEN_MS;
		return;
	}
	k->diagnosis = diagnosis_start(&k->reach,
		k->looks_first		  ? DIAGNOSIS_FIRST
			: k->looks_second ? DIAGNOSIS_SECOND
					  : DIAGNOSIS_ANY,
		k->asks_group, k->wake_in);
	k->looks_second = k->looks_second && !k->diagnosis;
	k->was_diagnosed |= k->diagnosis != NULL;
	k->diagnosed_ms = now_ms;
	k->doubts = k->doubts && k->diagnosis;
	k->looks_again = k->looks_again && !k->diagnosis;
	k->diagnose_ms = now_ms + (k->diagnosis ? DIAGNOSE_AGAIN_MS : KAFKA_UNANSWERED_MS);
	k->group_ms = k->diagnose_ms;
}

void kafka_outage_tick(struct kafka *k, int64_t now_ms)
{
	bool asks_group;

	look_when_quiet(k, now_ms);
	if (k->diagnosis && diagnosis_done(k->diagnosis))
		take_diagnosis(k, now_ms);
	if (k->held.status && now_ms - k->held_ms >= HELD_MS)
		tell_held(k, NULL, 0);
	asks_group = k->asks_group && now_ms >= k->group_ms;
	if (is_well(k, now_ms)) {
		k->is_out = false;
		k->diagnose_ms = now_ms + KAFKA_UNANSWERED_MS;
	}
	if (!k->diagnosis && (asks_group || (!is_well(k, now_ms) && now_ms >= k->diagnose_ms)))
		start(k, now_ms);
}
