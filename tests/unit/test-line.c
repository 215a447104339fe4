/* SPDX-License-Identifier: ISC */
/* lib/line: lines out of a descriptor, whatever the sizes of the reads. */
#define _GNU_SOURCE
#include "base/line.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

enum { BIG_BLOCK = 128 << 10 };

/* ---- a stream read in pieces that the test chooses ---- */

struct feed {
	struct line l;
	int write_fd;
	/* What was handed out: a letter a status, and the texts of lines with '|' behind each. */
	struct buf statuses, texts;
};

static void feed_open(struct feed *f, char end, size_t max)
{
	int fds[2];

	*f = (struct feed){0};
	assert_int_equal(pipe2(fds, O_NONBLOCK), 0);
	f->write_fd = fds[1];
	line_init(&f->l, fds[0], end, max);
}

static void feed_close(struct feed *f)
{
	if (f->write_fd >= 0)
		close(f->write_fd);
	close(f->l.fd);
	line_free(&f->l);
	buf_free(&f->statuses);
	buf_free(&f->texts);
}

/* Hands out all that is there; the last status is NONE or END. */
static void feed_drain(struct feed *f)
{
	enum line_status status;
	struct span text;

	do {
		status = line_next(&f->l, &text);
		buf_putc(&f->statuses, ".WLTE"[status]);
		if (status == LINE_NONE || status == LINE_END)
			continue;
		buf_span(&f->texts, text);
		buf_putc(&f->texts, '|');
	} while (status != LINE_NONE && status != LINE_END);
}

/* One read of these bytes. */
static void feed_piece(struct feed *f, const char *p, size_t n)
{
	assert_int_equal(write(f->write_fd, p, n), n);
	assert_int_equal(line_read(&f->l), n);
	feed_drain(f);
}

static void feed_text(struct feed *f, const char *s)
{
	feed_piece(f, s, strlen(s));
}

static void feed_eof(struct feed *f)
{
	close(f->write_fd);
	f->write_fd = -1;
	assert_int_equal(line_read(&f->l), 0);
	feed_drain(f);
}

static void expect(struct feed *f, const char *statuses, const char *texts)
{
	buf_putc(&f->statuses, '\0');
	buf_putc(&f->texts, '\0');
	assert_string_equal(f->statuses.p, statuses);
	assert_string_equal(f->texts.p, texts);
	buf_clear(&f->statuses);
	buf_clear(&f->texts);
}

/* ---- lines ---- */

static void whole_lines_come_without_their_end(void **state)
{
	struct feed f;

	(void)state;
	feed_open(&f, '\n', 100);
	feed_text(&f, "one\n\nthree\r\n");
	expect(&f, "WWW.", "one||three\r|");
	assert_int_equal(f.l.number, 3);
	feed_eof(&f);
	expect(&f, "E", "");
	feed_close(&f);
}

static void a_line_in_reads_of_one_byte_is_the_same_line(void **state)
{
	struct feed f;

	(void)state;
	feed_open(&f, '\n', 100);
	for (const char *s = "ab\nc\n"; *s; s++)
		feed_piece(&f, s, 1);
	expect(&f, "..W..W.", "ab|c|");
	feed_close(&f);
}

static void nothing_read_is_the_end_at_once(void **state)
{
	struct feed f;

	(void)state;
	feed_open(&f, '\n', 100);
	feed_eof(&f);
	expect(&f, "E", "");
	feed_drain(&f);
	expect(&f, "E", "");
	feed_close(&f);
}

static void what_stands_behind_the_last_end_is_torn_and_told_once(void **state)
{
	struct feed f;

	(void)state;
	feed_open(&f, '\n', 100);
	feed_text(&f, "one\ntw");
	feed_eof(&f);
	expect(&f, "W.TE", "one|tw|");
	assert_int_equal(f.l.number, 2);
	feed_drain(&f);
	expect(&f, "E", "");
	feed_close(&f);
}

