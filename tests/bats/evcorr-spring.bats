#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# The real Spring Kafka on either side of a call: its ReplyingKafkaTemplate calls a shell script, and evcorr calls its
# @KafkaListener.

load helpers

# bats file_tags=once
setup_file() {
	kafka_start
	redis_start
	SPRING=$("$ROOT/tests/spring/fetch" 2>"$BATS_FILE_TMPDIR/spring.log")
	export SPRING
}

setup() {
	harness_setup
	requests=$(new_topic 2)
	replies=$(new_topic 2)
}

# spring NAME ARG…: Peer.java in the background.
spring() {
	spawn "$1" java -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xmx128m \
		-Dorg.slf4j.simpleLogger.defaultLogLevel=warn -cp "$SPRING" Peer "$2" "$KAFKA_BROKERS" "${@:3}"
	wait_lines "$1.out" 1
}

service() {
	cat >upper <<-'EOT'
	#!/bin/bash
	while IFS= read -r x; do
		[[ $x != fail* ]] || echo 422 >&3
		echo "${x^^}"
	done
	EOT
	chmod +x upper
	spawn service evpipe kread -g "$(unique)" "${SHORT_SESSION[@]}" "$requests" '|' \
		evcorr serve --preset spring -P 2 -- ./upper '|' kwrite -p have
}

@test "a ReplyingKafkaTemplate calls a shell script: shared reply topic, and a partition of its own" {
	service
	mkfifo one two
	exec 7<>one 8<>two
	spring shared call "$requests" "$replies" shared 60000 50 <one
	spring assigned call "$requests" "$replies" 1 60000 50 <two
	for n in $(seq 100); do echo "a-$n" >&7; echo "b-$n" >&8; done
	echo fail-1 >&7
	wait_lines shared.out 102
	wait_lines assigned.out 101
	sed 1d shared.out | sort >got
	{ seq 100 | sed 's/.*/a-& -> 200 A-&/'; echo 'fail-1 -> 422 FAIL-1'; } | sort | diff - got
	sed 1d assigned.out | sort >got
	seq 100 | sed 's/.*/b-& -> 200 B-&/' | sort | diff - got
	# The replies of the second went to its partition alone; each has the id alone, as Spring's have, and our status.
	kconsume "$replies" -p 0 -f '%s\n' >zero
	run ! grep B- zero
	kread -q -e "$replies" | jq -r '.headers | [.[0], .[2]] | join(" ")' | sort -u >names
	[ "$(<names)" = "kafka_correlationId status" ]
}

@test "evcorr call and evcorr http call a @KafkaListener with @SendTo" {
	group=$(unique)
	spring service serve "$requests" "$group"
	spawn store evpipe kread -g "$(unique)" "$replies" '|' evcorr store --preset spring
	seq -f 'n-%.0f' 200 >in
	run -0 --separate-stderr evcorr call --preset spring --raw --reply-to "$replies" --timeout 60s -- kwrite -t "$requests" <in
	jq -r '"\(.status) \(.payload)"' <<<"$output" | sort >got
	seq -f '200 N-%.0f' 200 | sort | diff - got
	run -0 --separate-stderr evcorr call --preset spring --raw --ordered --reply-to "$replies/1" --timeout 60s -- kwrite -t "$requests" <in
	jq -r .payload <<<"$output" | diff - <(seq -f 'N-%.0f' 200)
	[ "$(jq -r .partition <<<"$output" | sort -u)" = 1 ]
	# One that throws answers nothing.
	echo throw >in
	run -99 --separate-stderr evcorr call --preset spring --raw --reply-to "$replies" --timeout 1s -- kwrite -t "$requests" <in
	[ "$(jq -r .status <<<"$output")" = 504 ]
	spawn http evcorr http --preset spring --listen "unix:$T/http.sock" --reply-to "$replies" --timeout 60s -- kwrite -t "$requests"
	wait_for '[ "$(curl -s --unix-socket http.sock http://front/readyz)" = ok ]'
	curl -sS -i --unix-socket http.sock -d 'by http' http://front/ >got
	[ "$(tail -n 1 got)" = "BY HTTP" ]
	# Spring's ids are 16 bytes.
	tr -d '\r' <got | grep -Eqi '^kafka_correlationId: hex:[0-9a-f]{32}$'
}
