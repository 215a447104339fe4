/* SPDX-License-Identifier: ISC */
/* Subscriptions by pattern. Java's regular expression must match the whole name, and knows more
 * than librdkafka's: so topics are looked up here, matched by libjq, whose engine understands what
 * Java's does, and subscribed by name. */
#include "khttp/instance.h"

#include "base/mem.h"
#include "jq/expr.h"

#include <stdio.h>
#include <stdlib.h>

/* The names that the program's text has, each with LF behind it; NULL: it has failed. */
static char *match(struct instance *i, struct span names, char *why, size_t why_size)
{
	struct buf out = {0};

	if (expr_text(i->pattern, names, &out, why, why_size) != EXPR_TEXT) {
		buf_free(&out);
		return NULL;
	}
	buf_putc(&out, '\0');
	return out.p;
}

int pattern_set(struct instance *i, const char *regex, char *why, size_t why_size)
{
	struct buf text = {0}, program = {0}, probe = {0};
	struct expr *old = i->pattern;
	char *matched = NULL;

	buf_printf(&text, "\\A(?:%s)\\z", regex);
	buf_puts(&program, "map(select(test(");
	json_put_text(&program, buf_as_span(&text));
	buf_puts(&program, ")) + \"\\n\") | add // \"\"");
	buf_putc(&program, '\0');
	i->pattern = expr_compile(program.p, why, why_size);
	buf_puts(&probe, "[\"x\"]");
	buf_room(&probe, BUF_SLACK);
	if (i->pattern)
		matched = match(i, buf_as_span(&probe), why, why_size);
	buf_free(&text);
	buf_free(&program);
	buf_free(&probe);
	free(matched);
	if (matched) {
		if (old)
			expr_free(old);
		free(i->matched);
		i->matched = NULL;
		i->match_ms = 0;
		return 0;
	}
	if (i->pattern)
		expr_free(i->pattern);
	i->pattern = old;
	return -1;
}

void pattern_free(struct instance *i)
{
	if (i->pattern)
		expr_free(i->pattern);
	free(i->matched);
	i->pattern = NULL;
	i->matched = NULL;
}

/* Kafka's own topics are nobody's to subscribe to by a pattern. */
static bool is_internal(const char *name)
{
	return strcmp(name, "__consumer_offsets") == 0 ||
		strcmp(name, "__transaction_state") == 0 ||
		strcmp(name, "__share_group_state") == 0;
}

static void subscribe(struct instance *i, const struct rd_kafka_metadata *md)
{
	struct buf names = {0};
	char why[200], *matched;

	buf_putc(&names, '[');
	for (int n = 0; n < md->topic_cnt; n++)
		if (!md->topics[n].err && !is_internal(md->topics[n].topic))
			buf_printf(
				&names, "%s\"%s\"", names.len > 1 ? "," : "", md->topics[n].topic);
	buf_putc(&names, ']');
	buf_room(&names, BUF_SLACK);
	matched = match(i, buf_as_span(&names), why, sizeof(why));
	buf_free(&names);
	if (!matched || (i->matched ? !strcmp(matched, i->matched) : !*matched)) {
		free(matched);
		return;
	}
	free(i->matched);
	i->matched = matched;
	if (*matched)
		group_subscribe(i, matched);
	else
		rd_kafka_unsubscribe(i->kafka.rk);
}

void pattern_go_on(struct instance *i)
{
	struct listing *l = &i->listing;

	if (!i->has_listing)
		listing_open(l, &i->kafka);
	i->has_listing = true;
	if (listing_take(l) && !l->err && l->metadata)
		subscribe(i, l->metadata);
	if (!listing_is_out(l) && i->all->now_ms >= i->match_ms) {
		i->match_ms = i->all->now_ms + (l->err ? 500 : PATTERN_MS);
		listing_ask_topics(l);
	}
}
