/* SPDX-License-Identifier: ISC */
/* The sentinels that watch over a primary and name it (redis.io/docs/reference/sentinel-clients).
 * To each of them there are two links: one asks, twice a second and at once when there is reason
 * to, the other one hears when a primary is about to change. More sentinels are learned from those
 * that are known. Never blocks, prints nothing. */
#ifndef EVPIPE_REDIS_SENTINEL_H
#define EVPIPE_REDIS_SENTINEL_H

#include "redis/link.h"
#include "redis/url.h"

#include <poll.h>

enum {
	SENTINELS_MAX = REDIS_AT_MAX,
	SENTINELS_FDS = 2 * SENTINELS_MAX,
};

struct sentinels;
/* Connects nothing yet. @url and @tls (NULL: plain) must live on. Free with sentinels_close. */
struct sentinels *sentinels_open(const struct redis_url *url, struct bytes_client *tls);
void sentinels_close(struct sentinels *s);

/* Appends to the loop's array; returns how many. sentinels_step takes them back, or NULL: they were
 * not polled. */
int sentinels_poll(struct sentinels *s, struct pollfd *p);
int sentinels_timeout_ms(const struct sentinels *s, int64_t now_ms);
void sentinels_step(struct sentinels *s, const struct pollfd *p, int64_t now_ms);
/* The time without a step was the caller's choice. */
void sentinels_heard(struct sentinels *s, int64_t now_ms);

/* Where the primary is; host NULL: no sentinel has named it. What most of them say, but that the
 * one who has changed its word last is right: it is the one that the others will follow. Valid
 * until the next step. */
const struct redis_at *sentinels_primary(const struct sentinels *s);
/* Asks all in the next step. */
void sentinels_ask(struct sentinels *s);
/* Whether one was asked at or after that time and has named the primary as it is known. */
bool sentinels_confirm(const struct sentinels *s, int64_t since_ms);
/* The primary was of no use: after a while another one is believed that a sentinel names, if one
 * does. */
void sentinels_blame(struct sentinels *s);
/* It was of use. */
void sentinels_praise(struct sentinels *s);
/* Since when none answers, though one had named a primary: another one would not be noticed. 0: one
 * does. */
int64_t sentinels_silent_ms(const struct sentinels *s);
/* Why no primary is named: of one that could not be reached, or, with EXIT_PERM, none could ever
 * name it. Status 0: the answers are still to come. */
struct trouble sentinels_why(const struct sentinels *s);

#endif
