/* SPDX-License-Identifier: ISC */
#include "evpipe/manager.h"

#include "base/msg.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* Between two looks whether an unhealthy unit is healthy again, when the watchdog waits. */
enum { AGAIN_MS = 200 };

static struct {
	int fd; /* -1: none */
	struct sockaddr_un address;
	socklen_t address_len;
	char told[512]; /* last */
	int64_t alive_ms, alive_due_ms; /* how often the watchdog is told; 0: never */
} self = {.fd = -1};

static void open_watchdog(void)
{
	const char *usec = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
	long long us = usec ? atoll(usec) : 0;

	if (us > 0 && (!pid || atoll(pid) == getpid()))
		self.alive_ms = us / 2000 ? us / 2000 : 1;
}

void manager_open(void)
{
	const char *path = getenv("NOTIFY_SOCKET");

	if (path && (*path == '/' || *path == '@')) {
		self.address.sun_family = AF_UNIX;
		if (strlen(path) >= sizeof(self.address.sun_path))
			die(EXIT_PERM, "$NOTIFY_SOCKET is longer than a socket's path can be");
		memcpy(self.address.sun_path, path, strlen(path));
		self.address_len =
			(socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
		if (*path == '@')
			self.address.sun_path[0] = '\0';
		self.fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		if (self.fd < 0)
			die(EXIT_TEMP, "cannot make a socket: %s", msg_errno(errno));
		open_watchdog();
	}
	unsetenv("NOTIFY_SOCKET");
	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
}

bool manager_is_there(void)
{
	return self.fd >= 0;
}

static void say(const char *text, size_t len)
{
	if (sendto(self.fd, text, len, MSG_NOSIGNAL | MSG_DONTWAIT,
		    (struct sockaddr *)&self.address, self.address_len) < 0)
		msg_warn("cannot write to $NOTIFY_SOCKET: %s", strerror(errno));
}

void manager_tell(const char *state, struct span text)
{
	struct buf b = {0};
	size_t line = 0;

	if (self.fd < 0)
		return;
	while (line < text.len && text.p[line] != '\n')
		line++;
	buf_printf(&b, "%sSTATUS=%.*s\n", state, (int)(line < 300 ? line : 300), text.p);
	buf_putc(&b, '\0');
	if (strcmp(b.p, self.told) != 0) {
		snprintf(self.told, sizeof(self.told), "%s", b.p);
		say(b.p, b.len - 1);
	}
	buf_free(&b);
}

int manager_watchdog_ms(int64_t now_ms)
{
	if (!self.alive_ms)
		return -1;
	return now_ms < self.alive_due_ms ? (int)(self.alive_due_ms - now_ms) : 0;
}

void manager_alive(bool is_healthy, int64_t now_ms)
{
	static const char text[] = "WATCHDOG=1\n";

	if (is_healthy)
		say(text, sizeof(text) - 1);
	self.alive_due_ms = now_ms +
		(is_healthy || self.alive_ms < AGAIN_MS ? self.alive_ms : (int64_t)AGAIN_MS);
}
