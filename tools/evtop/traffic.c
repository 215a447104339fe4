/* SPDX-License-Identifier: ISC */
#include "evtop/traffic.h"

#include "base/mem.h"
#include "base/metrics.h"

#include <stdlib.h>

/* ---- counting ---- */

static void name_place(const struct record *r, struct buf *name)
{
	struct record_error e;
	struct span s;

	buf_clear(name);
	if (r->topic.type == JSON_STRING) {
		json_unescape(name, r->topic.text);
		buf_putc(name, '/');
		buf_span(name, r->partition.text);
	} else if (record_name(&r->stream, &r->stream_b64, name, &s, &e) == RECORD_BYTES ||
		record_name(&r->channel, &r->channel_b64, name, &s, &e) == RECORD_BYTES) {
		if (!name->len)
			buf_span(name, s);
	} else {
		buf_putc(name, '-');
	}
}

static bool is_place(const struct place *p, struct span name)
{
	return p->len == name.len && memcmp(p->name, name.p, name.len) == 0;
}

static struct place *add_place(struct traffic *t, struct span name)
{
	struct place *p = &t->places[t->place_count];

	if (t->place_count == PLACES_MAX)
		return &t->places[PLACES_MAX - 1];
	if (t->place_count == PLACES_MAX - 1)
		name = SPAN("(others)");
	t->place_count++;
	*p = (struct place){
		.name = mem_alloc(name.len + 1), .len = name.len, .offset = -1, .ms = -1};
	memcpy(p->name, name.p, name.len);
	return p;
}

/* Records come from one place in runs. */
static struct place *place_of(struct traffic *t, const struct record *r)
{
	struct span name;

	name_place(r, &t->name);
	name = buf_as_span(&t->name);
	if (t->last_place < t->place_count && is_place(&t->places[t->last_place], name))
		return &t->places[t->last_place];
	for (size_t i = 0; i < t->place_count; i++)
		if (is_place(&t->places[i], name)) {
			t->last_place = i;
			return &t->places[i];
		}
	return add_place(t, name);
}

static void add_time(struct traffic *t, struct place *p, const struct record *r, int64_t now_ms)
{
	int64_t ms = record_time_ms(r);

	if (ms == -1) {
		t->undated++;
		return;
	}
	p->ms = ms;
	spread_add(&t->delays, ms < now_ms ? (uint64_t)now_ms - (uint64_t)ms : 0);
}

void traffic_add(struct traffic *t, const struct record *r, int64_t now_ms)
{
	struct place *p = place_of(t, r);
	struct record_error e;
	struct span s;

	t->records++;
	p->records++;
	p->offset = record_int(&r->offset, -1);
	add_time(t, p, r, now_ms);
	buf_clear(&t->scratch);
	if (record_key(r, &t->scratch, &s, &e) == RECORD_BYTES)
		heavy_add(&t->keys, s);
	else
		t->without_key++;
	buf_clear(&t->scratch);
	if (record_payload(r, &t->scratch, &s, &e) == RECORD_BYTES) {
		spread_add(&t->sizes, s.len);
		t->bytes += s.len;
	} else {
		t->tombstones++;
	}
}

void traffic_take(struct traffic *t, double seconds)
{
	rate_take(&t->record_rate, (double)t->records, seconds);
	rate_take(&t->byte_rate, (double)t->bytes, seconds);
	for (size_t i = 0; i < t->place_count; i++)
		rate_take(&t->places[i].rate, (double)t->places[i].records, seconds);
}

/* ---- printing ---- */

static double share(uint64_t part, uint64_t all)
{
	return all ? 100 * (double)part / (double)all : 0;
}

static void put_spread(
	const struct spread *s, void (*figure)(struct buf *, double), struct buf *out)
{
	static const struct {
		const char *name;
		double q;
	} quantiles[] = {{"p50 ", 0.5}, {"  p99 ", 0.99}, {"  max ", 1}};

	for (size_t i = 0; i < 3; i++) {
		buf_puts(out, quantiles[i].name);
		figure(out, (double)spread_quantile(s, quantiles[i].q));
	}
	buf_putc(out, '\n');
}

static void put_errors(struct buf *out)
{
	uint64_t refused = 0;

	for (int c = 0; c < CLASS_COUNT; c++)
		refused += metrics.errors[c];
	if (!refused)
		return;
	buf_printf(out, "refused  %llu", (unsigned long long)refused);
	for (int c = 0; c < CLASS_COUNT; c++)
		if (metrics.errors[c])
			buf_printf(out, "  %s %llu", errclass_name((enum errclass)c),
				(unsigned long long)metrics.errors[c]);
	buf_putc(out, '\n');
}

