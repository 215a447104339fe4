/* SPDX-License-Identifier: ISC */
/* evchain prove, check, consistency - proofs, made of tiles and checked without the log. */
#define _GNU_SOURCE
#include "evchain/parts.h"

#include "base/msg.h"
#include "base/num.h"
#include "evchain/files.h"
#include "evchain/proof.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

static struct {
	struct opt_common common;
	struct arg_str *key, *file, *n, *proof, *line, *note;
} opt;

/* The verdict of a proof or a log that is not good. */
static int say_bad(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static int say_bad(const char *fmt, ...)
{
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	msg_error("%s", text);
	return EXIT_REFUSED;
}

/* A log as a reader of tiles sees it. */
struct log {
	struct files files;
	struct tiles tiles;
	struct buf note;
	struct head head;
};

static int open_log(struct log *g, const char *file)
{
	memset(g, 0, sizeof(*g));
	files_open(&g->files, file, false);
	g->tiles.dir = g->files.dir;
	if (file_read(g->files.dir, "checkpoint", &g->note) && errno != ENOENT)
		die(EXIT_TEMP, "cannot read '%s.tlog/checkpoint': %s", file, msg_errno(errno));
	if (!g->note.len)
		return say_bad("the log '%s' has no signed head: nothing can be proved", file);
	if (head_parse(buf_as_span(&g->note), &g->head))
		return say_bad("'%s.tlog/checkpoint' is damaged: it is no signed head", file);
	return EXIT_DONE;
}

static void close_log(struct log *g)
{
	msg_info("%" PRIu64 " bytes of tiles were read", g->tiles.bytes);
	files_close(&g->files);
	buf_free(&g->note);
}

static int print(struct buf *out)
{
	if (file_write(STDOUT_FILENO, buf_as_span(out)) || close(STDOUT_FILENO))
		die(EXIT_TEMP, "cannot write standard output: %s", strerror(errno));
	buf_free(out);
	return EXIT_DONE;
}

/* Says whether the key, when there is one, has signed the head. */
static int check_signature(const struct head *h, const char *what)
{
	struct vkey key;

	if (!opt.key->count) {
		msg_warn("%s: its signature is not checked without --key", what);
		return EXIT_DONE;
	}
	take_vkey(opt_text(opt.key, "--key"), &key);
	switch (head_verify(h, &key)) {
	case HEAD_GOOD:
		return EXIT_DONE;
	case HEAD_BAD:
		return say_bad("%s: its signature is not good", what);
	case HEAD_OTHER:
		break;
	}
	return say_bad("%s: it is not signed by %s+%08" PRIx32, what, key.name, key.id);
}

/* ---- prove ---- */

static int prove(struct log *g, uint64_t n)
{
	const char *file = g->files.file;
	const struct hash *hashes;
	struct buf out = {0};
	struct proof p;
	struct hash root;

	if (n >= g->head.size)
		return say_bad("'%s' has no signed entry %" PRIu64 ": its head is of %" PRIu64
			       " entries",
			file, n, g->head.size);
	/* A proof that does not hold is worse than none. */
	if (proof_inclusion(&g->tiles, n, g->head.size, &p) ||
		!tiles_read(&g->tiles, (struct tile){0, n / TILE_WIDTH},
			(unsigned)(n % TILE_WIDTH) + 1, &hashes))
		return say_bad("'%s.tlog/%s' is missing", file, g->tiles.missing);
	root = g->head.root;
	if (!proof_includes(&p, n, g->head.size, &hashes[n % TILE_WIDTH], &root))
		return say_bad("the tiles of '%s' are damaged: they do not lead to its head", file);
	proof_print(&p, n, buf_as_span(&g->note), &out);
	return print(&out);
}

int prove_command(int argc, char **argv)
{
	static const char *const examples[] = {
		"evchain prove audit.ndjson 17 >17.tlog-proof",
		NULL,
	};
	static const struct opt_page page = {
		.prog = "evchain",
		.summary =
			"Prints the proof (C2SP tlog-proof) that entry N of the log FILE is in it.",
		.examples = examples,
		.libraries = {evchain_library},
	};
	static struct log g;
	int64_t n;
	int status;

	opt.file = arg_str1(NULL, NULL, "FILE", "the log");
	opt.n = arg_str1(NULL, NULL, "N", "the number of the entry, from 0");
	opt_common(&opt.common);
	void *table[] = {opt.file, opt.n, OPT_COMMON_ENTRIES(opt.common), arg_end(8)};
	opt_parse(argc, argv, table, &opt.common, &page);
	n = opt_int(opt.n, "N", 0, 0, INT64_MAX);
	status = open_log(&g, opt_text(opt.file, "FILE"));
	if (status == EXIT_DONE)
		status = prove(&g, (uint64_t)n);
	close_log(&g);
	return status;
}

/* ---- check ---- */

static int check(struct span text, struct span line)
{
	struct span note;
	struct proof p;
	struct hash leaf;
	struct head h;
	uint64_t n;
	int status;

	if (proof_parse(text, &p, &n, &note) || head_parse(note, &h))
		return say_bad("the proof is damaged: it is no C2SP tlog-proof");
	status = check_signature(&h, "the proof's head");
	if (status)
		return status;
	/* The line of a file has its end. */
	if (line.len && line.p[line.len - 1] == '\n')
		line.len--;
	hash_leaf(line, &leaf);
	if (!proof_includes(&p, n, h.size, &leaf, &h.root))
		return say_bad("the line is not entry %" PRIu64 " of the log '%.*s'", n,
			(int)h.origin.len, h.origin.p);
	msg_info("the line is entry %" PRIu64 " of the log '%.*s', of %" PRIu64 " %s", n,
		(int)h.origin.len, h.origin.p, h.size, PLURAL(h.size, "entry", "entries"));
	return EXIT_DONE;
}

int check_command(int argc, char **argv)
{
	static const char *const examples[] = {
		"evchain check --key @audit.vkey 17.tlog-proof \"$(sed -n 18p audit.ndjson)\"",
		NULL,
	};
	static const struct opt_page page = {
		.prog = "evchain",
		.summary =
			"Checks a proof of 'evchain prove': whether LINE is that entry of the log.",
		.examples = examples,
		.libraries = {evchain_library},
	};
	struct buf proof = {0}, line = {0};
	int status;

	opt.proof = arg_str1(NULL, NULL, "PROOF", "the proof: a file, @FILE, - or the text");
	opt.line = arg_str1(NULL, NULL, "LINE", "the entry: its text, or a file, @FILE, -");
	opt.key = arg_str0(NULL, "key", "VKEY|@FILE", "the log's verifier key");
	opt_common(&opt.common);
	void *table[] = {opt.proof, opt.line, opt.key, OPT_COMMON_ENTRIES(opt.common), arg_end(8)};
	opt_parse(argc, argv, table, &opt.common, &page);
	take_note(opt_text(opt.proof, "PROOF"), "c2sp.org/", &proof);
	take_text(opt_text(opt.line, "LINE"), "{", &line);
	status = check(buf_as_span(&proof), buf_as_span(&line));
	buf_free(&proof);
	buf_free(&line);
	return status;
}

/* ---- consistency ---- */

/* After a change of keys the newest head has another one, and the trees agree all the same. */
static int check_newest(const struct head *h)
{
	struct vkey key;

	take_vkey(opt_text(opt.key, "--key"), &key);
	if (head_verify(h, &key) == HEAD_BAD)
		return say_bad("the newest head: its signature is not good");
	if (head_verify(h, &key) == HEAD_OTHER)
		msg_warn(
			"the newest head is signed by another key: evchain verify follows changes of keys");
	return EXIT_DONE;
}

static int consistency(struct log *g, const struct head *old)
{
	const char *file = g->files.file;
	struct buf out = {0};
	struct proof p;
	int status = check_signature(old, "the older head");

	if (status == EXIT_DONE && opt.key->count)
		status = check_newest(&g->head);
	if (status)
		return status;
	if (old->size > g->head.size)
		return say_bad("'%s' was rolled back: it has %" PRIu64
			       " signed entries, and the older head %" PRIu64,
			file, g->head.size, old->size);
	if (proof_consistency(&g->tiles, old->size, g->head.size, &p))
		return say_bad("'%s.tlog/%s' is missing", file, g->tiles.missing);
	if (!proof_is_consistent(&p, old->size, g->head.size, &old->root, &g->head.root))
		return say_bad("'%s' has not grown from the older head: its first %" PRIu64
			       " entries are other ones",
			file, old->size);
	buf_printf(&out, "old %" PRIu64 "\n", old->size);
	proof_put_hashes(&p, &out);
	buf_putc(&out, '\n');
	buf_span(&out, buf_as_span(&g->note));
	return print(&out);
}

int consistency_command(int argc, char **argv)
{
	static const char *const examples[] = {
		"evchain consistency --key @audit.vkey audit.ndjson yesterday.head",
		NULL,
	};
	static const struct opt_page page = {
		.prog = "evchain",
		.summary =
			"Prints the proof that the log FILE has grown from the head NOTE, as a witness wants it.",
		.examples = examples,
		.libraries = {evchain_library},
	};
	struct buf note = {0};
	static struct log g;
	struct head old;
	int status;

	opt.file = arg_str1(NULL, NULL, "FILE", "the log");
	opt.note = arg_str1(NULL, NULL, "NOTE", "an older head: a file, @FILE or -");
	opt.key = arg_str0(NULL, "key", "VKEY|@FILE", "the verifier key of the older head");
	opt_common(&opt.common);
	void *table[] = {opt.file, opt.note, opt.key, OPT_COMMON_ENTRIES(opt.common), arg_end(8)};
	opt_parse(argc, argv, table, &opt.common, &page);
	take_note(opt_text(opt.note, "NOTE"), "", &note);
	status = open_log(&g, opt_text(opt.file, "FILE"));
	if (status == EXIT_DONE && head_parse(buf_as_span(&note), &old))
		status = say_bad("the older head is damaged: it is no signed head");
	if (status == EXIT_DONE)
		status = consistency(&g, &old);
	close_log(&g);
	buf_free(&note);
	return status;
}
