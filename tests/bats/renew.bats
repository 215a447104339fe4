#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# Passwords and certificates that change while the programs run: the broker takes others, and the files have them.

# bats file_tags=once
load helpers

# password WORD: what the broker takes from the next start on.
password() {
	echo "listener.name.sasl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_alice=\"$1\";"
}

setup() {
	harness_setup
	LOGIN=(-X security.protocol=SASL_PLAINTEXT -X sasl.mechanisms=PLAIN -X sasl.username=alice
		-X reconnect.backoff.max.ms=300)
}

# A server that takes clients with a certificate alone, in front of kmock. SIGUSR1: it cuts all connections; those that come
# then meet what stands in its files now.
tls_in_front() {
	spawn front python3 -uc 'import select, signal, socket, ssl, sys, threading
def cut(*_):
    for s in list(alive):
        try:
            s.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
def serve(raw):
    c = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile="clients.pem")
    c.verify_mode = ssl.CERT_REQUIRED
    c.load_cert_chain("server.pem", "server.key")
    try:
        with c.wrap_socket(raw, server_side=True) as a, socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as b:
            alive.add(a)
            while True:
                ready = [a] if a.pending() else select.select([a, b], [], [])[0]
                for s in ready:
                    data = s.recv(65536)
                    (b if s is a else a).sendall(data)
                    if not data:
                        return
    except OSError:
        pass
alive = set()
signal.signal(signal.SIGUSR1, cut)
s = socket.create_server(("127.0.0.1", 0))
print(s.getsockname()[1])
while True:
    threading.Thread(target=serve, args=(s.accept()[0],), daemon=True).start()' "${KAFKA_BROKERS##*:}"
	wait_lines front.out 1
}

# put FILE NAME: as renewals do, in one step.
put() {
	cp "$1" new
	mv new "$2"
}

@test "certificates that change, ours and those of the CA, are taken by the next connections; SIGHUP ends nothing" {
	local name
	make_certs
	kmock_start -t t:1
	put "$CERTS/address.pem" server.pem
	put "$CERTS/address.key" server.key
	put "$CERTS/ca.pem" clients.pem
	put "$CERTS/client.pem" mine.pem
	put "$CERTS/client.key" mine.key
	put "$CERTS/ca.pem" trust.pem
	tls_in_front
	TLS=(-v -b "127.0.0.1:$(<front.out)" --resolve "$KAFKA_BROKERS:127.0.0.1:$(<front.out)" -X security.protocol=SSL
		-X ssl.certificate.location=mine.pem -X ssl.key.location=mine.key -X ssl.ca.location=trust.pem
		-X reconnect.backoff.max.ms=300)
	mkfifo lines
	exec 7<>lines
	spawn reads kread "${TLS[@]}" --raw t </dev/null
	spawn writes kwrite "${TLS[@]}" --raw -t t <lines
	spawn http khttp "${TLS[@]}" --listen "unix:$T/web" --management none </dev/null
	post() {
		curl -sf --unix-socket web -H 'Content-Type: application/json' -d "{\"records\":[{\"value\":\"$1\"}]}" http://x/topics/t
	}
	echo 1 >&7
	wait_for 'post 2'
	wait_lines reads.out 2
	# All is from another CA now. First what clients have: who has come still has what was there before.
	cat "$CERTS/ca.pem" "$CERTS/other-ca.pem" >both
	put both trust.pem
	put "$CERTS/stray.pem" mine.pem
	for name in reads writes http; do
		stop $name HUP
		wait_file_contains $name.err "cannot read the key 'mine.key': it is not the key of the certificate; going on with what was read before"
	done
	echo 3 >&7
	wait_lines reads.out 3
	put "$CERTS/stray.key" mine.key
	for name in reads writes http; do
		wait_file_contains $name.err "'mine.key' has changed: connections from now on use what is in it"
	done
	put "$CERTS/stray.pem" server.pem
	put "$CERTS/stray.key" server.key
	put "$CERTS/other-ca.pem" clients.pem
	stop front USR1
	echo 4 >&7
	wait_for 'post 5'
	# kmock takes twice what is sent again over another connection.
	wait_for "[ \"\$(tr -d '\"' <reads.out | sort -u | xargs)\" = '1 2 3 4 5' ]"
	for name in reads writes http; do
		alive "$(pid_of $name)"
	done
	exec 7>&-
}

