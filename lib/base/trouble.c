/* SPDX-License-Identifier: ISC */
#include "base/trouble.h"

#include "base/msg.h"

#include <stdarg.h>
#include <stdio.h>

static int rank(int status)
{
	switch (status) {
	case EXIT_DONE:
		return 0;
	case EXIT_REFUSED:
		return 1;
	case EXIT_TIMEOUT:
		return 2;
	case EXIT_PERM:
		return 4;
	default:
		return 3;
	}
}

int trouble_worse(int a, int b)
{
	return rank(b) > rank(a) ? b : a;
}

int trouble_set(struct trouble *t, int status, const char *fmt, ...)
{
	va_list ap;

	if (rank(status) <= rank(t->status))
		return -1;
	t->status = status;
	va_start(ap, fmt);
	vsnprintf(t->text, sizeof(t->text), fmt, ap);
	va_end(ap);
	msg_clean(t->text);
	return -1;
}

void trouble_take(struct trouble *t, const struct trouble *from)
{
	if (from->status)
		trouble_set(t, from->status, "%s", from->text);
}

int trouble_tell(const struct trouble *t)
{
	if (t->status)
		msg_error("%s", t->text);
	return t->status;
}
