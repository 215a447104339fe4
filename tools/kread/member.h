/* SPDX-License-Identifier: ISC */
/* Under which name this process is a member of its group.
 *
 * A static member (group.instance.id) that is killed and started anew takes its partitions over at
 * once; a dynamic one comes as a stranger, and the partitions wait for the session of the dead one
 * to end. It also does not leave the group when it stops, so that a restart moves nothing; hence
 * the short session. */
#ifndef EVPIPE_KREAD_MEMBER_H
#define EVPIPE_KREAD_MEMBER_H

/* "evpipe-UNIT-HOST-BOOT": a name that the unit has again when it is started anew, and that no
 * other has: evpipe's $EVPIPE_UNIT, the host's name, and a number of its present boot, since hosts
 * may share a name. NULL without $EVPIPE_UNIT. Static. */
const char *member_name(void);

#endif
