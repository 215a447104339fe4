#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# kwrite --dead-letter kafka:TOPIC on a real Kafka.

load helpers
load ack

setup_file() {
	kafka_start
}

setup() {
	harness_setup
	OUT=$(new_topic 1) DEAD=$(new_topic 1)
}

# bad N: a record that is refused; too_long N: one that is over --max-line 200.
bad() {
	printf '{"seq":"%s:%s","payload":5}\n' "$RUN" "$1"
}
too_long() {
	rec "$1" "$(printf '%0999d' "$1")"
}

@test "what is written to a topic is what is written to a file, without a key" {
	{ rec 1; bad 2; echo nonsense; printf 'no\xffutf8\n'; too_long 5; rec 6; } >records
	run -1 kwrite -t "$OUT" --max-line 200 --dead-letter file <records
	run -1 kwrite -t "$OUT" --max-line 200 --dead-letter "kafka:$DEAD" <records
	[[ $output == *"4 records were refused; they are in 'kafka:$DEAD'"* ]]
	kconsume "$DEAD" -f '%s\n' >topic
	diff <(jq -c 'del(.error.at)' file) <(jq -c 'del(.error.at)' topic)
	[ "$(wc -l <topic)" -eq 4 ]
	[ "$(kconsume "$DEAD" -Z -f '%k\n' | sort -u)" = NULL ]
	[ "$(kconsume "$OUT" -f '%s\n' | xargs)" = "p1 p6 p1 p6" ]
}

@test "a dead letter is reported once the broker has it, in its turn" {
	source_start
	source_does end 7
	{ rec 1; bad 2; rec 3; too_long 4; too_long 5; bad 6; rec 7; } >records
	run -1 kwrite -t "$OUT" --max-line 200 --dead-letter "kafka:$DEAD" <records
	wait_file_contains source.out 'kwrite: gone'
	told_so_far kwrite 'final 1' 'dead 2' 'final 3' 'dead 4' 'dead 5' 'dead 6' 'final 7' bye gone
	[ "$(kconsume "$DEAD" | wc -l)" -eq 4 ]
}

@test "nothing is reported of a dead letter that Kafka has not" {
	kmock_start -t out:1 -t dead:1
	source_start
	mkfifo in
	spawn it sh -c 'exec kwrite -t out --max-line 200 --dead-letter kafka:dead <in'
	exec 5>in
	bad 1 >&5
	wait_file_contains source.out "kwrite: dead $RUN 1"
	wait_for '[ "$(state kwrite)" = idle ]'
	freeze "$(pid_of kmock)"
	too_long 2 >&5
	wait_file_contains it.err "line 2"
	wait_for '[ "$(state kwrite)" = busy ]'
	[ "$(reports kwrite)" = "dead 1" ]
	kill -CONT "$(pid_of kmock)"
	wait_file_contains source.out "kwrite: dead $RUN 2"
	source_does end 2
	exec 5>&-
	wait_exit it
	[ "$status" -eq 1 ]
}

@test "a record that the broker refuses becomes a dead letter in a topic" {
	seq 1 9 | sed 's/.*/{"payload":"&","partition":0}/; 5s/n":0/n":7/' >records
	run -1 kwrite -t "$OUT" -p keep --dead-letter "kafka:$DEAD" <records
	[ "$(kconsume "$OUT" -f '%s\n' | xargs)" = "1 2 3 4 6 7 8 9" ]
	[ "$(kconsume "$DEAD" -f '%s\n' | jq -r '.record.payload')" = 5 ]
}

@test "a topic for dead letters that does not exist ends it with 100 before anything is read" {
	source_start
	none=$(unique none)
	rec 1 >records
	run -100 kwrite -t "$OUT" --dead-letter "kafka:$none" <records
	[[ $output == "kwrite: the topic for dead letters, '$none', does not exist: create it, or name another"* ]]
	wait_file_contains source.out 'kwrite: gone'
	[ "$(reports kwrite | xargs)" = "stop bye gone" ]
	[ -z "$(kconsume "$OUT")" ]
	run -100 kwrite -t "$OUT" --dead-letter "kafka:a/b" <records
	run -1 env -u EVPIPE_ACK kwrite -t "$OUT" --dead-letter "kafka:$none" --create < <(bad 1)
	[ "$(kconsume "$none" | wc -l)" -eq 1 ]
}

@test "a dead letter too long for its topic ends it with 100, unreported" {
	source_start
	small=$(new_topic 1 max.message.bytes=1000)
	{ rec 1; bad 2; printf '{"seq":"%s:3","payload":5,"x":"%02000d"}\n' "$RUN" 0; rec 4; } >records
	run -100 kwrite -t "$OUT" --dead-letter "kafka:$small" <records
	[[ $output == *"line 3: the dead letter is too long for topic '$small' (max.message.bytes is 1000): raise that, or keep dead letters in a FILE"* ]]
	wait_file_contains source.out 'kwrite: gone'
	[ "$(labels kwrite | grep -cE ' [34]$')" -eq 0 ]
	labels kwrite | grep -qx stop
}

@test "a topic that takes little gets many dead letters" {
	small=$(new_topic 1 max.message.bytes=2000)
	for i in {1..200}; do bad "$i"; done >records
	run -1 kwrite -q -t "$OUT" --dead-letter "kafka:$small" <records
	[ "$(kconsume "$small" | wc -l)" -eq 200 ]
}

@test "a login that is refused writes no dead letter and stops the source" {
	source_start
	bad 1 >records
	run -100 kwrite -b "$KAFKA_SASL" -X security.protocol=sasl_plaintext -X sasl.mechanisms=PLAIN \
		-X sasl.username=alice -X sasl.password=wrong -t "$OUT" --dead-letter "kafka:$DEAD" <records
	wait_file_contains source.out 'kwrite: gone'
	[ "$(reports kwrite | xargs)" = "stop bye gone" ]
	[ -z "$(kconsume "$DEAD")" ]
}

@test "other programs take kafka:TOPIC for what it is not, and say so" {
	for program in evkey rpub evsel; do
		run -100 "$program" --dead-letter kafka:x .x </dev/null
		[[ $output == *"only kwrite writes dead letters to a topic"* ]]
	done
}
