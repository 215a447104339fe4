#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# khttp: what a client is answered at each limit, and that all goes on behind it.

load helpers
load khttp

setup_file() {
	kmock_start -t t:1 -t quiet:1
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
