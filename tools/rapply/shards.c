/* SPDX-License-Identifier: ISC */
/* Batches in a cluster: what a batch has for one slot of a partition is one script, which compares
 * the position, applies the records and writes the new position, all at once. A transaction would
 * do the same, but WATCH is of the connection: each round trip could fence one slot. */
#include "rapply/spots.h"

#include "base/mem.h"
#include "base/msg.h"
#include "rapply/rapply.h"
#include "redis/request.h"

#include <inttypes.h>
#include <stdio.h>

/* KEYS: the position, the records' keys. ARGV: the position's offset as it must be ('' none, '*'
 * there is no position), its text as it will be, what stands behind another offset; then for each
 * record its offset and the number of its commands (negative: none behind a refused one is called),
 * and for each command the number of its words and they. Answer: 0, '', '', and the number of each
 * record that was refused, with the reason; or 1 and the position that was found in place of the
 * one that must be; or 2, the offset that was reached, the reason why it was no further, and the
 * same as for 0. What comes first writes, so that a server that takes no writes refuses all. */
static const char script[] =
	"local pos,want,new,mark=KEYS[1],ARGV[1],ARGV[2],ARGV[3] "
	"if want~='*' then "
	"local has=redis.call('GET',pos) "
	"if (has and string.match(has,'^[^ ]+') or '')~=want then return {1,has or ''} end "
	"local r=redis.pcall('SET',pos,new) "
	"if r.err then return r end "
	"end "
	"local out,i,at,done={0,'',''},4,0,want "
	"while i<=#ARGV do "
	"local n=tonumber(ARGV[i+1]) local offset=ARGV[i] i=i+2 "
	"local ends=false "
	"for c=1,math.abs(n) do "
	"local w=tonumber(ARGV[i]) "
	"local r=ends or redis.pcall(unpack(ARGV,i+1,i+w)) "
	"i=i+w+1 "
	"if type(r)=='table' and r.err then "
	"local e=string.match(r.err,'^@user_script: ?%d+: %-?(.-)%s*$') or r.err "
	"if string.match(e,'^OOM') or string.match(e,'^MISCONF') or string.match(e,'^NOREPLICAS') or "
	"string.match(e,'^READONLY') or string.match(e,'^NOPERM') or string.find(e,'executing the script',1,true) then "
	"if want~='*' then "
	"if done=='' then redis.call('DEL',pos) else redis.call('SET',pos,done..mark) end "
	"end "
	"out[1],out[2],out[3]=2,done,e return out "
	"end "
	"out[#out+1]=at out[#out+1]=e ends=n<0 "
	"end "
	"end "
	"at=at+1 done=offset "
	"end "
	"return out";
/* What EVALSHA calls it. */
static const char script_sha[] = "7b6d3891fa33f230a5aef39a3d53874a6aaedb7c";

/* ---- records into the next batch ---- */

struct shape { /* of a record's commands */
	int slot;
	size_t words, keys;
	bool is_large;
};

static struct shape shape_of(struct rapply *s, struct span commands)
{
	struct keys *k = &s->spots->keys;
	struct shape shape = {.slot = KEYS_NO_SLOT, .words = 2};

	while (commands.len) {
		int slot;

		keys_take(k, &commands);
		slot = keys_slot(k);
		shape.words += 1 + k->words.count;
		shape.keys += k->keys.count;
		shape.is_large |= k->words.count > COMMANDS_SCRIPT_WORDS;
		if (slot == KEYS_SEVERAL_SLOTS ||
			(slot >= 0 && shape.slot >= 0 && slot != shape.slot))
			shape.slot = KEYS_SEVERAL_SLOTS;
		else if (slot >= 0 && shape.slot != KEYS_SEVERAL_SLOTS)
			shape.slot = slot;
	}
	return shape;
}

static void chain(struct rapply *s, uint64_t i, struct spot *spot, const struct shape *shape)
{
	struct rapply_slot *slot = slot_at(s, i);

	spots_touch(s, spot);
	if (spot->records)
		slot_at(s, spot->last)->more = i;
	else
		spot->first = i;
	spot->last = slot->more = i;
	spot->records++;
	spot->words += shape->words;
	spot->keys += shape->keys;
	slot->spot = spot;
	if (slot->place) {
		spot->next = slot->offset;
		spot->next_ts = slot->ts;
	}
}

