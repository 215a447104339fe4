/* SPDX-License-Identifier: ISC */
/* Any bytes as a head, a proof, a key and an entry of an audit log: what is taken is printed as it
 * was, or stands within the text. */
#define _GNU_SOURCE
#include "evchain/entry.h"
#include "evchain/proof.h"
#include "fuzz.h"

static bool is_within(struct span part, const char *p, size_t size)
{
	return !part.p || (part.p >= p && part.p + part.len <= p + size);
}

static void try_head(struct span text)
{
	struct vkey key = {.name = "a"};
	struct head h;

	if (head_parse(text, &h))
		return;
	must(is_within(h.origin, text.p, text.len) && h.origin.len);
	must(h.text.p == text.p && h.text.len < text.len);
	must(h.signatures.len && is_within(h.signatures, text.p, text.len));
	must(head_verify(&h, &key) != HEAD_GOOD);
}

static void try_proof(struct span text)
{
	struct buf again = {0};
	struct proof p;
	struct span head;
	struct hash leaf = {{0}};
	uint64_t n;

	if (proof_parse(text, &p, &n, &head))
		return;
	must(p.count <= PROOF_MAX && is_within(head, text.p, text.len));
	proof_includes(&p, n, n + 1 + text.len, &leaf, &leaf);
	proof_is_consistent(&p, n, n + text.len, &leaf, &leaf);
	proof_print(&p, n, head, &again);
	/* But for `extra`, which we do not print. */
	must(memmem(text.p, text.len, "\nextra ", 7)
			? again.len <= text.len
			: again.len == text.len && memcmp(again.p, text.p, text.len) == 0);
	buf_free(&again);
}

static void try_keys(struct span text)
{
	struct buf again = {0};
	struct skey private;
	struct vkey key;

	if (vkey_parse(text, &key) == 0) {
		vkey_print(&key, &again);
		must(again.len <= text.len && memcmp(again.p, text.p, again.len) == 0);
	}
	buf_clear(&again);
	if (skey_parse(text, &private) == 0) {
		skey_print(&private, &again);
		must(again.len <= text.len && memcmp(again.p, text.p, again.len) == 0);
	}
	buf_free(&again);
}

static void try_entry(struct span text)
{
	struct vkey key;
	struct entry e, same;
	struct buf again = {0};

	if (entry_parse(text, &e))
		return;
	must(is_within(e.record, text.p, text.len) && is_within(e.source, text.p, text.len));
	must(e.prev.len == HASH_TEXT && is_within(e.prev, text.p, text.len));
	entry_is_key(e.record, &key);
	entry_print(&e, &again);
	must(again.len <= text.len);
	must(entry_parse(buf_as_span(&again), &same) == 0);
	must(same.n == e.n && same.at == e.at && same.is_first == e.is_first);
	must(same.record.len == e.record.len);
	buf_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf b = {0};
	struct span text;

	buf_put(&b, data, size);
	text = buf_as_span(&b);
	try_head(text);
	try_proof(text);
	try_keys(text);
	try_entry(text);
	buf_free(&b);
	return 0;
}
