/* SPDX-License-Identifier: ISC */
#define _GNU_SOURCE
#include "base/wake.h"

#include "base/msg.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int pipe_fds[2] = {-1, -1};
static int stops;
static bool hup_reloads;
static int hups; /* that have come since then */

/* EAGAIN: the pipe is full, so the loop will wake. On any other error try again: a signal must not
 * be lost. */
static void put(unsigned char byte)
{
	for (int tries = 0; tries < 5 && write(pipe_fds[1], &byte, 1) < 0 && errno != EAGAIN;
		tries++)
		;
}

static void on_signal(int sig)
{
	int saved = errno;

	put((unsigned char)sig);
	errno = saved;
}

int wake_open(void)
{
	static const int stop_signals[] = {SIGTERM, SIGINT, SIGHUP};
	struct sigaction sa = {.sa_handler = on_signal, .sa_flags = SA_RESTART};

	if (pipe2(pipe_fds, O_NONBLOCK | O_CLOEXEC))
		die(EXIT_TEMP, "cannot make a pipe: %s", msg_errno(errno));
	for (size_t i = 0; i < sizeof(stop_signals) / sizeof(*stop_signals); i++) {
		struct sigaction old;

		/* Under nohup SIGHUP comes ignored, and stays so. */
		if (sigaction(stop_signals[i], NULL, &old) == 0 && old.sa_handler == SIG_IGN &&
			stop_signals[i] == SIGHUP)
			continue;
		sigaction(stop_signals[i], &sa, NULL);
	}
	signal(SIGPIPE, SIG_IGN);
	return pipe_fds[0];
}

int wake_stops(void)
{
	unsigned char bytes[64];
	ssize_t n;

	while ((n = read(pipe_fds[0], bytes, sizeof(bytes))) > 0)
		for (ssize_t i = 0; i < n; i++)
			if (bytes[i] == SIGHUP && hup_reloads)
				hups++;
			else
				stops += bytes[i] != 0;
	return stops;
}

void wake_hup_reloads(void)
{
	hup_reloads = true;
}

int wake_hups(void)
{
	return hups;
}

bool wake_must_end(bool input_ended)
{
	static int at_end = -1;
	static bool told;

	wake_stops();
	if (input_ended && at_end < 0)
		at_end = stops;
	if (stops == 1 && !input_ended && !told) {
		msg_warn(
			"a signal came: waiting for the end of input; a second signal ends it at once");
		told = true;
	}
	return stops > 1 || (input_ended && stops > at_end);
}

bool wake_signalled(void)
{
	return stops;
}

bool wake_stopped(void)
{
	const char *directory = getenv("EVPIPE_DIR");
	char path[PATH_MAX];

	if (wake_stops())
		return true;
	return directory && snprintf(path, sizeof(path), "%s/stopping", directory) < PATH_MAX &&
		access(path, F_OK) == 0;
}

void wake_poke(void)
{
	put(0);
}

int64_t wake_now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * INT64_C(1000000) + ts.tv_nsec / 1000;
}

void wake_poll_failed(void)
{
	/* Linux: EINVAL when there are more of them than RLIMIT_NOFILE allows. */
	if (errno != EINTR)
		die(EXIT_TEMP, "cannot poll: %s", msg_errno(errno == EINVAL ? EMFILE : errno));
}

int64_t wake_now_ms(void)
{
	return wake_now_us() / 1000;
}

int64_t wake_epoch_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return ts.tv_sec * INT64_C(1000) + ts.tv_nsec / 1000000;
}

int64_t wake_backoff_ms(int64_t *ms, int64_t min_ms, int64_t max_ms)
{
	*ms = *ms ? *ms * 2 : min_ms;
	if (*ms > max_ms)
		*ms = max_ms;
	/* Up to a quarter less, so that the clients of one server do not all come back at once. */
	return *ms -
		(int64_t)(((uint64_t)wake_now_us() * 2654435761u >> 7) % (uint64_t)(*ms / 4 + 1));
}
