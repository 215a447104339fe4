#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# The harness itself: what the other files rely on.

# bats file_tags=once
load helpers

# bats test_tags=smoke
@test "the real Kafka answers, and a message comes back" {
	kafka_start
	topic=$(new_topic 3)
	seq 100 | kproduce "$topic"
	[ "$(kconsume "$topic" | sort -n | md5sum)" = "$(seq 100 | md5sum)" ]
}

@test "the real Kafka refuses a topic nobody made, and a wrong password" {
	kafka_start
	run -1 kcat -q -b "$KAFKA_BROKERS" -C -e -t "$(unique)"
	run -1 kcat -L -m 5 -b "$KAFKA_SASL" -X security.protocol=sasl_plaintext \
		-X sasl.mechanism=PLAIN -X sasl.username=alice -X sasl.password=wrong
	[[ $output == *"invalid credentials"* || $output == *"Invalid username or password"* ]]
	kcat -L -b "$KAFKA_SASL" -X security.protocol=sasl_plaintext \
		-X sasl.mechanism=PLAIN -X sasl.username=alice -X sasl.password=secret >meta
	grep -q '1 brokers' meta
}

@test "kmock prints its address first, and ends on SIGTERM" {
	kmock_start -t orders:3
	echo hello | kproduce orders
	[ "$(kconsume orders)" = hello ]
	stop kmock
	wait_exit kmock
	[ "$status" -eq 0 ]
}

@test "redis-server answers on its port and its socket, and comes back on both" {
	redis_start
	[ "$(rcli ping)" = PONG ]
	port=$REDIS_PORT
	redis_stop
	run ! redis-cli -p "$port" ping
	redis_start
	[ "$REDIS_PORT" = "$port" ]
	[ "$(redis-cli -p "$port" ping)" = PONG ]
}

@test "two redis-servers with options stand side by side" {
	redis_start
	redis_start other --requirepass geheim
	[ "$(rcli ping)" = PONG ]
	[[ $(redis-cli -s "$T/other.sock" ping 2>&1) == *NOAUTH* ]]
}

@test "wait_for gives up on what never holds" {
	run ! wait_for false 1
	[[ $output == "wait_for: not within 1 s: false" ]]
	wait_for true
}

@test "wait_exit gives the status, of a signal too" {
	spawn three sh -c 'exit 3'
	wait_exit three
	[ "$status" -eq 3 ]
	spawn cat tail -f /dev/null
	stop cat INT
	wait_exit cat
	[ "$status" -eq 130 ]
}

@test "spawn reads its standard input" {
	echo text | spawn copy cat
	wait_lines copy.out 1
	[ "$(cat copy.out)" = text ]
}

@test "what a test leaves running is ended with all its children" {
	spawn tree sh -c 'tail -f /dev/null & echo $!; wait'
	wait_lines tree.out 1
	child=$(cat tree.out)
	alive "$child"
	harness_end "$T"
	wait_for "! alive $child"
}
