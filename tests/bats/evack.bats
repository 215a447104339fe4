#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# evack: what a program prints back is final, and nothing else is.

load helpers
load ack

told() {
	heard_all evack | grep -vx -e idle -e busy >told
	printf '%s\n' "$@" gone | diff - told
}

@test "what is printed back is final, in the order of arrival; nothing is printed" {
	source_start
	source_does end 12
	{ for n in 1 2 3 7 5 6 12; do rec "$n"; done; } >in
	run -0 evack <in
	[ -z "$output" ]
	told "final $RUN 1-3 7 5-6 12" bye
	grep -qxE 'evack: hello evack [0-9]+ sink' source.out
}

@test "it is told while input stays open and silent" {
	source_start
	mkfifo in
	spawn one sh -c 'exec evack <in'
	exec 5>in
	rec 1 >&5
	wait_file_contains source.out "evack: final $RUN 1"
	rec 2 >&5
	wait_file_contains source.out "evack: final $RUN 2"
	wait_for '[ "$(grep -c "^evack: idle" source.out)" -ge 1 ]'
	source_does end 2
	exec 5>&-
	wait_exit one
	[ "$status" -eq 0 ]
}

@test "a record printed anew, an object with a seq, and a seq alone will do" {
	source_start
	source_does end 9
	{
		rec 1 | jq .  -c
		echo " { \"payload\" : {\"a\":1} , \"seq\" : \"$RUN:2\" } "
		echo "{\"seq\":\"$RUN:3\"}"
		echo "{\"done\":true,\"payload\":5,\"seq\":\"$RUN:4\"}"
		echo "$RUN:5"
		echo "$RUN:6.1/2"
		echo "{\"seq\":\"$RUN:6.2\\/2\"}"
		echo "$RUN:7,9"
	} >in
	run -0 evack <in
	told "final $RUN 1-5 6.1/2 6.2/2 7,9" bye
}

@test "what is neither a record nor has a seq is refused" {
	source_start
	{ rec 1; echo "wrote 17 rows"; rec 2; } >in
	run -1 evack <in
	[[ $output == "evack: line 2: not JSON"*"(json-decode)" ]]
	heard_all evack | grep -v -x -e idle -e busy >told
	[ "$(sed -n 1p told)" = "final $RUN 1" ]
	[[ $(sed -n 2p told) == "stop a record was refused: not JSON"* ]]
	[ "$(sed '1,2d' told)" = "$(echo bye; echo gone)" ]
	for line in '{"a":1}' '[]' '{"seq":5,"payload":""}' "$RUN:" "${RUN^^}:1" "$RUN"; do
		echo "$line" >in
		EVPIPE_ACK='' run -1 evack <in
	done
}

@test "a line that is torn or garbled behind its seq is not final" {
	source_start
	source_does end 3
	{ rec 1; echo "{\"seq\":\"$RUN:2\",\"payload\":\"x"; printf '%s' "$RUN:3"; } >in
	run -111 evack --dead-letter dead <in
	told "final $RUN 1" bye
}

@test "a number that is none of the source's is trouble, and nothing after it is final" {
	source_start
	for bad in "fedcba9876543210:2" "$RUN:0" "$RUN:2.3/2"; do
		{ rec 1; echo "{\"seq\":\"$bad\"}"; rec 3; } >in
		run -100 evack <in
		[[ $output == *"(seq '$bad')"* ]]
	done
	wait_for '[ "$(grep -c gone source.out)" -eq 3 ]'
	run ! grep -q "final $RUN [23]" source.out
	[ "$(grep -c "final $RUN 1$" source.out)" -eq 3 ]
}

@test "records without a seq are counted" {
	source_start
	source_does end 1
	{ rec 1; echo '{"payload":"x"}'; echo '{"payload":null,"seq":null}'; } >in
	run -0 evack <in
	[ "$output" = "evack: warning: 2 records had no seq: they were delivered, but account for nothing" ]
	told "final $RUN 1" "bare $RUN 2" bye
}

@test "the end of input without the source's end is 111" {
	source_start
	rec 1 >in
	run -111 evack <in
	told "final $RUN 1"
}

@test "no input is read before the greeting" {
	source_start --mute
	rec 1 >in
	spawn held sh -c 'exec evack --metrics m <in'
	wait_file_contains source.out 'hello evack'
	wait_for '[ -s m ]'
	before=$(stat -c %Y.%i m)
	wait_for "[ \"\$(stat -c %Y.%i m)\" != $before ]"
	grep -q 'records_in_total{pipeline="evpipe",tool="evack"} 0' m
	source_does end 1
	source_does greet
	wait_exit held
	[ "$status" -eq 0 ]
	grep -qx 'evpipe_messages_forwarded_total{pipeline="evpipe"} 1' m
}

@test "a signal is ignored while input is open, a second one ends it" {
	source_start
	mkfifo in
	spawn two sh -c 'exec evack <in'
	exec 5>in
	rec 1 >&5
	wait_file_contains source.out "final $RUN 1"
	stop two TERM
	rec 2 >&5
	wait_file_contains source.out "final $RUN 2"
	stop two INT
	wait_exit two
	[ "$status" -eq 111 ]
	heard_all evack >told
	run ! grep -x bye told
	exec 5>&-
}

@test "a program that dies without a word leaves what it held open" {
	source_start
	seq 100 | sed "s/.*/{\"seq\":\"$RUN:&\",\"payload\":\"&\"}/" >in
	{ python3 -c '
import os, signal, sys
for n, line in enumerate(sys.stdin, 1):
    if n == 50:
        os.kill(os.getpid(), signal.SIGKILL)
    print(line, end="", flush=True)' <in || true; } 2>err |
		{ evack && status=0 || status=$?; echo "$status" >status; } 2>evack.err
	[ "$(cat status)" -eq 111 ]
	heard_all evack >told
	[ "$(sed -n 's/^final [^ ]* //p' told | grep -o '[0-9]*' | sort -n | tail -n 1)" -eq 49 ]
}

@test "the manual's sink is the one in the examples" {
	sed -n '/^#!/,/^\.Ed/p' "$ROOT/man/evack.1" | sed '$d; s/\\e/\\/g' | cmp - "$ROOT/examples/sinks/to-file"
}

@test "the manual's sink that speaks the protocol itself tells what is whole" {
	source_start
	{ rec 1; rec 2; } >in
	run -111 "$ROOT/examples/sinks/appender" delivered <in
	source_does end 2
	run -0 "$ROOT/examples/sinks/appender" delivered <in
	printf '{"seq' >>in
	run -111 "$ROOT/examples/sinks/appender" delivered <in
	[ "$(cat delivered)" = $'p1\np2\np1\np2\np1\np2' ]
	wait_for '[ "$(grep -c gone source.out)" -eq 3 ]'
	[ "$(heard appender)" = "final $RUN 1 2
gone
final $RUN 1 2
bye
gone
final $RUN 1 2
gone" ]
}
