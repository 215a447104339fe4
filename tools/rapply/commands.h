/* SPDX-License-Identifier: ISC */
/* Records to Redis commands. */
#ifndef EVPIPE_RAPPLY_COMMANDS_H
#define EVPIPE_RAPPLY_COMMANDS_H

#include "base/buf.h"
#include "record/record.h"

#include <stdbool.h>
#include <stdint.h>

/* Words of a command that a script calls: Lua passes no more than 8000. */
enum { COMMANDS_SCRIPT_WORDS = 7000 };

enum commands_form { COMMANDS_AS_COMMAND, COMMANDS_AS_STRING, COMMANDS_AS_HASH };

struct commands {
	enum commands_form form; /* --as */
	const char *const *allowed; /* --allow: names of dangerous commands */
	int allowed_count;
	struct span
		/* no command may name a key that begins with this; p NULL: no such keys */
		positions;
	/* Records are applied by scripts: a record's commands may hang together, and need no script
	 * of their own for that. */
	bool in_script;
	/* Of the record that was put last, in a script: no command behind a refused one is called.
	 */
	bool hangs_together;
	/* internal */
	struct buf payload, key, text;
	char passed[32]; /* the name of a command that was found to be harmless */
	size_t passed_len;
};

/* Whether --allow takes this name: a dangerous command, that is not refused whatever is allowed. If
 * not, @why is a sentence. */
bool commands_can_allow(const char *name, const char **why);
/* Appends the record's commands in RESP, and counts them. Returns 0, or -1 with @e and @out as it
 * was. */
int commands_put(struct commands *c, const struct record *r, struct buf *out, uint32_t *count,
	struct record_error *e);
void commands_free(struct commands *c);

#endif
