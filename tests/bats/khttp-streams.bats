#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# Records from khttp as streams, and without an instance.

# Each test is a process of its own, and sets what bridge.bash sets.
# shellcheck disable=SC2030,SC2031,SC2154
load helpers
load bridge

setup_file() {
	kafka_start
}

# hear NAME PATH [CURL-OPTION…]: a stream of events into NAME.out, open when this returns.
hear() {
	local name=$1 path=$2
	shift 2
	spawn "$name" curl -sN "$BRIDGE$path" -H 'Accept: text/event-stream' "$@" </dev/null
	wait_file_contains "$name.out" retry:
}

@test "events: each has its topic, its record, and all positions as its id, from which the next stream goes on" {
	bridge_start
	topic=$(new_topic 2)
	instance "$(unique g)" c
	subscribed "$C" "$topic"
	hear first "$C/records"
	printf '{"n":\n1}' | kproduce "$topic" -p 0 -D '|'
	wait_for 'grep -q "^data: 1}" first.out && tail -n 1 first.out | grep -qx ""'
	printf '"b"\n' | kproduce "$topic" -p 1
	wait_for 'grep -qF "\"b\"" first.out'
	grep -A 3 "^event: $topic" first.out | grep -qx "id: $topic/0=0"
	grep -qx "id: $topic/0=0,1=0" first.out
	grep -qx 'data: {"topic":"'"$topic"'","key":null,"value":{"n":' first.out
	stop first
	wait_exit first
	printf '3\n' | kproduce "$topic" -p 1
	# What was in the last block of the first stream may come again; the id says from where on.
	hear second "$C/records" -H "Last-Event-ID: $topic/0=0,1=0"
	wait_for 'grep -qF "\"value\":3" second.out'
	run ! grep -qF '"b"' second.out
	stop second
	wait_exit second
	hear third "$C/records" -H "Last-Event-ID: $topic/1=0"
	wait_for 'grep -qF "\"value\":3" third.out'
	stop bridge
	# A stream ends with the bridge.
	wait_exit third
	wait_exit bridge
	[ "$status" -eq 0 ]
}

@test "events of a topic: the next stream goes on where the last one has ended, also when that had no event yet" {
	local id
	bridge_start
	topic=$(new_topic 2)
	printf '"old"\n' | kproduce "$topic" -p 0
	hear first "/topics/$topic/records?offset=end"
	wait_file_contains first.out "id: $topic/0=0,1=-1"
	stop first
	wait_exit first
	for id in 0 1; do printf '"new-%s"\n' $id | kproduce "$topic" -p $id; done
	hear second "/topics/$topic/records?offset=end" -H "Last-Event-ID: $topic/0=0,1=-1"
	wait_for 'grep -qF new-0 second.out && grep -qF new-1 second.out'
	run ! grep -qF old second.out
	grep -qx "id: $topic/0=1,1=0" second.out
	stop second
	# What is no place is not looked at.
	for id in "$topic/0=" "$topic/0=9223372036854775807" "$topic/0=1x" "$topic" ','; do
		hear third "/topics/$topic/records?offset=end" -H "Last-Event-ID: $id"
		wait_file_contains third.out "id: $topic/0=1,1=0"
		stop third
		wait_exit third
	done
}

@test "lines: a stream of our records is a member of a pipeline" {
	bridge_start
	topic=$(new_topic 1) to=$(new_topic 1)
	instance "$(unique g)" c
	subscribed "$C" "$topic"
	printf '{"topic":"%s","key":"k","payload":"{\\"n\\":%s}","headers":["h","v"]}\n' "$topic" 1 "$topic" 2 | kwrite -b "$KAFKA_BROKERS"
	spawn lines curl -sN "$BRIDGE$C/records" -H 'Accept: application/x-ndjson' </dev/null
	wait_lines lines.out 2
	diff <(jq -c 'del(.ts)' lines.out) - <<-EOF
		{"topic":"$topic","partition":0,"offset":0,"tstype":"create","headers":["h","v"],"key":"k","payload":"{\"n\":1}"}
		{"topic":"$topic","partition":0,"offset":1,"tstype":"create","headers":["h","v"],"key":"k","payload":"{\"n\":2}"}
	EOF
	evsel '.payload.n == 2' <lines.out | kwrite -b "$KAFKA_BROKERS" -t "$to"
	[ "$(kconsume "$to")" = '{"n":2}' ]
}

# is_stuck: whether the bridge has given records out, and as many each of the last forty times that this was asked.
is_stuck() {
	local now
	now=$(curl -s "$BRIDGE/metrics" | sed -n 's/^evpipe_http_consumed_records_total{.*} //p')
	[ "$now" = "${before:-}" ] && [ "$now" -gt 0 ] || same=0
	before=$now
	[ $((++same)) -ge 40 ]
}

