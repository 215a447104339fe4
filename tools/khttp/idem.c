/* SPDX-License-Identifier: ISC */
#include "khttp/idem.h"

#include "base/mem.h"

#include <inttypes.h>
#include <stdlib.h>

enum { SLOTS = 1 << 14, PASS_BYTES = 1 << 16 };

/* It stands in a list of its entry, and in one of all by their time. */
struct waiting {
	struct waiting *next, *newer;
	struct http_request *r; /* NULL: it has gone, or was answered */
	int64_t since_ms;
	bool over; /* one of the lists does not have it any more */
};

struct idem_entry {
	struct idem_entry *next; /* in its slot */
	struct idem_entry *newer, *older;
	char *key; /* path, as it is without % and the like, and key */
	uint64_t hash, body_hash;
	int64_t until_ms; /* 0: its answer is not there */
	int status;
	const char *type;
	struct buf body;
	enum idem_outcome outcome;
	bool forgotten; /* its answer */
	struct waiting *waiting;
};

struct idem {
	struct idem_entry *slots[SLOTS];
	struct idem_entry *oldest, *newest; /* of those that are answered */
	struct idem_entry *full; /* the oldest of them whose answer is not forgotten */
	size_t count, bytes;
	uint64_t *repeated;
	struct waiting *first, *last;
};

struct idem *idem_open(uint64_t *repeated)
{
	struct idem *d = mem_alloc(sizeof(*d));

	*d = (struct idem){.repeated = repeated};
	return d;
}

/* FNV-1a. @file: the body that @s is; NULL: it stands by itself. */
static uint64_t hash_of(struct span s, struct http_body *file)
{
	uint64_t h = 0xcbf29ce484222325;

	for (size_t i = 0; i < s.len; i++) {
		h = (h ^ (unsigned char)s.p[i]) * 0x100000001b3;
		if (i % PASS_BYTES == 0)
			http_body_pass(file, s.p + i);
	}
	return h;
}

static struct idem_entry **find(struct idem *d, const char *key, uint64_t hash)
{
	struct idem_entry **e = &d->slots[hash % SLOTS];

	while (*e && ((*e)->hash != hash || strcmp((*e)->key, key)))
		e = &(*e)->next;
	return e;
}

static void unchain(struct idem *d, struct idem_entry *e)
{
	if (d->full == e)
		d->full = e->newer;
	*(e->older ? &e->older->newer : &d->oldest) = e->newer;
	*(e->newer ? &e->newer->older : &d->newest) = e->older;
}

static void drop(struct idem *d, struct idem_entry *e)
{
	*find(d, e->key, e->hash) = e->next;
	if (e->until_ms)
		unchain(d, e);
	d->count--;
	d->bytes -= e->body.len;
	buf_free(&e->body);
	free(e->key);
	free(e);
}

static void forget_old(struct idem *d, int64_t now_ms)
{
	while (d->oldest && (d->oldest->until_ms <= now_ms || d->count > IDEM_KEYS_MAX))
		drop(d, d->oldest);
	for (; d->full && d->bytes > IDEM_ANSWER_BYTES; d->full = d->full->newer) {
		d->bytes -= d->full->body.len;
		buf_free(&d->full->body);
		d->full->forgotten = true;
	}
}

static void on_done(struct http_request *r, bool whole)
{
	struct waiting *w = r->user;

	(void)whole;
	w->r = NULL;
}

static void wait_for(struct idem *d, struct idem_entry *e, struct http_request *r, int64_t now_ms)
{
	struct waiting *w = mem_alloc(sizeof(*w));

	*w = (struct waiting){.next = e->waiting, .r = r, .since_ms = now_ms};
	e->waiting = w;
	*(d->last ? &d->last->newer : &d->first) = w;
	d->last = w;
	r->user = w;
	r->done = on_done;
}

static void leave(struct waiting *w)
{
	w->r = NULL;
	if (w->over)
		free(w);
	else
		w->over = true;
}

