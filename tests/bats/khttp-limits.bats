#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# khttp: what a client is answered at each limit, that all goes on behind it, and that a client whose machine has vanished
# gives up what it held.

load helpers
load khttp

setup_file() {
	kmock_start -t t:1 -t counted:1 -t quiet:1
	khttp_start http --max-instances 3 --max-waiting 2 --max-connections 40
}

# instance NAME [TOPIC]: makes one that has the topic's partition, and sets $of, its path.
instance() {
	of=/consumers/g/instances/$1
	post v2 '{"name":"'"$1"'","format":"json","auto.offset.reset":"earliest"}' /consumers/g
	is 200 || return
	post v2 '{"partitions":[{"topic":"'"${2:-quiet}"'","partition":0}]}' "$of/assignments"
	is 204
}

# ended NAME: its instance.
ended() {
	http -X DELETE "/consumers/g/instances/$1"
	is 204
}

metric() {
	curl -s --unix-socket "$SIDE" http://localhost/metrics | sed -n "s/^evpipe_$1{[^}]*} //p"
}

# is_too_many TEXT CURL-OPTION… PATH: 503, and when to come again.
is_too_many() {
	http -D head "${@:2}"
	is_error 503 "$1" && grep -q $'^Retry-After: 1\r$' head
}

@test "--max-instances: readers count, and what has gone does not" {
	local n
	for n in a b c; do instance $n; done
	is_too_many 'there are 3 instances: no more' -X POST /consumers/g
	is_too_many 'there are 3 instances: no more' /topics/quiet/records
	# 503 would be the end for a browser.
	http -H 'Accept: text/event-stream' /topics/quiet/records
	is 200
	[ "$(<body)" = 'retry: 3000' ]
	ended a
	http /topics/quiet/records
	is 200 '. == []'
	wait_for '[ "$(metric http_instances)" = 2 ]'
	instance a
	for n in a b c; do ended $n; done
}

@test "metrics: what Kafka has taken and has not, and what clients have" {
	local n had bytes failed refused
	had=$(metric produced_records_total) failed=$(metric produce_failed_total) refused=$(metric http_unavailable_total)
	bytes=$(metric produced_bytes_total)
	post json '{"records":[{"key":"k","value":[1]},{"value":"x"},{"value":"x","partition":7}]}' /topics/counted
	is 200 '.offsets[2].error_code == 404'
	[ "$(metric produced_records_total)" -eq $((had + 2)) ]
	[ "$(metric produced_bytes_total)" -eq $((bytes + 9)) ]
	[ "$(metric produce_failed_total)" -eq $((failed + 1)) ]
	instance a counted
	wait_for 'http "$of/records?timeout=1000"; is 200 ".[-1].value == \"x\""'
	wait_for '[ "$(metric http_consumed_records_total)" = 2 ]'
	[ "$(metric http_consumed_bytes_total)" -ge 100 ]
	curl -s --unix-socket "$SIDE" http://localhost/metrics >m
	grep -qF 'evpipe_http_consumer_lag{' m
	instance b
	instance c
	is_too_many 'there are 3 instances: no more' -X POST /consumers/g
	wait_for "[ \"\$(metric http_unavailable_total)\" -eq $((refused + 1)) ]"
	for n in a b c; do ended $n; done
}

@test "--max-waiting: polls, streams and readers count; who commits or ends an instance is let through" {
	local n
	for n in a b; do
		instance $n
		spawn $n curl -s --unix-socket "$WEB" "http://localhost$of/records?timeout=100000" </dev/null
	done
	wait_for '[ "$(metric http_waiting)" = 2 ]'
	is_too_many '2 requests wait for records: no more' "$of/records?timeout=0"
	is_too_many '2 requests wait for records: no more' -H 'Accept: application/x-ndjson' "$of/records"
	is_too_many '2 requests wait for records: no more' /topics/quiet/records
	http -H 'Accept: text/event-stream' "$of/records"
	is 200
	[ "$(<body)" = 'retry: 3000' ]
	post v2 '{"offsets":[{"topic":"quiet","partition":0,"offset":0}]}' "$of/offsets"
	is 204
	ended b
	wait_exit b
	[ "$(jq .error_code b.out)" = 404 ]
	http /topics/quiet/records
	is 200 '. == []'
	ended a
	wait_exit a
}

