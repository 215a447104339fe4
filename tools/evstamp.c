/* SPDX-License-Identifier: ISC */
/* evstamp - provenance: stamp an origin, drop records of given origins, limit hops.
 *
 * DESIGN: two bridges that mirror each other echo every record for ever unless each drops the
 * records that the other one brought. The origin stands in a field of the payload (.source) or in a
 * header. The origin is read before the record is stamped, so `--drop nas-worker --set
 * cloud-run-api` in one direction and `--drop cloud-run-api` in the other close the loop. A drop is
 * a declared choice and counted. A record over the hop limit is an error (`loop`): a guard that
 * works lets no record get so far.
 *
 * A payload is edited in place: the new text is spliced in and all other bytes stay. A payload that
 * is not JSON has no origin: it passes --drop, and cannot be stamped.
 *
 * Most payloads are not parsed for --drop. A payload that holds neither the bytes of a name nor an
 * escape \u that could stand for one of them has another origin or none, and is not dropped. */
#include "base/buf.h"
#include "flow/filter.h"
#include "base/msg.h"
#include "base/num.h"
#include "base/opt.h"
#include "json/path.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Where a mark stands: a header, or a member of an object in the payload. */
struct place {
	struct span header; /* else p is NULL and: */
	struct path *path; /* the member */
	struct path *parent; /* the object it belongs to */
	struct span name; /* the member's name */
};

struct evstamp {
	struct place origin, hops;
	const char *set;
	int64_t max_hops; /* -1: no limit */
	struct buf json; /* set, as JSON text */
	const char **drop, **only;
	int drop_count, only_count;
	/* The payload's member that was looked for last in this record; place NULL: none yet. */
	struct {
		const struct place *place;
		struct span payload;
		struct json_value value;
		int found; /* as path_find has it */
		struct json why;
	} seen;
	struct buf payload, scratch, text, edited;
};

static struct {
	struct opt_common common;
	struct input_opts input;
	struct ack_opts ack;
	struct arg_str *set, *drop, *only, *at, *max_hops;
} opt;

static enum filter_verdict refuse(
	struct record_error *e, enum errclass c, const char *what, const char *why)
{
	record_refuse(e, c, "%s%s%s", what, why ? ": " : "", why ? why : "");
	return FILTER_REFUSE;
}

/* ---- reading a mark ---- */

/* Finds the member in the payload and leaves it in s->seen. Returns false, with @e, when the
 * payload is not JSON. */
static bool look(
	struct evstamp *s, const struct record *r, const struct place *p, struct record_error *e)
{
	enum record_bytes got;

	if (s->seen.place != p) {
		buf_clear(&s->payload);
		got = record_payload(r, &s->payload, &s->seen.payload, e);
		if (got == RECORD_NULL)
			refuse(e, CLASS_JSON_DECODE, "the payload is null, not a JSON object",
				NULL);
		if (got != RECORD_BYTES)
			return false;
		s->seen.place = p;
		s->seen.found = path_find(p->path, s->seen.payload, &s->seen.value, &s->seen.why);
	}
	if (s->seen.found < 0)
		refuse(e, s->seen.why.deep ? CLASS_TOO_LARGE : CLASS_JSON_DECODE,
			"the payload is not JSON", s->seen.why.why);
	return s->seen.found >= 0;
}

enum mark { MARK_NONE, MARK_TEXT, MARK_NOT_JSON, MARK_BAD };

/* The text of the mark: a header's value, a string member's, or a number's. */
static enum mark read_mark(struct evstamp *s, const struct record *r, const struct place *p,
	struct span *text, struct record_error *e)
{
	const struct json_value *v = &s->seen.value;

	buf_clear(&s->scratch);
	if (p->header.p) {
		int found = record_header_find(r, p->header.p, &s->scratch, text, e);

		return found < 0 ? MARK_BAD : found && text->p ? MARK_TEXT : MARK_NONE;
	}
	if (!look(s, r, p, e))
		return MARK_NOT_JSON;
	if (v->type == JSON_NUMBER)
		*text = v->text;
	else if (v->type != JSON_STRING || json_string(v, &s->scratch, text))
		return MARK_NONE;
	return MARK_TEXT;
}

static bool is_one_of(struct span text, const char **names, int count)
{
	for (int i = 0; i < count; i++)
		if (span_is(text, names[i]))
			return true;
	return false;
}

