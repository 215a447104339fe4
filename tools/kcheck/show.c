/* SPDX-License-Identifier: ISC */
#define _GNU_SOURCE
#include "kcheck/paint.h"

#include "base/mem.h"
#include "base/msg.h"
#include "json/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- text ---- */

void paint(const struct show *s, struct buf *b, bool ok, const char *text)
{
	if (s->colour)
		buf_puts(b, ok ? "\033[32m" : "\033[31m");
	buf_puts(b, text);
	if (s->colour)
		buf_puts(b, "\033[0m");
}

void paint_text(struct buf *b, const char *text)
{
	size_t at = b->len;

	buf_puts(b, text);
	buf_putc(b, '\0');
	msg_clean(b->p + at);
	b->len = at + strlen(b->p + at);
}

void paint_at(struct buf *b, const char *host, const char *port)
{
	bool is_ipv6 = strchr(host, ':');

	buf_puts(b, is_ipv6 ? "[" : "");
	paint_text(b, host);
	buf_printf(b, is_ipv6 ? "]:%s" : ":%s", port);
}

/* "bootstrap", "broker 1", "bootstrap, brokers 1 2". */
static void put_role(struct buf *b, const struct check_listener *l)
{
	if (l->is_bootstrap)
		buf_puts(b, l->broker_count ? "bootstrap, " : "bootstrap");
	if (l->broker_count)
		buf_puts(b, l->broker_count > 1 ? "brokers" : "broker");
	paint_ids(b, l->brokers, l->broker_count, " ");
}

static void put_ms(struct buf *b, int64_t us)
{
	buf_printf(b, " %d.%d ms", (int)(us / 1000), (int)(us / 100 % 10));
}

static void put_resolved(struct buf *b, const struct check_listener *l)
{
	if (l->resolve_error) {
		buf_puts(b, "  does not resolve");
		return;
	}
	buf_puts(b, l->is_mapped ? "  resolved by --resolve to" : "  resolved to");
	for (int i = 0; i < l->address_count; i++)
		buf_printf(b, "%s %s", i ? "," : "", l->addresses[i].text);
	if (l->is_mapped && strcmp(l->port, l->to_port) != 0)
		buf_printf(b, " port %s", l->to_port);
	if (l->resolve_us)
		put_ms(b, l->resolve_us);
}

/* "TLSv1.3 2.1 ms", "TLS failed", "no TLS". */
static void put_tls(struct buf *b, const struct talk *t, bool tls)
{
	if (!tls)
		buf_puts(b, "  no TLS");
	else if (t->step < TALK_SHAKES)
		buf_puts(b, "  TLS -");
	else if (t->step == TALK_SHAKES)
		buf_puts(b, "  TLS failed");
	else {
		buf_printf(b, "  %s", t->tls.version);
		put_ms(b, t->step_us[TALK_SHAKES]);
	}
}

static void put_login(struct buf *b, const struct talk *t, const struct talk_as *as)
{
	if (!as->sasl)
		buf_puts(b, "  no login");
	else if (t->step < TALK_ASKS_MECHANISMS)
		buf_puts(b, "  login -");
	else if (t->step <= TALK_LOGS_IN)
		buf_puts(b, "  login failed");
	else {
		buf_printf(b, "  login %s", as->login.mechanism);
		put_ms(b, t->step_us[TALK_LOGS_IN]);
	}
}

static void put_text(const struct show *s, struct buf *b, const struct check_listener *l)
{
	const struct check_address *a = check_farthest(l);

	paint(s, b, !l->verdict.status, l->verdict.status ? "FAIL" : "good");
	buf_puts(b, "  ");
	paint_text(b, l->name);
	buf_puts(b, "  ");
	put_role(b, l);
	put_resolved(b, l);
	if (a) {
		const struct talk *t = &a->talk;

		if (t->step == TALK_DIALS) {
			buf_puts(b,
				t->fault == TALK_REFUSED	  ? "  dialled: refused"
					: t->fault == TALK_SILENT ? "  dialled: time-out"
								  : "  dialled: failed");
		} else {
			buf_puts(b, "  dialled");
			put_ms(b, t->step_us[TALK_DIALS]);
		}
		put_tls(b, t, t->as->tls);
		put_login(b, t, t->as);
	}
	buf_putc(b, '\n');
}

/* ---- JSON ---- */

void paint_member(struct buf *b, const char *name, const char *text)
{
	char *clean = mem_dup(text);

	if (!json_utf8((struct span){text, strlen(text)}))
		msg_clean(clean);
	buf_putc(b, ',');
	json_put_member(b, name, (struct span){clean, strlen(clean)});
	free(clean);
}

void paint_verdict(struct buf *b, const struct check_verdict *v)
{
	buf_printf(b, ",\"ok\":%s", v->status ? "false" : "true");
	paint_member(b, "verdict", v->text);
	if (*v->remedy)
		paint_member(b, "remedy", v->remedy);
	if (*v->note)
		paint_member(b, "note", v->note);
}

