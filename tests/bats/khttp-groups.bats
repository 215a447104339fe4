#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# khttp's instances in a group with members that are not ours.

# shellcheck disable=SC2154
load helpers
load khttp

setup_file() {
	kafka_start
}

# bats test_tags=once
@test "a member that does not join again is not waited for longer than half a minute" {
	local group
	topic=$(new_topic) group=$(unique)
	kproduce "$topic" <<<1
	# Its own rebalance timeout is a second.
	spawn member "$ROOT/tests/bats/silent-member" "$KAFKA_BROKERS" "$group" "$topic" 1000
	wait_file_contains member.out 'heartbeat 0'
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
