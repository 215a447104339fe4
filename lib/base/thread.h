/* SPDX-License-Identifier: ISC */
/* A thread for a call that only waits. It takes no signals: they are the loop's. */
#ifndef EVPIPE_THREAD_H
#define EVPIPE_THREAD_H

#include <pthread.h>
#include <stdbool.h>

/* Runs run(@arg) in a thread, which the caller joins or detaches. false: the system gives none, and
 * nothing was run; errno says why. */
bool thread_start(pthread_t *thread, void *(*run)(void *), void *arg);
/* Waits for the thread's end, and joins it. false: it has not ended within @limit_ms. Unlike
 * pthread_timedjoin_np it does not go by the wall's clock, which may be set meanwhile. */
bool thread_join(pthread_t thread, int limit_ms);

#endif