@test "what a stream's client was being given when it went comes again" {
	bridge_start
	topic=$(new_topic 1)
	python3 -c 'for n in range(40): print(f"{{\"n\":{n},\"x\":\"" + "x" * 500000 + "\"}")' | kproduce "$topic" -p 0
	instance "$(unique g)" c
	subscribed "$C" "$topic"
	cat >leaves.py <<-'EOP'
	import os, socket, struct, sys, time
	host, port = sys.argv[1][7:].split(":")
	s = socket.socket()
	s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
	s.connect((host, int(port)))
	s.sendall(f"GET {sys.argv[2]} HTTP/1.1\r\nHost: h\r\nAccept: application/x-ndjson\r\n\r\n".encode())
	assert s.recv(200).startswith(b"HTTP/1.1 200")
	while not os.path.exists("go"):
	    time.sleep(0.02)
	s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
	s.close()
	EOP
	spawn leaves python3 leaves.py "$BRIDGE" "$C/records"
	# It goes when the sockets take no more: the bridge is in the middle of a record.
	wait_for is_stuck
	: >go
	wait_exit leaves
	wait_for "curl -s $BRIDGE/metrics | grep -q '^evpipe_http_given_back_records_total.* [1-9]'"
	poll "$C" '?timeout=30000'
	first=$(jq '.[0].value.n' <<<"$body")
	# Only what the sockets took is not repeated.
	[ "$first" -lt 39 ]
	jq -c '.[].value.n' <<<"$body" >>got
	until grep -qx 39 got; do
		poll "$C" '?timeout=30000'
		is 200
		jq -c '.[].value.n' <<<"$body" >>got
	done
	diff got <(seq "$first" 39)
}

@test "reading without an instance: by partition, offset, time, and how many" {
	bridge_start
	topic=$(new_topic 2)
	seq 0 4 | sed 's/.*/{"topic":"'"$topic"'","partition":0,"key":null,"payload":"&","ts":170000000000&}/' | kwrite -b "$KAFKA_BROKERS" -p keep
	printf '7\n' | kproduce "$topic" -p 1
	read_from() { req GET "/topics/$topic/records$1"; }
	read_from ''
	says 200 'map(.value) | sort == [0, 1, 2, 3, 4, 7]'
	read_from '?partition=0'
	says 200 'map(.offset) == [0, 1, 2, 3, 4]'
	[[ $headers == *'Content-Type: application/vnd.kafka.json.v2+json'* ]]
	req GET "/topics/$topic/records?partition=0" -H 'Accept: text/html, application/json;q=0.5'
	says 200 'map(.offset) == [0, 1, 2, 3, 4]'
	[[ $headers == *'Content-Type: application/json'* ]]
	read_from '?partition=0&offset=3'
	says 200 'map(.offset) == [3, 4]'
	read_from '?partition=0&offset=1&limit=2'
	says 200 'map(.offset) == [1, 2]'
	read_from '?partition=0&offset=-2'
	says 200 'map(.offset) == [3, 4]'
	read_from '?partition=0&offset=end'
	is 200 '[]'
	read_from '?partition=0&offset=99'
	is 200 '[]'
	# It waits for no record, but for Kafka: how long that takes is not ours to say.
	wait_for "read_from '?partition=0&offset=3&timeout=0'; says 200 'map(.offset) == [3, 4]'"
	wait_for "read_from '?partition=0&offset=end&timeout=0'; is 200 '[]'"
	# The query is decoded; of two the first counts.
	read_from '?&%70artition=%30&x&offset=2023-11-14+22&offset=3'
	is 400
	read_from '?timestamp=2023-11-14T22%3a13:20.004Z&%70artition=%30&x=&partition=1&'
	says 200 'map(.offset) == [4]'
	read_from '?partition=0&timestamp=1700000000003'
	says 200 'map(.offset) == [3, 4]'
	read_from '?partition=0&timestamp=2023-11-14T22:13:20.004Z'
	says 200 'map(.offset) == [4]'
	req GET "/topics/$topic/records?partition=1" -H 'Accept: application/vnd.kafka.binary.v2+json'
	says 200 'map(.value) == ["Nw=="]'
	[ "$(curl -s "$BRIDGE/topics/$topic/records?partition=0" -H 'Accept: application/x-ndjson' | jq -r .payload | tr '\n' ' ')" = '0 1 2 3 4 ' ]
	[ "$(curl -s "$BRIDGE/topics/$topic/records?partition=0&limit=2" -H 'Accept: application/x-ndjson' | wc -l)" = 2 ]
	hear news "/topics/$topic/records?partition=1&offset=end"
	printf '8\n' | kproduce "$topic" -p 1
	wait_for 'grep -qF "\"value\":8" news.out'
	run ! grep -qF '"value":7' news.out
	stop news
	for query in partition=x partition=-1 offset=x limit=0 timestamp=soon 'offset=1&timestamp=1' timeout=x; do
		read_from "?$query"
		is 400
	done
	read_from '?partition=2'
	is_error 404 'Specified partition does not exist.'
	req GET "/topics/$(unique none)/records"
	is 404
	req GET "/topics/$topic/records" -H 'Accept: text/html'
	is 406
	# Each was gone with its request.
	wait_for "curl -s $BRIDGE/metrics | grep -q '^evpipe_http_instances.* 0$'"
}
