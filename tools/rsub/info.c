/* SPDX-License-Identifier: ISC */
/* DESIGN: trimming takes the oldest entries. So entries were lost only if the first one that is
 * left stands behind the last that was read. How many: entries ever added, less those that were
 * read, less those left. What is left unread is known when nothing that was read is left, or all is
 * read. In between the sum is looked at again later: it keeps.
 *
 * Entries that were lost before this run are in the sum too: it is compared with the last one. Only
 * at the first look, when the first entry left stands behind the last that was read, all of them
 * are told.
 *
 * Redis 6.2 does not count what was added: there a loss is seen, by an entry that was unread and is
 * gone, but not its size. So it is when 7.0 has lost count: neither its AOF nor its replicas get to
 * know how many entries were read, and after a restart, or a failover, the number is an old one,
 * from when all was saved or copied, though the group's last id is right. From there it counts on,
 * and the sum begins anew. */
#include "rsub/info.h"

#include <stdlib.h>
#include <string.h>

/* Takes a name and its value's head off a map; other values are passed over. */
static bool next_pair(struct resp *c, int64_t *left, struct span *name, struct resp_value *value)
{
	struct resp_value v;

	if (*left < 2)
		return false;
	*left -= 2;
	resp_next(c, &v);
	*name = v.text;
	resp_next(c, value);
	return true;
}

static void skip(struct resp *c, const struct resp_value *v)
{
	uint64_t left = v->type == RESP_ARRAY ? (uint64_t)v->n : 0;

	resp_skip(c, &left);
}

/* The id of an entry whose head was taken. */
static bool take_id(struct resp *c, const struct resp_value *entry, struct id *id)
{
	struct resp in = *c;
	struct resp_value v;

	skip(c, entry);
	return entry->type == RESP_ARRAY && entry->n > 0 && resp_next(&in, &v) == RESP_STRING &&
		!id_parse(v.text, id);
}

static void take_stream(struct info *i, struct resp *c, int64_t left)
{
	struct resp_value v;
	struct span name;

	i->is_there = true;
	while (next_pair(c, &left, &name, &v)) {
		if (span_is(name, "first-entry")) {
			i->has_first = take_id(c, &v, &i->first);
			continue;
		}
		if (span_is(name, "length")) {
			i->length = (uint64_t)v.n;
		} else if (span_is(name, "last-generated-id")) {
			id_parse(v.text, &i->last);
		} else if (span_is(name, "entries-added")) {
			i->has_added = true;
			i->added = (uint64_t)v.n;
		}
		skip(c, &v);
	}
}

static void take_group(struct info *i, struct resp *c, int64_t left, const char *group)
{
	struct info g = {0};
	struct resp_value v;
	struct span name;
	bool same = false;

	while (next_pair(c, &left, &name, &v)) {
		if (span_is(name, "name")) {
			same = span_is(v.text, group);
		} else if (span_is(name, "consumers")) {
			g.consumers = (uint64_t)v.n;
		} else if (span_is(name, "pending")) {
			g.pending = (uint64_t)v.n;
		} else if (span_is(name, "last-delivered-id")) {
			id_parse(v.text, &g.delivered);
		} else if (span_is(name, "entries-read") && v.type == RESP_INTEGER) {
			g.has_read = true;
			g.read = (uint64_t)v.n;
		}
		skip(c, &v);
	}
	if (!same)
		return;
	i->has_group = true;
	i->has_read = g.has_read;
	i->read = g.read;
	i->consumers = g.consumers;
	i->pending = g.pending;
	i->delivered = g.delivered;
}

/* An element of EXEC's answer. Returns the text of an error, but not of a key or group that is not
 * there. */
static struct span take_error(const struct resp_value *v)
{
	if (v->type != RESP_ERROR || span_starts(v->text, "ERR no such key") ||
		span_starts(v->text, "NOGROUP"))
		return SPAN_NONE;
	return v->text;
}

