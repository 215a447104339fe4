/* SPDX-License-Identifier: ISC */
#define _GNU_SOURCE
#include "kafka/brokers.h"

#include "base/msg.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum {
	AWAY_MAX = 32, /* brokers told of one by one; more are away in silence */
	AWAY_GRACE_MS = 1000, /* a connection that comes back sooner is not worth a sentence */
	MUTE_MS = 5000,
};

struct away {
	char name[256]; /* host:port */
	char cause[384];
	int64_t since_ms;
	bool said, back;
};

static struct {
	pthread_mutex_t lock; /* guards all */
	struct away away[AWAY_MAX];
	int away_count;
	bool answered; /* since all brokers were last away */
	int64_t node_ms; /* a broker that is not just a bootstrap address answered last */
	int64_t due_ms; /* the first answer that is waited for should have come; 0: none is */
	bool mute; /* and that was said */
} self = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* "sasl_ssl://host:port/1" is host:port, whichever connection to it is meant. */
static bool broker_name(const char *text, size_t len, char *name, size_t size)
{
	const char *scheme = memmem(text, len, "://", 3), *slash;

	if (scheme) {
		len -= (size_t)(scheme + 3 - text);
		text = scheme + 3;
	}
	slash = memchr(text, '/', len);
	if (!slash || !memchr(text, ':', (size_t)(slash - text)))
		return false;
	snprintf(name, size, "%.*s", (int)(slash - text), text);
	return true;
}

void brokers_cut_after(char *text)
{
	char *after = strstr(text, " (after ");

	if (after)
		*after = '\0';
}

/* @text: "host:port/1: reason (after 3ms in state CONNECT)". */
void brokers_away(int64_t now_ms, const char *text)
{
	const char *reason = strstr(text, ": ");
	char name[sizeof(self.away->name)];
	struct away *a = self.away;

	if (!reason || !broker_name(text, (size_t)(reason - text), name, sizeof(name)))
		return;
	pthread_mutex_lock(&self.lock);
	/* What was asked has failed, and is asked again. */
	self.due_ms = 0;
	while (a < self.away + self.away_count && strcmp(a->name, name))
		a++;
	if (a < self.away + AWAY_MAX) {
		if (a == self.away + self.away_count) {
			self.away_count++;
			*a = (struct away){.since_ms = now_ms};
			memcpy(a->name, name, sizeof(name));
		}
		a->back = false;
		snprintf(a->cause, sizeof(a->cause), "%s", reason + 2);
		brokers_cut_after(a->cause);
	}
	pthread_mutex_unlock(&self.lock);
}

void brokers_all_away(void)
{
	pthread_mutex_lock(&self.lock);
	self.answered = false;
	self.due_ms = 0;
	pthread_mutex_unlock(&self.lock);
}

void brokers_asked(int64_t now_ms, int64_t wait_ms)
{
	int64_t due_ms = now_ms + MUTE_MS + wait_ms;

	pthread_mutex_lock(&self.lock);
	if (!self.due_ms || due_ms < self.due_ms)
		self.due_ms = due_ms;
	pthread_mutex_unlock(&self.lock);
}

bool brokers_answered(int64_t now_ms, const char *broker, int32_t id)
{
	char name[sizeof(self.away->name)];
	bool news;

	pthread_mutex_lock(&self.lock);
	news = !self.answered || self.mute;
	self.answered = true;
	self.due_ms = 0;
	if (id >= 0)
		self.node_ms = now_ms;
	if (self.away_count && broker_name(broker, strlen(broker), name, sizeof(name)))
		for (int i = 0; i < self.away_count; i++)
			if (strcmp(self.away[i].name, name) == 0)
				news = self.away[i].back = true;
	pthread_mutex_unlock(&self.lock);
	return news;
}

bool brokers_tick(int64_t now_ms)
{
	bool up, mute;

	pthread_mutex_lock(&self.lock);
	up = self.answered;
	for (int i = self.away_count; i-- > 0;) {
		struct away *a = &self.away[i];

		if (a->back) {
			if (a->said)
				msg_warn("broker %s is back", a->name);
			*a = self.away[--self.away_count];
			continue;
		}
		/* A bootstrap address that answers is worth nothing when the brokers it names do
		 * not. */
		if (self.node_ms <= a->since_ms)
			up = false;
		if (!a->said && now_ms - a->since_ms >= AWAY_GRACE_MS) {
			a->said = true;
			msg_warn("cannot reach broker %s: %s; waiting for it%s", a->name, a->cause,
				strstr(a->cause, "resolve") ? " (--resolve says where a name is)"
							    : "");
		}
	}
	mute = self.due_ms && now_ms >= self.due_ms;
	if (mute && !self.mute)
		msg_warn("the brokers do not answer; waiting for them");
	else if (!mute && self.mute && up)
		msg_warn("the brokers answer again");
	self.mute = mute;
	pthread_mutex_unlock(&self.lock);
	return up && !mute;
}
