#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# evreplay: records go when their time has come, in the order of their time, and not a byte of them changes.

load helpers
load ack

setup() {
	harness_setup
	mkfifo in out
	# Two partitions, one behind the other, as kread prints them.
	cat >topic <<-'EOT'
	{"topic":"t","partition":0,"offset":0,"ts":1000,"key":null,"payload":"a", "x":1.10}
	{"topic":"t","partition":0,"offset":1,"ts":1500,"payload":"c"}
	 {"topic":"t","partition":0,"offset":2,"ts":3000,"key_b64":"AAE=","payload":null}
	{"topic":"t","partition":1,"offset":0,"ts":1200,"payload_b64":"//4A"}
	{"topic":"t","partition":1,"offset":1,"ts":2500,"payload":{"d":1}}
	EOT
}

# apart MS…: records whose times stand so far apart.
apart() {
	local ms=1795677803876 gap n=0
	for gap in 0 "$@"; do
		((ms += gap, n++)) || true
		echo "{\"topic\":\"t\",\"partition\":0,\"offset\":$n,\"ts\":$ms,\"payload\":\"$n\"}"
	done
}

# position GROUP TOPIC: prints the position of partition 0.
position() {
	position_and_metadata "$@" | cut -d ' ' -f 1
}

@test "each record goes on as it came" {
	evreplay --speed 1e6 <topic | sort >out.lines
	sort topic | diff - out.lines
}

@test "partitions are mixed by time" {
	evreplay --speed 1e6 <topic | jq -r .ts >out.ts
	[ "$(tr '\n' ' ' <out.ts)" = '1000 1200 1500 2500 3000 ' ]
	# Times before 1970 too.
	jq -c '.ts -= 2000' topic | evreplay --speed 1e6 | jq -r .ts >out.ts
	[ "$(tr '\n' ' ' <out.ts)" = '-1000 -800 -500 500 1000 ' ]
}

@test "within a partition the order stays, whatever the times say" {
	printf '{"topic":"t","partition":%s,"ts":%s,"payload":"%s"}\n' 0 5 a 0 3 b 0 4 c 1 6 d 0 7 e 1 -1 f 0 8 g >in.lines
	[ "$(evreplay --speed 1e6 <in.lines | jq -r .payload | tr -d '\n')" = abcdefg ]
}

@test "a record without a time follows the one before it" {
	printf '%s\n' '{"channel":"c","payload":"1"}' '{"channel":"c","payload":"2"}' \
		'{"stream":"s","id":"1000-0","payload":"3"}' '{"channel":"c","payload":"4"}' \
		'{"stream":"s","id":"1010-1","payload":"5"}' '{"channel":"c","payload":"6"}' >in.lines
	evreplay <in.lines >seen
	cmp seen in.lines
}

# A wait is not shorter than it should be; on a loaded machine it may be longer.
@test "the gaps between records are kept" {
	apart 300 0 600 >in.lines
	python3 - <<-'EOF'
	import subprocess, time
	with open("in.lines") as lines:
	    start = time.monotonic()
	    it = subprocess.Popen(["evreplay"], stdin=lines, stdout=subprocess.PIPE)
	at = [(time.monotonic() - start) for _ in it.stdout]
	assert len(at) == 4 and it.wait() == 0, at
	assert at[1] >= 0.29 and at[3] >= 0.89, at
	EOF
}

@test "--speed divides the gaps, and --max-gap ends them" {
	apart 86400000 86400000 >in.lines
	[ "$(evreplay --speed 864000000 <in.lines | wc -l)" -eq 3 ]
	[ "$(evreplay --max-gap 10ms <in.lines | wc -l)" -eq 3 ]
	[ "$(evreplay -s 0.5 -m 0s <in.lines | wc -l)" -eq 3 ]
	spawn it sh -c 'exec evreplay --speed 100 <in.lines'
	wait_lines it.out 1
	stop it
	wait_exit it
	[ "$(wc -l <it.out)" -eq 1 ]
}

@test "a live stream flows on" {
	spawn it sh -c 'exec evreplay <in'
	exec 5>in
	apart 10 >&5
	wait_lines it.out 2
	apart 10 20 30 | tail -n 2 >&5
	wait_lines it.out 4
	exec 5>&-
	wait_exit it
	[ "$status" -eq 0 ]
}