static void nul_ends_lines_when_asked_and_lf_does_not(void **state)
{
	struct feed f;

	(void)state;
	feed_open(&f, '\0', 100);
	feed_piece(&f, "a\nb\0\0c\0", 7);
	expect(&f, "WWW.", "a\nb||c|");
	feed_close(&f);
}

static void lf_ends_lines_and_nul_does_not(void **state)
{
	struct feed f;
	struct span text;

	(void)state;
	feed_open(&f, '\n', 100);
	assert_int_equal(write(f.write_fd, "a\0b\n", 4), 4);
	assert_int_equal(line_read(&f.l), 4);
	assert_int_equal(line_next(&f.l, &text), LINE_WHOLE);
	assert_int_equal(text.len, 3);
	assert_memory_equal(text.p, "a\0b", 3);
	feed_close(&f);
}

static void an_empty_descriptor_that_does_not_block_says_eagain(void **state)
{
	struct feed f;

	(void)state;
	feed_open(&f, '\n', 100);
	errno = 0;
	assert_int_equal(line_read(&f.l), -1);
	assert_int_equal(errno, EAGAIN);
	feed_text(&f, "a\n");
	expect(&f, "W.", "a|");
	feed_close(&f);
}

/* ---- over the limit ---- */

static void a_line_of_just_the_limit_is_whole(void **state)
{
	struct feed f;

	(void)state;
	feed_open(&f, '\n', 5);
	feed_text(&f, "12345\n123456\n1\n");
	expect(&f, "WLW.", "12345|123456|1|");
	assert_int_equal(f.l.number, 3);
	assert_int_equal(f.l.length, 6);
	feed_close(&f);
}

static void a_line_over_the_limit_comes_at_its_end_and_the_next_is_whole(void **state)
{
	struct feed f;

	(void)state;
	feed_open(&f, '\n', 5);
	feed_text(&f, "a\n1234");
	feed_text(&f, "56");
	feed_text(&f, "78");
	feed_text(&f, "90\nb\n5678901");
	feed_text(&f, "\n");
	expect(&f, "W...LW.L.", "a|1234567890|b|5678901|");
	assert_int_equal(f.l.number, 4);
	feed_close(&f);
}

static void a_line_over_the_limit_can_be_torn(void **state)
{
	struct feed f;

	(void)state;
	feed_open(&f, '\n', 5);
	feed_text(&f, "12345678");
	feed_text(&f, "9");
	feed_eof(&f);
	expect(&f, "..TE", "123456789|");
	assert_int_equal(f.l.number, 1);
	feed_close(&f);
}

static void of_a_long_line_the_beginning_and_the_length_stay(void **state)
{
	static char piece[30000];
	struct span text;
	struct feed f;

	(void)state;
	memset(piece, 'x', sizeof(piece));
	feed_open(&f, '\n', 100000);
	for (int i = 0; i < 1000; i++)
		feed_piece(&f, piece, sizeof(piece));
	assert_true(f.l.cap <= 4 * LINE_HEAD_MAX);
	assert_int_equal(f.texts.len, 0);
	assert_int_equal(write(f.write_fd, "yz\nnext\n", 8), 8);
	assert_int_equal(line_read(&f.l), 8);
	assert_int_equal(line_next(&f.l, &text), LINE_LONG);
	assert_int_equal(text.len, LINE_HEAD_MAX);
	assert_int_equal(text.p[text.len - 1], 'x');
	assert_int_equal(f.l.length, 1000 * sizeof(piece) + 2);
	feed_drain(&f);
	buf_putc(&f.texts, '\0');
	assert_string_equal(f.texts.p, "next|");
	feed_close(&f);
}

