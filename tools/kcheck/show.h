/* SPDX-License-Identifier: ISC */
/* What kcheck prints. */
#ifndef EVPIPE_KCHECK_SHOW_H
#define EVPIPE_KCHECK_SHOW_H

#include "base/buf.h"
#include "kafka/check.h"
#include "kcheck/views.h"

struct show {
	bool json, colour;
};

/* Appends the line of a listener that is judged. */
void show_listener(const struct show *s, struct buf *b, const struct check_listener *l);
/* Appends what a verdict has to say beyond "good". Returns whether it is good. */
bool show_verdict(const struct show *s, struct buf *b, const struct check_verdict *v);
/* The last line, when all are good. Nothing as JSON, where the lines have the verdicts; this and
 * the last. */
void show_good(const struct show *s, struct buf *b);
/* The list of topics is empty. */
void show_no_topic(const struct show *s, struct buf *b);

/* Appends the cluster and its brokers. */
void show_cluster(const struct show *s, struct buf *b, const struct check *c);
/* @asked_time: with the offsets at a time. */
void show_topic(const struct show *s, struct buf *b, const struct view_topic *t, bool asked_time);
void show_group(const struct show *s, struct buf *b, const struct view_group *g);

#endif
