/* SPDX-License-Identifier: ISC */
/* evsel - keep the records for which a jq expression holds; turn dead letters back into records.
 *
 * DESIGN: the expression sees the record with its payload parsed, where the payload is JSON: a copy
 * of the line has the payload's text in place of the string. Only libjq reads that copy; evsel
 * hands on the line as it came. A drop is declared, so that the source goes on past the record. A
 * record that the expression cannot decide is refused, never dropped.
 *
 * --undead copies the record out of its dead letter as it stands there. A dead letter may come as
 * the payload of a record (from a topic of dead letters): the record in it then gets the seq of the
 * record around it, because the source waits for that seq. */
#include "ack/client.h"
#include "base/buf.h"
#include "base/msg.h"
#include "jq/expr.h"
#include "flow/filter.h"
#include "json/json.h"
#include "base/opt.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct evsel {
	struct expr *expr;
	bool invert;
	uint64_t seen, kept, nulls; /* records, for -v */
	struct buf payload, line, text;
};

static struct {
	struct opt_common common;
	struct input_opts input;
	struct ack_opts ack;
	struct arg_str *expr;
	struct arg_lit *invert, *undead;
} opt;

/* ---- selecting ---- */

/* The record as the expression sees it. *@is_json: the payload is an object or an array, or its
 * text is JSON. */
static struct span view(struct evsel *s, const struct record *r, bool *is_json)
{
	struct json_value v;
	struct record_error e;
	struct span payload;
	struct json why;
	const char *end = r->line.p + r->line.len;

	*is_json = r->payload.type != JSON_STRING && !r->payload_b64.text.p;
	if (*is_json)
		return r->line;
	buf_clear(&s->payload);
	if (record_payload(r, &s->payload, &payload, &e) != RECORD_BYTES)
		return r->line;
	if (json_parse(payload, &v, &why))
		return r->line;
	*is_json = true;
	buf_clear(&s->line);
	if (r->payload.type == JSON_STRING) {
		const char *from = r->payload.text.p - 1;

		buf_put(&s->line, r->line.p, (size_t)(from - r->line.p));
		buf_span(&s->line, payload);
		from += r->payload.text.len + 2;
		buf_put(&s->line, from, (size_t)(end - from));
	} else {
		buf_put(&s->line, r->line.p, (size_t)(r->payload_name - r->line.p));
		buf_puts(&s->line, "\"payload\":");
		buf_span(&s->line, payload);
		buf_putc(&s->line, ',');
		buf_put(&s->line, r->payload_name, (size_t)(end - r->payload_name));
	}
	return buf_as_span(&s->line);
}

static enum filter_verdict select_record(
	void *self, const struct record *r, struct buf *out, struct record_error *e)
{
	struct evsel *s = self;
	struct span text;
	bool is_json, holds;
	char why[200];

	(void)out;
	text = view(s, r, &is_json);
	switch (expr_holds(s->expr, text, &holds, why, sizeof(why))) {
	case EXPR_TEXT:
		s->seen++;
		s->kept += holds != s->invert;
		s->nulls += expr_was_null(s->expr);
		return holds != s->invert ? FILTER_PASS : FILTER_DROP;
	case EXPR_BAD_JSON:
		record_refuse(e, CLASS_JSON_DECODE, "jq cannot read the record: %s", why);
		break;
	case EXPR_TOO_DEEP:
		record_refuse(e, CLASS_TOO_LARGE, "jq cannot read the record: %s", why);
		break;
	default:
		record_refuse(e, is_json ? CLASS_MISSING_FIELD : CLASS_JSON_DECODE,
			"the expression failed%s: %s",
			is_json ? "" : ", and the payload is not JSON", why);
	}
	return FILTER_REFUSE;
}

/* ---- dead letters ---- */

/* A dead letter is written with its record last and as it came, blanks around it and all. */
static struct span with_blanks(struct span v)
{
	const char *from = v.p, *to = v.p + v.len;

	while (from[-1] == ' ' || from[-1] == '\t' || from[-1] == '\r')
		from--;
	while (*to == ' ' || *to == '\t' || *to == '\r')
		to++;
	return *to == '}' ? (struct span){from, (size_t)(to - from)} : v;
}

/* Finds the record that the dead letter holds: a span of the letter, or decoded into s->text.
 * Returns 0, or -1 when the line is no dead letter. */
static int open_letter(struct evsel *s, struct span letter, struct span *inner)
{
	struct json_value name, v, error = {0};
	struct span text;
	struct json j;
	int more;

	*inner = SPAN_NONE;
	json_init(&j, letter);
	if (json_enter(&j, '{'))
		return -1;
	while ((more = json_member(&j, &name, &v)) == 1) {
		buf_clear(&s->text);
		if (json_is(&name, "error")) {
			error = v;
		} else if (json_is(&name, "record") && v.type == JSON_OBJECT) {
			*inner = with_blanks(v.text);
		} else if (json_is(&name, "line") && v.type == JSON_STRING) {
			if (json_string(&v, &s->text, inner))
				return -1;
		} else if (json_is(&name, "line_b64") && v.type == JSON_STRING) {
			if (json_string(&v, &s->line, &text) || buf_unbase64(&s->text, text))
				return -1;
			*inner = buf_as_span(&s->text);
		}
	}
	return more == 0 && json_done(&j) == 0 && error.type == JSON_OBJECT && inner->p ? 0 : -1;
}

