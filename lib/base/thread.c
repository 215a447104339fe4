/* SPDX-License-Identifier: ISC */
#define _GNU_SOURCE
#include "base/thread.h"

#include "base/wake.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>

/* Else it is the C library that chooses: 8 MiB, or 128 KiB, which are few for a resolver. */
enum { STACK_BYTES = 1 << 20 };

bool thread_start(pthread_t *thread, void *(*run)(void *), void *arg)
{
	sigset_t all, before;
	pthread_attr_t attr;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	errno = pthread_create(thread, &attr, run, arg);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	return !errno;
}

bool thread_join(pthread_t thread, int limit_ms)
{
	int64_t until = wake_now_ms() + limit_ms;

	while (pthread_tryjoin_np(thread, NULL)) {
		if (wake_now_ms() >= until)
			return false;
		poll(NULL, 0, 1);
	}
	return true;
}
