#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# Passwords that change while the programs run: the broker takes another one, and the file has it.

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

@test "certificates that change: librdkafka keeps the old ones, which is said once; SIGHUP ends nothing" {
	local name
	make_certs
	cp "$CERTS/client.pem" mine.pem
	cp "$CERTS/client.key" mine.key
	TLS=(-b 127.0.0.1:1 -X security.protocol=SSL -X ssl.certificate.location=mine.pem -X ssl.key.location=mine.key)
	mkfifo lines
	exec 7<>lines
	spawn reads kread "${TLS[@]}" t </dev/null
	spawn writes kwrite "${TLS[@]}" --raw -t t <lines
	spawn http khttp "${TLS[@]}" --listen "unix:$T/web" --management none </dev/null
	for name in reads writes http; do wait_file_contains $name.err 'cannot reach broker'; done
	cp "$CERTS/address.pem" new.pem
	mv new.pem mine.pem
	for name in reads writes http; do
		stop $name HUP
		wait_file_contains $name.err "warning: 'mine.pem' has changed, but librdkafka keeps what it has read: start the program anew before the old one expires"
		stop $name HUP
	done
	cp "$CERTS/address.key" mine.key
	for name in reads writes http; do
		wait_file_contains $name.err "warning: 'mine.key' has changed"
		[ "$(grep -c 'mine.pem. has changed' $name.err)" -eq 1 ]
		alive "$(pid_of $name)"
	done
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
