#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# rsub -s -g | kwrite --txn --positions: entries of streams into Kafka exactly once, whoever is killed.

load helpers
load ack

setup_file() {
	kafka_start
	redis_start
}

setup() {
	harness_setup
	rcli flushall >/dev/null
	out=$(new_topic 2) positions=$(unique positions) id=$(unique txn)
}

# entries STREAM FROM TO: adds entries with these payloads.
entries() {
	seq "$2" "$3" | sed "s/.*/xadd $1 * payload &/" | rcli >/dev/null
}

committed() {
	kconsume "$out" -X isolation.level=read_committed -f '%s\n'
}

# once N: each of 1…N is seen, and once.
once() {
	committed | sort -n | diff <(seq "$1") - | head -n 5
	[ "$(committed | sort -n | md5sum)" = "$(seq "$1" | md5sum)" ]
}

# to_end: the pipeline, to the end of the streams.
to_end() {
	run -0 evpipe -n it rsub -s a b -g g -e '|' kwrite --txn "$id" --positions "$positions" -t "$out" </dev/null
	printf '%s\n' "$output"
}

# start: the pipeline in the background; member NAME: a process id of it.
start() {
	spawn it evpipe -n it rsub -s a b -g g '|' kwrite --txn "$id" --positions "$positions" -t "$out" </dev/null
	wait_for "member kwrite"
}
member() {
	pgrep -P "$(pid_of it)" -x "$1"
}

# position STREAM: of the group, and how many it has read.
position() {
	rcli --json xinfo groups "$1" | jq -r '.[0] | "\(."last-delivered-id") \(."entries-read") \(.pending)"'
}

# bats test_tags=smoke
@test "entries of streams are written once, their positions with them, and the group follows" {
	entries a 1 500
	entries b 501 700
	to_end
	once 700
	[ "$(position a)" = "$(rcli --json xinfo stream a | jq -r '."last-generated-id"') 500 0" ]
	# A second run has nothing to do.
	to_end
	once 700
	entries a 701 710
	to_end
	once 710
	# The positions are there to be read.
	run -0 kread -q -e "$positions"
	jq -r 'select(.partition == 0) | .payload' <<<"$output" | tail -n 1 | jq -c '.streams | map([.stream, .read])' |
		grep -qxF '[["a",510],["b",200]]'
	[ "$(tail -n 1 <<<"$output" | jq -r .key)" = "$id" ]
}

@test "the sink's position counts, not the group's: what was committed is not sent again" {
	entries a 1 10
	to_end
	# As after a kill between the commit and the word to Redis.
	rcli xgroup setid a g 0 >/dev/null
	to_end
	once 10
	entries a 11 20
	rcli xgroup setid a g 0 >/dev/null
	to_end
	once 20
}

@test "without the sink's positions the group's count: what another run has left open is read" {
	entries a 1 10
	rcli xgroup create a g 0 >/dev/null
	rcli xreadgroup group g c count 6 streams a '>' >/dev/null
	rcli xrange a - + count 4 | grep -- - | xargs redis-cli -s "$REDIS_SOCK" xack a g >/dev/null
	to_end
	[ "$(committed | sort -n | xargs)" = "5 6 7 8 9 10" ]
}

@test "a group that was not there, and a stream made anew: the sink's position is not believed" {
	entries a 1 10
	to_end
	rcli del a >/dev/null
	rcli xadd a 5-1 payload 11 >/dev/null
	to_end
	[[ $output == *"stream 'a': its group was not there"* ]]
	once 11
	# The same with a group that somebody has made.
	rcli del a >/dev/null
	rcli xgroup create a g 0 mkstream >/dev/null
	rcli xadd a 4-1 payload 12 >/dev/null
	to_end
	[[ $output == *"stream 'a': it has never had so high an id"* ]]
	once 12
}

@test "a txn that keeps no positions is refused, with the remedy, and --positions without --txn" {
	run -100 evpipe -n it rsub -s a -g g '|' kwrite --txn "$id" -t "$out" </dev/null
	[[ $output == *"give kwrite --positions TOPIC"* ]]
	run -100 kwrite --positions x -t y </dev/null
	[[ $output == *"--positions is for --txn"* ]]
	# Kafka's own positions stand with the group, as ever.
	in=$(new_topic 1)
	seq 3 | kproduce "$in"
	run -0 evpipe -n it kread -g "g-$in" -e "$in" '|' kwrite --txn "$id" --positions "$positions" -t "$out" </dev/null
	once 3
}

@test "a topic that is not compacted, and positions of somebody else: 100" {
	in=$(new_topic 1)
	run -100 evpipe -n it rsub -s a -g g '|' kwrite --txn "$id" --positions "$in" -t "$out" </dev/null
	[[ $output == *"topic '$in' is not compacted"* ]]
	"$ROOT/tests/kafka/topics" "$KAFKA_BROKERS" create "$positions" 1 cleanup.policy=compact
	echo "$id:no text of rsub's" | kproduce "$positions" -K :
	run -100 evpipe -n it rsub -s a -g g '|' kwrite --txn "$id" --positions "$positions" -t "$out" </dev/null
	[[ $output == *"the sink's positions are none of rsub's"* ]]
}

@test "entries that a filter drops are passed, and names that are not UTF-8 are kept" {
	name=$(printf 'n\377\n"x')
	rcli xadd "$name" 1-1 payload 1 >/dev/null
	entries a 2 3
	for _ in 1 2; do
		run -0 evpipe -n it rsub -s "$name" -s a -g g -e '|' evsel '.payload != 2' '|' \
			kwrite --txn "$id" --positions "$positions" -t "$out" </dev/null
	done
	[ "$(committed | sort -n | xargs)" = "1 3" ]
	# A stream that is not read for a while keeps its place.
	run -0 evpipe -n it rsub -s a -g g -e '|' kwrite --txn "$id" --positions "$positions" -t "$out" </dev/null
	rcli xgroup setid "$name" g 0 >/dev/null
	run -0 evpipe -n it rsub -s "$name" -g g -e '|' kwrite --txn "$id" --positions "$positions" -t "$out" </dev/null
	[ "$(committed | sort -n | xargs)" = "1 3" ]
}

# bats test_tags=load
@test "rsub and kwrite killed again and again: each entry is seen once" {
	n=0
	for who in kwrite rsub kwrite rsub; do
		seen=$(committed | wc -l)
		start
		entries a $((n + 1)) $((n + 1000))
		entries b $((n + 1001)) $((n + 2000))
		n=$((n + 2000))
		# Something of this run was committed, and something is on its way.
		wait_for "[ \"\$(committed | wc -l)\" -gt $seen ]"
		entries a $((n + 1)) $((n + 500))
		n=$((n + 500))
		kill -KILL "$(member $who)"
		wait_exit it
	done
	to_end
	once "$n"
}