static enum filter_verdict undead(void *self, struct span line, const struct record *r,
	struct buf *out, struct record_error *e)
{
	struct evsel *s = self;
	struct record_error bad;
	struct record record;
	struct span letter = line, inner;

	buf_clear(&s->payload);
	buf_clear(&s->line);
	if (r && record_payload(r, &s->payload, &letter, e) != RECORD_BYTES)
		letter = SPAN("");
	if (open_letter(s, letter, &inner)) {
		/* A line that is not JSON keeps its class, json-decode. */
		if (r || e->class != CLASS_JSON_DECODE)
			record_refuse(e, CLASS_INVALID_RECORD, "not a dead letter");
		return FILTER_REFUSE;
	}
	if (memchr(inner.p, '\n', inner.len) || record_parse(&record, inner, &bad)) {
		if (memchr(inner.p, '\n', inner.len))
			record_refuse(&bad, CLASS_INVALID_RECORD, "it has a line end in it");
		record_refuse(e, bad.class, "the dead letter holds no record: %s", bad.message);
		return FILTER_REFUSE;
	}
	if (!r)
		buf_span(out, inner);
	else
		record_set_seq(&record, r->seq.type == JSON_STRING ? r->seq.text : SPAN_NONE, out);
	return FILTER_EDITED;
}

/* ---- the command line ---- */

static void parse_options(int argc, char **argv)
{
	static const char *const examples[] = {
		"kread -e orders | evsel '.payload.total > 100'",
		"evsel --invert '.headers | index(\"test\")' <records.ndjson",
		"evsel --undead <dead.ndjson | kwrite",
		NULL,
	};
	static const struct opt_page page = {
		.prog = "evsel",
		.summary = "Keeps the records for which a jq expression holds.",
		.examples = examples,
		.hints = input_hints,
		.libraries = {expr_library},
	};

	opt.expr = arg_str0(NULL, NULL, "EXPR",
		"jq expression; . is the record, .payload its JSON when it is JSON");
	opt.invert = arg_lit0(NULL, "invert", "keep the records for which it does not hold");
	opt.undead = arg_lit0(
		NULL, "undead", "turn dead letters back into their records; takes no EXPR");
	input_opts(&opt.input, INPUT_DEAD_TO_FILE);
	ack_opts(&opt.ack);
	opt_common(&opt.common);
	void *table[] = {opt.expr, opt.invert, opt.undead, INPUT_ENTRIES(opt.input),
		ACK_ENTRIES(opt.ack), OPT_COMMON_ENTRIES(opt.common), arg_end(8)};
	opt_parse(argc, argv, table, &opt.common, &page);
}

/* Whether an assignment stands in the program, outside of strings: what it gives is a record, and
 * that holds. */
static bool assigns(const char *program)
{
	bool is_text = false;

	for (const char *c = program; *c; c++) {
		if (is_text && *c == '\\' && c[1])
			c++;
		else if (*c == '"')
			is_text = !is_text;
		else if (!is_text && c[0] == '=' && c[1] == '=')
			c++;
		else if (!is_text && *c == '=' && (c == program || !strchr("!<>", c[-1])))
			return true;
	}
	return false;
}

static void take_options(struct evsel *s)
{
	const char *text = opt_text(opt.expr, "EXPR");
	char why[300];

	if (opt.undead->count && (text || opt.invert->count))
		opt_bad("--undead takes neither EXPR nor --invert");
	if (!opt.undead->count && !text)
		opt_bad("nothing to do: give EXPR or --undead");
	s->invert = opt.invert->count;
	if (text && !(s->expr = expr_compile(text, why, sizeof(why))))
		opt_bad("'%s' is not a jq expression: %s", text, why);
	if (text && assigns(text))
		msg_warn(
			"'=' assigns in jq, and what it gives holds for each record; '==' compares");
}

int main(int argc, char **argv)
{
	struct evsel s = {0};
	int status;

	parse_options(argc, argv);
	take_options(&s);
	status = filter_run(&(struct filter){
		.each = opt.undead->count ? NULL : select_record,
		.line = opt.undead->count ? undead : NULL,
		.self = &s,
		.input = &opt.input,
		.ack = &opt.ack,
		.reads_as_it_stands = opt.undead->count > 0,
	});
	if (s.seen)
		msg_info("kept %" PRIu64 " of %" PRIu64 " %s: the expression was null for %" PRIu64
			 " of %s",
			s.kept, s.seen, PLURAL(s.seen, "record", "records"), s.nulls,
			PLURAL(s.seen, "it", "them"));
	return status;
}
