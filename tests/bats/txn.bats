#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# kwrite --txn on a real Kafka: exactly once, whoever is killed.

load helpers
load ack
load txn

setup_file() {
	kafka_start
}

@test "--txn without a source is refused, with the remedy" {
	run -100 kwrite --txn x -t y </dev/null
	[[ $output == "kwrite: --txn needs the source, for its positions: "*"--ack PATH"* ]]
	run -100 kwrite --ack a --txn x -t y --raw </dev/null
	run -100 kwrite --ack a --txn x -t y --pass </dev/null
}

# bats test_tags=newest
@test "each record is written once, and the group's position with it" {
	in=$(new_topic 3) out=$(new_topic 2)
	numbers 1 5000 "$in"
	line a "g-$in" "$in" "$out" -e
	[ "$(ended a)" = "0 0" ]
	once "$out" 5000
	numbers 5001 5010 "$in"
	line a "g-$in" "$in" "$out" -e
	[ "$(ended a)" = "0 0" ]
	once "$out" 5010
	line a "g-$in" "$in" "$out" -e
	[ "$(ended a)" = "0 0" ]
	once "$out" 5010
}

@test "a source on another cluster ends the pair with 100, and both clusters are named" {
	local here=$KAFKA_BROKERS
	in=$(new_topic)
	numbers 1 10 "$in"
	kmock_start -t there:1
	run -100 timeout 60 evpipe kread -b "$here" -g "g-$in" -e "$in" '|' kwrite --txn "$in" -t there
	[[ $output == *"kwrite: the source reads from the cluster "*", and transaction '$in' is of the cluster mockCluster"* ]]
}

@test "nothing is visible or reported before the source has given the positions" {
	out=$(new_topic 1) GROUP=$(unique g)
	source_start
	txn_sink it -t "$out"
	{ rec 1; rec 2; rec 3; } >&5
	asked '1.*3'
	grep -qxE 'kwrite: hello kwrite [0-9]+ txn' source.out
	# They are there, but not to be seen.
	wait_for '[ "$(kcat -q -b "$KAFKA_BROKERS" -C -e -t "$out" -X isolation.level=read_uncommitted | wc -l)" -eq 3 ]'
	[ -z "$(committed "$out")" ]
	[ "$(reports | grep -v offsets)" = "" ]
	[ "$(heard kwrite | grep -E '^(idle|busy)' | tail -n 1)" = busy ]
	reply "$out" 0 3
	wait_for 'heard kwrite | tr - " " | grep -qE "^final $RUN 1 (2 )?3"'
	[ "$(committed "$out" | xargs)" = "p1 p2 p3" ]
	rec 4 >&5
	asked '4'
	source_does end 4
	exec 5>&-
	reply "$out" 0 4
	wait_exit it
	[ "$status" -eq 0 ]
	[ "$(committed "$out" | xargs)" = "p1 p2 p3 p4" ]
	wait_file_contains source.out 'kwrite: gone'
	[ "$(reports | tail -n 3 | xargs)" = "final $RUN 4 bye gone" ]
}

@test "what the source wants to be kept with a position is committed with it" {
	out=$(new_topic 1) GROUP=$(unique g)
	source_start
	txn_sink it -t "$out"
	rec 1 >&5
	asked 1
	reply "$out" 0 "3,$(printf 'a note' | base64)"
	wait_for 'heard kwrite | grep -q "^final"'
	[ "$(position_and_metadata "$GROUP" "$out")" = "3 a note" ]
	# What is no base64 is no note.
	rec 2 >&5
	asked 2
	source_does end 2
	exec 5>&-
	reply "$out" 0 "4,YQ="
	wait_exit it
	[ "$(position_and_metadata "$GROUP" "$out")" = "4 " ]
	[ "$status" -eq 0 ]
}

@test "abort takes the transaction back and ends it with 111" {
	out=$(new_topic 1)
	source_start
	txn_sink it -t "$out"
	rec 1 >&5
	asked '1'
	source_does say "abort $RUN"
	wait_exit it
	[ "$status" -eq 111 ]
	grep -q 'the group has given partitions away' it.err
	[ -z "$(committed "$out")" ]
	wait_file_contains source.out 'kwrite: gone'
	[ "$(reports | grep -cE 'final|bye')" -eq 0 ]
	# Who reads through khttp says whether it is seen.
	echo last | kproduce "$out"
	spawn web khttp -b "$KAFKA_BROKERS" --listen "unix:$T/web" --management none </dev/null
	wait_for 'web GET /ready'
	for level in '' read_uncommitted read_committed; do
		web POST /consumers/g -d '{"name":"c'"$level"'","format":"text","auto.offset.reset":"earliest"'"${level:+,\"isolation.level\":\"$level\"}"'}'
		web POST "/consumers/g/instances/c$level/assignments" -d '{"partitions":[{"topic":"'"$out"'","partition":0}]}'
		: >seen
		wait_for polled
		[ "$(jq '.[].value' seen | wc -l)" -eq "$([ "$level" = read_committed ] && echo 1 || echo 2)" ]
	done
}
polled() {
	web GET "/consumers/g/instances/c$level/records?timeout=5000" >>seen
	grep -q last seen
}
web() {
	curl -sf -m 100 --unix-socket "$T/web" -X "$1" -H 'Content-Type: application/vnd.kafka.v2+json' "${@:3}" "http://localhost$2"
}

