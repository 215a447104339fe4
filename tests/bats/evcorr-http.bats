#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# evcorr http: each POST is answered with the reply to its own request, or with why there is none. What takes requests to
# their topic and back is here a service and a store in one pipe: the front cannot tell it from Kafka.

load helpers

setup_file() {
	redis_start
	make_certs
}

setup() {
	harness_setup
	export XDG_RUNTIME_DIR=$T
	cat >service <<-'EOT'
	#!/bin/bash
	while IFS= read -r x; do
		case $x in
		status*) echo "${x#status}" >&3 ;;
		slow*) while [ ! -e go ]; do sleep 0.02; done ;;
		esac
		echo "${x^^}"
	done
	EOT
	cat >loop <<-'EOT'
	#!/bin/bash
	tee requests.seen | evcorr serve -P 4 "$@" | evcorr store
	EOT
	chmod +x service loop
	: >requests.seen
}

# front [OPTION…]: a front in $T/http, with the service behind it; FRONT names it and its socket, CMD what it runs.
front() {
	local name=${FRONT:-http}
	# shellcheck disable=SC2086 # a command line
	spawn "$name" evcorr http --listen "unix:$T/$name.sock" --reply-to replies "$@" \
		-- ${CMD:-./loop -- ./service}
	wait_for "[ \"\$(ask_at $name /readyz)\" = ok ]"
}

# ask_at NAME PATH [CURL-OPTION…]; ask …: of the front.
ask_at() {
	curl -sS --unix-socket "$T/$1.sock" "http://front$2" "${@:3}"
}
ask() { ask_at "${FRONT:-http}" "$@"; }

# code PATH [CURL-OPTION…]: the status alone.
code() { ask "$@" -o "${BODY:-/dev/null}" -w '%{http_code}'; }

# header FILE NAME: of what curl -i has printed.
header() {
	tr -d '\r' <"$1" | sed -n "s/^$2: //Ip"
}

@test "a POST is answered with its reply: bytes, status, type" {
	front
	[ "$(ask / -d hello)" = HELLO ]
	[ "$(ask /any/path -d 'é ✓')" = 'É ✓' ]
	printf '\377\000b' | ask / --data-binary @- -o got -D head
	printf '\377B' | cmp - <(head -c 2 got) || printf '\377\000B' | cmp - got
	ask / -i -d status404 >got
	[[ $(head -n 1 got) == "HTTP/1.1 404"* ]]
	[ "$(tail -n 1 got)" = STATUS404 ]
	[[ $(header got content-type) == text/plain* ]]
	[[ $(header got correlation-id) == *-7???-* ]]
	[ "$(code / -d status503)" = 503 ]
	[ "$(code / -d status204)" = 204 ]
	[ "$(code / -d status100)" = 502 ]
	ask / -i -d '{"a" : 1.10}' >got
	[ "$(header got content-type)" = application/json ]
	[ "$(tail -n 1 got)" = '{"A" : 1.10}' ]
	[ "$(ask / -X POST)" = "" ]
	[ "$(code / -X POST)" = 200 ]
}

@test "many at a time: each has its own answer" {
	front
	mkdir out
	for ((n = 1; n <= 2000; n++)); do
		printf 'url = "http://front/"\ndata = "m-%d"\noutput = "out/%d"\nunix-socket = "%s/http.sock"\nnext\n' $n $n "$T"
	done | sed '$d' >config
	curl -sS --parallel --parallel-max 50 -K config
	(cd out && grep -H . -- *) >got
	[ "$(wc -l <got)" -eq 2000 ]
	awk -F: '$2 != "M-" $1' got >crossed
	[ ! -s crossed ]
	# Nothing stays in the cache.
	wait_for '[ -z "$(rcli keys "evcorr:*")" ]'
}

