#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# GET of records from khttp: formats, limits, and that nothing is lost by an answer that did not arrive.

# Each test is a process of its own, and sets what bridge.bash sets.
# shellcheck disable=SC2030,SC2031,SC2154
load helpers
load bridge

setup_file() {
	kafka_start
}

# numbers TOPIC FIRST LAST: records of JSON, to partition 0.
numbers() {
	seq "$2" "$3" | kproduce "$1" -p 0
}

# assigned TOPIC [MEMBERS]: an instance that has partition 0 of it.
assigned() {
	instance "$(unique g)" c "${2:-}"
	post "$C/assignments" "{\"partitions\":[{\"topic\":\"$1\",\"partition\":0}]}"
	is 204
}

@test "formats: json, binary and text, keys, null, empty, headers in their order" {
	bridge_start
	topic=$(new_topic 1)
	printf '%s\n' \
		'{"topic":"'"$topic"'","key":"1","payload":"{\"a\": 1.10, \"b\":1e400}","ts":1700000000000}' \
		'{"topic":"'"$topic"'","key":null,"payload":null,"ts":1700000000001}' \
		'{"topic":"'"$topic"'","key":"[2]","payload":"12345678901234567890","headers":["h","v","h",{"b64":"/wA="},"n",null],"ts":1700000000002}' |
		kwrite -b "$KAFKA_BROKERS"
	for format in json binary text; do
		post /consumers/g "{\"format\":\"$format\",\"auto.offset.reset\":\"earliest\",\"enable.auto.commit\":false}"
		is 200
		C=/consumers/g/instances/$(jq -r .instance_id <<<"$body")
		post "$C/assignments" "{\"partitions\":[{\"topic\":\"$topic\",\"partition\":0}]}"
		: >all
		until [ "$(wc -l <all)" = 3 ]; do
			req GET "$C/records?timeout=30000" -H "Accept: application/vnd.kafka.$format.v2+json"
			is 200
			[[ $headers == *"Content-Type: application/vnd.kafka.$format.v2+json"* ]]
			sed 's/^\[//; s/\]$//; s/},{"topic"/}\n{"topic"/g' answer >>all
			echo >>all
		done
		mv all $format
	done
	head="{\"topic\":\"$topic\",\"key\":" head2=',"partition":0,"offset"'
	diff json - <<-EOF
		${head}1,"value":{"a": 1.10, "b":1e400}$head2:0,"timestamp":1700000000000}
		${head}null,"value":null$head2:1,"timestamp":1700000000001}
		${head}[2],"value":12345678901234567890$head2:2,"timestamp":1700000000002,"headers":[{"key":"h","value":"dg=="},{"key":"h","value":"/wA="},{"key":"n","value":null}]}
	EOF
	diff <(jq -c '[.key, .value]' text) - <<-'EOF'
		["1","{\"a\": 1.10, \"b\":1e400}"]
		[null,null]
		["[2]","12345678901234567890"]
	EOF
	diff <(jq -r '[.key, .value] | map(if . then @base64d else "-" end) | join("|")' binary) - <<-'EOF'
		1|{"a": 1.10, "b":1e400}
		-|-
		[2]|12345678901234567890
	EOF
}

