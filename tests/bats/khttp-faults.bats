#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# khttp: Kafka that does not answer, clients that go, trickle, send too much or all at once, signals under load.

load helpers
load khttp

setup_file() {
	kmock_start -t t:1
}

setup() {
	harness_setup
	MOCK=$(<"$BATS_FILE_TMPDIR/kmock.pid")
}

teardown() {
	kill -CONT "$MOCK" 2>/dev/null || true
	harness_teardown
}

record='{"records":[{"value":"1"}]}'

# raw PYTHON: a client by hand. s is connected; say(TEXT) sends, heard() reads to the end, until(TEXT) up to that.
raw() {
	timeout 120 python3 -c 'import os, socket, time
s = socket.socket(socket.AF_UNIX)
s.settimeout(100)
s.connect(os.environ["WEB"])
got = b""
def say(text): s.sendall(text if isinstance(text, bytes) else text.encode())
def heard():
    global got
    try:
        while True:
            piece = s.recv(65536)
            if not piece: break
            got += piece
    except ConnectionResetError: pass
    return got
def until(text):
    global got
    while text.encode() not in got:
        piece = s.recv(65536)
        assert piece, got
        got += piece
    return got
body = b"{\"records\":[{\"value\":\"1\"}]}"
def post(extra="", length=None):
    return "POST /topics/t HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n%sContent-Length: %d\r\n\r\n" % (extra, len(body) if length is None else length)
'"$1"
}

# records: how many are in the topic.
records() {
	kcat -q -b "$KAFKA_BROKERS" -C -e -t t -o beginning | wc -l
}

@test "Kafka does not answer: 503 at once, and /ready says so; it comes back" {
	khttp_start
	freeze "$MOCK"
	wait_for 'http /ready; is 503'
	is 503 '.error_code == 503 and (.message | startswith("Kafka does not answer: "))'
	# 503 would be the end for a browser.
	http -H 'Accept: text/event-stream' /topics/t/records
	is 200
	[ "$(<body)" = 'retry: 3000' ]
	is_type text/event-stream
	http -H 'Accept: application/x-ndjson' /topics/t/records
	is 503
	post json "$record" /topics/t
	is_error 503 'Kafka does not answer'
	curl -s -i --unix-socket "$WEB" http://localhost/topics | grep -qi '^Retry-After: 1'
	for path in /topics /topics/t /topics/t/partitions/0/offsets; do
		http "$path"
		is 503
	done
	post json '{"topic_name":"x"}' /admin/topics
	is 503
	http /healthy
	is 200
	http /
	is 200
	kill -CONT "$MOCK"
	wait_for 'http /ready; is 200'
	post json "$record" /topics/t
	is 200
}

@test "/ready names the broker that cannot be reached, and why" {
	local port
	port=$(free_port)
	SIDE=$T/away.side
	spawn away khttp -b "127.0.0.1:$port" --listen "unix:$T/away.web" --management "unix:$SIDE" </dev/null
	WEB=$SIDE wait_for "WEB=$SIDE http /ready; is 503 '.message == \"Kafka does not answer: cannot reach broker 127.0.0.1:$port: Connect to ipv4#127.0.0.1:$port failed: Connection refused\"'"
}

@test "Kafka does not answer in time: a record that may have been written is 504" {
	khttp_start http -X message.timeout.ms=1500 -X socket.timeout.ms=1000
	post json "$record" /topics/t
	is 200
	freeze "$MOCK"
	post json "$record" /topics/t
	is 504 '.error_code == 504 and (.offsets | length) == 1' || is 503
}

