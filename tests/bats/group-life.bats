#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# A consumer group while it works: units come and go, topics and partitions appear, a topic is deleted and made anew.

# bats file_tags=once
load helpers

setup_file() {
	kafka_start
}

setup() {
	harness_setup
	group=$(unique g)
	out=$(new_topic 1)
	export group out
}

# unit NAME TOPIC OPTION…: copies to $out, acknowledged.
unit() {
	spawn "$1" evpipe -n "$group-$1" kread -q -g "$group" --window 200 -X topic.metadata.refresh.interval.ms=500 \
		"${@:3}" "$2" '|' kwrite -q -t "$out" </dev/null
}

# ends NAME…: the units are stopped, and end well.
ends() {
	local name
	for name in "$@"; do stop "$name"; done
	for name in "$@"; do
		wait_exit "$name"
		cat "$name.err"
		[ "$status" -eq 0 ]
	done
}

copied() {
	kread -q -e --raw "$out" | sort -u | wc -l
}

# members N: the group has so many, and each has a partition.
members() {
	kcheck --json -g "$group" | jq -e --argjson n "$1" 'select(.group) | .state == "Stable" and (.members | length) == $n and
		all(.members[]; (.partitions | length) > 0)'
}

@test "three units of a group under load, from one to three to one: nothing is lost, the order of a key is kept" {
	local n=6000
	topic=$(new_topic 6)
	unit a "$topic"
	seq $n | jq -c --argjson now $((EPOCHSECONDS * 1000)) '{ts: ($now + .), key: "k\(. % 30)", payload: "k\(. % 30) \(.)"}' >records
	# shellcheck disable=SC2016 # the inner shell's
	spawn load sh -c 'evreplay <records | kwrite -q --now -t "$1"' sh "$topic" </dev/null
	wait_for '[ "$(copied)" -ge 500 ]'
	unit b "$topic"
	unit c "$topic"
	wait_for 'members 3'
	wait_for '[ "$(copied)" -ge 3000 ]'
	ends a b
	wait_for 'members 1'
	wait_exit load
	[ "$status" -eq 0 ]
	wait_for "[ \"\$(copied)\" -eq $n ]"
	ends c
	kread -q -e --raw "$out" >all
	# What a unit had not seen acknowledged when its partitions went: its window at most.
	[ "$(wc -l <all)" -le $((n + 5 * 200)) ]
	awk '!seen[$2]++' all | awk '$2 <= last[$1] + 0 { exit 1 } { last[$1] = $2 }'
}

# put TOPIC PARTITION TEXT…: records.
put() {
	local text
	for text in "${@:3}"; do
		jq -nc --arg t "$1" --argjson p "$2" --arg v "$text" '{topic: $t, partition: $p, payload: $v}'
	done | kwrite -q -p keep
}

has() {
	kread -q -e --raw "$out" | grep -qxF "$1"
}

@test "a regular expression: a new topic and new partitions are read from their beginning, and a topic that is made anew" {
	local p
	p=$(unique orders)
	"$ROOT/tests/kafka/topics" "$KAFKA_BROKERS" create "$p.a" 1
	unit a "^$p\\..*" --follow-new
	put "$p.a" 0 a0
	wait_for 'has a0'
	# What is there before it is seen is read, too.
	"$ROOT/tests/kafka/topics" "$KAFKA_BROKERS" create "$p.b" 2
	put "$p.b" 0 b0
	put "$p.b" 1 b1 b2 b3
	wait_for 'has b0 && has b3'
	"$ROOT/tests/kafka/topics" "$KAFKA_BROKERS" grow "$p.a" 3
	put "$p.a" 2 a1 a2
	wait_for 'has a2'
	"$ROOT/tests/kafka/topics" "$KAFKA_BROKERS" delete "$p.b"
	put "$p.a" 0 a3
	"$ROOT/tests/kafka/topics" "$KAFKA_BROKERS" create "$p.b" 2
	put "$p.b" 0 c0 c1
	put "$p.b" 1 c2
	put "$p.a" 1 a4
	wait_for 'has a3 && has a4 && has c1 && has c2'
	ends a
	[ "$(kread -q -e --raw "$out" | sort -u | xargs)" = 'a0 a1 a2 a3 a4 b0 b1 b2 b3 c0 c1 c2' ]
	[ "$(kread -q -e --raw "$out" | awk '!seen[$0]++' | grep -E '^(b[1-3]|c[01])$' | xargs)" = 'b1 b2 b3 c0 c1' ]
}

@test "a topic that is gone for a while and comes back is read from its beginning, which is told and counted" {
	topic=$(new_topic 1)
	put "$topic" 0 a0 a1
	spawn a evpipe -n "$group" kread -g "$group" --metrics "$PWD/metrics" -X topic.metadata.refresh.interval.ms=500 "$topic" '|' \
		kwrite -q -t "$out" </dev/null
	wait_for 'has a1'
	"$ROOT/tests/kafka/topics" "$KAFKA_BROKERS" delete "$topic"
	wait_file_contains a.err "kread: warning: topic '$topic' does not exist; waiting for it"
	"$ROOT/tests/kafka/topics" "$KAFKA_BROKERS" create "$topic" 1
	put "$topic" 0 b0
	wait_for 'has b0'
	ends a
	# Kafka may have kept the position for a while.
	[ "$(grep -cE "partition 0: (deleted and made anew after position 2; reading begins at the beginning|its log is not the one that was read up to 2: .*; reading goes back to its beginning)" a.err)" -eq 1 ]
	grep '^evpipe_gaps_total{.*} 1$' metrics
}
