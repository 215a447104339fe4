#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# Several bridges that know each other: a request that meets the wrong one is handed on.

# bridge.bash sets what the tests read.
# shellcheck disable=SC2030,SC2031,SC2154
load helpers
load bridge

setup_file() {
	kafka_start
}

# peers [NAME…]: a bridge of each name, all with the same list; $LIST.
peers() {
	local name
	LIST=
	for name in "$@"; do
		free_port >"$name.port"
		LIST+=${LIST:+,}http://127.0.0.1:$(<"$name.port")
	done
	for name in "$@"; do
		bridge_start "$name" --advertise "http://127.0.0.1:$(<"$name.port")" --peers "$LIST"
	done
	A=$(bridge_url a) B=$(bridge_url b)
}

# made URL BODY: makes an instance at that bridge; sets $name.
made() {
	req POST "$1/consumers/$group" -H "$V2" -d "$2"
	is 200
	name=$(jq -r .instance_id <<<"$body")
}

json='Accept: application/vnd.kafka.json.v2+json'

@test "an instance is used through any bridge: by the owner in its name, by asking, and not in a circle" {
	local topic group name of name_of
	peers a b c
	topic=$(new_topic 2) group=$(unique g)
	made "$A" '{"format":"json","auto.offset.reset":"earliest"}'
	name_of=$name
	made "$A" '{"name":"client chosen ü","format":"json","auto.offset.reset":"earliest"}'
	seq 1 40 | kproduce "$topic"
	for name in "$name_of" client%20chosen%20%C3%BC; do
		of=/consumers/$group/instances/$name
		req POST "$B$of/assignments" -H "$V2" -d '{"partitions":[{"topic":"'"$topic"'","partition":0},{"topic":"'"$topic"'","partition":1}]}'
		is 204
		req POST "$(bridge_url c)$of/positions/beginning" -H "$V2" -d '{"partitions":[]}'
		is 204
		: >got
		while [ "$(wc -l <got)" -lt 40 ]; do
			req GET "$B$of/records?timeout=10000&max_records=7" -H "$json"
			is 200
			jq -c '.[].value' <<<"$body" >>got
		done
		[ "$(sort -n got | tr '\n' ' ')" = "$(seq -s ' ' 1 40) " ]
		req GET "$B$of/records?timeout=0" -H 'Accept: text/html'
		is 406
		req GET "$B$of/records?timeout=x"
		is 400
		req POST "$B$of/offsets" -H "$V2" -d '{"offsets":[{"topic":"'"$topic"'","partition":0,"offset":-1}]}'
		is 422
		req POST "$B$of/offsets"
		is 204
	done
	req DELETE "$B/consumers/$group/instances/$name_of"
	is 204
	for bridge in "$A" "$B" "$(bridge_url c)"; do
		req GET "$bridge/consumers/$group/instances/$name_of/records"
		is_error 404 'The specified consumer instance was not found.'
		req GET "$bridge/consumers/$group/instances/nobody/records"
		is_error 404 'The specified consumer instance was not found.'
	done
	# A bridge that is none of the peers.
	req GET "$B/consumers/$group/instances/far.example:80-00000000-0000-4000-8000-000000000000/records"
	is 421
	curl -s "$B/metrics" | grep -q '^evpipe_requests_handed_on_total.* [1-9]'
}

# half_read URL [HEADER]: a client reads the beginning of its answer and no more; $half is its process.
half_read() {
	rm -f half
	python3 - "$@" <<-'EOP' 3>&- &
	import signal, socket, sys
	host, path = sys.argv[1][7:].split("/", 1)
	s = socket.socket()
	s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
	s.connect((host.split(":")[0], int(host.split(":")[1])))
	s.sendall("\r\n".join([f"GET /{path} HTTP/1.1", "Host: h", *sys.argv[2:], "", ""]).encode())
	assert s.recv(100).startswith(b"HTTP/1.1 200")
	open("half", "w").close()
	signal.pause()
	EOP
	half=$!
	wait_for '[ -e half ]'
}

