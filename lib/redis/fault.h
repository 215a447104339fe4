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

#endif
