#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# kcheck: each mistake with addresses, TLS and logins is named, on a real broker that has a listener for each.

load helpers
load listeners

setup_file() {
	listeners_start 'NOWHERE PLAINTEXT nobody.invalid:@NOWHERE@' 'CLOSED PLAINTEXT 127.0.0.1:@FAR@' \
		'TLS SSL' 'NAMED SSL - name' 'EXPIRED SSL - expired' 'FUTURE SSL - future' 'STRAY SSL - stray' \
		'LEAF SSL - leaf' 'OLD SSL - old' 'WILD SSL - wild' 'MUTUAL SSL' 'LOGIN SASL_SSL' 'MIXED PLAINTEXT 127.0.0.1:@TLS@' \
		'INSIDE PLAINTEXT kafka-0.kafka.default.svc:9092' 'POD PLAINTEXT kafka-broker-x:9092' \
		'LATE SSL 127.0.0.1:@EXPIRED@' 'CROSS SSL localhost:@CROSS@' 'DROPPED PLAINTEXT 127.9.9.9:@FAR@' \
		'QUORUM PLAINTEXT 127.0.0.1:@CONTROLLER@' 'OPEN SASL_PLAINTEXT 127.0.0.1:@PLAIN@' 'SHUT PLAINTEXT 127.0.0.1:@SASL@' \
		-- offsets.topic.replication.factor=3
}

setup() {
	harness_setup
	listeners_options
}

# good LISTENERS OPTION…: kcheck finds nothing wrong, and prints a line for each of so many listeners.
good() {
	local lines=$1
	shift
	kcheck "$@" >out 2>err || { cat out err; false; }
	cat out
	[ ! -s err ]
	[ "$(grep -c '^good  ' out)" -eq "$lines" ]
	[ "$(tail -n 1 out)" = 'verdict: good' ]
}

# bad STATUS TEXT REMEDY OPTION…: it ends so, with TEXT in its verdict and in its last word, and REMEDY in the remedy;
# and says the same as JSON.
bad() {
	local expected=$1 text=$2 remedy=$3 status=0
	shift 3
	kcheck "$@" >out 2>err || status=$?
	cat out err
	[ "$status" -eq "$expected" ]
	grep '^verdict: ' out | grep -qF -e "$text"
	grep '^remedy: ' out | grep -qF -e "$remedy"
	grep -q '^FAIL  ' out
	[ "$(wc -l <err)" -eq 1 ]
	[[ $(cat err) == 'kcheck: '*"$text"* ]]
	status=0
	kcheck --json "$@" >json 2>err || status=$?
	cat json
	[ "$status" -eq "$expected" ]
	jq -r 'select(.ok == false) | (.listener // .group) + " " + .verdict' json | grep -qF -e "$text"
	jq -r 'select(.ok == false) | .remedy' json | grep -qF -e "$remedy"
}

# ---- what is right ----

@test "a cluster that can be reached" {
	good 1 -b "$(at PLAIN)"
	KAFKA_BROKERS=$(at PLAIN) good 1
	good 2 -b "localhost:$(port PLAIN)"
	good 2 -b "$(at PLAIN),localhost:$(port PLAIN)"
	good 1 -b "$(at TLS)" "${TLS[@]}"
	good 1 -b "$(at SASL)" "${LOGIN[@]}" -X sasl.password=secret
	good 1 -b "$(at LOGIN)" "${LOGIN_TLS[@]}" -X sasl.password=secret
	good 1 -b "$(at MUTUAL)" "${TLS[@]}" -X "ssl.certificate.location=$CERTS/client.pem" \
		-X "ssl.key.location=$CERTS/client.key"
}

