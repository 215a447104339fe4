/* SPDX-License-Identifier: ISC */
/* Any bytes as the answer to CLUSTER SLOTS, as a redirection, and as a key: what is taken is within
 * its limits. */
#include "fuzz.h"
#include "redis/slot.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *p = (const char *)data;
	struct resp c = {.p = p, .end = p + size, .max_string = SIZE_MAX / 2};
	struct span all = {p, size};
	struct slot_range range;
	struct slot_redirect to;

	if (!size)
		return 0;
	while (c.p < c.end && slot_range_next(&c, &range) > 0) {
		must(range.from <= range.to && range.to < SLOT_COUNT);
		must(range.port > 0 && range.port < 65536);
		must(!range.host.len ||
			(range.host.p > p && range.host.p + range.host.len < p + size));
	}
	must(c.p <= c.end);
	if (slot_redirect(all, &to))
		must(to.slot < SLOT_COUNT && to.port > 0 && (!to.host.len || to.host.p >= p));
	must(slot_of(all) < SLOT_COUNT);
	return 0;
}
