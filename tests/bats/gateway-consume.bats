#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# examples/pipelines/gateway/consume, by a bridge of this file, which answers as a bridge does where something goes wrong.

# shellcheck disable=SC2154
load helpers

setup() {
	harness_setup
	cat >bridge.py <<-'EOP'
	import http.server, sys
	script = [line.split(maxsplit=2) for line in open(sys.argv[1])]

	class Bridge(http.server.BaseHTTPRequestHandler):
	    protocol_version = "HTTP/1.1"
	    def answer(self):
	        self.rfile.read(int(self.headers.get("Content-Length", 0)))
	        what = f"{self.command} {self.path.partition('?')[0].rpartition('/')[2]}"
	        with open("asked", "a") as out:
	            print(what, file=out)
	        status, missing, body = script.pop(0)
	        body = body.strip().replace("URL", f"http://127.0.0.1:{self.server.server_port}").encode()
	        self.send_response(int(status))
	        if status != "204":
	            self.send_header("Content-Length", str(len(body) + int(missing)))
	        self.end_headers()
	        self.wfile.write(body if status != "204" else b"")
	        # Less than was said: the bridge has died.
	        self.close_connection = missing != "0"
	    do_GET = do_POST = do_DELETE = answer
	    def log_message(self, *what):
	        pass

	server = http.server.HTTPServer(("127.0.0.1", 0), Bridge)
	print(server.server_port, flush=True)
	server.serve_forever()
	EOP
	printf '#!/bin/sh\nexec jq -r ".[].value" >>%s/consumed\n' "$PWD" >append
	chmod +x append
}

# consumes: against a bridge whose answers are the lines of standard input, each STATUS MISSING BODY, of which so many bytes are
# missing. The last one ends it.
consumes() {
	cat >script
	echo '400 0 {"message":"enough"}
		204 0 -' >>script
	spawn bridge python3 bridge.py script </dev/null
	wait_lines bridge.out 1
	spawn consume "$ROOT/examples/pipelines/gateway/consume" "http://127.0.0.1:$(<bridge.out)" g t "$PWD/append" </dev/null
	wait_exit consume
	[ "$status" -eq 111 ]
	[[ $(tail -n 1 consume.err) == "consume: http://"*' answers 400: {"message":"enough"}' ]]
}

MADE='200 0 {"base_uri":"URL/consumers/g/instances/i"}'

@test "a commit that is refused while partitions move does not end a consumer" {
	consumes <<-EOF
	$MADE
	204 0 -
	200 0 [{"value":1}]
	409 0 {"message":"the instance joins anew"}
	200 0 [{"value":1},{"value":2}]
	204 0 -
	EOF
	[ "$(xargs <consumed)" = '1 1 2' ]
	[ "$(xargs <asked)" = 'POST g POST subscription GET records POST offsets GET records POST offsets GET records DELETE i' ]
}

@test "records that did not come whole are none: their bridge has died, and another instance is made" {
	consumes <<-EOF
	$MADE
	204 0 -
	200 9 [{"value":1},
	204 0 -
	$MADE
	204 0 -
	200 0 [{"value":1},{"value":2}]
	204 0 -
	EOF
	[ "$(xargs <consumed)" = '1 2' ]
	[ "$(grep -c '^POST g$' asked)" -eq 2 ]
	grep -q 'instances/i answers 000$' consume.err
}
