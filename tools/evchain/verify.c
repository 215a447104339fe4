/* SPDX-License-Identifier: ISC */
/* evchain verify - reads all of a log.
 *
 * DESIGN: lines, tiles and heads each tell of the same entries; where they do not agree, an entry
 * is named.
 *
 * - Each line is to have the next number, to follow the line before it, and to have the hash that
 *   is in its tile.
 * - Two trees grow: one of tiles' hashes, where an entry differs from its tile, and one of lines'
 *   hashes. They are one
 *   tree as long as nothing differs. The one that leads to the head's root tells whether the line
 *   or the tile is wrong.
 * - When neither does, the heads signed before tell between which two the entries are other ones.
 *
 * Files: verify.c the lines, verdict.c the command and what is said, heads.c heads and keys,
 * finding.c damage. */
#define _GNU_SOURCE
#include "evchain/verify.h"

#include "base/line.h"
#include "base/msg.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <unistd.h>

/* ---- tiles ---- */

/* A tile of entries that the head signs for must be there. */
static void on_full(void *verify, struct tile t, const struct hash *hashes)
{
	struct verify *v = verify;
	const struct hash *old;
	unsigned n = tiles_read(&v->tiles, t, 1, &old);
	char path[TILE_PATH];

	tile_path(t, path);
	if (n < TILE_WIDTH && v->newest.is_there && v->tree.size <= v->newest.head.size)
		finding_add(&v->found, "'%s.tlog/%s' is missing or too short", v->files.file, path);
	/* Of level 0 each entry is looked at. */
	if (n && t.level && memcmp(old, hashes, n * sizeof(*old)))
		finding_add(&v->found,
			"'%s.tlog/%s' is damaged: it is not made of the tiles below it",
			v->files.file, path);
}

/* The hash that the tile has for the entry; NULL: none. */
static const struct hash *of_tile(struct verify *v, uint64_t n)
{
	const struct hash *hashes;
	unsigned width;

	if (v->files.dir < 0)
		return NULL;
	width = tiles_read(&v->tiles, (struct tile){0, n / TILE_WIDTH}, 1, &hashes);
	return n % TILE_WIDTH < width ? &hashes[n % TILE_WIDTH] : NULL;
}

/* ---- heads ---- */

static bool is_root(const struct verify *v, const struct hash *root)
{
	struct hash h;

	tree_root(&v->tree, &h);
	if (hash_equal(&h, root))
		return true;
	if (!v->is_forked)
		return false;
	tree_root(&v->lines, &h);
	return hash_equal(&h, root);
}

static void compare_kept(struct verify *v, struct kept *k)
{
	struct hash h;

	k->is_reached = true;
	tree_root(&v->tree, &h);
	k->is_tiles = hash_equal(&h, &k->head.root);
	if (v->is_forked)
		tree_root(&v->lines, &h);
	k->is_lines = hash_equal(&h, &k->head.root);
}

static void compare_logged(struct verify *v)
{
	struct heads *h = &v->heads;
	const char *why;

	for (; h->next.size <= v->tree.size; heads_next(h)) {
		if (h->is_damaged || h->next.size < v->tree.size) {
			finding_add(&v->found, "'%s.tlog/heads', line %" PRIu64 ": %s",
				v->files.file, h->number,
				h->is_damaged ? "it is no record of a head" : "it is out of order");
			continue;
		}
		why = heads_judge(h, &h->next);
		if (why) {
			finding_add(&v->found,
				"'%s.tlog/heads', line %" PRIu64 ": the head of %" PRIu64
				" entries: %s",
				v->files.file, h->number, h->next.size, why);
			continue;
		}
		v->heads_count++;
		if (is_root(v, &h->next.root))
			v->good_size = v->tree.size;
		else if (v->bad_size == UINT64_MAX)
			v->bad_size = v->tree.size;
	}
}