@test "a client that goes: in mid-body nothing is written, before its answer all is" {
	local before
	khttp_start
	before=$(records)
	raw 'say(post()); say(body[:10]); s.close()'
	raw 'say("POST /topics/t HTTP/1.1\r\nHo"); s.close()'
	post json "$record" /topics/t
	is 200
	[ "$(records)" -eq $((before + 1)) ]
	freeze "$MOCK"
	spawn client curl -s --unix-socket "$WEB" -H 'Content-Type: application/json' -d "$record" http://localhost/topics/t </dev/null
	wait_for "WEB=$SIDE http /metrics; grep -q '^evpipe_produce_in_flight.* 1$' body"
	stop client KILL
	wait_exit client
	kill -CONT "$MOCK"
	wait_for "[ \"\$(records)\" -eq $((before + 2)) ]"
	http /ready
}

@test "requests in one piece are answered in order; chunks; Expect: 100-continue" {
	khttp_start
	raw 'say(post() + body.decode() + "GET / HTTP/1.1\r\nHost: h\r\n\r\n" + post("Connection: close\r\n") + body.decode())
parts = heard().split(b"HTTP/1.1 200")
assert len(parts) == 4, got
assert b"offsets" in parts[1] and b"bridge_version" in parts[2] and b"offsets" in parts[3], got'
	raw 'say(post("Expect: 100-continue\r\nConnection: close\r\n"))
until("HTTP/1.1 100")
say(body)
assert b"HTTP/1.1 200" in heard(), got'
	raw 'say("POST /topics/t HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
for i in range(len(body)): say(b"1\r\n" + body[i:i+1] + b"\r\n")
say("0\r\n\r\n")
assert b"HTTP/1.1 200" in heard(), got'
	# Blanks behind a value are none of it.
	raw 'say("POST /consumers/g HTTP/1.1\r\nHost: h \t\r\nContent-Type: application/json \r\nContent-Length: 2\r\nConnection: close \r\n\r\n{}")
assert b"\"base_uri\":\"http://h:80/" in heard(), got'
	# As a proxy gets it.
	for url in http://h/topics?x=1 http://h http://h?x=/nothing; do
		raw 'say("GET '"$url"' HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
assert b"HTTP/1.1 200" in heard(), got'
	done
	raw 'say("POST http://other:9/consumers/g HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
assert b"\"base_uri\":\"http://other:9/" in heard(), got'
	# Nobody here would see its end.
	raw 'say("POST /topics/t HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nTransfer-Encoding: gzip, chunked\r\n\r\n")
assert b"HTTP/1.1 501" in heard(), got'
	# Here the library reads no length, as it stands there with its blank: it is refused, and the connection ends.
	for head in 'Content-Length: 30 ' 'Content-Length: 30\t' 'Transfer-Encoding: chunked ' 'Transfer-Encoding: chunked\t'; do
		raw 'say("POST /topics/t HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n'"$head"'\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n")
assert heard()[:13] in (b"HTTP/1.1 400 ", b"HTTP/1.1 501 ") and b"bridge_version" not in got and b"offsets" not in got, got'
	done
	# A proxy may have taken the other length, and what is left for a stranger's request.
	for twice in 'Content-Length: 0\r\nContent-Length: 30' 'Content-Length: 30\r\nContent-Length: 30' \
		'Content-Length: 30\r\nTransfer-Encoding: chunked'; do
		raw 'say("POST /topics/t HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n'"$twice"'\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n")
assert heard().count(b"HTTP/1.1") == 1 and b"HTTP/1.1 400" in got, got'
	done
	# Nor does a head that does not say for whom it is, or that others read differently.
	for head in '' 'Host: h\r\nHost: h\r\n' 'Host: a b\r\n' 'Host: h/x\r\n' 'Host: h\r\nContent-Length : 30\r\n' \
		'Host: h\r\nTransfer-Encoding\t: chunked\r\n' ' X: y\r\nHost: h\r\n' 'Host: h\r\nContent-Length:\r\n 30\r\n' \
		'Host: h\r\nTransfer-Encoding:\r\n\tchunked\r\n'; do
		raw 'say("POST /topics/t HTTP/1.1\r\n'"$head"'Content-Type: application/json\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n")
assert heard().count(b"HTTP/1.1") == 1 and b"HTTP/1.1 400" in got and b"{\"error_code\":400," in got, got'
	done
	raw 'say("DELETE /consumers/g/instances/i HTTP/1.1\r\nHost: h\r\nX-A: a\r\n b\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n")
assert heard().count(b"HTTP/1.1") == 1 and b"HTTP/1.1 400" in got, got'
	raw 'say("POST /topics/t HTTP/1.0\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
assert b"HTTP/1.1 400" in heard(), got'
	raw 'say("GET / HTTP/1.0\r\n\r\n")
assert b"HTTP/1.1 200" in heard(), got'
}

