/* SPDX-License-Identifier: ISC */
#include "evcorr/print.h"

#include <stdio.h>
#include <string.h>

void print_reply(const struct ident *i, struct span reply, const char *seq, struct buf *out)
{
	struct record_member members[2] = {{.name = "status"}, {.name = "seq"}};
	struct buf scratch = {0};
	struct record_error e;
	struct ident_call c;
	struct record r;
	char status[16];
	int n = PRINT_DONE;

	/* The store has seen that it is a record. */
	if (record_parse(&r, reply, &e)) {
		buf_span(out, reply);
		return;
	}
	if (ident_read(i, &r, &scratch, &c, &e) == 0 && c.status >= 0)
		n = c.status;
	members[0].value = (struct span){status, (size_t)snprintf(status, sizeof(status), "%d", n)};
	if (seq)
		members[1].value = (struct span){seq, strlen(seq)};
	record_set_members(&r, members, seq ? 2 : 1, out);
	buf_free(&scratch);
}

void print_timeout(
	const struct ident *i, struct span id, const char *key, const char *seq, struct buf *out)
{
	buf_printf(out, "{\"status\":%d,\"headers\":[", PRINT_TIMEOUT);
	record_put_header(out, i->id, id);
	buf_putc(out, ']');
	if (key)
		buf_printf(out, ",\"key\":%s", key);
	buf_puts(out, ",\"payload\":null");
	if (seq)
		buf_printf(out, ",\"seq\":%s", seq);
	buf_putc(out, '}');
}