static void on_size(struct verify *v)
{
	if (v->is_broken)
		return;
	if (v->newest.is_there && v->newest.head.size == v->tree.size)
		compare_kept(v, &v->newest);
	if (v->given.is_there && v->given.head.size == v->tree.size)
		compare_kept(v, &v->given);
	if (v->heads.next.size <= v->tree.size)
		compare_logged(v);
}

/* ---- entries ---- */

static void fork_tree(struct verify *v)
{
	if (v->is_forked)
		return;
	v->lines = v->tree;
	v->lines.full = NULL;
	v->is_forked = true;
}

/* The next entry has these hashes: of its line, and of its tile, NULL: the same. */
static void add(struct verify *v, const struct hash *line, const struct hash *tile)
{
	if (tile)
		fork_tree(v);
	v->last[0] = *line;
	v->last[1] = tile ? *tile : *line;
	v->is_known = true;
	if (v->is_broken) {
		v->tree.size++;
		return;
	}
	if (v->is_forked)
		tree_add(&v->lines, line);
	tree_add(&v->tree, &v->last[1]);
	on_size(v);
}

/* Entries whose lines are not there have the hashes of their tiles. */
static void add_from_tiles(struct verify *v, uint64_t upto)
{
	while (v->tree.size < upto && !v->is_broken) {
		const struct hash *tile = of_tile(v, v->tree.size);
		struct hash h;

		v->is_broken = !tile;
		if (!tile)
			return;
		h = *tile;
		add(v, &h, NULL);
	}
}

/* Entries that a segment must have. */
void verify_missing(struct verify *v, uint64_t upto)
{
	uint64_t from = v->tree.size;

	if (upto - from > 1)
		finding_add(&v->found, "entries %" PRIu64 "-%" PRIu64 ": they are missing", from,
			upto - 1);
	else
		finding_add(&v->found, "entry %" PRIu64 ": it is missing", from);
	add_from_tiles(v, upto);
	if (v->is_broken)
		v->tree.size = upto;
	v->is_known = !v->is_broken;
}

/* The line that was no entry stands where one should. */
static void settle_junk(struct verify *v)
{
	const struct hash *tile = of_tile(v, v->tree.size);
	struct hash h;

	finding_add(
		&v->found, "entry %" PRIu64 ": it was changed: its line is no entry", v->tree.size);
	if (tile)
		h = *tile;
	add(v, &v->junk, tile ? &h : NULL);
	v->has_junk = false;
}

static bool follows(const struct verify *v, const struct entry *e)
{
	static const struct hash none = {{0}};
	char text[HASH_TEXT];

	hash_print(v->tree.size ? &v->last[0] : &none, text);
	if (memcmp(text, e->prev.p, HASH_TEXT) == 0)
		return true;
	if (!v->is_forked || !v->tree.size)
		return false;
	hash_print(&v->last[1], text);
	return memcmp(text, e->prev.p, HASH_TEXT) == 0;
}

/* The line has the number of the next entry. */
static void take_next(struct verify *v, struct span line, const struct entry *e)
{
	const struct hash *tile = of_tile(v, e->n);
	struct hash h, t;
	struct vkey key;
	bool differs;

	hash_leaf(line, &h);
	differs = tile && !hash_equal(tile, &h);
	if (differs) {
		t = *tile;
		finding_add_leaf(&v->found, e->n);
	}
	if ((v->is_known || !e->n) && !follows(v, e) && !differs)
		finding_add(&v->found,
			"entry %" PRIu64
			": it does not follow the entry before it, which was changed or exchanged",
			e->n);
	if (e->at < v->at && !differs)
		finding_add(&v->found,
			"entry %" PRIu64 ": its time is before that of the entry before it", e->n);
	if (!differs && entry_is_key(e->record, &key))
		heads_change(&v->heads, e->n, &key);
	v->at = e->at;
	v->lines_count++;
	add(v, &h, differs ? &t : NULL);
}

