/* SPDX-License-Identifier: ISC */
#define _GNU_SOURCE
#include "base/out.h"

#include "base/wake.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

enum kind {
	OUT_FREE, /* a write never blocks for long, or fails with EAGAIN */
	OUT_SOCKET,
	OUT_PIECES
};

/* A pipe of the usual 64 KB fills so fast that the processes of a pipeline wake each other all the
 * time. With 256 KB three processes take a tenth less CPU (payloads of 245 bytes); more room gains
 * little. The kernel may refuse. */
static void widen(int fd)
{
	enum { PIPE_SIZE = 256 << 10 };

	if (fcntl(fd, F_GETPIPE_SZ) < PIPE_SIZE)
		fcntl(fd, F_SETPIPE_SZ, PIPE_SIZE);
}

void out_open(struct out *o, int fd)
{
	struct stat st;

	*o = (struct out){.fd = fd, .kind = OUT_PIECES};
	if (fstat(fd, &st))
		return;
	/* Character devices of major 1 are memory devices: /dev/null, /dev/full. */
	if (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode) ||
		(S_ISCHR(st.st_mode) && major(st.st_rdev) == 1)) {
		o->kind = OUT_FREE;
	} else if (S_ISSOCK(st.st_mode)) {
		o->kind = OUT_SOCKET;
	} else if (S_ISFIFO(st.st_mode) || isatty(fd)) {
		char path[32];
		int own;

		widen(fd);
		/* Fails without /proc, or on a pipe that another user made: then in pieces. */
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		own = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
		if (own >= 0) {
			dup3(own, fd, 0);
			close(own);
			o->kind = OUT_FREE;
		}
	}
}

/* POLLOUT on a pipe promises room for PIPE_BUF bytes and no more. */
static ssize_t write_piece(int fd, const char *p, size_t n)
{
	struct pollfd pfd = {.fd = fd, .events = POLLOUT};

	if (poll(&pfd, 1, 0) < 0)
		return -1;
	if (!pfd.revents) {
		errno = EAGAIN;
		return -1;
	}
	return write(fd, p, n < PIPE_BUF ? n : PIPE_BUF);
}

static ssize_t write_some(struct out *o)
{
	const char *p = o->b.p + o->head;
	size_t n = out_pending(o);

	switch ((enum kind)o->kind) {
	case OUT_FREE:
		return write(o->fd, p, n);
	case OUT_SOCKET:
		return send(o->fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL);
	case OUT_PIECES:
		break;
	}
	return write_piece(o->fd, p, n);
}

/* A reader that keeps up but never catches up must not make the buffer grow for ever. Each byte is
 * moved at most about once: a move copies no more bytes than were written since the last one. */
static void reclaim(struct out *o)
{
	size_t n = out_pending(o);

	if (o->head < n)
		return;
	memmove(o->b.p, o->b.p + o->head, n);
	o->b.len = n;
	o->head = 0;
}

int out_flush(struct out *o)
{
	bool moved = !o->stuck_ms;

	while (out_pending(o)) {
		ssize_t n = write_some(o);

		if (n < 0) {
			if (errno == EINTR)
				continue;
			if (errno != EAGAIN && errno != EWOULDBLOCK)
				return -1;
			reclaim(o);
			if (moved)
				o->stuck_ms = wake_now_ms();
			return 0;
		}
		o->head += (size_t)n;
		moved = true;
	}
	o->head = 0;
	o->stuck_ms = 0;
	buf_clear(&o->b);
	return 0;
}

int64_t out_stuck_ms(const struct out *o, int64_t now_ms)
{
	return o->stuck_ms ? now_ms - o->stuck_ms : 0;
}

short out_events(const struct out *o)
{
	return out_pending(o) ? POLLOUT : 0;
}

bool out_wants_colour(int fd)
{
	const char *no = getenv("NO_COLOR"), *term = getenv("TERM");

	return isatty(fd) && (!no || !*no) && (!term || strcmp(term, "dumb") != 0);
}

int out_close(struct out *o)
{
	int err = 0;

	while (!err && out_pending(o)) {
		if (out_flush(o))
			err = errno;
		else if (out_pending(o))
			poll(&(struct pollfd){.fd = o->fd, .events = POLLOUT}, 1, -1);
	}
	/* EBADF: standard output came closed, and nothing had to be written. */
	if (close(o->fd) && !err && errno != EBADF)
		err = errno;
	buf_free(&o->b);
	o->head = 0;
	errno = err;
	return err ? -1 : 0;
}
