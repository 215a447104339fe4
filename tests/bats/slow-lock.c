/* SPDX-License-Identifier: ISC */
/* Preloaded: a program's first thread sleeps behind every fourth lock that it gives back. So
 * librdkafka's own threads come in between wherever they can. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <threads.h>
#include <time.h>

static thrd_t first;
static int (*next)(mtx_t *);

__attribute__((constructor)) static void begin(void)
{
	first = thrd_current();
	next = (int (*)(mtx_t *))dlsym(RTLD_NEXT, "mtx_unlock");
}

int mtx_unlock(mtx_t *lock)
{
	static unsigned count;
	int ret = next(lock);

	if (thrd_equal(thrd_current(), first) && count++ % 4 == 0)
		nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
	return ret;
}
