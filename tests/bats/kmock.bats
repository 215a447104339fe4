#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# kmock: an in-memory Kafka.

load helpers

# bats test_tags=newest
@test "kmock prints its address as its first and only line" {
	kmock_start
	[ "$(wc -l <kmock.out)" -eq 1 ]
	[[ $KAFKA_BROKERS =~ ^127\.0\.0\.1:[0-9]+$ ]]
	kcat -q -L -b "$KAFKA_BROKERS" >meta
	grep -q '1 brokers' meta
}

# bats test_tags=newest
@test "kmock has the topics and partitions it was told of" {
	kmock_start -t orders:3 -t payments:1
	kcat -q -L -b "$KAFKA_BROKERS" >meta
	grep -q '"orders" with 3 partitions' meta
	grep -q '"payments" with 1 partitions' meta
	grep -q ' 2 topics' meta
}

# bats test_tags=newest
@test "kmock has as many brokers as asked for" {
	kmock_start -n 3 -t orders:1
	[ "$(tr ',' '\n' <<<"$KAFKA_BROKERS" | sort -u | wc -l)" -eq 3 ]
	kcat -q -L -b "${KAFKA_BROKERS##*,}" >meta
	grep -q '3 brokers' meta
}

# bats test_tags=newest
@test "kcat writes to kmock and reads from it" {
	kmock_start -t orders:1
	seq 100 | kproduce orders
	[ "$(kconsume orders | md5sum)" = "$(seq 100 | md5sum)" ]
}

# bats test_tags=newest
@test "kwrite writes to kmock and kread reads from it" {
	kmock_start -t orders:2
	seq 100 | sed 's/.*/{"key":"&","payload":"&"}/' | kwrite -t orders
	[ "$(kread -e --raw orders | sort -n | md5sum)" = "$(seq 100 | md5sum)" ]
}

# bats test_tags=newest
@test "kread reads from kmock in a group and goes on where it stopped" {
	kmock_start -t orders:1
	seq 10 | kwrite --raw -t orders
	# The mock of librdkafka has a group wait for who has left almost as long as its session lasts.
	set -- --raw -g g --commit written -X session.timeout.ms=6000 orders
	[ "$(kread -c 6 "$@" | xargs)" = "1 2 3 4 5 6" ]
	[ "$(kread -c 4 "$@" | xargs)" = "7 8 9 10" ]
}

# bats test_tags=newest
@test "SIGTERM and SIGINT end kmock with 0" {
	for signal in TERM INT; do
		kmock_start
		stop kmock $signal
		wait_exit kmock
		[ "$status" -eq 0 ]
		[ ! -s kmock.err ]
	done
}

@test "no thread of kmock but the first takes a stop signal" {
	kmock_start
	pid=$(pid_of kmock)
	for task in "/proc/$pid/task"/*; do
		[ "${task##*/}" = "$pid" ] && continue
		blocked=$(sed -n 's/^SigBlk:\t//p' "$task/status")
		[ $((0x$blocked & 0x4003)) -eq $((0x4003)) ]
	done
}

# bats test_tags=newest
@test "kmock --ready-fd tells that it can be used" {
	spawn kmock sh -c 'exec 5>ready; exec kmock --ready-fd 5 -t a:1' </dev/null
	wait_lines ready 1
	kcat -q -L -b "$(cat kmock.out)" -t a >meta
	grep -q 'with 1 partitions' meta
}

# bats test_tags=newest
@test "kmock refuses topics it cannot make" {
	for topic in a a: :3 a:0 a:x a:10001; do
		run -100 kmock -t "$topic"
		[[ $output == "kmock: -t takes TOPIC:PARTITIONS"*"'$topic'"* ]]
	done
	run -100 kmock -t a:1 -t a:2
	[[ $output == *"names the topic 'a' twice"* ]]
	run -100 kmock -n 0
}

# bats test_tags=newest
@test "kmock on a full disk ends with 111" {
	run -111 sh -c 'kmock >/dev/full'
	[ "$output" = "kmock: cannot write standard output: No space left on device" ]
}

@test "too few descriptors are temporary trouble, with the remedy" {
	for n in 8 12; do
		run -111 bash -c "ulimit -n $n; exec kmock -n 3"
		[[ $output == *"Too many open files; raise the limit (ulimit -n)" ]]
	done
}
