#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# Whole pipelines from a real Kafka with everything in the middle that may stand there: what was committed,
# and what comes again.

load helpers

setup_file() {
	kafka_start
}

setup() {
	harness_setup
	topic=$(new_topic 3)
	group=$(unique group)
	export EVPIPE_ACK=$T/ack
}

# numbers FROM TO: into the topic, one record each: {"n":N}, keyed so that they spread.
numbers() {
	seq "$1" "$2" | sed 's/.*/{"key":"&","payload":"{\\"n\\":&}"}/' | EVPIPE_ACK='' kwrite -t "$topic"
}

# pipeline COMMANDS: kread into these, as a shell has them; sets $statuses, of kread first.
pipeline() {
	statuses=
	set +e
	eval "kread -q -g $group ${SHORT_SESSION[*]} -e $topic 2>kread.err | $1"'; statuses="${PIPESTATUS[*]}"'
	set -e
	echo "statuses: $statuses"
}

# What has come out, by number.
sorted() {
	jq -r '.payload | fromjson.n' "$@" | sort -n
}

# all_committed: another run finds nothing more.
all_committed() {
	pipeline 'tee again | evack'
	[ "$statuses" = '0 0 0' ]
	[ ! -s again ]
}

# collect: a sink: keeps records in out and prints them back.
collect() {
	python3 -c '
import sys
with open("out", "ab", 0) as out:
    for line in sys.stdin.buffer:
        out.write(line)
        sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()' | evack
}

@test "a source that had nothing and has gone before anybody came leaves no error" {
	REDIS_URL=unix:$T/none
	export REDIS_URL
	for program in 'kwrite -t x' 'kwrite --txn x -t x' evack 'evstamp --drop x' 'evkey .x' 'evsel .x' \
		'evbatch -- cat'; do
		run -0 --separate-stderr eval ": | $program"
		[ -z "$output$stderr" ]
	done
}

@test "what a sink of one's own prints back is committed" {
	numbers 1 100
	pipeline collect
	[ "$statuses" = '0 0' ]
	sorted out | diff - <(seq 100)
	all_committed
}

@test "the manual's sink that speaks the protocol itself" {
	sed -n '/^#!/,/^\.Ed/p' "$ROOT/man/evpipe-ack.7" | sed '$d; s/\\e/\\/g' >sink
	cmp sink "$ROOT/examples/sinks/appender"
	chmod +x sink
	numbers 1 2000
	pipeline "evsel '.payload.n > 500' | ./sink delivered"
	[ "$statuses" = '0 0 0' ]
	jq .n delivered | sort -n | diff - <(seq 501 2000)
	all_committed
}

@test "declared drops are committed, and the end finds nothing open" {
	numbers 1 3000
	pipeline "evsel '.payload.n % 100 == 0' | collect"
	[ "$statuses" = '0 0 0' ]
	sorted out | diff - <(seq 100 100 3000)
	all_committed
}

# bats test_tags=newest
@test "when all is dropped, all is committed" {
	numbers 1 500
	pipeline "evsel false | collect"
	[ "$statuses" = '0 0 0' ]
	[ ! -s out ]
	all_committed
}

@test "what grep drops comes again, and the first of it is named; under evbatch it does not" {
	numbers 1 100
	pipeline "grep -v --line-buffered ':77}' | collect"
	[ "$statuses" = '111 0 0' ]
	grep -qE "$topic.*partition [0-2].*offset [0-9]+" kread.err || { cat kread.err; false; }
	rm out
	pipeline collect
	[ "$statuses" = '0 0' ]
	sorted out | grep -qx 77
	numbers 101 200
	pipeline "evbatch -- grep -v ':177}' | collect"
	[ "$statuses" = '0 0 0' ]
	sort -u out | sorted | diff - <(sort -u out | sorted | grep -v 177)
	run ! grep -q ':177}' out
	all_committed
}

# by_order COMMANDS: what a run under evpipe with --account order ends with.
by_order() {
	status=0
	eval "EVPIPE_ACK= evpipe kread -g $group ${SHORT_SESSION[*]} --account order --window 10 -e $topic \
		$1" </dev/null >by_order.out 2>by_order.err || status=$?
	cat by_order.err
}

