/* SPDX-License-Identifier: ISC */
/* What a writer does with a log that is there.
 *
 * DESIGN: all is looked at before anything is changed.
 *
 * 1. The newest head: its signature is good, FILE has all the entries that it signs for, and their
 *    root is its. An
 *    entry that is signed is never repaired.
 * 2. The lines behind the head. The first line of each group says "s":1: everything before it was
 *    synced. A line that
 *    is bad, with no such line at or behind it, is of the last group, which nobody was told of: the
 *    file is cut there,
 *    and the bytes are kept in torn-N. A bad line with such a line behind it was damaged after it
 *    was synced.
 * 3. Tiles that are missing are made anew from the lines. A tile that is not that of the lines is
 *    damage.
 *
 * FILE is read as a whole, closed segments are not: evchain verify does that. */
#define _GNU_SOURCE
#include "evchain/recover.h"

#include "base/line.h"
#include "base/mem.h"
#include "base/msg.h"
#include "evchain/entry.h"
#include "evchain/find.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct recovery {
	struct writer *w;
	struct tiles tiles;
	struct buf note;
	struct head head;
	bool has_head;
	bool root_differs;
	uint64_t bad; /* the first bad line: the number of its entry; UINT64_MAX: none */
	uint64_t bad_place;
	const char *why;
	bool is_synced; /* the bad line was */
	uint64_t missing; /* tiles */
	bool makes; /* the second reading: tiles that are missing are written */
	uint64_t differs; /* the first entry that is not in its tile; UINT64_MAX: none */
	struct tile wrong; /* or a tile of a higher level */
	bool has_wrong;
	unsigned known; /* hashes of the level 0 tile of the line */
	const struct hash *hashes;
};

_Noreturn static void die_damaged(const struct recovery *r, uint64_t n, const char *why)
{
	die(EXIT_PERM,
		"'%s' is damaged at entry %" PRIu64
		": %s; nothing was changed: see what 'evchain verify' says",
		r->w->files.file, n, why);
}

_Noreturn static void die_errno(const struct recovery *r, const char *what)
{
	die(EXIT_TEMP, "cannot %s '%s': %s", what, r->w->files.file, msg_errno(errno));
}

/* ---- the head ---- */

static bool is_empty(int dir, const char *path)
{
	struct stat st;

	return fstatat(dir, path, &st, 0) || st.st_size == 0;
}

static void read_head(struct recovery *r)
{
	struct writer *w = r->w;
	const char *file = w->files.file;

	if (file_read(w->files.dir, "checkpoint", &r->note)) {
		if (errno != ENOENT)
			die_errno(r, "read the head of");
		if (!is_empty(w->files.dir, "heads"))
			die(EXIT_PERM,
				"'%s.tlog/checkpoint' is not there, though heads of the log were signed",
				file);
		return;
	}
	if (head_parse(buf_as_span(&r->note), &r->head))
		die(EXIT_PERM, "'%s.tlog/checkpoint' is damaged: it is no signed head", file);
	r->has_head = true;
	if (!w->has_key)
		die(EXIT_PERM, "the log '%s' has signed heads: its key is needed (--key)", file);
	/* A change of keys was all but done. */
	if (w->has_next && head_verify(&r->head, &w->next.verifier) == HEAD_GOOD) {
		w->key = w->next;
		w->has_turned = true;
	}
	switch (head_verify(&r->head, &w->key.verifier)) {
	case HEAD_GOOD:
		return;
	case HEAD_BAD:
		die(EXIT_PERM, "'%s.tlog/checkpoint' is damaged: its signature is not good", file);
	case HEAD_OTHER:
		die(EXIT_PERM, "the head of '%s' is signed by another key than %s+%08" PRIx32, file,
			w->key.verifier.name, w->key.verifier.id);
	}
}

static void compare_root(struct recovery *r)
{
	struct hash root;

	if (!r->has_head || r->w->tree.size != r->head.size)
		return;
	tree_root(&r->w->tree, &root);
	r->root_differs = !hash_equal(&root, &r->head.root);
}

/* ---- lines ---- */