static bool is_applied(const struct spot *spot, const struct rapply_slot *slot)
{
	return slot->place &&
		(slot->offset <= spot->applied || slot->offset <= slot->place->applied);
}

/* Returns whether it goes into the batch. */
static bool put(struct rapply *s, uint64_t i, struct spot *spot, const struct shape *shape)
{
	struct rapply_slot *slot = slot_at(s, i);

	if (is_applied(spot, slot)) {
		if (!s->wait) {
			sink_done(&slot->slot);
			batch_pass(slot->place, slot->offset, slot->ts);
			return false;
		}
		/* Whether replicas have it too is asked behind a script. */
		spots_touch(s, spot);
	} else if (!slot->place || (slot->offset > spot->next && slot->offset > spot->flight)) {
		chain(s, i, spot, shape);
	}
	s->next_records++;
	if (slot->place)
		batch_put_place(s, slot->place, slot->offset, slot->ts);
	return true;
}

void shards_put(struct rapply *s, uint64_t i, size_t at)
{
	struct rapply_slot *slot = slot_at(s, i);
	struct span commands = {s->next.p + at, s->next.len - at};
	struct shape shape = shape_of(s, commands);

	slot->at = at;
	slot->len = commands.len;
	slot->hangs_together = s->commands.hangs_together;
	if (shape.slot == KEYS_SEVERAL_SLOTS)
		batch_refuse(s, i, CLASS_INVALID_RECORD,
			"the keys of the record are of several slots of the cluster, which cannot take effect together: give the keys one hash tag, as in {user7}:a and {user7}:b, or a record each");
	else if (shape.is_large)
		batch_refuse(s, i, CLASS_INVALID_RECORD,
			"a command of more than 7000 words, which a cluster's script cannot apply");
	else if (put(s, i,
			 spots_at(s, slot->place,
				 shape.slot >= 0       ? shape.slot
					 : slot->place ? slot->place->home
						       : 0),
			 &shape) &&
		slot->spot)
		return;
	s->next.len = at;
}

void shards_clear(struct rapply *s)
{
	struct spots *sp = s->spots;

	for (size_t i = 0; i < sp->touched_count; i++) {
		sp->touched[i]->touched = false;
		sp->touched[i]->next = -1;
		sp->touched[i]->records = 0;
	}
	sp->touched_count = 0;
}

/* ---- slots that are new ---- */

static void put_mark(struct rapply *s, struct buf *out, const struct place *p)
{
	buf_clear(&s->scratch);
	buf_putc(&s->scratch, ' ');
	buf_puts(&s->scratch, p && p->cluster ? p->cluster : "-");
	request_word(out, buf_as_span(&s->scratch));
}

static void put_offset(struct buf *out, int64_t offset)
{
	if (offset < 0)
		request_text(out, "-");
	else
		request_number(out, offset);
}

static void put_look(struct spots *sp, struct spot *spot)
{
	if (sp->looks_count == sp->looks_cap) {
		sp->looks_cap = sp->looks_cap ? 2 * sp->looks_cap : 256;
		sp->looks = mem_realloc(sp->looks, sp->looks_cap * sizeof(*sp->looks));
	}
	sp->looks[sp->looks_count++] = (struct look){spot->place, spot->slot};
}

static void put_text(
	struct rapply *s, struct buf *out, const struct place *p, int64_t offset, int64_t ts)
{
	buf_clear(&s->scratch);
	places_text(p, offset, ts, &s->scratch);
	request_word(out, buf_as_span(&s->scratch));
}

/* All up to the place's position is applied in all slots, and so in this one. */
static void send_init(struct rapply *s, struct spot *spot)
{
	struct spots *sp = s->spots;
	struct span key = spots_key(s, spot->place, spot->slot);
	struct buf *out = redis_begin(&s->redis, key);

	request_begin(out, 7, "EVAL");
	request_text(out, script);
	request_text(out, "1");
	request_word(out, key);
	request_text(out, "");
	put_text(s, out, spot->place, spot->place->applied, spot->place->applied_ts);
	put_mark(s, out, spot->place);
	redis_commit(&s->redis, TAG_LOOK + sp->looks_count);
	put_look(sp, spot);
}