void idem_tick(struct idem *d, int64_t now_ms, int64_t timeout_ms)
{
	struct waiting *w;

	/* Those that have gone, or were answered, are not kept for longer. */
	while ((w = d->first) && (!w->r || (timeout_ms && now_ms - w->since_ms >= timeout_ms))) {
		d->first = w->newer;
		if (!d->first)
			d->last = NULL;
		if (w->r) {
			w->r->done = NULL;
			http_error(w->r, 504, IDEM_UNKNOWN, timeout_ms);
		}
		leave(w);
	}
}

static void reply(const struct idem_entry *e, struct http_request *r, struct span text)
{
	struct buf body = {0};

	http_set_header(r, "Idempotency-Replayed", "true");
	if (e->forgotten && e->outcome == IDEM_DONE) {
		http_reply(r, 204, NULL, NULL);
	} else if (e->forgotten) {
		http_error(r, 500,
			"a part of this was done, and which is not remembered any more: the answers "
			"since then were too long");
	} else {
		buf_span(&body, text);
		http_reply(r, e->status, e->type, &body);
	}
}

static struct idem_entry *add(struct idem *d, char *key, uint64_t hash, uint64_t body_hash)
{
	struct idem_entry *e = mem_alloc(sizeof(*e));

	*e = (struct idem_entry){
		.next = d->slots[hash % SLOTS], .key = key, .hash = hash, .body_hash = body_hash};
	d->slots[hash % SLOTS] = e;
	d->count++;
	return e;
}

bool idem_begin(struct idem *d, struct http_request *r, int64_t now_ms, struct idem_entry **entry)
{
	const char *header = http_header(r, "Idempotency-Key");
	const char *partition = http_param(r, "partition");
	uint64_t hash, body_hash;
	struct idem_entry *e;
	char *key;

	*entry = NULL;
	if (!header)
		return false;
	if (!*header || strlen(header) > IDEM_KEY_BYTES) {
		http_error(r, 400, "an Idempotency-Key has 1 to %d characters", IDEM_KEY_BYTES);
		return true;
	}
	forget_old(d, now_ms);
	key = mem_printf("%s\n%s\n%s\n%s", http_pattern(r), http_param(r, "topic"),
		partition ? partition : "", header);
	hash = hash_of((struct span){key, strlen(key)}, NULL);
	body_hash = hash_of(r->body, http_body(r));
	e = *find(d, key, hash);
	if (!e) {
		*entry = add(d, key, hash, body_hash);
		return false;
	}
	free(key);
	if (e->body_hash != body_hash) {
		http_error(r, 422, "this Idempotency-Key was another request's");
		return true;
	}
	++*d->repeated;
	if (e->until_ms)
		reply(e, r, buf_as_span(&e->body));
	else
		wait_for(d, e, r, now_ms);
	return true;
}

void idem_end(struct idem *d, struct idem_entry *e, int status, const char *type, struct span body,
	enum idem_outcome outcome, int64_t now_ms)
{
	struct waiting *w, *next;

	e->status = status;
	e->type = type;
	e->outcome = outcome;
	for (w = e->waiting; w; w = next) {
		next = w->next;
		if (w->r) {
			w->r->done = NULL;
			reply(e, w->r, body);
		}
		leave(w);
	}
	e->waiting = NULL;
	if (outcome == IDEM_UNDONE) {
		drop(d, e);
		return;
	}
	buf_span(&e->body, body);
	e->until_ms = now_ms + IDEM_TTL_MS;
	d->bytes += body.len;
	e->older = d->newest;
	*(d->newest ? &d->newest->newer : &d->oldest) = e;
	d->newest = e;
	if (!d->full)
		d->full = e;
	forget_old(d, now_ms);
}

void idem_close(struct idem *d)
{
	while (d->first) {
		struct waiting *w = d->first;

		d->first = w->newer;
		leave(w);
	}
	for (size_t i = 0; i < SLOTS; i++)
		while (d->slots[i])
			drop(d, d->slots[i]);
	free(d);
}
