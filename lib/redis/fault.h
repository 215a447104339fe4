/* SPDX-License-Identifier: ISC */
/* Error replies by their consequence. */
#ifndef EVPIPE_REDIS_FAULT_H
#define EVPIPE_REDIS_FAULT_H

#include "base/buf.h"

enum redis_fault {
	REDIS_FAULT_COMMAND, /* of this command alone */
	REDIS_FAULT_AWAY, /* the server cannot serve now: try again later, or elsewhere */
	REDIS_FAULT_CONFIG, /* login or permission: exit 100 */
};
enum redis_fault redis_fault(struct span error);
/* Whether the user lacks a right. */
bool redis_is_denied(struct span error);
/* What a command in a script has said: a server before Redis 7 puts the script's name in front of
 * it, and where in the script. Else @error. */
struct span redis_cause(struct span error);

#endif
