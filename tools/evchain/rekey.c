/* SPDX-License-Identifier: ISC */
#define _GNU_SOURCE
#include "evchain/rekey.h"

#include "base/mem.h"
#include "base/msg.h"
#include "evchain/entry.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char *new_path(const char *file)
{
	return mem_printf("%s.new", file);
}

bool rekey_find(const char *file, struct skey *next)
{
	char *path = new_path(file);
	struct buf b = {0};
	bool found = file_read(AT_FDCWD, path, &b) == 0 && skey_parse(buf_as_span(&b), next) == 0;

	if (b.p)
		explicit_bzero(b.p, b.len);
	buf_free(&b);
	free(path);
	return found;
}

int64_t rekey_made_ms(const char *file)
{
	struct stat st;

	return stat(file, &st) ? 0
			       : (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000;
}

int rekey_begin(struct writer *w, const char *file, int64_t now_ms)
{
	char *path = new_path(file);
	struct buf text = {0}, record = {0};
	int rc;

	skey_make(w->key.verifier.name, &w->next);
	skey_print(&w->next, &text);
	buf_putc(&text, '\n');
	rc = file_replace(AT_FDCWD, path, buf_as_span(&text), 0600);
	if (rc == 0) {
		w->has_next = true;
		entry_print_key(&w->next.verifier, &record);
		writer_add(w, SPAN_NONE, buf_as_span(&record), now_ms);
		rc = writer_commit(w);
	}
	explicit_bzero(text.p, text.len);
	buf_free(&text);
	buf_free(&record);
	free(path);
	return rc;
}

void rekey_turn(struct writer *w)
{
	w->key = w->next;
	w->has_next = false;
	explicit_bzero(&w->next, sizeof(w->next));
}

/* The bytes of a key go as well as a file system lets them. */
static void erase(int fd)
{
	char zeros[4096] = {0};
	off_t size = lseek(fd, 0, SEEK_END);

	for (off_t at = 0; at < size; at += (off_t)sizeof(zeros))
		if (pwrite(fd, zeros, size - at < 4096 ? (size_t)(size - at) : 4096, at) < 0)
			break;
	if (fdatasync(fd))
		msg_warn("the old key may not be erased: %s", strerror(errno));
}

int rekey_end(const char *file)
{
	char *path = new_path(file);
	int old = open(file, O_WRONLY | O_CLOEXEC);
	int rc = rename(path, file) || file_sync_folder(file) ? -1 : 0;

	if (rc == 0 && old >= 0)
		erase(old);
	if (old >= 0)
		close(old);
	free(path);
	return rc;
}

void rekey_forget(struct writer *w, const char *file)
{
	char *path = new_path(file);

	unlink(path);
	free(path);
	w->has_next = false;
	explicit_bzero(&w->next, sizeof(w->next));
}
