#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# kread: what does not follow what was read before is said, counted, and stops it where it is asked to.

load helpers
load gaps

setup_file() {
	kafka_start
}

@test "records that were deleted before they were read are an error with a count, also with -q" {
	topic=$(new_topic)
	seq 0 99 | kproduce "$topic"
	group=$(group_at 5 "$topic")
	topics trim "$topic" 0 80
	ends_at 0 -e -g "$group" "$topic"
	[ "$(jq -r .offset out | xargs)" = "$(seq 80 99 | xargs)" ]
	[ "$(cat err)" = "kread: 75 records of topic '$topic', partition 0 were deleted before they were read: offsets 5 to 79" ]
	[ "$(metric lost_records_total m.prom)" = 75 ]
	[ "$(metric gaps_total m.prom)" = 1 ]
	# What is committed now is whole.
	ends_at 0 -e -g "$group" "$topic"
	[ ! -s out ]
	[ ! -s err ]
	[ "$(metric lost_records_total m.prom)" = 0 ]
}

@test "all records were deleted, and none has come since" {
	topic=$(new_topic)
	seq 0 9 | kproduce "$topic"
	group=$(group_at 3 "$topic")
	topics trim "$topic" 0 10
	ends_at 0 -e -g "$group" "$topic"
	grep -q "^kread: 7 records of topic .* offsets 3 to 9$" err
	[ "$(position "$group" "$topic")" = 10 ]
}

@test "--on-gap stop ends at deleted records with 100, and the position stays" {
	topic=$(new_topic)
	seq 0 99 | kproduce "$topic"
	group=$(group_at 5 "$topic")
	topics trim "$topic" 0 80
	for i in 1 2; do
		ends_at 100 -e --on-gap stop -g "$group" "$topic"
		[ ! -s out ]
		grep -q "75 records .*offsets 5 to 79; this ends it: --on-gap stop$" err
		[ "$(position "$group" "$topic")" = 5 ]
	done
	ends_at 0 -e --on-gap go -g "$group" "$topic"
	[ "$(wc -l <out)" -eq 20 ]
}

@test "--on-gap takes nothing else" {
	run -100 kread --on-gap later x
	[[ ${lines[0]} == "kread: --on-gap takes go or stop, not 'later'"* ]]
}

@test "records that are deleted while it reads are told with their count" {
	topic=$(new_topic)
	seq -f "%.0f $(printf '%0200d' 0)" 0 2999 | kproduce "$topic"
	mkfifo pipe
	# What librdkafka has fetched is not gone: it is to fetch no more while the pipe is full.
	spawn it sh -c 'exec kread "$@" >pipe' - -q -g "$(unique group)" --commit written \
		-X queued.min.messages=1 "$topic" </dev/null
	exec 7<pipe
	wait_for "[ \$(timeout 0.2 head -c 1 <&7 | wc -c) = 1 ]"
	seq -f "%.0f $(printf '%0200d' 0)" 3000 3999 | kproduce "$topic"
	topics trim "$topic" 0 3500
	cat <&7 >out &
	wait_for "grep -q '\"offset\":3999,' out"
	[ "$(cat it.err)" = "kread: 500 records of topic '$topic', partition 0 were deleted before they were read: offsets 3000 to 3499" ]
	[ "$(wc -l <out)" -eq 3500 ]
}

@test "a position beyond the end is told, and all is read" {
	topic=$(new_topic)
	seq 0 9 | kproduce "$topic"
	group=$(group_at 1000 "$topic")
	ends_at 100 -e --on-gap stop -g "$group" "$topic"
	[ ! -s out ]
	ends_at 0 -e -g "$group" "$topic"
	[ "$(wc -l <out)" -eq 10 ]
	[ "$(cat err)" = "kread: topic '$topic', partition 0: the position 1000 is beyond the end, 10; reading begins again at 0" ]
	[ "$(metric gaps_total m.prom)" = 1 ]
	[ "$(position "$group" "$topic")" = 10 ]
}

@test "a position beyond the end of an empty topic is told, and what comes is read" {
	topic=$(new_topic)
	group=$(group_at 7 "$topic")
	spawn it kread -q -g "$group" --commit written "$topic" </dev/null
	wait_file_contains it.err "the position 7 is beyond the end, 0; reading begins again at 0"
	echo new | kproduce "$topic"
	wait_lines it.out 1
}