@test "a time-out is 504: the default, X-Timeout, Request-Timeout; the deadline travels" {
	front --timeout 300ms --max-timeout 1h
	[ "$(BODY=got code / -d slow)" = 504 ]
	[ "$(jq -r .error_code got)" = 504 ]
	[ "$(code / -H 'X-Timeout: 200ms' -d slow)" = 504 ]
	[ "$(code / -H 'Request-Timeout: 1' -d slow)" = 504 ]
	# Each of them holds up a worker, of which there are four.
	: >go
	ask / -H 'X-Timeout: 1000' -d far >/dev/null
	jq -r 'select(.payload == "far").headers | .[index("deadline") + 1]' requests.seen >deadline
	[ "$(<deadline)" -gt "$(date -d '+900 seconds' +%s000)" ]
	for bad in x -1 0 '1 s' 5y ''; do
		[ "$(code / -H "X-Timeout;" -H "X-Timeout: $bad" -d x)" = 400 ] || { echo "$bad"; false; }
	done
}

@test "request headers of the list go into the record, those of the reply's list into the answer" {
	front --header X-Tenant=tenant --header x-two --header :path --header X-Request-Id=correlation-id \
		--reply-header Kind=X-Kind --reply-header bad
	CMD="./loop --format record -- jq -c --unbuffered .headers+=[\"kind\",\"k1\",\"bad\",\"a\\nb\",\"content-type\",\"text/csv\"]"
	FRONT=records front --reply-header Kind=X-Kind --reply-header bad
	ask '/a%20b/c?d=1' -d x -H 'x-tenant: t 1' -H 'X-Two: a' -H 'X-Two: b' -H 'X-Three: c' >/dev/null
	jq -c '.headers' requests.seen | head -n 1 >headers
	[ "$(jq -c 'to_entries | map(select(.value | IN("tenant", "x-two", "path")).key) as $k | length' headers)" -gt 0 ]
	jq -r '. as $h | range(0; length; 2) | "\($h[.])=\($h[. + 1])"' headers | grep -v -e '^deadline=' -e '^correlation-id=' |
		sort | xargs -d '\n' >got
	[ "$(<got)" = 'path=/a%20b/c reply-to=replies tenant=t 1 x-two=a x-two=b' ]
	ask / -i -d x -H 'X-Request-Id: my own' >got
	[ "$(header got correlation-id)" = 'my own' ]
	FRONT=records ask / -i -d x >got
	[ "$(header got x-kind)" = k1 ]
	[ "$(header got content-type)" = text/csv ]
	[ -z "$(header got bad)" ]
	for wrong in reply-to deadline status; do
		run -100 timeout 60 evcorr http --header "x=$wrong" -- cat
		[[ $output == *"must not set '$wrong'"* ]]
	done
}

@test "a client may choose the id; one that is on its way already is 409" {
	front
	ask / -d slow -H 'Correlation-Id: mine' >one &
	wait_lines requests.seen 1
	[ "$(jq -r '.headers | .[index("correlation-id") + 1]' requests.seen)" = mine ]
	[ "$(code / -d x -H 'correlation-id: mine')" = 409 ]
	[ "$(code / -d x -H 'correlation-id: hex:0')" = 400 ]
	[ "$(code / -d x -H 'correlation-id: a' -H 'correlation-id: b')" = 400 ]
	: >go
	wait $!
	[ "$(<one)" = SLOW ]
	ask / -i -d x -H 'correlation-id: hex:00ff0a' >got
	[ "$(header got correlation-id)" = hex:00ff0a ]
}

