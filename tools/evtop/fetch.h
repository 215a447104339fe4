/* SPDX-License-Identifier: ISC */
/* GET of one http or https URL, for a poll loop. */
#ifndef EVPIPE_EVTOP_FETCH_H
#define EVPIPE_EVTOP_FETCH_H

#include "base/buf.h"
#include "net/dial.h"
#include "net/tls.h"

struct fetch {
	char *url, *host, *path;
	char *name; /* of the host, without its port */
	struct dial dial;
	struct bytes_client *tls; /* NULL: http */
	struct bytes bytes; /* its fd is -1: not connected */
	bool has_shaken;
	struct buf request, answer;
	size_t sent;
	int64_t until_ms; /* then it has taken too long; 0: none is under way */
	char why[1536];
};

/* "http://HOST:PORT/PATH", "https://…", "HOST:PORT", "unix:PATH" (of a socket); without a path it
 * is /metrics. @config is for https, and lives on. Returns 0, or -1 with a sentence in f->why. */
int fetch_set(struct fetch *f, const char *url, const struct tls_config *config);
void fetch_start(struct fetch *f, int64_t now_ms);
int fetch_fd(const struct fetch *f);
short fetch_events(const struct fetch *f);
int fetch_timeout_ms(const struct fetch *f, int64_t now_ms);
/* Goes on. 1: *@body is there, valid until the next start; 0: not yet, or none is under way; -1:
 * failed, f->why says why. */
int fetch_step(struct fetch *f, short revents, int64_t now_ms, struct span *body);

#endif
