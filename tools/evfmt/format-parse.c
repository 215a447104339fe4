/* SPDX-License-Identifier: ISC */
#include "evfmt/items.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

struct parser {
	const char *at;
	char *why;
	size_t why_size;
	struct format *f;
};

static const struct {
	const char *name;
	enum view_field field;
} fields[] = {
	{"topic", VIEW_TOPIC},
	{"partition", VIEW_PARTITION},
	{"offset", VIEW_OFFSET},
	{"ts", VIEW_TS},
	{"tstype", VIEW_TSTYPE},
	{"key", VIEW_KEY},
	{"payload", VIEW_PAYLOAD},
	{"channel", VIEW_CHANNEL},
	{"pattern", VIEW_PATTERN},
	{"stream", VIEW_STREAM},
	{"id", VIEW_ID},
	{"seq", VIEW_SEQ},
};

static const struct {
	const char *name;
	enum item_form form;
	enum clock_form clock;
	unsigned bytes;
	bool is_signed, is_little;
} forms[] = {
	{"size", FORM_SIZE, 0, 0, 0, 0},
	{"hex", FORM_HEX, 0, 0, 0, 0},
	{"base64", FORM_BASE64, 0, 0, 0, 0},
	{"json", FORM_JSON, 0, 0, 0, 0},
	{"iso", FORM_TIME, CLOCK_ISO, 0, 0, 0},
	{"rfc3339", FORM_TIME, CLOCK_RFC3339, 0, 0, 0},
	{"local", FORM_TIME, CLOCK_LOCAL, 0, 0, 0},
	{"ago", FORM_TIME, CLOCK_AGO, 0, 0, 0},
	{"s", FORM_TIME, CLOCK_SECONDS, 0, 0, 0},
	{"i8", FORM_INTEGER, 0, 1, true, false},
	{"i16", FORM_INTEGER, 0, 2, true, false},
	{"i32", FORM_INTEGER, 0, 4, true, false},
	{"i64", FORM_INTEGER, 0, 8, true, false},
	{"u8", FORM_INTEGER, 0, 1, false, false},
	{"u16", FORM_INTEGER, 0, 2, false, false},
	{"u32", FORM_INTEGER, 0, 4, false, false},
	{"u64", FORM_INTEGER, 0, 8, false, false},
	{"i16le", FORM_INTEGER, 0, 2, true, true},
	{"i32le", FORM_INTEGER, 0, 4, true, true},
	{"i64le", FORM_INTEGER, 0, 8, true, true},
	{"u16le", FORM_INTEGER, 0, 2, false, true},
	{"u32le", FORM_INTEGER, 0, 4, false, true},
	{"u64le", FORM_INTEGER, 0, 8, false, true},
};

static bool take_form(struct item *item, const char *name)
{
	for (size_t i = 0; i < sizeof(forms) / sizeof(*forms); i++)
		if (strcmp(forms[i].name, name) == 0) {
			item->form = forms[i].form;
			item->clock = forms[i].clock;
			item->bytes = forms[i].bytes;
			item->is_signed = forms[i].is_signed;
			item->is_little = forms[i].is_little;
			return true;
		}
	return false;
}

static bool take_strftime(struct item *item, const char *format)
{
	if (!strchr(format, '%'))
		return false;
	item->form = FORM_TIME;
	item->clock = CLOCK_STRFTIME;
	item->strftime = format;
	return true;
}

/* "topic", ".payload.a.b", "payload.a.b", "header:NAME". */
static bool take_field(struct item *item, char *name)
{
	const char *bare = name + (*name == '.');

	item->kind = ITEM_FIELD;
	for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++) {
		size_t n = strlen(fields[i].name);

		if (strncmp(bare, fields[i].name, n) != 0)
			continue;
		item->field = fields[i].field;
		if (!bare[n])
			return true;
		if (bare[n] != '.' && bare[n] != '[')
			continue;
		item->kind = ITEM_PATH;
		item->path = path_parse(bare + n);
		return item->path != NULL;
	}
	if (strncmp(name, "header:", 7) == 0 && name[7]) {
		item->kind = ITEM_HEADER;
		item->name = name + 7;
	} else if (strcmp(name, "headers") == 0) {
		item->kind = ITEM_HEADERS;
	} else if (strcmp(name, "place") == 0) {
		item->kind = ITEM_PLACE;
	} else if (strcmp(name, "record") == 0 || strcmp(name, ".") == 0) {
		item->kind = ITEM_RECORD;
	} else {
		item->kind = ITEM_PATH;
		item->field = VIEW_FIELDS;
		item->path = *name == '.' ? path_parse(name) : NULL;
		return item->path != NULL;
	}
	return true;
}

/* The closing brace, but not one inside a path's quotes. */
static const char *brace_end(const char *s)
{
	bool quoted = false;

	for (; *s && (quoted || *s != '}'); s++) {
		if (quoted && *s == '\\' && s[1])
			s++;
		else if (*s == '"')
			quoted = !quoted;
	}
	return *s ? s : NULL;
}