@test "a key store, its password, and lists of what is revoked are taken by the next connections" {
	local name ca
	make_certs
	for ca in ca other-ca; do
		(cd "$CERTS" && openssl ca -config ca.conf -cert $ca.pem -keyfile $ca.key -gencrl -crldays 2)
	done >both 2>openssl.out
	sed '/-END/q' both >revoked
	openssl pkcs12 -export -in "$CERTS/client.pem" -inkey "$CERTS/client.key" -passout pass:one -out mine.p12
	openssl pkcs12 -export -in "$CERTS/stray.pem" -inkey "$CERTS/stray.key" -passout pass:two -out stray.p12
	echo one >password
	kmock_start -t t:1
	put "$CERTS/address.pem" server.pem
	put "$CERTS/address.key" server.key
	put "$CERTS/ca.pem" clients.pem
	cat "$CERTS/ca.pem" "$CERTS/other-ca.pem" >trust.pem
	tls_in_front
	TLS=(-v -b "127.0.0.1:$(<front.out)" --resolve "$KAFKA_BROKERS:127.0.0.1:$(<front.out)" -X security.protocol=SSL
		-X ssl.keystore.location=mine.p12 -X ssl.keystore.password=@password -X ssl.ca.location=trust.pem
		-X ssl.crl.location=revoked -X reconnect.backoff.max.ms=300)
	mkfifo lines
	exec 7<>lines
	spawn reads kread "${TLS[@]}" --raw t </dev/null
	spawn writes kwrite "${TLS[@]}" --raw -t t <lines
	echo 1 >&7
	wait_lines reads.out 1
	put stray.p12 mine.p12
	for name in reads writes; do
		stop $name HUP
		wait_file_contains $name.err "cannot read the key store 'mine.p12': its password is wrong, or missing; going on with what was read before"
	done
	echo two >password
	for name in reads writes; do
		wait_file_contains $name.err "'password' has changed: connections from now on use what is in it"
	done
	# Without a list of its CA no certificate is good.
	put both revoked
	for name in reads writes; do
		wait_file_contains $name.err "'revoked' has changed: connections from now on use what is in it"
	done
	put "$CERTS/stray.pem" server.pem
	put "$CERTS/stray.key" server.key
	put "$CERTS/other-ca.pem" clients.pem
	stop front USR1
	echo 2 >&7
	wait_for "[ \"\$(sort -u reads.out | xargs)\" = '1 2' ]"
	exec 7>&-
}

