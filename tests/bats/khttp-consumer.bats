#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# Consumer instances of khttp: each path below /consumers, each answer to it.

# Each test is a process of its own, and sets what bridge.bash sets.
# shellcheck disable=SC2030,SC2031,SC2154
load helpers
load bridge

setup_file() {
	kafka_start
}

unknown='The specified consumer instance was not found.'
exclusive='Subscriptions to topics, partitions, and patterns are mutually exclusive.'
schema='Validation error on: Schema validation error'

# three TOPIC: three records of JSON.
three() {
	printf '%s\n' '1:{"n":1.10}' '2:"two"' '3:[3]' | sed 's/^\(.\):/"k\1"\t/' | kproduce "$1" -p 0 -K '	'
}

@test "an instance: made, used, deleted; a name in use is 409" {
	bridge_start
	topic=$(new_topic 1)
	three "$topic"
	post /consumers/g '{"name":"c1","format":"json","auto.offset.reset":"earliest","enable.auto.commit":false,"fetch.min.bytes":1,"consumer.request.timeout.ms":30000,"isolation.level":"read_committed"}'
	is 200 "{\"instance_id\":\"c1\",\"base_uri\":\"$BRIDGE/consumers/g/instances/c1\"}"
	[[ $headers == *'Content-Type: application/vnd.kafka.v2+json'* ]]
	post /consumers/g '{"name":"c1"}'
	is_error 409 'A consumer instance with the specified name already exists in the Kafka Bridge.'
	post /consumers/other '{"name":"c1"}'
	is 200
	C=/consumers/g/instances/c1
	post $C/subscription "{\"topics\":[\"$topic\"]}"
	is 204 ''
	poll $C '?timeout=30000'
	says 200 "map(del(.timestamp)) == [
		{topic: \"$topic\", key: \"k1\", value: {n: 1.10}, partition: 0, offset: 0},
		{topic: \"$topic\", key: \"k2\", value: \"two\", partition: 0, offset: 1},
		{topic: \"$topic\", key: \"k3\", value: [3], partition: 0, offset: 2}]"
	[[ $body == "[{\"topic\":\"$topic\",\"key\":\"k1\",\"value\":{\"n\":1.10},\"partition\":0,\"offset\":0,\"timestamp\":"* ]]
	[[ $headers == *'Content-Type: application/vnd.kafka.json.v2+json'* ]]
	req DELETE $C
	is 204 ''
	req DELETE $C
	is_error 404 "$unknown"
	post /consumers/g '{"name":"c1"}'
	is 200
}

@test "an instance without a name gets one; the body may be absent, or {}" {
	bridge_start bridge --id west
	for text in '' '{}' '{"format":"text"}'; do
		post /consumers/g "$text"
		says 200 '.instance_id | test("^west-[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$")'
		says 200 ".base_uri == \"$BRIDGE/consumers/g/instances/\" + .instance_id"
	done
	bridge_start plain
	req POST "$(bridge_url plain)/consumers/g"
	says 200 '.instance_id | startswith("kafka-bridge-consumer-")'
}

@test "what an instance cannot be: 400 for the schema, 422 for values" {
	bridge_start
	for text in '{"name":1}' '{"format":1}' '{"fetch.min.bytes":"100"}' '{"enable.auto.commit":"true"}' '{"bogus":1}' '[]' \
		'{"consumer.request.timeout.ms":1.5}' 'null' '{"isolation.level":null}'; do
		post /consumers/g "$text"
		says 400 ".error_code == 400 and .message == \"$schema\" and (.validation_errors | length) > 0"
	done
	for text in '{' '{"name":"c1"' $'{"name":"\xff"}' '{} {}'; do
		post /consumers/g "$text"
		is_error 400 "Validation error on: The request body can't be decoded"
	done
	req POST /consumers/g -H 'Content-Type: text/plain' -d '{}'
	is_error 400 'Validation error on: The format of the request body is not supported'
	post /consumers/g '{"format":"avro"}'
	is_error 422 'Invalid format type.'
	post /consumers/g '{"auto.offset.reset":"middle"}'
	says 422 '.message | startswith("Invalid value middle for configuration auto.offset.reset: ")'
	post /consumers/g '{"isolation.level":"none"}'
	is_error 422 'Invalid value none for configuration isolation.level: String must be one of: read_committed, read_uncommitted'
	post /consumers/g '{"fetch.min.bytes":-1}'
	is_error 422 'Invalid value -1 for configuration fetch.min.bytes: Value must be at least 0'
	post /consumers/g '{"fetch.min.bytes":99999999999}'
	is_error 422 'Invalid value 99999999999 for configuration fetch.min.bytes: Not a number of type INT'
	post /consumers/g '{"consumer.request.timeout.ms":-1}'
	is_error 422 'Invalid value -1 for configuration request.timeout.ms: Value must be at least 0'
	post /consumers/g '{"name":""}'
	is 422
	# No path would have room for it.
	post /consumers/g "{\"name\":\"$(printf %01025d 1)\"}"
	is_error 422 'The name of an instance has at most 1024 bytes.'
	post /consumers/%20g '{}'
	is_error 422 'Invalid value  g for configuration group.id: it must not begin with white space'
	post /consumers/%20 '{}'
	is 422
	# Clients take "/instances/.." for "/": nobody would reach it.
	post /consumers/g '{"name":".."}'
	is_error 422 "The name of an instance cannot be '..': clients leave it out of a URL."
	post /consumers/%2E '{"name":"a"}'
	is_error 422 'Invalid value . for configuration group.id: clients leave it out of a URL'
	req POST '/consumers/g%00h?x=%00' -H "$V2" -d '{}'
	is_error 400 'the URL has a NUL in it, %00'
}

@test "base_uri is where the client has reached the bridge" {
	bridge_start
	post /consumers/g '{"name":"a"}' -H 'Host: gate.example'
	says 200 '.base_uri == "http://gate.example:80/consumers/g/instances/a"'
	post /consumers/g '{"name":"b"}' -H 'Forwarded: for=1.2.3.4;host=east.example;proto=https'
	says 200 '.base_uri == "https://east.example:443/consumers/g/instances/b"'
	# Of two lines the first counts, and it stands before X-Forwarded-*.
	post /consumers/g '{"name":"b2"}' -H 'X-Forwarded-Host: x:1' -H 'X-Forwarded-Proto: http' -H 'Forwarded: host=first;proto=https' \
		-H 'Forwarded: host=second;proto=http'
	says 200 '.base_uri == "https://first:443/consumers/g/instances/b2"'
	post /consumers/g '{"name":"c"}' -H 'X-Forwarded-Host: h:8443' -H 'X-Forwarded-Proto: https'
	says 200 '.base_uri == "https://h:8443/consumers/g/instances/c"'
	# Several proxies, each of which has added what it saw.
	post /consumers/g '{"name":"h"}' -H 'X-Forwarded-Host: h, i:1' -H 'X-Forwarded-Proto: https, http'
	says 200 '.base_uri == "https://h:443/consumers/g/instances/h"'
	post /consumers/g '{"name":"d"}' -H 'X-Forwarded-Path: /kafka/consumers/g'
	says 200 ".base_uri == \"$BRIDGE/kafka/consumers/g/instances/d\""
	post /consumers/g '{"name":"e"}' -H 'X-Forwarded-Host: h'
	says 200 ".base_uri == \"$BRIDGE/consumers/g/instances/e\""
	post /consumers/g '{"name":"f"}' -H 'X-Forwarded-Host: h' -H 'X-Forwarded-Proto: mqtt'
	is_error 500 'mqtt is not a valid schema/proto.'
	while read -r url header; do
		post /consumers/g '' -H "X-Forwarded-Proto: HTTPS , http" -H "$header"
		[ "$url" != own ] || url=$BRIDGE
		says 200 ".base_uri | startswith(\"$url/consumers/g/instances/\")"
	done <<-'EOF'
	https://h:443 X-Forwarded-Host: h
	https://h:443 X-Forwarded-Host: h:
	https://[::1]:443 X-Forwarded-Host: [::1] , h
	https://[::1]:5 Forwarded: for="a;host=x;proto=http,b"; Host="[::1]:5"; proto=HTTPS
	http://h:5 Forwarded: host="h:5";proto=Http, host=i;proto=https
	own X-Forwarded-Host: ::1
	own X-Forwarded-Host: h:65536
	own X-Forwarded-Host: h:x
	own X-Forwarded-Host: a/b
	own X-Forwarded-Host: ,h
	own X-Forwarded-Path: consumers
	own Forwarded: host=h;proto=
	EOF
	post /consumers/g/ '{"name":"g"}'
	says 200 ".base_uri == \"$BRIDGE/consumers/g/instances/g\""
	# A name that a path cannot have as it is.
	post /consumers/gr%C3%BCn '{"name":"ä b"}'
	says 200 ".instance_id == \"ä b\" and .base_uri == \"$BRIDGE/consumers/gr%C3%BCn/instances/%C3%A4%20b\""
	req DELETE "$(jq -r .base_uri <<<"$body")"
	is 204
	post /consumers/%2Fa%3F%23%25%2F. '{"name":"../a?b#c%2F;d &e"}'
	req DELETE "$(jq -r .base_uri <<<"$body")"
	is 204
}

@test "--advertise: base_uri and names tell whose an instance is; another bridge answers 421" {
	free_port >bridge.port
	bridge_start bridge --advertise "http://127.0.0.1:$(<bridge.port)"
	bridge_start other --advertise http://gate.example:80
	post /consumers/g '' -H 'X-Forwarded-Host: h' -H 'X-Forwarded-Proto: https'
	says 200 ".instance_id | startswith(\"${BRIDGE#http://}-\")"
	says 200 ".base_uri == \"$BRIDGE/consumers/g/instances/\" + .instance_id"
	path=$(jq -r .base_uri <<<"$body")/records
	req GET "$path?timeout=0"
	is 500
	req GET "$(bridge_url other)${path#"$BRIDGE"}"
	is_error 421 "The consumer instance is in another bridge, at ${BRIDGE#http://}"
	[[ $headers == *"Location: $path"* ]]
	req POST "$(bridge_url other)/consumers/g" -H "$V2" -d '{"name":"c"}'
	says 200 '.base_uri == "http://gate.example:80/consumers/g/instances/c"'
	req GET "$BRIDGE/consumers/g/instances/c/records"
	is 404
	for text in gate.example ftp://h:1 http://h http://h:1/x; do
		run -100 khttp -b "$KAFKA_BROKERS" --advertise "$text"
		[[ $output == *--advertise* ]]
	done
	run -100 khttp -b "$KAFKA_BROKERS" --advertise http://h:1 --id x
}

@test "an unknown instance is 404 on each path, after the body was looked at" {
	bridge_start
	C=/consumers/g/instances/nobody
	for path in subscription:'{"topics":["t"]}' assignments:'{"partitions":[]}' offsets:'{"offsets":[]}' \
		positions:'{"offsets":[]}' positions/beginning:'{"partitions":[]}' positions/end:'{"partitions":[]}'; do
		post "$C/${path%%:*}" "${path#*:}"
		is_error 404 "$unknown"
		post "$C/${path%%:*}" '{"x":1}'
		says 400 ".message == \"$schema\""
	done
	post $C/offsets ''
	is_error 404 "$unknown"
	for path in subscription:GET subscription:DELETE records:GET :DELETE; do
		req "${path#*:}" "$C/${path%%:*}"
		is_error 404 "$unknown"
	done
	req GET "$C/records?timeout=soon"
	says 400 ".message == \"$schema\""
	post $C/subscription ''
	is_error 400 'Validation error on: The related request does not contain the required body.'
	req PUT $C/records
	is 405 ''
	req GET $C/nothing
	is_error 404 'Not Found'
}

@test "subscriptions: by list and by pattern, replaced, ended; conflicts are 409" {
	bridge_start
	a=$(new_topic 2) b=$(new_topic 1)
	instance g "$(unique c)"
	req GET $C/subscription
	is 200 '{"topics":[],"partitions":[]}'
	post $C/subscription '{}'
	is_error 422 'A list (of Topics type) or a topic_pattern must be specified.'
	post $C/subscription "{\"topics\":[\"$a\"],\"topic_pattern\":\"x\"}"
	is_error 409 "$exclusive"
	for text in '{"topics":"t"}' '{"topics":[1]}' '{"topic_pattern":["x"]}' '{"topic":["x"]}'; do
		post $C/subscription "$text"
		says 400 ".message == \"$schema\""
	done
	for name in '' '^.*' 'a b' "$(printf 'x%.0s' {1..250})"; do
		post $C/subscription "{\"topics\":[\"$name\"]}"
		is 422
	done
	subscribed $C "$a" "$b" "$a"
	req GET $C/subscription
	says 200 "(.topics | sort) == ([\"$a\", \"$b\"] | sort) and (.partitions | map(to_entries[]) | from_entries) == {\"$a\": [0, 1], \"$b\": [0]}"
	post $C/assignments "{\"partitions\":[{\"topic\":\"$a\",\"partition\":0}]}"
	is_error 409 "$exclusive"
	post $C/subscription "{\"topics\":[\"$b\"]}"
	is 204
	wait_for "curl -s $BRIDGE$C/subscription | grep -qF '{\"topics\":[\"$b\"],\"partitions\":[{\"$b\":[0]}]}'"
	post $C/subscription '{"topics":[]}'
	is 204
	req GET $C/subscription
	is 200 '{"topics":[],"partitions":[]}'
	poll $C
	is_error 500 'Consumer is not subscribed to any topics or assigned any partitions'
	subscribed $C "$a"
	req DELETE $C/subscription
	is 204 ''
	poll $C
	is 500
	post $C/assignments "{\"partitions\":[{\"topic\":\"$a\",\"partition\":0}]}"
	is 204
	post $C/subscription "{\"topics\":[\"$b\"]}"
	is_error 409 "$exclusive"
}

@test "a pattern is Java's, matches whole names, and topics that come later" {
	bridge_start
	base=$(unique pat)
	"$ROOT/tests/kafka/topics" "$KAFKA_BROKERS" create "$base-1,$base-22,$base-x,x$base-1" 1
	instance "$base" c
	post $C/subscription "{\"topic_pattern\":\"$base-(\"}"
	is 422
	post "$C/subscription?wait=asignment" "{\"topics\":[\"$base-1\"]}"
	says 400 '.validation_errors == ["query parameter wait: the value is invalid"]'
	post "$C/subscription?wait=assignment" "{\"topic_pattern\":\"$base-\\\\d+\"}"
	is 204
	req GET $C/subscription
	says 200 ".topics == [\"$base-1\", \"$base-22\"]"
	"$ROOT/tests/kafka/topics" "$KAFKA_BROKERS" create "$base-333" 1
	wait_for "curl -s $BRIDGE$C/subscription | grep -qF '\"$base-333\"'"
	post $C/subscription "{\"topics\":[\"$base-1\"]}"
	is_error 409 "$exclusive"
	# Another pattern takes its place.
	post $C/subscription "{\"topic_pattern\":\"(?!x)$base-[^\\\\d]\"}"
	is 204
	wait_for "curl -s $BRIDGE$C/subscription | grep -qF '{\"topics\":[\"$base-x\"],'"
}

@test "assignments: replaced, released; a topic need not exist" {
	bridge_start
	topic=$(new_topic 2)
	for p in 0 1; do printf '"p%d"\n' $p | kproduce "$topic" -p $p; done
	instance g "$(unique c)"
	post $C/assignments "{\"partitions\":[{\"topic\":\"$topic\",\"partition\":1}]}"
	is 204 ''
	req GET $C/subscription
	is 200 "{\"topics\":[\"$topic\"],\"partitions\":[{\"$topic\":[1]}]}"
	polled $C 1
	grep '"p1"' polled
	post $C/assignments "{\"partitions\":[{\"topic\":\"$topic\",\"partition\":0},{\"topic\":\"$topic\",\"partition\":1}]}"
	is 204
	# What was read stays read.
	polled $C 2
	[ "$(grep -c '"p0"' polled)" = 1 ]
	# It goes on with what it had before.
	printf '"more"\n' | kproduce "$topic" -p 1
	polled $C 3
	post $C/assignments "{\"partitions\":[{\"topic\":\"$topic\",\"partition\":1}]}"
	is 204
	printf '"most"\n' | kproduce "$topic" -p 1
	polled $C 4
	[ "$(jq -r .value polled | tr '\n' ' ')" = 'p1 p0 more most ' ]
	post $C/assignments '{"partitions":[{"topic":"there-is-none","partition":5}]}'
	is 204
	poll $C '?timeout=200'
	is 200 '[]'
	post $C/assignments '{"partitions":[]}'
	is 204
	poll $C
	is 500
	for text in '{}' '{"partitions":[{}]}' '{"partitions":[{"topic":"t","partition":"0"}]}' '{"partitions":[{"topic":"t","partition":0,"x":1}]}' \
		'{"partitions":[{"topic":"t","partition":2147483648}]}' '{"partitions":{}}'; do
		post $C/assignments "$text"
		says 400 ".message == \"$schema\""
	done
	post $C/assignments '{"partitions":[{"topic":"t","partition":-1}]}'
	is 422
}

@test "seeking: to an offset, to the beginning, to the end, at once after an assignment" {
	bridge_start
	topic=$(new_topic 2)
	three "$topic"
	instance g "$(unique c)" '"enable.auto.commit":false'
	post $C/assignments "{\"partitions\":[{\"topic\":\"$topic\",\"partition\":0},{\"topic\":\"$topic\",\"partition\":1}]}"
	post $C/positions "{\"offsets\":[{\"topic\":\"$topic\",\"partition\":0,\"offset\":2}]}"
	is 204 ''
	poll $C '?timeout=30000'
	says 200 'map(.offset) == [2]'
	post $C/positions/beginning "{\"partitions\":[{\"topic\":\"$topic\",\"partition\":0}]}"
	is 204 ''
	poll $C '?timeout=30000'
	says 200 'map(.offset) == [0, 1, 2]'
	post $C/positions/beginning '{"partitions":[]}'
	is 204
	poll $C '?timeout=30000&max_records=1'
	says 200 'map(.offset) == [0]'
	post $C/positions/end "{\"partitions\":[{\"topic\":\"$topic\",\"partition\":0}]}"
	is 204
	poll $C '?timeout=500'
	is 200 '[]'
	three "$topic"
	poll $C '?timeout=30000'
	says 200 '.[0].offset == 3'
	# Beyond the end: as auto.offset.reset has it.
	post $C/positions "{\"offsets\":[{\"topic\":\"$topic\",\"partition\":0,\"offset\":99}]}"
	is 204
	poll $C '?timeout=30000'
	says 200 '.[0].offset == 0'
	for path in positions:offsets:',"offset":0' positions/beginning:partitions: positions/end:partitions:; do
		IFS=: read -r path list more <<<"$path"
		post "$C/$path" "{\"$list\":[{\"topic\":\"$topic\",\"partition\":7$more}]}"
		is_error 404 "No current assignment for partition $topic-7"
		for text in '{}' "{\"$list\":{}}" "{\"$list\":[{\"topic\":\"t\"}]}"; do
			post "$C/$path" "$text"
			says 400 ".message == \"$schema\""
		done
	done
	post $C/positions "{\"offsets\":[{\"topic\":\"$topic\",\"partition\":0,\"offset\":-1}]}"
	is 422
}

@test "seeking again while the last place is still asked for: the last one counts" {
	bridge_start
	topic=$(new_topic 1)
	three "$topic"
	instance g "$(unique c)" '"enable.auto.commit":false'
	post $C/assignments "{\"partitions\":[{\"topic\":\"$topic\",\"partition\":0}]}"
	for last in '/beginning {"partitions":[]}' " {\"offsets\":[{\"topic\":\"$topic\",\"partition\":0,\"offset\":0}]}"; do
		for _ in {1..12}; do
			poll $C '?timeout=20000'
			says 200 'map(.offset) == [0, 1, 2]'
			# One right after the other.
			python3 - "$C/positions" '/end {"partitions":[]}' '/end {"partitions":[]}' "$last" "${BRIDGE##*:}" <<-'EOP'
			import socket, sys
			path, *seeks, port = sys.argv[1:]
			s = socket.create_connection(("127.0.0.1", int(port)))
			type = "application/vnd.kafka.v2+json"
			for seek in seeks:
			    to, body = seek.split(" ", 1)
			    s.sendall(f"POST {path}{to} HTTP/1.1\r\nHost: h\r\nContent-Type: {type}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
			    assert b" 204 " in s.recv(4096)
			EOP
		done
	done
}

@test "auto.offset.reset none: no poll goes on before the client has said where" {
	bridge_start
	topic=$(new_topic 2)
	three "$topic"
	instance "$(unique g)" c '"auto.offset.reset":"none"'
	subscribed $C "$topic"
	for _ in 1 2 3; do
		wait_for "poll $C '?timeout=1000'; is 500"
		says 500 ".message | startswith(\"Undefined offset with no reset policy for partitions: [$topic-\")"
	done
	post $C/positions/beginning '{"partitions":[]}'
	is 204
	polled $C 3
	[ "$(jq .offset polled | tr '\n' ' ')" = '0 1 2 ' ]
	# At once, before Kafka has answered anything.
	instance "$(unique g)" c '"auto.offset.reset":"none"'
	post $C/assignments "{\"partitions\":[{\"topic\":\"$topic\",\"partition\":0}]}"
	post $C/positions "{\"offsets\":[{\"topic\":\"$topic\",\"partition\":0,\"offset\":1}]}"
	is 204
	poll $C '?timeout=30000'
	says 200 'map(.offset) == [1, 2]'
	# What is not there any more, or not yet.
	post $C/positions "{\"offsets\":[{\"topic\":\"$topic\",\"partition\":0,\"offset\":99}]}"
	wait_for "poll $C '?timeout=1000'; is 500"
	post $C/positions "{\"offsets\":[{\"topic\":\"$topic\",\"partition\":0,\"offset\":2}]}"
	poll $C '?timeout=30000'
	says 200 'map(.offset) == [2]'
}

@test "commits: all that was written, a list, nothing; unknown places are refused at once" {
	bridge_start
	topic=$(new_topic 1) group=$(unique g)
	three "$topic"
	instance "$group" c '"enable.auto.commit":false'
	subscribed $C "$topic"
	post $C/offsets ''
	is 204 ''
	poll $C '?timeout=30000&max_records=2'
	says 200 'map(.offset) == [0, 1]'
	post $C/offsets '{}'
	is 204
	req DELETE $C
	is 204
	# A group has made a topic of Kafka's own.
	"$ROOT/tests/kafka/topics" "$KAFKA_BROKERS" list >names
	grep -q __consumer_offsets names
	req GET /topics
	says 200 "index(\"$topic\") and (index(\"__consumer_offsets\") | not)"
	instance "$group" c '"enable.auto.commit":false'
	subscribed $C "$topic"
	poll $C '?timeout=30000'
	says 200 'map(.offset) == [2]'
	post $C/offsets "{\"offsets\":[{\"topic\":\"$topic\",\"partition\":0,\"offset\":1}]}"
	is 204 ''
	post $C/offsets '{"offsets":[]}'
	is 204
	req DELETE $C
	instance "$group" c '"enable.auto.commit":false'
	subscribed $C "$topic"
	poll $C '?timeout=30000'
	says 200 'map(.offset) == [1, 2]'
	post $C/offsets '{"offsets":[{"topic":"there-is-none","partition":0,"offset":1}]}'
	is_error 404 'there-is-none-0: Unknown topic or partition'
	# A broker would end the connection, and the instance would lose its group for a while.
	post $C/offsets "{\"offsets\":[{\"topic\":\"$topic\",\"partition\":0,\"offset\":3},{\"topic\":\"$(printf %040000d 1)\",\"partition\":0,\"offset\":1}]}"
	says 404 '.error_code == 404'
	post $C/offsets "{\"offsets\":[{\"topic\":\"$topic\",\"partition\":7,\"offset\":1}]}"
	is 404
	post $C/offsets "{\"offsets\":[{\"topic\":\"$topic\",\"partition\":0,\"offset\":-1}]}"
	is_error 422 'Invalid negative offset'
	for text in '{"offsets":[{"topic":"t","partition":0}]}' '{"offsets":{}}' '{"offsets":[{"topic":"t","partition":0,"offset":"1"}]}' \
		'{"offsets":[{"topic":"t","partition":0,"offset":1,"metadata":"m"}]}'; do
		post $C/offsets "$text"
		says 400 ".message == \"$schema\""
	done
}

@test "automatic commits: with DELETE, with time, and not when they are off" {
	bridge_start
	topic=$(new_topic 1) group=$(unique g)
	three "$topic"
	instance "$group" c
	subscribed $C "$topic"
	poll $C '?timeout=30000&max_records=1'
	says 200 'map(.offset) == [0]'
	req DELETE $C
	is 204
	instance "$group" d
	subscribed $C "$topic"
	poll $C '?timeout=30000&max_records=1'
	says 200 'map(.offset) == [1]'
	# The bridge is killed when the commit has come.
	wait_for "kcheck -b $KAFKA_BROKERS -g $group | grep -F '$topic' | grep -qw 2"
	req DELETE $C
	instance "$group" e '"enable.auto.commit":false'
	subscribed $C "$topic"
	poll $C '?timeout=30000'
	says 200 'map(.offset) == [2]'
	req DELETE $C
	instance "$group" f '"enable.auto.commit":false'
	subscribed $C "$topic"
	poll $C '?timeout=30000'
	says 200 'map(.offset) == [2]'
}

@test "--compat: as the reference, where a client could notice" {
	bridge_start bridge --compat on
	topic=$(new_topic 1)
	instance g "$(unique c)"
	post $C/subscription "{\"topic_pattern\":\"(\"}"
	is 500
	req POST $C/subscription -H 'Content-Type: application/vnd.kafka.v2+json; charset=utf-8' -d '{"topics":["t"]}'
	is_error 400 'Validation error on: The format of the request body is not supported'
	post $C/assignments "{\"partitions\":[{\"topic\":\"$topic\",\"partition\":0}]}"
	post $C/positions "{\"offsets\":[{\"topic\":\"$topic\",\"partition\":0,\"offset\":-1}]}"
	is 500
	post $C/offsets "{\"offsets\":[{\"topic\":\"$topic\",\"partition\":0,\"offset\":-1}]}"
	is 500
	for accept in '*/*' 'application/vnd.kafka.json.v2+json;q=1' 'application/json' ''; do
		req GET "$C/records" -H "Accept:${accept:+ }$accept"
		is_error 406 'Consumer format does not match the embedded format requested by the Accept header.'
	done
	poll $C
	is 200 '[]'
}
