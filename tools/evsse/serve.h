/* SPDX-License-Identifier: ISC */
/* The paths of the server: streams, the page, health and metrics; who may read them. */
#ifndef EVSSE_SERVE_H
#define EVSSE_SERVE_H

#include "evsse/evsse.h"

/* Dies with 100 when it cannot listen there. @path: "/events/{topic}", or one without {topic}.
 * @limits: memory, idle_s and the files for TLS. */
void serve_open(
	struct evsse *s, const char *listen, const char *path, const struct http_conf *limits);
void serve_close(struct evsse *s);

#endif