static void a_long_line_leaves_kept_lines_where_they_are(void **state)
{
	static char piece[30000];
	struct span first, head, next;
	uint64_t places[3];
	struct feed f;

	(void)state;
	memset(piece, 'x', sizeof(piece));
	feed_open(&f, '\n', 1000);
	assert_int_equal(write(f.write_fd, "first\n", 6), 6);
	line_read(&f.l);
	assert_int_equal(line_next(&f.l, &first), LINE_WHOLE);
	places[0] = line_place(&f.l, first);
	line_keep(&f.l, places[0]);
	for (int i = 0; i < 100; i++)
		feed_piece(&f, piece, sizeof(piece));
	assert_int_equal(write(f.write_fd, "\nnext\n", 6), 6);
	line_read(&f.l);
	assert_int_equal(line_next(&f.l, &head), LINE_LONG);
	places[1] = line_place(&f.l, head);
	assert_int_equal(line_next(&f.l, &next), LINE_WHOLE);
	places[2] = line_place(&f.l, next);
	for (int i = 0; i < 10; i++) {
		feed_piece(&f, piece, sizeof(piece) - 1);
		feed_piece(&f, "\n", 1);
	}
	assert_memory_equal(line_at(&f.l, places[0]), "first", 5);
	assert_memory_equal(line_at(&f.l, places[1]), piece, sizeof(piece));
	assert_memory_equal(line_at(&f.l, places[2]), "next", 4);
	feed_close(&f);
}

/* ---- memory ---- */

/* A file of @n bytes made by @byte_at. */
static int file_of(size_t n, char (*byte_at)(size_t))
{
	int fd = memfd_create("line", 0);
	char *p;

	assert_int_equal(ftruncate(fd, (off_t)n), 0);
	p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(p != MAP_FAILED);
	for (size_t i = 0; i < n; i++)
		p[i] = byte_at(i);
	munmap(p, n);
	return fd;
}

static char one_long_line(size_t i)
{
	return i == (20 << 20) - 1 ? '\n' : 'x';
}

static void the_memory_of_a_long_line_is_given_back(void **state)
{
	int fd = file_of(20 << 20, one_long_line);
	enum line_status status;
	struct span text;
	struct line l;

	(void)state;
	line_init(&l, fd, '\n', LINE_MAX_DEFAULT);
	while ((status = line_next(&l, &text)) == LINE_NONE)
		assert_true(line_read(&l) > 0);
	assert_int_equal(status, LINE_WHOLE);
	assert_int_equal(text.len, (20 << 20) - 1);
	assert_true(l.cap >= 20 << 20);
	assert_int_equal(line_read(&l), 0);
	assert_int_equal(l.cap, BIG_BLOCK);
	assert_int_equal(line_next(&l, &text), LINE_END);
	line_free(&l);
	close(fd);
}

static char lines_of_1000(size_t i)
{
	return i % 1000 == 999 ? '\n' : (char)('a' + i / 1000 % 26);
}

static void a_stream_of_lines_takes_one_block(void **state)
{
	int fd = file_of(5000 * 1000, lines_of_1000);
	struct span text;
	struct line l;
	int n = 0;

	(void)state;
	line_init(&l, fd, '\n', LINE_MAX_DEFAULT);
	while (line_read(&l) > 0)
		while (line_next(&l, &text) == LINE_WHOLE) {
			assert_int_equal(text.len, 999);
			for (size_t i = 0; i < 999; i++)
				if (text.p[i] != 'a' + n % 26)
					fail_msg("byte %zu of line %d", i, n);
			n++;
		}
	assert_int_equal(n, 5000);
	assert_int_equal(l.cap, BIG_BLOCK);
	line_free(&l);
	close(fd);
}

/* ---- keeping ---- */

static void kept_lines_are_found_again_by_their_place(void **state)
{
	enum { LINES = 3000 };
	int fd = file_of(LINES * 1000, lines_of_1000);
	static uint64_t places[LINES];
	struct span text;
	struct line l;
	int n = 0;

	(void)state;
	line_init(&l, fd, '\n', LINE_MAX_DEFAULT);
	line_keep(&l, 0);
	while (line_read(&l) > 0)
		while (line_next(&l, &text) == LINE_WHOLE)
			places[n++] = line_place(&l, text);
	assert_int_equal(n, LINES);
	for (int i = 0; i < LINES; i++) {
		assert_int_equal(places[i], i * 1000);
		for (size_t k = 0; k < 1000; k++)
			if (line_at(&l, places[i])[k] != lines_of_1000((size_t)i * 1000 + k))
				fail_msg("byte %zu of line %d", k, i);
	}
	line_free(&l);
	close(fd);
}