@test "the JSON has a line for each listener, with how far it went and how long that took" {
	kcheck --json -b "localhost:$(port TLS)" "${TLS[@]}" -X ssl.endpoint.identification.algorithm=none >out
	[ "$(jq -r .listener out)" = "localhost:$(port TLS)
$(at TLS)" ]
	[ "$(jq -s 'all(.ok and .verdict == "good" and .ms > 0)' out)" = true ]
	[ "$(jq -c '[.bootstrap, .brokers]' out)" = '[true,[]]
[false,[1]]' ]
	jq -s '.[1].addresses[0]' out >address
	[ "$(jq -c '[.address, .ok, .tls.version, .tls.names, .tls.flaws]' address)" = '["127.0.0.1",true,"TLSv1.3","IP:127.0.0.1",[]]' ]
	[ "$(jq '.dial_ms >= 0 and .tls_ms > 0 and .tls.not_after > .tls.not_before' address)" = true ]
}

# ---- names and addresses ----

@test "a name that does not resolve, of the bootstrap address and of an advertised one; --resolve mends it" {
	bad 111 "the host name 'nobody.invalid' does not resolve here" '--resolve nobody.invalid:9092:ADDRESS' \
		-b nobody.invalid
	bad 111 'advertised by broker 1: the host name' "--resolve nobody.invalid:$(port NOWHERE):127.0.0.1;" \
		-b "$(at NOWHERE)"
	[[ $(cat out) == *"advertised.listeners=PLAINTEXT://$(at NOWHERE)"* ]]
	good 2 -b "$(at NOWHERE)" --resolve "nobody.invalid:$(port NOWHERE):127.0.0.1"
	# kcat finds nothing wrong.
	kcat -L -b "$(at NOWHERE)" >meta
}

@test "a name inside Kubernetes, or of containers, is told as such; the bootstrap address is noted as no broker's" {
	bad 111 'it is a name inside a Kubernetes cluster, where clients outside need a listener of their own' \
		"--resolve kafka-0.kafka.default.svc:9092:127.0.0.1:$(port INSIDE);" -b "$(at INSIDE)"
	jq -r '.note' json | grep -q 'is advertised by no broker'
	bad 111 "without a dot it is known to the broker's own machines or containers" \
		"--resolve kafka-broker-x:9092:127.0.0.1:$(port POD);" -b "$(at POD)"
	bad 111 "'kafka-0.kafka' does not resolve here" '' -b kafka-0.kafka
	run ! grep Kubernetes out
	good 1 -b "$(at PLAIN)"
	run ! grep note: out
}

@test "an address of a private network is told as such" {
	unshare -rn true 2>/dev/null || skip "no network namespaces here"
	cat >both <<-'EOS'
		kmock >address &
		until [ -s address ]; do sleep 0.02; done
		kcheck -b "$(cat address)" --resolve "$(cat address):10.77.77.77" >none
		kcheck -b "localhost:$(sed 's/.*://' address)" --resolve "$(cat address):10.77.77.77"
		status=$?
		kill %1
		exit $status
	EOS
	status=0
	in_namespace bash both >out 2>err || status=$?
	cat out err
	[ "$status" -eq 111 ]
	grep -q '^verdict: .*advertised by broker 1: 10.77.77.77 cannot be reached: .*; it is an address of a private network' out
	grep -q '^remedy: here: --resolve ' out
	run ! grep private none
}

@test "a name that has another address too, or one of IPv6 first, where the broker does not listen, is noted" {
	unshare -rm true 2>/dev/null || skip "no namespaces here"
	bad 111 "'::1' has no address here for broker.address.family=v4" '-X broker.address.family=any' \
		-b '[::1]:1' -X broker.address.family=v4
	printf '%s both.test\n' 127.9.9.9 127.0.0.1 >hosts
	unshare -rm sh -c 'mount --bind hosts /etc/hosts && exec kcheck -b "both.test:$1"' sh "$(port PLAIN)" >out
	grep -q "^note: both.test also resolves to 127.9.9.9, where the connection is refused; --resolve both.test:$(port PLAIN):127.0.0.1 skips it" out
	printf '::1 both.test\n127.0.0.1 both.test\n' >hosts
	unshare -rm sh -c 'mount --bind hosts /etc/hosts && exec kcheck -b "both.test:$1"' sh "$(port PLAIN)" >out
	cat out
	grep -q '^note: both.test also resolves to ::1, where the connection is refused; -X broker.address.family=v4 skips it' out
	[ "$(tail -n 1 out)" = 'verdict: good' ]
	# Which address a client tries first is a matter of luck.
	topic=$(new_topic)
	for _ in 1 2 3; do
		unshare -rm sh -c 'mount --bind hosts /etc/hosts && exec kread -e -X reconnect.backoff.ms=1000 -b "both.test:$1" "$2"' \
			sh "$(port PLAIN)" "$topic" 2>err
		cat err
		[ ! -s err ]
	done
}

@test "nothing listens, at the bootstrap address and at an advertised one; the remedy is right" {
	bad 111 'connection refused' '-b HOST:PORT' -b "$(at FAR)"
	bad 111 'advertised by broker 1: connection refused' "--resolve $(at FAR):$(at CLOSED);" -b "$(at CLOSED)"
	good 2 -b "$(at CLOSED)" --resolve "$(at FAR):$(at CLOSED)"
	kcat -L -b "$(at CLOSED)" >meta
}

@test "packets are dropped: a time-out" {
	# A queue of connections that is full drops what comes.
	spawn full python3 -c 'import socket, sys, time
full = socket.socket()
full.bind(("127.9.9.9", int(sys.argv[1])))
full.listen(0)
others = [socket.socket() for i in range(4)]
for s in others:
    s.setblocking(False)
    s.connect_ex(full.getsockname())
print("full", flush=True)
time.sleep(1000)' "$(port FAR)"
	wait_lines full.out 1
	bad 99 'time-out: 127.9.9.9 does not answer' 'firewall' -b "127.9.9.9:$(port FAR)" --timeout 500ms
	bad 99 'advertised by broker 1: time-out' 'firewall' -b "$(at DROPPED)" --timeout 500ms
}

@test "packets are dropped on the way; there is no way" {
	unshare -rn true 2>/dev/null || skip "no network namespaces here"
	status=0
	unshare -rn sh -c 'ip link set lo up && ip route add 10.9.9.0/24 dev lo &&
		exec kcheck --timeout 300ms -b 10.9.9.9:9092' >out 2>err || status=$?
	cat out err
	[ "$status" -eq 99 ]
	grep -q '^verdict: .*time-out: 10.9.9.9 does not answer' out
	status=0
	unshare -rn kcheck -b 10.9.9.9:9092 >out 2>err || status=$?
	[ "$status" -eq 111 ]
	grep -q '^verdict: .*10.9.9.9 cannot be reached: Network is unreachable' out
}

# ---- TLS ----

@test "TLS to a port without, and none to a port with it; at an advertised address too" {
	bad 100 'it does not speak TLS' '-X security.protocol=PLAINTEXT' -b "$(at PLAIN)" "${TLS[@]}"
	bad 100 'it speaks TLS' '-X security.protocol=SSL' -b "$(at TLS)"
	bad 100 'it speaks TLS, and security.protocol is PLAINTEXT; it wants a client certificate, too' \
		'-X security.protocol=SSL -X ssl.certificate.location=FILE' -b "$(at MUTUAL)"
	bad 100 'it wants a login (SASL), too, and offers the mechanisms PLAIN' \
		'-X security.protocol=SASL_SSL -X sasl.mechanisms=PLAIN -X sasl.username=USER' -b "$(at LOGIN)"
	bad 100 'it wants a login (SASL), too, and offers the mechanisms PLAIN, SCRAM-SHA-256' \
		'-X security.protocol=SASL_PLAINTEXT -X sasl.mechanisms=PLAIN -X sasl.username=USER' -b "$(at SASL)" "${TLS[@]}"
	bad 100 'it does not speak TLS, and security.protocol is SASL_SSL; it wants no login (SASL)' \
		'-X security.protocol=PLAINTEXT' -b "$(at PLAIN)" "${LOGIN_TLS[@]}" -X sasl.password=secret
	bad 100 'it speaks TLS, and security.protocol is SASL_PLAINTEXT' '-X security.protocol=SASL_SSL -X sasl.mechanisms=PLAIN' \
		-b "$(at LOGIN)" "${LOGIN[@]}" -X sasl.mechanisms=SCRAM-SHA-256 -X sasl.password=secret
	bad 100 'it speaks TLS' '-X security.protocol=SASL_SSL' -b "$(at LOGIN)" "${LOGIN[@]}" -X sasl.password=secret
	bad 100 'it does not speak TLS' '-X security.protocol=SASL_PLAINTEXT' -b "$(at SASL)" "${LOGIN_TLS[@]}" \
		-X sasl.password=secret
	bad 111 'advertised by broker 1: it speaks TLS' 'advertised.listeners' -b "$(at MIXED)"
	kcat -L -b "$(at MIXED)" >meta
}

@test "a certificate's mistakes are told apart" {
	bad 100 'its certificate is from no CA that is trusted here: CN=address was signed by CN=ca' '-X ssl.ca.location=FILE' \
		-b "$(at TLS)" -X security.protocol=SSL
	bad 100 'its certificate is from no CA that is trusted here: CN=stray was signed by CN=other-ca' '-X ssl.ca.location=' \
		-b "$(at STRAY)" "${TLS[@]}"
	bad 111 'its certificate has expired: CN=expired was valid until 20' 'renew' -b "$(at EXPIRED)" "${TLS[@]}"
	bad 111 'its certificate is not yet valid: CN=future is from 20' 'clock' -b "$(at FUTURE)" "${TLS[@]}"
	bad 111 "its certificate is not for the host name or address '127.0.0.1', but for DNS:redis.test" \
		"-b redis.test:$(port NAMED) --resolve redis.test:$(port NAMED):127.0.0.1;" -b "$(at NAMED)" "${TLS[@]}"
	bad 111 'advertised by broker 1: its certificate has expired' 'renew' -b "$(at LATE)" "${TLS[@]}"
	bad 111 "advertised by broker 1: its certificate is not for the host name 'localhost', but for IP:127.0.0.1" \
		"advertised.listeners=SSL://127.0.0.1:$(port CROSS);" -b "$(at CROSS)" "${TLS[@]}"
	bad 111 "but for DNS:*.kafka.test" "-b HOST.kafka.test:$(port WILD) --resolve HOST.kafka.test:$(port WILD):127.0.0.1;" \
		-b "$(at WILD)" "${TLS[@]}"
	good 2 -b "$(at CROSS)" "${TLS[@]}" -X ssl.endpoint.identification.algorithm=none
	good 1 -b "$(at STRAY)" "${TLS[@]}" -X enable.ssl.certificate.verification=false
}

@test "an intermediate certificate that nobody has, a CA of it that is missing, one whose time is over" {
	bad 100 'CN=leaf was signed by CN=inter' "put it behind the broker's own in its ssl.keystore.location" -b "$(at LEAF)" "${TLS[@]}"
	TLS=(-X security.protocol=SSL)
	bad 100 'CN=leaf was signed by CN=inter, and in the end by CN=ca' 'with the certificate of CN=ca in it' \
		-b "$(at LEAF)" "${TLS[@]}" -X "ssl.ca.location=$CERTS/inter.pem"
	cat "$CERTS"/{ca,inter,oldca}.pem >all.pem
	good 1 -b "$(at LEAF)" "${TLS[@]}" -X ssl.ca.location=all.pem
	bad 111 'the certificate of its CA has expired: CN=oldca was valid until 20' 'renew the certificate of CN=oldca' \
		-b "$(at OLD)" "${TLS[@]}" -X ssl.ca.location=all.pem
}

@test "a client certificate is wanted, or another one" {
	bad 100 'it wants a client certificate, and we have none' '-X ssl.certificate.location=FILE' \
		-b "$(at MUTUAL)" "${TLS[@]}"
	bad 100 'it does not accept our client certificate' 'ssl.truststore.location' -b "$(at MUTUAL)" "${TLS[@]}" \
		-X "ssl.certificate.location=$CERTS/stray.pem" -X "ssl.key.location=$CERTS/stray.key"
}

@test "files of certificates that cannot be read are our own configuration" {
	run -100 kcheck -b "$(at TLS)" -X security.protocol=SSL -X ssl.ca.location=none
	[[ $output == "kcheck: cannot read the CA certificates 'none': "* ]]
	run -100 kcheck -b "$(at TLS)" "${TLS[@]}" -X ssl.certificate.location="$CERTS/client.pem" -X ssl.key.location=none
	[[ $output == "kcheck: cannot read the key 'none': "* ]]
}

@test "so are those whose password is wrong, that do not go together or are something else; kread says the same" {
	(
		cd "$CERTS" || exit 1
		openssl pkcs12 -export -in client.pem -inkey client.key -passout pass:right -out client.p12
		openssl ec -in client.key -aes128 -passout pass:right -out locked.key
		openssl ca -config ca.conf -cert ca.pem -keyfile ca.key -gencrl -crldays 2 -out ca.crl
	) >openssl.out 2>&1
	cert="-X ssl.certificate.location=$CERTS/client.pem -X ssl.key.location=$CERTS"
	store='-X ssl.keystore.password=wrong -X ssl.keystore.location'
	while IFS='|' read -r options words; do
		for program in kcheck "kread -e t"; do
			# shellcheck disable=SC2086 # words
			run -100 timeout -s KILL 100 $program -b "$(at TLS)" "${TLS[@]}" $options
			[[ $output == "${program%% *}: cannot read the $words" ]] || { echo "$options: $output"; false; }
		done
	done <<-END
		$store=$CERTS/client.p12|key store '$CERTS/client.p12': its password is wrong, or missing
		$store=$CERTS/client.pem|key store '$CERTS/client.pem': it is no PKCS#12
		$cert/stray.key|key '$CERTS/stray.key': it is not the key of the certificate
		$cert/locked.key|key '$CERTS/locked.key': it is encrypted, and there is no password
		$cert/locked.key -X ssl.key.password=wrong|key '$CERTS/locked.key': its password is wrong
		-X ssl.crl.location=none|list of revoked certificates 'none': No such file or directory
		-X ssl.crl.location=$CERTS/ca.pem|list of revoked certificates '$CERTS/ca.pem': it has none in PEM
		${cert%% -X ssl.key*}|key '$CERTS/client.pem': it has none in PEM
	END
	good 1 -b "$(at TLS)" "${TLS[@]}" -X ssl.crl.location="$CERTS/ca.crl"
	# The key may stand beside the certificate.
	cat "$CERTS/client.pem" "$CERTS/client.key" >both
	set -- -b "$(at MUTUAL)" "${TLS[@]}" -X ssl.certificate.location=both
	good 1 "$@"
	echo x | timeout -s KILL 100 kwrite "$@" --raw -t "$(new_topic)"
}

@test "a broker of another cluster: named in the same list, and advertised" {
	kmock_start -t t:1
	other=$KAFKA_BROKERS
	bad 100 'a broker of another cluster answers there' 'name brokers of one cluster' -b "$(at PLAIN),$other"
	bad 111 'advertised by broker 1: a broker of another cluster answers there' '--resolve' \
		-b "$(at POD)" --resolve "kafka-broker-x:9092:$other"
}

@test "names of 255 bytes, with dots and without, are told in one line" {
	label=$(printf 'x%.0s' {1..62})
	for name in "$label.$label.$label.$label.aa" "$(printf 'x%.0s' {1..255})"; do
		bad 111 'does not resolve' '' -b "$name:9092"
	done
}

# ---- logins ----

@test "a login is wanted, or not; the mechanism is not offered; the password is wrong" {
	bad 100 'it wants a login (SASL), and security.protocol is PLAINTEXT; it offers the mechanisms PLAIN, SCRAM-SHA-256' \
		'-X security.protocol=SASL_PLAINTEXT -X sasl.mechanisms=PLAIN -X sasl.username=USER' -b "$(at SASL)"
	bad 100 'it wants a login (SASL), and security.protocol is SSL' '-X security.protocol=SASL_SSL' \
		-b "$(at LOGIN)" "${TLS[@]}"
	bad 100 'it wants no login (SASL)' '-X security.protocol=PLAINTEXT' -b "$(at PLAIN)" "${LOGIN[@]}" \
		-X sasl.password=secret
	bad 100 'it wants no login (SASL)' '-X security.protocol=SSL' -b "$(at TLS)" "${LOGIN_TLS[@]}" -X sasl.password=x
	bad 100 'it does not offer the SASL mechanism SCRAM-SHA-512, but PLAIN, SCRAM-SHA-256' '-X sasl.mechanisms=PLAIN' \
		-b "$(at SASL)" "${LOGIN[@]}" -X sasl.mechanisms=SCRAM-SHA-512 -X sasl.password=secret
	bad 100 "it refuses the user name or the password of 'alice' (SASL PLAIN)" '-X sasl.password=' \
		-b "$(at SASL)" "${LOGIN[@]}" -X sasl.password=wrong
	bad 100 "it refuses the user name or the password of 'alice' (SASL PLAIN)" '-X sasl.password=' \
		-b "$(at LOGIN)" "${LOGIN_TLS[@]}" -X sasl.password=wrong
	bad 100 'there is no password (sasl.password)' '' -b "$(at SASL)" "${LOGIN[@]}"
}

@test "the mechanism is left out: each program says what is offered" {
	local program
	set -- -X security.protocol=SASL_PLAINTEXT
	bad 100 'sasl.mechanisms is not set, and it offers the mechanisms PLAIN, SCRAM-SHA-256' \
		'-X sasl.mechanisms=PLAIN -X sasl.username=USER -X sasl.password=PASSWORD' -b "$(at SASL)" "$@"
	set -- "$@" -X sasl.username=alice -X sasl.password=secret
	bad 100 'sasl.mechanisms is not set, and it offers the mechanisms PLAIN, SCRAM-SHA-256' '-X sasl.mechanisms=PLAIN' \
		-b "$(at SASL)" "$@"
	for program in 'kread -e t' 'kwrite -t t' 'khttp --listen unix:web --management none'; do
		# shellcheck disable=SC2086 # words
		run -100 timeout -s KILL 100 $program -b "$(at SASL)" "$@" </dev/null
		[ "$output" = "${program%% *}: $(at SASL): sasl.mechanisms is not set, and it offers the mechanisms PLAIN, SCRAM-SHA-256; -X sasl.mechanisms=PLAIN" ]
	done
	run -100 timeout -s KILL 100 kread -e t -b "$(at FAR)" "$@"
	[[ $output == 'kread: sasl.mechanisms is not set: -X sasl.mechanisms=PLAIN, '* ]]
	run -100 timeout -s KILL 100 kread -e t -b "$(at PLAIN)" "$@"
	[[ $output == "kread: $(at PLAIN): it wants no login (SASL), "* ]]
}

@test "SCRAM" {
	LOGIN+=(-X sasl.mechanisms=SCRAM-SHA-256)
	good 1 -b "$(at SASL)" "${LOGIN[@]}" -X sasl.password=secret
	bad 100 "it refuses the user name or the password of 'alice' (SASL SCRAM-SHA-256)" 'for this very mechanism' \
		-b "$(at SASL)" "${LOGIN[@]}" -X sasl.password=wrong
}

@test "SCRAM of a librdkafka that Kafka 4 does not let in: kcheck finds nothing wrong, kread says what it is" {
	LOGIN+=(-X sasl.mechanisms=SCRAM-SHA-256 -X sasl.password=secret)
	good 1 -b "$(at SASL)" "${LOGIN[@]}"
	status=0
	timeout 60 kread -e -b "$(at SASL)" "${LOGIN[@]}" '^none' 2>err || status=$?
	[ "$status" -eq 100 ]
	grep -qE "librdkafka 2\.[0-6]\.[0-9]+ errs at SCRAM's nonce, 2.6.1 does not|no topic matches" err
}

@test "a password from a file; -X dump shows no secret" {
	printf 'secret\nmore\n' >password
	good 1 -b "$(at SASL)" "${LOGIN[@]}" -X sasl.password=@password
	printf 'security.protocol=sasl_plaintext\nsasl.mechanisms=PLAIN\nsasl.username=alice\nsasl.password=@password\n' >conf
	good 1 -b "$(at SASL)" -F conf
	: >empty
	for file in none empty; do
		run -100 kcheck -b "$(at SASL)" "${LOGIN[@]}" -X "sasl.password=@$file"
		[[ $output == 'kcheck: -X: '*"'$file'"* ]]
	done
	bad 100 'it refuses the user name or the password' '' -b "$(at SASL)" "${LOGIN[@]}" -X sasl.password=@@password
	for program in kcheck 'kread x' kwrite khttp; do
		# shellcheck disable=SC2086 # words
		$program -b "$(at SASL)" "${LOGIN[@]}" -X sasl.password=@password -X ssl.key.password=secret -X ssl.key.pem=secret \
			-X ssl.keystore.password=secret -X sasl.oauthbearer.config=secret -X dump </dev/null >out
		grep -qx 'sasl.password = \[redacted\]' out
		grep -qx 'sasl.username = alice' out
		run ! grep -w secret out
	done
}

# ---- a group's coordinator ----

@test "a group has no coordinator, since the topic of positions cannot be made; kread says so, too" {
	topic=$(new_topic)
	spawn reads kread -b "$(at PLAIN)" -g g --commit written "$topic" </dev/null
	bad 111 "group 'g': it has no coordinator: the topic __consumer_offsets" 'offsets.topic.replication.factor=1' \
		-b "$(at PLAIN)" -g g --timeout 4s
	wait_file_contains reads.err "kread: warning: group 'g': it has no coordinator: the topic __consumer_offsets"
	grep -q 'waiting for it (start all brokers; .*offsets.topic.replication.factor=1)$' reads.err
	[ "$(grep -c "group 'g': it has no coordinator" reads.err)" -eq 1 ]
}

# ---- other servers ----

# in_namespace COMMAND: in a network of its own, whose address is 10.9.9.1 and whose other packets are dropped.
in_namespace() {
	unshare -rn sh -c 'ip link set lo up && ip address add 10.9.9.1/24 dev lo && exec "$@"' sh "$@"
}

@test "a broker that advertises loopback to clients elsewhere" {
	unshare -rn true 2>/dev/null || skip "no network namespaces here"
	cat >both <<-'EOS'
		kmock >address &
		until [ -s address ]; do sleep 0.02; done
		python3 -c 'import socket, sys, threading
		def copy(a, b):
		    while data := a.recv(65536):
		        b.sendall(data)
		    b.shutdown(socket.SHUT_WR)
		s = socket.create_server(("10.9.9.1", 9092))
		open("listens", "w").close()
		while True:
		    a = s.accept()[0]
		    b = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
		    for pair in (a, b), (b, a):
		        threading.Thread(target=copy, args=pair, daemon=True).start()' "$(sed 's/.*://' address)" &
		until [ -e listens ]; do sleep 0.02; done
		kcheck -b 10.9.9.1:9092 && exit 1
		kcheck -b "$(cat address)" && kcheck -b 10.9.9.1:9092 --resolve "$(cat address):10.9.9.1:9092"
		status=$?
		kill %1 %2
		exit $status
	EOS
	in_namespace bash both >out 2>err || { cat out err; false; }
	cat out
	grep -q "^verdict: .*, advertised by broker 1: '127.0.0.1' is each machine's own address (loopback)" out
	grep -q '^remedy: at broker 1: advertised.listeners=PLAINTEXT://10.9.9.1:9092' out
}

@test "the listener of a controller" {
	bad 100 'it is the listener of a controller' '-b HOST:PORT' -b "$(at CONTROLLER)"
}

@test "an advertised address is a controller's, wants no login, or wants one: kread and kwrite say so, too" {
	topic=$(new_topic)
	bad 111 'advertised by broker 1: it is the listener of a controller' "--resolve $(at CONTROLLER):$(at QUORUM)" -b "$(at QUORUM)"
	spawn writes kwrite --raw -t "$topic" -b "$(at QUORUM)" <<<x
	# The newest librdkafka ends for it.
	wait_for "grep -qE '^kwrite: (warning: cannot reach broker )?$(at CONTROLLER): it is the listener of a controller' writes.err"
	[ "$(wc -l <writes.err)" -eq 1 ]
	LOGIN+=(-X sasl.password=secret)
	bad 111 'advertised by broker 1: it wants no login (SASL)' 'must advertise a listener of the protocol SASL_PLAINTEXT' \
		-b "$(at OPEN)" "${LOGIN[@]}"
	run -100 kread -e -b "$(at OPEN)" "${LOGIN[@]}" "$topic"
	[[ $output == "kread: $(at PLAIN): it wants no login (SASL), "* ]]
	bad 111 'advertised by broker 1: it wants a login (SASL)' "here: -b $(at SASL) -X security.protocol=SASL_PLAINTEXT" -b "$(at SHUT)"
	spawn reads kread -e -b "$(at SHUT)" "$topic" </dev/null
	wait_file_contains reads.err "cannot reach broker $(at SASL): it wants a login (SASL)"
}

@test "servers of other protocols" {
	redis_start
	for kind in ThreadingHTTPServer HTTPServer; do
		spawn $kind python3 -u -c 'import http.server, sys
s = getattr(http.server, sys.argv[1])(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
print(s.server_address[1], flush=True)
s.serve_forever()' $kind
		wait_lines $kind.out 1
	done
	spawn closing python3 -u -c 'import socket
s = socket.create_server(("127.0.0.1", 0))
print(s.getsockname()[1], flush=True)
while True:
    s.accept()[0].close()'
	wait_lines closing.out 1
	for tls in no yes; do
		[ $tls = yes ] || TLS=()
		bad 100 'a Redis server answers there' '-b HOST:PORT' -b "127.0.0.1:$REDIS_PORT" "${TLS[@]}"
		bad 100 'an HTTP server answers there' '-b HOST:PORT' -b "127.0.0.1:$(cat ThreadingHTTPServer.out)" "${TLS[@]}"
		bad 111 'it takes connections and closes them without an answer' 'is a broker there' \
			-b "127.0.0.1:$(cat closing.out)" "${TLS[@]}"
		TLS=(-X security.protocol=SSL -X "ssl.ca.location=$CERTS/ca.pem")
	done
	# This one takes its next connection when the one before has ended.
	run -100 kcheck -b "127.0.0.1:$(cat HTTPServer.out)"
	[[ $output == *'an HTTP server answers there'* ]]
	redis_stop
	redis_tls_start address
	bad 100 'a Redis server answers there' '-b HOST:PORT' -b "127.0.0.1:$REDIS_PORT" "${TLS[@]}"
}

@test "a proxy that goes by SNI, and one whose backend is away" {
	local sni away
	sni=$(free_port) away=$(free_port)
	printf '%s\n' defaults ' mode tcp' ' timeout connect 5s' ' timeout client 1h' ' timeout server 1h' \
		'frontend sni' " bind 127.0.0.1:$sni" ' tcp-request inspect-delay 5s' \
		' tcp-request content accept if { req.ssl_hello_type 1 }' ' use_backend named if { req.ssl_sni redis.test }' \
		'backend named' " server k $(at NAMED)" 'listen away' " bind 127.0.0.1:$away" ' retries 0' ' server k 127.0.0.1:1' >cfg
	spawn haproxy haproxy -db -f cfg </dev/null
	wait_for "(: </dev/tcp/127.0.0.1/$sni)"
	bad 111 'closes them without an answer' "-b NAME:$sni --resolve NAME:$sni:127.0.0.1" -b "127.0.0.1:$sni" "${TLS[@]}"
	bad 111 "$(at NAMED), advertised by broker 1: its certificate is not for" "SSL://redis.test:$(port NAMED)" \
		-b "redis.test:$sni" --resolve "redis.test:$sni:127.0.0.1" "${TLS[@]}"
	bad 111 'or a proxy that has lost its own' 'is a broker there, and does it run?' -b "127.0.0.1:$away"
}

@test "a server that takes connections and is silent: a time-out" {
	silent_start
	bad 99 'time-out: it takes connections, and does not answer as a broker' 'does it run' \
		-b "127.0.0.1:$(cat silent.out)" --timeout 500ms
	bad 99 'time-out: it takes connections, and does not answer to TLS' 'does it run' \
		-b "127.0.0.1:$(cat silent.out)" --timeout 500ms "${TLS[@]}"
}

# ---- the program ----

@test "our own configuration: 100, and nothing on standard output" {
	unset KAFKA_BROKERS
	for options in '' '-b x --timeout 0s' '-b x --timeout y' '-b x -X nonsense=1' '-b x more' '-b x --resolve y'; do
		# shellcheck disable=SC2086 # words
		run -100 kcheck $options
		[ "${#lines[@]}" -eq 1 ]
	done
}

@test "--watch says what has changed, and ends at a signal" {
	spawn it kcheck --watch -b "$(at FAR)"
	wait_file_contains it.out 'connection refused'
	spawn redis redis-server --bind 127.0.0.1 --port "$(port FAR)" --save '' </dev/null
	wait_file_contains it.out 'a Redis server answers there'
	stop it
	wait_exit it
	[ "$status" -eq 100 ]
	[ "$(grep -c '^verdict: ' it.out)" -eq 2 ]
}

@test "--watch reads certificates and keys anew when their files change; SIGHUP ends it not" {
	cp "$CERTS/stray.pem" mine.pem
	cp "$CERTS/stray.key" mine.key
	spawn it kcheck --watch -b "$(at MUTUAL)" "${TLS[@]}" -X ssl.certificate.location=mine.pem -X ssl.key.location=mine.key
	wait_file_contains it.out 'it does not accept our client certificate'
	stop it HUP
	cat "$CERTS/client.key" >mine.key
	cp "$CERTS/client.pem" new.pem
	mv new.pem mine.pem
	wait_file_contains it.out 'verdict: good'
	stop it
	wait_exit it
	[ "$status" -eq 0 ]
}

@test "a signal ends it" {
	spawn silent python3 -u -c 'import socket, time
s = socket.create_server(("127.0.0.1", 0))
print(s.getsockname()[1], flush=True)
s.accept()
print("taken", flush=True)
time.sleep(1000)'
	wait_lines silent.out 1
	spawn it kcheck -b "127.0.0.1:$(head -n 1 silent.out)" --timeout 10m
	wait_lines silent.out 2
	stop it
	wait_exit it
	[ "$status" -eq 111 ]
	[ ! -s it.out ]
	[ "$(wc -l <it.err)" -eq 1 ]
}