/* A tile that has become full. */
static void on_full(void *recovery, struct tile t, const struct hash *hashes)
{
	struct recovery *r = recovery;
	const struct hash *old;
	unsigned n = tiles_read(&r->tiles, t, 1, &old);

	if (n && memcmp(old, hashes, n * sizeof(*old)) && !r->has_wrong) {
		r->has_wrong = true;
		r->wrong = t;
	}
	if (n == TILE_WIDTH)
		return;
	r->missing++;
	if (r->makes && tile_write(r->w->files.dir, t, hashes, TILE_WIDTH))
		die_errno(r, "write a tile of");
}

static void compare_leaf(struct recovery *r, uint64_t n, const struct hash *leaf)
{
	if (n % TILE_WIDTH == 0 || !r->hashes)
		r->known = tiles_read(&r->tiles, (struct tile){0, n / TILE_WIDTH}, 1, &r->hashes);
	if (n % TILE_WIDTH < r->known && r->differs == UINT64_MAX &&
		!hash_equal(leaf, &r->hashes[n % TILE_WIDTH]))
		r->differs = n;
}

/* Returns why the line is not the next entry; NULL: it is. */
static const char *judge(const struct writer *w, const struct entry *e)
{
	char prev[HASH_TEXT];

	if (e->n != w->tree.size)
		return "its number is another one";
	hash_print(&w->prev, prev);
	if (memcmp(prev, e->prev.p, HASH_TEXT) != 0)
		return "it does not follow the entry before it";
	return e->at < w->at ? "its time is before that of the entry before it" : NULL;
}

static void take_line(struct recovery *r, struct span line, uint64_t place)
{
	struct writer *w = r->w;
	struct vkey key;
	struct entry e;
	const char *why = entry_parse(line, &e) ? "the line is no entry"
		: r->why			? r->why
						: judge(w, &e);

	if (why) {
		/* A line that is bad itself, but has its form, is that of a group too. */
		r->is_synced = r->is_synced || e.is_first;
		if (!r->why) {
			r->why = why;
			r->bad = w->tree.size;
			r->bad_place = place;
		}
		return;
	}
	hash_leaf(line, &w->prev);
	compare_leaf(r, e.n, &w->prev);
	tree_add(&w->tree, &w->prev);
	writer_place(w, e.n, place);
	w->at = e.at;
	if (w->first_at < 0)
		w->first_at = e.at;
	w->is_named =
		w->has_next && entry_is_key(e.record, &key) && vkey_equal(&key, &w->next.verifier);
	w->bytes = place + line.len + 1;
	compare_root(r);
}

/* Reads a segment's lines; of FILE what is behind the last line end is a bad line. */
static void read_lines(struct recovery *r, const char *path)
{
	struct span text;
	struct line l;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	enum line_status got;

	if (fd < 0)
		die_errno(r, "open");
	line_init(&l, fd, '\n', SIZE_MAX / 4);
	while ((got = line_next(&l, &text)) != LINE_END) {
		if (got == LINE_WHOLE)
			take_line(r, text, line_place(&l, text));
		else if (got == LINE_NONE && line_read(&l) < 0)
			die_errno(r, "read");
		else if (got == LINE_TORN && !r->why) {
			r->why = "its line has no end";
			r->bad = r->w->tree.size;
			r->bad_place = line_place(&l, text);
		}
	}
	line_free(&l);
	close(fd);
}

/* ---- before the lines ---- */

/* The time of the last entry of a closed segment. */
static void read_last_time(struct recovery *r, const struct segment *s)
{
	struct writer *w = r->w;
	char head[64];
	uint64_t n = 0;
	int fd = open(s->path, O_RDONLY | O_CLOEXEC);
	int64_t place = fd < 0 ? -1 : find_entry(fd, index_find(w->files.dir, s->last), s->last);
	ssize_t got = place < 0 ? -1 : pread(fd, head, sizeof(head), place);

	if (got <= 0 || entry_begin((struct span){head, (size_t)got}, &n, &w->at) || n != s->last)
		die(EXIT_PERM, "'%s' is damaged: its last entry, %" PRIu64 ", is not there",
			s->path, s->last);
	close(fd);
}

