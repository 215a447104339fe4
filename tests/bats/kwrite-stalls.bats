#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# Why records wait although brokers answer, and whom they hold up. With a real shortage of replicas, and a real
# partition without a leader: tests/faults, "replicas" and "leaderless".

load helpers
load ack
load txn

PRODUCE=0 INVALID_RECORD=87 NOT_ENOUGH_REPLICAS=19 NOT_ENOUGH_REPLICAS_AFTER_APPEND=20
END_TXN=26 COORDINATOR_LOAD_IN_PROGRESS=14

# mock_start TOPIC:PARTITIONS…: a mock cluster of two brokers, to which mock_does gives commands.
mock_start() {
	mkfifo "$T/mock-commands"
	exec 9<>"$T/mock-commands"
	spawn mock "$ROOT/tests/bats/mock-cluster" 2 "$@" <"$T/mock-commands"
	wait_lines mock.out 1
	KAFKA_BROKERS=$(head -n 1 mock.out)
	export KAFKA_BROKERS
}
mock_does() {
	local before
	before=$(grep -c '^did' mock.out || true)
	echo "$*" >&9
	wait_for "[ \$(grep -c '^did' mock.out) -gt $before ]"
}

record() {
	printf '{"seq":"%s:%s","topic":"%s","partition":%d,"payload":"%s"}\n' "$RUN" "$1" "$2" "$3" "p$1"
}

