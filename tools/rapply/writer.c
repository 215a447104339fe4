/* SPDX-License-Identifier: ISC */
/* A command is written behind "*?\r\n", and the number of its words put in afterwards: it is known
 * only at the end of the JSON array. */
#include "rapply/writer.h"

#include "rapply/names.h"
#include "redis/request.h"

#include <strings.h>

enum { HEAD_MIN = 4 }; /* bytes of "*N\r\n" */

/* ---- one command ---- */

void writer_begin(struct writer *w)
{
	w->begin = w->out->len;
	w->words = 0;
	buf_put(w->out, "*?\r\n", HEAD_MIN);
}

void writer_word(struct writer *w, struct span text)
{
	request_word(w->out, text);
	w->words++;
}

int writer_refuse(struct writer *w, const char *why)
{
	return record_refuse(w->e, CLASS_INVALID_RECORD, "%s", why);
}

/* What stands behind "*N\r\n" of the command that was written last. */
static const char *words_of(const struct writer *w)
{
	return (const char *)memchr(w->out->p + w->begin, '\n', w->out->len - w->begin) + 1;
}

/* The word at this place of it. */
static struct span word_at(const struct writer *w, size_t at)
{
	const char *p = words_of(w);
	struct span s = SPAN_NONE;

	for (size_t i = 0; i <= at && i < w->words; i++) {
		size_t n = 0;

		for (p++; *p != '\r'; p++)
			n = n * 10 + (size_t)(*p - '0');
		s = (struct span){p + 2, n};
		p += 2 + n + 2;
	}
	return s;
}

static int check_name(struct writer *w)
{
	struct commands *c = w->c;
	struct span name = word_at(w, 0);
	int n = (int)(name.len < 40 ? name.len : 40);

	if (name.len == c->passed_len && memcmp(name.p, c->passed, name.len) == 0)
		return 0;
	if (!name.len)
		return writer_refuse(w, "a command without a name");
	switch (names_kind(name)) {
	case NAME_NEVER:
		return record_refuse(w->e, CLASS_INVALID_RECORD,
			"command %.*s changes the connection or the transaction, which is rapply's",
			n, name.p);
	case NAME_DANGEROUS:
		for (int i = 0; i < c->allowed_count; i++)
			if (strlen(c->allowed[i]) == name.len &&
				strncasecmp(c->allowed[i], name.p, name.len) == 0)
				return 0;
		return record_refuse(w->e, CLASS_INVALID_RECORD,
			"command %.*s is dangerous: let it through with --allow %.*s", n, name.p, n,
			name.p);
	case NAME_HARMLESS:
		break;
	}
	if (name.len <= sizeof(c->passed)) {
		memcpy(c->passed, name.p, name.len);
		c->passed_len = name.len;
	}
	return 0;
}

int writer_end(struct writer *w)
{
	struct span prefix = w->c->positions, key;
	char head[24];
	size_t n = 0, more;

	if (!w->words)
		return writer_refuse(w, "a command without words");
	if (check_name(w))
		return -1;
	key = word_at(w, 1);
	if (prefix.p && key.len >= prefix.len && memcmp(key.p, prefix.p, prefix.len) == 0)
		return record_refuse(w->e, CLASS_INVALID_RECORD,
			"a command on the key '%.*s': keys that begin with '%.*s' are rapply's positions",
			(int)(key.len < 60 ? key.len : 60), key.p, (int)prefix.len, prefix.p);
	for (size_t rest = w->words; rest; rest /= 10)
		head[sizeof(head) - ++n] = (char)('0' + rest % 10);
	more = n - 1;
	if (more) {
		buf_room(w->out, more);
		memmove(w->out->p + w->begin + HEAD_MIN + more, w->out->p + w->begin + HEAD_MIN,
			w->out->len - w->begin - HEAD_MIN);
		w->out->len += more;
		memcpy(w->out->p + w->begin + 1 + n, "\r\n", 2);
	}
	memcpy(w->out->p + w->begin + 1, head + sizeof(head) - n, n);
	w->count++;
	return 0;
}