@test "--max-connections: who comes then is not cut off, and waits until another one has gone" {
	python3 - <<-'EOP'
	import os, select, socket
	def client():
	    s = socket.socket(socket.AF_UNIX)
	    s.settimeout(100)
	    s.connect(os.environ["WEB"])
	    return s
	def ask(s): s.sendall(b"GET /healthy HTTP/1.1\r\nHost: h\r\n\r\n")
	def ok(s): return s.recv(1000).startswith(b"HTTP/1.1 200 ")
	first = [client() for n in range(40)]
	for s in first:
	    ask(s)
	    assert ok(s)
	more = [client() for n in range(20)]
	for s in more: ask(s)
	for n in range(40):
	    ask(first[0])
	    assert ok(first[0])
	assert not select.select(more, [], [], 0)[0]
	for s in first: s.close()
	assert all(ok(s) for s in more)
	EOP
}

@test "32 MiB in all of records that their clients do not read; beyond that the answers are short" {
	local n
	khttp_start many
	head -c 5000000 /dev/zero | tr '\0' x | fold -w 60000 >large
	kcat -q -b "$KAFKA_BROKERS" -P -t t -p 0 -l large
	for n in {1..9}; do
		post v2 '{"name":"c'"$n"'"}' /consumers/many
		is 200
		post v2 '{"partitions":[{"topic":"t","partition":0}]}' /consumers/many/instances/c"$n"/assignments
		post v2 '{"partitions":[]}' /consumers/many/instances/c"$n"/positions/beginning
		is 204
	done
	spawn half python3 -u -c 'import os, socket, signal
all = []
for n in range(1, 9):
    s = socket.socket(socket.AF_UNIX)
    s.connect(os.environ["WEB"])
    s.sendall(b"GET /consumers/many/instances/c%d/records?timeout=300000 HTTP/1.1\r\nHost: h\r\n\r\n" % n)
    assert s.recv(100).startswith(b"HTTP/1.1 200 ")
    all.append(s)
print("half read")
signal.pause()' </dev/null
	wait_lines half.out 1
	post_poll() { http '/consumers/many/instances/c9/records?timeout=100000' >/dev/null; }
	wait_for 'post v2 "{\"partitions\":[]}" /consumers/many/instances/c9/positions/beginning; post_poll; is 200 "length < 3"'
	for n in {1..10}; do
		post_poll
		is 200 'length > 0 and length < 3'
	done
	# An end waits for an answer that is being read.
	stop half KILL
	for n in 1 2; do
		http -X DELETE /consumers/many/instances/c$n
		is 204
	done
	wait_for 'post v2 "{\"partitions\":[]}" /consumers/many/instances/c9/positions/beginning; post_poll; is 200 "length > 2"'
}

@test "1000 reply topics at a time: who names another one is told to come again" {
	local mock
	mock=$(<"$BATS_FILE_TMPDIR/kmock.pid")
	khttp_start calls --max-connections 2000
	post json '{"records":[{"value":"1"}]}' /topics/quiet
	is 200
	freeze "$mock"
	spawn asked python3 -c 'import os, socket
all = []
for n in range(1000):
    s = socket.socket(socket.AF_UNIX)
    s.connect(os.environ["WEB"])
    s.sendall(b"POST /topics/quiet/request?reply_topic=none%d&timeout=300000 HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: 12\r\n\r\n{\"value\":\"\"}" % n)
    all.append(s)
for s in all:
    assert s.recv(100).startswith(b"HTTP/1.1 404 ")' </dev/null
	wait_for '[ "$(metric calls_in_flight)" = 1000 ]'
	is_too_many 'there are 1000 reply topics: no more' -H 'Content-Type: application/json' -d '{"value":"1"}' '/topics/quiet/request?reply_topic=other' || { kill -CONT "$mock"; false; }
	kill -CONT "$mock"
	wait_exit asked
	[ "$status" -eq 0 ]
	post json '{"value":"1"}' '/topics/quiet/request?reply_topic=other'
	is 404
}

