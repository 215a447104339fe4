/* SPDX-License-Identifier: ISC */
/* Any bytes as what follows `assigned`, `start`, `back` and `from`: what is taken is within its
 * limits, and offsets are read as they are written. */
#include "ack/position.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span line = {(const char *)data, size}, topic, before;
	int32_t partition;
	int64_t offset, again;

	if (!size)
		return 0;
	if (ack_place_take(&line, &topic, &partition))
		must(topic.len && topic.p == (const char *)data && partition >= 0);
	before = line;
	while (line.len && ack_offset_take(&line, &offset)) {
		struct buf b = {0};
		struct span text;

		must(offset >= -1 && line.len < before.len);
		ack_offset_put(&b, offset);
		text = buf_as_span(&b);
		must(ack_offset_take(&text, &again) && again == offset && !text.len);
		buf_free(&b);
		before = line;
	}
	return 0;
}
