/* SPDX-License-Identifier: ISC */
/* The classes under which a refused record is counted: the `type` label of
 * NAME_errors_total and the "class" of a dead letter (evpipe-record(5)). */
#ifndef EVPIPE_ERRCLASS_H
#define EVPIPE_ERRCLASS_H

enum errclass {
	CLASS_NONE, /* not refused */
	CLASS_JSON_DECODE, /* the line, or the payload where its JSON is needed, is not JSON */
	CLASS_MISSING_KEY, /* no text for the partition key at the path */
	CLASS_MISSING_FIELD, /* a field that a template names is not there */
	CLASS_PREFIX_MISMATCH, /* {x#prefix} or {x%suffix}: not there to strip */
	CLASS_TOO_LARGE, /* line, nesting or message over a limit */
	CLASS_LOOP, /* over the hop limit */
	CLASS_INVALID_RECORD, /* JSON, but not a record */
	CLASS_KAFKA, /* refused by Kafka for another reason */
	CLASS_REDIS, /* refused by Redis for another reason */
	CLASS_UNKNOWN_TOPIC,
	CLASS_WRONG_TYPE, /* Redis WRONGTYPE */
	CLASS_TIMEOUT,
	CLASS_COUNT
};

/* The label text, e.g. "json-decode". Static. */
const char *errclass_name(enum errclass c);

#endif