# bats test_tags=newest
@test "the signal that ends it takes the transaction back: readers do not wait for transaction.timeout.ms" {
	out=$(new_topic 1)
	source_start
	txn_sink it -t "$out" -X transaction.timeout.ms=600000
	rec 1 >&5
	asked '1'
	stop it
	wait_file_contains it.err 'waiting for the end of input'
	stop it
	wait_exit it
	[ "$status" -eq 111 ]
	[[ $(tail -n 1 it.err) == "kwrite: ended by a signal: 1 record was not delivered"*"; the first is line 1" ]]
	echo late | kproduce "$out"
	wait_for '[ "$(committed "$out")" = late ]'
	exec 5>&-
}

@test "kread shows what was committed, and ends behind markers and what was taken back; -X isolation.level=read_uncommitted shows all" {
	local group range n
	out=$(new_topic 1) GROUP=$(unique g) group=$(unique g)
	source_start
	txn_sink it -t "$out"
	{ rec 1; rec 2; } >&5
	asked '1.*2'
	reply "$out" 0 2
	wait_for 'heard kwrite | grep -q "^final"'
	rec 3 >&5
	asked 3
	# It may have asked in between, for want of records.
	for ((n = $(heard kwrite | grep -c '^offsets'); ++answered < n; )); do source_does say "again $RUN"; done
	source_does say "abort $RUN"
	wait_exit it
	exec 5>&-
	unset EVPIPE_ACK
	# At 2 and 4 stand markers; 3 was taken back.
	while read -r range; do
		# shellcheck disable=SC2086 # words
		[ "$(kread --raw $range "$out" | xargs)" = 'p1 p2' ]
	done <<-'END'
		-e
		--until 5
		--until 2
		-o -5 --until end
	END
	for range in '-o 2 --until 4' '-o -1 -e'; do
		# shellcheck disable=SC2086
		[ -z "$(kread --raw $range "$out")" ]
	done
	[ "$(kread --raw -e -X isolation.level=read_uncommitted "$out" | xargs)" = 'p1 p2 p3' ]
	[ "$(kread --raw -o 3 --until 5 -X isolation.level=read_uncommitted "$out")" = p3 ]
	# A group that has read all has no lag.
	[ "$(kread --raw -g "$group" --commit written -e "$out" | xargs)" = 'p1 p2' ]
	kcheck --json -g "$group" >json
	[ "$(jq -c 'select(.group) | [.lag, .positions[0].committed]' json)" = '[0,5]' ]
}

@test "while the source waits for more, more is taken, and it is asked anew with all" {
	out=$(new_topic 1) GROUP=$(unique g)
	source_start
	txn_sink it -t "$out"
	{ rec 1; rec 3; } >&5
	asked '1 3'
	rec 2.1/2 >&5
	asked '1 3 2[.]1/2'
	rec 2.2/2 >&5
	asked '1 3 2[.]1/2 2[.]2/2'
	[ -z "$(committed "$out")" ]
	source_does end 3
	exec 5>&-
	reply "$out" 0 4
	wait_exit it || cat it.err
	wait_file_contains source.out 'kwrite: gone'
	[ "$(reports | grep -v offsets | xargs)" = "final $RUN 1 3 2.1/2 2.2/2 bye gone" ]
	[ "$(committed "$out" | wc -l)" -eq 4 ]
}

@test "a reply to less than what was taken since is not used" {
	kmock_start -t out:1
	out=out GROUP=g
	source_start
	txn_sink it -t "$out" --metrics counters
	rec 1 >&5
	asked '1'
	# What is taken now cannot be delivered, so no other question is asked before the reply comes.
	freeze "$(pid_of kmock)"
	rec 2 >&5
	wait_for 'grep -q "records_in_total.* 2" counters'
	reply "$out" 0 1
	kill -CONT "$(pid_of kmock)"
	asked '1[- ]2'
	[ "$(reports | grep -c final)" -eq 0 ]
	reply "$out" 0 2
	wait_for 'heard kwrite | tr - " " | grep -q "^final $RUN 1 2"'
	[ "$(committed "$out" | xargs)" = "p1 p2" ]
	exec 5>&-
}

