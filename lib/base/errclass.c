/* SPDX-License-Identifier: ISC */
#include "base/errclass.h"

const char *errclass_name(enum errclass c)
{
	static const char *const names[CLASS_COUNT] = {
		[CLASS_NONE] = "none",
		[CLASS_JSON_DECODE] = "json-decode",
		[CLASS_MISSING_KEY] = "missing-key",
		[CLASS_MISSING_FIELD] = "missing-field",
		[CLASS_PREFIX_MISMATCH] = "prefix-mismatch",
		[CLASS_TOO_LARGE] = "too-large",
		[CLASS_LOOP] = "loop",
		[CLASS_INVALID_RECORD] = "invalid-record",
		[CLASS_KAFKA] = "kafka",
		[CLASS_REDIS] = "redis",
		[CLASS_UNKNOWN_TOPIC] = "unknown-topic",
		[CLASS_WRONG_TYPE] = "wrong-type",
		[CLASS_TIMEOUT] = "timeout",
	};

	return names[c];
}
