/* SPDX-License-Identifier: ISC */
/* Whose word counts among sentinels. */
#include "redis/sentinel-parts.h"

#include "base/mem.h"
#include "base/msg.h"

#include <stdlib.h>

/* For those that cannot be reached, at the start; for a primary that is of no use. */
enum { PATIENCE_MS = 3000 };

void sentinel_at_free(struct redis_at *a)
{
	free(a->host);
	free(a->port);
	*a = (struct redis_at){0};
}

void sentinel_at_set(struct redis_at *a, const char *host, const char *port)
{
	struct redis_at new = {mem_dup(host), mem_dup(port)};

	sentinel_at_free(a);
	*a = new;
}

static int votes(const struct sentinels *s, const struct redis_at *word)
{
	int n = 0;

	for (int i = 0; i < s->count; i++)
		n += s->all[i]->verdict == FINE && sentinel_at_is(&s->all[i]->word, word);
	return n;
}

/* Whether @a's word goes before @b's. */
static bool goes_before(
	const struct sentinels *s, const struct sentinel *a, const struct sentinel *b)
{
	bool a_avoided = sentinel_at_is(&a->word, &s->avoided),
	     b_avoided = sentinel_at_is(&b->word, &s->avoided);
	int a_votes = votes(s, &a->word), b_votes = votes(s, &b->word);

	if (a_avoided != b_avoided)
		return b_avoided;
	if (a->changed != b->changed)
		return a->changed > b->changed;
	if (a_votes != b_votes)
		return a_votes > b_votes;
	return sentinel_at_is(&a->word, &s->primary) && !sentinel_at_is(&b->word, &s->primary);
}

void sentinels_choose(struct sentinels *s)
{
	const struct sentinel *best = NULL;

	for (int i = 0; i < s->count; i++) {
		const struct sentinel *e = s->all[i];

		/* An old word of a sentinel that is away is no vote; a change that it made known is
		 * one. */
		if (e->word.host && (e->verdict == FINE || e->changed) &&
			(!best || goes_before(s, e, best)))
			best = e;
	}
	if (!best || sentinel_at_is(&best->word, &s->primary))
		return;
	s->blamed_ms = 0;
	sentinel_at_set(&s->primary, best->word.host, best->word.port);
}

const struct redis_at *sentinels_primary(const struct sentinels *s)
{
	return &s->primary;
}

bool sentinels_confirm(const struct sentinels *s, int64_t since_ms)
{
	for (int i = 0; i < s->count; i++)
		if (s->all[i]->verdict == FINE && s->all[i]->answered_ms >= since_ms &&
			sentinel_at_is(&s->all[i]->word, &s->primary))
			return true;
	return false;
}

void sentinels_blame(struct sentinels *s)
{
	sentinels_ask(s);
	if (!s->blamed_ms)
		s->blamed_ms = s->now_ms;
	if (s->now_ms - s->blamed_ms < PATIENCE_MS || !s->primary.host)
		return;
	sentinel_at_set(&s->avoided, s->primary.host, s->primary.port);
	sentinels_choose(s);
	s->blamed_ms = 0;
}

void sentinels_praise(struct sentinels *s)
{
	s->blamed_ms = 0;
}

int64_t sentinels_silent_ms(const struct sentinels *s)
{
	return s->silent_ms;
}

struct trouble sentinels_why(const struct sentinels *s)
{
	const struct sentinel *away = NULL, *refuses = NULL;
	bool all_tried = true;

	for (int i = 0; i < s->count; i++) {
		const struct sentinel *e = s->all[i];

		all_tried &= e->verdict != UNTRIED;
		if (e->verdict == AWAY && !away)
			away = e;
		if (e->verdict == REFUSES && !refuses)
			refuses = e;
	}
	if (refuses && all_tried && (!away || s->now_ms - s->began_ms >= PATIENCE_MS))
		return refuses->why;
	return away && all_tried ? away->why : (struct trouble){0};
}
