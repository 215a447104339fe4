/* SPDX-License-Identifier: ISC */
#define _GNU_SOURCE
#include "redis/fault.h"

#include <string.h>

/* "@user_script:1: WRONGTYPE …", "@user_script: 1: -OOM …". */
struct span redis_cause(struct span error)
{
	static const char script[] = "@user_script:";
	const size_t len = sizeof(script) - 1;
	const char *end = error.p + error.len, *p, *number;

	if (!span_starts(error, "ERR Error running script") && !span_starts(error, script))
		return error;
	while ((p = memmem(error.p, (size_t)(end - error.p), script, len))) {
		p += len;
		p += p < end && *p == ' ';
		for (number = p; p < end && *p >= '0' && *p <= '9'; p++)
			;
		if (p == number || end - p < 2 || memcmp(p, ": ", 2))
			break;
		p += 2;
		error.p = p + (p < end && *p == '-');
	}
	error.len = (size_t)(end - error.p);
	return error;
}

/* What its rights are is no fault of a script. */
static bool is_denied_in_script(struct span error)
{
	static const char acl[] = "The user executing the script";

	return memmem(error.p, error.len, acl, sizeof(acl) - 1);
}

bool redis_is_denied(struct span error)
{
	static const char abort[] = "EXECABORT Transaction discarded because of: ";

	if (span_starts(error, abort))
		error = (struct span){error.p + sizeof(abort) - 1, error.len - sizeof(abort) + 1};
	return is_denied_in_script(error) || span_starts(redis_cause(error), "NOPERM");
}

enum redis_fault redis_fault(struct span error)
{
	/* A redirection comes to a program that was given one server of a cluster: the client of a
	 * cluster follows it. */
	static const char *const config[] = {
		"NOAUTH", "NOPERM", "WRONGPASS", "DENIED", "MOVED ", "ASK ", "CROSSSLOT"};
	static const char *const away[] = {"LOADING", "MASTERDOWN", "TRYAGAIN", "BUSY ",
		"CLUSTERDOWN", "READONLY", "OOM ", "MISCONF", "NOREPLICAS", "UNBLOCKED",
		"EXECABORT", "ERR max number of clients"};

	if (is_denied_in_script(error))
		return REDIS_FAULT_CONFIG;
	error = redis_cause(error);
	for (size_t i = 0; i < sizeof(config) / sizeof(*config); i++)
		if (span_starts(error, config[i]))
			return REDIS_FAULT_CONFIG;
	for (size_t i = 0; i < sizeof(away) / sizeof(*away); i++)
		if (span_starts(error, away[i]))
			return REDIS_FAULT_AWAY;
	return REDIS_FAULT_COMMAND;
}