static int parse_braces(struct parser *p, struct item *item)
{
	const char *end = brace_end(p->at);
	char *name, *colon;

	if (!end) {
		snprintf(p->why, p->why_size, "'%%{%s' has no closing brace", p->at);
		return -1;
	}
	name = mem_alloc((size_t)(end - p->at) + 1);
	memcpy(name, p->at, (size_t)(end - p->at));
	name[end - p->at] = '\0';
	p->at = end + 1;
	/* The form of a time may have colons, and so may a header's name. */
	colon = strncmp(name, "ts:", 3) == 0 ? name + 2 : strrchr(name, ':');
	if (colon &&
		(take_form(item, colon + 1) ||
			(colon == name + 2 && take_strftime(item, colon + 1))))
		*colon = '\0';
	if (take_field(item, name))
		return 0;
	snprintf(p->why, p->why_size,
		"'%%{%.80s}' is not a field: it is one of topic, partition, offset, ts, tstype, key, payload, "
		"channel, pattern, stream, id, seq, place, headers, record, header:NAME, .payload.PATH, .PATH, "
		"maybe with a form such as :hex, :base64, :size, :json, :i64, :iso, :local, :ago, :rfc3339",
		name);
	return -1;
}

static int parse_letter(struct parser *p, struct item *item)
{
	static const struct {
		char letter;
		enum item_kind kind;
		enum item_form form;
		enum view_field field;
	} letters[] = {
		{'t', ITEM_FIELD, FORM_PLAIN, VIEW_TOPIC},
		{'p', ITEM_FIELD, FORM_PLAIN, VIEW_PARTITION},
		{'o', ITEM_FIELD, FORM_PLAIN, VIEW_OFFSET},
		{'k', ITEM_FIELD, FORM_PLAIN, VIEW_KEY},
		{'K', ITEM_FIELD, FORM_SIZE, VIEW_KEY},
		{'s', ITEM_FIELD, FORM_PLAIN, VIEW_PAYLOAD},
		{'S', ITEM_FIELD, FORM_SIZE, VIEW_PAYLOAD},
		{'R', ITEM_FIELD, FORM_SIZE_BE32, VIEW_PAYLOAD},
		{'T', ITEM_FIELD, FORM_PLAIN, VIEW_TS},
		{'h', ITEM_HEADERS, FORM_PLAIN, VIEW_FIELDS},
	};
	char c = *p->at;

	for (size_t i = 0; i < sizeof(letters) / sizeof(*letters); i++)
		if (c && c == letters[i].letter) {
			item->kind = letters[i].kind;
			item->form = letters[i].form;
			item->field = letters[i].field;
			p->at++;
			return 0;
		}
	if (c)
		snprintf(p->why, p->why_size,
			"'%%%c' is not a token: it is one of %%t %%p %%o %%k %%K %%s %%S %%R %%T %%h "
			"%%{FIELD} and %%%% for a percent sign",
			c);
	else
		snprintf(p->why, p->why_size, "a token is missing behind the last '%%'");
	return -1;
}

static size_t parse_number(struct parser *p)
{
	size_t n = 0;

	for (; *p->at >= '0' && *p->at <= '9'; p->at++)
		n = n < 100000 ? n * 10 + (size_t)(*p->at - '0') : n;
	return n;
}

/* Behind the percent sign: [-][WIDTH][.LIMIT] and a token. */
static int parse_token(struct parser *p, struct item *item)
{
	*item = (struct item){0};
	if (*p->at == '-') {
		item->left = true;
		p->at++;
	}
	item->width = parse_number(p);
	if (*p->at == '.') {
		p->at++;
		item->has_limit = true;
		item->limit = parse_number(p);
	}
	if (*p->at != '{')
		return parse_letter(p, item);
	p->at++;
	return parse_braces(p, item);
}

/* Behind the backslash. */
static int parse_escape(struct parser *p)
{
	static const char names[] = "nrtae\\", bytes[] = "\n\r\t\a\33\\";
	const char *found = *p->at ? strchr(names, *p->at) : NULL;
	char digits[4] = "", *end;
	bool hex = *p->at == 'x';
	unsigned long byte;

	if (found) {
		buf_putc(&p->f->text, bytes[found - names]);
		p->at++;
		return 0;
	}
	/* \x41, \101 */
	memcpy(digits, p->at + hex, strnlen(p->at + hex, hex ? 2 : 3));
	byte = strtoul(digits, &end, hex ? 16 : 8);
	if (end == digits || strchr("+- ", digits[0]) || byte > 255) {
		snprintf(p->why, p->why_size,
			"'\\%.*s' is not an escape: it is one of \\n \\r \\t \\a \\e \\\\ \\xNN (hexadecimal) "
			"\\NNN (octal, \\377 at most)",
			byte > 255 ? 3 : 1, p->at);
		return -1;
	}
	buf_putc(&p->f->text, (char)byte);
	p->at += hex + (end - digits);
	return 0;
}

static int parse_next(struct parser *p, struct item *item)
{
	struct buf *text = &p->f->text;
	size_t from = text->len;

	if (*p->at == '%' && p->at[1] != '%') {
		p->at++;
		return parse_token(p, item);
	}
	while (*p->at && (*p->at != '%' || p->at[1] == '%')) {
		if (*p->at == '\\') {
			p->at++;
			if (parse_escape(p))
				return -1;
			continue;
		}
		p->at += *p->at == '%';
		buf_putc(text, *p->at++);
	}
	/* text has room for all of the format: it does not move. */
	*item = (struct item){.kind = ITEM_TEXT, .text = {text->p + from, text->len - from}};
	return 0;
}

struct format *format_parse(const char *s, char *why, size_t why_size)
{
	struct format *f = mem_alloc(sizeof(*f));
	struct parser p = {.at = s, .why = why, .why_size = why_size, .f = f};

	*f = (struct format){.items = mem_alloc((strlen(s) + 1) * sizeof(*f->items))};
	buf_room(&f->text, strlen(s) + 1);
	while (*p.at) {
		struct item *item = &f->items[f->count++];

		if (parse_next(&p, item))
			return NULL;
		f->wants_now |= item->form == FORM_TIME && item->clock == CLOCK_AGO;
	}
	return f;
}