@test "an answer has arrived when the client has it, not when the bridge between has" {
	local topic group name mine header
	peers a b c
	topic=$(new_topic) group=$(unique g)
	made "$A" '{"format":"json","auto.offset.reset":"earliest"}'
	mine=/consumers/$group/instances/$name
	req POST "$B$mine/assignments" -H "$V2" -d '{"partitions":[{"topic":"'"$topic"'","partition":0}]}'
	is 204
	python3 -c 'for n in range(20): print(f"{{\"n\":{n},\"x\":\"" + "x" * 40000 + "\"}")' | kproduce "$topic"
	# A proxy before the bridges, or none; and the bridge between is killed.
	for header in 'X-Forwarded-For: 192.0.2.1' 'Accept: */*' ''; do
		half_read "$B$mine/records?timeout=30000" ${header:+"$header"}
		# What was not read is not given to another client, nor what follows.
		req GET "$(bridge_url c)$mine/records?timeout=500" -H "$json"
		is 200 '[]'
		if [ -z "$header" ]; then
			stop b KILL
			wait_exit b
		fi
		kill -KILL "$half"
		wait "$half" 2>/dev/null || true
		req GET "$(bridge_url c)$mine/records?timeout=30000&max_records=1" -H "$json"
		says 200 'map(.value.n) == [0]'
		# What has arrived is what is committed next.
		req POST "$(bridge_url c)$mine/offsets"
		is 204
		kcheck -b "$KAFKA_BROKERS" -g "$group" --json >positions
		jq -e '.positions[0].committed == 1' positions
		req POST "$(bridge_url c)$mine/positions/beginning" -H "$V2" -d '{"partitions":[]}'
		is 204
	done
}

@test "a stream goes through another bridge, record by record, and ends with its client" {
	local topic group name
	peers a b
	topic=$(new_topic) group=$(unique g)
	made "$A" '{"format":"json","auto.offset.reset":"earliest"}'
	req POST "$B/consumers/$group/instances/$name/assignments" -H "$V2" -d '{"partitions":[{"topic":"'"$topic"'","partition":0}]}'
	is 204
	spawn stream curl -sN -H 'Accept: application/x-ndjson' "$B/consumers/$group/instances/$name/records" </dev/null
	for n in 1 2 3; do
		kproduce "$topic" <<<"$n"
		wait_for "[ \$(grep -c '\"payload\":\"$n\"' stream.out) = 1 ]"
	done
	stop stream KILL
	wait_exit stream
	# More than all the sockets and buffers between them hold.
	head -c 30000000 /dev/zero | tr '\0' x | fold -w 9999 >large
	kproduce "$topic" -l large
	spawn stream curl -sN -H 'Accept: text/event-stream' "$B/consumers/$group/instances/$name/records" </dev/null
	wait_for '[ "$(stat -c %s stream.out)" -gt 30000000 ]'
	stop b
	wait_exit b
	[ "$status" -eq 0 ]
	wait_exit stream
}

@test "a peer that is away is 502, one that does not answer 504; its client's going is told to it" {
	local topic group name mine
	peers a b
	topic=$(new_topic) group=$(unique g)
	made "$A" '{"format":"json","auto.offset.reset":"earliest"}'
	mine=$B/consumers/$group/instances/$name
	req POST "$mine/assignments" -H "$V2" -d '{"partitions":[{"topic":"'"$topic"'","partition":0}]}'
	is 204
	# The client goes while the request waits: what comes then is for the next.
	spawn waiting curl -s "$mine/records?timeout=100000" -H "$json" </dev/null
	wait_for "curl -s $A/metrics | grep -q '^evpipe_http_waiting.* 1$'"
	stop waiting KILL
	wait_exit waiting
	wait_for "curl -s $A/metrics | grep -q '^evpipe_http_waiting.* 0$'"
	kproduce "$topic" <<<1
	req GET "$mine/records?timeout=10000" -H "$json"
	says 200 'map(.value) == [1]'
	# SIGTERM of the bridge between answers what waits.
	spawn waiting curl -s -w '%{http_code}' "$mine/records?timeout=100000" -H "$json" </dev/null
	wait_for "curl -s $A/metrics | grep -q '^evpipe_http_waiting.* 1$'"
	stop b
	wait_exit waiting
	[[ $(<waiting.out) == *503 ]]
	wait_exit b
	bridge_start b --advertise "$B" --peers "$LIST" --peer-timeout 500ms
	freeze "$(pid_of a)"
	req GET "$mine/records?timeout=0"
	is 504
	[[ $body == *"${A#http://}: it does not answer"* ]]
	kill -CONT "$(pid_of a)"
	stop a KILL
	wait_exit a
	req GET "$mine/records?timeout=0"
	is 502
	[[ $body == *"${A#http://}: "*refused* ]]
	req GET "$B/consumers/$group/instances/any/records"
	is 502
	for text in gate.example ftp://h:1 http://h http://h:1/x http://:1 http://h:x; do
		run -100 khttp -b x:1 --peers "$text"
		[[ $output == *--peers* ]]
	done
}