@test "a broker that goes away while positions are sent is named before that call has ended" {
	kmock_start -t out:1
	out=out GROUP=g
	source_start
	txn_sink it -v -t "$out" --metrics counters
	rec 1 >&5
	asked '1'
	kmock_stop
	reply "$out" 0 1
	wait_file_contains it.err 'kwrite: warning: cannot reach broker 127.0.0.1:'
	run ! grep -F 'commit positions: ' it.err
	wait_for "grep -qE '^evpipe_up.* 0' counters"
	alive "$(pid_of it)"
	exec 5>&-
}

@test "a source that is gone without an answer: all is taken back" {
	out=$(new_topic 1)
	source_start
	txn_sink it -t "$out"
	rec 1 >&5
	asked '1'
	source_does hang-up
	wait_exit it
	[ "$status" -eq 111 ]
	[ -z "$(committed "$out")" ]
	exec 5>&-
}

@test "positions move without records: what filters drop" {
	out=$(new_topic 1) GROUP=$(unique g)
	source_start
	txn_sink it -t "$out"
	wait_for '[ "$(heard kwrite | grep -c "^offsets")" -ge 1 ]'
	[ "$(heard kwrite | grep '^offsets' | head -n 1)" = "offsets $RUN" ]
	in=$(new_topic 1)
	numbers 1 10 "$in"
	# The end comes first: a second later kwrite would ask again.
	source_does end 7
	exec 5>&-
	reply "$in" 0 7
	wait_exit it
	[ "$status" -eq 0 ]
	run -0 env -u EVPIPE_ACK kread -g "$GROUP" --commit never -e "$in"
	[ "$(jq -r .payload <<<"$output" | xargs)" = "8 9 10" ]
}

@test "refused records are reported with the rest, in their turn" {
	out=$(new_topic 1) dead=$(new_topic 1) GROUP=$(unique g)
	source_start
	txn_sink it -t "$out" --dead-letter "kafka:$dead"
	{ rec 1; echo "{\"seq\":\"$RUN:2\",\"payload\":5}"; rec 3; } >&5
	asked '1.*3'
	[ -z "$(committed "$dead")" ]
	source_does end 3
	exec 5>&-
	reply "$out" 0 3
	wait_exit it
	[ "$status" -eq 1 ]
	wait_file_contains source.out 'kwrite: gone'
	[ "$(reports | grep -v offsets | xargs)" = "final $RUN 1 dead $RUN 2 final $RUN 3 bye gone" ]
	[ "$(committed "$dead" | jq -r .error.class)" = invalid-record ]
	[ "$(committed "$out" | xargs)" = "p1 p3" ]
}

@test "a record refused under stop: all before it is committed" {
	out=$(new_topic 1) GROUP=$(unique g)
	source_start
	txn_sink it -t "$out"
	{ rec 1; rec 2; echo "{\"seq\":\"$RUN:3\",\"payload\":5}"; rec 4; } >&5
	asked '1[- ]2'
	reply "$out" 0 2
	wait_exit it
	[ "$status" -eq 1 ]
	[ "$(committed "$out" | xargs)" = "p1 p2" ]
	wait_file_contains source.out 'kwrite: gone'
	[ "$(reports | grep final | cut -d' ' -f3- | tr - ' ')" = "1 2" ]
	exec 5>&-
}

# bats test_tags=newest
@test "of a batch that the broker refuses the record at fault is named" {
	out=$(new_topic 1 cleanup.policy=compact)
	source_start
	for i in {1..100}; do
		printf '{"seq":"%s:%d","key":"%d","payload":"p%d"}\n' "$RUN" "$i" "$i" "$i"
	done | sed '73s/"key":"73",//' >records
	run -1 kwrite --txn "x-$out" -t "$out" <records
	printf '%s\n' "$output"
	[ "${#lines[@]}" -eq 1 ]
	[[ $output == "kwrite: line 73: topic '$out': "*"nothing of it was written"* ]]
	[ -z "$(committed "$out")" ]
	[ "$(reports | grep -c final)" -eq 0 ]
}

@test "a batch that is too large, and no record of it: taken back, and to be started again" {
	out=$(new_topic 1)
	source_start
	txn_sink it -t "$out"
	rec 1 >&5
	asked '1'
	"$ROOT/tests/kafka/topics" "$KAFKA_BROKERS" set "$out" max.message.bytes=1000
	wait_for '! printf %02000d 0 | kproduce "$out"'
	for i in {2..400}; do rec "$i"; done >records
	cat records >&5
	wait_exit it
	[ "$status" -eq 111 ]
	wait_file_contains it.err "and none of them alone"
	[ "$(wc -l <it.err)" -eq 1 ]
	run ! grep -q '^p' <(committed "$out")
	exec 5>&-
}

