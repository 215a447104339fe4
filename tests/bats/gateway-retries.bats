#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# examples/pipelines/gateway/haproxy.cfg: what it sends again to the other site, and what not. The sites are of this file: each
# request goes wrong where it comes first, and is answered where it comes again.

# shellcheck disable=SC2154
# bats file_tags=once
load helpers

setup() {
	harness_setup
	LISTEN=127.0.0.1:$(free_port) EAST=127.0.0.1:$(free_port) WEST=127.0.0.1:$(free_port)
	export STATE=$T HOST=kafka.example.org LISTEN EAST WEST
	"$ROOT/examples/pipelines/gateway/run" certs
	cat >sites.py <<-'EOP'
	import http.server, os, ssl, sys, threading
	lock, came = threading.Lock(), {}

	class Site(http.server.BaseHTTPRequestHandler):
	    protocol_version = "HTTP/1.1"
	    def answer(self):
	        self.rfile.read(int(self.headers.get("Content-Length", 0)))
	        with lock:
	            sites = came.setdefault(self.headers["X-Id"], [])
	            sites.append(self.server.name)
	            with open("came", "a") as out:
	                print(self.headers["X-Id"], self.server.name, file=out)
	        wrong = self.headers.get("X-Wrong", "200") if self.server.name == sites[0] else "200"
	        if wrong == "timeout":
	            while self.rfile.read(1):
	                pass
	        if wrong == "junk":
	            self.wfile.write(b"junk\r\n\r\n")
	        if not wrong.isdigit():
	            self.close_connection = True
	            return
	        self.send_response(int(wrong))
	        self.send_header("Content-Length", "0")
	        self.end_headers()
	    do_GET = do_POST = do_DELETE = answer
	    def log_message(self, *what):
	        pass

	for name in sys.argv[1:]:
	    host, port = os.environ[name.upper()].split(":")
	    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
	    context.load_cert_chain(f"{name}.example.org.pem")
	    server = http.server.ThreadingHTTPServer((host, int(port)), Site)
	    server.name, server.socket = name, context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
	    threading.Thread(target=server.serve_forever).start()
	print("listening", flush=True)
	EOP
	# Without checks a site that cannot be reached is one that is tried.
	sed 's/ check inter 500ms fall 2 rise 2//; s/ track [^ ]*//; s/timeout server .*/timeout server 2s/' "$ROOT/examples/pipelines/gateway/haproxy.cfg" >front.cfg
	: >came
}

# sites NAME…: those that there are, behind the gateway.
sites() {
	spawn sites python3 sites.py "$@" </dev/null
	wait_file_contains sites.out listening
	spawn front haproxy -db -q -f front.cfg </dev/null
	wait_for 'gets 200 1 200 GET /topics'
}

# gets ANSWER TRIES WRONG METHOD PATH [CURL-OPTION…]: a request that goes wrong so at its first site: what its client gets, and
# to how many sites it came.
gets() {
	local id=$EPOCHREALTIME answer tries data=()
	[ "$4" != POST ] || data=(-d '{"records":[{"value":1}]}')
	answer=$(curl -s -o body -w '%{http_code}' --max-time 60 --cacert ca.pem --resolve "$HOST:${LISTEN#*:}:127.0.0.1" -X "$4" \
		-H "X-Id: $id" -H "X-Wrong: $3" "${data[@]}" "${@:6}" "https://$HOST:${LISTEN#*:}$5") || true
	tries=$(grep "^$id " came | sort | uniq -c | awk '{ print $1 }' | paste -s -d ,)
	[ "$answer $tries" = "$1 ${2/2/1,1}" ] && return
	echo "${*:4} $3: answered with $answer after $tries, not $1 after $2" >&2
	return 1
}

# redispatched BACKEND: how many requests it has sent to another site than at first.
redispatched() {
	python3 - "$1" <<-'EOP'
	import csv, socket, sys
	s = socket.socket(socket.AF_UNIX)
	s.connect("haproxy.sock")
	s.sendall(b"show stat\n")
	for row in csv.DictReader(s.makefile()):
	    if (row["# pxname"], row["svname"]) == (sys.argv[1], "BACKEND"):
	        print(row["wredis"])
	EOP
}

# Both sites get some of these.
KEYS=(a b c d e f g h)

@test "gateway: a site that cannot be reached: all goes to the other one, once" {
	local key backend
	sites west
	for key in "${KEYS[@]}"; do
		gets 200 1 200 GET /topics
		gets 200 1 200 POST /topics/t
		gets 200 1 200 POST '/topics/t?errors=fail'
		gets 200 1 200 POST /topics/t -H "Idempotency-Key: $key"
		gets 200 1 200 POST "/consumers/g$key"
		gets 200 1 200 GET "/consumers/h$key/instances/i/records"
	done
	for backend in reads writes consumers; do [ "$(redispatched $backend)" -gt 0 ]; done
}

@test "gateway: 503, where nothing was taken, goes to the other site, but for errors=fail and consumers" {
	local key query
	sites east west
	gets 200 2 503 GET /topics
	gets 200 2 503 POST /topics/t
	gets 200 2 503 POST '/topics/t?async=true'
	for key in "${KEYS[@]}"; do
		gets 200 2 503 POST /topics/t -H "Idempotency-Key: $key"
	done
	for query in errors=fail %65rrors=fail 'async=false&errors=%66ail' e%72rors=f%61il 'a=%zz&%65rrors=fail' 'a=%00&%65rrors=fail' '&errors=fail'; do
		gets 503 1 503 POST "/topics/t?$query"
		gets 503 1 503 POST "/topics/t?$query" -H 'Idempotency-Key: a'
	done
	gets 503 1 503 POST /consumers/g
	gets 503 1 503 GET /consumers/g/instances/i/records
}

@test "gateway: without an answer a request that only looks goes to the other site, and none with records" {
	local wrong answer key
	sites east west
	for wrong in 'empty 502' 'junk 502' '502 502' '504 504' 'timeout 504'; do
		answer=${wrong#* } wrong=${wrong% *}
		gets 200 2 "$wrong" GET /topics
		gets "$answer" 1 "$wrong" POST /topics/t
		gets "$answer" 1 "$wrong" POST /topics/t -H 'Idempotency-Key: a'
		gets "$answer" 1 "$wrong" GET /consumers/g/instances/i/records
		gets "$answer" 1 "$wrong" DELETE /consumers/g/instances/i
	done
	gets 500 1 500 GET /topics
	gets 500 1 500 POST /topics/t
}
