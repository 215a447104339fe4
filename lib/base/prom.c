/* SPDX-License-Identifier: ISC */
#include "base/prom.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct sample {
	struct span series; /* name and labels */
	struct span value;
	double sum; /* in place of value: */
	bool summed;
};

struct prom_family {
	struct span name, help, type;
	struct sample *samples;
	size_t count;
	size_t text, before; /* samples below @before are not from this text */
};

/* ---- lines ---- */

static bool is_name(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		c == '_' || c == ':';
}

static struct span take_name(struct span *s)
{
	struct span name = {s->p, 0};

	while (name.len < s->len && is_name(s->p[name.len]))
		name.len++;
	s->p += name.len;
	s->len -= name.len;
	return name;
}

/* The labels with their braces; len 0 when they have no end. A brace may stand in a value. */
static struct span take_labels(struct span *s)
{
	struct span labels = {s->p, 0};
	bool quoted = false;

	for (size_t i = 0; i < s->len; i++) {
		if (quoted && s->p[i] == '\\') {
			i++;
		} else if (s->p[i] == '"') {
			quoted = !quoted;
		} else if (s->p[i] == '}' && !quoted) {
			labels.len = i + 1;
			s->p += labels.len;
			s->len -= labels.len;
			break;
		}
	}
	return labels;
}

static void skip_blanks(struct span *s)
{
	for (; s->len && (*s->p == ' ' || *s->p == '\t'); s->p++)
		s->len--;
}

static bool parse(struct span s, struct prom_line *line)
{
	*line = (struct prom_line){.kind = PROM_SAMPLE};
	while (s.len && (s.p[s.len - 1] == '\r' || s.p[s.len - 1] == ' '))
		s.len--;
	if (s.len > 7 && (!memcmp(s.p, "# HELP ", 7) || !memcmp(s.p, "# TYPE ", 7))) {
		line->kind = s.p[2] == 'H' ? PROM_HELP : PROM_TYPE;
		s.p += 7;
		s.len -= 7;
	}
	line->name = take_name(&s);
	line->labels = (struct span){s.p, 0};
	if (line->kind == PROM_SAMPLE && s.len && *s.p == '{') {
		line->labels = take_labels(&s);
		if (!line->labels.len)
			return false;
	}
	skip_blanks(&s);
	line->rest = s;
	return line->name.len && s.len;
}

bool prom_next(struct span *text, struct prom_line *line)
{
	while (text->len) {
		const char *end = memchr(text->p, '\n', text->len);
		struct span s = {text->p, end ? (size_t)(end - text->p) : text->len};
		size_t taken = s.len + (end != NULL);

		text->p += taken;
		text->len -= taken;
		if (parse(s, line))
			return true;
	}
	return false;
}

struct span prom_label(struct span labels, const char *name)
{
	struct span s = labels;

	while (s.len) {
		struct span found, value = SPAN_NONE;

		/* To the next name, past the brace or comma before it. */
		for (; s.len && !is_name(*s.p); s.p++)
			s.len--;
		found = take_name(&s);
		if (s.len < 2 || s.p[0] != '=' || s.p[1] != '"')
			break;
		s.p += 2;
		s.len -= 2;
		value.p = s.p;
		for (; s.len && *s.p != '"'; s.p++, s.len--)
			if (*s.p == '\\' && s.len > 1)
				s.p++, s.len--;
		value.len = (size_t)(s.p - value.p);
		if (span_is(found, name))
			return value;
		if (s.len)
			s.p++, s.len--;
	}
	return SPAN_NONE;
}

static double number(struct span s)
{
	char text[64] = "";

	memcpy(text, s.p, s.len < sizeof(text) ? s.len : sizeof(text) - 1);
	return strtod(text, NULL);
}

double prom_value(const struct prom_line *sample)
{
	return number(sample->rest);
}

/* ---- merging ---- */

static bool same(struct span a, struct span b)
{
	return a.len == b.len && memcmp(a.p, b.p, a.len) == 0;
}

static struct prom_family *family_of(struct prom *p, struct span name)
{
	struct prom_family *f;

	for (size_t i = 0; i < p->count; i++)
		if (same(p->families[i].name, name))
			return &p->families[i];
	p->families = mem_realloc(p->families, (p->count + 1) * sizeof(*f));
	f = &p->families[p->count++];
	*f = (struct prom_family){.name = name};
	return f;
}

/* Whether a sample called @name belongs to the family: itself, or a histogram's or summary's
 * part. */
static bool belongs(const struct prom_family *f, struct span name)
{
	static const char *const parts[] = {"", "_bucket", "_sum", "_count"};
	struct span part = {name.p + f->name.len, name.len - f->name.len};

	if (name.len < f->name.len || memcmp(name.p, f->name.p, f->name.len) != 0)
		return false;
	for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++)
		if (span_is(part, parts[i]))
			return true;
	return false;
}

static void add_sample(struct prom_family *f, size_t text, const struct prom_line *line)
{
	struct span series = {line->name.p, line->name.len + line->labels.len};

	if (f->text != text) {
		f->text = text;
		f->before = f->count;
	}
	for (size_t i = 0; i < f->before; i++)
		if (same(f->samples[i].series, series)) {
			if (!f->samples[i].summed)
				f->samples[i].sum = number(f->samples[i].value);
			f->samples[i].summed = true;
			f->samples[i].sum += number(line->rest);
			return;
		}
	f->samples = mem_realloc(f->samples, (f->count + 1) * sizeof(*f->samples));
	f->samples[f->count++] = (struct sample){.series = series, .value = line->rest};
}

void prom_add(struct prom *p, struct span text)
{
	struct prom_line line;
	struct prom_family *f;
	size_t current = SIZE_MAX;

	p->texts++;
	while (prom_next(&text, &line)) {
		if (line.kind == PROM_SAMPLE && current != SIZE_MAX &&
			belongs(&p->families[current], line.name)) {
			add_sample(&p->families[current], p->texts, &line);
			continue;
		}
		f = family_of(p, line.name);
		current = (size_t)(f - p->families);
		if (line.kind == PROM_SAMPLE)
			add_sample(f, p->texts, &line);
		else if (line.kind == PROM_HELP && !f->help.p)
			f->help = line.rest;
		else if (line.kind == PROM_TYPE && !f->type.p)
			f->type = line.rest;
	}
}

static void put(struct buf *out, const char *before, struct span name, struct span rest)
{
	buf_puts(out, before);
	buf_span(out, name);
	buf_putc(out, ' ');
	buf_span(out, rest);
	buf_putc(out, '\n');
}

void prom_print(const struct prom *p, struct buf *out)
{
	for (size_t i = 0; i < p->count; i++) {
		const struct prom_family *f = &p->families[i];

		if (!f->count)
			continue;
		if (f->help.p)
			put(out, "# HELP ", f->name, f->help);
		if (f->type.p)
			put(out, "# TYPE ", f->name, f->type);
		for (size_t k = 0; k < f->count; k++) {
			const struct sample *s = &f->samples[k];
			char sum[64];

			snprintf(sum, sizeof(sum), "%.17g", s->sum);
			put(out, "", s->series,
				s->summed ? (struct span){sum, strlen(sum)} : s->value);
		}
	}
}

void prom_free(struct prom *p)
{
	for (size_t i = 0; i < p->count; i++)
		free(p->families[i].samples);
	free(p->families);
	*p = (struct prom){0};
}