@test "a record that is not of the format is delivered as it is, and so are its neighbours; with --compat it is 406 and stays" {
	bridge_start
	bridge_start strict --compat on
	topic=$(new_topic 1)
	for key_and_value in '"key":"1","payload":"1"' '"key":"2","payload":"not json"' '"key":"no","payload":"3"' \
		'"key":"no","payload":"not"' '"key":"","payload":""' '"key_b64":"/w==","payload":null' '"key":null,"payload_b64":"ImEi/w=="'; do
		echo "{\"topic\":\"$topic\",\"partition\":0,$key_and_value}"
	done | kwrite -b "$KAFKA_BROKERS"
	assigned "$topic"
	polled "$C" 7
	diff <(jq -c '[.key, .value, .raw_key, .raw, has("error")]' polled) - <<-'EOF'
		[1,1,null,null,false]
		[2,null,null,"bm90IGpzb24=",true]
		[null,3,"bm8=",null,true]
		[null,null,"bm8=","bm90",true]
		[null,null,"","",true]
		[null,null,"/w==",null,true]
		[null,null,null,"ImEi/w==",true]
	EOF
	# Of text only what is not UTF-8, of bytes nothing.
	for format in text binary; do
		instance "$(unique g)" c "\"format\":\"$format\""
		post "$C/assignments" "{\"partitions\":[{\"topic\":\"$topic\",\"partition\":0}]}"
		: >$format
		until [ "$(wc -l <$format)" -eq 7 ]; do
			req GET "$C/records?timeout=30000"
			is 200
			jq -c '.[]' <<<"$body" >>$format
		done
	done
	diff <(jq -c '[.key, .value, .raw_key, .raw, .error]' text | tail -n 3) - <<-'EOF'
		["","",null,null,null]
		[null,null,"/w==",null,"not UTF-8"]
		[null,null,null,"ImEi/w==","not UTF-8"]
	EOF
	diff <(jq -c '[.key, .value, .raw_key, .raw, .error]' binary | tail -n 4) - <<-'EOF'
		["bm8=","bm90",null,null,null]
		["","",null,null,null]
		["/w==",null,null,null,null]
		[null,"ImEi/w==",null,null,null]
	EOF
	BRIDGE=$(bridge_url strict)
	assigned "$topic"
	poll "$C" '?timeout=30000'
	says 200 'map(.value) == [1]'
	for _ in 1 2; do
		poll "$C" '?timeout=30000'
		says 406 ".message | startswith(\"Failed to decode: the value at $topic-0, offset 1, is not JSON\")"
	done
	post "$C/positions" "{\"offsets\":[{\"topic\":\"$topic\",\"partition\":0,\"offset\":2}]}"
	poll "$C" '?timeout=30000'
	says 406 ".message | startswith(\"Failed to decode: the key at $topic-0, offset 2, is not JSON\")"
}

@test "Accept: the format by name, with parameters, by a wildcard, or absent" {
	bridge_start
	topic=$(new_topic 1)
	assigned "$topic"
	for accept in application/vnd.kafka.json.v2+json '*/*' 'application/*;q=0.5' 'text/html, application/vnd.kafka.json.v2+json;q=0.1' ''; do
		req GET "$C/records?timeout=0" -H "Accept:${accept:+ }$accept"
		is 200 '[]'
	done
	for accept in application/json 'application/json;q=0.5, text/html'; do
		req GET "$C/records?timeout=0" -H "Accept: $accept"
		is 200 '[]'
		[[ $headers == *'Content-Type: application/json'* ]]
	done
	# Lines of a header are one list.
	req GET "$C/records?timeout=0" -H 'Accept: text/html' -H 'Accept: application/json'
	is 200 '[]'
	[[ $headers == *'Content-Type: application/json'* ]]
	req GET "/topics/$topic/records" -H 'Accept: application/json;q=0.1' -H 'Accept: application/x-ndjson'
	[[ $headers == *'Content-Type: application/x-ndjson'* ]]
	for accept in application/vnd.kafka.binary.v2+json text/html 'application/json;q=0'; do
		req GET "$C/records?timeout=0" -H "Accept: $accept"
		is_error 406 'Consumer format does not match the embedded format requested by the Accept header.'
	done
}

