/* SPDX-License-Identifier: ISC */
#include "rsub/whole.h"

#include "base/mem.h"
#include "base/metrics.h"
#include "redis/slot.h"

#include <string.h>

void whole_ready(struct whole *w, bool *mine, bool is)
{
	whole_count(&w->ready, mine, is);
	metrics_set_ready(w->ready == w->count);
}

static unsigned slot_of_name(const char *name)
{
	return slot_of((struct span){name, strlen(name)});
}

int whole_part(const struct names *names, bool by_slot, struct names **parts)
{
	struct names *all = mem_alloc((size_t)(names->count + 1) * sizeof(*all));
	int count = 0;

	for (int i = 1; i <= names->count; i++) {
		const char *name = names->list[i];
		int at = 0;

		while (at < count && by_slot && slot_of_name(all[at].list[1]) != slot_of_name(name))
			at++;
		if (at == count)
			all[count++] = (struct names){0};
		names_add(&all[at], name);
	}
	if (!count)
		all[count++] = (struct names){0};
	*parts = all;
	return count;
}
