#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# examples/pipelines/gateway: its README.md is followed, two sites behind haproxy and a Kafka of three brokers, with TLS everywhere.
# Then a bridge is killed, then its broker, then the other site is cut, all under load.

# shellcheck disable=SC2030,SC2031,SC2154
# bats file_tags=once
load helpers

# page FROM TO: the commands of section 1, and of FROM to TO, of the example's page as a script; it ends where one fails, or
# prints something else than the page has.
page() {
	python3 - "$ROOT/examples/pipelines/gateway/README.md" "$@" <<-'EOP'
	import os, re, shlex, sys
	text = open(sys.argv[1]).read().replace(":8443", ":" + os.environ["LISTEN"].split(":")[1])
	print("set -euo pipefail", 'cd "$ROOT"', sep="\n")
	for number, section in re.findall(r"^## (\d+)\.(.*?)(?=^## |\Z)", text, re.M | re.S):
	    if number != "1" and not int(sys.argv[2]) <= int(number) <= int(sys.argv[3]):
	        continue
	    blocks = re.findall(r"^```sh\n(.*?)^```\n(?:```\n(.*?)^```\n)?", section, re.M | re.S)
	    assert blocks, section
	    for commands, expected in blocks:
	        print(f"echo {shlex.quote(commands)} >&2\n{{\n{commands}}} >$T/printed\n"
	              f"diff -u <(printf %s {shlex.quote(expected)}) $T/printed >&2")
	EOP
}

# follow_page FROM TO [LINE]: does what page prints, then LINE. What it has started is ended with the test.
follow_page() {
	{ page "$1" "$2"; echo "${3:-}"; } >page.sh
	spawn page bash page.sh </dev/null
	cp page.pid group.pid
	wait_exit page 600
	[ "$status" -eq 0 ]
	rm group.pid
}

setup() {
	local name
	harness_setup
	for name in centre east west; do ln -s "$name/pid" "kafka-$name.pid"; done
	LISTEN=127.0.0.1:$(free_port) EAST=127.0.0.1:$(free_port) WEST=127.0.0.1:$(free_port)
	export STATE=$T HOST=kafka.example.org LISTEN EAST WEST
	URL=https://$HOST:${LISTEN#*:} RESOLVE=$HOST:${LISTEN#*:}:127.0.0.1
}

# part NAME: starts a part of the gateway, and again when it has ended, until NAME.held is there.
part() {
	rm -f "$1.held"
	# shellcheck disable=SC2016 # the inner shell's
	spawn "$1" sh -c 'until [ -e "$2.held" ]; do "$1" "$2" || sleep 0.1; done' sh "$ROOT/examples/pipelines/gateway/run" "$1" </dev/null
}
process_of() {
	pgrep -P "$(pid_of "$1")" -x khttp
}

