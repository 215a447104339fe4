/* SPDX-License-Identifier: ISC */
/* Other bridges of the same Kafka. A request for a consumer instance that is not here is handed on
 * to the one that has it: to the one that the instance's name names, else to one after the other
 * until one knows it. A request that was handed on is not handed on again. */
#ifndef KHTTP_PEERS_H
#define KHTTP_PEERS_H

#include "base/opt.h"
#include "khttp/route.h"

struct peers;

struct peers_opts {
	struct arg_str *urls, *timeout;
	struct arg_file *ca;
};
void peers_opts(struct peers_opts *o);
#define PEERS_ENTRIES(o) (o).urls, (o).ca, (o).timeout

/* @cert, @key: what is shown to a peer that wants a certificate; NULL. Returns NULL without
 * --peers. Dies with 100. */
struct peers *peers_open(
	struct khttp *k, const struct peers_opts *o, const char *cert, const char *key);
/* Hands the request on. @owner: "host:port", p NULL: not known. False: it cannot be, since @owner
 * is none of the peers, or the request came from one. */
bool peers_take(struct peers *ps, const struct call *c, struct span owner);
/* Whether a peer has handed the request on; then the answer 404 tells it to look elsewhere. */
bool peers_is_second(struct http_request *r);
void peers_say_unknown(struct http_request *r);
/* That it was let in: a refusal is the request's, not that of the bridge that hands it on. */
void peers_say_asked(struct http_request *r);

/* In the loop, as in consumer.h. NULL is no peers. */
int peers_fd(const struct peers *ps);
int peers_timeout_ms(const struct peers *ps);
void peers_serve(struct peers *ps);
/* SIGTERM has come: what waits for a peer is answered. */
void peers_leave(struct peers *ps);
/* The server has ended. */
void peers_close(struct peers *ps);

#endif
