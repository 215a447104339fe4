/* SPDX-License-Identifier: ISC */
#include "evfmt/paint.h"

#include "base/text.h"
#include "json/json.h"

static const char *const colours[] = {
	[PAINT_NONE] = "",
	[PAINT_TIME] = "\33[90m",
	[PAINT_TOPIC] = "\33[36m",
	[PAINT_CHANNEL] = "\33[35m",
	[PAINT_STREAM] = "\33[94m",
	[PAINT_KEY] = "\33[33m",
	[PAINT_TOMBSTONE] = "\33[31m",
	[PAINT_NAME] = "\33[34;1m",
	[PAINT_STRING] = "\33[32m",
	[PAINT_NUMBER] = "\33[36m",
	[PAINT_WORD] = "\33[35m",
};

void paint_text(struct buf *out, const struct paint_style *style, enum paint p, struct span text)
{
	bool coloured = style->coloured && p != PAINT_NONE;

	if (coloured)
		buf_puts(out, colours[p]);
	if (style->safe)
		text_safe(out, text);
	else
		buf_span(out, text);
	if (coloured)
		buf_puts(out, "\33[0m");
}

static void new_line(struct buf *out, int depth)
{
	buf_putc(out, '\n');
	memset(buf_room(out, (size_t)depth * 2), ' ', (size_t)depth * 2);
	out->len += (size_t)depth * 2;
}

static const char *skip_space(const char *p, const char *end)
{
	while (p < end && (*p == ' ' || *p == '\t' || *p == '\r' || *p == '\n'))
		p++;
	return p;
}

bool paint_is_json(struct span text)
{
	const char *end = text.p + text.len, *p = skip_space(text.p, end);
	struct json_value v;
	struct json why;

	if (p == end || (*p != '{' && *p != '['))
		return false;
	return json_parse(text, &v, &why) == 0;
}

/* The end of the string, number or word at @p. */
static const char *token_end(const char *p, const char *end)
{
	if (*p != '"') {
		while (p < end && !strchr(",:]} \t\r\n", *p))
			p++;
		return p;
	}
	for (p++; *p != '"'; p++)
		p += *p == '\\';
	return p + 1;
}

static enum paint kind_of(const char *p, const char *behind, const char *end)
{
	if (*p != '"')
		return *p == 't' || *p == 'f' || *p == 'n' ? PAINT_WORD : PAINT_NUMBER;
	behind = skip_space(behind, end);
	return behind < end && *behind == ':' ? PAINT_NAME : PAINT_STRING;
}

/* The text is valid: each closing bracket has its opening one. */
static void put_tokens(struct buf *out, const struct paint_style *style, struct span json)
{
	const char *p = json.p, *end = json.p + json.len, *token;
	bool keeps_space = !style->pretty && !memchr(p, '\n', json.len);
	bool empty = false; /* behind an opening bracket */
	int depth = 0;

	for (; (token = skip_space(p, end)) < end; p++) {
		if (keeps_space)
			buf_put(out, p, (size_t)(token - p));
		p = token;
		bool opens = *p == '{' || *p == '[', closes = *p == '}' || *p == ']';
		const char *stop;

		depth -= closes;
		if (style->pretty && empty != closes)
			new_line(out, depth);
		empty = opens;
		depth += opens;
		if (!opens && !closes && *p != ',' && *p != ':') {
			stop = token_end(p, end);
			paint_text(out, style, kind_of(p, stop, end),
				(struct span){p, (size_t)(stop - p)});
			p = stop - 1;
			continue;
		}
		buf_putc(out, *p);
		if (style->pretty && *p == ',')
			new_line(out, depth);
		if (style->pretty && *p == ':')
			buf_putc(out, ' ');
	}
}

void paint_json(struct buf *out, const struct paint_style *style, struct span json)
{
	/* White space within a line stays where nothing is to be coloured. */
	if (style->pretty || style->coloured || memchr(json.p, '\n', json.len))
		put_tokens(out, style, json);
	else
		paint_text(out, style, PAINT_NONE, json);
}
