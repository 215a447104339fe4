#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# Large bodies to and from khttp: memory is bounded, and what holds for small ones holds for them.

# shellcheck disable=SC2030,SC2031,SC2154
load helpers
load khttp

setup_file() {
	kafka_start
}

# body FORM RECORDS BYTES [LAST]: so many records with a number as key, and LAST behind them.
body() {
	python3 - "$@" <<-'EOP'
	import sys
	form, count, size, *last = sys.argv[1:]
	text = "x" * int(size)
	if form == "lines":
	    records = ['{"topic":"t","key":"%d","payload":"%s"}\n' % (n, text) for n in range(int(count))] + last
	    print("".join(records), end="")
	else:
	    records = ['{"key":"%d","value":"%s"}' % (n, text) for n in range(int(count))] + last
	    print('{"records":[' + ",".join(records) + "]}", end="")
	EOP
}

# post_file TYPE FILE PATH [CURL-OPTION…]
post_file() {
	http -X POST -H "Content-Type: $1" -T "$2" "${@:4}" "$3" >/dev/null
}
JSON=application/vnd.kafka.json.v2+json TEXT=application/vnd.kafka.text.v2+json LINES=application/x-ndjson

# keys TOPIC: of all records, in their order.
keys() {
	kread -q -b "$KAFKA_BROKERS" -e "$1" | jq -r .key
}

# is_empty TOPIC
is_empty() {
	[ "$(http "/topics/$1/partitions/0/offsets")" = '{"beginning_offset":0,"end_offset":0}' ]
}

# bats test_tags=once
@test "100 MB in one POST, JSON and lines, and 100 MB out: all of it in order, in 48 MiB" {
	local form topic
	for form in json lines; do
		topic=$(new_topic 1)
		body $form 1000 100000 >large
		khttp_start http --max-body 200M -X message.timeout.ms=300000
		post_file "$([ $form = json ] && echo $TEXT || echo $LINES)" large "/topics/$topic" -H 'Idempotency-Key: k'
		is 200 '[.offsets[].offset] == [range(1000)]'
		cp body first
		post_file "$([ $form = json ] && echo $TEXT || echo $LINES)" large "/topics/$topic" -H 'Idempotency-Key: k'
		cmp body first
		http -H "Accept: $LINES" "/topics/$topic/records?offset=0&limit=1000" >out
		[ "$(jq -r .key out)" = "$(seq 0 999)" ]
		# An answer that is as long as it may be does not wait for more.
		http -m 100 -H "Accept: $TEXT" "/topics/$topic/records?offset=0&timeout=300000" >out
		is 200 'length > 0 and length < 100'
		[ "$(awk '/VmHWM/ { print $2 }' "/proc/$(pid_of http)/status")" -lt $((48 << 10)) ]
		stop http
		wait_exit http
		[ "$status" -eq 0 ]
	done
}

@test "a large body is looked through before its first record is sent: what is wrong at its end is said as of a small one" {
	local topic text
	khttp_start http -X message.timeout.ms=300000
	topic=$(new_topic 1)
	body json 4000 1000 '{"value":1}' >large
	post_file $JSON large "/topics/$topic"
	is 400 '.validation_errors == ["#/records/4000/value: instance type integer is invalid. Expected string, object, array, null"]'
	body json 4000 1000 '{"value":"1","partition":-1}' >large
	post_file $JSON large "/topics/$topic"
	is_error 422 'Invalid partition: -1. Partition number should always be non-negative or null.'
	# A schema's error stands before another one, wherever they are.
	body json 4000 1000 '{"value":"1","partition":-1},{"valu":"1"}' >large
	post_file $JSON large "/topics/$topic"
	is 400 '.validation_errors == ["#/records/4001: property '"'valu'"' is not allowed"]'
	body json 4000 1000 | sed 's/]}$/],"more":[1]}/' >large
	post_file $JSON large "/topics/$topic"
	is 400 '.validation_errors == ["#: property '"'more'"' is not allowed"]'
	for text in '' ']' '],"a"' '],"records":[}' ']}}' ']} x'; do
		body json 4000 1000 | sed 's/]}$//' >large
		printf '%s' "$text" >>large
		post_file $JSON large "/topics/$topic"
		is_error 400 "Validation error on: The request body can't be decoded"
	done
	body lines 4000 1000 '{"key":1}' >large
	post_file $LINES large "/topics/$topic"
	is 400 '.validation_errors | length == 1 and (.[0] | startswith("line 4001: "))'
	is_empty "$topic"
	# Of two lists the last counts.
	body json 4000 1000 | sed 's/]}$/],"records":[{"key":"last","value":"\\u0031"}]}/' >large
	post_file $TEXT large "/topics/$topic"
	is 200 '.offsets == [{"partition": 0, "offset": 0}]'
	[ "$(in_topic "$topic")" = '0 last 1 []' ]
}