static void what_is_released_makes_room_and_what_is_kept_stays(void **state)
{
	enum { LINES = 20000, WINDOW = 50 };
	int fd = file_of(LINES * 1000, lines_of_1000);
	uint64_t places[WINDOW];
	struct span text;
	struct line l;
	int n = 0;

	(void)state;
	line_init(&l, fd, '\n', LINE_MAX_DEFAULT);
	line_keep(&l, 0);
	while (line_read(&l) > 0)
		while (line_next(&l, &text) == LINE_WHOLE) {
			places[n % WINDOW] = line_place(&l, text);
			n++;
			if (n < WINDOW)
				continue;
			/* The oldest of the window is still there; now it may go. */
			assert_int_equal(
				line_at(&l, places[n % WINDOW])[0], 'a' + (n - WINDOW) % 26);
			assert_int_equal(line_at(&l, places[n % WINDOW])[999], '\n');
			line_keep(&l, places[(n + 1) % WINDOW]);
		}
	assert_int_equal(n, LINES);
	assert_true(l.cap <= 4 * BIG_BLOCK);
	line_free(&l);
	close(fd);
}

static void keeping_nothing_is_as_if_it_had_never_been_asked(void **state)
{
	int fd = file_of(5000 * 1000, lines_of_1000);
	struct span text;
	struct line l;
	int n = 0;

	(void)state;
	line_init(&l, fd, '\n', LINE_MAX_DEFAULT);
	line_keep(&l, 0);
	line_keep(&l, UINT64_MAX);
	while (line_read(&l) > 0)
		while (line_next(&l, &text) == LINE_WHOLE)
			n++;
	assert_int_equal(n, 5000);
	assert_int_equal(l.cap, BIG_BLOCK);
	line_free(&l);
	close(fd);
}

/* ---- everything at once: against a plain split of the same bytes ---- */

static void any_bytes_in_any_reads_give_the_lines_of_a_plain_split(void **state)
{
	enum { ROUNDS = 2000, MAX = 40 };

	(void)state;
	srandom(1);
	for (int round = 0; round < ROUNDS; round++) {
		struct buf expected = {0};
		char bytes[3000];
		size_t n = (size_t)random() % sizeof(bytes), start = 0;
		struct feed f;

		feed_open(&f, '\n', MAX);
		for (size_t i = 0; i < n; i++) {
			bytes[i] = random() % 25 ? (char)(random() % 256) : '\n';
			/* '|' and '\n' alone have a meaning to the harness. */
			if (bytes[i] == '|')
				bytes[i] = '\0';
		}
		for (size_t i = 0; i < n; i++)
			if (bytes[i] == '\n') {
				buf_put(&expected, bytes + start, i - start);
				buf_putc(&expected, '|');
				start = i + 1;
			}
		if (start < n) {
			buf_put(&expected, bytes + start, n - start);
			buf_putc(&expected, '|');
		}
		for (size_t at = 0; at < n;) {
			size_t piece = 1 + (size_t)random() % 100;

			if (piece > n - at)
				piece = n - at;
			feed_piece(&f, bytes + at, piece);
			at += piece;
		}
		feed_eof(&f);
		assert_int_equal(f.texts.len, expected.len);
		assert_true(!expected.len || !memcmp(f.texts.p, expected.p, expected.len));
		buf_free(&expected);
		feed_close(&f);
	}
}

/* Lines of lengths about the block's, so that ends fall on, before and behind its edge. */
static size_t edge_length;

static char lines_of_edge_length(size_t i)
{
	return i % (edge_length + 1) == edge_length ? '\n' : (char)('a' + i % 23);
}

