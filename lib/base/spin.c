/* SPDX-License-Identifier: ISC */
#define _GNU_SOURCE
#include "base/spin.h"

#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Longer and longer: what is due within the wait is late by as much. */
enum { EMPTY_MAX = 2, WAIT_US = 200, WAIT_STEP_US = 100, WAIT_MAX_US = 1000 };

static _Thread_local bool may_spin;
static _Thread_local unsigned empty; /* polls without waiting and without an event, in a row */

void spin_end(void)
{
	may_spin = true;
}

/* In place of a poll that would find nothing once more. */
static int wait_instead(struct pollfd *fds, nfds_t count)
{
	long us = WAIT_US + (long)(empty - EMPTY_MAX) * WAIT_STEP_US;
	struct timespec t = {0, (us < WAIT_MAX_US ? us : WAIT_MAX_US) * 1000};

	return ppoll(fds, count, &t, NULL);
}

/* The system call that libc makes. */
static int poll_as_asked(struct pollfd *fds, nfds_t count, int timeout_ms)
{
#ifdef SYS_poll
	return (int)syscall(SYS_poll, fds, count, timeout_ms);
#else
	struct timespec t = {timeout_ms / 1000, (long)(timeout_ms % 1000) * 1000000};

	return ppoll(fds, count, timeout_ms < 0 ? NULL : &t, NULL);
#endif
}

int poll(struct pollfd *fds, nfds_t count, int timeout_ms)
{
	bool waits = timeout_ms != 0;
	int n;

	if (may_spin && !waits && empty >= EMPTY_MAX)
		n = wait_instead(fds, count);
	else
		n = poll_as_asked(fds, count, timeout_ms);
	empty = n || waits ? 0 : empty + 1;
	return n;
}

/* What glibc makes of poll() in a library that is built with _FORTIFY_SOURCE, as Debian's are. */
int __poll_chk(struct pollfd *fds, nfds_t count, int timeout_ms, size_t size);
int __poll_chk(struct pollfd *fds, nfds_t count, int timeout_ms, size_t size)
{
	if (size / sizeof(*fds) < count)
		abort();
	return poll(fds, count, timeout_ms);
}