@test "-o of deleted records is told with their count" {
	topic=$(new_topic 2)
	for p in 0 1; do seq 0 9 | kproduce "$topic" -p "$p"; done
	topics trim "$topic" 1 6
	run -0 --separate-stderr kread -q -e -o 2 "$topic"
	[ "${#lines[@]}" -eq 12 ]
	# shellcheck disable=SC2154 # run sets it
	[ "$stderr" = "kread: 4 records of topic '$topic', partition 1 were deleted before they were read: offsets 2 to 5" ]
	run -100 kread -q -e --on-gap stop -o 2 "$topic"
}

@test "a mark of a transaction is no gap" {
	topic=$(new_topic)
	from=$(new_topic)
	for i in 1 2; do
		echo "$i" | kproduce "$from"
		evpipe kread -g "$topic" -e "$from" '|' kwrite -t "$topic" --txn "$topic"
	done
	# A record, a mark, a record, a mark.
	for at in 1 2 3; do
		ends_at 0 -e --on-gap stop -g "$(group_at $at "$topic")" "$topic"
		[ ! -s err ]
	done
}

@test "what compaction has taken is no gap, before a position, in it and behind marks, nor are marks of transactions in it" {
	local from round
	topic=$(new_topic 1 cleanup.policy=compact segment.ms=100 min.cleanable.dirty.ratio=0 max.compaction.lag.ms=1 delete.retention.ms=0)
	from=$(new_topic)
	# The segment that is written to is not compacted: each round begins another one.
	for round in 1 2 3; do
		seq -f '{"key":"%.0f"}' 3 | jq -c '.payload = "x"' | kwrite -t "$from"
		evpipe kread -g "$topic" -e "$from" '|' kwrite -t "$topic" --txn "$topic"
		[ "$round" -ne 1 ] || ends_at 0 -e -g "$topic-read" "$topic"
	done
	wait_for '[ "$(kread -q -e "$topic" | head -n 1 | jq .offset)" -ge 8 ]'
	for at in 0 1 3 4 7; do
		ends_at 0 -e --on-gap stop -g "$(group_at $at "$topic")" "$topic"
		[ ! -s err ]
		[ "$(jq .offset out | xargs)" = '8 9 10' ]
	done
	# Its position has marks, of records that are no more.
	ends_at 0 -e --on-gap stop -g "$topic-read" "$topic"
	[ ! -s err ]
	[ "$(jq .offset out | xargs)" = '8 9 10' ]
	[ "$(metric lost_records_total m.prom)" -eq 0 ]
	run -0 --separate-stderr kread -q -e --on-gap stop -o 2 "$topic"
	[ -z "$stderr" ]
	[ "${#lines[@]}" -eq 3 ]
}

@test "auto.offset.reset=error ends with 100 without a position, and beyond the end" {
	topic=$(new_topic)
	seq 3 | kproduce "$topic"
	ends_at 100 -e -X auto.offset.reset=error -g "$(unique group)" "$topic"
	grep -q "no position is committed" err
	ends_at 100 -e -X auto.offset.reset=error -g "$(group_at 9 "$topic")" "$topic"
	grep -q "the position 9 is beyond the end, 3" err
}

@test "auto.offset.reset=latest begins at the end, and skips nothing of partitions and topics that appear later" {
	group=$(unique group)
	topic=$(new_topic)
	seq 3 | kproduce "$topic"
	spawn it kread -v --raw -g "$group" --commit written --follow-new -X auto.offset.reset=latest \
		-X topic.metadata.refresh.interval.ms=300 "^$topic" </dev/null
	wait_for '[ "$(position "$group" "$topic")" = 3 ]'
	topics grow "$topic" 2
	seq 10 29 | kproduce "$topic" -p 1
	topics create "$topic-later" 1
	seq 30 39 | kproduce "$topic-later"
	wait_lines it.out 30
	echo 40 | kproduce "$topic"
	wait_lines it.out 31 || { sort -n it.out | xargs; return 1; }
	[ "$(sort -n it.out | xargs)" = "$(seq 10 40 | xargs)" ]
	# And begins there again.
	stop it
	wait_exit it
	[ "$status" -eq 0 ]
	seq 41 43 | kproduce "$topic" -p 1
	kread --raw -e -g "$group" --commit written -X auto.offset.reset=latest "^$topic" >out
	[ "$(xargs <out)" = "41 42 43" ]
}
