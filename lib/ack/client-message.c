/* SPDX-License-Identifier: ISC */
/* What the source says. */
#include "ack/client-parts.h"

#include "base/msg.h"

#include <string.h>

static bool take_word(struct span *line, const char *word)
{
	size_t n = strlen(word);

	if (line->len < n || memcmp(line->p, word, n) || (line->len > n && line->p[n] != ' '))
		return false;
	n += line->len > n;
	line->p += n;
	line->len -= n;
	return true;
}

static bool take_run(struct ack *a, struct span *line)
{
	return a->run[0] && take_word(line, a->run);
}

static bool is_run(struct span s)
{
	struct span run, label;
	char seq[LABEL_RUN_LEN + 2];

	if (s.len != LABEL_RUN_LEN)
		return false;
	memcpy(seq, s.p, LABEL_RUN_LEN);
	memcpy(seq + LABEL_RUN_LEN, ":1", 2);
	return label_split((struct span){seq, sizeof(seq)}, &run, &label) == 0;
}

/* A reply to a question. Only the reply to the last question counts. */
static bool on_reply(struct ack *a, struct span positions, bool aborted)
{
	if (!a->questions)
		return false;
	if (--a->questions)
		return true;
	a->has_reply = true;
	a->aborted = aborted;
	a->is_place = false;
	buf_clear(&a->reply);
	buf_span(&a->reply, positions);
	return true;
}

static bool on_greeting(struct ack *a, struct span run)
{
	if (a->run[0] || !is_run(run))
		return false;
	memcpy(a->run, run.p, LABEL_RUN_LEN);
	a->state = ACK_UP;
	return true;
}

static bool on_place(struct ack *a, struct span text)
{
	if (!a->keeps_place || !on_reply(a, text, false))
		return false;
	a->is_place = a->has_reply;
	return true;
}

bool ack_client_on_line(struct ack *a, struct span line)
{
	if (take_word(&line, "run"))
		return on_greeting(a, line);
	if (take_word(&line, "end"))
		return a->ended = take_run(a, &line);
	if (take_word(&line, "offsets"))
		return on_reply(a, line, false);
	if (take_word(&line, "place"))
		return on_place(a, line);
	if (take_word(&line, "abort"))
		return take_run(a, &line) && on_reply(a, SPAN(""), true);
	if (take_word(&line, "again"))
		return take_run(a, &line) && a->questions > 1 && on_reply(a, SPAN(""), false);
	if (take_word(&line, "assigned"))
		return take_run(a, &line) && ack_client_on_assigned(a, line);
	if (take_word(&line, "from"))
		return take_run(a, &line) && ack_client_on_from(a, line);
	if (!take_word(&line, "stop"))
		return false;
	trouble_set(&a->trouble, EXIT_PERM, "%.*s", (int)(line.len < 300 ? line.len : 300), line.p);
	return true;
}
