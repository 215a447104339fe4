/* SPDX-License-Identifier: ISC */
#include "evchain/proof.h"

#include "evchain/note.h"

#include <inttypes.h>

/* ---- from tiles ---- */

/* The largest k with 2^k < n, for n > 1. */
static unsigned split_of(uint64_t n)
{
	return 63 - (unsigned)__builtin_clzll(n - 1);
}

/* The hash of the entries [from, to), where from is a multiple of a power of 2 that is not below to
 * - from. */
static int range(struct tiles *s, uint64_t from, uint64_t to, struct hash *h)
{
	bool first = true;
	struct hash part;

	/* Complete subtrees, the smallest of them at the end. */
	for (unsigned k = 0; to > from; k++) {
		if (!((to - from) >> k & 1))
			continue;
		to -= (uint64_t)1 << k;
		if (tiles_subtree(s, k, to >> k, &part))
			return -1;
		if (first)
			*h = part;
		else
			hash_node(&part, h, h);
		first = false;
	}
	return 0;
}

static int put(struct tiles *s, uint64_t from, uint64_t to, struct proof *p)
{
	return range(s, from, to, &p->hash[p->count++]);
}

static void turn(struct proof *p)
{
	for (unsigned i = 0; i < p->count / 2; i++) {
		struct hash h = p->hash[i];

		p->hash[i] = p->hash[p->count - 1 - i];
		p->hash[p->count - 1 - i] = h;
	}
}

int proof_inclusion(struct tiles *s, uint64_t n, uint64_t size, struct proof *p)
{
	uint64_t from = 0, to = size;

	p->count = 0;
	/* From the root down; the text is from the leaf up. */
	while (to - from > 1) {
		uint64_t middle = from + ((uint64_t)1 << split_of(to - from));
		bool left = n < middle;

		if (put(s, left ? middle : from, left ? to : middle, p))
			return -1;
		if (left)
			to = middle;
		else
			from = middle;
	}
	turn(p);
	return 0;
}

int proof_consistency(struct tiles *s, uint64_t old, uint64_t size, struct proof *p)
{
	uint64_t from = 0, to = size;

	p->count = 0;
	if (!old || old == size)
		return 0;
	while (to != old) {
		uint64_t middle = from + ((uint64_t)1 << split_of(to - from));
		bool left = old <= middle;

		if (put(s, left ? middle : from, left ? to : middle, p))
			return -1;
		if (left)
			to = middle;
		else
			from = middle;
	}
	/* The old tree itself need not be named. */
	if (from && put(s, from, to, p))
		return -1;
	turn(p);
	return 0;
}

/* ---- checks: RFC 9162, 2.1.3.2 and 2.1.4.2 ---- */

/* From the node @at, of a row whose last node is @last, up to the parent. Returns whether the
 * sibling stands before it. */
static bool climb(uint64_t *at, uint64_t *last)
{
	bool before = *at & 1 || *at == *last;

	/* Without a sibling of its own a node is the last of the rows above, too. */
	while (before && !(*at & 1) && *at) {
		*at >>= 1;
		*last >>= 1;
	}
	*at >>= 1;
	*last >>= 1;
	return before;
}

bool proof_includes(const struct proof *p, uint64_t n, uint64_t size, const struct hash *leaf,
	const struct hash *root)
{
	uint64_t at = n, last = size - 1;
	struct hash h = *leaf;

	if (n >= size)
		return false;
	for (unsigned i = 0; i < p->count; i++) {
		if (!last)
			return false;
		if (climb(&at, &last))
			hash_node(&p->hash[i], &h, &h);
		else
			hash_node(&h, &p->hash[i], &h);
	}
	return !last && hash_equal(&h, root);
}

bool proof_is_consistent(const struct proof *p, uint64_t old, uint64_t size,
	const struct hash *old_root, const struct hash *root)
{
	uint64_t at = old - 1, last = size - 1;
	struct hash a, b, empty;
	unsigned i = 0;

	if (old > size)
		return false;
	if (old == size)
		return !p->count && hash_equal(old_root, root);
	hash_bytes(SPAN(""), &empty);
	if (!old)
		return !p->count && hash_equal(old_root, &empty);
	if (!p->count)
		return false;
	/* A complete subtree is its own first hash. */
	a = b = old & (old - 1) ? p->hash[i++] : *old_root;
	for (; at & 1; at >>= 1)
		last >>= 1;
	for (; i < p->count; i++) {
		if (!last)
			return false;
		if (climb(&at, &last)) {
			hash_node(&p->hash[i], &a, &a);
			hash_node(&p->hash[i], &b, &b);
		} else {
			hash_node(&b, &p->hash[i], &b);
		}
	}
	return !last && hash_equal(&a, old_root) && hash_equal(&b, root);
}

/* ---- text ---- */

#define FIRST_LINE "c2sp.org/tlog-proof@v1\n"

void proof_put_hashes(const struct proof *p, struct buf *out)
{
	for (unsigned i = 0; i < p->count; i++) {
		hash_print(&p->hash[i], buf_room(out, HASH_TEXT));
		out->len += HASH_TEXT;
		buf_putc(out, '\n');
	}
}

void proof_print(const struct proof *p, uint64_t n, struct span head, struct buf *out)
{
	buf_printf(out, FIRST_LINE "index %" PRIu64 "\n", n);
	proof_put_hashes(p, out);
	buf_putc(out, '\n');
	buf_span(out, head);
}

static int parse_index(struct span s, uint64_t *n)
{
	static const char name[] = "index ";

	if (!span_starts(s, name))
		return -1;
	s.p += strlen(name);
	s.len -= strlen(name);
	if (!s.len || s.len > 19 || (s.p[0] == '0' && s.len > 1))
		return -1;
	for (*n = 0; s.len; s.p++, s.len--) {
		if (*s.p < '0' || *s.p > '9')
			return -1;
		*n = *n * 10 + (uint64_t)(*s.p - '0');
	}
	return 0;
}

int proof_parse(struct span text, struct proof *p, uint64_t *n, struct span *head)
{
	struct span rest = text, line;

	p->count = 0;
	if (!span_starts(text, FIRST_LINE) || !note_line(&rest, &line) || !note_line(&rest, &line))
		return -1;
	if (span_starts(line, "extra ")) {
		line = (struct span){line.p + 6, line.len - 6};
		if (!buf_is_base64(line) || !note_line(&rest, &line))
			return -1;
	}
	if (parse_index(line, n))
		return -1;
	while (note_line(&rest, &line)) {
		if (!line.len) {
			*head = rest;
			return 0;
		}
		if (p->count == PROOF_MAX || hash_parse(line, &p->hash[p->count++]))
			return -1;
	}
	return -1;
}