/* XPENDING: how many, the first id, the last one, and [[consumer, how many], …]. */
static void take_pending(struct info *i, struct resp *c, const char *consumer)
{
	struct resp_value v;
	struct span name;

	if (resp_next(c, &v) != RESP_INTEGER || resp_next(c, &v) != RESP_STRING)
		return;
	id_parse(v.text, &i->pending_first);
	resp_next(c, &v);
	if (resp_next(c, &v) != RESP_ARRAY)
		return;
	for (int64_t n = v.n; n > 0; n--) {
		if (resp_next(c, &v) != RESP_ARRAY || v.n != 2)
			return;
		resp_next(c, &v);
		name = v.text;
		resp_next(c, &v);
		if (span_is(name, consumer))
			i->own = v.type == RESP_STRING ? strtoull(v.text.p, NULL, 10) : 0;
	}
}

struct span info_take(
	struct info *i, const struct link_reply *reply, const char *group, const char *consumer)
{
	struct resp c = reply->elements;
	struct resp_value v, head;
	struct span error;

	*i = (struct info){0};
	if (reply->value.type != RESP_ARRAY)
		return reply->value.text;
	if (resp_next(&c, &v) == RESP_ARRAY)
		take_stream(i, &c, v.n);
	error = take_error(&v);
	if (!group || error.p)
		return error;
	if (resp_next(&c, &v) == RESP_ARRAY)
		for (int64_t n = v.n; n > 0; n--) {
			resp_next(&c, &head);
			take_group(i, &c, head.n, group);
		}
	error = take_error(&v);
	if (error.p)
		return error;
	if (resp_next(&c, &v) == RESP_ARRAY && v.n == 4)
		take_pending(i, &c, consumer);
	return SPAN_NONE;
}

/* How many entries are left that were not read; -1: not known. */
static int64_t unread(const struct info *i)
{
	if (!i->length || id_compare(i->delivered, i->last) >= 0)
		return 0;
	if (i->has_first && id_compare(i->first, i->delivered) > 0)
		return (int64_t)i->length;
	return -1;
}

/* Without a count: an entry that was not read at the last look is neither left nor read. */
static int64_t lost_some(struct info_losses *l, const struct info *i, bool is_trimmed)
{
	bool lost = l->had_unread && id_compare(l->unread, i->delivered) > 0 &&
		(is_trimmed ? id_compare(i->first, l->unread) > 0 : !i->length);

	l->had_unread = i->length && id_compare(i->delivered, i->last) < 0;
	l->unread = i->last;
	return lost ? -1 : 0;
}

static bool has_lost_count(struct info_losses *l, const struct info *i)
{
	bool fewer =
		i->has_read && i->read < l->read && id_compare(i->delivered, l->delivered) >= 0;

	if (i->has_read) {
		l->read = i->read;
		l->delivered = i->delivered;
	}
	return fewer;
}

int64_t info_lost(struct info_losses *l, const struct info *i)
{
	bool is_trimmed = i->has_first && id_compare(i->first, i->delivered) > 0;
	int64_t left = unread(i), some, sum, lost;

	l->has_lag = left >= 0;
	l->lag = left >= 0 ? (uint64_t)left : l->lag;
	if (!i->is_there)
		return 0;
	some = lost_some(l, i, is_trimmed);
	if (!i->has_added)
		return some;
	l->lost_count |= has_lost_count(l, i);
	if (left < 0 || !i->has_read)
		return l->lost_count ? some : 0;
	sum = (int64_t)(i->added - i->read) - left;
	lost = l->has_base ? sum - l->base : is_trimmed ? sum : 0;
	if (l->lost_count)
		lost = some;
	else if (lost < 0)
		lost = 0;
	l->lost_count = false;
	l->has_base = true;
	l->base = sum;
	return lost;
}

int64_t info_passed(
	struct info_losses *l, const struct info *before, const struct info *now, struct id read)
{
	bool is_trimmed = !now->length || (now->has_first && id_compare(now->first, read) > 0);
	int64_t lost;

	if (!l->has_base || l->lost_count || !before->has_read || before->consumers > 1 ||
		!now->has_added || !is_trimmed || id_compare(now->last, read) <= 0)
		return 0;
	lost = (int64_t)(now->added - before->read - now->length) - l->base;
	if (lost <= 0)
		return 0;
	l->base += lost;
	return lost;
}

int64_t info_gone(const struct info_losses *l, const struct info *last, struct id read)
{
	if (!l->lag || id_compare(read, last->last) >= 0)
		return 0;
	return id_compare(read, last->delivered) > 0 ? -1 : (int64_t)l->lag;
}
