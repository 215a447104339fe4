/* SPDX-License-Identifier: ISC */
#include "kwrite/shape.h"

#include <string.h>

void shape_opts(struct shape_opts *o)
{
	o->topic = arg_str0("t", "topic", "TEMPLATE", "where to (default '{topic}')");
	o->key = arg_str0(NULL, "key", "TEMPLATE", "the key (default the record's own)");
	o->key_type = arg_str0(NULL, "key-type", "i32|i64|i32le|i64le",
		"keys are digits: write them in this binary form; also i8, i16, u8 to u64");
	o->headers = opt_many("H", "header", "NAME=VALUE", 0,
		"a header for each message, behind the record's own; NAME alone: without a value");
	o->partition = arg_str0("p", "partition", "N|keep|have",
		"the partition; the record's own; its own if it has one (default by key)");
	o->now = arg_lit0(NULL, "now", "stamp with the time of writing, not the record's ts");
	o->raw = arg_lit0(NULL, "raw", "each line is a payload, not a record");
	o->nul = arg_lit0("0", "null", "with --raw: payloads end with NUL instead of LF");
	o->framing = arg_str0(NULL, "framing", "len32",
		"payloads alone, each behind its length in four bytes, big endian");
	o->skip_empty = arg_lit0(NULL, "skip-empty", "leave out empty lines");
}

static struct template *parse_template(const char *name, const char *text)
{
	char why[256];
	struct template *t = text ? template_parse(text, why, sizeof(why)) : NULL;

	if (text && !t)
		opt_bad("%s '%s': %s", name, text, why);
	return t;
}

/* The key of --key is the same for all payloads. */
static void take_key(struct shape *shape, const struct shape_opts *o)
{
	static unsigned char bytes[KEYTYPE_BYTES_MAX];
	const char *type = opt_text(o->key_type, "--key-type");
	const char *key;

	shape->key = parse_template("--key", opt_text(o->key, "--key"));
	key = shape->key ? template_constant(shape->key) : NULL;
	if (type && !keytype_parse(type, &shape->key_type))
		opt_bad("--key-type takes " KEYTYPE_FORMS ", not '%s'", type);
	if (shape->raw && shape->key && !key)
		opt_bad("--raw leaves no fields for --key");
	if (shape->raw && type && !key)
		opt_bad("--key-type with --raw needs --key: a payload has no key");
	if (!key)
		return;
	shape->raw_key = (struct span){key, strlen(key)};
	if (type && !keytype_bytes(&shape->key_type, shape->raw_key, bytes))
		opt_bad("--key '%s' is no %s", key, type);
	if (type)
		shape->raw_key = (struct span){(const char *)bytes, shape->key_type.bytes};
}

static void take_partition(struct shape *shape, const struct shape_opts *o)
{
	const char *partition = opt_text(o->partition, "-p");

	shape->partition = RD_KAFKA_PARTITION_UA;
	if (partition && strcmp(partition, "keep") == 0)
		shape->partition = PARTITION_KEEP;
	else if (partition && strcmp(partition, "have") == 0)
		shape->partition = PARTITION_HAVE;
	else if (partition)
		shape->partition = (int32_t)opt_int(o->partition, "-p", 0, 0, INT32_MAX);
	if (shape->raw &&
		(shape->partition == PARTITION_KEEP || shape->partition == PARTITION_HAVE))
		opt_bad("--raw leaves no fields for -p keep or -p have");
}

static void take_input(struct shape *shape, const struct shape_opts *o)
{
	const char *framing = opt_text(o->framing, "--framing");

	if (framing && strcmp(framing, "len32"))
		opt_bad("--framing takes len32, not '%s'", framing);
	shape->framed = framing;
	shape->raw = o->raw->count || framing;
	shape->skip_empty = o->skip_empty->count;
	shape->end = o->nul->count ? '\0' : '\n';
	if (o->nul->count && !shape->raw)
		opt_bad("-0 needs --raw: a record is one line");
	if (o->nul->count && framing)
		opt_bad("-0 and --framing exclude each other");
}

void shape_take(struct shape *shape, const struct shape_opts *o)
{
	const char *topic = opt_text(o->topic, "-t");

	take_input(shape, o);
	shape->now = o->now->count;
	shape->topic = parse_template("-t", topic || shape->raw ? topic : "{topic}");
	shape->headers = o->headers->sval;
	shape->header_count = o->headers->count;
	for (int i = 0; i < shape->header_count; i++)
		if (strcspn(shape->headers[i], "=") == 0 ||
			(strchr(shape->headers[i], ':') && !strchr(shape->headers[i], '=')))
			opt_bad("-H takes NAME=VALUE, not '%s'", shape->headers[i]);
	if (shape->raw && !(shape->topic && template_constant(shape->topic)))
		opt_bad("--raw needs -t TOPIC: a payload has no fields to take the topic from");
	take_key(shape, o);
	take_partition(shape, o);
}