@test "a large body: a record that is refused takes no neighbour along; escapes, headers, base64; half of one" {
	local topic
	khttp_start http -X message.timeout.ms=300000
	topic=$(new_topic 1 max.message.bytes=200000)
	{
		body json 3000 1000 | sed 's/]}$//'
		printf ',{"key":"\\u0061\\n","value":"%s"}' "$(head -c 300000 /dev/zero | tr '\0' x)"
		printf ',{"key":"\\u0061\\n","value":"\\"","headers":[{"key":"\\u0068","value":"dg=="}]},{"value":null}]}'
	} >large
	post_file $TEXT large "/topics/$topic?errors=fail"
	is 413 '(.offsets | length) == 3003 and [.offsets[] | select(.error_code)] == [.offsets[3000]]'
	# Those of the refused batch are sent again, behind what was on its way.
	[ "$(keys "$topic" | sort)" = "$({ seq 0 2999; printf 'a\n\nnull\n'; } | sort)" ]
	[ "$(kread -q -b "$KAFKA_BROKERS" -e "$topic" | jq -c 'select(.key == "a\n" or .key == null) | [.payload, .headers]' |
		sort)" = '["\"",["h","v"]]
[null,null]' ]
	body json 2000 1000 | sed 's/"key":"[0-9]*",//g' >large
	post_file application/vnd.kafka.binary.v2+json large "/topics/$topic?async=true"
	is 204
	wait_for "[ \"\$(http /topics/$topic/partitions/0/offsets | jq .end_offset)\" = 5002 ]"
	[ "$(kread -q -b "$KAFKA_BROKERS" -o 5001 -e "$topic" | jq -r '.payload_b64[:4]')" = xxxx ]
	# Half of a body is nothing.
	body json 4000 1000 >large
	python3 - "$WEB" large "/topics/$topic" <<-'EOP'
	import socket, sys
	body = open(sys.argv[2], "rb").read()
	head = f"POST {sys.argv[3]} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
	s = socket.socket(socket.AF_UNIX)
	s.connect(sys.argv[1])
	s.sendall(head + body[:len(body) // 2])
	s.close()
	EOP
	post text '{"records":[{"value":"next"}]}' "/topics/$topic"
	is 200 '.offsets == [{"partition": 0, "offset": 5002}]'
	stop http
	wait_exit http
	[ "$status" -eq 0 ]
}

@test "Idempotency-Key: of long answers the older ones are forgotten, their keys are not" {
	local topic
	topic=$(printf "%0240d" 0)$RANDOM
	"$ROOT/tests/kafka/topics" "$KAFKA_BROKERS" create "$topic" 1
	khttp_start long --max-body 64M
	post text '{"records":[{"value":"1"}]}' "/topics/$topic" -H 'Idempotency-Key: a'
	is 200
	post text '{"records":[{"value":"2"}]}' "/topics/$topic?async=true" -H 'Idempotency-Key: b'
	is 204
	# Each of its slots says at length why it has failed.
	python3 -c 'print("{\"records\":[{\"value\":\"3\"}" + 100000 * ",{\"value\":\"\",\"partition\":9}" + "]}")' >long
	post text @long "/topics/$topic" -H 'Idempotency-Key: c' >/dev/null
	is 200
	[ "$(wc -c <body)" -gt $((32 << 20)) ]
	post text '{"records":[{"value":"4"}]}' "/topics/$topic" -H 'Idempotency-Key: d'
	is 200
	cp body last
	for key in a:1 b:2; do
		post text "{\"records\":[{\"value\":\"${key#*:}\"}]}" "/topics/$topic" -H "Idempotency-Key: ${key%:*}" -D head
		is 204
		[ ! -s body ]
		grep -qi '^Idempotency-Replayed: true' head
	done
	post text @long "/topics/$topic" -H 'Idempotency-Key: c'
	is 500 '.message | startswith("a part of this was done, ")'
	post text '{"records":[{"value":"4"}]}' "/topics/$topic" -H 'Idempotency-Key: d'
	is 200
	cmp body last
	[ "$(kread -q -e "$topic" | jq -r .payload | sort | tr '\n' ' ')" = '1 2 3 4 ' ]
}

@test "where no file can be had, or it cannot grow, a large body stands in memory" {
	local topic
	topic=$(new_topic 1)
	body json 6000 1000 >large
	# What was written comes back.
	(
		trap '' XFSZ
		ulimit -f 3000
		khttp_start http -X message.timeout.ms=300000
		post_file $TEXT large "/topics/$topic"
		is 200 '[.offsets[].offset] == [range(6000)]'
	)
	[ "$(keys "$topic")" = "$(seq 0 5999)" ]
}
