#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# examples/pipelines/cross-cloud: both sites, a real Kafka and a real Redis behind TLS. Everything in it is killed in turn
# under load; Kafka, the signed log and a browser have the same events then.

# bats file_tags=once
load helpers

setup() {
	harness_setup
	own_kafka_start
	make_certs
	redis_up
	for topic in orders:3 payments:1 audit-heads:1; do
		"$ROOT/tests/kafka/topics" "$KAFKA_BROKERS" create "${topic%:*}" "${topic#*:}"
	done
	export REDIS_CACERT=$CERTS/ca.pem STATE=$T LISTEN=unix:$T/web
}

# redis_up: a Redis that loses nothing when it is killed, and speaks TLS alone.
redis_up() {
	redis_tls_start address --appendonly yes --appendfsync always
	export REDIS_URL=rediss://127.0.0.1:$REDIS_PORT
}

# Members live on for a while when their servers go.
teardown() {
	local dir
	for dir in /proc/[0-9]*; do
		[[ $(readlink "$dir/cwd") != "$T" ]] || ! grep -qz '^EVPIPE_RUN=' "$dir/environ" 2>/dev/null ||
			kill -KILL "${dir#/proc/}" 2>/dev/null || true
	done
	harness_teardown
}

# feed: events at either end, numbered. Those of the edge have ids of their own, so that one whose reply was lost is not
# added twice; an edge goes on until the file "enough" is there, the NAS until nas_pause, whose broker is not to die then.
feed() {
	cat >nas.py <<-'EOP'
	import os, sys, time
	n = int(open("nas.count").read())
	while not os.path.exists("nas.pause"):
	    n += 1
	    topic, k = ("orders", n % 40) if n % 5 else ("payments", n % 7)
	    sys.stdout.write('{"topic":"%s","key":"k%d","payload":"{\\"id\\":\\"nas-%d\\",\\"source\\":\\"nas-worker\\"}"}\n' % (topic, k, n))
	    sys.stdout.flush()
	    time.sleep(0.01)
	open("nas.count", "w").write(str(n))
	EOP
	cat >edge.py <<-'EOP'
	import os, socket, sys, time
	n, end = 0, False
	while not end:
	    end = os.path.exists("enough")
	    n += 1
	    payload = b'{"id":"edge-%d","tenantId":"t%d"}' % (n, n % 5)
	    key = b"up:orders" if n % 5 else b"up:payments"
	    words = [b"XADD", key, b"%d-1" % n, b"payload", payload]
	    command = b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words)
	    while True:
	        try:
	            with socket.socket(socket.AF_UNIX) as s:
	                s.connect(sys.argv[1])
	                s.sendall(command)
	                answer = s.recv(1000)
	            if answer.startswith(b"$") or b"equal or smaller" in answer:
	                break
	        except OSError:
	            pass
	        time.sleep(0.05)
	    time.sleep(0.01)
	open("edge.count", "w").write(str(n))
	EOP
	echo 0 >nas.count
	nas_go_on
	spawn edge python3 edge.py "$REDIS_SOCK" </dev/null
}
nas_go_on() {
	rm -f nas.pause
	spawn nas sh -c 'python3 nas.py | kwrite' </dev/null
}
nas_pause() {
	: >nas.pause
	wait_exit nas
	[ "$status" -eq 0 ]
}

# unit NAME: the process id of an evpipe; member UNIT NAME: of a member of it.
unit() {
	pgrep -P "$(pid_of both)" -f "^evpipe --restart -n $1 "
}
member() {
	pgrep -P "$(unit "$1")" -x "$2"
}

# seen: how many events the browser has.
seen() {
	wc -l <browser.out
}

# goes_on: until the browser has new events of both sides.
goes_on() {
	local from
	from=$(($(seen) + 1))
	wait_for "tail -n +$from browser.out | grep -q nas- && tail -n +$from browser.out | grep -q edge-"
}

# kill_now PID-COMMAND…: kills the process that the command names, once it is there.
kill_now() {
	local pid
	wait_for "pid=\$($*)"
	kill -KILL "$pid"
	wait_for "! alive $pid"
}

