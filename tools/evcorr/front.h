/* SPDX-License-Identifier: ISC */
/* What the parts of `evcorr http` share: calls by HTTP. */
#ifndef EVPIPE_EVCORR_FRONT_H
#define EVPIPE_EVCORR_FRONT_H

#include "evcorr/calls.h"
#include "http/http.h"
#include "http/tokens.h"

/* The list of headers that go from one side to the other. */
struct front_map {
	struct front_pair {
		char *from, *to;
	} * pairs;
	size_t count;
};

/* What CMD, where it is a program of ours, writes about itself. */
struct front_command {
	char *directory; /* its EVPIPE_DIR */
	int64_t look_ms; /* the next time */
	bool away; /* it cannot reach its server */
	struct buf metrics; /* its own, in one text */
};

struct front {
	struct calls calls;
	struct http *http;
	struct http_conf conf;
	struct front_map request_headers, reply_headers;
	struct arg_str *types; /* --content-type; all, when none is given */
	struct tokens tokens; /* --token-file */
	struct front_command command;
	int64_t max_timeout_ms;
	bool stopping; /* no request is taken any more */
	bool ended; /* by a second signal */
	int64_t away_ms; /* since when Redis or CMD's server is away; 0: they are there */
	struct front_call *first,
		*last; /* calls that answer 202 at a time of their own, in its order */
	uint64_t requests, answers, unavailable;
	struct buf record, scratch, text;
	int64_t now_ms;
};

/* ---- front-request.c ---- */

/* Handlers: a call; the reply to one that was answered with 202. */
void front_post(void *front, struct http_request *r);
void front_fetch(void *front, struct http_request *r);

/* ---- front-reply.c ---- */

/* A client that waits for a call, from its request to the end of its connection. */
struct front_call {
	struct front *front;
	struct http_request *request;
	uint64_t number; /* 0: the call has ended */
	struct span id; /* a copy; p NULL: not known yet */
	int64_t until_ms; /* its deadline since the epoch, -1: not known */
	int64_t accept_ms; /* when 202 is answered, with `next`; 0: never */
	bool is_fetch; /* of a reply; the cache keeps it */
	bool is_answered; /* with a reply that leaves the cache once the client has it */
	struct front_call *next, *previous;
};

/* A client that waits: it is freed when its request is over. */
struct front_call *front_wait(struct front *f, struct http_request *r);
/* Has it answered with 202 at that time, if there is no reply yet. */
void front_accept_at(struct front *f, struct front_call *c, int64_t accept_ms);
/* For calls_open. */
void front_result(void *front, const struct calls_result *result);
/* 202 with the place where the reply will be. */
void front_accept(struct front_call *c);
/* Answers those whose time has come; milliseconds to the next, -1 none. */
void front_accept_due(struct front *f, int64_t now_ms);
int front_due_ms(const struct front *f, int64_t now_ms);
/* 503, to be tried again in a second. */
__attribute__((format(printf, 3, 4))) void front_unavailable(
	struct front *f, struct http_request *r, const char *fmt, ...);

/* ---- front-command.c ---- */

/* Makes the directory, before CMD is started; calls_opts.directory is its name. It goes when we
 * end, be it by SIGKILL. Dies with 111. */
void front_command_open(struct front_command *c);
/* Looks once a second. Returns milliseconds until the next look. */
int front_command_look(struct front_command *c, int64_t now_ms);

#endif
