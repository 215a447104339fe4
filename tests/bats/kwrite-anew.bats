#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# kwrite and a topic that is deleted and made anew while it writes there.

load helpers
load ack
load txn

setup_file() {
	kafka_start
}

setup() {
	harness_setup
	TOPIC=anew-$BATS_TEST_NUMBER-$$
	mkfifo in
}

topics() {
	"$ROOT/tests/kafka/topics" "$KAFKA_BROKERS" "$@"
}

# keyed TEXT FROM TO: a record for each number, with keys that are in all partitions.
keyed() {
	seq "$2" "$3" | sed "s/.*/{\"key\":\"k&\",\"payload\":\"$1&\"}/"
}

# begin PARTITIONS [CONFIG…]: kwrite has written to the topic.
begin() {
	topics create "$TOPIC" "$@"
	spawn it sh -c 'exec kwrite -t "$0" --on-error skip --metrics m <in' "$TOPIC"
	exec 7>in
	keyed a 1 20 >&7
	wait_for '[ "$(kconsume "$TOPIC" | wc -l)" -eq 20 ]'
}

# ends COUNT: all that was sent to the new topic is there, and nothing was refused.
ends() {
	exec 7>&-
	wait_exit it
	cat it.err
	[ "$status" -eq 0 ]
	[ "$(kconsume "$TOPIC" | grep -c '^b')" -eq "$1" ]
}

# bats test_tags=newest
@test "with fewer partitions" {
	begin 4
	topics delete "$TOPIC"
	topics create "$TOPIC" 2
	keyed b 1 200 >&7
	wait_for '[ "$(kconsume "$TOPIC" | wc -l)" -eq 200 ]'
	ends 200
	grep -q "topic '$TOPIC': .*: it is asked about again, and its records are sent anew" it.err
}

# bats test_tags=newest
@test "with more partitions" {
	begin 2
	topics delete "$TOPIC"
	topics create "$TOPIC" 4
	keyed b 1 200 >&7
	ends 200
}

# bats test_tags=newest
@test "seconds later: its records wait for it" {
	begin 2
	topics delete "$TOPIC"
	keyed b 1 200 >&7
	wait_file_contains it.err "topic '$TOPIC' is gone; waiting some seconds whether it is made anew"
	topics create "$TOPIC" 2
	ends 200
}

@test "under --txn: the transaction is taken back with 111, and all that was not committed is written to the new topic" {
	local in
	in=$(new_topic)
	seq 10 | kproduce "$in"
	topics create "$TOPIC" 1
	spawn it evpipe --restart kread -g "$in" "${SHORT_SESSION[@]}" "$in" '|' kwrite --txn "$in" -t "$TOPIC" </dev/null
	wait_for '[[ $(position_and_metadata "$in" "$in") == "10 "* ]]'
	topics delete "$TOPIC"
	seq 11 500 | kproduce "$in"
	wait_file_contains it.err "topic '$TOPIC' is gone; waiting some seconds whether it is made anew"
	topics create "$TOPIC" 1
	wait_for '[[ $(position_and_metadata "$in" "$in") == "500 "* ]]'
	stop it
	wait_exit it
	cat it.err
	[ "$status" -eq 0 ]
	kconsume "$TOPIC" -X isolation.level=read_committed | diff - <(seq 11 500)
	grep -q "topic '$TOPIC' was deleted, or made anew, meanwhile: .*; the transaction is aborted, nothing of it was written" it.err
}

@test "a topic that is made anew between two records of a transaction: it is taken back" {
	# shellcheck disable=SC2034 # of txn.bash
	GROUP=$(unique g) out=$(new_topic)
	source_start
	txn_sink it -t "$out"
	rec 1 >&5
	wait_for '[ "$(kconsume "$out" -X isolation.level=read_uncommitted)" = p1 ]'
	asked 1
	topics delete "$out"
	topics create "$out" 1
	rec 2 >&5
	wait_exit it
	cat it.err
	[ "$status" -eq 111 ]
	# As Kafka has made it by then, or not.
	grep -Eq "topic '$out' was deleted( and|, or) made anew, .*the transaction is aborted, nothing of it was written" it.err
	run -1 grep -E '^kwrite: (final|dead|drop)' source.out
}

@test "which takes larger records" {
	begin 1 max.message.bytes=2000
	topics delete "$TOPIC"
	topics create "$TOPIC" 1 max.message.bytes=100000
	printf '{"payload":"b%05000d"}\n' 1 2 >&7
	ends 2
}

@test "which takes smaller records: those that are too large are refused, and no others" {
	begin 1 max.message.bytes=100000
	topics delete "$TOPIC"
	topics create "$TOPIC" 1 max.message.bytes=2000
	{ keyed b 1 9; printf '{"payload":"b%05000d"}\n' 1; keyed b 10 19; } >&7
	exec 7>&-
	wait_exit it
	[ "$status" -eq 1 ]
	[ "$(kconsume "$TOPIC" | grep -c '^b')" -eq 19 ]
	grep -q 'too-large' it.err
}

# It takes as long as a topic that is gone is waited for.
@test "what is not made anew refuses its records, which are missing nowhere" {
	begin 1
	topics delete "$TOPIC"
	keyed b 1 3 >&7
	exec 7>&-
	wait_exit it
	[ "$status" -eq 1 ]
	grep -q '3 records were refused and skipped' it.err
	grep -q 'unknown-topic' it.err
}

@test "a broker that has not heard of the topic yet is doubted, and another one is asked" {
	topics create "$TOPIC" 1
	spawn laggard "$ROOT/tests/bats/laggard" "$KAFKA_BROKERS"
	wait_lines laggard.out 1
	echo '{"payload":"x"}' | kwrite -b "$(head -n 1 laggard.out)" -t "$TOPIC" -q
	[ "$(kconsume "$TOPIC")" = x ]
	grep -qx "asked $TOPIC" laggard.out
}
