/* SPDX-License-Identifier: ISC */
/* evkey - take the partition key out of the payload.
 *
 * DESIGN: our own scanner finds a key path (.a.b[0]) in one pass over the payload and changes no
 * byte. Any other expression goes to libjq, which only reads. The key is the text of a string,
 * number or boolean, and replaces the record's key; all other bytes of the line stay. A payload
 * that is not JSON (json-decode) and a payload without the field (missing-key) are refused under
 * two classes, so that the operator can tell which contract was broken. */
#include "base/buf.h"
#include "jq/expr.h"
#include "flow/filter.h"
#include "base/opt.h"
#include "json/path.h"

#include <stdio.h>
#include <string.h>

struct evkey {
	const char *text; /* the expression as given */
	struct path *path;
	struct expr *expr; /* when it is no path */
	bool null_ok;
	struct buf payload, key;
};

static struct {
	struct opt_common common;
	struct input_opts input;
	struct ack_opts ack;
	struct arg_str *expr;
	struct arg_lit *null_ok;
} opt;

static enum filter_verdict refuse(
	struct record_error *e, enum errclass c, const char *what, const char *why)
{
	record_refuse(e, c, "%s%s%s", what, why ? ": " : "", why ? why : "");
	return FILTER_REFUSE;
}

static enum filter_verdict without_key(struct evkey *k, const struct record *r, struct buf *out,
	struct record_error *e, const char *why)
{
	if (!k->null_ok) {
		record_refuse(e, CLASS_MISSING_KEY, "no key: %.100s %s", k->text, why);
		return FILTER_REFUSE;
	}
	record_set_key(r, SPAN_NONE, true, out);
	return FILTER_EDITED;
}

static enum filter_verdict by_path(struct evkey *k, const struct record *r, struct span payload,
	struct buf *out, struct record_error *e)
{
	struct json_value v;
	struct json why;
	struct span key;

	switch (path_find(k->path, payload, &v, &why)) {
	case -1:
		return refuse(e, why.deep ? CLASS_TOO_LARGE : CLASS_JSON_DECODE,
			"the payload is not JSON", why.why);
	case 0:
		return without_key(k, r, out, e, "is not there");
	}
	buf_clear(&k->key);
	switch (v.type) {
	case JSON_STRING:
		if (json_string(&v, &k->key, &key))
			return refuse(e, CLASS_JSON_DECODE, "the key holds a lone surrogate", NULL);
		break;
	case JSON_NUMBER:
	case JSON_TRUE:
	case JSON_FALSE:
		key = v.text;
		break;
	default:
		return without_key(k, r, out, e, "is not a string, a number or a boolean");
	}
	record_set_key(r, key, false, out);
	return FILTER_EDITED;
}

static enum filter_verdict by_expr(struct evkey *k, const struct record *r, struct span payload,
	struct buf *out, struct record_error *e)
{
	struct json_value whole;
	struct json bad;
	char why[200];

	/* libjq also takes NaN, and bytes that are not UTF-8: decide here whether the payload is
	 * JSON. */
	if (json_parse(payload, &whole, &bad))
		return refuse(e, bad.deep ? CLASS_TOO_LARGE : CLASS_JSON_DECODE,
			"the payload is not JSON", bad.why);
	buf_clear(&k->key);
	switch (expr_text(k->expr, payload, &k->key, why, sizeof(why))) {
	case EXPR_TEXT:
		record_set_key(r, buf_as_span(&k->key), false, out);
		return FILTER_EDITED;
	case EXPR_NOTHING:
		return without_key(k, r, out, e, "gives no string, number or boolean");
	case EXPR_INEXACT:
		return refuse(e, CLASS_MISSING_KEY,
			"a number beyond 2^53 does not pass through jq unchanged",
			"use a plain path");
	case EXPR_ERROR:
		return refuse(e, CLASS_MISSING_KEY, "the expression failed", why);
	case EXPR_TOO_DEEP:
		return refuse(e, CLASS_TOO_LARGE, "jq cannot read the payload", why);
	case EXPR_BAD_JSON:
		break;
	}
	return refuse(e, CLASS_JSON_DECODE, "the payload is not JSON", why);
}

static enum filter_verdict on_record(
	void *self, const struct record *r, struct buf *out, struct record_error *e)
{
	struct evkey *k = self;
	struct span payload;

	buf_clear(&k->payload);
	switch (record_payload(r, &k->payload, &payload, e)) {
	case RECORD_BAD:
		return FILTER_REFUSE;
	case RECORD_NULL:
		return without_key(k, r, out, e, "is not there: the payload is null");
	case RECORD_BYTES:
		break;
	}
	return k->path ? by_path(k, r, payload, out, e) : by_expr(k, r, payload, out, e);
}

/* ---- the command line ---- */

static void parse_options(int argc, char **argv)
{
	static const char *const examples[] = {
		"rsub -p 'sse:*' | evkey .tenantId | kwrite -t '{channel#sse:}'",
		"evkey '.order.id // .id' <records.ndjson",
		NULL,
	};
	static const struct opt_page page = {
		.prog = "evkey",
		.summary = "Takes the partition key of each record out of its JSON payload.",
		.examples = examples,
		.hints = input_hints,
		.libraries = {expr_library},
	};

	opt.expr = arg_str1(NULL, NULL, "EXPR", "key path (.a.b[0]) or jq expression");
	opt.null_ok = arg_lit0(NULL, "null-ok", "no such field: a null key, not an error");
	input_opts(&opt.input, INPUT_DEAD_TO_FILE);
	ack_opts(&opt.ack);
	opt_common(&opt.common);
	void *table[] = {opt.expr, opt.null_ok, INPUT_ENTRIES(opt.input), ACK_ENTRIES(opt.ack),
		OPT_COMMON_ENTRIES(opt.common), arg_end(8)};
	opt_parse(argc, argv, table, &opt.common, &page);
}

/* A field's name, with fields of it maybe, which lacks the dot in front. */
static bool is_bare_name(const char *text)
{
	return strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.") ==
		strlen(text);
}

static void take_options(struct evkey *k)
{
	char why[300];

	k->text = opt_text(opt.expr, "EXPR");
	k->null_ok = opt.null_ok->count;
	k->path = path_parse(k->text);
	if (!k->path && !(k->expr = expr_compile(k->text, why, sizeof(why))))
		opt_bad(is_bare_name(k->text) ? "'%s' is no path: a path begins with a dot: .%s"
					      : "'%s' is not a jq expression: %s",
			k->text, is_bare_name(k->text) ? k->text : why);
}

int main(int argc, char **argv)
{
	struct evkey k = {0};

	parse_options(argc, argv);
	take_options(&k);
	return filter_run(&(struct filter){
		.each = on_record,
		.self = &k,
		.input = &opt.input,
		.ack = &opt.ack,
	});
}
