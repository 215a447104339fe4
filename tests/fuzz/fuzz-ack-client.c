/* SPDX-License-Identifier: ISC */
/* Any bytes as the seqs of records, and as what a source says: a label is taken just when it is one
 * of this run, and what is reported says just what was taken, in order. Each line is what stands
 * between the quotes of a seq, or, behind a byte 1, what the source says; the run is
 * 0123456789abcdef. */
#define _GNU_SOURCE
#include "ack/client.h"
#include "base/msg.h"
#include "fuzz.h"

#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define RUN "0123456789abcdef"

/* What labels say, in order, rows melted: "1-3 5 7-9.1/2 ". */
struct told {
	struct buf text;
	uint64_t from, to;
};

static void end_row(struct told *t)
{
	if (t->from)
		buf_printf(&t->text, "%llu-%llu ", (unsigned long long)t->from,
			(unsigned long long)t->to);
	t->from = t->to = 0;
}

static void tell(struct told *t, struct span text)
{
	struct label label;
	struct span rest;
	uint64_t from, to;

	must(label_parse(&label, text) == 0);
	if (label.parts || label.is_name) {
		end_row(t);
		buf_span(&t->text, text);
		buf_putc(&t->text, ' ');
		return;
	}
	for (rest = label.set; label_range(&rest, &from, &to); t->to = to) {
		if (t->from && from == t->to + 1)
			continue;
		end_row(t);
		t->from = from;
	}
}

/* One record: what the fields of its seq would be is asked of the scanner. */
static void on_seq(struct ack *a, struct told *t, struct span raw)
{
	struct buf json = {0}, scratch = {0};
	struct ack_label label;
	struct json_value v;
	struct span text, run, rest;
	struct label parsed;
	struct json why;
	bool ours;

	buf_putc(&json, '"');
	buf_span(&json, raw);
	buf_putc(&json, '"');
	if (json_parse(buf_as_span(&json), &v, &why) == 0 && v.type == JSON_STRING && !v.lone) {
		must(json_string(&v, &scratch, &text) == 0);
		ours = label_split(text, &run, &rest) == 0 && label_parse(&parsed, rest) == 0 &&
			memcmp(run.p, RUN, LABEL_RUN_LEN) == 0;
		must(ack_take(a, &v, &label) == ours);
		must(ours == (label.number || label.text.p));
		if (ours)
			tell(t, rest);
		ack_report(a, ACK_DROP, &label);
	}
	buf_free(&json);
	buf_free(&scratch);
}

/* What the source has heard: reports, but for the first line and the last. */
static void hear(struct told *t, struct buf *b)
{
	char *line = b->p, *lf, *space;

	for (; (lf = memchr(line, '\n', (size_t)(b->p + b->len - line))); line = lf + 1) {
		*lf = '\0';
		if (strncmp(line, "drop " RUN " ", 22))
			continue;
		for (line += 22; (space = strchrnul(line, ' ')); line = space + 1) {
			tell(t, (struct span){line, (size_t)(space - line)});
			if (!*space)
				break;
		}
	}
	must(line == b->p + b->len);
}

static int listen_fd = -1;
static char path[64];

static void remove_path(void)
{
	unlink(path);
}

static void listen_once(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	if (listen_fd >= 0)
		return;
	snprintf(path, sizeof(path), "/tmp/fuzz-ack-client.%ld", (long)getpid());
	strcpy(address.sun_path, path);
	listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	must(bind(listen_fd, (struct sockaddr *)&address, sizeof(address)) == 0);
	must(listen(listen_fd, 8) == 0);
	atexit(remove_path);
	msg_init("fuzz-ack-client");
	msg_setup(-1, false);
}

static void source_says(struct ack *a, int fd, struct span text)
{
	must(send(fd, text.p, text.len, MSG_NOSIGNAL) == (ssize_t)text.len || a->trouble.status);
	ack_serve(a, POLLIN, 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct told taken = {0}, heard = {0};
	struct buf said = {0};
	struct ack a;
	ssize_t n;
	int fd;

	listen_once();
	ack_open(&a, path, ACK_FILTER);
	ack_serve(&a, 0, 1);
	fd = accept(listen_fd, NULL, NULL);
	must(fd >= 0);
	source_says(&a, fd, SPAN("run " RUN "\n"));
	must(ack_greeted(&a));
	for (size_t at = 0, end; at < size; at = end + 1) {
		for (end = at; end < size && data[end] != '\n'; end++)
			;
		if (data[at] == 1 && end < size)
			source_says(&a, fd, (struct span){(const char *)data + at + 1, end - at});
		else if (!a.trouble.status)
			on_seq(&a, &taken, (struct span){(const char *)data + at, end - at});
		ack_serve(&a, 0, 1);
	}
	ack_abandon(&a);
	while ((n = recv(fd, buf_room(&said, 65536), 65536, 0)) > 0)
		said.len += (size_t)n;
	close(fd);
	*buf_room(&said, 1) = '\0';
	hear(&heard, &said);
	end_row(&taken);
	end_row(&heard);
	must(taken.text.len == heard.text.len);
	must(!taken.text.len || memcmp(taken.text.p, heard.text.p, taken.text.len) == 0);
	buf_free(&taken.text);
	buf_free(&heard.text);
	buf_free(&said);
	return 0;
}
