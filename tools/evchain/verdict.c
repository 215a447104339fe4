/* SPDX-License-Identifier: ISC */
/* evchain verify: the command, and what it says. */
#define _GNU_SOURCE
#include "evchain/parts.h"
#include "evchain/verify.h"

#include "base/mem.h"
#include "base/msg.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static struct {
	struct opt_common common;
	struct arg_str *key, *head, *file;
} opt;

/* Whether a writer has the log: then its last line may be on its way, and a head may come while we
 * read. */
static bool is_live(const struct verify *v)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	int fd = v->files.dir < 0 ? -1 : openat(v->files.dir, "lock", O_RDWR | O_CLOEXEC);
	bool live = fd >= 0 && fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;

	if (fd >= 0)
		close(fd);
	return live;
}

/* ---- before the lines ---- */

static bool take_key(struct verify *v, struct vkey *key)
{
	struct buf b = {0};
	bool found = true;

	if (opt.key->count) {
		take_vkey(opt_text(opt.key, "--key"), key);
		return true;
	}
	if (v->files.dir < 0 || file_read(v->files.dir, "key.pub", &b))
		found = false;
	else if (vkey_parse(buf_as_span(&b), key)) {
		finding_add(&v->found, "'%s.tlog/key.pub' is damaged: it is no verifier key",
			v->files.file);
		found = false;
	} else {
		msg_warn(
			"the key is the one beside the log: who can change the log can change it; give --key");
	}
	buf_free(&b);
	return found;
}

static void read_newest(struct verify *v)
{
	struct kept *k = &v->newest;

	if (v->files.dir < 0)
		return;
	if (file_read(v->files.dir, "checkpoint", &k->note) && errno != ENOENT)
		die(EXIT_TEMP, "cannot read '%s.tlog/checkpoint': %s", v->files.file,
			msg_errno(errno));
	k->is_there = k->note.len && head_parse(buf_as_span(&k->note), &k->head) == 0;
	if (k->note.len && !k->is_there)
		finding_add(&v->found, "'%s.tlog/checkpoint' is damaged: it is no signed head",
			v->files.file);
}

static void read_given(struct verify *v)
{
	if (!opt.head->count)
		return;
	take_note(opt_text(opt.head, "--head"), "", &v->given.note);
	v->given.is_there = head_parse(buf_as_span(&v->given.note), &v->given.head) == 0;
	if (!v->given.is_there)
		finding_add(&v->found, "the head that was given is damaged: it is no signed head");
}

static void prepare(struct verify *v)
{
	const char *file = opt_text(opt.file, "FILE");
	struct vkey key;
	bool has_key;

	memset(v, 0, sizeof(*v));
	v->bad_size = UINT64_MAX;
	files_open_if(&v->files, file);
	files_refuse_segment(&v->files);
	v->tiles.dir = v->files.dir;
	has_key = take_key(v, &key);
	read_newest(v);
	read_given(v);
	/* Heads first: the lines that they sign for are there by then. */
	heads_open(&v->heads, v->files.dir, has_key ? &key : NULL);
	files_list(&v->files);
	if (!v->files.count && v->files.dir < 0)
		die(EXIT_PERM, "cannot open '%s': %s", file, strerror(ENOENT));
}

/* ---- behind the lines ---- */

static void judge_root(struct verify *v, const struct kept *k, const char *name)
{
	uint64_t from, to;

	if (v->is_broken || !k->is_reached || k->is_tiles || k->is_lines)
		return;
	from = v->good_size < k->head.size ? v->good_size : 0;
	to = v->bad_size < k->head.size ? v->bad_size : k->head.size;
	finding_add(&v->found,
		"entries %" PRIu64 "-%" PRIu64
		": they are not those that were signed, though they follow each other: the root of %s is another one",
		from, to - 1, name);
}

