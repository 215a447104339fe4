#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# kread before brokers that answer as real ones seldom do: librdkafka's mock cluster.

load helpers

# mock_start TOPIC:PARTITIONS…: one broker; descriptor 9 takes commands to it.
mock_start() {
	mkfifo mock-commands
	exec 9<>mock-commands
	spawn mock "$ROOT/tests/bats/mock-cluster" 1 "$@" <mock-commands
	wait_lines mock.out 1
	read -r KAFKA_BROKERS <mock.out
	export KAFKA_BROKERS
}

# The leader of the group has not yet said who gets what: a real broker takes no position then.
# bats test_tags=once
@test "a member that leaves in the last phase of a rebalance waits for it, and repeats nothing" {
	mock_start t:1
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

# Each answer with metadata wants a proof that the log is the same.
# bats test_tags=newest,once
@test "records come though metadata come faster than the answers to fetches" {
	mock_start t:1
	echo 1 | kproduce t
	spawn it kread --raw -X topic.metadata.refresh.interval.ms=50 t </dev/null
	wait_lines it.out 1
	echo late 1 500 >&9
	wait_lines mock.out 2
	seq 2 3 | kproduce t
	wait_lines it.out 3
	[ "$(xargs <it.out)" = "1 2 3" ]
}

# The group changes before librdkafka was told of an assignment: then it takes nothing away, and gives all anew.
# bats test_tags=newest,once
@test "a partition that is assigned twice is read on, though it has no position yet" {
	mkfifo out
	exec 8<>out
	mock_start t-1:1
	spawn it sh -c 'exec kread -v --raw -X debug=cgrp -X topic.metadata.refresh.interval.ms=200 \
		-g it --commit written -X auto.offset.reset=latest "^t-" >out'
	wait_file_contains it.err '1 partition was assigned'
	# The question for positions has no answer.
	echo refuse 9 14 100000 >&9
	echo topic t-2 1 >&9
	wait_file_contains it.err 'delegating assign of 2 partition'
	seq -f 't-2.%.0f' 3000 | sed "s/$/.$(printf %01000d 0)/" | kproduce t-2
	# The answer comes after the rejoin, and before that has ended. Nobody reads what kread writes.
	echo refuse 11 14 100000 >&9
	echo topic t-3 1 >&9
	wait_file_contains it.err '(re)joining in join-state wait-assign-call'
	echo calm 9 >&9
	wait_file_contains it.err '2 partitions were assigned'
	echo calm 11 >&9
	wait_file_contains it.err '3 partitions were assigned'
	spawn reader stdbuf -oL cut -d. -f1-2 out
	# If it was taken away after all, what was not committed comes again.
	wait_for '[ "$(sort -u reader.out | wc -l)" -eq 3000 ]'
	for n in 1 3; do echo "t-$n.1." | kproduce "t-$n"; done
	wait_for '[ "$(sort -u reader.out | wc -l)" -eq 3002 ]'
	stop it
	wait_exit it
	[ "$status" -eq 0 ]
}

# bats test_tags=newest
@test "a fetch that is refused: the topic is named, once while it is tried again, and 100 where that is of no use" {
	mock_start t:1
	seq 3 | kproduce t
	while read -r code text; do
		echo "refuse 1 $code 10000" >&9
		wait_for "grep -q '^did refuse 1 $code ' mock.out"
		run -100 kread --raw -e t
		[ "${output%; kafka-acls.sh --add --allow-principal User:NAME --operation Read --topic t}" = "kread: topic 't': $text" ]
		run -100 kread --raw -e -g it --commit written t
		[ "${output%; kafka-acls.sh --add --allow-principal User:NAME --operation Read --topic t}" = "kread: topic 't': $text" ]
		echo calm 1 >&9
		wait_for "[ \$(grep -c '^did calm' mock.out) -eq \$(grep -c '^did refuse' mock.out) ]"
	done <<-'EOF'
		29 Topic authorization failed
		35 API version not supported
		76 Unsupported compression type
	EOF
	echo refuse 1 -1 4 >&9
	wait_for "grep -q '^did refuse 1 -1 ' mock.out"
	run -0 --separate-stderr kread --raw -e t
	[ "$output" = $'1\n2\n3' ]
	# shellcheck disable=SC2154 # run sets it
	[ "$stderr" = "kread: warning: topic 't': Unknown broker error; trying again" ]
}

# librdkafka tries such a fetch again without a word.
# bats test_tags=newest
@test "a fetch that finds the broker's disk failing is said once, with topic and partition, and tried again" {
	mock_start t:2
	seq 3 | kproduce t
	echo refuse 1 56 10000 >&9
	wait_lines mock.out 2
	spawn it kread --raw t </dev/null
	wait_file_contains it.err "cannot be read"
	echo calm 1 >&9
	wait_lines it.out 3
	stop it
	wait_exit it
	[ "$status" -eq 0 ]
	# Which of the partitions is the first is not known.
	[ "$(sed 's/partition [01]/partition N/' it.err)" = "kread: warning: topic 't', partition N cannot be read: Disk error when trying to access log file on disk; trying again" ]
}

# bats test_tags=newest
@test "a last commit that is refused for want of permission ends it with 100, at once" {
	mock_start t:1
	seq 3 | kproduce t
	echo refuse 8 30 10000 >&9
	wait_lines mock.out 2
	run -100 --separate-stderr kread --raw -e -g it --commit written t
	[ "$output" = $'1\n2\n3' ]
	[ "$stderr" = "kread: cannot commit positions: Group authorization failed; kafka-acls.sh --add --allow-principal User:NAME --operation Read --group it" ]
}

# librdkafka tells of an outage by the last connection that it loses, and not at all when that is the connection to a
# broker which has just said that it is no coordinator any more. A proxy that takes connections and closes them is no
# error of a broker either.
# bats test_tags=newest,once
@test "an outage behind a proxy is told, though the coordinators were lost first" {
	local broker at
	mock_start t:1 out:1
	broker=$KAFKA_BROKERS
	mkfifo orders
	exec 8<>orders
	spawn proxy python3 -c 'import sys
sys.path.insert(0, sys.argv[1])
from proxy import Proxy
proxy = Proxy(sys.argv[2])
print(proxy.where, flush=True)
for line in sys.stdin:
    getattr(proxy, line.strip())()' "$ROOT/tests/faults" "$broker" <orders
	wait_lines proxy.out 1
	at="-b $broker --resolve $broker:$(<proxy.out)"
	# shellcheck disable=SC2086 # two options
	spawn it evpipe kread -v $at -X debug=cgrp -X session.timeout.ms=60000 -g it t '|' kwrite -v $at -X debug=eos --txn it -t out
	echo 1 | kproduce t
	wait_for '[ "$(kconsume out | wc -l)" -eq 1 ]'
	# Heartbeats and the ends of transactions find no coordinator at the broker, and no other one is known.
	for key in 12 26; do echo "refuse $key 16 1000" >&9; done
	echo refuse 10 15 10000 >&9
	wait_lines mock.out 4
	echo 2 | kproduce t
	wait_file_contains it.err 'changed state up -> query-coord'
	wait_file_contains it.err 'EndTxn returned NOT_COORDINATOR'
	echo leave >&8
	wait_file_contains it.err "kread: warning: cannot reach broker $broker: "
	wait_file_contains it.err "kwrite: warning: cannot reach broker $broker: "
	for key in 12 26 10; do echo "calm $key" >&9; done
	echo back >&8
	wait_for '[ "$(kconsume out -X isolation.level=read_committed | tail -n 1)" = 2 ]'
	stop it
	wait_exit it
}