static bool is_of_tile(struct verify *v, struct span line, uint64_t n)
{
	const struct hash *tile = of_tile(v, n);
	struct hash h;

	hash_leaf(line, &h);
	return tile && hash_equal(tile, &h);
}

/* A line with another number: entries are missing, or it stands in a wrong place, or its number was
 * changed. */
static void take_other(struct verify *v, struct span line, struct entry *e)
{
	uint64_t next = v->tree.size;
	bool is_renamed = v->is_known && follows(v, e) && !is_of_tile(v, line, e->n);

	if (e->n > next && !is_renamed && (is_of_tile(v, line, e->n) || !of_tile(v, next))) {
		verify_missing(v, e->n);
		take_next(v, line, e);
		return;
	}
	if (e->n < next && !is_renamed) {
		finding_add(&v->found,
			"entry %" PRIu64 ": a line with its number stands behind entry %" PRIu64,
			e->n, next - 1);
		return;
	}
	/* As a line that is no entry. */
	hash_leaf(line, &v->junk);
	settle_junk(v);
}

static void take_line(struct verify *v, struct span line)
{
	struct entry e;
	bool is_entry = entry_parse(line, &e) == 0;

	if (v->has_junk && is_entry && e.n == v->tree.size) {
		finding_add(&v->found,
			"entry %" PRIu64 ": a line that is no entry stands before it", e.n);
		v->has_junk = false;
	} else if (v->has_junk) {
		settle_junk(v);
	}
	if (!is_entry) {
		hash_leaf(line, &v->junk);
		v->has_junk = true;
	} else if (e.n == v->tree.size) {
		take_next(v, line, &e);
	} else {
		take_other(v, line, &e);
	}
}

/* ---- segments ---- */

static void read_segment(struct verify *v, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	enum line_status got;
	struct span text;
	struct line l;

	if (fd < 0)
		die(EXIT_TEMP, "cannot open '%s': %s", path, msg_errno(errno));
	line_init(&l, fd, '\n', SIZE_MAX / 4);
	while ((got = line_next(&l, &text)) != LINE_END) {
		if (got == LINE_WHOLE)
			take_line(v, text);
		else if (got == LINE_NONE && line_read(&l) < 0)
			die(EXIT_TEMP, "cannot read '%s': %s", path, strerror(errno));
		else if (got == LINE_TORN)
			v->is_torn = true;
	}
	if (v->has_junk)
		settle_junk(v);
	line_free(&l);
	close(fd);
}

/* Entries of segments that were deleted or moved. */
static void on_absent(struct verify *v, uint64_t upto)
{
	buf_printf(
		&v->ranges, "entries %" PRIu64 "-%" PRIu64 " not here\n", v->tree.size, upto - 1);
	v->absent += upto - v->tree.size;
	add_from_tiles(v, upto);
	if (v->is_broken)
		finding_add(&v->found,
			"'%s.tlog/%s' is missing, and entry %" PRIu64
			" is not here to make it anew",
			v->files.file, v->tiles.missing, v->tree.size);
	if (v->is_broken)
		v->tree.size = upto;
	v->is_known = !v->is_broken;
	v->at = -1;
}

/* Whether a segment begins with its first entry. Of FILE, which has no number in its name, the
 * index tells: where it has been deleted, this cannot be told from entries that are elsewhere. */
static bool begins(const struct verify *v, const struct segment *s)
{
	return s->last != UINT64_MAX || index_find(v->files.dir, s->first) <= 0;
}

void verify_lines(struct verify *v)
{
	v->tree.full = on_full;
	v->tree.ctx = v;
	v->at = -1;
	on_size(v);
	for (size_t i = 0; i < v->files.count; i++) {
		const struct segment *s = &v->files.segments[i];

		if (s->first > v->tree.size && begins(v, s))
			on_absent(v, s->first);
		read_segment(v, s->path);
		/* Its name says what it must have. */
		if (s->last != UINT64_MAX && v->tree.size <= s->last)
			verify_missing(v, s->last + 1);
	}
}