static void send_use(struct rapply *s, struct spot *spot)
{
	struct spots *sp = s->spots;
	struct span key = spots_list_key(s, spot->place);
	struct buf *out = redis_begin(&s->redis, key);

	request_begin(out, 4, "SETBIT");
	request_word(out, key);
	request_number(out, spot->slot);
	request_text(out, "1");
	redis_commit(&s->redis, TAG_LOOK + sp->looks_count);
	put_look(sp, spot);
}

/* Returns whether there were any. */
static bool send_new(struct rapply *s, enum round round)
{
	struct spots *sp = s->spots;

	sp->looks_count = 0;
	for (size_t i = 0; i < sp->touched_count; i++) {
		struct spot *spot = sp->touched[i];

		if (!spot->place)
			continue;
		if (round == ROUND_INIT && !spot->known)
			send_init(s, spot);
		else if (round == ROUND_USE && !spot->used)
			send_use(s, spot);
	}
	sp->round = round;
	sp->out = sp->looks_count;
	return sp->out;
}

/* ---- scripts ---- */

static void put_keys(struct rapply *s, struct buf *out, const struct spot *spot)
{
	uint64_t i = spot->first, more = spot->records ? i : 0;
	struct keys *k = &s->spots->keys;

	for (uint32_t n = spot->records; n; n--, i = more) {
		const struct rapply_slot *slot = slot_at(s, i);
		struct span rest = {s->next.p + slot->at, slot->len};

		more = slot->more;
		while (rest.len) {
			keys_take(k, &rest);
			for (size_t j = 0; j < k->keys.count; j++)
				request_word(out, k->keys.p[j]);
		}
	}
}

/* The words of a command stand in a script as in the command. */
static void put_commands(struct buf *out, struct keys *k, struct span rest)
{
	while (rest.len) {
		struct span command = rest;
		size_t head;

		keys_take(k, &rest);
		request_number(out, (int64_t)k->words.count);
		command.len -= rest.len;
		head = (size_t)((const char *)memchr(command.p, '\n', command.len) - command.p) + 1;
		buf_put(out, command.p + head, command.len - head);
	}
}

static void put_records(struct rapply *s, struct buf *out, const struct spot *spot)
{
	uint64_t i = spot->first;

	for (uint32_t n = spot->records; n; n--) {
		const struct rapply_slot *slot = slot_at(s, i);

		put_offset(out, slot->place ? slot->offset : 0);
		request_number(
			out, slot->hangs_together ? -(int64_t)slot->commands : slot->commands);
		put_commands(out, &s->spots->keys, (struct span){s->next.p + slot->at, slot->len});
		i = slot->more;
	}
}

/* Whether no script of the batch has gone to the server of the last command yet. */
static bool is_first(struct rapply *s, const struct redis_node **seen, size_t *count)
{
	for (size_t i = 0; i < *count; i++)
		if (seen[i] == s->redis.target)
			return false;
	seen[(*count)++] = s->redis.target;
	return true;
}

/* The key that decides where it goes. */
static struct span route_of(struct rapply *s, const struct spot *spot)
{
	struct keys *k = &s->spots->keys;

	if (spot->place)
		return spots_key(s, spot->place, spot->slot);
	for (uint64_t i = spot->first;; i = slot_at(s, i)->more) {
		struct span rest = {s->next.p + slot_at(s, i)->at, slot_at(s, i)->len};

		while (rest.len) {
			keys_take(k, &rest);
			if (k->keys.count)
				return k->keys.p[0];
		}
		if (slot_at(s, i)->more == i)
			return SPAN_NONE;
	}
}

static void send_script(
	struct rapply *s, struct spot *spot, const struct redis_node **seen, size_t *count)
{
	struct spots *sp = s->spots;
	struct span route = route_of(s, spot);
	struct buf *out = redis_begin(&s->redis, route);
	bool leads = is_first(s, seen, count);
	size_t keys = spot->keys + (spot->place != NULL);