static void judge_newest(struct verify *v, bool live)
{
	struct kept *k = &v->newest;
	const char *why;

	if (!k->is_there) {
		if (opt.key->count && !k->note.len)
			finding_add(&v->found, "'%s' has no signed head", v->files.file);
		else if (v->heads_count && !k->note.len)
			finding_add(&v->found, "'%s.tlog/checkpoint' is missing", v->files.file);
		return;
	}
	why = v->heads.key_count ? heads_judge(&v->heads, &k->head)
				 : "there is no key to check its signature with; give --key";
	if (!why && !v->heads.has_signed)
		why = "it is not signed by the key";
	if (why)
		finding_add(&v->found, "the newest head ('%s.tlog/checkpoint'): %s", v->files.file,
			why);
	if (!live && v->good_size > k->head.size)
		finding_add(&v->found,
			"the newest head ('%s.tlog/checkpoint') was rolled back: it is of %" PRIu64
			" entries, and %" PRIu64 " were signed",
			v->files.file, k->head.size, v->good_size);
	judge_root(v, k, "the newest head");
}

/* Whether the key that was given is the one beside the log, the first: then there are no earlier
 * ones. */
static bool is_first_key(const struct verify *v)
{
	struct buf b = {0};
	struct vkey key;
	bool is = v->files.dir >= 0 && file_read(v->files.dir, "key.pub", &b) == 0 &&
		vkey_parse(buf_as_span(&b), &key) == 0 && vkey_equal(&key, &v->heads.keys[0]);

	buf_free(&b);
	return is;
}

static void judge_others(struct verify *v)
{
	if (v->heads.others && is_first_key(v))
		finding_add(&v->found,
			"'%s.tlog/heads': %" PRIu64
			" heads before the first one of the key are not signed by it",
			v->files.file, v->heads.others);
}

static void judge_given(struct verify *v)
{
	struct kept *k = &v->given;
	const char *why = k->is_there ? heads_judge_any(&v->heads, &k->head) : NULL;

	if (why)
		finding_add(&v->found, "the head that was given: %s", why);
	if (!why && k->is_there && !k->is_reached && !v->is_broken)
		finding_add(&v->found,
			"the log was rolled back: it has %" PRIu64
			" entries, and the head that was given %" PRIu64,
			v->tree.size, k->head.size);
	judge_root(v, k, "the head that was given");
}

/* The last tiles, which are not full, have no more and no other hashes than the tree. */
static void judge_tiles(struct verify *v)
{
	for (unsigned level = 0; level < TILE_LEVELS; level++) {
		struct tile t = tree_last(&v->tree, level);
		const struct hash *hashes;
		unsigned n = tiles_read(&v->tiles, t, 1, &hashes);
		unsigned width = v->tree.last[level].width;
		char path[TILE_PATH];

		tile_path(t, path);
		if (n > width)
			finding_add(&v->found,
				"entry %" PRIu64 ": it is missing: '%s.tlog/%s' has more entries",
				v->tree.size, v->files.file, path);
		else if (level && n &&
			memcmp(hashes, v->tree.last[level].hash, n * sizeof(*hashes)))
			finding_add(&v->found,
				"'%s.tlog/%s' is damaged: it is not made of the tiles below it",
				v->files.file, path);
	}
}

static void judge_rest(struct verify *v, bool live)
{
	const struct heads *h = &v->heads;

	if (v->is_torn && !live)
		finding_add(&v->found, "entry %" PRIu64 ": its line is torn: it has no end",
			v->tree.size);
	if (v->newest.is_there && v->tree.size < v->newest.head.size)
		verify_missing(v, v->newest.head.size);
	if (v->files.dir >= 0 && !live && !v->is_broken)
		judge_tiles(v);
	if (h->next.size != UINT64_MAX && !live && !v->is_broken)
		finding_add(&v->found,
			"'%s.tlog/heads', line %" PRIu64 ": its head is of %" PRIu64
			" entries, and the log has %" PRIu64,
			v->files.file, h->number, h->next.size, v->tree.size);
	if (h->is_torn && !live)
		finding_add(&v->found, "'%s.tlog/heads': its last line is torn: it has no end",
			v->files.file);
}

/* ---- what is said ---- */

