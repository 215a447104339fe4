/* SPDX-License-Identifier: ISC */
#include "net/keepalive.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

enum { PROBES = 3 };

static void set(int fd, int level, int name, unsigned value)
{
	setsockopt(fd, level, name, &value, sizeof(value));
}

void keepalive_set(int fd, unsigned quiet_s, unsigned unheard_s)
{
	unsigned first_s = quiet_s / 2, between_s = quiet_s / 2 / PROBES;

	set(fd, IPPROTO_TCP, TCP_KEEPIDLE, first_s ? first_s : 1);
	set(fd, IPPROTO_TCP, TCP_KEEPINTVL, between_s ? between_s : 1);
	set(fd, IPPROTO_TCP, TCP_KEEPCNT, PROBES);
	set(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
	if (unheard_s)
		set(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, unheard_s * 1000);
}
