/* SPDX-License-Identifier: ISC */
#include "rapply/keys.h"

#include "base/mem.h"
#include "redis/slot.h"

#include <stdlib.h>
#include <strings.h>

/* Where a command has its keys. Word 0 is its name. */
enum rule {
	RULE_FIRST, /* word 1 */
	RULE_NONE,
	RULE_SECOND, /* word 2 */
	RULE_TWO, /* words 1 and 2 */
	RULE_ALL, /* from word 1 on */
	RULE_ALL_BUT_ONE, /* from word 1 on, but the last word */
	RULE_FROM_SECOND, /* from word 2 on */
	RULE_PAIRS, /* every second word */
	RULE_COUNT_FIRST, /* so many as word 1 says, behind it */
	RULE_COUNT_SECOND, /* so many as word 2 says, behind it */
	RULE_STORE_COUNT, /* word 1, and the same */
	RULE_STREAMS, /* the first half of what is behind STREAMS */
	RULE_STORE, /* word 1, and what is behind STORE or STOREDIST */
};

static const struct {
	enum rule rule;
	const char *names; /* a space before and behind each */
} rules[] = {
	{RULE_NONE,
		" PUBLISH PING ECHO TIME DBSIZE INFO LASTSAVE ROLE LOLWUT RANDOMKEY SCAN COMMAND LATENCY SLOWLOG "
		"PUBSUB FLUSHALL FLUSHDB CONFIG DEBUG SCRIPT FUNCTION KEYS SWAPDB SHUTDOWN ACL MODULE CLUSTER "
		"FAILOVER SAVE BGSAVE BGREWRITEAOF "},
	{RULE_SECOND, " XGROUP XINFO OBJECT MEMORY "},
	{RULE_TWO,
		" RENAME RENAMENX COPY SMOVE LMOVE BLMOVE RPOPLPUSH BRPOPLPUSH GEOSEARCHSTORE ZRANGESTORE LCS "},
	{RULE_ALL,
		" DEL UNLINK EXISTS TOUCH MGET PFCOUNT PFMERGE SINTER SINTERSTORE SUNION SUNIONSTORE SDIFF "
		"SDIFFSTORE "},
	{RULE_ALL_BUT_ONE, " BLPOP BRPOP BZPOPMIN BZPOPMAX "},
	{RULE_FROM_SECOND, " BITOP "},
	{RULE_PAIRS, " MSET MSETNX "},
	{RULE_COUNT_FIRST, " ZUNION ZINTER ZDIFF ZINTERCARD SINTERCARD LMPOP ZMPOP "},
	{RULE_COUNT_SECOND, " EVAL EVALSHA EVAL_RO EVALSHA_RO FCALL FCALL_RO BLMPOP BZMPOP "},
	{RULE_STORE_COUNT, " ZUNIONSTORE ZINTERSTORE ZDIFFSTORE "},
	{RULE_STREAMS, " XREAD XREADGROUP "},
	{RULE_STORE, " SORT GEORADIUS GEORADIUSBYMEMBER "},
};

static bool is_word(struct span word, const char *text)
{
	return word.len == strlen(text) && strncasecmp(word.p, text, word.len) == 0;
}

static bool is_among(struct span name, const char *names)
{
	for (const char *p = names + 1; *p; p = strchr(p, ' ') + 1)
		if (strncasecmp(p, name.p, name.len) == 0 && p[name.len] == ' ')
			return true;
	return false;
}

static enum rule rule_of(struct span name)
{
	/* Most commands of a log are the same few. */
	static char last[32];
	static size_t last_len;
	static enum rule last_rule;

	if (name.len && name.len == last_len && memcmp(name.p, last, last_len) == 0)
		return last_rule;
	last_len = name.len <= sizeof(last) ? name.len : 0;
	memcpy(last, name.p, last_len);
	for (size_t i = 0; name.len && i < sizeof(rules) / sizeof(*rules); i++)
		if (is_among(name, rules[i].names))
			return last_rule = rules[i].rule;
	return last_rule = RULE_FIRST;
}