	request_begin(out, 3 + keys + 3 + spot->words, leads ? "EVAL" : "EVALSHA");
	request_text(out, leads ? script : script_sha);
	request_number(out, (int64_t)keys);
	if (spot->place)
		request_word(out, route);
	put_keys(s, out, spot);
	if (spot->place) {
		put_offset(out, spot->applied);
		put_text(s, out, spot->place, spot->flight, spot->flight_ts);
	} else {
		request_text(out, "*");
		request_text(out, "");
	}
	put_mark(s, out, spot->place);
	put_records(s, out, spot);
	redis_commit(&s->redis, TAG_SCRIPT + sp->sent_count);
	sp->sent[sp->sent_count++] = (struct sent){
		.spot = spot, .first = spot->first, .records = spot->records, .leads = leads};
}

/* Where the batch leads the spot. */
static void aim(struct spot *spot)
{
	const struct place *p = spot->place;

	spot->flight = -1;
	if (!p)
		return;
	spot->flight = spot->applied;
	spot->flight_ts = spot->applied_ts;
	if (spot->next > spot->flight) {
		spot->flight = spot->next;
		spot->flight_ts = spot->next_ts;
	}
	if (p->applied > spot->flight) {
		spot->flight = p->applied;
		spot->flight_ts = p->applied_ts;
	}
}

static void send_scripts(struct rapply *s)
{
	const struct redis_node *seen[CLUSTER_NODES_MAX];
	struct spots *sp = s->spots;
	size_t count = 0;

	if (sp->sent_cap < sp->touched_count) {
		sp->sent_cap = sp->touched_cap;
		sp->sent = mem_realloc(sp->sent, sp->sent_cap * sizeof(*sp->sent));
	}
	sp->sent_count = 0;
	for (size_t i = 0; i < sp->touched_count; i++) {
		struct spot *spot = sp->touched[i];

		aim(spot);
		if (spot->records || spot->flight > spot->applied || s->wait)
			send_script(s, spot, seen, &count);
		else
			spot->flight = -1;
	}
	sp->out = sp->sent_count;
}

void shards_ask_replicas(struct rapply *s)
{
	struct spots *sp = s->spots;

	sp->is_short = false;
	for (size_t i = 0; i < sp->sent_count; i++) {
		const struct spot *spot = sp->sent[i].spot;
		struct buf *out;

		if (!sp->sent[i].leads)
			continue;
		out = redis_begin(&s->redis, spots_key(s, spot->place, spot->slot));
		request_begin(out, 3, "WAIT");
		request_number(out, s->wait);
		request_number(out, REPLICAS_MS);
		redis_commit(&s->redis, TAG_REPLICAS);
		sp->out++;
	}
}

static void send_batch(struct rapply *s)
{
	struct spots *sp = s->spots;

	s->batch++;
	send_scripts(s);
	sp->round = ROUND_BATCH;
	if (s->wait)
		shards_ask_replicas(s);
	s->in_flight = true;
	s->flight = s->sent;
	s->sent = s->encoded;
	s->refusals.count = 0;
	for (size_t i = 0; i < s->places.count; i++) {
		struct place *p = s->places.p[i];

		p->flight = p->next;
		p->flight_ts = p->next_ts;
	}
	batch_clear_next(s);
	if (!sp->out)
		answers_end_round(s);
}

void shards_send(struct rapply *s)
{
	struct spots *sp = s->spots;

	if (s->redis.state != REDIS_UP || sp->out || (s->waits && s->now_ms < s->wait_until_ms))
		return;
	if (looks_send(s))
		return;
	answers_go_back(s);
	spots_touch_homes(s);
	if ((sp->touched_count || s->next_places || s->next_records) && !send_new(s, ROUND_INIT) &&
		!send_new(s, ROUND_USE))
		send_batch(s);
}

int shards_timeout_ms(const struct rapply *s, int64_t now_ms)
{
	int64_t at = s->look_ms + LOOK_MS;

	if (s->redis.state != REDIS_UP || s->spots->out)
		return -1;
	if (s->waits)
		at = s->wait_until_ms;
	else if (s->spots->touched_count || s->next_records || s->next_places ||
		(s->look_due && s->places.count))
		return 0;
	else if (!s->places.count)
		return -1;
	return at > now_ms ? (int)(at - now_ms) : 0;
}

bool shards_finish(struct rapply *s)
{
	return s->redis.state == REDIS_UP && !s->waits &&
		(s->spots->out || s->spots->touched_count || looks_advance(s, SIZE_MAX));
}
