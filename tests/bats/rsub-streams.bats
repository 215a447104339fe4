#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# rsub -s against a real redis-server: entries, consumer groups, what is acknowledged, what is lost.

load helpers

setup() {
	harness_setup
	redis_start
}

# add STREAM FROM TO: entries N-1 with the payload N.
add() {
	seq "$2" "$3" | awk -v s="$1" '{ print "XADD", s, $1 "-1", "payload", $1 }' | rcli >/dev/null
}

# pending STREAM GROUP: their ids, in one line.
pending() {
	rcli --csv xpending "$1" "$2" - + 100000 | tr -d '"' | tr , '\n' | grep -E '^[0-9]+-[0-9]+$' | paste -sd ' '
}

# deliver STREAM GROUP CONSUMER COUNT: entries that somebody else reads and does not acknowledge.
deliver() {
	rcli xreadgroup group "$2" "$3" count "$4" streams "$1" '>' >/dev/null
}

payloads() {
	jq -r .payload "$@" | paste -sd ' '
}

# come NAME ROLE: connects to ./ack and says hello. say NAME TEXT…: each on a line.
declare -gA FDS # also when bats reads this in a function
come() {
	local fd
	mkfifo "$1.in"
	exec {fd}<>"$1.in"
	FDS[$1]=$fd
	spawn "peer-$1" "$ROOT/tests/bats/ack-peer" ack <"$1.in" >/dev/null
	wait_file_contains "peer-$1.out" "run "
	RUN=$(awk '$1 == "run" { print $2; exit }' "peer-$1.out")
	say "$1" "hello $1 77 $2"
}
say() {
	local name=$1
	shift
	printf '%s\n' "$@" >&"${FDS[$name]}"
}

# reads ARGUMENT…: a consumer c of group g that listens on ./ack.
reads() {
	spawn sub rsub -g g -n c --ack ack --metrics m "$@" </dev/null
}

# counter NAME: of the metrics file m.
counter() {
	awk -v name="evpipe_$1" '{ sub(/\{.*\}/, "", $1) } $1 == name { print $2 }' m
}

# ---- entries ----