/* The tree of the closed segments: from tiles, else from all their lines. */
static void start_tree(struct recovery *r)
{
	struct writer *w = r->w;
	size_t closed = w->files.count - 1;

	w->tree.full = NULL;
	if (tiles_tree(&r->tiles, w->first, &w->tree) == 0 &&
		(!w->first || tiles_subtree(&r->tiles, 0, w->first - 1, &w->prev) == 0)) {
		if (closed)
			read_last_time(r, &w->files.segments[closed - 1]);
		return;
	}
	w->tree = (struct tree){.full = on_full, .ctx = r};
	w->prev = (struct hash){0};
	r->makes = true;
	msg_warn("'%s.tlog/%s' is missing: the closed segments are read", w->files.file,
		r->tiles.missing);
	for (size_t i = 0; i < closed && w->files.segments[i].first == w->tree.size; i++)
		read_lines(r, w->files.segments[i].path);
	if (r->why)
		die_damaged(r, r->bad, r->why);
	if (w->tree.size != w->first)
		die(EXIT_PERM,
			"'%s.tlog/%s' is missing, and entry %" PRIu64
			" is not here to make it anew",
			w->files.file, r->tiles.missing, w->tree.size);
	r->makes = false;
	r->missing = 0;
}

/* What the lines of FILE start from. */
struct start {
	struct tree tree;
	struct hash prev;
	int64_t at;
};

static void get_start(const struct writer *w, struct start *s)
{
	s->tree = w->tree;
	s->prev = w->prev;
	s->at = w->at;
}

static void read_file(struct recovery *r, const struct start *s)
{
	struct writer *w = r->w;

	w->tree = s->tree;
	w->tree.full = on_full;
	w->tree.ctx = r;
	w->prev = s->prev;
	w->at = s->at;
	w->first_at = -1;
	w->bytes = 0;
	r->why = NULL;
	r->hashes = NULL;
	compare_root(r);
	if (access(w->files.file, F_OK) == 0)
		read_lines(r, w->files.file);
}

/* ---- judgement ---- */

static void check_head(const struct recovery *r)
{
	const struct writer *w = r->w;
	char why[200];

	if (!r->has_head)
		return;
	if (w->tree.size < r->head.size && r->why && r->differs < r->bad)
		die_damaged(r, r->differs, "it is not what was signed");
	if (w->tree.size < r->head.size && r->why)
		die_damaged(r, r->bad, r->why);
	if (w->tree.size < r->head.size) {
		snprintf(why, sizeof(why),
			"the log ends before it, and its head signs for %" PRIu64 " %s",
			r->head.size, PLURAL(r->head.size, "entry", "entries"));
		die_damaged(r, w->tree.size, why);
	}
	if (r->root_differs && r->differs < r->head.size)
		die_damaged(r, r->differs, "it is not what was signed");
	if (r->root_differs)
		die(EXIT_PERM,
			"'%s' is damaged: its first %" PRIu64
			" entries are not those that its head signs for; nothing was changed",
			w->files.file, r->head.size);
}

/* Tiles have no more entries than FILE. */
static void check_last_tiles(struct recovery *r)
{
	const struct writer *w = r->w;

	for (unsigned level = 0; level < TILE_LEVELS; level++) {
		struct tile t = tree_last(&w->tree, level);
		const struct hash *hashes;
		unsigned n = tiles_read(&r->tiles, t, 1, &hashes);
		unsigned width = w->tree.last[level].width;

		if (n > width && level == 0)
			die_damaged(r, w->tree.size, "the log ends before it, and its tile has it");
		if (n > width ||
			(n && memcmp(hashes, w->tree.last[level].hash, n * sizeof(*hashes)))) {
			r->has_wrong = true;
			r->wrong = t;
		}
	}
}

static void check_tiles(struct recovery *r)
{
	char path[TILE_PATH];

	if (r->differs < r->w->tree.size)
		die_damaged(r, r->differs, "its hash is not the one in its tile");
	check_last_tiles(r);
	if (!r->has_wrong)
		return;
	tile_path(r->wrong, path);
	die(EXIT_PERM,
		"'%s.tlog/%s' is damaged: it is not made of the entries; nothing was changed",
		r->w->files.file, path);
}