@test "bad input: 400, 401, 404, 405, 413, 415, 431" {
	printf '# who may\n\n secret \nother\n' >tokens
	front --content-type application/json --content-type 'text/*' --max-body 1K --token-file tokens
	secret=(-H 'Authorization: Bearer secret')
	auth=("${secret[@]}" -H 'Content-Type: application/json')
	[ "$(code / "${auth[@]}" -d '{}')" = 200 ]
	[ "$(code / "${auth[@]}" -d '{')" = 400 ]
	[ "$(code / "${auth[@]}" -X POST)" = 400 ]
	[ "$(code / "${secret[@]}" -H 'Content-Type: TEXT/plain; charset=utf-8' -d '{')" = 200 ]
	[ "$(code / "${secret[@]}" -H 'Content-Type: image/png' -d '{}')" = 415 ]
	[ "$(code / "${secret[@]}" -H 'Content-Type:' -d '{}')" = 415 ]
	[ "$(code / "${auth[@]}" -H 'Content-Encoding: gzip' -d '{}')" = 415 ]
	[ "$(code / "${auth[@]}" -H 'Content-Encoding: identity' -d '{}')" = 200 ]
	head -c 1022 /dev/zero | tr '\0' 1 >digits
	[ "$(code / "${auth[@]}" -d @digits)" = 200 ]
	[ "$(code / "${auth[@]}" -d "[$(<digits)]")" = 200 ]
	[ "$(code / "${auth[@]}" -d "[$(<digits)1]")" = 413 ]
	[ "$(code / "${auth[@]}" -H "Transfer-Encoding: chunked" -d "[$(<digits)1]")" = 413 ]
	[ "$(code / "${auth[@]}" -H "X: $(head -c 40000 /dev/zero | tr '\0' x)" -d '{}')" = 431 ]
	[ "$(code /)" = 405 ]
	ask / -i -X PUT -d x >got
	[[ $(header got allow) == *POST* ]]
	[ "$(code /calls/x "${auth[@]}")" = 404 ]
	for who in 'Bearer wrong' 'Bearer secre' 'Bearer' 'Basic secret' 'secret' 'Bearer # who may' ''; do
		[ "$(code / -H "Authorization: $who" -d '{}')" = 401 ] || { echo "$who"; false; }
	done
	[ "$(code /calls/x)" = 401 ]
	[ "$(code / -H 'authorization: bearer other' -H 'Content-Type: text/plain' -d x)" = 200 ]
	for open in /healthz /readyz /metrics; do [ "$(code $open)" = 200 ]; done
	# The file may be replaced.
	echo third >new && mv new tokens
	[ "$(code / "${auth[@]}" -d '{}')" = 401 ]
	[ "$(code / -H 'Authorization: Bearer third' -H 'Content-Type: text/plain' -d x)" = 200 ]
	: >empty
	run -100 timeout 60 evcorr http --token-file empty -- cat
	run -100 timeout 60 evcorr http --token-file nowhere -- cat
}