# bats test_tags=newest
@test "a shortage of in-sync replicas is told with topic and partition, once, and its end" {
	mock_start orders:2
	for code in "$NOT_ENOUGH_REPLICAS" "$NOT_ENOUGH_REPLICAS_AFTER_APPEND"; do
		mock_does refuse "$PRODUCE" "$code" 1000
		record 1 orders 1 >in
		spawn it kwrite -p keep --metrics m <in
		wait_file_contains it.err 'kwrite: warning: topic orders partition 1: fewer in-sync replicas than min.insync.replicas; waiting'
		# Nothing is away.
		grep -q '^evpipe_up.* 1$' m
		stop it
		wait_exit it
		[ "$status" -eq 111 ]
		[ "$(grep -vc 'ended by a signal: 1 record was not delivered; the first is line 1' it.err)" -eq 1 ]
		mock_does calm "$PRODUCE"
	done
	mock_does refuse "$PRODUCE" "$NOT_ENOUGH_REPLICAS" 25
	run -0 kwrite -p keep <in
	[ "$output" = "kwrite: warning: topic orders partition 1: fewer in-sync replicas than min.insync.replicas; waiting
kwrite: warning: topic orders partition 1: records are written again" ]
}

# bats test_tags=newest
@test "brokers that are frozen are told otherwise" {
	mock_start orders:1
	mkfifo in
	spawn it sh -c 'exec kwrite <in'
	exec 7>in
	record 1 orders 0 >&7
	wait_for '[ "$(kconsume orders | wc -l)" -eq 1 ]'
	freeze "$(pid_of mock)"
	record 2 orders 0 >&7
	wait_file_contains it.err 'kwrite: warning: the brokers do not answer; waiting for them'
	kill -CONT "$(pid_of mock)"
	exec 7>&-
	wait_exit it
	[ "$status" -eq 0 ]
	run -1 grep 'topic orders' it.err
}

# bats test_tags=newest
@test "a partition without a leader is told, and does not hold up the reports of others" {
	mock_start orders:2 payments:1
	source_start
	mkfifo in
	spawn it sh -c 'exec kwrite -p keep <in'
	exec 7>in
	{ record 1 orders 0; record 2 orders 1; record 3 payments 0; } >&7
	wait_for 'heard kwrite | grep -q "^final.*3$"'
	mock_does leader orders 0 -1
	for n in 4 6; do record $n orders 0; record $((n + 1)) orders 1; done >&7
	record 8 payments 0 >&7
	wait_file_contains it.err 'kwrite: warning: topic orders partition 0: no broker is its leader; waiting'
	wait_for '[ "$(heard kwrite | sed -n "s/^early $RUN //p" | xargs)" = "5 7-8" ]'
	heard kwrite >so-far
	run -1 grep 'final.*[4-8]$' so-far
	# Not twice.
	mock_does leader orders 0 1
	wait_for '[[ "$(heard kwrite | sed -n "s/^final $RUN //p" | xargs)" == *"4 6" ]]'
	wait_file_contains it.err 'kwrite: warning: topic orders partition 0: records are written again'
	source_does end 8
	exec 7>&-
	wait_exit it
	[ "$status" -eq 0 ]
	[ "$(heard_all kwrite | grep -c early)" -eq 1 ]
}

# bats test_tags=newest
@test "an answer that says nothing of the record refuses none: 100 for the setup, 111 for what is wrong in the broker" {
	mock_start orders:1
	{ record 1 orders 0; record 2 orders 0; } >in
	while read -r code want text; do
		mock_does refuse "$PRODUCE" "$code" 1000
		for how in '--dead-letter dead' '--on-error skip' '--on-error stop'; do
			# shellcheck disable=SC2086 # an option and its value
			run "-$want" kwrite $how <in
			[ "$output" = "kwrite: topic 'orders': $text; 2 records were not delivered; the first is line 1 (topic 'orders', partition 0)" ]
		done
		[ ! -s dead ]
		mock_does calm "$PRODUCE"
	done <<-'EOF'
		-1 111 Unknown broker error
		42 111 Invalid request
		35 100 API version not supported
		76 100 Unsupported compression type (give another -z)
	EOF
	[ "$(kconsume orders | wc -l)" -eq 0 ]
	run -0 kwrite <in
}

# early: the numbers that were reported early.
early() {
	heard kwrite | sed -n "s/^early $RUN //p" | tr ' ' '\n' |
		awk -F- '{ for (i = $1; i <= $NF; i++) print i }' | xargs
}

@test "nor does it hold up what is refused, by kwrite or by the broker" {
	mock_start orders:2
	source_start
	mock_does leader orders 0 -1
	mkfifo in
	spawn it sh -c 'exec kwrite -p keep --dead-letter dead <in'
	exec 7>in
	{ record 1 orders 0; record 2 orders 1; record 3 orders 1 | sed 's/"partition":1/"partition":-1/'; } >&7
	wait_for '[ "$(early)" = "2 3" ]'
	mock_does refuse "$PRODUCE" "$INVALID_RECORD" 1
	record 4 orders 1 >&7
	wait_for '[ "$(early)" = "2 3 4" ]'
	[ "$(jq -r '[.record.payload, .error.class] | join(" ")' dead | xargs)" = "p3 invalid-record p4 invalid-record" ]
	record 5 orders 1 >&7
	wait_for '[ "$(early)" = "2 3 4 5" ]'
	mock_does leader orders 0 1
	wait_for 'heard kwrite | grep -q "^final $RUN 1$"'
	source_does end 5
	exec 7>&-
	wait_exit it
	[ "$status" -eq 1 ]
	[ "$(heard_all kwrite | grep -Ec "^(dead|drop)")" -eq 0 ]
}

@test "with --on-error stop a record that is refused is not reported, and ends the input once all before it is written" {
	mock_start orders:2
	source_start
	mock_does leader orders 0 -1
	mkfifo in
	spawn it sh -c 'exec kwrite -p keep <in'
	exec 7>in
	{ record 1 orders 0; record 2 orders 1; } >&7
	wait_for '[ "$(early)" = 2 ]'
	record 3 orders 1 | sed 's/"partition":1/"partition":-1/' >&7
	wait_file_contains it.err "line 3: the record's partition is out of range"
	mock_does leader orders 0 1
	wait_exit it
	[ "$status" -eq 1 ]
	heard_all kwrite | sed "s/$RUN//" >all
	run -1 grep -E '^(early|final|drop|dead) .*3' all
}

@test "with --pass the order is kept though a partition has no leader" {
	mock_start orders:2
	mock_does leader orders 0 -1
	{ record 1 orders 0; record 2 orders 1; } >in
	spawn it kwrite -p keep --pass <in
	wait_file_contains it.err 'topic orders partition 0: no broker is its leader'
	[ ! -s it.out ]
	mock_does leader orders 0 1
	wait_exit it
	[ "$status" -eq 0 ]
	[ "$(jq -r .payload it.out | xargs)" = "p1 p2" ]
}

# bats test_tags=newest
@test "--retry-for counts from the last record that was written, in whichever partition" {
	mock_start orders:2
	mock_does leader orders 0 -1
	{ record 1 orders 0; record 2 orders 1; } >in
	run -99 kwrite -p keep --retry-for 2s <in
	[[ $output == *"gave up: the server has taken nothing for 2s; 1 record was not delivered; the first is line 1 (topic 'orders', partition 0)" ]]
}

# message.timeout.ms=0: librdkafka gives no record up, as when it has lost sight of one.
@test "a transaction whose records nobody answers ends with 111 once its time is over twice" {
	mock_start orders:1
	source_start
	mock_does leader orders 0 -1
	record 1 orders 0 >in
	run -111 timeout 60 kwrite -p keep --txn it -X message.timeout.ms=0 -X transaction.timeout.ms=1000 <in
	[[ $output == *"transaction 'it': twice its transaction.timeout.ms, 1000 ms, is over, and not all of its records are answered; the transaction is aborted, nothing of it was written; 1 record was not delivered; the first is line 1 (topic 'orders', partition 0)" ]]
}

# commit_stuck [RECORD]: at the end of input; no broker answers the commit, of RECORD or of positions alone.
commit_stuck() {
	# shellcheck disable=SC2034 # reply reads it
	GROUP=g
	mock_start orders:1
	source_start
	mock_does refuse "$END_TXN" "$COORDINATOR_LOAD_IN_PROGRESS" 100000
	txn_sink it -t orders -v -X debug=protocol
	[ $# -eq 0 ] || rec "$1" >&5
	wait_for "grep -qE '^kwrite: offsets $RUN ?${1:-}' source.out"
	source_does end "${1:-7}"
	exec 5>&-
	reply orders 0 "${1:-7}"
	wait_file_contains it.err EndTxn
	stop mock KILL
	wait_file_contains it.err 'kwrite: warning: cannot reach broker'
}

@test "a commit that no broker answers: the first signal after the end of input ends it, and says what is not known" {
	commit_stuck 1
	stop it
	wait_exit it
	[ "$status" -eq 111 ]
	[ "$(tail -n 1 it.err)" = "kwrite: ended by a signal: 1 record was not delivered; the first is line 1; whether the transaction is committed is not known" ]
}

@test "the same of positions without records" {
	commit_stuck
	stop it
	wait_exit it 30
	[ "$status" -eq 111 ]
	[ "$(tail -n 1 it.err)" = "kwrite: ended by a signal: whether the transaction is committed is not known" ]
}

# What comes behind the first record of a partition waits for its answer (a time to come may be refused).
@test "the first record of a partition without a leader holds up no other partition" {
	mock_start orders:2
	mock_does leader orders 0 -1
	mkfifo in
	spawn it sh -c 'exec kwrite -p keep <in'
	exec 7>in
	for n in 1 2 3; do record $n orders 0; done | sed 's/{/{"ts":9999999999999,/' >&7
	wait_file_contains it.err 'topic orders partition 0: no broker is its leader; waiting'
	record 4 orders 1 >&7
	wait_for '[ "$(kconsume orders -p 1 | xargs)" = p4 ]' 30
	mock_does leader orders 0 1
	exec 7>&-
	wait_exit it
	[ "$status" -eq 0 ]
	[ "$(kconsume orders -p 0 | xargs)" = "p1 p2 p3" ]
}

# keyed KEY NUMBER
keyed() {
	printf '{"key":"%s","payload":"%s.%s"}\n' "$1" "$1" "$2"
}

# bats test_tags=once
@test "nor does that of a key, nor records without a key" {
	mock_start plain:2 orders:2
	for n in 1 2 3 4 5 6; do keyed "k$n" 0; done | kwrite -t plain
	local here there key
	read -ra here < <(kconsume plain -p 0 | sed 's/\..*//' | xargs)
	read -ra there < <(kconsume plain -p 1 | sed 's/\..*//' | xargs)
	mock_does leader orders 0 -1
	mkfifo in
	spawn it sh -c 'exec kwrite -t orders <in'
	exec 7>in
	# The first comes while the number of partitions is not known. More than the batches of one turn hold.
	for n in $(seq 1 700); do for key in "${here[@]}"; do keyed "$key" "$n"; done; done >records
	for key in "${there[@]}"; do for n in 1 2; do keyed "$key" "$n"; done; done >>records
	spawn writer sh -c 'cat records >in'
	wait_for '[ "$(kconsume orders -p 1 | grep -c "[.]2$")" -eq ${#there[@]} ]' 30
	for n in 1 2 3; do printf '{"payload":"none.%d"}\n' "$n"; done >&7
	wait_for '[ "$(kconsume orders -p 1 | grep none | xargs)" = "none.1 none.2 none.3" ]' 30
	mock_does leader orders 0 1
	exec 7>&-
	wait_exit it
	[ "$status" -eq 0 ]
	kconsume orders -p 0 >p0
	kconsume orders -p 1 >p1
	for key in "${here[@]}"; do grep "^${key}[.]" p0 | diff - <(seq -f "$key.%.0f" 1 700); done
	for key in "${there[@]}"; do [ "$(grep "^${key}[.]" p1 | xargs)" = "$key.1 $key.2" ]; done
	[ "$(wc -l <p0)" -eq $((700 * ${#here[@]})) ]
}

@test "--map: a message of the map that no broker has confirmed is no part of the map" {
	mock_start t:2 m:1
	# The first record is answered last, and the map gets a message for each at once.
	for n in 1 2; do
		mock_does leader t $((n - 1)) $n
		mock_does late $n $((900 / n))
		echo "{\"topic\":\"s\",\"partition\":$((n - 1)),\"offset\":0,\"payload\":\"x\"}"
	done >in
	# Of these two the first one is not written.
	mock_does refuse "$PRODUCE" 0 2
	mock_does refuse "$PRODUCE" 7 1
	run -111 kwrite -t t -p keep --map m -X batch.num.messages=1 <in
	[[ $output == *"kwrite: topic m partition 0: no broker has confirmed records that librdkafka takes for written"* ]]
}