/* A transaction goes on behind a command that is refused, and would set the life of a key that the
 * record has nothing to do with. */
int writer_expire(struct writer *w, struct span at)
{
	static const char script[] =
		"local r=redis.pcall(unpack(ARGV,2)) "
		"if type(r)~='table' or not r.err then redis.call('PEXPIREAT',KEYS[1],ARGV[1]) end "
		"return r";
	struct buf *command = &w->c->text;
	const char *words = words_of(w);

	if (w->words > COMMANDS_SCRIPT_WORDS)
		return writer_refuse(w,
			"a command of more than 7000 words with \"ttl_ms\": give a list, of the command and PEXPIREAT");
	buf_clear(command);
	request_begin(command, w->words + 5, "EVAL");
	request_text(command, script);
	request_text(command, "1");
	request_word(command, word_at(w, 1));
	request_word(command, at);
	buf_put(command, words, w->out->len - (size_t)(words - w->out->p));
	w->out->len = w->begin;
	buf_span(w->out, buf_as_span(command));
	return 0;
}

/* ---- words from JSON ---- */

int writer_string(struct writer *w, const struct json_value *v)
{
	struct span text;

	buf_clear(&w->c->text);
	if (v->lone || json_string(v, &w->c->text, &text))
		return writer_refuse(w,
			"a string with half of a surrogate pair: bytes are written {\"b64\":\"…\"}");
	writer_word(w, text);
	return 0;
}

int writer_base64(struct writer *w, const struct json_value *v)
{
	struct buf *text = &w->c->text;
	struct span base64;
	size_t at;

	buf_clear(text);
	/* So that it does not move under the span. */
	buf_room(text, 2 * v->text.len + BUF_SLACK);
	if (v->type != JSON_STRING || v->lone || json_string(v, text, &base64))
		return writer_refuse(w, "what stands for bytes is no base64");
	at = text->len;
	if (buf_unbase64(text, base64))
		return writer_refuse(w, "what stands for bytes is no canonical base64");
	writer_word(w, (struct span){text->p + at, text->len - at});
	return 0;
}

/* {"b64":"…"} */
static int bytes_word(struct writer *w, const struct json_value *v)
{
	struct json_value key, value;
	struct json j;

	json_init(&j, v->text);
	if (json_enter(&j, '{') || json_member(&j, &key, &value) != 1 || !json_is(&key, "b64"))
		return writer_refuse(
			w, "a word of a command is a string, a number, or {\"b64\":\"…\"}");
	if (writer_base64(w, &value))
		return -1;
	return json_next(&j, '}') ? writer_refuse(w, "more than one member beside b64") : 0;
}

int writer_scalar(struct writer *w, const struct json_value *v)
{
	switch (v->type) {
	case JSON_STRING:
		return writer_string(w, v);
	case JSON_NUMBER:
	case JSON_TRUE:
	case JSON_FALSE:
		writer_word(w, v->text);
		return 0;
	case JSON_OBJECT:
		return bytes_word(w, v);
	default:
		return writer_refuse(
			w, "a word of a command is a string, a number, or {\"b64\":\"…\"}");
	}
}

/* A value: an object or an array is its own text. */
int writer_value(struct writer *w, const struct json_value *v)
{
	if (v->type != JSON_OBJECT && v->type != JSON_ARRAY)
		return writer_scalar(w, v);
	writer_word(w, v->text);
	return 0;
}

int writer_words(struct writer *w, struct span array)
{
	struct json_value v;
	struct json j;
	int got;

	json_init(&j, array);
	if (json_enter(&j, '['))
		return writer_refuse(w, "not an array of words");
	while ((got = json_element(&j, &v)) == 1)
		if (writer_scalar(w, &v))
			return -1;
	return got;
}