static void an_end_at_the_edge_of_a_block_is_found(void **state)
{
	(void)state;
	for (int delta = -3; delta <= 3; delta++) {
		size_t at = 0, total;
		struct span text;
		struct line l;
		int fd, n = 0;

		edge_length = (size_t)(BIG_BLOCK + delta);
		total = 5 * (edge_length + 1);
		fd = file_of(total, lines_of_edge_length);
		line_init(&l, fd, '\n', LINE_MAX_DEFAULT);
		while (line_read(&l) > 0)
			while (line_next(&l, &text) == LINE_WHOLE) {
				assert_int_equal(text.len, edge_length);
				assert_int_equal(line_place(&l, text), at);
				assert_int_equal(text.p[0], 'a' + at % 23);
				assert_int_equal(
					text.p[text.len - 1], 'a' + (at + text.len - 1) % 23);
				at += text.len + 1;
				n++;
			}
		assert_int_equal(n, 5);
		assert_int_equal(line_next(&l, &text), LINE_END);
		line_free(&l);
		close(fd);
	}
}

/* A frame of each kind: empty, of nothing, with bytes, and over the limit, which comes as soon as
 * its head is there. */
static void frames_cut_anywhere_are_the_same_frames(void **state)
{
	static const char bytes[] =
		"\0\0\0\0\377\377\377\377\0\0\0\3\n\0z\0\0\0\006123456\0\0\0\1a\0\0\0\2b";
	const size_t size = sizeof(bytes) - 1;

	(void)state;
	for (size_t cut = 1; cut < size; cut++) {
		struct feed f;

		feed_open(&f, '\n', 5);
		f.l.framed = true;
		feed_piece(&f, bytes, cut);
		feed_piece(&f, bytes + cut, size - cut);
		feed_eof(&f);
		/* Without the two waits: they stand where the cut is. */
		for (char *dot; (dot = memchr(f.statuses.p, '.', f.statuses.len)); f.statuses.len--)
			memmove(dot, dot + 1, (size_t)(f.statuses.p + f.statuses.len - dot) - 1);
		assert_int_equal(f.statuses.len, 7);
		assert_memory_equal(f.statuses.p, "WWWLWTE", 7);
		assert_int_equal(f.texts.len, 4 + 1 + 4 + 1 + 7 + 1 + 6 + 1 + 5 + 1 + 5 + 1);
		assert_memory_equal(f.texts.p + 10, "\0\0\0\3\n\0z|123456|", 15);
		assert_int_equal(f.l.length, 6);
		assert_int_equal(f.l.number, 6);
		feed_close(&f);
	}
	assert_null(line_frame((struct span){"\377\377\377\377", 4}).p);
	assert_int_equal(line_frame((struct span){"\0\0\0\1a", 5}).len, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whole_lines_come_without_their_end),
		cmocka_unit_test(a_line_in_reads_of_one_byte_is_the_same_line),
		cmocka_unit_test(nothing_read_is_the_end_at_once),
		cmocka_unit_test(what_stands_behind_the_last_end_is_torn_and_told_once),
		cmocka_unit_test(nul_ends_lines_when_asked_and_lf_does_not),
		cmocka_unit_test(lf_ends_lines_and_nul_does_not),
		cmocka_unit_test(an_empty_descriptor_that_does_not_block_says_eagain),
		cmocka_unit_test(a_line_of_just_the_limit_is_whole),
		cmocka_unit_test(a_line_over_the_limit_comes_at_its_end_and_the_next_is_whole),
		cmocka_unit_test(a_line_over_the_limit_can_be_torn),
		cmocka_unit_test(of_a_long_line_the_beginning_and_the_length_stay),
		cmocka_unit_test(a_long_line_leaves_kept_lines_where_they_are),
		cmocka_unit_test(the_memory_of_a_long_line_is_given_back),
		cmocka_unit_test(a_stream_of_lines_takes_one_block),
		cmocka_unit_test(kept_lines_are_found_again_by_their_place),
		cmocka_unit_test(what_is_released_makes_room_and_what_is_kept_stays),
		cmocka_unit_test(keeping_nothing_is_as_if_it_had_never_been_asked),
		cmocka_unit_test(any_bytes_in_any_reads_give_the_lines_of_a_plain_split),
		cmocka_unit_test(an_end_at_the_edge_of_a_block_is_found),
		cmocka_unit_test(frames_cut_anywhere_are_the_same_frames),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
