/* SPDX-License-Identifier: ISC */
#include "evchain/heads.h"

#include "base/mem.h"
#include "base/msg.h"
#include "json/json.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static const char bad_signature[] = "its signature is not good";
static const char other_key[] = "it is not signed by a key of the log";

static void add_key(struct heads *h, const struct vkey *key)
{
	h->keys = mem_realloc(h->keys, (h->key_count + 1) * sizeof(*h->keys));
	h->keys[h->key_count++] = *key;
}

void heads_open(struct heads *h, int dir, const struct vkey *key)
{
	*h = (struct heads){.fd = dir < 0 ? -1 : openat(dir, "heads", O_RDONLY | O_CLOEXEC)};
	if (h->fd < 0 && dir >= 0 && errno != ENOENT)
		die(EXIT_TEMP, "cannot open the log's file 'heads': %s", msg_errno(errno));
	line_init(&h->line, h->fd, '\n', LINE_HEAD_MAX);
	if (key)
		add_key(h, key);
	heads_next(h);
}

/* Takes the note out of {"ts":MS,"key":ORIGIN,"payload":NOTE}. */
static int parse(struct heads *h, struct span text)
{
	struct json_value name, value, ts = {0}, key = {0}, payload = {0};
	struct json j;
	int got, others = 0;

	json_init(&j, text);
	if (json_enter(&j, '{'))
		return -1;
	while ((got = json_member(&j, &name, &value)) == 1)
		if (json_is(&name, "payload"))
			payload = value;
		else if (json_is(&name, "key"))
			key = value;
		else if (json_is(&name, "ts"))
			ts = value;
		else
			others++;
	buf_clear(&h->note);
	if (got || json_done(&j) || others || ts.type != JSON_NUMBER ||
		payload.type != JSON_STRING || json_unescape(&h->note, payload.text) ||
		head_parse(buf_as_span(&h->note), &h->next))
		return -1;
	return json_equals(&key, h->next.origin) ? 0 : -1;
}

void heads_next(struct heads *h)
{
	enum line_status got = LINE_END;
	struct span text;

	h->next = (struct head){.size = UINT64_MAX};
	while (h->fd >= 0 && (got = line_next(&h->line, &text)) == LINE_NONE)
		if (line_read(&h->line) < 0)
			die(EXIT_TEMP, "cannot read the log's file 'heads': %s", strerror(errno));
	h->number = h->line.number;
	h->is_torn = got == LINE_TORN;
	h->is_damaged = got == LINE_LONG || (got == LINE_WHOLE && parse(h, text));
	if (h->is_damaged)
		h->next.size = 0;
}

void heads_change(struct heads *h, uint64_t n, const struct vkey *key)
{
	h->has_change = true;
	h->change = *key;
	h->change_n = n;
}

const char *heads_judge(struct heads *h, const struct head *head)
{
	enum head_verdict v;

	if (!h->key_count)
		return NULL;
	v = head_verify(head, &h->keys[h->key_count - 1]);
	if (v == HEAD_GOOD) {
		h->has_signed = true;
		h->covers = head->size;
	}
	/* The old key's last head has the entry that names the new one. */
	if (v == HEAD_OTHER && h->has_change && h->has_signed && h->covers > h->change_n) {
		v = head_verify(head, &h->change);
		if (v == HEAD_GOOD) {
			add_key(h, &h->change);
			h->covers = head->size;
			h->has_change = false;
		}
	}
	if (v == HEAD_OTHER && !h->has_signed && h->key_count == 1) {
		h->others++;
		return NULL;
	}
	return v == HEAD_GOOD ? NULL : v == HEAD_BAD ? bad_signature : other_key;
}

const char *heads_judge_any(const struct heads *h, const struct head *head)
{
	for (size_t i = h->key_count; i--;)
		switch (head_verify(head, &h->keys[i])) {
		case HEAD_GOOD:
			return NULL;
		case HEAD_BAD:
			return bad_signature;
		case HEAD_OTHER:
			break;
		}
	return h->key_count ? other_key : NULL;
}

void heads_close(struct heads *h)
{
	line_free(&h->line);
	if (h->fd >= 0)
		close(h->fd);
	free(h->keys);
	buf_free(&h->note);
}
