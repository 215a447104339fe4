#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# khttp's instances in a group with members that are not ours.

# shellcheck disable=SC2154
load helpers
load khttp

setup_file() {
	kafka_start
}

# member GROUP TOPIC: joins alone, has all partitions, and then only lives: it never joins again when the group wants it to.
# Its own rebalance timeout is a second.
member() {
	PYTHONPATH=$ROOT/tests/faults spawn member python3 -u - "$KAFKA_BROKERS" "$1" "$2" <<-'EOP'
	import struct, sys, time
	from wire import Kafka, array, string
	brokers, group, topic = sys.argv[1:]
	kafka = Kafka(brokers)
	kafka.coordinator(group)
	broker = kafka.brokers[0]
	def data(what):
	    return struct.pack(">i", len(what)) + what
	subscription = struct.pack(">h", 0) + array([string(topic)]) + struct.pack(">i", -1)
	error = 1
	while error:
	    r = broker.call(11, 2, string(group) + struct.pack(">ii", 300000, 1000) + string("") + string("consumer")
	                    + array([string("range") + data(subscription)]))
	    r.get("i")
	    error = r.get("h")
	generation, _, _, me = r.get("i"), r.string(), r.string(), r.string()
	assignment = struct.pack(">h", 0) + array([string(topic) + array([struct.pack(">i", 0)])]) + struct.pack(">i", -1)
	r = broker.call(14, 0, string(group) + struct.pack(">i", generation) + string(me) + array([string(me) + data(assignment)]))
	assert r.get("h") == 0
	while True:
	    print("heartbeat", broker.call(12, 0, string(group) + struct.pack(">i", generation) + string(me)).get("h"))
	    time.sleep(0.3)
	EOP
	wait_file_contains member.out 'heartbeat 0'
}

# bats test_tags=once
@test "a member that does not join again is not waited for longer than half a minute" {
	local group
	topic=$(new_topic) group=$(unique)
	kproduce "$topic" <<<1
	member "$group" "$topic"
	khttp_start http -X session.timeout.ms=6000
	post v2 '{"name":"c","format":"binary","auto.offset.reset":"earliest"}' "/consumers/$group" >/dev/null
	is 200
	post v2 "{\"topics\":[\"$topic\"]}" "/consumers/$group/instances/c/subscription" >/dev/null
	is 204
	wait_file_contains member.out 'heartbeat 27'
	gets() {
		http -H 'Accept: application/vnd.kafka.binary.v2+json' "/consumers/$group/instances/c/records?timeout=1000" >/dev/null
		[ "$code" = 200 ] && [ "$(<body)" != '[]' ]
	}
	wait_for gets
}

@test "a session that is longer than half a minute is taken" {
	khttp_start http -X session.timeout.ms=45000
	post v2 '{"name":"c"}' "/consumers/$(unique)" >/dev/null
	is 200
}
