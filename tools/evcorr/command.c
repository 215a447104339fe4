/* SPDX-License-Identifier: ISC */
/* CMD, which takes requests to their topic. */
#include "evcorr/parts.h"

#include "base/mem.h"
#include "base/msg.h"

#include "base/wake.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>

enum { END_MS = 5000 };

void command_start(struct calls *c, const struct calls_opts *o)
{
	int error;

	c->argv = opt_command(o->command);
	child_apart();
	if (o->directory)
		setenv("EVPIPE_DIR", o->directory, 1);
	error = child_open(&c->child, c->argv, CALLS_FILLING_MAX);
	if (error)
		die(msg_errno_status(error), "cannot run '%s': %s", c->argv[0], msg_errno(error));
}

static void on_command_end(struct calls *c, enum child_state state)
{
	bool has_read = c->ends_input && !c->filling.len && !c->child.input.len;
	int code = WIFEXITED(c->child.wait_status) ? WEXITSTATUS(c->child.wait_status) : -1;
	char why[200] = "exited with status 0";

	c->has_ended = true;
	if (state == CHILD_FAILED)
		child_why(&c->child, why, sizeof(why));
	else if (has_read)
		return;
	trouble_set(&c->trouble, code == EXIT_PERM ? EXIT_PERM : EXIT_TEMP, "'%s' %s%s", c->argv[0],
		why, has_read ? "" : " before its input ended");
}

/* It may hold requests for a Kafka that is away. */
static void end_command(struct calls *c)
{
	if (c->table.count || !c->ends_input) {
		c->end_by_ms = 0;
	} else if (!c->end_by_ms) {
		c->end_by_ms = c->now_ms + END_MS;
	} else if (c->now_ms >= c->end_by_ms) {
		msg_warn("'%s' does not end, and no call is left: it is killed", c->argv[0]);
		child_kill(&c->child);
		c->has_ended = true;
	}
}

void command_serve(struct calls *c, const struct pollfd *p)
{
	enum child_state state;

	if (!c->argv || c->has_ended)
		return;
	state = child_serve(&c->child, p);
	buf_clear(&c->child.output);
	if (state != CHILD_RUNS)
		on_command_end(c, state);
	else
		end_command(c);
}

void command_feed(struct calls *c)
{
	struct buf given = c->giving;

	if (!c->argv || c->has_ended || c->child.input.len || c->child.in_fd < 0)
		return;
	if (c->filling.len) {
		c->giving = c->filling;
		c->filling = given;
		buf_clear(&c->filling);
		child_give(&c->child, buf_as_span(&c->giving));
	}
	if (c->ends_input && !c->filling.len && !c->child.input.len)
		child_end_input(&c->child);
}
