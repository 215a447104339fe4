/* SPDX-License-Identifier: ISC */
/* Key paths: .a.b[0], ."odd name", .a["odd name"], [0], and . for the whole. Found by the scanner,
 * without libjq. */
#ifndef EVPIPE_PATH_H
#define EVPIPE_PATH_H

#include "base/buf.h"
#include "json/json.h"

struct path;

/* NULL when @s is not of this form (it may still be a jq expression, as one with a negative index
 * is). Free with path_free. */
struct path *path_parse(const char *s);
void path_free(struct path *p);
/* A path of one step less, and the last step's name (decoded); NULL when the last step is an index
 * or there is none. The parent is new: free it, before @p, which owns the names. */
struct path *path_parent(const struct path *p, struct span *last);
/* The path with its last step's name replaced, for a path that has a parent. @p and @name must
 * outlive it; free it. */
struct path *path_sibling(const struct path *p, struct span name);
/* Finds the value in a JSON text (with BUF_SLACK behind it), which is validated whole. The last of
 * equal names counts. @v points into @text. 1 found, 0 not there (also: a step into a scalar), -1
 * not JSON (@why). */
int path_find(const struct path *p, struct span text, struct json_value *v, struct json *why);

#endif