@test "Prefer: respond-async is 202 with a place, where any front has the reply" {
	front
	CMD=cat FRONT=other front
	ask / -i -H 'Prefer: respond-async' -d slow >got
	[[ $(head -n 1 got) == "HTTP/1.1 202"* ]]
	place=$(header got location)
	[ "$(header got preference-applied)" = respond-async ]
	[[ $place == /calls/*"?until="* ]]
	for name in http other; do
		FRONT=$name ask "$place" -i >later
		[[ $(head -n 1 later) == "HTTP/1.1 202"* ]]
		[ "$(header later location)" = "$place" ]
		[ -n "$(header later retry-after)" ]
	done
	# One that waits for it.
	FRONT=other ask "$place" -H 'X-Timeout: 100' >waited &
	: >go
	wait $!
	[ "$(<waited)" = SLOW ]
	for name in http other; do [ "$(FRONT=$name ask "$place")" = SLOW ]; done
	rm go
	# Only if it takes longer.
	[ "$(code / -H 'Prefer: foo=1, respond-async; x=1, wait=100' -d quick)" = 200 ]
	[ "$(code / -H 'Prefer: wait=0, respond-async' -d slow)" = 202 ]
	# Blanks, quotes; the first of a name counts.
	[ "$(code / -H 'Prefer: wait = 0 , respond-async, wait=100' -d slow)" = 202 ]
	[ "$(code / -H 'Prefer: x="a, wait=100", wait="0"; y' -H 'Prefer: respond-async, wait=100' -d slow)" = 202 ]
	ask / -i -H 'Prefer: respond-async' -H 'Prefer: wait=1' -d slow >got
	[[ $(head -n 1 got) == "HTTP/1.1 202"* ]]
	: >go
	place=$(header got location)
	[ "$(ask "$place" -H 'Prefer: wait=100')" = SLOW ]
	[ "$(code '/calls/never?until=1000')" = 504 ]
	[ "$(code '/calls/never')" = 404 ]
	[ "$(code '/calls/hex:0')" = 404 ]
}

@test "a client that has gone, or a front that was killed: the reply is found by evcorr wait" {
	front --timeout 1m
	ask / -d slow -H 'Correlation-Id: gone' --max-time 1 || true
	ask / -d slow2 -H 'Correlation-Id: killed' >/dev/null 2>reset &
	wait_lines requests.seen 2
	# What runs for it goes too; the service is elsewhere in earnest.
	: >go
	[ "$(evcorr wait --timeout 1m gone | jq -r .payload)" = SLOW ]
	wait $! || true
	rm go
	CMD='./loop -- ./service' FRONT=first front --timeout 1m
	mkfifo pipe
	spawn service sh -c './loop -- ./service <pipe'
	exec 7<>pipe
	CMD='sh -c cat>pipe' FRONT=second front --timeout 1m
	FRONT=second ask / -d slow3 -H 'Correlation-Id: killed' >/dev/null 2>reset &
	wait_for 'grep -q slow3 requests.seen'
	stop second KILL
	cut=0
	wait $! || cut=$?
	[ "$cut" -ne 0 ]
	[ -s reset ]
	: >go
	[ "$(evcorr wait --timeout 1m killed | jq -r .payload)" = SLOW3 ]
}

@test "503 with Retry-After while Redis is away, while too many wait, and when the command has ended" {
	redis_start mine
	REDIS_URL=redis://127.0.0.1:$(port_of mine)
	export REDIS_URL
	front --in-flight 1
	ask / -d slow >one &
	wait_lines requests.seen 1
	ask / -i -d x >got
	[[ $(head -n 1 got) == "HTTP/1.1 503"* ]]
	[ -n "$(header got retry-after)" ]
	ask /metrics | grep -q '^evpipe_http_unavailable_total{.*} 1$'
	: >go
	wait $!
	[ "$(<one)" = SLOW ]
	redis_stop mine
	wait_for '[ "$(code / -d x)" = 503 ]'
	[ "$(code /readyz)" = 503 ]
	[ "$(code /healthz)" = 200 ]
	[[ $(ask / -d x) == *"Redis cannot be reached"* ]]
	redis_start mine
	wait_for '[ "$(code / -d x)" = 200 ]'
	[ "$(code /readyz)" = 200 ]
	stop http
	wait_exit http
	[ "$status" -eq 0 ]
	CMD='sh -c read_x;read_y;exit_3'
	cat >short <<<$'#!/bin/bash\nread -r x\nexit 3'
	chmod +x short
	CMD=./short FRONT=ends front
	[ "$(FRONT=ends code / -H 'X-Timeout: 1' -d x)" = 504 ]
	wait_exit ends
	[ "$status" -eq 111 ]
	grep -q "'./short' exited with status 3 before its input ended" ends.err
}

@test "Kafka is away: 503 and not ready" {
	kmock_start -t requests:1
	CMD='kwrite -t requests' front
	[ "$(code / -H 'Prefer: respond-async' -d x)" = 202 ]
	kmock_stop
	wait_for '[ "$(code / -d x)" = 503 ]'
	[[ $(ask /readyz) == "the server that requests go to"* ]]
}

@test "the first SIGTERM: what is on its way is answered, further requests are not taken" {
	front
	ask / -d slow >one &
	wait_lines requests.seen 1
	stop http
	wait_for '! ask /readyz'
	: >go
	wait $!
	[ "$(<one)" = SLOW ]
	wait_exit http
	[ "$status" -eq 0 ]
	[ ! -s http.err ]
	# The second one.
	rm go
	: >requests.seen
	front
	ask / -d slow >one 2>&1 &
	wait_lines requests.seen 1
	stop http
	wait_for '! ask /readyz'
	stop http
	wait_exit http
	[ "$status" -eq 111 ]
	grep -q 'ended by a second signal' http.err
	cut=0
	wait $! || cut=$?
	[ "$cut" -ne 0 ]
	# Its directory has gone.
	[ -z "$(find . -maxdepth 1 -name "evcorr-http.*")" ]
}

@test "connections are kept; TLS; addresses" {
	front
	curl -sS -v --unix-socket http.sock -d a http://front/ --next --unix-socket http.sock -d b http://front/ 2>log | xargs >got
	[ "$(<got)" = AB ]
	grep -qi 're-using existing connection' log
	stop http
	wait_exit http
	spawn tls evcorr http -v --listen 127.0.0.1:0 --tls-cert "$CERTS/address.pem" --tls-key "$CERTS/address.key" \
		--reply-to r -- ./loop -- ./service
	wait_file_contains tls.err 'listening on'
	address=$(sed -n 's/.*listening on //p' tls.err)
	wait_for '[ "$(curl -s --cacert "$CERTS/ca.pem" "https://$address/readyz")" = ok ]'
	[ "$(curl -sS --cacert "$CERTS/ca.pem" -d tls "https://$address/")" = TLS ]
	run ! curl -sS --cacert "$CERTS/other-ca.pem" -d tls "https://$address/"
	run -100 timeout 60 evcorr http --tls-cert "$CERTS/address.pem" --tls-key "$CERTS/client.key" -- cat
	[ "$output" = "evcorr: cannot read the key '$CERTS/client.key': it is not the key of the certificate" ]
	run -100 timeout 60 evcorr http --tls-cert "$CERTS/address.pem" -- cat
	run -100 timeout 60 evcorr http --listen "$address" -- cat
	[[ $output == *"$address"* ]]
	# By default on loopback alone.
	evcorr http --help | grep -q 'default 127.0.0.1:8080'
}

@test "a front that is killed leaves no directory; one that others reach, without tokens, warns" {
	mkdir run
	XDG_RUNTIME_DIR=$T/run front
	[ -n "$(ls run)" ]
	stop http KILL
	wait_for '[ -z "$(ls run)" ]'
	spawn open evcorr http --listen :0 --reply-to r -- cat
	wait_file_contains open.err "may call: give --token-file"
	echo secret >tokens
	spawn closed evcorr http -v --listen :0 --token-file tokens --reply-to r -- cat
	spawn near evcorr http -v --listen localhost:0 --reply-to r -- cat
	for name in closed near; do
		wait_file_contains $name.err 'listening on'
		stop $name
		wait_exit $name
		run ! grep -q 'may call' $name.err
	done
}

# bats test_tags=load,once
@test "ten thousand calls wait, in less than 64 MB, and each gets its own reply" {
	ulimit -n 20000
	CMD='sh -c cat>got' front --timeout 1h --max-timeout 1h
	cat >clients <<-'EOT'
	import socket, sys
	clients = []
	for n in range(10000):
	    client = socket.socket(socket.AF_UNIX)
	    client.connect("http.sock")
	    body = b"call-%015d" % n
	    client.sendall(b"POST / HTTP/1.1\r\nHost: front\r\nUser-Agent: test\r\nAccept: */*\r\nContent-Type: text/plain\r\n"
	                   b"Content-Length: 20\r\n\r\n" + body)
	    clients.append((client, body))
	for client, body in clients:
	    answer = b""
	    while b"\r\n\r\n" not in answer or not answer.endswith(body):
	        piece = client.recv(4096)
	        if not piece:
	            sys.exit(f"{body} has the answer {answer}")
	        answer += piece
	    client.close()
	EOT
	spawn clients python3 clients
	wait_lines got 10000
	[ "$(awk '/VmRSS/ {print $2}' "/proc/$(pid_of http)/status")" -lt 65536 ]
	jq -c '{headers: .headers[0:2], payload}' got | evcorr store
	wait_exit clients
	[ "$status" -eq 0 ]
	wait_for '[ -z "$(rcli keys "evcorr:*")" ]'
}

@test "metrics have the command's too" {
	kmock_start -t requests:1
	CMD='kwrite -t requests' front
	[ "$(code / -H 'Prefer: respond-async' -d x)" = 202 ]
	wait_for "ask /metrics | grep -q 'records_out_total{.*kwrite.*} 1'"
	ask /metrics >m
	valid_metrics m
	grep -q 'http_requests_total{.*} 1' m
	grep -q 'http_answers_total{.*} 1' m
}

@test "options that are wrong" {
	for args in '--timeout 0' '--max-timeout 2d' '--max-body 0' '--header =x' '--header x=' '--listen nowhere' '--in-flight 0'; do
		# shellcheck disable=SC2086
		run -100 timeout 60 evcorr http $args -- cat
		[[ $output == "evcorr: "* ]] || { echo "$args: $output"; false; }
	done
	run -100 timeout 60 evcorr http
	run -100 timeout 60 evcorr http --listen "unix:$T/x" -- ./nowhere
	[[ $output == "evcorr: cannot run './nowhere'"* ]]
}
