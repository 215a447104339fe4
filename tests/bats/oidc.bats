#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# Logins with tokens that librdkafka gets by itself (OIDC), from a server of its own and at a real Kafka, with a librdkafka
# that was built for it.

load helpers

setup_file() {
	[ "$(uname -m)" = x86_64 ] || skip 'a librdkafka with curl is had for amd64 alone'
	OIDC_LIB=$("$ROOT/tests/python/fetch" librdkafka) || skip 'a librdkafka with curl cannot be had'
	export OIDC_LIB
	harness_setup
	own_kafka_start sasl.enabled.mechanisms=OAUTHBEARER listener.name.sasl.sasl.enabled.mechanisms=OAUTHBEARER \
		listener.name.sasl.oauthbearer.connections.max.reauth.ms=600000 \
		'listener.name.sasl.oauthbearer.sasl.jaas.config=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="broker";'
	TOPIC=$(new_topic)
	export TOPIC
}

# issuer SECONDS: gives tokens that are good for so long to "me" with the secret "right"; prints its port.
issuer() {
	spawn issuer python3 -u - "$1" <<-'EOP'
	import base64, http.server, json, sys, time
	def part(what):
	    return base64.urlsafe_b64encode(json.dumps(what).encode()).decode().rstrip("=")
	class Issuer(http.server.BaseHTTPRequestHandler):
	    def do_POST(self):
	        self.rfile.read(int(self.headers["Content-Length"]))
	        now = int(time.time())
	        right = self.headers["Authorization"] == "Basic " + base64.b64encode(b"me:right").decode()
	        token = part({"alg": "none"}) + "." + part({"sub": "alice", "iat": now, "exp": now + int(sys.argv[1])}) + "."
	        text = json.dumps({"access_token": token} if right else {"error": "invalid_client"}).encode()
	        self.send_response(200 if right else 401)
	        self.send_header("Content-Type", "application/json")
	        self.send_header("Content-Length", str(len(text)))
	        self.end_headers()
	        self.wfile.write(text)
	server = http.server.HTTPServer(("127.0.0.1", 0), Issuer)
	print(server.server_port)
	server.serve_forever()
	EOP
	wait_lines issuer.out 1
	echo right >secret
	LOGIN=(-b "$KAFKA_SASL" -X security.protocol=SASL_PLAINTEXT -X sasl.mechanisms=OAUTHBEARER -X sasl.oauthbearer.method=oidc
		-X sasl.oauthbearer.client.id=me -X "sasl.oauthbearer.client.secret=@$T/secret"
		-X "sasl.oauthbearer.token.endpoint.url=http://127.0.0.1:$(head -n 1 issuer.out)/token")
	# Not for the whole test: what the harness runs has its own librdkafka.
	for program in kread kwrite kcheck; do
		eval "$program() { LD_LIBRARY_PATH=\$OIDC_LIB command $program \"\$@\"; }"
	done
}

# bats test_tags=once
@test "a token is got by librdkafka, with a secret from a file; a secret that is wrong is 100; kcheck says what it cannot do" {
	issuer 600
	kwrite "${LOGIN[@]}" --raw -t "$TOPIC" <<<hello
	[ "$(kread "${LOGIN[@]}" --raw -e "$TOPIC" | tail -n 1)" = hello ]
	[ "$(kread "${LOGIN[@]}" --raw -g "$(unique g)" --commit written -e "$TOPIC" | tail -n 1)" = hello ]
	run -100 --separate-stderr kcheck "${LOGIN[@]}"
	# shellcheck disable=SC2154 # set by run
	[[ $stderr == *'kcheck cannot log in by OAUTHBEARER without --oauth-token-cmd' ]]
	echo wrong >secret
	run -100 --separate-stderr kread "${LOGIN[@]}" --raw -e "$TOPIC"
	[[ $stderr == *'Failed to acquire SASL OAUTHBEARER token: '* ]]
	[[ $stderr != *wrong* ]]
}

# bats test_tags=once
@test "who gives tokens is away for a while: the last token serves, which a warning says once, and 111 when it is over" {
	# librdkafka asks again eight seconds before the end.
	issuer 40
	spawn reader env LD_LIBRARY_PATH="$OIDC_LIB" kread "${LOGIN[@]}" --raw "$TOPIC" </dev/null
	echo hello | kproduce "$TOPIC"
	wait_file_contains reader.out hello
	stop issuer KILL
	wait_file_contains reader.err 'trying again, the last token serves until it is over'
	echo more | kproduce "$TOPIC"
	wait_file_contains reader.out more
	wait_exit reader
	cat reader.err
	[ "$status" -eq 111 ]
	[ "$(grep -c 'trying again, the last token serves until it is over' reader.err)" -eq 1 ]
	grep -q '^kread: the token is over, and there is no other: ' reader.err
}