@test "rsub -s prints an entry as a record: its payload, and all other fields as headers in order" {
	rcli xadd s 1-1 a 1 payload hello b 2 a '' payload again >/dev/null
	rcli xadd s 1-2 payload '' >/dev/null
	rcli xadd s 2-0 x $'\xff' $'\xfe' y >/dev/null
	rcli xadd s 3-0 payload $'\xff' >/dev/null
	run -0 rsub -s s -e
	[ "$output" = '{"stream":"s","id":"1-1","headers":["a","1","b","2","a","","payload","again"],"payload":"hello"}
{"stream":"s","id":"1-2","payload":""}
{"stream":"s","id":"2-0","headers":["x",{"b64":"/w=="},{"b64":"/g=="},"y"],"payload":null}
{"stream":"s","id":"3-0","payload_b64":"/w=="}' ]
}

@test "rsub -s takes payload and key from the fields that --field and --key-field name" {
	rcli xadd s 1-1 k 7 data x payload y k 8 >/dev/null
	rcli xadd s 1-2 data x >/dev/null
	run -0 rsub -s s -e --field data --key-field k
	[ "$output" = '{"stream":"s","id":"1-1","headers":["payload","y","k","8"],"key":"7","payload":"x"}
{"stream":"s","id":"1-2","key":null,"payload":"x"}' ]
}

@test "rsub -s names a stream that is not UTF-8 by stream_b64" {
	rcli xadd $'s\xff' 1-1 payload x >/dev/null
	run -0 rsub -s $'s\xff' -e
	[ "$output" = '{"stream_b64":"c/8=","id":"1-1","payload":"x"}' ]
}

@test "rsub -s reads several streams, after an id, to the end, so many, payloads alone" {
	add s 1 5
	add t 11 13
	[ "$(rsub -s s -s t -e | jq -c '[.stream, .payload]' | sort | paste -sd ' ')" = \
		'["s","1"] ["s","2"] ["s","3"] ["s","4"] ["s","5"] ["t","11"] ["t","12"] ["t","13"]' ]
	[ "$(rsub -s s t none -s t s -e | wc -l)" -eq 8 ]
	[ "$(rsub -s s --from 3-1 -e | payloads)" = '4 5' ]
	[ "$(rsub -s s --from 3 -e | payloads)" = '3 4 5' ]
	[ "$(rsub -s s -c 2 | payloads)" = '1 2' ]
	[ "$(rsub -s s -e --raw | paste -sd ' ')" = '1 2 3 4 5' ]
	[ "$(rsub -s s -e --raw -0 | tr '\0' ' ')" = '1 2 3 4 5 ' ]
	run -99 rsub -q -s s --from '$' --idle-exit 200ms
	[[ $output == *'no record came'* ]]
}

@test "rsub -s prints new entries as they come, from \$ on, of a stream that is not there at first too" {
	add s 1 3
	spawn sub rsub -s s t --from '$' -c 2
	wait_for 'rcli client list | grep -q "cmd=xread"'
	add s 4 4
	wait_lines sub.out 1
	add t 1 1
	wait_exit sub
	[ "$status" -eq 0 ]
	[ "$(payloads sub.out)" = '4 1' ]
}

@test "rsub -s prints a hundred thousand entries of all sizes, each once, in order" {
	python3 - <<-'EOP' | rcli --pipe >/dev/null
		import sys
		for n in range(100000):
		    p = b"%d:" % n + b"x" * (300000 if n % 20000 == 7 else n % 100)
		    sys.stdout.buffer.write(b"*5\r\n$4\r\nXADD\r\n$1\r\ns\r\n$1\r\n*\r\n$7\r\npayload\r\n$%d\r\n%s\r\n" % (len(p), p))
	EOP
	rsub -s s -e --raw | cut -d: -f1 | cmp - <(seq 0 99999)
	rsub -s s -e --raw -g g --commit written | cut -d: -f1 | cmp - <(seq 0 99999)
	[ "$(rcli xpending s g | head -n 1)" = 0 ]
}

@test "rsub -s refuses an entry over --max-line: a dead letter, or the end" {
	rcli xadd s 1-1 payload small >/dev/null
	rcli xadd s 2-1 payload "$(printf '%0300d' 0)" h v >/dev/null
	rcli xadd s 3-1 payload small >/dev/null
	run -1 rsub -s s -e --max-line 200
	[[ $output == *"stream 's', id 2-1: its record is longer"*too-large* ]]
	[ "$(grep -c small <<<"$output")" -eq 1 ]
	run -1 rsub -s s -e --max-line 200 --dead-letter dead -g g --commit written
	[ "$(grep -c small <<<"$output")" -eq 2 ]
	[ "$(jq -c '[.error.class, .record.stream, .record.id, .record.headers]' dead)" = '["too-large","s","2-1",["h","v"]]' ]
	[ "$(rcli xpending s g | head -n 1)" = 0 ]
}

# ---- groups ----

@test "rsub -s -g makes the group, at the beginning or at --from, and leaves one that is there" {
	add s 1 4
	[ "$(rsub -s s -e -g a --commit written | payloads)" = '1 2 3 4' ]
	[ "$(rsub -s s -e -g b --commit written --from 2-1 | payloads)" = '3 4' ]
	[ "$(rsub -s s -e -g c --commit written --from '$' | payloads)" = '' ]
	add s 5 5
	for group in a b c; do
		[ "$(rsub -s s -e -g $group --commit written --from 0 | payloads)" = 5 ]
	done
}

@test "rsub -s -g acknowledges exactly what is final, out of order too" {
	add s 1 6
	reads -s s
	come sink sink
	wait_lines sub.out 6
	[ "$(jq -r .seq sub.out | cut -d: -f1 | sort -u)" = "$RUN" ]
	[ "$(pending s g)" = '1-1 2-1 3-1 4-1 5-1 6-1' ]
	say sink "final $RUN 2" "drop $RUN 5" "dead $RUN 6"
	wait_for '[ "$(pending s g)" = "1-1 3-1 4-1" ]'
	say sink "final $RUN 1 3-4"
	wait_for '[ "$(pending s g)" = "" ]'
	stop sub
	wait_file_contains peer-sink.out "end $RUN 6"
	say sink bye
	wait_exit sub
	[ "$status" -eq 0 ]
}

@test "rsub -s -g prints its own pending entries first, after a kill -9, and then the new ones" {
	add s 1 6
	reads -s s
	come sink sink
	wait_lines sub.out 6
	say sink "final $RUN 1 3"
	wait_for '[ "$(pending s g)" = "2-1 4-1 5-1 6-1" ]'
	stop sub KILL
	wait_exit sub
	add s 7 8
	[ "$(rsub -s s -g g -n c --commit written -e | payloads)" = '2 4 5 6 7 8' ]
	[ "$(pending s g)" = '' ]
}

@test "rsub -s -g keeps at most a window of entries on their way, and goes on when some are final" {
	add s 1 100
	reads -s s --window 10
	come sink sink
	wait_lines sub.out 10
	say sink "final $RUN 1-4"
	wait_lines sub.out 14
	say sink "final $RUN 5-14"
	wait_lines sub.out 24
	[ "$(wc -w <<<"$(pending s g)")" -eq 10 ]
	[ "$(wc -l <sub.out)" -eq 24 ]
}

@test "rsub -s -g takes over what dead consumers have left, all of it, once it was idle long enough" {
	add s 1 1000
	rcli xgroup create s g 0 >/dev/null
	deliver s g dead 700
	deliver s g dead2 250
	spawn sub rsub -s s -g g -n c --claim-idle 300ms --commit written -c 1000
	wait_exit sub
	[ "$status" -eq 0 ]
	jq -r .payload sub.out | sort -n | cmp - <(seq 1000)
	[ "$(pending s g)" = '' ]
}

@test "rsub -s -g keeps the entries on their way from those who take over what is idle" {
	add s 1 5
	reads -s s --claim-idle 600ms
	come sink sink
	wait_lines sub.out 5
	spawn other rsub -s s -g g -n other --claim-idle 600ms --commit written --idle-exit 3s
	wait_exit other
	[ ! -s other.out ]
	say sink "final $RUN 1-5"
	wait_for '[ "$(pending s g)" = "" ]'
	[ "$(wc -l <sub.out)" -eq 5 ]
}

@test "rsub -s -g has entries on their way put back that are pending no more, and says how many" {
	add s 1 6
	reads -s s
	come sink sink
	wait_lines sub.out 6
	say sink "final $RUN 1"
	wait_for '[ "$(pending s g)" = "2-1 3-1 4-1 5-1 6-1" ]'
	rcli xgroup delconsumer s g c >/dev/null
	wait_for '[ "$(pending s g)" = "2-1 3-1 4-1 5-1 6-1" ]'
	wait_file_contains sub.err "stream 's': 5 entries were on their way and not pending any more"
	# One that somebody else acknowledges; one that is deleted does not come back.
	rcli xdel s 6-1 >/dev/null
	rcli xack s g 2-1 6-1 >/dev/null
	wait_for '[ "$(pending s g)" = "2-1 3-1 4-1 5-1" ]'
	wait_file_contains sub.err "stream 's': 1 entry was on its way"
	wait_for '[ "$(counter put_back_total)" = 6 ]'
	say sink "final $RUN 3 6"
	wait_for '[ "$(pending s g)" = "2-1 4-1 5-1" ]'
	rcli xgroup delconsumer s g c >/dev/null
	wait_for '[ "$(pending s g)" = "2-1 4-1 5-1" ]'
	stop sub KILL
	wait_exit sub
	[ "$(rsub -s s -g g -n c --commit written -e | payloads)" = '2 4 5' ]
}

# calls COMMAND: how many of it the server has had.
calls() {
	rcli info commandstats | sed -n "s/^cmdstat_$1:calls=\([0-9]*\),.*/\1/p"
}

@test "rsub -s -g claims what it holds once, not each second, where an entry of it was deleted" {
	add s 1 3
	reads -s s
	come sink sink
	wait_lines sub.out 3
	rcli xdel s 2-1 >/dev/null
	rcli xgroup delconsumer s g c >/dev/null
	wait_for '[ "$(pending s g)" = "1-1 3-1" ]'
	wait_file_contains sub.err "2 entries were on their way"
	# What it claims belongs to the question before.
	wait_for "[ \"\$(calls xpending)\" -gt $(calls xpending) ]"
	claims=$(calls xclaim) asked=$(calls xpending)
	wait_for "[ \"\$(calls xpending)\" -ge $((asked + 4)) ]"
	[ "$(calls xclaim)" = "$claims" ]
	# Another one that goes is missed, and so is one behind the deleted that is final.
	rcli xack s g 3-1 >/dev/null
	wait_for '[ "$(pending s g)" = "1-1 3-1" ]'
	say sink "final $RUN 2"
	rcli xack s g 1-1 >/dev/null
	wait_for '[ "$(pending s g)" = "1-1 3-1" ]'
	say sink "final $RUN 1 3"
	wait_for '[ "$(pending s g)" = "" ]'
	wait_for '[ "$(counter put_back_total)" = 4 ]'
}

@test "rsub -s -g has put back what is pending no more while its window is full" {
	add s 1 2500
	reads -s s --window 2200
	come sink sink
	wait_lines sub.out 2200
	rcli xgroup delconsumer s g c >/dev/null
	wait_for '[ "$(rcli xpending s g | head -n 1)" = 2200 ]'
	wait_file_contains sub.err "stream 's': 2200 entries were on their way"
	say sink "final $RUN 1-2200"
	wait_lines sub.out 2500
	say sink "final $RUN 2201-2500"
	wait_for '[ "$(rcli xpending s g | head -n 1)" = 0 ]'
	[ "$(grep -c 'not pending any more' sub.err)" -eq 1 ]
}

@test "rsub -s -g --max-deliveries: what was delivered so often in vain is a dead letter" {
	add s 1 3
	rcli xgroup create s g 0 >/dev/null
	deliver s g c 2
	for _ in 1 2; do rcli xreadgroup group g c streams s 1-1 >/dev/null; done
	# Entry 2 was delivered three times, entry 1 once.
	run -1 rsub -s s -g g -n c --commit written -e --max-deliveries 3 --dead-letter dead
	[ "$(grep '^{' <<<"$output" | payloads)" = '1 3' ]
	[ "$(jq -c '[.error.class, .record.id, .record.payload]' dead)" = '["timeout","2-1","2"]' ]
	grep -q 'delivered 3 times' dead
	[ "$(pending s g)" = '' ]
	# The same for what another consumer has left.
	add s 4 5
	deliver s g dead 2
	# Not the later one of the two to be idle.
	rcli xclaim s g dead 0 4-1 idle 60000 retrycount 7 >/dev/null
	spawn sub rsub -s s -g g -n c --commit written -c 1 --claim-idle 200ms --max-deliveries 7 --dead-letter dead
	wait_exit sub
	[ "$status" -eq 1 ]
	[ "$(payloads sub.out)" = 5 ]
	[ "$(tail -n 1 dead | jq -r .record.id)" = 4-1 ]
	[ "$(pending s g)" = '' ]
}

@test "rsub -s -g --commit written does not acknowledge what its reader has not taken" {
	# Entries larger than a pipe.
	for i in 1 2 3; do
		head -c 2000000 /dev/zero | tr '\0' "$i" | rcli -x xadd s "$i-1" payload >/dev/null
	done
	run -111 bash -c 'set -o pipefail; rsub -s s -g g --commit written | head -c 1'
	[[ $output == *"rsub: the reader of standard output has gone"* ]]
	[ "$(pending s g)" = '1-1 2-1 3-1' ]
	[ "$(rsub -s s -g g --commit written -e | jq -r '.payload[:1]' | paste -sd ' ')" = '1 2 3' ]
	[ "$(pending s g)" = '' ]
}

@test "rsub -s -g hands back what it has read and not printed when it is stopped" {
	reads -s s
	come sink sink
	wait_for 'rcli client list | grep -q "cmd=xreadgroup"'
	freeze "$(pid_of sub)"
	add s 1 3
	stop sub
	kill -CONT "$(pid_of sub)"
	wait_file_contains peer-sink.out "end $RUN"
	say sink bye
	wait_exit sub
	[ "$status" -eq 0 ]
	[ ! -s sub.out ]
	# Nobody waits for --claim-idle.
	[ "$(rsub -s s -g g -n another --commit written -c 3 | payloads)" = '1 2 3' ]
}

# ---- gaps ----

@test "rsub -s -g tells entries that were trimmed before they were read, how many, and goes on behind them" {
	add s 1 3
	reads -s s --window 3
	come sink sink
	wait_lines sub.out 3
	add s 4 50
	rcli xtrim s maxlen 10 >/dev/null
	wait_file_contains sub.err "gap: stream 's': 37 entries that were not read are gone"
	say sink "final $RUN 1-3"
	wait_lines sub.out 6
	say sink "final $RUN 4-6"
	wait_lines sub.out 9
	[ "$(payloads sub.out)" = '1 2 3 41 42 43 44 45 46' ]
	wait_for '[ "$(counter lost_records_total)" -eq 37 ]'
	[ "$(counter gaps_total)" -eq 1 ]
	[ "$(grep -c gap: sub.err)" -eq 1 ]
}

@test "rsub -s tells what was trimmed while it was stopped, and without a group too" {
	add s 1 20
	spawn sub rsub -s s --metrics m
	wait_lines sub.out 20
	wait_for '[ "$(counter consumer_lag)" -eq 0 ]'
	freeze "$(pid_of sub)"
	add s 21 100
	rcli xtrim s minid 91 >/dev/null
	kill -CONT "$(pid_of sub)"
	wait_file_contains sub.err "gap: stream 's': "
	# A read that waited has got the first of them.
	lost=$(sed -n "s/.*gap: stream 's': \([0-9]*\) entries that were not read.*/\1/p" sub.err)
	[ "$lost" -gt 60 ]
	wait_lines sub.out $((100 - lost))
	rsub -s s -g g --commit written -e >/dev/null
	add s 101 110
	rcli xtrim s maxlen 4 >/dev/null
	run -0 rsub -s s -g g --commit written -e
	[[ $output == *"gap: stream 's': 6 entries that were not read are gone"* ]]
}

@test "rsub -s -g acknowledges pending entries that are gone, and tells how many" {
	add s 1 10
	rcli xgroup create s g 0 >/dev/null
	deliver s g c 4
	deliver s g dead 4
	rcli xdel s 2-1 3-1 6-1 >/dev/null
	spawn sub rsub -s s -g g -n c --commit written --claim-idle 200ms -c 7 --metrics m
	wait_exit sub
	[ "$(jq -r .payload sub.out | sort -n | paste -sd ' ')" = '1 4 5 7 8 9 10' ]
	[ "$(pending s g)" = '' ]
	[ "$(counter lost_records_total)" -eq 3 ]
	grep -q "gap: stream 's': 2 entries that were delivered and not acknowledged are gone" sub.err
	grep -q "gap: stream 's': 1 entry that was delivered and not acknowledged is gone" sub.err
}

@test "rsub -s -g has no gap where a stream is trimmed behind it, or is only long" {
	spawn sub rsub -s s -g g --commit written --metrics m
	for n in 1 101 201 301; do
		add s $n $((n + 99))
		wait_lines sub.out $((n + 99))
		rcli xtrim s maxlen 50 >/dev/null
	done
	wait_for '[ "$(counter consumer_lag)" -eq 0 ]'
	[ "$(counter lost_records_total)" -eq 0 ]
	run ! grep gap: sub.err
}

# ---- groups that go ----

@test "rsub -s -g makes a group that was destroyed again from where it was, and prints nothing twice" {
	add s 1 6
	reads -s s
	come sink sink
	wait_lines sub.out 6
	say sink "final $RUN 1 2 5"
	wait_for '[ "$(pending s g)" = "3-1 4-1 6-1" ]'
	rcli xgroup destroy s g >/dev/null
	add s 7 8
	wait_file_contains sub.err "group 'g' of stream 's' was gone; it is made again, from id 3-0 on"
	wait_lines sub.out 8
	wait_for '[ "$(pending s g)" = "3-1 4-1 6-1 7-1 8-1" ]'
	say sink "final $RUN 3 4 6-8"
	wait_for '[ "$(pending s g)" = "" ]'
	[ "$(payloads sub.out)" = '1 2 3 4 5 6 7 8' ]
	[ "$(rsub -s s -g g --commit written -e)" = '' ]
}

@test "rsub -s -g tells what was trimmed while its group was gone" {
	add s 1 6
	reads -s s
	come sink sink
	wait_lines sub.out 6
	say sink "final $RUN 1-6"
	wait_for '[ "$(pending s g)" = "" ]'
	looks_again
	add s 7 8
	wait_lines sub.out 8
	printf '%s\n' multi 'xgroup destroy s g' 'xadd s 9-1 payload 9' 'xadd s 10-1 payload 10' 'xadd s 11-1 payload 11' \
		'xtrim s maxlen 1' exec | rcli >/dev/null
	wait_lines sub.out 9
	wait_file_contains sub.err "gap: stream 's': 2 entries that were not read are gone"
	looks_again
	[ "$(payloads sub.out)" = '1 2 3 4 5 6 7 8 11' ]
	[ "$(grep -c gap: sub.err)" = 1 ]
	wait_for '[ "$(counter lost_records_total)" = 2 ]'
	# What was read and is gone is no loss.
	printf '%s\n' multi 'xgroup destroy s g' 'xtrim s maxlen 0' exec | rcli >/dev/null
	wait_for '[ "$(grep -c "was gone" sub.err)" = 2 ]'
	add s 12 12
	wait_lines sub.out 10
	looks_again
	[ "$(grep -c gap: sub.err)" = 1 ]
}

@test "rsub -s -g reads a stream that was deleted and filled again from its beginning" {
	add s 100 103
	reads -s s
	come sink sink
	wait_lines sub.out 4
	say sink "final $RUN 1-3"
	wait_for '[ "$(pending s g)" = "103-1" ]'
	rcli flushall >/dev/null
	add s 1 3
	wait_lines sub.out 7
	[ "$(payloads sub.out)" = '100 101 102 103 1 2 3' ]
	# What was on its way belongs to the stream before.
	say sink "final $RUN 4-6"
	wait_for '[ "$(pending s g)" = "3-1" ]'
	grep -q "stream 's' was deleted" sub.err
	# Without a group too; what had been read is not lost.
	rcli del s >/dev/null
	add s 100 103
	spawn alone rsub -s s
	wait_lines alone.out 4
	rcli flushall >/dev/null
	add s 1 3
	wait_lines alone.out 7
	grep -q "stream 's' was deleted" alone.err
	[ "$(grep -c gap alone.err)" = 0 ]
}

@test "rsub -s -g makes its group again with nobody's entry lost when another consumer has some" {
	add s 1 6
	rcli xgroup create s g 0 >/dev/null
	deliver s g other 2
	reads -s s
	come sink sink
	wait_lines sub.out 4
	say sink "final $RUN 1-4"
	wait_for '[ "$(pending s g)" = "1-1 2-1" ]'
	wait_for '[ "$(counter consumer_lag)" = 0 ]'
	rcli xgroup destroy s g >/dev/null
	wait_for 'grep -q "\"payload\":\"2\"" sub.out'
	[ "$(jq -r .payload sub.out | sort -un | paste -sd ' ')" = '1 2 3 4 5 6' ]
}

# ---- a server in trouble ----

@test "rsub -s -g waits while Redis may not write, says so once, and loses nothing" {
	add s 1 3
	reads -s s
	come sink sink
	wait_lines sub.out 3
	rcli config set min-replicas-to-write 1 >/dev/null
	say sink "final $RUN 1-3"
	wait_file_contains sub.err NOREPLICAS
	wait_for '[ "$(awk "/^evpipe_up/ { print \$2 }" m)" -eq 0 ]'
	[ "$(awk '/^evpipe_ready/ { print $2 }' m)" -eq 0 ]
	[ "$(awk '/^evpipe_outages_total/ { print $2 }' m)" -eq 1 ]
	rcli config set min-replicas-to-write 0 >/dev/null
	wait_file_contains sub.err 'serves again'
	wait_for '[ "$(pending s g)" = "" ]'
	add s 4 5
	wait_lines sub.out 5
	[ "$(payloads sub.out)" = '1 2 3 4 5' ]
	[ "$(wc -l <sub.err)" -eq 2 ]
}

@test "rsub -s reads on while Redis has no memory for writers, acknowledges, and says nothing" {
	add s 1 6
	reads -s s
	come sink sink
	spawn alone rsub -s s --metrics alone.m
	wait_lines sub.out 6
	wait_lines alone.out 6
	rcli config set maxmemory 1 >/dev/null
	# Each second it looks at the stream, in a transaction, which takes no command now.
	wait_for 'rcli info errorstats | grep -qE "OOM:count=[1-9][0-9]"'
	say sink "final $RUN 1-6"
	wait_for '[ "$(pending s g)" = "" ]'
	rcli config set maxmemory 0 >/dev/null
	add s 7 8
	wait_lines sub.out 8
	wait_lines alone.out 8
	stop alone
	wait_exit alone
	[ "$(cat sub.err alone.err)" = '' ]
	grep -q '^evpipe_outages_total{.*} 0' alone.m
}

@test "rsub -s waits where a key of another type has taken the stream's place, says so once, and reads on" {
	add s 1 3
	add t 1 3
	reads -s s -s t
	come sink sink
	spawn alone rsub -s s --metrics alone.m
	wait_lines sub.out 6
	wait_lines alone.out 3
	say sink "final $RUN 1 2"
	wait_for '[ "$(pending s g) $(pending t g)" = "3-1 1-1 2-1 3-1" ]'
	rcli set s x >/dev/null
	# What is final of the other stream is acknowledged all the same.
	say sink "final $RUN 3-6"
	wait_for '[ "$(pending t g)" = "" ]'
	for name in sub alone; do wait_file_contains $name.err "'s' is no stream any more: WRONGTYPE"; done
	# Some attempts later.
	wait_for 'rcli info errorstats | grep -qE "WRONGTYPE:count=([1-9][0-9])"'
	for m in m alone.m; do
		wait_for "grep -q '^evpipe_outages_total{.*} 1' $m && grep -q '^evpipe_ready{.*} 0' $m"
	done
	rcli del s >/dev/null
	add s 4 5
	wait_lines sub.out 8
	wait_lines alone.out 5
	[ "$(payloads alone.out)" = '1 2 3 4 5' ]
	say sink "final $RUN 7 8"
	wait_for '[ "$(pending s g)" = "" ]'
	for name in sub alone; do
		wait_file_contains $name.err 'serves again'
		[ "$(grep -c 'trying again' $name.err) $(grep -c 'serves again' $name.err)" = '1 1' ]
	done
	for m in m alone.m; do wait_for "grep -q '^evpipe_ready{.*} 1' $m"; done
	grep -q '^evpipe_outages_total{.*} 1' m
}

@test "rsub -s -g waits on a replica, says so once, and goes on when it is a primary" {
	redis_start other
	add s 1 3
	redis-cli -s other.sock replicaof 127.0.0.1 "$REDIS_PORT" >/dev/null
	wait_for '[ "$(redis-cli -s other.sock xlen s)" = 3 ]'
	spawn sub rsub -u unix:other.sock -s s -g g --commit written --metrics m
	wait_file_contains sub.err READONLY
	# Some attempts later.
	wait_for '[ "$(redis-cli -s other.sock info stats | sed -n "s/^total_error_replies:\([0-9]*\).*/\1/p")" -ge 4 ]'
	[ "$(wc -l <sub.err)" -eq 1 ]
	[ "$(counter up)" -eq 0 ]
	redis-cli -s other.sock replicaof no one >/dev/null
	wait_lines sub.out 3
	wait_file_contains sub.err 'is there after'
	[ "$(wc -l <sub.err)" -eq 2 ]
}

@test "rsub -s -g reads on after CLIENT KILL and a restart of Redis, and prints no entry on its way again" {
	redis_stop
	redis_start redis --appendonly yes --appendfsync always
	add s 1 4
	reads -s s
	come sink sink
	wait_lines sub.out 4
	say sink "final $RUN 2"
	wait_for '[ "$(pending s g)" = "1-1 3-1 4-1" ]'
	rcli client kill type normal >/dev/null || true
	add s 5 6
	wait_lines sub.out 6
	redis_stop
	say sink "final $RUN 3"
	redis_start redis --appendonly yes --appendfsync always
	wait_for '[ "$(pending s g)" = "1-1 4-1 5-1 6-1" ]'
	add s 7 7
	wait_lines sub.out 7
	[ "$(payloads sub.out)" = '1 2 3 4 5 6 7' ]
	say sink "final $RUN 1 4-7"
	wait_for '[ "$(pending s g)" = "" ]'
}

# looks_again: it has seen how the stream is now, as it does each second.
looked() {
	rcli info commandstats | sed -n 's/^cmdstat_xinfo|groups:calls=\([0-9]*\),.*/\1/p'
}
looks_again() {
	local before
	before=$(looked)
	wait_for "[ \"\$(looked)\" -ge $((${before:-0} + 2)) ]"
}

# Redis 7.0 keeps in its AOF which entry a group has read last, and not how many it has read.
@test "rsub -s -g has no gap where Redis was started again and has lost count" {
	redis_stop
	redis_start redis --appendonly yes --appendfsync always
	add s 1 10
	reads -s s --commit written
	wait_lines sub.out 10
	wait_for '[ "$(pending s g)" = "" ]'
	rcli bgrewriteaof >/dev/null
	wait_for 'rcli info persistence | grep -q "^aof_rewrite_in_progress:0" && rcli info persistence | grep -q "^aof_rewrite_scheduled:0"'
	add s 11 30
	wait_lines sub.out 30
	looks_again
	redis_stop
	redis_start redis --appendonly yes --appendfsync always
	rcli xinfo groups s | paste - - | grep -q "entries-read.10$"
	wait_file_contains sub.err 'is there after'
	add s 31 31
	wait_lines sub.out 31
	looks_again
	stop sub
	wait_exit sub
	run ! grep gap: sub.err
}

@test "rsub -s ends with 100 on a key of another type, and where it may not read" {
	rcli set s x >/dev/null
	run -100 rsub -s s
	[[ $output == *WRONGTYPE* ]]
	run -100 rsub -s s -g g --commit written
	[[ $output == *WRONGTYPE* ]]
	add good 1 3
	run -100 rsub -s good -s s -e
	[[ $output == "rsub: redis at 127.0.0.1:$REDIS_PORT refuses to read stream 's': WRONGTYPE"* ]]
	rcli acl setuser narrow on '>pw' resetkeys '~other' +@all >/dev/null
	run -100 rsub -u "redis://narrow:pw@127.0.0.1:$REDIS_PORT" -s s -g g --commit written
	[[ $output == *NOPERM* ]]
}

@test "rsub -s -g ends with 100 when it may not acknowledge any more, and waits for nothing" {
	add s 1 3
	rcli acl setuser narrow on '>pw' '~*' +@all >/dev/null
	spawn sub rsub -u "redis://narrow:pw@127.0.0.1:$REDIS_PORT" -s s -g g --commit written
	wait_lines sub.out 3
	wait_for '[ "$(rcli xpending s g | head -n 1)" = 0 ]'
	rcli acl setuser narrow -xack >/dev/null
	add s 4 4
	wait_exit sub
	[ "$status" -eq 100 ]
	grep -q "refuses to acknowledge in stream 's': NOPERM.*allow it to user 'narrow'" sub.err
	[ "$(rcli xpending s g | head -n 1)" = 1 ]
}

@test "rsub -s -g does with the rights to read and acknowledge alone when the group is there" {
	add s 1 3
	rcli xgroup create s g 0 >/dev/null
	rcli acl setuser narrow on '>pw' '~s' '&*' -@all +xreadgroup +xack +xautoclaim +xclaim +select +client >/dev/null
	url=redis://narrow:pw@127.0.0.1:$REDIS_PORT
	rsub -u "$url" -s s -g g --commit written -e >out 2>err
	[ "$(payloads out)" = '1 2 3' ]
	grep -q 'refuses XINFO' err
	run -100 rsub -u "$url" -s s -g none --commit written
	[[ $output == *NOGROUP*xgroup* ]]
	# A question whose MULTI is refused fails on for reasons of its own.
	for right in multi exec; do
		rcli acl setuser narrow '~*' +@all "-$right" >/dev/null
		run -0 rsub -u "$url" -s s -g "$right" --from 0 --commit written -c 3
		[ "$(grep -c warning <<<"$output")" -eq 1 ]
		run -0 rsub -u "$url" -s s --from 0 -c 3
	done
}

@test "rsub -s -g understands Redis 6.2: pending entries that are gone are acknowledged and told" {
	spawn old "$ROOT/tests/bats/old-redis"
	wait_lines old.out 1
	spawn sub rsub -u "redis://127.0.0.1:$(head -n 1 old.out)" -s s -g g -n c --commit written -c 3 --metrics m
	wait_exit sub
	[ "$status" -eq 0 ]
	[ "$(payloads sub.out)" = '1 3 5' ]
	[ "$(counter lost_records_total)" -eq 2 ]
	[ "$(grep ^XACK old.out | grep -v ' 0-0$' | cut -d ' ' -f 4- | tr ' ' '\n' | sort | paste -sd ' ')" = '1-1 2-1 3-1 4-1 5-1' ]
}

# ---- a pipeline ----

@test "rsub -s -g under evpipe: a filter's drops are acknowledged, what grep swallows is not" {
	add s 1 6
	run -0 evpipe rsub -s s -g g -n c -e '|' evsel '.payload != 2' '|' tee seen '|' evack
	[ "$(payloads seen)" = '1 3 4 5 6' ]
	[ "$(pending s g)" = '' ]
	add s 7 9
	run -111 evpipe rsub -s s -g g -n c -e --drain 200ms '|' grep -v '"8"' '|' evack
	[[ $output == *"1 record was not acknowledged, namely stream 's', id 8-1"* ]]
	[ "$(pending s g)" = '8-1' ]
	run -0 evpipe rsub -s s -g g -n c -e --account order '|' grep -v '"8"' '|' evack
	[ "$(pending s g)" = '' ]
}

@test "rsub -s -g: kill -9 of any member at any time loses no entry, and repeats a window at most" {
	: >seen
	for n in 1 2 3 4 5 6 7 8; do
		add s $((n * 2500 - 2499)) $((n * 2500))
		before=$(wc -l <seen)
		spawn unit evpipe rsub -s s -g g -n c --window 500 '|' cat '|' "$ROOT/examples/sinks/appender" seen
		wait_for "[ \$(wc -l <seen) -gt $before ]"
		member=$((n % 3))
		pid=$(pgrep -P "$(pid_of unit)" | sed -n $((member + 1))p)
		kill -KILL "$pid"
		wait_exit unit
	done
	spawn unit evpipe rsub -s s -g g -n c --window 500 -e '|' cat '|' "$ROOT/examples/sinks/appender" seen
	wait_exit unit
	[ "$status" -eq 0 ]
	sort -nu seen | cmp - <(seq 20000)
	[ "$(wc -l <seen)" -le 24500 ]
	[ "$(pending s g)" = '' ]
}

# ---- usage ----

@test "rsub -s -g without a socket, and options without what they need, are wrong usage" {
	bad() {
		run -100 rsub "$@"
		echo "$* : $output"
		[ "${#lines[@]}" -eq 1 ]
	}
	bad -s s -g g
	[[ $output == *'--commit written'* ]]
	bad -s s -p 'x*'
	bad news -g g
	bad -s s -n c
	bad -s s --max-deliveries 3
	bad -s s -g g --commit written --max-deliveries 3
	bad -s s -g g --commit never
	bad -s s --from x
	bad -s s --from 1-2-3
	bad -s s --from 99999999999999999999
	bad -s s -g g --commit written --claim-idle 0
	bad -s ''
	bad -s s -g g --commit written --window 5
	bad -s s -g g --raw --ack ack
}
