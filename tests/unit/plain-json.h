/* SPDX-License-Identifier: ISC */
/* lib/json*.c built a second time, with plain loops, under other names: what the fast loops are
 * held against. */
#ifndef EVPIPE_PLAIN_JSON_H
#define EVPIPE_PLAIN_JSON_H

#include "json/json.h"

int plain_json_parse(struct span text, struct json_value *v, struct json *why);
int plain_json_unescape(struct buf *b, struct span text);
bool plain_json_escape(struct buf *b, struct span s);
bool plain_json_may_hold(struct span text, struct span plain);
const char *plain_json_seek(struct span text, size_t decoded);
bool plain_json_utf8(struct span s);

#endif
