/* SPDX-License-Identifier: ISC */
/* What the parts of check.c share. */
#ifndef EVPIPE_KAFKA_CHECK_PARTS_H
#define EVPIPE_KAFKA_CHECK_PARTS_H

#include "kafka/check.h"

/* Fills in l->verdict of a listener that is done. */
void check_judge(const struct check *c, struct check_listener *l);
/* A look has found out what the address is. */
bool check_knows(const struct check_address *a);

/* A judgement under way. */
struct judge {
	const struct check *c;
	const struct check_listener *l;
	const struct check_address
		*a; /* the one that came farthest; NULL: the name does not resolve */
	struct check_verdict *v;
};

/* The sentence, behind the listener's name. */
__attribute__((format(printf, 3, 4))) void judge_say(
	struct judge *j, int status, const char *fmt, ...);
/* More for the remedy. */
__attribute__((format(printf, 2, 3))) void judge_advise(struct judge *j, const char *fmt, ...);
/* An address as it stands before a port: "[::1]", "127.0.0.1". Writes it to @text, and returns
 * that. */
char *judge_bracket(const char *address, char *text, size_t size);
/* How to reach an advertised address in another way. */
void judge_advise_address(struct judge *j);
/* The name does not resolve. */
void judge_name(struct judge *j);
/* Returns whether what a broker advertises is no address, which is said then. */
bool judge_form(struct judge *j);
/* Nothing listens at the address, or there is no way to it; or no answer comes. */
void judge_unreached(struct judge *j);
/* It can be used; and yet there may be something to say. */
void judge_good(struct judge *j);

#endif
