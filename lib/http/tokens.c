/* SPDX-License-Identifier: ISC */
#include "http/tokens.h"

#include "base/msg.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

/* Returns 0, or -1 with errno. */
static int read_file(struct tokens *t, struct buf *text)
{
	int fd = open(t->path, O_RDONLY | O_CLOEXEC);
	ssize_t n = -1;

	if (fd < 0)
		return -1;
	if (fstat(fd, &t->stat) == 0)
		while ((n = read(fd, buf_room(text, 4096), 4096)) > 0)
			text->len += (size_t)n;
	close(fd);
	return n < 0 ? -1 : 0;
}

/* The next token: a line without white space around; neither empty nor a comment. */
static bool next_token(struct span *text, struct span *token)
{
	while (text->len) {
		const char *end = memchr(text->p, '\n', text->len);
		size_t len = end ? (size_t)(end - text->p) : text->len;

		*token = (struct span){text->p, len};
		text->p += len + (end != NULL);
		text->len -= len + (end != NULL);
		while (token->len && strchr(" \t\r", token->p[token->len - 1]))
			token->len--;
		while (token->len && strchr(" \t", token->p[0])) {
			token->p++;
			token->len--;
		}
		if (token->len && token->p[0] != '#')
			return true;
	}
	return false;
}

static bool has_token(const struct buf *text)
{
	struct span rest = buf_as_span(text), token;

	return next_token(&rest, &token);
}

void tokens_open(struct tokens *t, const char *path)
{
	t->path = path;
	if (!path)
		return;
	if (read_file(t, &t->text))
		die(msg_errno_status(errno), "cannot read the token file '%s': %s", path,
			msg_errno(errno));
	if (!has_token(&t->text))
		die(EXIT_PERM, "the token file '%s' has no token", path);
}

/* A file that cannot be read, or is empty, while it is replaced: the old tokens hold. */
static void look(struct tokens *t)
{
	struct buf text = {0};
	struct stat st;

	if (stat(t->path, &st) ||
		(st.st_ino == t->stat.st_ino && st.st_size == t->stat.st_size &&
			memcmp(&st.st_mtim, &t->stat.st_mtim, sizeof(st.st_mtim)) == 0))
		return;
	if (read_file(t, &text) == 0 && has_token(&text)) {
		buf_free(&t->text);
		t->text = text;
		return;
	}
	buf_free(&text);
}

/* Takes as long whatever the texts have in common. */
static bool same(struct span a, struct span b)
{
	unsigned char differ = a.len != b.len;

	for (size_t i = 0; i < a.len; i++)
		differ |= (unsigned char)(a.p[i] ^ b.p[b.len ? i % b.len : 0]);
	return !differ;
}

static bool has(struct tokens *t, struct span given)
{
	struct span rest, token;
	bool allowed = false;

	look(t);
	rest = buf_as_span(&t->text);
	while (next_token(&rest, &token))
		allowed |= same(token, given);
	return allowed;
}

/* What stands behind the scheme; p NULL: it is another scheme. */
static struct span credentials(const char *authorization, const char *scheme)
{
	size_t n = strlen(scheme);

	if (!authorization || strncasecmp(authorization, scheme, n) || authorization[n] != ' ')
		return SPAN_NONE;
	authorization += n + strspn(authorization + n, " ");
	return (struct span){authorization, strlen(authorization)};
}

bool tokens_allow(struct tokens *t, const char *authorization)
{
	struct span given = credentials(authorization, "Bearer");

	return !t->path || (given.p && has(t, given));
}

bool tokens_allow_basic(struct tokens *t, const char *authorization)
{
	struct span given = credentials(authorization, "Basic");
	struct buf text = {0};
	bool allowed;

	if (!t->path)
		return true;
	allowed = given.p && buf_unbase64(&text, given) == 0 && has(t, buf_as_span(&text));
	buf_free(&text);
	return allowed;
}