@test "max_bytes and max_records cut an answer; what did not fit comes next" {
	bridge_start
	topic=$(new_topic 1)
	numbers "$topic" 10 19
	assigned "$topic"
	poll "$C" '?timeout=30000&max_records=3'
	says 200 'map(.offset) == [0, 1, 2]'
	poll "$C" '?timeout=30000&max_bytes=5'
	is_error 422 'Response exceeds the maximum number of bytes the consumer can receive'
	poll "$C" '?timeout=30000&max_records=1'
	says 200 'map(.offset) == [3]'
	size=${#body}
	poll "$C" "?timeout=30000&max_bytes=$size"
	says 200 'map(.offset) == [4]'
	poll "$C" "?timeout=30000&max_bytes=$((2 * size))"
	says 200 'map(.offset) == [5, 6]'
	[ ${#body} -le $((2 * size)) ]
	poll "$C" '?timeout=-1'
	is_error 422 'Timeout must not be negative'
	for query in timeout=x max_bytes=1.5 timeout=; do
		poll "$C" "?$query"
		is 400
	done
	poll "$C" '?timeout=30000&unknown=1'
	says 200 'map(.offset) == [7, 8, 9]'
	for path in "$C/records" "/topics/$topic/records"; do
		req HEAD "$path" -I
		is 405
		[[ $headers == *'Allow: GET'* ]]
	done
}

@test "what is not asked for: bytes in base64, 500 records" {
	bridge_start
	topic=$(new_topic 1)
	post "/consumers/$(unique g)" ''
	is 200
	C=$(jq -r .base_uri <<<"$body")
	post "$C/assignments" "{\"partitions\":[{\"topic\":\"$topic\",\"partition\":0}]}"
	is 204
	req GET "$C/records"
	is 200 '[]'
	numbers "$topic" 1 1200
	all=0
	post "$C/positions/beginning" '{"partitions":[]}'
	until [ "$all" -eq 1200 ]; do
		req GET "$C/records?timeout=60000"
		says 200 "length > 0 and length <= 500 and .[0].value == (\"$((all + 1))\" | @base64)"
		[[ $headers == *'Content-Type: application/vnd.kafka.binary.v2+json'* ]]
		all=$((all + $(jq length <<<"$body")))
	done
	# They come as soon as there are some.
	wait_for 'post "$C/positions/beginning" "{\"partitions\":[]}"; req GET "$C/records?timeout=60000"; says 200 "length == 500"'
}

@test "a poll waits for its timeout, and ends with the first record" {
	bridge_start
	topic=$(new_topic 1)
	assigned "$topic"
	poll "$C" '?timeout=0'
	is 200 '[]'
	spawn waiting curl -s -m 100 "$BRIDGE$C/records?timeout=90000" </dev/null
	wait_for "curl -s $BRIDGE/metrics | grep -q '^evpipe_http_waiting.* 1$'"
	printf '1\n' | kproduce "$topic" -p 0
	wait_exit waiting
	grep -F '"value":1' waiting.out
}

@test "polls of one instance are answered one after the other, each record once" {
	bridge_start
	topic=$(new_topic 1)
	assigned "$topic"
	for n in 1 2 3 4; do
		spawn "p$n" curl -s -m 100 "$BRIDGE$C/records?timeout=90000&max_records=1" </dev/null
	done
	wait_for "curl -s $BRIDGE/metrics | grep -q '^evpipe_http_waiting.* 4$'"
	numbers "$topic" 1 4
	for n in 1 2 3 4; do wait_exit "p$n"; done
	[ "$(cat p?.out | sed 's/\]\[/,/g' | jq -c 'map(.value) | sort')" = '[1,2,3,4]' ]
}

# dropped PATH [S]: a client asks, reads a part of the answer and goes, S seconds later.
dropped() {
	python3 - "$BRIDGE" "$1" "${2:-0}" <<-'EOP'
	import socket, struct, sys, time
	host, port = sys.argv[1][7:].split(":")
	s = socket.socket()
	s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
	s.connect((host, int(port)))
	s.sendall(f"GET {sys.argv[2]} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
	assert s.recv(200).startswith(b"HTTP/1.1 200")
	time.sleep(float(sys.argv[3]))
	s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
	s.close()
	EOP
}

@test "a client that goes in the middle of its answer gives the records back" {
	bridge_start
	topic=$(new_topic 1) group=$(unique g)
	# More than the sockets between hold.
	python3 -c 'for n in range(8): print(f"{{\"n\":{n},\"x\":\"" + "x" * 900000 + "\"}")' | kproduce "$topic" -p 0
	instance "$group" c
	subscribed "$C" "$topic"
	for _ in 1 2 3; do dropped "$C/records?timeout=60000"; done
	wait_for "curl -s $BRIDGE/metrics | grep -q '^evpipe_http_given_back_records_total.* [1-9]'"
	polled "$C" 8
	diff <(jq -c '.n' <(jq -c .value polled)) <(seq 0 7)
	req DELETE "$C"
	# Nothing was committed of what had not arrived.
	instance "$group" d
	subscribed "$C" "$topic"
	dropped "$C/records?timeout=1000" || true
	poll "$C" '?timeout=0'
	is 200 '[]'
}

@test "an answer that the sockets took, but no client, comes again; what a client has read to its end does not" {
	bridge_start
	topic=$(new_topic 1) group=$(unique g)
	numbers "$topic" 1 50
	instance "$group" c
	subscribed "$C" "$topic"
	poll "$C" '?timeout=30000&max_records=10'
	says 200 'map(.value) == [range(1; 11)]'
	for _ in 1 2 3; do dropped "$C/records?timeout=60000"; done
	# While one client has not read its answer, another one waits for what becomes of it.
	python3 - "$BRIDGE" "$C/records?timeout=60000" <<-'EOP' &
	import socket, sys, time
	host, port = sys.argv[1][7:].split(":")
	s = socket.create_connection((host, int(port)))
	s.sendall(f"GET {sys.argv[2]} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
	assert s.recv(200).startswith(b"HTTP/1.1 200")
	s.close()
	open("gone", "w").close()
	EOP
	wait_for '[ -e gone ]'
	mv polled before 2>/dev/null || true
	polled "$C" 40
	[ "$(jq -c .value polled | tr '\n' ' ')" = "$(seq -s ' ' 11 50) " ]
	req DELETE "$C"
	instance "$group" d
	subscribed "$C" "$topic"
	poll "$C" '?timeout=500'
	is 200 '[]'
}

# polls_and_resets NAME VALUE: ten records, with that header.
polls_and_resets() {
	python3 - "$BRIDGE" "$C/records?timeout=60000&max_records=10" "$@" <<-'EOP'
	import http.client, socket, struct, sys
	c = http.client.HTTPConnection(sys.argv[1][7:])
	c.connect()
	c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
	c.request("GET", sys.argv[2], headers={sys.argv[3]: sys.argv[4]})
	print(c.getresponse().read().decode(), file=open("polled", "a"))
	c.close()
	EOP
}

@test "a reset that comes between our look and the library's is one all the same" {
	bridge_start
	topic=$(new_topic 1) group=$(unique g)
	numbers "$topic" 1 1
	instance "$group" c
	subscribed "$C" "$topic"
	polled "$C" 1
	numbers "$topic" 2 11
	pid=$(pid_of bridge)
	spawn late strace -qq -o late.trace -e trace=epoll_wait -e inject=epoll_wait:delay_enter=150000:when=3+3 -p "$pid"
	wait_for "! grep -qP '^TracerPid:\t0' /proc/$pid/status"
	# Of three in a turn the last one is the library's, and we look before it: a reset that comes 50 ms after the
	# answer comes in between. On a slow machine it may come elsewhere, and then this shows less.
	for _ in 1 2 3 4; do dropped "$C/records?timeout=1000" 0.05; done
	stop late
	polled "$C" 11
	[ "$(jq -c .value polled | tr '\n' ' ')" = "$(seq -s ' ' 11) " ]
	req DELETE "$C"
}

@test "a proxy that does not say what it is gets records again, but not for ever" {
	bridge_start
	topic=$(new_topic 1) group=$(unique g)
	numbers "$topic" 1 30
	instance "$group" c
	subscribed "$C" "$topic"
	for _ in 1 2 3 4 5 6 7; do polls_and_resets X-Nothing 1; done
	[ "$(jq -c '.[0].value' polled | tr '\n' ' ')" = '1 1 1 1 1 11 21 ' ]
	wait_file_contains bridge.err '5 answers in a row were reset'
	req DELETE "$C"
}

@test "a proxy that has taken an answer ends its connection by a reset: the next poll goes on behind it" {
	bridge_start
	topic=$(new_topic 1) group=$(unique g)
	numbers "$topic" 1 30
	instance "$group" c
	subscribed "$C" "$topic"
	for _ in 1 2 3; do polls_and_resets X-Forwarded-For 192.0.2.1; done
	[ "$(jq -c '.[].value' polled | tr '\n' ' ')" = "$(seq -s ' ' 30) " ]
	req DELETE "$C"
}

@test "SIGTERM: polls that wait are answered, positions are committed, nothing is lost" {
	bridge_start
	topic=$(new_topic 1) group=$(unique g)
	numbers "$topic" 1 5
	instance "$group" c
	subscribed "$C" "$topic"
	poll "$C" '?timeout=30000&max_records=2'
	is 200
	instance "$(unique g)" idle
	post "$C/assignments" "{\"partitions\":[{\"topic\":\"$(new_topic 1)\",\"partition\":0}]}"
	spawn waiting curl -s -m 100 -w ' %{http_code}' "$BRIDGE$C/records?timeout=90000" </dev/null
	wait_for "curl -s $BRIDGE/metrics | grep -q '^evpipe_http_waiting.* 1$'"
	stop bridge
	wait_exit waiting
	[ "$(<waiting.out)" = '[] 200' ]
	wait_exit bridge
	[ "$status" -eq 0 ]
	bridge_start
	instance "$group" c
	subscribed "$C" "$topic"
	poll "$C" '?timeout=30000'
	says 200 'map(.value) == [3, 4, 5]'
}

@test "an instance that nobody uses is deleted; one whose poll waits is not" {
	bridge_start bridge --consumer-timeout 2s
	topic=$(new_topic 1)
	assigned "$topic"
	polling=$C
	spawn waiting curl -s -m 100 "$BRIDGE$C/records?timeout=90000" </dev/null
	assigned "$topic"
	wait_for "curl -s $BRIDGE/metrics | grep -q '^evpipe_http_reaped_instances_total.* 1$'"
	req GET "$C/subscription"
	is 404
	numbers "$topic" 1 1
	wait_exit waiting
	grep -F '"value":1' waiting.out
	[ "$polling" != "$C" ]
}

@test "two instances of a group share the partitions; one that goes leaves them to the other, no record is lost" {
	bridge_start
	topic=$(new_topic 2) group=$(unique g)
	instance "$group" a
	A=$C
	subscribed "$A" "$topic"
	for p in 0 1; do seq "${p}1" "${p}5" | sed 's/^0//' | kproduce "$topic" -p $p; done
	polled "$A" 10
	instance "$group" b
	B=$C
	# A commit that comes before the group is joined waits for that: sent before, it would be one of no group.
	post "$B/subscription" "{\"topics\":[\"$topic\"]}"
	is 204
	post "$B/offsets" "{\"offsets\":[{\"topic\":\"$topic\",\"partition\":0,\"offset\":5},{\"topic\":\"$topic\",\"partition\":1,\"offset\":5}]}"
	is 204
	wait_for "curl -s $BRIDGE$A/subscription | jq -e '.partitions | map(to_entries[].value | length) | add == 1'"
	for p in 0 1; do seq "${p}6" "${p}9" | sed 's/^0//' | kproduce "$topic" -p $p; done
	mv polled first
	polled "$A" 4
	polled "$B" 8
	cat first >>polled
	[ "$(jq .value polled | sort -n | uniq | tr '\n' ' ')" = '1 2 3 4 5 6 7 8 9 11 12 13 14 15 16 17 18 19 ' ]
	req DELETE "$A"
	wait_for "curl -s $BRIDGE$B/subscription | jq -e '.partitions == [{\"$topic\":[0,1]}]'"
}

@test "polls that wait hold nobody up: 24 of them, and all else that the bridge does" {
	bridge_start
	topic=$(new_topic 1) other=$(new_topic 1)
	for n in {1..24}; do
		instance "$(unique g)" "c$n"
		post "$C/assignments" "{\"partitions\":[{\"topic\":\"$topic\",\"partition\":0}]}"
		spawn "p$n" curl -s -m 100 "$BRIDGE$C/records?timeout=90000" </dev/null
	done
	wait_for "curl -s $BRIDGE/metrics | grep -q '^evpipe_http_waiting.* 24$'"
	for n in {0..9}; do
		curl -s -o took.out -w '# a POST beside 24 waiting polls: %{http_code} in %{time_total} s\n' "$BRIDGE/topics/$other" \
			-H 'Content-Type: application/vnd.kafka.json.v2+json' -d '{"records":[{"value":"x"}]}' >&3
		[ "$(<took.out)" = "{\"offsets\":[{\"partition\":0,\"offset\":$n}]}" ]
	done
	instance "$(unique g)" busy
	subscribed "$C" "$other"
	polled "$C" 10
	post "$C/offsets" ''
	is 204
	post "$C/positions/beginning" '{"partitions":[]}'
	is 204
	req DELETE "$C"
	is 204
	req GET "/topics/$other/partitions/0/offsets"
	is 200 '{"beginning_offset":0,"end_offset":10}'
	# Nobody has waited for them.
	curl -s "$BRIDGE/metrics" | grep -q '^evpipe_http_waiting.* 24$'
	numbers "$topic" 1 1
	for n in {1..24}; do
		wait_exit "p$n"
		grep -qF '"value":1' "p$n.out"
	done
}
