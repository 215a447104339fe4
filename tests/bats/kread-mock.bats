#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# kread before brokers that answer as real ones seldom do: librdkafka's mock cluster.

load helpers

# The leader of the group has not yet said who gets what: a real broker takes no position then.
# bats test_tags=once
@test "a member that leaves in the last phase of a rebalance waits for it, and repeats nothing" {
	mkfifo mock-commands
	exec 9<>mock-commands
	spawn mock "$ROOT/tests/bats/mock-cluster" 1 t:1 <mock-commands
	wait_lines mock.out 1
	local -x KAFKA_BROKERS
	KAFKA_BROKERS=$(head -n 1 mock.out)
	seq 100 | kproduce t
	# More than a second's own commits could take.
	echo refuse 8 27 6 >&9
	wait_lines mock.out 2
	spawn it kread -q --raw -g it --commit written t
	wait_lines it.out 100
	stop it
	wait_exit it
	[ "$status" -eq 0 ]
	[ ! -s it.err ]
	echo calm 8 >&9
	wait_lines mock.out 3
	seq 101 102 | kproduce t
	run --separate-stderr kread -q --raw -g it --commit written -c 2 t
	[ "$status" -eq 0 ]
	[ "$output" = 101$'\n'102 ]
}