@test "bodies and headers that are too long" {
	khttp_start http --max-body 100000 --max-headers 4K
	head -c 200000 /dev/zero >long
	post json @long /topics/t
	is 413 '.error_code == 413'
	post json @long /topics/t -H 'Transfer-Encoding: chunked'
	is 413
	# A hundred megabytes are not read.
	raw 'say(post("", 100 << 20))
assert b"HTTP/1.1 413" in heard(), got'
	http -H "X: $(head -c 10000 long | tr '\0' x)" /
	is 431
	http "/$(head -c 10000 long | tr '\0' x)"
	is 414 || is 431
	# So many bytes are taken, and one more is not; each length has an answer, also where that has little room.
	raw 'def ask(head, filler, wanted=b"HTTP/1.1 431 "):
    global s
    s.close()
    s = socket.socket(socket.AF_UNIX)
    s.connect(os.environ["WEB"])
    got = b""
    say("%s HTTP/1.1\r\nHost: h\r\nConnection: close\r\nX: %s\r\n\r\n" % (head, "x" * filler))
    while piece := s.recv(65536): got += piece
    assert got.startswith(wanted), (head, filler, got)
room = 4096 - len("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nX: \r\n\r\n")
for n in range(room - 30, room + 1): ask("GET /", n, b"HTTP/1.1 200 ")
for n in range(room + 1, room + 1200, 7): ask("GET /", n)
for n in range(30, 120): ask("GET / HTTP/1.1\r\n" + "A: b\r\n" * n + "B: ", 0, b"HTTP/1.1 ")'
	post json "$record" /topics/t
	is 200
}

@test "garbage" {
	# What is not yet a request when its sender has said all waits for that time.
	khttp_start http --idle 2s
	for text in '\x16\x03\x01\x00' 'GET' '\r\n\r\n' 'GET / HTTP/9.9\r\n\r\n' 'POST /topics/t HTTP/1.1\r\nHost: h\r\nContent-Length: x\r\n\r\n' \
		'GET /topics/%ff%00%zz HTTP/1.1\r\nHost: \xff\r\nConnection: close\r\n\r\n' \
		'GET /topics/\xff HTTP/1.1\r\nHost: h\r\nX-Forwarded-Path: \xff\r\nConnection: close\r\n\r\n' \
		'GET /openapi HTTP/1.1\r\nHost: h\r\nX-Forwarded-Path: \xff\r\nConnection: close\r\n\r\n'; do
		printf '%b' "$text" >piece
		raw 'say(open("piece", "rb").read()); s.shutdown(socket.SHUT_WR); heard()'
	done
	# A NUL ends no text: what is behind it counts. A CR by itself ends no line, and a blank no URL.
	for text in 'GET /topics?a=\x00b HTTP/1.1\r\nHost: h' 'GET /topics\x00 HTTP/1.1\r\nHost: h' 'GET\x00 /topics HTTP/1.1\r\nHost: h' \
		'GET /topics HTTP/1.1\r\nHost: h\x00i' 'GET /topics HTTP/1.1\r\nHost: h\x00' \
		'GET /topics HTTP/1.1\r\nHost: h\r\nX: a\x00b\r\nY: c' 'GET /topics HTTP/1.1\r\nX: \x00\r\nHost: h' \
		'GET /topics HTTP/1.1\r\nHost: h\r\nX: a\rContent-Length: 0' 'GET /topics?a=\rb HTTP/1.1\r\nHost: h' \
		'GET /topics?a HTTP/1.1 HTTP/1.1\r\nHost: h' 'GET /topics?a=\tb HTTP/1.1\r\nHost: h'; do
		printf '%b\r\n\r\n' "$text" >piece
		raw 'say(open("piece", "rb").read()); assert heard().startswith(b"HTTP/1.1 400 "), got'
	done
	post json "$record" '/topics/%ff'
	# Kafka would end the connection at a name that is no text.
	is_error 404 'Not Found'
	post json "$record" /topics/t
	is 200
}

