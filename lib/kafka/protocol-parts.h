/* SPDX-License-Identifier: ISC */
/* What the parts of protocol.c share. */
#ifndef EVPIPE_KAFKA_PROTOCOL_PARTS_H
#define EVPIPE_KAFKA_PROTOCOL_PARTS_H

#include "kafka/protocol.h"

static inline struct proto_in proto_in(struct span body)
{
	return (struct proto_in){body.p, body.p + body.len, false};
}

/* 0: the answer was read to its end, and fitted; else -1. */
static inline int proto_whole(const struct proto_in *in)
{
	return in->bad || in->p != in->end ? -1 : 0;
}

/* What versions with tagged fields have: lengths and counts of variable size, one more than they
 * say; tagged fields, which are skipped. */
void proto_put_compact(struct buf *b, const char *s);
struct span proto_compact_string(struct proto_in *in); /* SPAN_NONE: null */
int32_t proto_compact_count(struct proto_in *in, size_t least);
void proto_skip_tags(struct proto_in *in);

/* A copy; of what is null "". */
char *proto_text(struct span s);

#endif
