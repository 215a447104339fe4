/* SPDX-License-Identifier: ISC */
/* The unit's name among those that run on this host. */
#ifndef EVPIPE_UNIT_H
#define EVPIPE_UNIT_H

/* Takes @name, or @name with the lowest number from 2 on that is free, until this process ends.
 * Returns the name taken, or NULL where none can be had. Another evpipe in the same network
 * namespace does not get it meanwhile; after a SIGKILL it is free at once. */
const char *unit_take_name(const char *name);

#endif