# ready_at SITE…: whether haproxy sends requests there, and only there.
ready_at() {
	local site want
	for site in east west; do
		[[ " $* " == *" $site "* ]] && want=2 || want=0
		[ "$(echo 'show servers state reads' | python3 -c 'import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect("haproxy.sock")
s.sendall(sys.stdin.buffer.read())
print(*(line.split()[5] for line in s.makefile() if line.split()[3:4] == [sys.argv[1]]))' $site)" = "$want" ] || return 1
	done
}

# gateway CURL-OPTION… PATH: a request as a client sends it.
gateway() {
	curl -sS --fail-with-body --cacert ca.pem --resolve "$RESOLVE" "${@:1:$#-1}" "$URL${*: -1}"
}

# post TYPE BODY PATH [CURL-OPTION…]
post() {
	gateway -X POST -H "Content-Type: application/vnd.kafka.$1" -d "$2" "${@:4}" "$3"
}

@test "gateway: its page can be followed; then failures under load" {
	local name n
	follow_page 1 7 'export -p >page.env'
	# shellcheck disable=SC1090
	source <(sed -nE 's/^declare -x ((KAFKA_BROKERS|KHTTP_OPTIONS)=)/export \1/p' page.env)
	# A site's bridge knows its own broker alone.
	EAST_BROKERS=$(grep east brokers) WEST_BROKERS=$(grep west brokers)
	export EAST_BROKERS WEST_BROKERS
	for name in east west front; do part $name; done
	wait_for 'ready_at east west'
	run ! curl -s --resolve "$RESOLVE" "$URL/topics"
	# A key goes to the bridge that knows it.
	for n in {1..8}; do
		post json.v2+json "{\"records\":[{\"value\":\"once-$n\"}]}" /topics/bridge-quickstart-topic -H "Idempotency-Key: $n" >"first.$n"
	done
	for n in {1..8}; do
		post json.v2+json "{\"records\":[{\"value\":\"once-$n\"}]}" /topics/bridge-quickstart-topic -i \
			-H "Idempotency-Key: $n" >again
		grep -qi '^Idempotency-Replayed: true' again
		tail -n 1 again | cmp - "first.$n"
	done
	fails_over
	follow_page 8 8
}

# load: four clients that repeat a request, with its key, until it is acknowledged. A line of acked is "TIME SECONDS TRIES UNSURE
# ID"; UNSURE: so many of the tries may have been written without an answer that says so.
load_client() {
	cat >load.py <<-'EOP'
	import http.client, os, socket, ssl, threading, time
	host, port = os.environ["HOST"], int(os.environ["LISTEN"].split(":")[1])
	context = ssl.create_default_context(cafile="ca.pem")
	acked = open("acked", "w", buffering=1)

	def connect():
	    c = http.client.HTTPSConnection(host, port, timeout=50, context=context)
	    c.sock = context.wrap_socket(socket.create_connection(("127.0.0.1", port), 50), server_hostname=host)
	    return c

	def client(name):
	    c, n = None, 0
	    while not os.path.exists("enough"):
	        n += 1
	        value, start, tries, unsure, status = f"{name}-{n}", time.time(), 0, 0, None
	        key = value
	        while status != 200:
	            tries += 1
	            try:
	                c = c or connect()
	                c.request("POST", "/topics/load", '{"records":[{"key":"%s","value":"%s"}]}' % (value, value),
	                          {"Content-Type": "application/vnd.kafka.json.v2+json", "Idempotency-Key": key})
	                answer = c.getresponse()
	                body, status = answer.read(), answer.status
	                assert status in (200, 500, 502, 503, 504), (status, body)
	                # At 504 the same key asks again. This is the last word: it may have been written.
	                if status == 500 or (status == 200 and b'"error_code"' in body):
	                    key, status = f"{value}.{tries}", None
	                    unsure += 1
	                # At 503 nothing is written.
	                elif status in (502, 504):
	                    unsure += 1
	            except (OSError, http.client.HTTPException):
	                c = status = None
	                unsure += 1
	            if status != 200:
	                time.sleep(0.05)
	        end = time.time()
	        acked.write(f"{end:.3f} {end - start:.3f} {tries} {unsure} {value}\n")
	        time.sleep(0.02)

	threads = [threading.Thread(target=client, args=(name,)) for name in "abcd"]
	for t in threads: t.start()
	for t in threads: t.join()
	EOP
	spawn load python3 load.py </dev/null
}

# outage WHAT COMMAND…: does it, and waits until records are acknowledged and consumed which were not sent before.
outage() {
	echo "$EPOCHREALTIME $1" >>outages
	"${@:2}"
	goes_on
}
# goes_on: until each client has had records acknowledged, and consumed, that it has sent since.
goes_on() {
	local c next
	for c in a b c d; do
		next=$c-$(($(last_of $c) + 3))
		if ! wait_for "grep -q ' $next\$' acked" || ! wait_for "grep -qx '$next' consumed"; then
			tell_state
			return 1
		fi
	done
}
last_of() {
	grep -o " $1-[0-9]*\$" acked | tail -n 1 | grep -o '[0-9]*$' || echo 0
}
tell_state() {
	local c site
	for c in a b c d; do
		echo "$c: acknowledged up to $(last_of $c), consumed: $(grep "^$c-" consumed | sort -u | sort -t - -k 2n | tail -n 1)"
	done
	tail -n 3 outages
	sort acked | tail -n 3
	for site in "$EAST" "$WEST"; do
		curl -sk -m 5 "https://$site/metrics" | grep -E '^evpipe_(http|produce|requests_handed)' | grep -vE '_(bucket|sum|count)[{]| 0$' || true
	done
}

kill_bridge() {
	: >"$1.held"
	kill -KILL "$(process_of "$1")"
	wait_exit "$1"
}
cut_site() {
	freeze "$(process_of "$1")" "$(<"$1/pid")"
	wait_for "ready_at $2"
}

fails_over() {
	post v2+json '{"topic_name":"load","partitions_count":4,"replication_factor":3}' /admin/topics
	printf '%s\n' '#!/bin/bash' 'jq -r ".[].value" >>"$STATE/consumed"' >append
	chmod +x append
	: >consumed
	spawn consume "$ROOT/examples/pipelines/gateway/consume" "$URL" readers load "$T/append" --cacert "$T/ca.pem" \
		--resolve "$RESOLVE" </dev/null
	load_client
	wait_for '[ -s acked ]'
	goes_on
	outage 'bridge killed' kill_bridge east
	outage 'its broker killed' "$ROOT/tests/kafka/stop" -9 east
	"$ROOT/tests/kafka/start" east 3>&- >/dev/null
	part east
	wait_for 'ready_at east west'
	outage 'the other site cut' cut_site west east
	kill -CONT "$(<west/pid)" "$(process_of west)"
	wait_for 'ready_at east west'
	goes_on
	: >enough
	wait_exit load
	[ "$status" -eq 0 ]
	judge
}

judge() {
	cut -d ' ' -f 5 acked | sort >keys
	wait_for '! sort -u consumed | comm -13 - keys | grep -q .'
	stop consume
	wait_exit consume
	[ "$status" -eq 0 ]
	kread -q -F kafka.conf --resolve @addresses -e load | jq -r '.payload | fromjson' | sort >kafka
	# What was acknowledged is in Kafka, and no more often than once for the acknowledgement and for each try that may have been
	# written: its bridge, or the way to it, was gone between the write and the answer.
	[ -z "$(sort -u kafka | comm -13 - keys)" ]
	python3 - >&3 <<-'EOP'
	import collections, sys
	acked = [line.split() for line in open("acked")]
	there = collections.Counter(line.strip() for line in open("kafka"))
	unsure = {a[4]: int(a[3]) for a in acked}
	many = {value: n for value, n in there.items() if value in unsure and n > 1 + unsure[value]}
	if many:
	    sys.exit(f"there too often: {many}")
	times = sorted(float(a[0]) for a in acked)
	outages = [line.rstrip("\n").split(" ", 1) for line in open("outages")]
	for i, (start, what) in enumerate(outages):
	    start = float(start)
	    end = float(outages[i + 1][0]) if i + 1 < len(outages) else times[-1]
	    inside = [t for t in times if start <= t <= end]
	    gap = max(b - a for a, b in zip([start] + inside, inside + [end]))
	    slow = max(float(a[1]) for a in acked if start <= float(a[0]) <= end)
	    print(f"# {what}: nothing acknowledged for {gap:.2f} s, the slowest request took {slow:.2f} s")
	twice = sum(there[value] > 1 for value in unsure)
	print(f"# {len(acked)} acknowledged, {sum(a[2] != '1' for a in acked)} of them repeated by their clients, 0 lost; "
	      f"{sum(n > 0 for n in unsure.values())} had a try without a certain answer, {twice} of these are there twice")
	EOP
}