@test "clients that trickle, and silent ones, are cut off" {
	khttp_start http --idle 1s
	raw 'import select
say("GET /topics")
while not select.select([s], [], [], 0.2)[0]:
    try: s.send(b"x")
    except OSError: break
heard()'
	raw 'import select
say(post())
while not select.select([s], [], [], 0.5)[0]:
    try: s.send(b" ")
    except OSError: break
heard()'
	raw 'heard()'
	post json "$record" /topics/t
	is 200
}

@test "SIGTERM: what was taken is answered, and no more is taken; then 0" {
	khttp_start
	post json "$record" /topics/t
	freeze "$MOCK"
	spawn client curl -s -w '%{http_code}' --unix-socket "$WEB" -H 'Content-Type: application/json' -d "$record" \
		http://localhost/topics/t </dev/null
	wait_for "WEB=$SIDE http /metrics; grep -q '^evpipe_produce_in_flight.* 1$' body"
	stop http
	wait_for "! curl -s --unix-socket $WEB http://localhost/healthy"
	kill -CONT "$MOCK"
	wait_exit client
	[[ $(cat client.out) == '{"offsets":[{"partition":0,"offset":'*'}]}200' ]]
	wait_exit http
	[ "$status" -eq 0 ]
	[ ! -s http.err ] || cat http.err
}

@test "SIGTERM under load: what is in the topic was answered, and what was answered is in the topic" {
	khttp_start http --max-connections 100
	cat >load.py <<-'EOP'
	import http.client, os, socket, threading
	acked, strange, ready = [], [], threading.Barrier(9)
	class Connection(http.client.HTTPConnection):
	    def connect(self):
	        self.sock = socket.socket(socket.AF_UNIX)
	        self.sock.settimeout(100)
	        self.sock.connect(os.environ["WEB"])
	def client(name):
	    c, n = Connection("h"), 0
	    while True:
	        value = f"load-{name}-{n}"
	        try:
	            c.request("POST", "/topics/t", '{"records":[{"value":"%s"},{"value":"%s."}]}' % (value, value),
	                      {"Content-Type": "application/vnd.kafka.text.v2+json"})
	            answer = c.getresponse()
	        except (ConnectionError, FileNotFoundError, http.client.BadStatusLine):
	            return  # nobody has taken it
	        body = answer.read()
	        if answer.status == 200 and body.count(b'"offset":') == 2:
	            acked.extend((value, value + "."))
	        else:
	            strange.append((answer.status, body))
	        n += 1
	        if n == 20:
	            ready.wait()
	threads = [threading.Thread(target=client, args=(name,)) for name in range(8)]
	for t in threads: t.start()
	ready.wait()
	open("loaded", "w").close()
	for t in threads: t.join()
	assert not strange, strange
	print(*acked, sep="\n")
	EOP
	spawn load python3 load.py </dev/null
	wait_for '[ -e loaded ]'
	stop http
	wait_exit http
	[ "$status" -eq 0 ]
	wait_exit load
	[ "$status" -eq 0 ] || cat load.err
	diff <(sort load.out) <(kcat -q -b "$KAFKA_BROKERS" -C -e -t t -o beginning | grep '^load-' | sort)
}