/* Whether the origin may be one of those to drop, by what bytes the payload is made of. */
static bool may_be_dropped(const struct evstamp *s, const struct record *r)
{
	if (s->origin.header.p || r->payload.type <= JSON_NULL)
		return s->drop_count > 0;
	for (int i = 0; i < s->drop_count; i++)
		if (json_may_hold(r->payload.text, (struct span){s->drop[i], strlen(s->drop[i])}))
			return true;
	return false;
}

/* ---- writing a mark ---- */

/* Where behind the last member of an object `{…}` a new one goes, and whether it needs a comma. */
static size_t last_member_end(struct span object, bool *first)
{
	size_t n = object.len - 1;

	while (n > 1 && strchr(" \t\r\n", object.p[n - 1]))
		n--;
	*first = n == 1;
	return n;
}

/* Appends to @out the line with the mark set. @json is the value as JSON text, @plain as a
 * header. */
static enum filter_verdict write_mark(struct evstamp *s, const struct record *r,
	const struct place *p, struct span json, struct span plain, struct buf *out,
	struct record_error *e)
{
	const struct json_value *v = &s->seen.value;
	struct json_value parent;
	struct span payload;
	size_t from, to;
	bool first;

	if (p->header.p) {
		record_set_header(r, p->header, plain, out);
		return FILTER_EDITED;
	}
	if (!look(s, r, p, e))
		return FILTER_REFUSE;
	payload = s->seen.payload;
	buf_clear(&s->text);
	if (s->seen.found) {
		from = (size_t)(v->text.p - payload.p) - (v->type == JSON_STRING);
		to = from + v->text.len + (v->type == JSON_STRING ? 2 : 0);
	} else {
		if (path_find(p->parent, payload, &parent, NULL) != 1 || parent.type != JSON_OBJECT)
			return refuse(e, CLASS_JSON_DECODE,
				"the payload is JSON without an object to stamp", NULL);
		from = to =
			(size_t)(parent.text.p - payload.p) + last_member_end(parent.text, &first);
		buf_puts(&s->text, first ? "" : ",");
		json_put_text(&s->text, p->name);
		buf_putc(&s->text, ':');
	}
	buf_span(&s->text, json);
	record_splice_payload(r, from, to, buf_as_span(&s->text), out);
	return FILTER_EDITED;
}

/* One hop more, or refused. */
static enum filter_verdict count_hop(
	struct evstamp *s, const struct record *r, struct buf *out, struct record_error *e)
{
	struct span text;
	int64_t hops = 0;
	char digits[24];

	switch (read_mark(s, r, &s->hops, &text, e)) {
	case MARK_NOT_JSON:
	case MARK_BAD:
		return FILTER_REFUSE;
	case MARK_TEXT:
		snprintf(digits, sizeof(digits), "%.*s", (int)(text.len < 20 ? text.len : 20),
			text.p);
		if (num_i64(digits, &hops) || hops < 0)
			return refuse(e, CLASS_INVALID_RECORD,
				"the hop count is not a whole number", digits);
		break;
	case MARK_NONE:
		break;
	}
	if (hops >= s->max_hops) {
		snprintf(e->message, sizeof(e->message),
			"went through %lld %s, the limit is %lld: two bridges may echo each other",
			(long long)hops, PLURAL(hops, "hop", "hops"), (long long)s->max_hops);
		e->class = CLASS_LOOP;
		return FILTER_REFUSE;
	}
	text = (struct span){digits, (size_t)sprintf(digits, "%lld", (long long)hops + 1)};
	return write_mark(s, r, &s->hops, text, text, out, e);
}

static enum filter_verdict stamp(
	struct evstamp *s, const struct record *r, struct buf *out, struct record_error *e)
{
	return write_mark(s, r, &s->origin, buf_as_span(&s->json),
		(struct span){s->set, strlen(s->set)}, out, e);
}