# bats test_tags=once
@test "a client whose machine vanishes: its polls, its streams and its upload end, and their records are the next one's" {
	local n of=/consumers/g/instances
	unshare -rn true 2>/dev/null || skip "no network namespaces here"
	spawn net unshare -rn sh -c 'ip link set lo up && ip address add 10.9.9.1/32 dev lo && ip address add 10.9.9.2/32 dev lo &&
		ip link add out type veth peer name nowhere && ip link set out up && ip link set nowhere up && echo up && exec sleep 1000' </dev/null
	wait_for '[ -s net.out ] || ! alive "$(pid_of net)"'
	[ -s net.out ] || skip "no pairs of interfaces here"
	net=(nsenter -U -n --preserve-credentials -t "$(pid_of net)")
	spawn mock "${net[@]}" kmock -t busy:1 -t quiet:1 </dev/null
	wait_lines mock.out 1
	SIDE=$T/side
	spawn http "${net[@]}" khttp -b "$(<mock.out)" --listen 10.9.9.1:8080 --management "unix:$SIDE" --idle 2s </dev/null
	wait_for "curl -sf --unix-socket $SIDE http://localhost/ready"
	near() { "${net[@]}" curl -s -m 100 -H 'Content-Type: application/json' "${@:1:$#-1}" "http://10.9.9.1:8080${*: -1}"; }
	for n in busy poll lines events; do
		near -d '{"name":"'$n'","format":"json","auto.offset.reset":"earliest"}' /consumers/g
		near -f -d '{"partitions":[{"topic":"'"$([ $n = busy ] && echo busy || echo quiet)"'","partition":0}]}' $of/$n/assignments
	done
	spawn far "${net[@]}" python3 -u -c 'import signal, socket
def say(text):
    s = socket.socket()
    s.bind(("10.9.9.2", 0))
    s.connect(("10.9.9.1", 8080))
    s.sendall(text.replace("\n", "\r\n").encode())
    return s
def poll(name, accept="application/json"):
    return say(f"GET /consumers/g/instances/{name}/records?timeout=300000 HTTP/1.1\nHost: h\nAccept: {accept}\n\n")
all = [poll("busy"), poll("poll"), poll("lines", "application/x-ndjson"), poll("events", "text/event-stream"),
    say("POST /topics/busy HTTP/1.1\nHost: h\nContent-Type: application/json\nContent-Length: 1000\n\n{\"records\":[")]
for s in all[2:4]: assert s.recv(100).startswith(b"HTTP/1.1 200 ")
print("asked")
signal.pause()' </dev/null
	wait_lines far.out 1
	wait_for '[ "$(metric http_waiting)" = 4 ]'
	"${net[@]}" sh -c 'ip address del 10.9.9.2/32 dev lo && ip route add 10.9.9.2/32 dev out &&
		ip neighbour add 10.9.9.2 lladdr 02:00:00:00:00:01 dev out'
	# An answer to one of them, and to no other, is on its way.
	near -d '{"records":[{"value":"b"}]}' /topics/busy
	wait_for '[ "$(metric http_waiting)" = 0 ]'
	# 0A09090902 and 0A090901 as the kernel writes them; established.
	wait_for "! \"\${net[@]}\" grep -q '0109090A:1F90 0209090A:.... 01' /proc/self/net/tcp"
	near -d '{"records":[{"value":"q"}]}' /topics/quiet
	near $of/busy/records?timeout=60000 >busy
	[ "$(jq -c 'map(.value)' busy)" = '["b"]' ]
	for n in poll lines events; do
		near $of/$n/records?timeout=60000 >$n
		[ "$(jq -c 'map(.value)' $n)" = '["q"]' ]
	done
	stop http
	wait_exit http
	[ "$status" -eq 0 ]
}