void paint_ids(struct buf *b, const int32_t *ids, int32_t n, const char *separator)
{
	for (int32_t i = 0; i < n; i++)
		buf_printf(b, "%s%d", i || *separator == ' ' ? separator : "", ids[i]);
}

static void put_time(struct buf *b, const char *name, int64_t s)
{
	time_t t = (time_t)s;
	char text[40];
	struct tm tm;

	gmtime_r(&t, &tm);
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
	paint_member(b, name, text);
}

static void put_json_ms(struct buf *b, const char *name, int64_t us)
{
	buf_printf(b, ",\"%s\":%d.%03d", name, (int)(us / 1000), (int)(us % 1000));
}

static void put_json_tls(struct buf *b, const struct tls_report *r)
{
	static const char *const flaws[] = {
		"expired", "not yet valid", "host name", "unknown CA", "other"};
	const char *comma = "";

	buf_puts(b, ",\"tls\":{\"version\":");
	if (r->version)
		json_put_text(b, (struct span){r->version, strlen(r->version)});
	else
		buf_puts(b, "null");
	if (*r->subject || *r->names) {
		paint_member(b, "subject", r->subject);
		paint_member(b, "issuer", r->issuer);
		paint_member(b, "names", r->names);
		put_time(b, "not_before", r->from_s);
		put_time(b, "not_after", r->until_s);
	}
	buf_puts(b, ",\"flaws\":[");
	for (unsigned i = 0; i < sizeof(flaws) / sizeof(*flaws); i++)
		if (r->flaws & 1U << i) {
			buf_printf(b, "%s\"%s\"", comma, flaws[i]);
			comma = ",";
		}
	buf_puts(b, "]}");
}

static void put_json_address(struct buf *b, const struct check_address *a)
{
	const struct talk *t = &a->talk;

	buf_puts(b, "{");
	json_put_member(b, "address", (struct span){a->text, strlen(a->text)});
	buf_printf(b, ",\"ok\":%s", t->done ? "true" : "false");
	if (t->step > TALK_DIALS)
		put_json_ms(b, "dial_ms", t->step_us[TALK_DIALS]);
	if (t->as->tls && t->step >= TALK_SHAKES) {
		put_json_ms(b, "tls_ms", t->step_us[TALK_SHAKES]);
		put_json_tls(b, &t->tls);
	}
	if (t->step >= TALK_ASKS_VERSIONS)
		put_json_ms(b, "versions_ms", t->step_us[TALK_ASKS_VERSIONS]);
	if (t->as->sasl && t->step >= TALK_ASKS_MECHANISMS) {
		paint_member(b, "mechanism", t->as->login.mechanism);
		buf_puts(b, ",\"offered\":");
		json_put_text(b, buf_as_span(&t->mechanisms));
		put_json_ms(b, "login_ms", t->step_us[TALK_LOGS_IN]);
	}
	if (t->step >= TALK_ASKS_METADATA)
		put_json_ms(b, "metadata_ms", t->step_us[TALK_ASKS_METADATA]);
	buf_putc(b, '}');
}

static void put_json(struct buf *b, const struct check_listener *l)
{
	buf_putc(b, '{');
	json_put_member(b, "listener", (struct span){l->name, strlen(l->name)});
	paint_verdict(b, &l->verdict);
	buf_printf(b, ",\"bootstrap\":%s,\"brokers\":[", l->is_bootstrap ? "true" : "false");
	paint_ids(b, l->brokers, l->broker_count, ",");
	buf_printf(b, "],\"resolved\":%s", l->resolve_error ? "false" : "true");
	put_json_ms(b, "ms", l->took_us);
	put_json_ms(b, "resolve_ms", l->resolve_us);
	buf_puts(b, ",\"addresses\":[");
	for (int i = 0; i < l->address_count; i++) {
		if (i)
			buf_putc(b, ',');
		put_json_address(b, &l->addresses[i]);
	}
	buf_puts(b, "]}\n");
}

/* ---- both ---- */

void show_listener(const struct show *s, struct buf *b, const struct check_listener *l)
{
	if (s->json)
		put_json(b, l);
	else
		put_text(s, b, l);
}

static void put_words(struct buf *b, const char *what, const char *words)
{
	if (!*words)
		return;
	buf_puts(b, what);
	paint_text(b, words);
	buf_putc(b, '\n');
}

bool show_verdict(const struct show *s, struct buf *b, const struct check_verdict *v)
{
	if (s->json)
		return !v->status;
	put_words(b, "note: ", v->note);
	if (!v->status)
		return true;
	paint(s, b, false, "verdict: ");
	put_words(b, "", v->text);
	put_words(b, "remedy: ", v->remedy);
	return false;
}

void show_good(const struct show *s, struct buf *b)
{
	if (s->json)
		return;
	paint(s, b, true, "verdict: ");
	buf_puts(b, "good\n");
}
