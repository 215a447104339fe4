/* SPDX-License-Identifier: ISC */
/* The service manager behind $NOTIFY_SOCKET, as in sd_notify(3), and its watchdog. */
#ifndef EVPIPE_MANAGER_H
#define EVPIPE_MANAGER_H

#include "base/buf.h"

#include <stdbool.h>
#include <stdint.h>

/* Reads $NOTIFY_SOCKET, $WATCHDOG_USEC and $WATCHDOG_PID, and removes them, since they are not the
 * members'. Dies. */
void manager_open(void);
/* Whether there is one. */
bool manager_is_there(void);
/* Tells it @state, lines such as "READY=1\n" or "", and the first line of @text as STATUS=, unless
 * it was told so last. */
void manager_tell(const char *state, struct span text);
/* Milliseconds until the watchdog wants to hear of us; -1: never. */
int manager_watchdog_ms(int64_t now_ms);
/* The watchdog is due, and the unit is healthy or is not: only a healthy one says that it lives,
 * and what is not is asked for again soon. */
void manager_alive(bool is_healthy, int64_t now_ms);

#endif
