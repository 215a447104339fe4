/* SPDX-License-Identifier: ISC */
#include "rapply/names.h"

#include <strings.h>

static bool is_in(const char *const *names, struct span name)
{
	for (; *names; names++)
		if (strlen(*names) == name.len && strncasecmp(*names, name.p, name.len) == 0)
			return true;
	return false;
}

enum name_kind names_kind(struct span name)
{
	/* SELECT within MULTI would write the position into another database. */
	static const char *const never[] = {"MULTI", "EXEC", "DISCARD", "WATCH", "UNWATCH",
		"SELECT", "AUTH", "HELLO", "RESET", "QUIT", "CLIENT", "SUBSCRIBE", "PSUBSCRIBE",
		"SSUBSCRIBE", "UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE", "MONITOR", "SYNC",
		"PSYNC", "REPLCONF", "REPLICAOF", "SLAVEOF", "ASKING", "READONLY", "READWRITE",
		"WAIT", "WAITAOF", NULL};
	static const char *const dangerous[] = {"FLUSHALL", "FLUSHDB", "CONFIG", "DEBUG", "EVAL",
		"EVALSHA", "EVAL_RO", "EVALSHA_RO", "FCALL", "FCALL_RO", "SCRIPT", "FUNCTION",
		"KEYS", "SWAPDB", "MIGRATE", "SHUTDOWN", "ACL", "MODULE", "CLUSTER", "FAILOVER",
		"SAVE", "BGSAVE", "BGREWRITEAOF", NULL};

	if (is_in(never, name))
		return NAME_NEVER;
	return is_in(dangerous, name) ? NAME_DANGEROUS : NAME_HARMLESS;
}
