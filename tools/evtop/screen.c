/* SPDX-License-Identifier: ISC */
#define _GNU_SOURCE
#include "evtop/screen.h"

#include "base/text.h"
#include "base/wake.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

static volatile sig_atomic_t resized;
static int taken = -1; /* the terminal whose modes are to be given back */
static struct termios before;

static void on_resize(int sig)
{
	(void)sig;
	resized = 1;
	wake_poke();
}

static void give_back(void)
{
	if (taken >= 0)
		tcsetattr(taken, TCSANOW, &before);
	taken = -1;
}

/* A terminal in the background is not ours to change. */
static void take_keys(struct screen *s)
{
	struct termios modes;

	s->tty = open("/dev/tty", O_RDWR | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (s->tty < 0)
		return;
	if (tcgetpgrp(s->tty) != getpgrp() || tcgetattr(s->tty, &before)) {
		close(s->tty);
		s->tty = -1;
		return;
	}
	modes = before;
	modes.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	modes.c_cc[VMIN] = 0;
	modes.c_cc[VTIME] = 0;
	taken = s->tty;
	atexit(give_back);
	tcsetattr(s->tty, TCSANOW, &modes);
}

static bool says_utf8(void)
{
	const char *all = getenv("LC_ALL"), *type = getenv("LC_CTYPE"), *lang = getenv("LANG");
	const char *locale = all && *all ? all : type && *type ? type : lang ? lang : "";

	return strcasestr(locale, "utf-8") || strcasestr(locale, "utf8");
}

void screen_open(struct screen *s, bool aside)
{
	int fd = aside ? STDERR_FILENO : STDOUT_FILENO;

	*s = (struct screen){
		.fd = aside ? fd : -1, .tty = -1, .terminal = isatty(fd), .utf8 = says_utf8()};
	if (!s->terminal)
		return;
	/* Opened anew it can be told not to block, without the other programs that share it. */
	if (aside) {
		int own = open(ttyname(fd) ? ttyname(fd) : "",
			O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

		s->fd = own < 0 ? fd : own;
	}
	take_keys(s);
	sigaction(SIGWINCH, &(struct sigaction){.sa_handler = on_resize, .sa_flags = SA_RESTART},
		NULL);
}

static struct winsize size_of(const struct screen *s)
{
	struct winsize w = {0};

	if (ioctl(s->fd < 0 ? STDOUT_FILENO : s->fd, TIOCGWINSZ, &w) || !w.ws_row || !w.ws_col)
		w = (struct winsize){.ws_row = 24, .ws_col = 80};
	return w;
}

unsigned screen_rows(const struct screen *s)
{
	return s->terminal ? size_of(s).ws_row - 1u : 0;
}

static bool is_heading(struct span line)
{
	static const char *const words[] = {
		"PLACE ", "KEY ", "PIPELINE ", "TOOL ", "TOPIC ", "ERROR "};

	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
		if (span_starts(line, words[i]))
			return true;
	return false;
}

/* Goes back to the frame's first line, and draws over it. Headings are bold. */
static void draw(struct screen *s, struct span text, struct buf *out)
{
	struct winsize w = size_of(s);
	const char *p = text.p, *end = text.p + text.len;

	if (resized)
		buf_puts(out, "\33[H\33[2J");
	else if (s->drawn)
		buf_printf(out, "\33[%uA\r", s->drawn);
	resized = 0;
	for (s->drawn = 0; p < end && s->drawn + 1 < w.ws_row; s->drawn++) {
		const char *stop = memchr(p, '\n', (size_t)(end - p));
		struct span line = {p, (size_t)((stop ? stop : end) - p)};
		bool heading = is_heading(line);

		p = stop ? stop + 1 : end;
		line.len = text_cut(line, w.ws_col - 1u);
		buf_puts(out, heading ? "\33[1m" : "");
		buf_span(out, line);
		buf_puts(out, heading ? "\33[0m\33[K\n" : "\33[K\n");
	}
	buf_puts(out, "\33[J");
}

/* What does not fit now comes with the next frame. */
static void write_aside(const struct screen *s, const struct buf *frame)
{
	struct pollfd p = {.fd = s->fd, .events = POLLOUT};

	if (poll(&p, 1, 0) == 1 && p.revents & POLLOUT && write(s->fd, frame->p, frame->len) < 0)
		return;
}

void screen_show(struct screen *s, struct span text, struct buf *out)
{
	if (s->fd >= 0) {
		out = &s->frame;
		buf_clear(out);
	}
	if (s->terminal) {
		draw(s, text, out);
	} else {
		buf_span(out, text);
		buf_putc(out, '\n');
	}
	if (s->fd >= 0)
		write_aside(s, out);
}

bool screen_quits(struct screen *s)
{
	char keys[64];
	ssize_t n = s->tty < 0 ? 0 : read(s->tty, keys, sizeof(keys));

	return n > 0 && (memchr(keys, 'q', (size_t)n) || memchr(keys, 'Q', (size_t)n));
}

void screen_close(struct screen *s)
{
	give_back();
	s->tty = -1;
}