static void tell_good(const struct verify *v, struct buf *out)
{
	const struct head *h = &v->newest.head;
	char root[HASH_TEXT];

	buf_span(out, buf_as_span(&v->ranges));
	if (v->newest.is_there) {
		const struct vkey *key = &v->heads.keys[v->heads.key_count - 1];

		hash_print(&h->root, root);
		buf_printf(out,
			"good: %" PRIu64 " %s read, %" PRIu64 " signed by %s+%08" PRIx32
			", root %.*s\n",
			v->lines_count, PLURAL(v->lines_count, "entry", "entries"), h->size,
			key->name, key->id, HASH_TEXT, root);
	} else {
		buf_printf(out, "good: %" PRIu64 " %s read, chained; no head signs for %s\n",
			v->lines_count, PLURAL(v->lines_count, "entry", "entries"),
			PLURAL(v->lines_count, "it", "them"));
	}
	if (v->newest.is_there && v->tree.size > h->size)
		buf_printf(out, "entries %" PRIu64 "-%" PRIu64 " are not signed yet\n", h->size,
			v->tree.size - 1);
	if (v->heads.others)
		buf_printf(out, "%" PRIu64 " %s not checked\n", v->heads.others,
			PLURAL(v->heads.others, "head of an earlier key was",
				"heads of earlier keys were"));
}

static int tell(struct verify *v)
{
	const struct kept *k = v->given.is_reached ? &v->given : &v->newest;
	struct buf out = {0};
	int status = EXIT_DONE;

	if (v->found.count) {
		buf_span(&out, buf_as_span(&v->ranges));
		findings_tell(&v->found, v->files.file, k->is_lines && !k->is_tiles);
		status = EXIT_REFUSED;
	} else {
		tell_good(v, &out);
	}
	if (file_write(STDOUT_FILENO, buf_as_span(&out)) || close(STDOUT_FILENO))
		die(EXIT_TEMP, "cannot write standard output: %s", strerror(errno));
	buf_free(&out);
	return status;
}

static void clean(struct verify *v)
{
	heads_close(&v->heads);
	files_close(&v->files);
	findings_free(&v->found);
	buf_free(&v->newest.note);
	buf_free(&v->given.note);
	buf_free(&v->ranges);
}

/* Whether the writer has closed a segment since they were listed. */
static bool has_moved(struct verify *v)
{
	size_t count = v->files.count;

	files_list(&v->files);
	return v->files.count != count;
}

int verify_command(int argc, char **argv)
{
	static const char *const examples[] = {
		"evchain verify --key @audit.vkey audit.ndjson",
		"evchain verify --key @audit.vkey --head yesterday.head audit.ndjson",
		NULL,
	};
	static const struct opt_page page = {
		.prog = "evchain",
		.summary =
			"Reads all of the log FILE: exit status 0, it is as it was signed; 1, it is damaged.",
		.examples = examples,
		.libraries = {evchain_library},
	};
	struct verify *v = mem_alloc(sizeof(*v));
	bool live;
	int status;

	opt.file = arg_str1(NULL, NULL, "FILE", "the log");
	opt.key = arg_str0(NULL, "key", "VKEY|@FILE",
		"the log's first verifier key (default: the one beside the log)");
	opt.head = arg_str0(NULL, "head", "NOTE",
		"a head that was kept elsewhere, a file, @FILE or -: the log must have grown from it");
	opt_common(&opt.common);
	void *table[] = {opt.file, opt.key, opt.head, OPT_COMMON_ENTRIES(opt.common), arg_end(8)};
	opt_parse(argc, argv, table, &opt.common, &page);
	for (int turn = 0;; turn++) {
		prepare(v);
		live = is_live(v);
		verify_lines(v);
		if (turn == 3 || !v->found.count || !live || !has_moved(v))
			break;
		clean(v);
	}
	judge_rest(v, live);
	judge_newest(v, live);
	judge_given(v);
	judge_others(v);
	status = tell(v);
	clean(v);
	free(v);
	return status;
}
