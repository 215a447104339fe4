/* SPDX-License-Identifier: ISC */
#include "json/path.h"

#include "base/mem.h"

#include <stdlib.h>

/* name.p NULL: an index. */
struct step {
	struct span name;
	size_t index;
};

struct path {
	struct buf names; /* decoded, one behind the other */
	size_t count;
	struct step step[]; /* names point into another path's buffer for a parent */
};

static bool name_char(char c, bool first)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
		(!first && c >= '0' && c <= '9');
}

/* `name` */
static const char *parse_name(const char *s, struct step *step)
{
	const char *start = s;

	while (name_char(*s, s == start))
		s++;
	step->name = (struct span){start, (size_t)(s - start)};
	return s > start ? s : NULL;
}

/* `"any text"`, as in JSON. @s has BUF_SLACK bytes behind its end. */
static const char *parse_quoted(const char *s, struct step *step, struct buf *names)
{
	struct json_value v;
	struct json j;

	json_init(&j, (struct span){s, strlen(s)});
	if (*s != '"' || json_value(&j, &v) < 0)
		return NULL;
	/* names is large enough: it does not move. */
	return json_string(&v, names, &step->name) < 0 ? NULL : j.p;
}

/* `0]` or `"name"]` */
static const char *parse_bracket(const char *s, struct step *step, struct buf *names)
{
	if (*s == '"') {
		s = parse_quoted(s, step, names);
	} else {
		if (*s < '0' || *s > '9')
			return NULL;
		for (step->index = 0; *s >= '0' && *s <= '9'; s++) {
			if (step->index > UINT32_MAX)
				return NULL;
			step->index = step->index * 10 + (size_t)(*s - '0');
		}
	}
	return s && *s == ']' ? s + 1 : NULL;
}

static const char *parse_step(const char *s, bool first, struct step *step, struct buf *names)
{
	if (*s == '[')
		return parse_bracket(s + 1, step, names);
	if (*s++ != '.')
		return NULL;
	if (*s == '[' && first)
		return parse_bracket(s + 1, step, names);
	return *s == '"' ? parse_quoted(s, step, names) : parse_name(s, step);
}

static struct path *new_path(size_t steps)
{
	struct path *p = mem_alloc(sizeof(*p) + steps * sizeof(p->step[0]));

	memset(p, 0, sizeof(*p));
	return p;
}

struct path *path_parse(const char *s)
{
	size_t len = strlen(s);
	struct path *p;

	if (!len)
		return NULL;
	/* No step is shorter than two characters. The text is kept at the buffer's begin, for names
	 * without escapes are spans of it. */
	p = new_path(len / 2 + 1);
	buf_room(&p->names, 2 * len + 2 + BUF_SLACK);
	buf_put(&p->names, s, len + 1);
	if (strcmp(s, ".") == 0)
		return p;
	for (const char *at = p->names.p; *at; p->count++) {
		struct step *step = &p->step[p->count];

		*step = (struct step){0};
		at = parse_step(at, p->count == 0, step, &p->names);
		if (!at) {
			path_free(p);
			return NULL;
		}
	}
	return p;
}

void path_free(struct path *p)
{
	if (!p)
		return;
	buf_free(&p->names);
	free(p);
}

struct path *path_parent(const struct path *p, struct span *last)
{
	struct path *parent;

	if (!p->count || !p->step[p->count - 1].name.p)
		return NULL;
	*last = p->step[p->count - 1].name;
	parent = new_path(p->count);
	parent->count = p->count - 1;
	memcpy(parent->step, p->step, parent->count * sizeof(p->step[0]));
	return parent;
}

struct path *path_sibling(const struct path *p, struct span name)
{
	struct path *sibling = new_path(p->count);

	sibling->count = p->count;
	memcpy(sibling->step, p->step, p->count * sizeof(p->step[0]));
	sibling->step[p->count - 1].name = name;
	return sibling;
}

/* Moves on in the container that @step leads into. Returns 1 at the member on the path, 2 at
 * another element; 0 and -1 as json_next. */
static int next_member(struct json *j, const struct step *step, size_t *at)
{
	int ret;

	if (step->name.p)
		return json_member_named(j, step->name);
	ret = json_next(j, ']');
	return ret != 1 ? ret : (*at)++ == step->index ? 1 : 2;
}

int path_find(const struct path *p, struct span text, struct json_value *v, struct json *why)
{
	size_t at[JSON_DEPTH_MAX], level = 0;
	struct json_value other;
	struct json j;
	bool found = false, here = true;

	/* Walks the whole text: member by member in the containers on the path, every other value
	 * as a whole. When a member's name comes a second time, the value found in the first is
	 * forgotten. */
	json_init(&j, text);
	for (;;) {
		const struct step *step = &p->step[level];
		int ret;

		if (here)
			found = level == p->count;
		if (here && !found && json_peek(&j) == (step->name.p ? '{' : '[')) {
			if (json_enter(&j, step->name.p ? '{' : '[') < 0)
				break;
			at[level++] = 0;
		} else if (json_value(&j, here && found ? v : &other) < 0) {
			break;
		}
		/* Behind a value or an opening bracket. */
		for (ret = 0; level; level--) {
			ret = next_member(&j, &p->step[level - 1], &at[level - 1]);
			if (ret)
				break;
		}
		if (ret < 0)
			break;
		if (!level) {
			if (json_done(&j) < 0)
				break;
			if (!found)
				*v = (struct json_value){0};
			return found;
		}
		here = ret == 1;
	}
	if (why)
		*why = j;
	return -1;
}
