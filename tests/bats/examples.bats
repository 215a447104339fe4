#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# The examples of the manual pages and of --help, run as they stand there: each file of
# examples/pipelines/ ends with 0 only if it saw the effect.

# bats file_tags=once
load helpers

setup() {
	harness_setup
	kmock_start -t orders:6 -t payments:1 -t logs:1 -t keyed:1 -t redis-writes:3 -t prices:1 -t audit-heads:1 -t again:1 -t requests:2 -t replies:2 -t copied:1 -t photos:3 -t copies:1
	redis_start
}

example() {
	run timeout 250 "$ROOT/examples/pipelines/$1.sh"
	[ -z "$output" ] || echo "$output"
	[ "$status" -eq 0 ]
}

@test "each file of examples/pipelines has its test here" {
	for file in "$ROOT"/examples/pipelines/*.sh; do
		name=${file##*/}
		grep -qx "	example ${name%.sh}" "$BATS_TEST_FILENAME" || { echo "$name has none"; false; }
	done
}

@test "example: a mock cluster" {
	example a-mock-cluster
}

# bats test_tags=newest
@test "example: a mock in a script" {
	example a-mock-in-a-script
}

@test "example: answer calls" {
	example answer-calls
}

@test "example: across ssh" {
	example across-ssh
}

@test "example: apply a log" {
	example apply-a-log
}

@test "example: call and reply" {
	example call-and-reply
}

@test "example: calls as records" {
	example calls-as-records
}

@test "example: audit log" {
	example audit-log
}

@test "example: calls by HTTP" {
	example calls-by-http
}

@test "example: channels to topics" {
	example channels-to-topics
}

@test "example: check a cluster" {
	example check-a-cluster
}

@test "example: Kafka by HTTP" {
	example kafka-by-http
}

@test "example: copy a topic" {
	example copy-a-topic
}

@test "example: mirror topics" {
	own_kafka_start
	NEW_BROKERS=$KAFKA_BROKERS
	export NEW_BROKERS
	kafka_start
	example mirror-topics
}

@test "example: half an hour" {
	# kmock cannot look for a time. The shared Kafka may have topics of these names, with more partitions.
	own_kafka_start
	for topic in orders payments; do
		"$ROOT/tests/kafka/topics" "$KAFKA_BROKERS" create "$topic" 1
	done
	example half-an-hour
}

@test "example: hop limit" {
	example hop-limit
}

@test "example: key of two fields" {
	example key-of-two-fields
}

@test "example: log to browsers" {
	example log-to-browsers
}

@test "example: log to channel" {
	example log-to-channel
}

@test "example: log to topic" {
	example log-to-topic
}

@test "example: loop guard" {
	example loop-guard
}

@test "example: next ten messages" {
	example next-ten-messages
}

@test "example: pair of bridges" {
	example pair-of-bridges
}

@test "example: once, by tenant" {
	example once-by-tenant
}

@test "example: payloads of a topic" {
	example payloads-of-a-topic
}

@test "example: payloads of any bytes" {
	example payloads-of-any-bytes
}

@test "example: script in the middle" {
	example script-in-the-middle
}

@test "example: since the last time" {
	example since-the-last-time
}

@test "example: three appliers" {
	example three-appliers
}

@test "example: topic of hashes" {
	example topic-of-hashes
}

@test "example: topic to channel" {
	example topic-to-channel
}

@test "example: topics to browsers" {
	example topics-to-browsers
}

@test "example: topics to channels" {
	example topics-to-channels
}

@test "example: large orders" {
	example large-orders
}

@test "example: without a header" {
	example without-a-header
}

@test "example: dead letters again" {
	example dead-letters-again
}

@test "example: jq in the middle" {
	example jq-in-the-middle
}

@test "example: records for people" {
	example records-for-people
}

@test "example: repeated records" {
	example repeated-records
}

@test "example: at its own pace" {
	# kmock cannot look for a time, and other tests put records of other times into the topic.
	own_kafka_start
	for topic in orders rehearsal; do
		"$ROOT/tests/kafka/topics" "$KAFKA_BROKERS" create "$topic" 1 ||
			kcat -q -L -b "$KAFKA_BROKERS" -t "$topic" | grep -q "with 1 partitions"
	done
	example at-its-own-pace
}

@test "example: a sink of one's own" {
	example a-sink-of-ones-own
}

@test "example: one unit" {
	example one-unit
}

@test "example: what flows" {
	example what-flows
}

@test "example: watched unit" {
	example watched-unit
}

@test "example: look into a unit" {
	example look-into-a-unit
}

@test "example: requests" {
	example requests
}

@test "example: stream to topic" {
	example stream-to-topic
}

@test "example: stream to topic, once" {
	example stream-to-topic-once
}

@test "example: topic to streams" {
	example topic-to-streams
}

@test "example: pair of streams" {
	example pair-of-streams
}