static enum filter_verdict on_record(
	void *self, const struct record *r, struct buf *out, struct record_error *e)
{
	struct evstamp *s = self;
	struct record counted;
	struct span origin;

	s->seen.place = NULL;
	if (s->only_count || may_be_dropped(s, r)) {
		enum mark m = read_mark(s, r, &s->origin, &origin, e);

		if (m == MARK_BAD)
			return FILTER_REFUSE;
		if (m != MARK_TEXT)
			origin = SPAN_NONE;
		if (is_one_of(origin, s->drop, s->drop_count))
			return FILTER_DROP;
		if (s->only_count && !is_one_of(origin, s->only, s->only_count))
			return FILTER_DROP;
	}
	if (s->max_hops < 0)
		return s->set ? stamp(s, r, out, e) : FILTER_PASS;
	if (!s->set)
		return count_hop(s, r, out, e);
	buf_clear(&s->edited);
	if (count_hop(s, r, &s->edited, e) == FILTER_REFUSE ||
		record_parse(&counted, buf_as_span(&s->edited), e))
		return FILTER_REFUSE;
	s->seen.place = NULL;
	return stamp(s, &counted, out, e);
}

/* ---- the command line ---- */

static struct path *must_parse(const char *text)
{
	struct path *p = path_parse(text);

	if (!p)
		opt_bad("--at takes .PATH or header:NAME, not '%s'", text);
	return p;
}

/* The place beside @at that --max-hops counts in: member or header "hops". */
static void parse_at(struct evstamp *s, const char *at)
{
	if (strncmp(at, "header:", 7) == 0 && at[7]) {
		s->origin.header = (struct span){at + 7, strlen(at + 7)};
		s->hops.header = SPAN("hops");
		return;
	}
	s->origin.path = must_parse(at);
	s->origin.parent = path_parent(s->origin.path, &s->origin.name);
	if (!s->origin.parent)
		opt_bad("--at takes a path that ends in a name, not '%s'", at);
	s->hops.parent = path_parent(s->origin.path, &s->hops.name);
	s->hops.name = SPAN("hops");
	s->hops.path = path_sibling(s->origin.path, s->hops.name);
}

static void parse_options(int argc, char **argv)
{
	static const char *const examples[] = {
		"rsub -p 'sse:*' | evstamp --drop nas-worker --set cloud-run-api | kwrite -t '{channel#sse:}'",
		"evstamp --drop cloud-run-api <records.ndjson",
		"evstamp --at header:origin --set site-a --max-hops 3 <records.ndjson",
		NULL,
	};
	static const struct opt_page page = {
		.prog = "evstamp",
		.summary =
			"Stamps the origin of records, drops those of given origins, limits hops.",
		.examples = examples,
		.hints = input_hints,
	};

	opt.set = arg_str0(NULL, "set", "NAME", "write NAME as the record's origin");
	opt.drop = opt_many(NULL, "drop", "NAME", 0, "drop records of this origin");
	opt.only = opt_many(NULL, "only", "NAME", 0, "drop records of any other origin");
	opt.at = arg_str0(NULL, "at", "PLACE",
		"where the origin stands: .PATH in the payload, or header:NAME (default .source)");
	opt.max_hops = arg_str0(NULL, "max-hops", "N",
		"refuse a record that was stamped so N times before, counted in 'hops' beside PLACE");
	input_opts(&opt.input, INPUT_DEAD_TO_FILE);
	ack_opts(&opt.ack);
	opt_common(&opt.common);
	void *table[] = {opt.set, opt.drop, opt.only, opt.at, opt.max_hops,
		INPUT_ENTRIES(opt.input), ACK_ENTRIES(opt.ack), OPT_COMMON_ENTRIES(opt.common),
		arg_end(8)};
	opt_parse(argc, argv, table, &opt.common, &page);
}

static void take_options(struct evstamp *s)
{
	s->set = opt_text(opt.set, "--set");
	if (s->set && !json_utf8((struct span){s->set, strlen(s->set)}))
		opt_bad("--set takes a name in UTF-8");
	if (s->set)
		json_put_text(&s->json, (struct span){s->set, strlen(s->set)});
	s->max_hops = opt_int(opt.max_hops, "--max-hops", -1, 0, 1000000);
	s->drop = opt.drop->sval;
	s->drop_count = opt.drop->count;
	s->only = opt.only->sval;
	s->only_count = opt.only->count;
	if (!s->set && s->max_hops < 0 && !s->drop_count && !s->only_count)
		opt_bad("nothing to do: give --set, --drop, --only or --max-hops");
	parse_at(s, opt.at->count ? opt_text(opt.at, "--at") : ".source");
}

int main(int argc, char **argv)
{
	struct evstamp s = {0};

	parse_options(argc, argv);
	take_options(&s);
	return filter_run(&(struct filter){
		.each = on_record,
		.self = &s,
		.input = &opt.input,
		.ack = &opt.ack,
	});
}