static void put_summary(struct traffic *t, bool utf8, struct buf *out)
{
	buf_printf(out, "records  %llu  ", (unsigned long long)t->records);
	figures_rate(out, t->record_rate.now);
	buf_puts(out, "/s  ");
	rate_sparkline(&t->record_rate, utf8, out);
	buf_puts(out, "\nbytes    ");
	figures_bytes(out, (double)t->bytes);
	buf_puts(out, "  ");
	figures_bytes(out, t->byte_rate.now);
	buf_puts(out, "/s  ");
	rate_sparkline(&t->byte_rate, utf8, out);
	buf_puts(out, "\nsize     ");
	put_spread(&t->sizes, figures_bytes, out);
	buf_puts(out, "delay    ");
	if (t->delays.total)
		put_spread(&t->delays, figures_ms, out);
	else
		buf_puts(out, "-\n");
	if (t->tombstones || t->without_key)
		buf_printf(out, "null     payload %llu (%.1f %%)  key %llu (%.1f %%)\n",
			(unsigned long long)t->tombstones, share(t->tombstones, t->records),
			(unsigned long long)t->without_key, share(t->without_key, t->records));
	put_errors(out);
}

static int by_records(const void *a, const void *b)
{
	const struct place *const *x = a, *const *y = b;

	if ((*x)->records != (*y)->records)
		return (*x)->records < (*y)->records ? 1 : -1;
	return strncmp((*x)->name, (*y)->name, (*x)->len < (*y)->len ? (*x)->len : (*y)->len);
}

static void put_places(struct traffic *t, struct table *table, size_t rows, struct buf *out)
{
	struct place *all[PLACES_MAX];

	for (size_t i = 0; i < t->place_count; i++)
		all[i] = &t->places[i];
	qsort(all, t->place_count, sizeof(struct place *), by_records);
	table_begin(table, 6);
	for (const char *const *h = (const char *const[]){"PLACE", "RECORDS", "SHARE", "RATE/S",
		     "OFFSET", "AGE", NULL};
		*h; h++)
		table_text(table, *h);
	for (size_t i = 0; i < t->place_count && i < rows; i++) {
		const struct place *p = all[i];

		table_cell(table, (struct span){p->name, p->len});
		table_int(table, p->records);
		table_print(table, "%.1f %%", share(p->records, t->records));
		figures_rate(table_open(table), p->rate.now);
		table_close(table);
		if (p->offset < 0)
			table_text(table, "-");
		else
			table_int(table, (uint64_t)p->offset);
		if (p->ms == -1)
			buf_putc(table_open(table), '-');
		else
			figures_ms(table_open(table),
				p->ms < t->now_ms ? (double)t->now_ms - (double)p->ms : 0);
		table_close(table);
	}
	table_put(table, out);
	if (t->place_count > rows)
		buf_printf(out, "… and %zu more\n", t->place_count - rows);
}

static void put_keys(struct traffic *t, struct table *table, size_t rows, struct buf *out)
{
	const struct heavy_key *top[HEAVY_MAX];
	size_t n = heavy_top(&t->keys, top, rows < HEAVY_MAX ? rows : HEAVY_MAX);

	table_begin(table, 3);
	table_text(table, "KEY");
	table_text(table, "RECORDS");
	table_text(table, "SHARE");
	for (size_t i = 0; i < n; i++) {
		const struct heavy_key *k = top[i];

		/* More than half of it is what rarer keys have left: nothing is known of this
		 * one. */
		if (k->over > k->count / 2)
			break;
		table_cell(table, (struct span){k->text, k->len});
		table_print(table, k->over ? "~%llu" : "%llu", (unsigned long long)k->count);
		table_print(table, "%.1f %%", share(k->count, t->records));
	}
	table_put(table, out);
}

void traffic_print(struct traffic *t, struct table *table, size_t rows, bool utf8, struct buf *out)
{
	put_summary(t, utf8, out);
	buf_putc(out, '\n');
	put_places(t, table, rows, out);
	if (t->keys.count) {
		buf_putc(out, '\n');
		put_keys(t, table, rows, out);
	}
	t->delays = (struct spread){0};
}
