/* SPDX-License-Identifier: ISC */
/* What an error reply means for the command, the server and the program. */
#ifndef EVPIPE_REDIS_FAULT_H
#define EVPIPE_REDIS_FAULT_H

#include "base/buf.h"

enum redis_fault {
	REDIS_FAULT_COMMAND, /* of this command alone */
	REDIS_FAULT_AWAY, /* the server cannot serve now: try again later, or elsewhere */
	REDIS_FAULT_CONFIG, /* login or permission: exit 100 */
};
enum redis_fault redis_fault(struct span error);

#endif
