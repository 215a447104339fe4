#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# What kread prints, kwrite writes again as it was: any bytes of key, payload and header values, none
# told from empty, order and doubles of headers, times.

load helpers

setup_file() {
	kafka_start
	make_messages >"$BATS_FILE_TMPDIR/messages"
	SOURCE=$(new_topic)
	export SOURCE
	kwrite -t "$SOURCE" <"$BATS_FILE_TMPDIR/messages"
}

# Prints records, all bytes in base64 or all in strings: bytes one by one, all, random, none; JSON.
make_messages() {
	python3 - <<-'EOP'
	import base64, json, random
	random.seed(7)
	every = bytes(range(256))
	texts = ["", "x", "Grüße 日本 🎉", "\x00\x01\x1f\x7f\u2028\u2029\ufeff", "\"\\/\b\f\n\r\t",
	         '{"a":12345678901234567890,"b":[1.10,1E400]}', ' [1, 2]\n', '{"a":\r1}', "[]", "{}", "null",
	         '{"a":"\\ud83c\\udf89"}', "[" * 600 + "]" * 600]
	messages = []
	for b in range(256):
	    one = bytes([b])
	    messages.append((one, one, [("h", one)]))
	messages.append((every, every, [("all", every), ("all", every[::-1])]))
	for t in texts:
	    messages.append((t.encode(), t.encode(), [(t.replace("\0", ""), t.encode())]))
	messages += [(None, b"p", []), (b"", b"p", []), (b"k", None, []), (b"k", b"", []), (None, None, [])]
	messages.append((b"k", b"p", [("a", b"1"), ("b", None), ("a", b"1"), ("a", b""), ("", None)]))
	for _ in range(200):
	    size = random.choice([1, 2, 3, 10, 100, 2000])
	    messages.append((random.randbytes(size), random.randbytes(size),
	                     [("r", random.randbytes(size))] * random.randrange(4)))
	def field(name, value):
	    if value is None:
	        return {name: None}
	    try:
	        return {name: value.decode()} if random.random() < .5 else \
	               {name + "_b64": base64.b64encode(value).decode()}
	    except UnicodeDecodeError:
	        return {name + "_b64": base64.b64encode(value).decode()}
	for i, (key, payload, headers) in enumerate(messages):
	    record = {"ts": 1600000000000 + i * 7, **field("key", key), **field("payload", payload)}
	    if headers:
	        record["headers"] = flat = []
	        for name, value in headers:
	            flat += [name, None if value is None else {"b64": base64.b64encode(value).decode()}]
	    print(json.dumps(record))
	EOP
}

# The messages in records, one a line: time, key, payload, headers, with all bytes in hex; what is
# inline JSON by the text between its ends.
messages() {
	python3 -c 'import base64, json, sys
def text(value):
    return "none" if value is None else value.hex() or "-"
def hex(value):
    if isinstance(value, dict):
        value = base64.b64decode(value["b64"], validate=True)
    elif isinstance(value, str):
        value = value.encode()
    return text(value)
def of(record, name, line):
    if name + "_b64" in record:
        return base64.b64decode(record[name + "_b64"], validate=True).hex() or "-"
    value = record[name]
    if isinstance(value, (dict, list)):
        return line[line.index(b"\"payload\":") + 10:-2].hex()
    return hex(value)
for line in sys.stdin.buffer:
    r = json.loads(line.decode())
    h = r.get("headers") or []
    print(r["ts"], of(r, "key", line), of(r, "payload", line), [hex(v) for v in h])'
}

# Records without what says where they were read.
placeless() {
	sed -E 's/^\{"topic":"[^"]*","partition":[0-9]+,"offset":[0-9]+,/{/'
}

@test "what was written is what is read" {
	kread -e "$SOURCE" | messages >out
	messages <"$BATS_FILE_TMPDIR/messages" >expected
	[ "$(wc -l <expected)" -gt 450 ]
	diff expected out
}

@test "all bytes arrive as kcat sees them" {
	messages <"$BATS_FILE_TMPDIR/messages" | awk '{ print $3 == "none" ? "-" : $3 }' >expected
	kcat -q -b "$KAFKA_BROKERS" -C -e -o beginning -t "$SOURCE" -f '%S %s' >out
	python3 - <<-'EOP' >seen
	data, at = open("out", "rb").read(), 0
	while at < len(data):
	    end = data.index(b" ", at)
	    size = max(0, int(data[at:end]))
	    print(data[end + 1:end + 1 + size].hex() or "-")
	    at = end + 1 + size
	EOP
	diff expected seen
}

@test "kread | kwrite copies a topic" {
	copy=$(new_topic)
	kread -e "$SOURCE" | kwrite -t "$copy"
	kread -e "$SOURCE" | placeless >source.out
	kread -e "$copy" | placeless >copy.out
	cmp source.out copy.out
}

@test "kread -j | kwrite copies a topic" {
	copy=$(new_topic)
	kread -j -e "$SOURCE" >inline
	grep -qF '"payload":{"a":12345678901234567890,"b":[1.10,1E400]}}' inline
	kwrite -t "$copy" <inline
	kread -e "$SOURCE" | placeless >source.out
	kread -e "$copy" | placeless >copy.out
	cmp source.out copy.out
}

@test "kread -j prints the same messages" {
	kread -j -e "$SOURCE" | messages >inline
	kread -e "$SOURCE" | messages >plain
	cmp plain inline
}

@test "kread | kwrite -p keep copies partitions" {
	source=$(new_topic 3)
	copy=$(new_topic 3)
	seq 300 | sed 's/.*/{"key":"&","payload":"&"}/' | kwrite -t "$source"
	kread -e "$source" | kwrite -t "$copy" -p keep
	for topic in "$source" "$copy"; do
		kread -e "$topic" | jq -c '[.partition, .offset, .key, .payload, .ts]' | sort >"$topic.out"
	done
	cmp "$source.out" "$copy.out"
	[ "$(wc -l <"$copy.out")" -eq 300 ]
}

@test "kcat -J | kwrite copies what is text" {
	source=$(new_topic)
	copy=$(new_topic)
	messages=text
	jq -c 'select((has("key_b64") or has("payload_b64")) | not) | del(.headers)' \
		"$BATS_FILE_TMPDIR/messages" | grep -v '"payload": *null' >"$messages"
	[ "$(wc -l <"$messages")" -gt 20 ]
	kwrite -t "$source" <"$messages"
	kconsume "$source" -J | kwrite -t "$copy"
	kread -e "$source" | placeless >source.out
	kread -e "$copy" | placeless >copy.out
	cmp source.out copy.out
}
