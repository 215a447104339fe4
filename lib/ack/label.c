/* SPDX-License-Identifier: ISC */
#include "ack/label.h"

/* Takes a number from the front of @s. Returns 0 if no number of this form stands there. */
static uint64_t take_number(struct span *s)
{
	uint64_t n = 0;
	size_t i = 0;

	if (!s->len || s->p[0] == '0')
		return 0;
	for (; i < s->len && s->p[i] >= '0' && s->p[i] <= '9'; i++) {
		if (i == 19)
			return 0;
		n = n * 10 + (uint64_t)(s->p[i] - '0');
	}
	s->p += i;
	s->len -= i;
	return n > INT64_MAX ? 0 : n;
}

static bool take_char(struct span *s, char c)
{
	if (!s->len || *s->p != c)
		return false;
	s->p++;
	s->len--;
	return true;
}

static bool take_range(struct span *s, uint64_t *from, uint64_t *to)
{
	*from = *to = take_number(s);
	if (*from && take_char(s, '-'))
		*to = take_number(s);
	return *from && *to >= *from;
}

static int take_parts(struct label *l, struct span *s)
{
	uint64_t part = take_number(s), parts;

	if (!part || !take_char(s, '/'))
		return -1;
	parts = take_number(s);
	if (part > parts || parts > LABEL_PARTS_MAX)
		return -1;
	l->part = (uint32_t)part;
	l->parts = (uint32_t)parts;
	return 0;
}

static bool is_of_name(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		c == '-' || c == '_';
}

int label_parse(struct label *l, struct span text)
{
	struct span s = text;
	uint64_t from, to;

	*l = (struct label){.set = text};
	if (take_char(&s, '#')) {
		l->is_name = true;
		while (s.len && is_of_name(*s.p))
			take_char(&s, *s.p);
		l->set.len = (size_t)(s.p - text.p);
		if (l->set.len < 2 || l->set.len > LABEL_NAME_MAX)
			return -1;
		return (take_char(&s, '.') && take_parts(l, &s)) || s.len ? -1 : 0;
	}
	do {
		if (!take_range(&s, &from, &to) || from <= l->last)
			return -1;
		if (!l->first)
			l->first = from;
		l->last = to;
	} while (take_char(&s, ','));
	l->set.len = (size_t)(s.p - text.p);
	l->single = l->first == l->last;
	if (take_char(&s, '.') && take_parts(l, &s))
		return -1;
	return s.len ? -1 : 0;
}

void label_text_render(struct label_text *t, const char *run, uint64_t number)
{
	struct buf b = {.p = t->text, .len = LABEL_RUN_LEN + 1, .cap = sizeof(t->text)};

	memcpy(t->text, run, LABEL_RUN_LEN);
	t->text[LABEL_RUN_LEN] = ':';
	buf_int(&b, (int64_t)number);
	t->size = b.len;
	t->number = number;
}

bool label_range(struct span *rest, uint64_t *from, uint64_t *to)
{
	if (!rest->len || !take_range(rest, from, to))
		return false;
	take_char(rest, ',');
	return true;
}

int label_split(struct span seq, struct span *run, struct span *label)
{
	if (!seq.p || seq.len < LABEL_RUN_LEN + 2 || seq.p[LABEL_RUN_LEN] != ':')
		return -1;
	for (size_t i = 0; i < LABEL_RUN_LEN; i++) {
		char c = seq.p[i];

		if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
			return -1;
	}
	*run = (struct span){seq.p, LABEL_RUN_LEN};
	*label = (struct span){seq.p + LABEL_RUN_LEN + 1, seq.len - LABEL_RUN_LEN - 1};
	return 0;
}
