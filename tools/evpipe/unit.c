/* SPDX-License-Identifier: ISC */
/* A name is taken by binding an abstract socket to it: the kernel gives it up when the process
 * ends, however it ends, and nothing is left in a file system. */
#include "evpipe/unit.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { MOST = 1000 }; /* units of one name */

const char *unit_take_name(const char *name)
{
	static char taken[80];
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	/* It stays open until the end. */
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	for (int i = 1; fd >= 0 && i <= MOST; i++) {
		int n;

		snprintf(taken, sizeof(taken), i > 1 ? "%s-%d" : "%s", name, i);
		n = snprintf(a.sun_path + 1, sizeof(a.sun_path) - 1, "evpipe-unit/%s", taken);
		if (bind(fd, (struct sockaddr *)&a,
			    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n)) ==
			0)
			return taken;
		if (errno != EADDRINUSE)
			break;
	}
	if (fd >= 0)
		close(fd);
	return NULL;
}