@test "cross-cloud: everything is killed in turn, and Kafka, the log and the browser have each event" {
	spawn both "$ROOT/examples/pipelines/cross-cloud" </dev/null
	wait_for 'curl -sf --unix-socket web http://localhost/readyz'
	spawn browser "$ROOT/tests/bats/event-source" web '/events/*' </dev/null
	wait_file_contains browser.err open
	feed
	goes_on
	# One of each part of it at a time: none waits for another one's.
	for targets in 'bridge:kread revbridge:rsub audit:kread heads:tail live:rsub' \
		'bridge:rpub revbridge:evstamp audit:evchain heads:kwrite live:evsse' revbridge:evkey revbridge:kwrite; do
		for target in $targets; do kill_now member "${target%:*}" "${target#*:}"; done
		goes_on
	done
	for name in bridge revbridge audit heads live; do kill_now unit $name; done
	goes_on
	redis_stop
	redis_up
	goes_on
	nas_pause
	"$ROOT/tests/kafka/stop" -9 "$KAFKA_DIR"
	"$ROOT/tests/kafka/start" "$KAFKA_DIR" >started 3>&-
	nas_go_on
	goes_on
	# Both at once, and an orderly stop and start of all.
	kill_now member bridge kread
	kill_now member audit evchain
	kill_now member live evsse
	goes_on
	stop both
	wait_exit both
	[ "$status" -eq 0 ]
	spawn both "$ROOT/examples/pipelines/cross-cloud" </dev/null
	goes_on
	: >enough
	nas_pause
	wait_exit edge
	judge
}

# in_kafka: all records of the topics, "TOPIC PARTITION OFFSET PAYLOAD" a line.
in_kafka() {
	kread -q -e orders payments | jq -r '"\(.topic) \(.partition) \(.offset) \(.payload)"' | sort
}

judge() {
	nas=$(<nas.count) edge=$(<edge.count)
	# Kafka has all of them, each once.
	wait_for 'in_kafka >topics; [ "$(grep -c nas- topics)" -ge "$nas" ] && [ "$(grep -c edge- topics)" -ge "$edge" ]'
	wait_for '[ "$(wc -l <audit.ndjson)" -ge "$(wc -l <topics)" ]'
	wait_for '[ "$(seen)" -ge "$(wc -l <topics)" ]'
	stop both
	wait_exit both
	[ "$status" -eq 0 ]
	in_kafka >topics
	cmp <(grep -o 'nas-[0-9][0-9]*' topics | sort) <(seq -f 'nas-%.0f' "$nas" | sort)
	cmp <(grep -o 'edge-[0-9][0-9]*' topics | sort) <(seq -f 'edge-%.0f' "$edge" | sort)
	[ "$(cut -d ' ' -f 4- topics | jq -r '"\(.id | sub("-.*"; "")) \(.source)"' | sort -u)" = 'edge cloud-run-api
nas nas-worker' ]
	# The log has each record of Kafka once, and the heads in Kafka say so.
	evchain show --records audit.ndjson | jq -r '"\(.topic) \(.partition) \(.offset) \(.payload)"' | sort | cmp - topics
	[ "$(evchain show --origin cloud-run-api audit.ndjson | wc -l)" -eq "$(grep -c edge- topics)" ]
	kread -q -e audit-heads | jq -c .payload >heads
	tail -n 1 heads | jq -j . >last.note
	evchain verify --key @audit.vkey --head last.note audit.ndjson
	[ "$(sed -n 2p last.note)" -eq "$(wc -l <topics)" ]
	sort -u heads | while read -r line; do
		jq -j . <<<"$line" >last.note
		evchain consistency --key @audit.vkey audit.ndjson last.note >proof
	done
	# The browser had each record of Kafka once, in the order of its partition, and was told of no gap.
	run -1 grep '"event": "gap"' browser.out
	python3 - <<-'EOP'
	import json, re
	kafka = {}
	for line in open("topics"):
	    topic, partition, offset, payload = line.rstrip("\n").split(" ", 3)
	    kafka.setdefault(f"down:{topic}-{partition}", {})[int(offset)] = payload
	seen = {}
	for line in open("browser.out"):
	    event = json.loads(line)
	    seen.setdefault(event["event"], []).append(event["data"])
	for stream, records in kafka.items():
	    expected = [records[offset] for offset in sorted(records)]
	    assert seen.get(stream) == expected, (stream, len(seen.get(stream, [])), len(expected))
	assert seen.keys() == kafka.keys()
	EOP
}
