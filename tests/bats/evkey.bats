#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# evkey: the partition key out of the payload, and not a byte of anything else changed.

load helpers

# record PAYLOAD: a record with this payload, which has no control characters.
record() {
	local text=${1//\\/\\\\}
	printf '{"payload":"%s"}\n' "${text//\"/\\\"}"
}

# key_of EXPR PAYLOAD: the key, as JSON, that a record with this payload gets.
key_of() {
	record "$2" >in
	evkey "$1" <in >out
	sed 's/^{"key":\(.*\),"payload":.*/\1/' out
}

# refused_as CLASS EXPR PAYLOAD [PART]: the record is refused under the class, with PART in the message.
refused_as() {
	record "$3" >in
	status=0
	evkey "$2" <in >out 2>err || status=$?
	cat err
	[ "$status" -eq 1 ]
	[ ! -s out ]
	[[ $(cat err) == "evkey: line 1: "*"${4:-}"*" ($1)" ]]
}

# line_becomes EXPR LINE LINE: the first line goes in, the second comes out, byte for byte.
line_becomes() {
	printf '%s\n' "$2" >in
	printf '%s\n' "$3" >expected
	evkey "$1" <in >out
	diff expected out
}

# ---- what a key is ----

@test "a string gives its text" {
	[ "$(key_of .tenantId '{"id":1,"tenantId":"t-7"}')" = '"t-7"' ]
}

@test "escapes in the string are resolved" {
	[ "$(key_of .a '{"a":"\u00e9\/\"\\\n\ud83d\ude00"}')" = '"é/\"\\\n😀"' ]
}

@test "UTF-8 in the string stays" {
	[ "$(key_of .a '{"a":"Zürich 東京 🚀"}')" = '"Zürich 東京 🚀"' ]
}

@test "an empty string is an empty key, not none" {
	[ "$(key_of .a '{"a":""}')" = '""' ]
}

@test "a number gives its digits as they stand" {
	[ "$(key_of .a '{"a":9223372036854775808}')" = '"9223372036854775808"' ]
	[ "$(key_of .a '{"a":1.10}')" = '"1.10"' ]
	[ "$(key_of .a '{"a":1E400}')" = '"1E400"' ]
	[ "$(key_of .a '{"a":-0}')" = '"-0"' ]
}

@test "a boolean gives its name" {
	[ "$(key_of .a '{"a":true}')" = '"true"' ]
	[ "$(key_of .a '{"a":false}')" = '"false"' ]
}

@test "of two members with one name the last counts" {
	[ "$(key_of .a '{"a":1,"b":2,"a":3}')" = '"3"' ]
	[ "$(key_of .a '{"a":1,"\u0061":4}')" = '"4"' ]
}

# ---- where it is found ----

@test "a path goes through objects and arrays" {
	[ "$(key_of '.a.b[1].c' '{"a":{"b":[{"c":1},{"c":2}]}}')" = '"2"' ]
	[ "$(key_of '.[1]' '[5,6]')" = '"6"' ]
	[ "$(key_of . '"whole"')" = '"whole"' ]
}

@test "odd names are quoted" {
	[ "$(key_of '."a b.c"' '{"a b.c":1}')" = '"1"' ]
	[ "$(key_of '.x["é\""]' '{"x":{"é\"":2}}')" = '"2"' ]
}

@test "a jq expression gives its first output" {
	[ "$(key_of '.x // .y' '{"y":"b"}')" = '"b"' ]
	[ "$(key_of '.list[]' '{"list":["first","second"]}')" = '"first"' ]
	[ "$(key_of '.n + 1' '{"n":41}')" = '"42"' ]
	[ "$(key_of '.list[-1]' '{"list":[1,2]}')" = '"2"' ]
	[ "$(key_of '.a == "b"' '{"a":"b"}')" = '"true"' ]
}

@test "a payload that is an object or array in the line is looked into as well" {
	line_becomes .a '{"payload":{"a":"x" , "b":1.10}}' '{"key":"x","payload":{"a":"x" , "b":1.10}}'
	line_becomes '.[0]' '{"payload":[ "x" ]}' '{"key":"x","payload":[ "x" ]}'
}

@test "a payload in base64 is looked into as well" {
	line_becomes .a '{"payload_b64":"eyJhIjoieCJ9"}' '{"key":"x","payload_b64":"eyJhIjoieCJ9"}'
}

# ---- the line ----

@test "the key that was there is replaced where it stands, and nothing else is touched" {
	line_becomes .a \
		' { "z":1E400 ,"key" : "old\u00e9" , "payload":"{\"a\":\"n\u0065w\", \"b\":1.10}", "u":[ 9223372036854775808,"\/" ],"z":2 } ' \
		' { "z":1E400 ,"key" : "new" , "payload":"{\"a\":\"n\u0065w\", \"b\":1.10}", "u":[ 9223372036854775808,"\/" ],"z":2 } '
}

@test "a null key is replaced" {
	line_becomes .a '{"key":null,"payload":"{\"a\":1}"}' '{"key":"1","payload":"{\"a\":1}"}'
}

@test "a key in base64 gives way to the text" {
	line_becomes .a '{"key_b64":"//4=","payload":"{\"a\":1}"}' '{"key":"1","payload":"{\"a\":1}"}'
}

@test "of two keys the one that counts is replaced" {
	line_becomes .a '{"key":"x","key":"y","payload":"{\"a\":1}"}' '{"key":"x","key":"1","payload":"{\"a\":1}"}'
}

@test "a key that needs escapes gets them" {
	[ "$(key_of .a '{"a":"\"\\\u0000\u001f\u007f"}')" = "$(printf '"\\"\\\\\\u0000\\u001f\177"')" ]
}