@test "by order, what a filter has passed over at the end is committed if it has ended well" {
	numbers 1 5000
	printf '#!/bin/sh\nexec tee -a out\n' >collect.sh
	chmod +x collect.sh
	by_order "'|' grep ':77}' '|' sh -c './collect.sh | evack'"
	[ "$status" -eq 0 ]
	sorted out | diff - <(echo 77)
	all_committed
	numbers 5001 6000
	# It dies behind what it has read, and may have kept what it ought to hand on.
	by_order "'|' sh -c 'grep nothing; kill -9 \$\$' '|' sh -c './collect.sh | evack'"
	pipeline 'tee again | evack'
	[ "$(wc -l <again)" -eq 1000 ]
	numbers 6001 6100
	# No line matches: its status is 1, and that is well.
	by_order "'|' grep nothing '|' evack"
	[ "$status" -eq 0 ]
	all_committed
}

@test "records whose seq is left out end the pipeline with 100 and the remedy" {
	local account
	numbers 1 3000
	for account in strict order; do
		run evpipe kread -g "$group" "${SHORT_SESSION[@]}" --ack ack2 --account $account -e "$topic" \
			'|' jq -c 'del(.seq)' '|' evack --ack ack2
		echo "$output"
		[ "$status" -eq 100 ]
		# How many: all, or those of the time until kread looked.
		[[ $output == *" records came to the sink without their seq"*"put it under evbatch"* ]]
		run -100 evpipe kread -g "$group" "${SHORT_SESSION[@]}" --ack ack2 --account $account --window 10 \
			"$topic" '|' jq -c 'del(.seq)' '|' evack --ack ack2
		[[ $output == *"records came to the sink without their seq"* ]]
	done
	# Further records, which a program adds, are none of ours.
	rm -f out
	pipeline "sed 's/.*/{\"payload\":\"{\\\\\"n\\\\\":0}\"}\n&/' | collect"
	[ "$statuses" = '0 0 0' ]
	[ "$(sorted out | grep -vcx 0)" -eq 3000 ]
	all_committed
}

@test "a splitter ends the pipeline by name; under evbatch it may split" {
	numbers 1 50
	pipeline "jq -c --unbuffered '., .' | collect"
	[[ $statuses == 100\ * ]]
	grep -q 'put it under evbatch' kread.err
	rm -f out
	pipeline "evbatch -n 7 -- jq -c '., .' | collect"
	[ "$statuses" = '0 0 0' ]
	sorted out | uniq -c | awk '$1 != 2' >odd
	[ ! -s odd ]
	[ "$(sorted out | uniq | wc -l)" -eq 50 ]
	all_committed
}

@test "fold, sort, invent: under evbatch all of it is accounted for" {
	numbers 1 1000
	pipeline "evbatch -n 100 -P 2 -- jq -c -s '{payload: (map(.payload | fromjson.n) | add | {n: .} | tojson)}' | collect"
	[ "$statuses" = '0 0 0' ]
	[ "$(sorted out | paste -s -d+ | bc)" -eq 500500 ]
	all_committed
}

# bats test_tags=newest
@test "dead letters are committed once they are kept" {
	numbers 1 200
	echo 'nonsense' | EVPIPE_ACK='' kwrite --raw -t "$topic"
	pipeline "evkey .n --dead-letter dead.ndjson | collect"
	[ "$statuses" = '0 1 0' ]
	[ "$(jq -r .record.payload dead.ndjson)" = nonsense ]
	sorted out | diff - <(seq 200)
	all_committed
}

@test "a record that stops a filter comes again" {
	numbers 1 10
	echo 'nonsense' | EVPIPE_ACK='' kwrite --raw -p 0 -t "$topic"
	pipeline "evkey .n 2>evkey.err | collect"
	[[ $statuses == "100 1 "* ]]
	grep -q 'evkey (process .*) stops the pipeline: a record was refused' kread.err
	pipeline "evkey .n --dead-letter dead.ndjson | collect"
	[ "$statuses" = '0 1 0' ]
	[ "$(jq -r .record.payload dead.ndjson)" = nonsense ]
	sorted out | uniq | diff - <(seq 10)
}

@test "a batch larger than the window is run all the same" {
	numbers 1 300
	pipeline "evbatch -n 500 -t 50ms -- jq -c . | collect"
	[ "$statuses" = '0 0 0' ]
	rm out
	numbers 301 600
	set +e
	kread -q -g "$group" --window 40 "${SHORT_SESSION[@]}" -e "$topic" |
		evbatch -n 500 -t 50ms -- jq -c . | collect
	statuses="${PIPESTATUS[*]}"
	set -e
	[ "$statuses" = '0 0 0' ]
	sorted out | diff - <(seq 301 600)
}

