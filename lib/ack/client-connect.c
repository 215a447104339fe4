/* SPDX-License-Identifier: ISC */
/* The way to the source's socket. */
#define _GNU_SOURCE
#include "ack/client-parts.h"

#include "base/msg.h"
#include "base/wake.h"
#include "net/peers.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
	CONNECT_MS = 10000, /* for a source to listen */
	ABSENT_MAX_MS =
		1000, /* the longest time between two looks for a socket that need not come */
};

void ack_opts(struct ack_opts *o)
{
	o->path = arg_file0(NULL, "ack", "PATH",
		"socket of acknowledgements, of the pipeline's source (default $EVPIPE_ACK)");
}

const char *ack_path(const struct ack_opts *o)
{
	const char *path = opt_file(o->path, "--ack");

	if (!path)
		path = getenv("EVPIPE_ACK");
	return path && *path ? path : NULL;
}

bool ack_is_evpipes(const char *path)
{
	const char *directory = getenv("EVPIPE_DIR");
	size_t n = directory ? strlen(directory) : 0;

	return n && strncmp(path, directory, n) == 0 && strcmp(path + n, "/ack") == 0;
}

void ack_client_close(struct ack *a, enum ack_state next)
{
	if (a->fd >= 0)
		close(a->fd);
	a->fd = -1;
	a->state = next;
}

void ack_open(struct ack *a, const char *path, enum ack_role role)
{
	*a = (struct ack){.fd = -1,
		.path = path,
		.role = role,
		.on = path,
		.optional = path && ack_is_evpipes(path),
		/* A source takes a sink for busy and a filter for idle. */
		.idle = role == ACK_FILTER,
		.idle_reported = role == ACK_FILTER};
}

/* In a directory that others can write to, another user may listen first. */
static bool is_foreign(struct ack *a)
{
	uid_t uid;

	if (peers_trust(a->fd, &uid))
		return false;
	trouble_set(&a->trouble, EXIT_PERM,
		"the acknowledgement socket '%s' is another user's (uid %ld): give a path in a directory of your own",
		a->path, (long)uid);
	ack_client_close(a, ACK_CLOSED);
	return true;
}

static void say_hello(struct ack *a)
{
	static const char *const roles[] = {"filter", "sink", "txn"};

	buf_printf(&a->out, "hello %s %ld %s%s\n", msg_prog(), (long)getpid(), roles[a->role],
		a->keeper || a->keeps_place ? " position" : "");
	a->state = ACK_WAITING;
}

short ack_client_input(void)
{
	struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};

	return poll(&p, 1, 0) == 1 ? p.revents : 0;
}

/* A source that is told to stop, or has nothing to read, may end before a filter or sink has
 * connected. Nothing came from it and nothing will come: there is nothing to acknowledge. */
static bool nothing_came(short input)
{
	return (input & POLLHUP) && !(input & POLLIN);
}

static void turn_off(struct ack *a)
{
	ack_client_close(a, ACK_CLOSED);
	a->on = false;
}

/* There is no socket at evpipe's path. @input: the events of standard input before the connect. */
static void wait_for_source(struct ack *a, short input, int64_t now_ms)
{
	a->absent = true;
	if (!input) {
		ack_client_close(a, ACK_CONNECTING);
		a->give_up_ms = now_ms + CONNECT_MS;
		a->retry_ms = now_ms + wake_backoff_ms(&a->backoff_ms, ACK_RETRY_MS, ABSENT_MAX_MS);
		return;
	}
	turn_off(a);
	if (a->role == ACK_TXN) {
		a->on = true;
		trouble_set(&a->trouble, EXIT_PERM,
			"records come, but no source that could be asked for their positions: the pipeline begins with kread -g or rsub -s -g");
	}
}

static void on_no_source(struct ack *a, int error, short input, int64_t now_ms)
{
	a->absent = false;
	if (error != ENOENT && error != ECONNREFUSED && error != EAGAIN && error != EINTR) {
		trouble_set(&a->trouble, EXIT_PERM,
			"cannot connect to the acknowledgement socket '%s': %s", a->path,
			msg_errno(error));
		ack_client_close(a, ACK_CLOSED);
	} else if (nothing_came(input)) {
		turn_off(a);
	} else if (a->optional && error == ENOENT) {
		wait_for_source(a, input, now_ms);
	} else if (now_ms >= a->give_up_ms) {
		trouble_set(&a->trouble, EXIT_TEMP,
			"no source listens on the acknowledgement socket '%s': give the same --ack (or $EVPIPE_ACK) to the source, or none to any",
			a->path);
		ack_client_close(a, ACK_CLOSED);
	} else {
		ack_client_close(a, ACK_CONNECTING);
		a->retry_ms = now_ms + ACK_RETRY_MS;
	}
}

void ack_client_connect(struct ack *a, bool input_came, int64_t now_ms)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	short input;

	if (!a->give_up_ms)
		a->give_up_ms = now_ms + CONNECT_MS;
	if (now_ms < a->retry_ms && !input_came)
		return;
	if (strlen(a->path) >= sizeof(address.sun_path)) {
		trouble_set(&a->trouble, EXIT_PERM, "--ack: the path '%s' is longer than %zu bytes",
			a->path, sizeof(address.sun_path) - 1);
		ack_client_close(a, ACK_CLOSED);
		return;
	}
	memcpy(address.sun_path, a->path, strlen(a->path));
	a->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (a->fd < 0)
		die(EXIT_TEMP, "cannot make a socket: %s", msg_errno(errno));
	/* Before the connect: a source that has printed this input listens by now. */
	input = ack_client_input();
	if (connect(a->fd, (struct sockaddr *)&address, sizeof(address)))
		on_no_source(a, errno, input, now_ms);
	else if (!is_foreign(a))
		say_hello(a);
}