@test "a password in a file is read anew, by kread, kwrite, khttp and kcheck --watch; SIGHUP ends none of them" {
	local name
	own_kafka_start
	topic=$(new_topic)
	echo secret >password
	LOGIN+=(-b "$KAFKA_SASL" -X sasl.password=@password)
	mkfifo lines
	exec 7<>lines
	spawn reads kread "${LOGIN[@]}" --raw "$topic" </dev/null
	spawn writes kwrite "${LOGIN[@]}" --raw -t "$topic" <lines
	spawn http khttp "${LOGIN[@]}" --listen "unix:$T/web" --management "unix:$T/side" </dev/null
	spawn checks kcheck --watch "${LOGIN[@]}" </dev/null
	wait_for "curl -sf --unix-socket side http://localhost/ready"
	wait_file_contains checks.out 'verdict: good'
	echo one >&7
	wait_lines reads.out 1
	for name in reads writes http checks; do stop $name HUP; done
	"$ROOT/tests/kafka/stop" "$KAFKA_DIR"
	wait_file_contains checks.out 'connection refused'
	echo another >password
	"$ROOT/tests/kafka/start" "$KAFKA_DIR" "$(password another)" >&2
	run -100 kread -b "$KAFKA_SASL" "${LOGIN[@]:0:6}" -X sasl.password=secret -e "$topic"
	echo two >&7
	wait_lines reads.out 2
	wait_for "curl -sf --unix-socket side http://localhost/ready"
	wait_for "[ \$(grep -c 'verdict: good' checks.out) -eq 2 ]"
	exec 7>&-
	wait_exit writes
	[ "$status" -eq 0 ]
	for name in reads http; do
		stop $name
		wait_exit $name
		[ "$status" -eq 0 ]
	done
	# What stays wrong ends a program, with a file too.
	echo wrong >password
	run -100 kread "${LOGIN[@]}" -e "$topic"
}

# relay NAME: a way to kmock, on a port of its own that NAME.out has.
relay() {
	spawn "$1" python3 -uc 'import socket, sys, threading
def copy(a, b):
    try:
        while data := a.recv(65536):
            b.sendall(data)
    except OSError:
        pass
    for s in a, b:
        try:
            s.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
s = socket.create_server(("127.0.0.1", 0))
print(s.getsockname()[1])
while True:
    a, b = s.accept()[0], socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    for pair in (a, b), (b, a):
        threading.Thread(target=copy, args=pair, daemon=True).start()' "${KAFKA_BROKERS##*:}"
	wait_lines "$1.out" 1
}

@test "--resolve @FILE: a broker that has moved is found, as soon as the file says where; SIGHUP ends nothing" {
	local name
	kmock_start -t t:1
	relay first
	# A name that nobody else resolves; what kmock advertises, too.
	printf '# where the brokers are\n\n[::1]:9:127.0.0.1\nbroker.invalid:9092:127.0.0.1:%s\n  %s:127.0.0.1:%s\n' "$(<first.out)" "$KAFKA_BROKERS" "$(<first.out)" >where
	TO=(-v -b broker.invalid --resolve @where -X reconnect.backoff.max.ms=300)
	mkfifo lines
	exec 7<>lines
	spawn reads kread "${TO[@]}" --raw t </dev/null
	spawn writes kwrite "${TO[@]}" --raw -t t <lines
	echo 1 >&7
	wait_lines reads.out 1
	kill -KILL "$(pid_of first)"
	wait_exit first
	relay second
	for name in reads writes; do wait_file_contains $name.err 'cannot reach broker'; done
	echo 'broker.invalid:9092:nowhere' >new
	mv new where
	for name in reads writes; do
		stop $name HUP
		wait_file_contains $name.err "where, line 1: --resolve takes HOST:PORT:ADDR[:PORT], ADDR being an address, not 'broker.invalid:9092:nowhere'; going on with what was read before"
	done
	printf '%s:127.0.0.1:%s\n' broker.invalid:9092 "$(<second.out)" "$KAFKA_BROKERS" "$(<second.out)" >new
	mv new where
	echo 2 >&7
	wait_lines reads.out 2
	kcheck "${TO[@]:1}" >out
	for name in reads writes; do
		alive "$(pid_of $name)"
	done
	exec 7>&-
	wait_exit writes
	[ "$status" -eq 0 ]
	stop reads
	wait_exit reads
	[ "$status" -eq 0 ]
	[ "$(xargs <reads.out)" = '1 2' ]
	run -100 kread -b x --resolve @nowhere t
	[ "$output" = "kread: cannot open 'nowhere': No such file or directory" ]
	printf 'a:1:127.0.0.1\nb\n' >where
	run -100 kread -b x --resolve @where t
	[[ $output == "kread: where, line 2: --resolve takes "*"not 'b'" ]]
}