static void cut(struct recovery *r)
{
	struct writer *w = r->w;
	char *kept = mem_printf("torn-%" PRIu64, r->bad);
	int from = open(w->files.file, O_RDWR | O_CLOEXEC);
	int to = openat(w->files.dir, kept, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	off_t at = (off_t)r->bad_place, size = lseek(from, 0, SEEK_END);
	char block[16 << 10];
	ssize_t n;

	if (from < 0 || to < 0 || size < 0)
		die_errno(r, "cut the torn end of");
	for (; at < size; at += n) {
		n = pread(from, block, sizeof(block), at);
		if (n <= 0 || file_write(to, (struct span){block, (size_t)n}))
			die_errno(r, "keep the torn end of");
	}
	if (fsync(to) || fsync(w->files.dir) || ftruncate(from, (off_t)r->bad_place) || fsync(from))
		die_errno(r, "cut the torn end of");
	msg_warn(
		"entry %" PRIu64 ": %s: %" PRIu64
		" bytes of a group that was never acknowledged are cut off and kept in '%s.tlog/%s'",
		r->bad, r->why, (uint64_t)size - r->bad_place, w->files.file, kept);
	close(from);
	close(to);
	free(kept);
}

/* The last record of heads may be torn. */
static void mend_heads(const struct recovery *r)
{
	enum { TAIL = 64 << 10 };
	int fd = openat(r->w->files.dir, "heads", O_RDWR | O_CLOEXEC);
	off_t size = fd < 0 ? 0 : lseek(fd, 0, SEEK_END), from = size > TAIL ? size - TAIL : 0;
	char *tail = mem_alloc(TAIL);
	ssize_t n = size > 0 ? pread(fd, tail, TAIL, from) : 0;
	const char *end = n > 0 ? memrchr(tail, '\n', (size_t)n) : NULL;

	if (n > 0 && end != tail + n - 1) {
		if (ftruncate(fd, from + (end ? end + 1 - tail : 0)))
			die_errno(r, "mend the heads of");
		msg_warn("the last record of '%s.tlog/heads' was torn and is cut off",
			r->w->files.file);
	}
	if (fd >= 0)
		close(fd);
	free(tail);
}

void recover(struct writer *w)
{
	struct recovery *r = mem_alloc(sizeof(*r));
	struct start start;

	memset(r, 0, sizeof(*r));
	*r = (struct recovery){.w = w, .bad = UINT64_MAX, .differs = UINT64_MAX};
	r->tiles.dir = w->files.dir;
	read_head(r);
	files_list(&w->files);
	if (!w->files.count || w->files.segments[w->files.count - 1].last != UINT64_MAX)
		files_add_open(&w->files);
	w->first = w->place_from = w->files.segments[w->files.count - 1].first;
	if (w->first && index_find(w->files.dir, w->first) > 0)
		die_damaged(r, w->first - 1, "the file begins behind it");
	start_tree(r);
	get_start(w, &start);
	read_file(r, &start);
	check_head(r);
	if (r->why && r->is_synced)
		die_damaged(r, r->bad, "it was synced before the entries behind it were written");
	check_tiles(r);
	if (r->why)
		cut(r);
	if (r->missing) {
		msg_warn("%" PRIu64 " %s of '%s' %s made anew", r->missing,
			PLURAL(r->missing, "tile", "tiles"), w->files.file,
			PLURAL(r->missing, "is", "are"));
		r->makes = true;
		read_file(r, &start);
	}
	mend_heads(r);
	if (!r->has_head && w->tree.size && w->has_key)
		msg_warn("'%s' has no head: its %" PRIu64 " %s signed as they stand", w->files.file,
			w->tree.size, PLURAL(w->tree.size, "entry is", "entries are"));
	if (r->has_head && r->head.size == w->tree.size)
		w->head_size = r->head.size;
	buf_free(&r->note);
	free(r);
}