@test "dead letters in a topic become records again, and their positions follow" {
	numbers 1 50
	dead=$(new_topic 2)
	again=$(new_topic)
	pipeline "evsel '.payload.n <= 20' | kwrite -t '{channel}' --dead-letter kafka:$dead 2>kwrite.err"
	cat kwrite.err
	[ "$statuses" = '0 0 1' ]
	topic=$dead
	group=$group-dead
	pipeline "evsel --undead | kwrite -t $again"
	[ "$statuses" = '0 0 0' ]
	kread -q -e "$again" | jq -r .payload | jq .n | sort -n | diff - <(seq 20)
	all_committed
}

@test "under evpipe, into transactions: evbatch splits, and each part is there once" {
	numbers 1 2000
	to=$(new_topic)
	run -0 env -u EVPIPE_ACK evpipe -d "$T/dir" kread -g "$group" -e "$topic" '|' \
		evbatch -n 100 -P 2 -- jq -c '., .' '|' kwrite --txn "$group" -t "$to"
	kread -q -e "$to" | jq -r .payload | jq .n | sort -n | uniq -c | awk '$1 != 2 || $2 != NR' >odd
	[ ! -s odd ]
	[ "$(kread -q -e "$to" | wc -l)" -eq 4000 ]
}

@test "into transactions, behind a filter that drops each second record and evbatch" {
	target=$(new_topic 1)
	numbers 1 20000
	EVPIPE_ACK='' run -0 evpipe kread -g "$group" "${SHORT_SESSION[@]}" -e "$topic" \
		'|' evsel '.payload.n % 2 == 0' '|' evbatch -- cat '|' kwrite -t "$target" --txn "$group"
	kconsume "$target" | jq .n | sort -n | diff - <(seq 2 2 20000)
	all_committed
}

# mortal: ./mortal-jq is a jq which, when there is a file named kill, takes it away and is killed in the middle.
mortal() {
	cat >mortal-jq <<-'EOS'
		#!/bin/sh
		if mv kill killed 2>/dev/null; then
			head -n 5 | jq "$@"
			kill -KILL $$
		fi
		exec jq "$@"
	EOS
	chmod +x mortal-jq
}

@test "into transactions, with the sink and the command killed: each part is there once" {
	unset EVPIPE_ACK
	numbers 1 10000
	to=$(new_topic)
	mortal
	line=(evpipe -d "$T/dir" kread -g "$group" "${SHORT_SESSION[@]}" -e "$topic" '|'
		evbatch -n 50 -- ./mortal-jq -c '., .' '|' kwrite --txn "$group" -t "$to")
	# Not so fast that it is done before it is killed.
	spawn unit "${line[@]/#-e/--rate=100}"
	wait_for "[ \$(kread -q -e $to | wc -l) -gt 50 ]"
	touch kill
	wait_for '[ -e killed ]'
	kill -KILL "$(pgrep -x -s "$(pid_of unit)" kwrite)"
	wait_exit unit
	[ "$status" -ne 0 ]
	run "${line[@]}"
	echo "$output"
	[ "$status" -eq 0 ]
	kread -q -e "$to" | jq -r .payload | jq .n | sort -n | uniq -c >counts
	awk '$1 != 2 || $2 != NR' counts >odd
	[ ! -s odd ]
	[ "$(wc -l <counts)" -eq 10000 ]
}

# killed NAME: makes the pipeline, kills a jq and then this program of it while records come out, and waits
# until all of it has ended.
killed() {
	local before=0
	[ ! -e out ] || before=$(wc -l <out)
	spawn line bash -c '
		slow() { while IFS= read -r line; do printf "%s\n" "$line"; sleep 0.004; done; }
		'"$(declare -f collect)"'
		kread -q -g '"$group ${SHORT_SESSION[*]} -e $topic"' |
			evbatch -n 20 -- ./mortal-jq -c . | evsel ".payload.n % 10 != 0" | slow | collect'
	wait_for "[ \$(cat out 2>/dev/null | wc -l) -gt $((before + 20)) ]"
	touch kill
	wait_for '[ ! -e kill ]'
	wait_for "[ \$(wc -l <out) -gt $((before + 50)) ]"
	# The oldest: one that evbatch has just forked still has its name.
	kill -KILL "$(pgrep -o -x -s "$(pid_of line)" "$1")"
	wait_exit line
}

@test "jq in the middle, and each program killed in turn: nothing is lost" {
	numbers 1 5000
	mortal
	for program in evbatch evsel evack kread; do
		killed "$program"
	done
	pipeline "evbatch -n 2000 -- jq -c . | evsel '.payload.n % 10 != 0' | collect"
	[ "$statuses" = '0 0 0 0' ]
	sorted out | uniq | diff - <(seq 5000 | grep -v '0$')
	all_committed
}
