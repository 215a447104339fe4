/* SPDX-License-Identifier: ISC */
/* Arrays that are kept in order. */
#ifndef EVPIPE_SORTED_H
#define EVPIPE_SORTED_H

#include <stddef.h>

/* Below 0, 0 or above 0 as @key is before, at or behind @item. */
typedef int sorted_fn(const void *key, const void *item);

/* The index of the first of @count items, of @size bytes each, that is not before @key: where an
 * item with that key is, or belongs. */
static inline size_t sorted_place(
	const void *items, size_t count, size_t size, sorted_fn *compare, const void *key)
{
	size_t low = 0, high = count;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (compare(key, (const char *)items + mid * size) > 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

#endif