/* ---- lists of words ---- */

static void put(struct keys_list *l, struct span word)
{
	if (l->count == l->cap) {
		l->cap = l->cap ? 2 * l->cap : 16;
		l->p = mem_realloc(l->p, l->cap * sizeof(*l->p));
	}
	l->p[l->count++] = word;
}

/* The words from @from to the one before @to, every @step. */
static void put_range(struct keys *k, size_t from, size_t to, size_t step)
{
	for (size_t i = from; i < to && i < k->words.count; i += step)
		put(&k->keys, k->words.p[i]);
}

static size_t number(const struct keys *k, size_t at)
{
	size_t n = 0;

	if (at >= k->words.count)
		return 0;
	for (size_t i = 0; i < k->words.p[at].len && n < k->words.count; i++) {
		if (k->words.p[at].p[i] < '0' || k->words.p[at].p[i] > '9')
			return 0;
		n = 10 * n + (size_t)(k->words.p[at].p[i] - '0');
	}
	return n;
}

static void put_streams(struct keys *k)
{
	size_t count = k->words.count;

	for (size_t i = 1; i < count; i++)
		if (is_word(k->words.p[i], "STREAMS")) {
			put_range(k, i + 1, i + 1 + (count - i - 1) / 2, 1);
			return;
		}
}

static void put_stored(struct keys *k)
{
	put_range(k, 1, 2, 1);
	for (size_t i = 2; i < k->words.count; i++)
		if (is_word(k->words.p[i], "STORE") || is_word(k->words.p[i], "STOREDIST"))
			put_range(k, i + 1, i + 2, 1);
}

static void find_keys(struct keys *k)
{
	size_t count = k->words.count;

	switch (rule_of(k->words.p[0])) {
	case RULE_FIRST:
		put_range(k, 1, 2, 1);
		break;
	case RULE_NONE:
		break;
	case RULE_SECOND:
		put_range(k, 2, 3, 1);
		break;
	case RULE_TWO:
		put_range(k, 1, 3, 1);
		break;
	case RULE_ALL:
		put_range(k, 1, count, 1);
		break;
	case RULE_ALL_BUT_ONE:
		put_range(k, 1, count - 1, 1);
		break;
	case RULE_FROM_SECOND:
		put_range(k, 2, count, 1);
		break;
	case RULE_PAIRS:
		put_range(k, 1, count, 2);
		break;
	case RULE_COUNT_FIRST:
		put_range(k, 2, 2 + number(k, 1), 1);
		break;
	case RULE_STORE_COUNT:
		put_range(k, 1, 2, 1);
		/* fallthrough */
	case RULE_COUNT_SECOND:
		put_range(k, 3, 3 + number(k, 2), 1);
		break;
	case RULE_STREAMS:
		put_streams(k);
		break;
	case RULE_STORE:
		put_stored(k);
		break;
	}
}

/* ---- a command ---- */

/* "$12\r\n" or "*12\r\n". */
static size_t take_length(const char **p)
{
	size_t n = 0;

	for (++*p; **p != '\r'; ++*p)
		n = 10 * n + (size_t)(**p - '0');
	*p += 2;
	return n;
}

void keys_take(struct keys *k, struct span *rest)
{
	const char *p = rest->p;

	k->words.count = k->keys.count = 0;
	for (size_t n = take_length(&p); n; n--) {
		size_t len = take_length(&p);

		put(&k->words, (struct span){p, len});
		p += len + 2;
	}
	rest->len -= (size_t)(p - rest->p);
	rest->p = p;
	find_keys(k);
}

int keys_slot(const struct keys *k)
{
	int slot = KEYS_NO_SLOT;

	for (size_t i = 0; i < k->keys.count; i++) {
		int of_key = (int)slot_of(k->keys.p[i]);

		if (slot != KEYS_NO_SLOT && slot != of_key)
			return KEYS_SEVERAL_SLOTS;
		slot = of_key;
	}
	return slot;
}

void keys_free(struct keys *k)
{
	free(k->words.p);
	free(k->keys.p);
}
