/* SPDX-License-Identifier: ISC */
#include "redis/fault.h"

enum redis_fault redis_fault(struct span error)
{
	/* A redirection comes to a program that was given one server of a cluster: the client of a cluster follows it. */
	static const char *const config[] = {
		"NOAUTH", "NOPERM", "WRONGPASS", "DENIED", "MOVED ", "ASK ", "CROSSSLOT"};
	static const char *const away[] = {"LOADING", "MASTERDOWN", "TRYAGAIN", "BUSY ",
		"CLUSTERDOWN", "READONLY", "OOM ", "MISCONF", "NOREPLICAS", "UNBLOCKED",
		"EXECABORT", "ERR max number of clients"};

	for (size_t i = 0; i < sizeof(config) / sizeof(*config); i++)
		if (span_starts(error, config[i]))
			return REDIS_FAULT_CONFIG;
	for (size_t i = 0; i < sizeof(away) / sizeof(*away); i++)
		if (span_starts(error, away[i]))
			return REDIS_FAULT_AWAY;
	return REDIS_FAULT_COMMAND;
}