# bats test_tags=once
@test "without --listen and --management: at 127.0.0.1 alone" {
	unshare -rn true 2>/dev/null || skip "no network namespaces here"
	cat >alone <<-'EOS'
	ip link set lo up
	khttp -b 127.0.0.1:1 2>/dev/null </dev/null &
	until curl -sf http://127.0.0.1:8080/healthy && curl -sf http://127.0.0.1:8081/healthy; do sleep 0.05; done
	awk '$4 == "0A" { print $2 }' /proc/net/tcp /proc/net/tcp6 | sort
	kill -KILL $!
	EOS
	timeout 120 unshare -rn sh ./alone >out
	[ "$(<out)" = '0100007F:1F90
0100007F:1F91' ]
}

@test "a second SIGTERM ends it at once" {
	khttp_start
	post json "$record" /topics/t
	freeze "$MOCK"
	spawn client curl -s --unix-socket "$WEB" -H 'Content-Type: application/json' -d "$record" http://localhost/topics/t </dev/null
	wait_for "WEB=$SIDE http /metrics; grep -q '^evpipe_produce_in_flight.* 1$' body"
	stop http
	wait_for "! curl -s --unix-socket $WEB http://localhost/healthy"
	stop http
	wait_exit http
	[ "$status" -eq 111 ]
	grep -q 'unanswered' http.err
}

# bats test_tags=once
@test "many idle connections" {
	khttp_start
	raw 'import resource
n = min(2000, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 50)
all = []
for i in range(n):
    c = socket.socket(socket.AF_UNIX)
    c.connect(os.environ["WEB"])
    all.append(c)
for c in all: c.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
for c in all: assert b"200 OK" in c.recv(1000)
say(post("Connection: close\r\n")); say(body)
assert b"HTTP/1.1 200" in heard(), got'
}

@test "TLS: with our certificate, and not without" {
	local port
	make_certs
	port=$(free_port)
	khttp_start plain
	WEB=$T/none spawn tls khttp -b "$KAFKA_BROKERS" --listen "127.0.0.1:$port" --management none \
		--tls-cert "$CERTS/address.pem" --tls-key "$CERTS/address.key" </dev/null
	wait_for "curl -sf --cacert $CERTS/ca.pem https://127.0.0.1:$port/ready"
	curl -sf --cacert "$CERTS/ca.pem" -H 'Content-Type: application/json' -d "$record" \
		"https://127.0.0.1:$port/topics/t" >answer
	jq -e '.offsets[0].offset >= 0' answer
	run ! curl -sf "http://127.0.0.1:$port/ready"
	run ! curl -sf --cacert "$CERTS/other-ca.pem" "https://127.0.0.1:$port/ready"
	stop tls
	wait_exit tls
	[ "$status" -eq 0 ]
}

@test "TLS: only clients with a certificate of the CA" {
	local port
	make_certs
	port=$(free_port)
	spawn tls khttp -b "$KAFKA_BROKERS" --listen "127.0.0.1:$port" --management "unix:$T/side" --tls-cert "$CERTS/address.pem" \
		--tls-key "$CERTS/address.key" --tls-client-ca "$CERTS/ca.pem" </dev/null
	wait_for "curl -sf --unix-socket $T/side http://localhost/ready"
	client() {
		curl -s --cacert "$CERTS/ca.pem" -w '%{http_code}' -o answer "$@" -H 'Content-Type: application/json' -d "$record" \
			"https://127.0.0.1:$port/topics/t"
	}
	[ "$(client --cert "$CERTS/client.pem" --key "$CERTS/client.key")" = 200 ]
	[ "$(client)" = 403 ]
	jq -e '.error_code == 403 and (.message | test("client certificate"))' answer
	for name in stray expired; do
		[ "$(client --cert "$CERTS/$name.pem" --key "$CERTS/$name.key" || true)" != 200 ]
	done
	[ "$(client --cert "$CERTS/client.pem" --key "$CERTS/client.key")" = 200 ]
	stop tls
	wait_exit tls
	[ "$status" -eq 0 ]
}

@test "wrong usage: 100, with one sentence" {
	local options
	khttp_start
	while read -r options; do
		# shellcheck disable=SC2086 # words
		run khttp $options --listen unix:x --management none
		[ "$status" -eq 100 ]
		[[ $output == 'khttp: '* ]]
		[ "$(wc -l <<<"$output")" -eq 1 ]
	done <<-'EOF'
	-X no.such=1 -b x:1
	-b x:1 --compat maybe
	-b x:1 --idle 0
	-b x:1 --max-body 0
	-b x:1 --max-headers 10
	-b x:1 --tls-cert nothing
	-b x:1 --token-file nothing
	-b x:1 --user-file nothing
	-b x:1 --tls-cert nothing --tls-key nothing
	-b x:1 --tls-client-ca nothing
	-b x:1 --consumer-timeout x
	-b x:1 --nothing
	-b x:1 operand
	EOF
	env -u KAFKA_BROKERS khttp --listen unix:x 2>err && false
	[ $? -eq 100 ]
	run khttp -b x:1 --listen "unix:$WEB" --management none
	[ "$status" -eq 100 ]
	[[ $output == *'in use'* ]]
	run khttp -b x:1 --listen unix:x --management "unix:$SIDE"
	[ "$status" -eq 100 ]
	khttp --help | grep -q -- --max-in-flight
	khttp --version | grep -q 'libmicrohttpd'
}

# peer NAME [CERTIFICATE [OPTION…]]: a bridge on the port of NAME.port, with that certificate.
peer() {
	spawn "$1" khttp -b "$KAFKA_BROKERS" --listen "127.0.0.1:$(<"$1.port")" --management "unix:$T/$1.side" \
		${2:+--tls-cert "$CERTS/$2.pem" --tls-key "$CERTS/$2.key"} "${@:3}" </dev/null
	wait_for "curl -sf --unix-socket $T/$1.side http://localhost/ready"
}

@test "a peer whose certificate or scheme is wrong: the answer and the log name it, the cause and what helps" {
	local scheme name why at of
	make_certs
	cat >rows <<-EOR
	https expired its certificate has expired: that bridge needs a new one
	https stray its certificate is from no CA that is trusted here: name the CA's file with --peer-ca
	https name its certificate is not for address '127.0.0.1': --peers must name it as its certificate does
	https picky it wants a client certificate of a CA that it knows: --tls-cert is what it is shown
	https plain it does not speak TLS at this port: --peers must name it with http://
	http address it has closed the connection: if it speaks TLS, --peers must name it with https://
	EOR
	while read -r scheme name _; do
		free_port >"$name.port"
		at+=,$scheme://127.0.0.1:$(<"$name.port")
	done <rows
	for name in expired stray name address; do peer "$name" "$name"; done
	peer picky address --tls-client-ca "$CERTS/ca.pem"
	peer plain
	khttp_start http --peers "${at#,}" --peer-ca "$CERTS/ca.pem"
	while read -r scheme name why; do
		at=127.0.0.1:$(<"$name.port")
		of=/consumers/g/instances/$at-00000000-0000-4000-8000-000000000000
		for _ in 1 2; do
			http "$of/subscription"
			is_error 502 "The consumer instance is in another bridge: $at: $why"
		done
		# That would be the end for a browser.
		http -H 'Accept: text/event-stream' "$of/records"
		is 200
		[ "$(<body)" = 'retry: 3000' ]
		[ "$(grep -cF "peer $scheme://$at: $why" http.err)" -eq 1 ]
	done <rows
	at=127.0.0.1:$(<plain.port)
	stop plain
	wait_exit plain
	peer plain address
	http "/consumers/g/instances/$at-00000000-0000-4000-8000-000000000000/subscription"
	# It does not say that it is there: no --advertise.
	is 421
	grep -qF "peer https://$at answers again" http.err
}
