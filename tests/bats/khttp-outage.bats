#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# khttp's instances while Kafka is away.

# Each test is a process of its own, and sets what bridge.bash sets.
# shellcheck disable=SC2030,SC2031,SC2154
load helpers
load bridge

setup_file() {
	own_kafka_start
}

# bats test_tags=once
@test "Kafka is away: polls end in time, commits and new instances are 503, and all goes on when it is back" {
	bridge_start
	bridge_start compat --compat on
	topic=$(new_topic 1) group=$(unique g)
	seq 1 3 | kproduce "$topic" -p 0
	instance "$group" c '"enable.auto.commit":false'
	subscribed "$C" "$topic"
	poll "$C" '?timeout=60000&max_records=2'
	says 200 'map(.value) == [1, 2]'
	instance "$group-x" leaving '"enable.auto.commit":true'
	left=$C
	subscribed "$left" "$topic"
	poll "$left" '?timeout=60000'
	is 200
	C=/consumers/$group/instances/c
	"$ROOT/tests/kafka/stop" -9 "$KAFKA_DIR"
	wait_for "! curl -sf $BRIDGE/ready"
	poll "$C" '?timeout=60000'
	says 200 'map(.value) == [3]'
	poll "$C" '?timeout=300'
	is 200 '[]'
	post "$C/offsets" ''
	is 503
	post /consumers/g '{"name":"new"}'
	is 503
	[[ $headers == *'Retry-After: 1'* ]]
	req POST "$(bridge_url compat)/consumers/g" -H "$V2" -d '{"name":"new"}'
	is 200
	req POST "$(bridge_url compat)/topics/$topic" -H 'Content-Type: application/vnd.kafka.json.v2+json' -d '{"records":[{"value":"4"}]}'
	is 503
	[[ $headers == *'Retry-After: 1'* ]]
	req DELETE "$left"
	is 204
	spawn waiting curl -s -m 120 "$BRIDGE$C/records?timeout=110000" </dev/null
	"$ROOT/tests/kafka/start" "$KAFKA_DIR" 3>&- >/dev/null
	wait_for "curl -sf $BRIDGE/ready"
	printf '4\n' | kproduce "$topic" -p 0
	wait_exit waiting
	# A member that was away for long begins again at what was committed.
	jq -e 'length > 0 and .[-1].value == 4' waiting.out
	wait_for "[ \$(curl -s -o /dev/null -w '%{http_code}' -X POST $BRIDGE$C/offsets) = 204 ]"
	req DELETE "$C"
	is 204
	stop bridge
	wait_exit bridge
	[ "$status" -eq 0 ]
}

@test "SIGTERM while Kafka is away ends the bridge in time, with polls answered" {
	bridge_start
	instance "$(unique g)" c
	post "$C/assignments" '{"partitions":[{"topic":"t","partition":0}]}'
	"$ROOT/tests/kafka/stop" -9 "$KAFKA_DIR"
	spawn waiting curl -s -m 120 -w ' %{http_code}' "$BRIDGE$C/records?timeout=110000" </dev/null
	wait_for "curl -s $BRIDGE/metrics | grep -q '^evpipe_http_waiting.* 1$'"
	stop bridge
	wait_exit waiting
	[ "$(<waiting.out)" = '[] 200' ]
	wait_exit bridge
	"$ROOT/tests/kafka/start" "$KAFKA_DIR" 3>&- >/dev/null
}