@test "between bridges with TLS, and client certificates" {
	local topic group name
	make_certs
	topic=$(new_topic) group=$(unique g)
	for name in a b; do free_port >"$name.port"; done
	A=https://127.0.0.1:$(<a.port) B=https://127.0.0.1:$(<b.port)
	for name in a b; do
		spawn "$name" khttp -b "$KAFKA_BROKERS" --listen "127.0.0.1:$(<"$name.port")" --management "unix:$T/$name.side" \
			--advertise "https://127.0.0.1:$(<"$name.port")" --peers "$A" --peers "$B" --peer-ca "$CERTS/ca.pem" \
			--tls-cert "$CERTS/address.pem" --tls-key "$CERTS/address.key" --tls-client-ca "$CERTS/ca.pem" </dev/null
		wait_for "curl -sf --unix-socket $T/$name.side http://localhost/ready"
	done
	own=(--cacert "$CERTS/ca.pem" --cert "$CERTS/client.pem" --key "$CERTS/client.key")
	req POST "$A/consumers/$group" -H "$V2" -d '{"format":"json","auto.offset.reset":"earliest"}' "${own[@]}"
	is 200
	name=$(jq -r .instance_id <<<"$body")
	req POST "$B/consumers/$group/instances/$name/assignments" -H "$V2" "${own[@]}" \
		-d '{"partitions":[{"topic":"'"$topic"'","partition":0}]}'
	is 204
	kproduce "$topic" <<<1
	req GET "$B/consumers/$group/instances/$name/records?timeout=10000" -H "$json" "${own[@]}"
	says 200 'map(.value) == [1]'
}

@test "behind a gateway that sends each request to the next bridge: a consumer's whole life; a bridge dies, and it makes itself anew" {
	local topic group of gate n dead
	topic=$(new_topic 2) group=$(unique g)
	free_port >a.port
	free_port >b.port
	bridge_start a --peers "http://127.0.0.1:$(<b.port)" "${SHORT_SESSION[@]}"
	bridge_start b --peers "http://127.0.0.1:$(<a.port)" "${SHORT_SESSION[@]}"
	A=$(bridge_url a) B=$(bridge_url b) gate=$(free_port)
	# Only what could not be sent is sent again.
	cat >gate.cfg <<-EOG
	defaults
		mode http
		timeout connect 5s
		timeout client 2m
		timeout server 2m
		# Without that the bridges would take haproxy's resets for clients that have read nothing.
		option forwardfor
		retries 3
		option redispatch 1
		retry-on conn-failure
	frontend gate
		bind 127.0.0.1:$gate
		default_backend bridges
	backend bridges
		balance roundrobin
		server a 127.0.0.1:$(<a.port)
		server b 127.0.0.1:$(<b.port)
	EOG
	spawn gate haproxy -db -q -f gate.cfg </dev/null
	gate=http://127.0.0.1:$gate
	wait_for "curl -sf $gate/ready"
	seq 1 20 | kproduce "$topic"
	for name in '' ',"name":"own"'; do
		made "$gate" '{"format":"json","auto.offset.reset":"earliest","enable.auto.commit":false'"$name"'}'
		of=$gate/consumers/$group/instances/$name
		[ "$(jq -r .base_uri <<<"$body")" = "$of" ]
		req POST "$of/subscription" -H "$V2" -d '{"topics":["'"$topic"'"]}'
		is 204
		: >got
		while [ "$(wc -l <got)" -lt 20 ]; do
			req GET "$of/records?timeout=5000&max_records=7" -H "$json"
			is 200
			jq -c '.[].value' <<<"$body" >>got
		done
		[ "$(sort -n got | tr '\n' ' ')" = "$(seq -s ' ' 1 20) " ]
		req GET "$of/subscription"
		says 200 '.topics == ["'"$topic"'"]'
		req POST "$of/positions/beginning" -H "$V2" -d '{"partitions":[]}'
		is 204
		req GET "$of/records?timeout=5000" -H "$json"
		says 200 'any(.offset == 0)'
		req POST "$of/offsets" -H "$V2" -d '{"offsets":[{"topic":"'"$topic"'","partition":0,"offset":0},{"topic":"'"$topic"'","partition":1,"offset":0}]}'
		is 204
		req DELETE "$of"
		is 204
		for n in 1 2; do
			req GET "$of/records" -H "$json"
			is_error 404 'The specified consumer instance was not found.'
		done
	done
	printf '#!/bin/sh\njq -c ".[].value" >>%q\n' "$T/consumed" >take
	chmod +x take
	spawn consumer "$ROOT/examples/pipelines/gateway/consume" "$gate" "$group" "$topic" "$T/take" </dev/null
	wait_for '[ "$(sort -un consumed | wc -l)" -eq 20 ]'
	for n in a b; do
		! curl -s "$(bridge_url $n)/metrics" | grep -q '^evpipe_http_instances.* 1$' || dead=$n
	done
	stop "$dead" KILL
	wait_exit "$dead"
	seq 21 40 | kproduce "$topic"
	wait_for '[ "$(sort -un consumed | wc -l)" -eq 40 ]'
	grep -q ' answers 50[023]$' consumer.err
	stop consumer
	wait_exit consumer
}