@test "--ahead bounds what is held" {
	seq 200000 | sed 's/.*/{"topic":"t","partition":0,"ts":&,"payload":"&"}/' >in.lines
	evreplay --speed 1e9 --ahead 4K <in.lines >seen
	cmp seen in.lines
	# 100 MB, of which all but the first record are for tomorrow.
	apart 86400000 >in.lines
	python3 -c 'print(("{\"ts\":1795764203877,\"payload\":\"" + "x" * 1000000 + "\"}\n") * 100, end="")' >>in.lines
	spawn it sh -c 'exec evreplay --ahead 1M <in.lines'
	wait_lines it.out 1
	[ "$(awk '/VmHWM/ { print $2 }' "/proc/$(pid_of it)/status")" -lt 50000 ]
	stop it
	wait_exit it
	run -100 evreplay --ahead 0 </dev/null
}

# ---- the end ----

@test "a signal ends it at once when its input is a file" {
	apart 86400000 >in.lines
	for signal in TERM INT HUP; do
		spawn "it$signal" sh -c 'exec evreplay <in.lines'
		wait_lines "it$signal.out" 1
		stop "it$signal" "$signal"
		wait_exit "it$signal"
		[ "$status" -eq 111 ]
		grep -q '^evreplay: ended by a signal with ' "it$signal.err"
	done
}

@test "with a pipe a signal ends the gaps: the rest goes on, and the end of input ends it" {
	spawn it sh -c 'exec evreplay <in'
	exec 5>in
	apart 86400000 86400000 >&5
	wait_lines it.out 1
	stop it
	wait_lines it.out 3
	apart 1 >&5
	wait_lines it.out 5
	exec 5>&-
	wait_exit it
	[ "$status" -eq 0 ]
}

@test "the reader goes while a record waits" {
	spawn it sh -c 'exec evreplay <in >out'
	exec 5>in 6<out
	apart 86400000 >&5
	read -r _ <&6
	exec 6<&-
	wait_exit it
	[ "$status" -eq 111 ]
	grep -q 'the reader of standard output has gone' it.err
}

@test "a torn last line is told, and what came before goes on" {
	apart 10 >in.lines
	printf '{"payload":' >>in.lines
	run -111 evreplay -q <in.lines
	[ "${#lines[@]}" -eq 3 ]
}

@test "what is no number, no time and no record is refused" {
	for args in '--speed x' '--speed 0' '--speed -1' '--speed inf' '--speed nan' '--speed 1x' '--max-gap 5sec' '--ahead 1k' file; do
		read -ra words <<<"$args"
		run -100 evreplay "${words[@]}" </dev/null
	done
	echo nonsense >in.lines
	run -1 evreplay <in.lines
	[[ $output == *'(json-decode)'* ]]
}

# ---- acknowledgements ----

@test "it says that it is busy while it holds records, and reports none of them" {
	source_start
	spawn it sh -c 'exec evreplay --ack ack <in'
	exec 5>in
	apart 86400000 | sed "s/^{/{\"seq\":\"$RUN:1\",/" >&5
	wait_lines it.out 1
	wait_file_contains source.out 'busy'
	run ! grep -E 'evreplay: (final|drop|dead)' source.out
	exec 5>&-
}

@test "under a group each record is acknowledged once it has gone on; a stop of the unit ends the gaps" {
	kafka_start
	topic=$(new_topic) copy=$(new_topic)
	group=$(unique group)
	apart 200 300 | sed 's/"topic":"t",//; s/"partition":0,//' | kwrite -q -t "$topic"
	run -0 evpipe kread -q -g "$group" -e "$topic" '|' evreplay '|' kwrite -q -t "$copy"
	[ "$(kconsume "$copy" | tr -d '\n')" = 123 ]
	[ "$(position "$group" "$topic")" = 3 ]

	apart 3000000 300000 | sed 's/"topic":"t",//; s/"partition":0,//' | kwrite -q -t "$topic"
	spawn unit evpipe kread -q -g "$group" "$topic" '|' evreplay '|' kwrite -q -t "$copy"
	wait_for '[ "$(kconsume "$copy" | wc -l)" -ge 4 ]'
	stop unit
	wait_exit unit
	cat unit.err
	[ "$status" -eq 0 ]
	[ "$(kconsume "$copy" | tr -d '\n')" = 123123 ]
	[ "$(position "$group" "$topic")" = 6 ]
}

@test "a source at its end waits for records that are held for longer than --drain" {
	kafka_start
	topic=$(new_topic) copy=$(new_topic)
	group=$(unique group)
	apart 2500 | sed 's/"topic":"t",//; s/"partition":0,//' | kwrite -q -t "$topic"
	run -0 evpipe --drain 1s kread -q --drain 500ms -g "$group" -e "$topic" '|' evreplay '|' kwrite -q -t "$copy"
	[ "$(position "$group" "$topic")" = 2 ]
}
