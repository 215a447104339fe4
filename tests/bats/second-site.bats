#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# Two sites with a Kafka and a Redis each; MirrorMaker 2 copies the log of writes from site A to site B, and rapply applies it at
# both. The way between the sites is cut under load, and comes back.

# bats file_tags=once
load helpers

setup() {
	harness_setup
	"$ROOT/tests/kafka/mirror-maker" >jars 2>jars.err || skip "no MirrorMaker: $(tail -n 1 jars.err)"
	GATE=$(free_port)
	own_kafka_start "listeners=PLAINTEXT://127.0.0.1:@PLAIN@,SASL://127.0.0.1:@SASL@,CONTROLLER://127.0.0.1:@CONTROLLER@,FAR://127.0.0.1:@FAR@" \
		"advertised.listeners=PLAINTEXT://127.0.0.1:@PLAIN@,SASL://127.0.0.1:@SASL@,FAR://127.0.0.1:$GATE" \
		listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT,FAR:PLAINTEXT
	A=$KAFKA_BROKERS
	topic=$(new_topic 3)
	kafka_start
	B=$KAFKA_BROKERS
	redis_start a
	redis_start b
	cat >gate.cfg <<-EOG
		defaults
			mode tcp
			timeout connect 5s
			timeout client 1h
			timeout server 1h
		listen gate
			bind 127.0.0.1:$GATE
			server a 127.0.0.1:$(cut -d' ' -f4 "$KAFKA_DIR/ports")
	EOG
}

gate_open() {
	spawn gate haproxy -db -f gate.cfg </dev/null
	wait_for "(: </dev/tcp/127.0.0.1/$GATE)"
}

# at SITE: how many writes the site's Redis has.
at() {
	scli "$1" scard seen
}

# writes FROM TO: each is in the set, and each of seven keys has its last one.
writes() {
	seq "$1" "$2" | jq -c --argjson now $((EPOCHSECONDS * 1000)) '(. % 7 | "k\(.)") as $k |
		{key: $k, ts: ($now + .), payload: (["SADD", "seen", "\(.)"] | tojson)},
		{key: $k, ts: ($now + .), payload: (["SET", $k, "\(.)"] | tojson)}'
}

@test "a write at site A reaches Redis at site B through MirrorMaker and rapply; the way is cut and comes back: nothing is lost" {
	local k site
	gate_open
	spawn mirror "$ROOT/tests/kafka/mirror-maker" "$T/mm2" "127.0.0.1:$GATE" "$B" "$topic" </dev/null
	# shellcheck disable=SC2016 # jq's
	for site in a b; do
		[ $site = a ] && brokers=$A || brokers=$B
		wait_for "kcheck -b $brokers -t $topic"
		spawn apply-$site evpipe --restart -n site-$site kread -b "$brokers" -g applier "$topic" '|' rapply \
			-u "unix:$T/$site.sock" </dev/null
	done
	writes 1 1000 | kwrite -b "$A" -t "$topic"
	wait_for "[ \$(at b) -eq 1000 ]"
	# Cut under load, with records on their way.
	writes 1001 3000 | evreplay --speed 0.5 | kwrite -b "$A" -t "$topic" &
	local load=$!
	wait_for "[ \$(at b) -ge 1200 ]"
	stop gate KILL
	wait_exit gate
	wait "$load"
	writes 3001 3500 | kwrite -b "$A" -t "$topic"
	wait_for "[ \$(at a) -eq 3500 ]"
	[ "$(at b)" -le 3000 ]
	gate_open
	wait_for "[ \$(at b) -eq 3500 ]"
	for k in 0 1 2 3 4 5 6; do
		wait_for "[ \$(scli b get k$k) = \$(scli a get k$k) ]"
	done
	for site in a b; do
		stop apply-$site
		wait_exit apply-$site
		[ "$status" -eq 0 ]
	done
	stop mirror
	wait_exit mirror
}
