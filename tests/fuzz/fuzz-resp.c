/* SPDX-License-Identifier: ISC */
/* Any bytes as what a server says: read the same whole and in pieces, by values and by whole
 * replies, and as hiredis's reader has them. The first byte is the size of a piece. */
#include "fuzz.h"
#include "resp-text.h"

enum { STRING_MAX = 100, DEPTH = 6 /* less than hiredis's */ };

/* Passes whole replies as far as they go. Returns the deepest nesting among them, -1 for bytes that
 * are no RESP. */
static int depth_of(const char *p, size_t len)
{
	struct resp r = {.p = p, .end = p + len, .max_string = SIZE_MAX / 2};
	uint64_t left[DEPTH + 1] = {0};
	int depth = 0, deepest = 0;
	enum resp_type got;
	struct resp_value v;

	while ((got = resp_next(&r, &v)) != RESP_MORE && got != RESP_BAD) {
		if (got == RESP_ARRAY && v.n) {
			if (depth == DEPTH)
				return -1;
			left[++depth] = (uint64_t)v.n;
			deepest = depth > deepest ? depth : deepest;
			continue;
		}
		while (depth && --left[depth] == 0)
			depth--;
	}
	return got == RESP_BAD ? -1 : deepest;
}

static void check_skip(const char *p, size_t len, size_t piece)
{
	struct resp whole = {.p = p, .end = p + len, .max_string = STRING_MAX}, r = whole;
	uint64_t left = 2, again = 2;
	enum resp_type expected = resp_skip(&whole, &left), got = RESP_MORE;

	for (size_t at = 0; got == RESP_MORE && at < len;) {
		at += len - at < piece ? len - at : piece;
		r.end = p + at;
		got = resp_skip(&r, &again);
		must(r.p <= r.end);
	}
	if (!len)
		return;
	must(got == expected);
	if (got != RESP_BAD)
		must(r.p == whole.p && left == again && r.skip == whole.skip);
}

/* hiredis makes room for all elements of an array when it sees their number: not for millions of
 * them. */
static bool has_long_array(const char *p, size_t len)
{
	size_t digits = 0;
	bool counts = false;

	for (size_t i = 0; i < len; i++) {
		if (p[i] == '*')
			counts = true, digits = 0;
		else if (counts && p[i] >= '0' && p[i] <= '9' && ++digits > 6)
			return true;
		else if (p[i] == '\n')
			counts = false;
	}
	return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *p = (const char *)data + 1;
	struct buf whole = {0}, pieces = {0}, oracle = {0};
	size_t len = size ? size - 1 : 0, piece = size ? 1 + data[0] : 1;
	enum resp_type got;

	if (!len)
		return 0;
	got = resp_text(&whole, p, len, len, STRING_MAX);
	must(resp_text(&pieces, p, len, piece, STRING_MAX) == got);
	must(pieces.len == whole.len && (!whole.len || memcmp(pieces.p, whole.p, whole.len) == 0));
	check_skip(p, len, piece);
	/* hiredis gives a reply once it is whole, we its values as they come: ours begins with
	 * hiredis's. It takes more for RESP than we do, and RESP3 in later versions. */
	if (depth_of(p, len) >= 0 && !has_long_array(p, len) &&
		resp_text_hiredis(&oracle, p, len)) {
		buf_clear(&whole);
		resp_text(&whole, p, len, len, SIZE_MAX / 2);
		must(oracle.len <= whole.len &&
			(!oracle.len || memcmp(oracle.p, whole.p, oracle.len) == 0));
	}
	buf_free(&whole);
	buf_free(&pieces);
	buf_free(&oracle);
	return 0;
}