@test "CR before the line end stays" {
	printf '{"payload":"{\\"a\\":1}"}\r\n' >in
	printf '{"key":"1","payload":"{\\"a\\":1}"}\r\n' >expected
	evkey .a <in >out
	cmp expected out
}

@test "records come out in their order, none lost, over many blocks" {
	seq 200000 | sed 's/.*/{"payload":"{\\"a\\":&}"}/' >in
	seq 200000 | sed 's/.*/{"key":"&","payload":"{\\"a\\":&}"}/' >expected
	evkey .a <in >out
	cmp expected out
}

# ---- refused ----

@test "a payload that is not JSON is json-decode" {
	refused_as json-decode .a 'hello'
	refused_as json-decode .a '{"a":1'
	refused_as json-decode .a '{"a":1} x'
	refused_as json-decode .a ''
	refused_as json-decode .a "{'a':1}"
	refused_as json-decode .a '{"a":01}'
	refused_as json-decode .a '{"a":NaN}'
}

@test "a payload that is not JSON is json-decode to a jq expression too, lenient as libjq is" {
	refused_as json-decode '.a // .b' 'hello'
	refused_as json-decode '.a // .b' '{"a":NaN}'
	refused_as json-decode '.a // .b' '{"a":1} {"a":2}'
	refused_as json-decode '.a // .b' ''
}

@test "what is wrong behind the value is json-decode all the same" {
	refused_as json-decode .a '{"a":1,"b":tru}'
	refused_as json-decode .a '{"a":1}}'
}

@test "a payload that is not UTF-8 is json-decode" {
	printf '{"payload_b64":"%s"}\n' "$(printf '{"a":"\xff"}' | base64)" >in
	run -1 evkey .a <in
	[[ $output == *"(json-decode)" ]]
}

@test "a value that is not there is missing-key, and the message names the expression" {
	refused_as missing-key .tenantId '{"id":1}' .tenantId
	refused_as missing-key .a.b '{"a":"text"}' .a.b
	refused_as missing-key '.a[3]' '{"a":[1]}' '.a[3]'
	refused_as missing-key '.a // .b' '{}' '.a // .b'
}

@test "null, an object and an array are no keys" {
	refused_as missing-key .a '{"a":null}'
	refused_as missing-key .a '{"a":{"b":1}}'
	refused_as missing-key .a '{"a":[1]}'
	refused_as missing-key '.a | {b: .}' '{"a":1}'
}

@test "a tombstone is missing-key" {
	echo '{"key":"k","payload":null}' >in
	run -1 evkey .a <in
	[[ $output == *"(missing-key)" ]]
}

@test "a jq expression that fails is missing-key, and libjq's reason is told" {
	refused_as missing-key '.a.b | ascii_downcase' '{"a":{"b":1}}' 'must be a string'
	refused_as missing-key 'empty' '{"a":1}'
}

@test "a number that jq would change is refused, and a path takes it" {
	refused_as missing-key '.a // .b' '{"a":9007199254740993}' '2^53'
	[ "$(key_of .a '{"a":9007199254740993}')" = '"9007199254740993"' ]
}

@test "nesting over the limit in the payload is too-large" {
	refused_as too-large .a "{\"a\":1,\"b\":$(printf '[%.0s' {1..600})$(printf ']%.0s' {1..600})}"
	refused_as too-large '.a // .b' "{\"a\":1,\"b\":$(printf '[%.0s' {1..600})$(printf ']%.0s' {1..600})}"
}

@test "json-decode and missing-key are counted apart" {
	cat >in <<-'EOT'
	{"payload":"hello"}
	{"payload":"{\"a\":1}"}
	{"payload":"{\"b\":1}"}
	{"payload":"{\"b\":2}"}
	EOT
	run -1 evkey .a --dead-letter dead --metrics metrics <in
	grep -q '^evpipe_errors_total{pipeline="evpipe",tool="evkey",type="json-decode"} 1$' metrics
	grep -q '^evpipe_errors_total{pipeline="evpipe",tool="evkey",type="missing-key"} 2$' metrics
	[ "$(jq -r '.error.class + " " + .record.payload' dead)" = \
		$'json-decode hello\nmissing-key {"b":1}\nmissing-key {"b":2}' ]
}

@test "a dead letter holds the record byte for byte" {
	printf '%s\n' '{ "key":"\u0061","payload":"{}" , "x":1E400,"x":"\/" }' >in
	run -1 evkey .a --dead-letter dead <in
	grep -qF '"record":{ "key":"\u0061","payload":"{}" , "x":1E400,"x":"\/" }}' dead
}

@test "--null-ok makes a missing value a null key, and nothing else" {
	line_becomes '.a' '{"key":"old","payload":"{\"a\":1}"}' '{"key":"1","payload":"{\"a\":1}"}'
	printf '%s\n' '{"key":"old","payload":"{\"b\":1}"}' '{"payload":"{\"a\":null}"}' \
		'{"payload":null}' '{"key_b64":"//4=","payload":"{\"a\":[]}"}' >in
	evkey --null-ok .a <in >out
	[ "$(jq -c '[.key, has("key_b64")]' out)" = $'[null,false]\n[null,false]\n[null,false]\n[null,false]' ]
	echo '{"payload":"nonsense"}' >in
	run -1 evkey --null-ok .a <in
	[[ $output == *"(json-decode)" ]]
}

# ---- usage ----

@test "what is no path and no jq expression is wrong usage" {
	run -100 evkey '.a |' </dev/null
	[[ $output == "evkey: '.a |' is not a jq expression: "*"try 'evkey --help'" ]]
	run -100 evkey 'nosuchfunction(.a)' </dev/null
	run -100 evkey '' </dev/null
	run -100 evkey </dev/null
	run -100 evkey .a .b </dev/null
}
