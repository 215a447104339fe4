/* SPDX-License-Identifier: ISC */
/* What Redis says of a stream and of a group of its, and what follows: how far behind the group is,
 * and how many entries were trimmed or deleted before it had read them. */
#ifndef EVPIPE_RSUB_INFO_H
#define EVPIPE_RSUB_INFO_H

#include "redis/link.h"
#include "redis/id.h"

#include <stdbool.h>
#include <stdint.h>

struct info {
	bool is_there;
	bool has_first, has_added; /* an entry; 6.2 has no entries-added */
	uint64_t length, added;
	struct id first, last; /* the first entry; the last id ever given */
	bool has_group, has_read;
	struct id delivered; /* the last entry that the group has read */
	uint64_t read; /* how many it has read */
	uint64_t consumers, pending, own; /* pending of the group's, and of those the consumer's */
	struct id pending_first;
};

/* Takes the answer to MULTI, XINFO STREAM and, with @group, XINFO GROUPS and XPENDING, EXEC.
 * Returns SPAN_NONE, or the error for which it cannot be used, valid as long as the reply. A stream
 * that is not there is no error. */
struct span info_take(
	struct info *i, const struct link_reply *reply, const char *group, const char *consumer);

struct info_losses {
	bool has_base;
	int64_t base; /* entries that were lost before */
	bool had_unread; /* when it was looked at last … */
	struct id unread; /* … and the last of the entries that were not read */
	uint64_t read; /* likewise, how many were read, … */
	struct id delivered; /* … and the last of them */
	bool lost_count; /* Redis has fewer of them now, and the sum is not known anew yet */
	uint64_t lag; /* entries that are not read; of the last time when it was known */
	bool has_lag;
};
/* Compares with the last time. Returns how many entries were lost since; -1: some, but Redis does
 * not say how many. */
int64_t info_lost(struct info_losses *l, const struct info *i);
/* The group is gone: how many entries behind @read, the last one that its only consumer has read,
 * are gone too, by what the stream shows @now; @before is the last time, with the entries counted
 * that were read since. 0 where that is not known. */
int64_t info_passed(
	struct info_losses *l, const struct info *before, const struct info *now, struct id read);
/* The stream was deleted: how many unread entries went with it, as far as the last time @last
 * showed, if @read was read last; -1 as above. */
int64_t info_gone(const struct info_losses *l, const struct info *last, struct id read);

#endif