# bats test_tags=newest
@test "a record that the broker refuses takes the transaction back, and is named" {
	out=$(new_topic 1)
	source_start
	for i in 1 2 3; do
		printf '{"seq":"%s:%d","payload":"p%d","partition":%d}\n' "$RUN" "$i" "$i" $((i == 2 ? 9 : 0))
	done >records
	run -1 kwrite --txn "x-$out" -t "$out" -p keep <records
	[[ $output == *"line 2: topic '$out': "*"nothing of it was written"* ]]
	[ -z "$(committed "$out")" ]
	[ "$(reports | grep -c final)" -eq 0 ]
}

# bats test_tags=newest
@test "two that write transactions under one ID: the first is fenced, with 111" {
	out=$(new_topic 1) GROUP=$(unique g)
	source_start
	mkfifo in
	spawn one sh -c 'exec kwrite --txn "same-$1" -t "$1" <in' sh "$out"
	exec 5>in
	rec 1 >&5
	asked '1'
	mkdir two
	(cd two && T=$PWD source_start && source_does end 1 && T=$PWD \
		EVPIPE_ACK=$PWD/ack timeout 120 kwrite --txn "same-$out" -t "$out" </dev/null
		harness_end "$PWD")
	reply "$out" 0 1
	wait_exit one
	[ "$status" -eq 111 ]
	grep -qF "another kwrite writes transactions as 'same-$out'" one.err
	[ -z "$(committed "$out")" ]
	exec 5>&-
}

# kill_in_the_middle WHO: kills kread (r) or kwrite (w) again and again while records flow.
kill_in_the_middle() {
	local in out i seen=0
	in=$(new_topic 3) out=$(new_topic 2)
	numbers 1 20000 "$in"
	for i in 1 2 3; do
		line a "g-$in" "$in" "$out" --rate 2000
		# Something of this run has been committed, and something is on its way.
		wait_for "[ \$(committed $out | wc -l) -gt $seen ]"
		kill -KILL "$(<"a.$1")"
		ended a
		seen=$(committed "$out" | wc -l)
		[ "$seen" -lt 20000 ] || break
	done
	line a "g-$in" "$in" "$out" -e
	[ "$(ended a)" = "0 0" ]
	once "$out" 20000
}

# bats test_tags=load
@test "kwrite killed again and again: each record is seen once" {
	kill_in_the_middle w
}

# bats test_tags=load
@test "kread killed again and again: each record is seen once" {
	kill_in_the_middle r
}

# bats test_tags=load
@test "members that come and go: each record is seen once" {
	in=$(new_topic 4) out=$(new_topic 2)
	numbers 1 20000 "$in"
	line a "g-$in" "$in" "$out" --rate 3000
	wait_for "[ \$(committed $out | wc -l) -gt 0 ]"
	line b "g-$in" "$in" "$out" --rate 3000
	# A rebalance may end a's transaction, and a with it; somebody goes on.
	while
		wait_for "[ -s a.status ] || [ -s b.status ] || [ \$(committed $out | wc -l) -ge 20000 ]"
		[ "$(committed "$out" | wc -l)" -lt 20000 ]
	do
		for name in a b; do
			if [ -s "$name.status" ]; then
				wait_exit "$name"
				line "$name" "g-$in" "$in" "$out" --rate 3000
			fi
		done
	done
	for name in a b; do
		wait_for "[ -s $name.r ]"
		[ -s "$name.status" ] || kill -TERM "$(<"$name.r")" || true
		ended "$name"
	done
	line a "g-$in" "$in" "$out" -e
	[ "$(ended a)" = "0 0" ]
	once "$out" 20000
}

# librdkafka's calls may be repeated until they are done, by its manual. Their results get mixed up when its own thread
# is late: a call says that it is done before it is.
# bats test_tags=once,newest
@test "a thread of librdkafka that is late: each record is seen once" {
	in=$(new_topic 1) out=$(new_topic 1)
	line a "g-$in" "$in" "$out"
	wait_for '[ -s a.w ]'
	numbers 1 1000 "$in"
	wait_for "[ \$(committed $out | wc -l) -gt 0 ]"
	pid=$(<a.w)
	main=$(grep -lx rdk:main /proc/"$pid"/task/*/comm | head -n 1)
	main=${main%/comm}
	spawn late strace -p "${main##*/}" -o trace -e inject=all:delay_enter=60000
	numbers 1001 50000 "$in"
	wait_for '[ "$(wc -l <trace)" -ge 100 ] || [ -s a.status ]'
	stop late
	wait_for "[ -s a.status ] || [ \$(committed $out | wc -l) -ge 50000 ]"
	once "$out" 50000
	[ ! -s a.status ]
	kill "$(<a.r)"
	[ "$(ended a)" = "0 0" ]
}
