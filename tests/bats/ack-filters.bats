#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# What a filter tells its source, and when: drops and dead letters, nothing of what it hands on, and
# nothing before it is a fact.

load helpers
load ack

# filter NAME COMMAND…: the filter from the FIFO in to NAME.out; descriptor 5 writes into it.
filter() {
	local name=$1
	shift
	[ -p in ] || mkfifo in
	spawn "$name" sh -c 'exec "$@" <in' sh "$@"
	exec 5>in
}

# told LINE…: just these reports, then gone.
told() {
	heard_all evstamp >told
	printf '%s\n' "$@" gone | diff - told
}

# ---- what is reported ----

@test "drops are reported, numbers in a row as one range; what passes is not" {
	source_start
	source_does end 12
	{ from b 1; from a 2; from a 3; from a 4; from b 5; from a 6; from a 12; } >records
	run -0 evstamp --drop a <records
	[ "$output" = "$(from b 1; from b 5)" ]
	told "drop $RUN 2-4 6 12" bye
}

@test "a filter that drops nothing says hello and bye" {
	source_start
	source_does end 3
	{ rec 1; rec 2; rec 3; } >records
	evstamp --drop a <records >out
	cmp records out
	told bye
	grep -qxE 'evstamp: hello evstamp [0-9]+ filter' source.out
}

@test "a drop is reported while input stays open and silent" {
	source_start
	filter one evstamp --drop a
	from a 7 >&5
	wait_file_contains source.out "evstamp: drop $RUN 7"
	from b 8 >&5
	wait_lines one.out 1
	from a 9 >&5
	wait_file_contains source.out "evstamp: drop $RUN 9"
	source_does end 9
	exec 5>&-
	wait_exit one
	[ "$status" -eq 0 ]
	told "drop $RUN 7" "drop $RUN 9" bye
}

@test "labels that are sets or parts are reported as they stand" {
	source_start
	source_does end 30
	{ from a 1; from a 3-5,9; from a 12.2/3; from a 12-14.1/2; from a 15; } >records
	{ from a 2; from a 20.1/2; } | sed 's|/|\\/|' >>records
	run -0 evstamp --drop a <records
	[ -z "$output" ]
	told "drop $RUN 1 3-5,9 12.2/3 12-14.1/2 15 2 20.1/2" bye
}

@test "records without a seq account for nothing" {
	source_start
	source_does end 2
	{ from a 1; echo '{"payload":"{\"source\":\"a\"}"}'; echo '{"seq":null,"payload":"x"}'; } >records
	run -0 evstamp --drop a <records
	[ "$output" = '{"seq":null,"payload":"x"}' ]
	told "drop $RUN 1" bye
}

@test "a record of another run, or whose seq is not ours, passes as it came" {
	source_start
	source_does end 1
	{ from a 1 | sed "s/$RUN/fedcba9876543210/"; from a 0; from a 1 | sed "s/$RUN:1/mine/"; } >records
	evstamp --drop a <records >out
	cmp records out
	told bye
}

@test "without a socket nothing changes" {
	{ from b 1; from a 2; } >records
	run -0 evstamp --drop a <records
	[ "$output" = "$(from b 1)" ]
	EVPIPE_ACK='' run -0 evstamp --drop a <records
	[ "$output" = "$(from b 1)" ]
}

@test "--ack is taken before the environment" {
	source_start
	source_does end 1
	from a 1 >records
	EVPIPE_ACK=/nowhere/ack evstamp --drop a --ack ack <records
	told "drop $RUN 1" bye
}

# ---- refused records ----

@test "a dead letter is reported as dead, and kept first" {
	source_start
	source_does end 4
	{ from a 1; rec 2 '['; from b 3; rec 4 '['; } >records
	run -1 strace -o trace -e trace=fdatasync,sendto -s 400 \
		evstamp --drop a --set c --dead-letter dead <records
	told "drop $RUN 1" "dead $RUN 2" "dead $RUN 4" bye ||
		told "drop $RUN 1" "dead $RUN 2 4" bye
	[ "$(wc -l <dead)" -eq 2 ]
	# Whatever stands in the trace about "dead" stands behind the sync.
	sync=$(grep -n '^fdatasync' trace | head -n 1 | cut -d: -f1)
	report=$(grep -n 'dead ' trace | head -n 1 | cut -d: -f1)
	cat trace
	[ "$sync" -lt "$report" ]
}

@test "what is skipped is reported as dropped" {
	source_start
	source_does end 3
	{ rec 1 '['; from b 2; rec 3 '['; } >records
	run -1 evstamp --set c --on-error skip <records
	told "drop $RUN 1 3" bye
}

@test "a record that stops the filter stays open, and the source is told why" {
	source_start
	{ from a 1; from b 2; rec 3 '['; from a 4; } >records
	run -1 --separate-stderr evstamp --drop a --set c <records
	[ "$output" = "$(from c 2)" ]
	heard_all evstamp >told
	[ "$(sed -n 1p told)" = "drop $RUN 1" ]
	[[ $(sed -n 2p told) == "stop a record was refused: "*"(json-decode)" ]]
	[ "$(sed -n '3,$p' told)" = "$(echo bye; echo gone)" ]
}

@test "a line that is no record accounts for the seq in it; one that is no JSON does not" {
	source_start
	source_does end 4
	{
		echo "{\"seq\":\"$RUN:1\",\"payload\":5}"
		echo "{\"seq\":\"$RUN:2\"}"
		echo "{\"seq\":\"$RUN:3\",\"payload\":\"x"
		echo "{\"seq\":\"$RUN:4\",\"payload\":\"{\\\"source\\\":\\\"a\\\"}\"}"
	} >records
	run -1 evstamp --drop a --dead-letter dead <records
	[ "$(wc -l <dead)" -eq 3 ]
	told "dead $RUN 1-2" "drop $RUN 4" bye
}

@test "a line over the limit accounts for the seq before its payload" {
	source_start
	source_does end 4
	long=$(head -c 300000 /dev/zero | tr '\0' x)
	{ rec 1 "$long"; rec 2.1/2 "$long"; rec 3; rec 4 "$long"; } >records
	run -1 evstamp --drop a --max-line 1K --dead-letter dead <records
	[ "$(wc -l <dead)" -eq 3 ]
	# In how many messages is not said.
	heard_all evstamp | sed '/^dead /!d' | cut -d' ' -f3- | xargs >labels
	[ "$(cat labels)" = "1 2.1/2 4" ]
	[ "$(heard evstamp | tail -n 2 | xargs)" = "bye gone" ]
}

@test "a line over the limit that stops the filter is told as well" {
	source_start
	rec 1 "$(head -c 2000 /dev/zero | tr '\0' x)" >records
	run -1 evstamp --drop a --max-line 1K <records
	told "stop a record was refused: it is too large" bye
}

@test "a line over the limit that was cut short accounts for nothing" {
	source_start
	source_does end 1
	rec 1 "$(head -c 300000 /dev/zero | tr '\0' x)" | head -c 200000 >records
	run -111 evstamp --drop a --max-line 1K --dead-letter dead <records
	told bye
}

# ---- the beginning ----

@test "no input is read before the greeting" {
	source_start --mute
	rec 1 >records
	spawn held sh -c 'exec evstamp --drop a --metrics m <records'
	wait_file_contains source.out 'hello evstamp'
	# It goes on running its loop, without a record.
	wait_for '[ -s m ]'
	before=$(stat -c %Y.%i m)
	wait_for "[ \"\$(stat -c %Y.%i m)\" != $before ]"
	grep -q 'records_in_total{pipeline="evpipe",tool="evstamp"} 0' m
	[ ! -s held.out ]
	source_does end 1
	source_does greet
	wait_exit held
	[ "$status" -eq 0 ]
	cmp records held.out
}

@test "a source that never greets: one signal ends it when nobody writes to its input any more" {
	source_start --mute
	rec 1 >records
	spawn held sh -c 'exec evstamp --drop a <records'
	wait_file_contains source.out 'hello evstamp'
	stop held
	wait_exit held
	[ "$status" -eq 111 ]
	grep -q 'ended by a signal' held.err
}

@test "a source that comes later is waited for" {
	export EVPIPE_ACK=$T/ack
	from a 1 >records
	spawn early sh -c 'exec evstamp --drop a --metrics m <records'
	wait_file_contains m 'evpipe_records_in_total{pipeline="evpipe",tool="evstamp"} 0'
	source_start
	wait_file_contains source.out "evstamp: drop $RUN 1"
	wait_exit early
	[ "$status" -eq 111 ]
}

@test "another user's socket is permanent trouble, at both ends" {
	[ "$(id -u)" -eq 0 ] || skip "this needs a second user"
	mkdir shared
	chmod 1777 shared
	chmod a+x "$T"
	spawn other setpriv --reuid=65534 --clear-groups python3 -c '
import os, socket, time
s = socket.socket(socket.AF_UNIX)
s.bind("shared/ack")
os.chmod("shared/ack", 0o777)
s.listen()
print("listening", flush=True)
time.sleep(1000)' </dev/null
	wait_file_contains other.out listening
	rec 1 >in
	run -100 evsel --ack shared/ack . <in
	[ "$output" = "evsel: the acknowledgement socket 'shared/ack' is another user's (uid 65534): give a path in a directory of your own" ]
	run -100 rsub -u "unix:$T/no" --ack shared/ack x
	[ "$output" = "rsub: cannot listen on 'shared/ack': the path is another user's socket (uid 65534): use a directory of your own" ]
	stop other
	run -100 rsub -u "unix:$T/no" --ack shared/ack x
	[[ $output == *"is another user's socket (uid 65534)"* ]]
	[ -S shared/ack ]
}

@test "without descriptors it is 111, with cause and remedy" {
	local limit program
	rec 1 >in
	for program in "evsel ." "evbatch -- cat" "evkey .a --dead-letter dead" "rpub -u unix:$T/no x" \
		"rsub -u unix:$T/no x" "rsub -u unix:$T/no -s x" "rsub -u redis+sentinel://127.0.0.1:1/m x" \
		"rapply -u unix:$T/no" "kwrite -b 127.0.0.1:1 -t x"; do
		for limit in 5 6 7; do
			run timeout -s KILL 5 bash -c "ulimit -n $limit; exec $program <in"
			case $status in
			0 | 1 | 137) continue ;;
			esac
			[ "$status" -eq 111 ]
			[[ $output == *"Too many open files; raise the limit (ulimit -n)"* ]]
		done
	done
}

@test "a path that is no socket is permanent trouble" {
	rec 1 >records
	echo >file
	run -100 evstamp --drop a --ack records/x <records
	[[ $output == *"cannot connect to the acknowledgement socket 'records/x': Not a directory" ]]
}

# ---- the end ----

@test "reports have left before standard output is closed" {
	source_start
	source_does end 1
	from a 1 >records
	strace -o trace -e trace=sendto,close -s 400 evstamp --drop a <records >out
	cat trace
	bye=$(grep -n 'sendto.*bye' trace | tail -n 1 | cut -d: -f1)
	closed=$(grep -n '^close(1)' trace | tail -n 1 | cut -d: -f1)
	[ "$bye" -lt "$closed" ]
}

@test "an end of input without the source's end is 111" {
	source_start
	{ from a 1; from b 2; } >records
	run -111 --separate-stderr evstamp --drop a <records
	[ "$output" = "$(from b 2)" ]
	# shellcheck disable=SC2154 # run sets it
	[ "$stderr" = "evstamp: the input has ended, but the source has not said that it is whole" ]
	told "drop $RUN 1"
}

@test "records that a killed source has left in the pipe are handed on, then it is 111" {
	source_start
	filter rest evstamp --drop a
	from b 1 >&5
	wait_lines rest.out 1
	stop source KILL
	wait_for '! alive "$(pid_of source)"'
	{ from b 2; from a 3; from b 4; } >&5
	wait_lines rest.out 3
	exec 5>&-
	wait_exit rest
	[ "$status" -eq 111 ]
	[ "$(cat rest.out)" = "$(from b 1; from b 2; from b 4)" ]
}

@test "a connection that was cut ends it with 111 although input goes on" {
	source_start
	filter cut evstamp --drop a
	from b 1 >&5
	wait_lines cut.out 1
	source_does hang-up
	wait_exit cut
	[ "$status" -eq 111 ]
	[ "$(cat cut.err)" = "evstamp: the source has closed the acknowledgement socket, but its output goes on" ]
	exec 5>&-
}

@test "a source that says stop ends it with 100 and its reason" {
	source_start
	filter told evstamp --drop a
	from b 1 >&5
	wait_lines told.out 1
	source_does say stop you are not wanted
	wait_exit told
	[ "$status" -eq 100 ]
	[ "$(cat told.err)" = "evstamp: you are not wanted" ]
	exec 5>&-
}

@test "a reader that goes: what is a fact is told, without a bye" {
	source_start
	[ -p in ] || mkfifo in
	mkfifo out
	spawn gone sh -c 'exec evstamp --drop a <in >out'
	exec 5>in 6<out
	from a 1 >&5
	wait_file_contains source.out "drop $RUN 1"
	exec 6<&-
	wait_exit gone
	[ "$status" -eq 111 ]
	told "drop $RUN 1"
	exec 5>&-
}

@test "a source that does not read holds up nothing but the end" {
	source_start
	filter full evstamp --drop a
	from b 1 >&5
	wait_lines full.out 1
	source_does deaf
	# Each a line of its own, in bulk more than a socket holds; every second one passes.
	python3 - >&5 <<-'EOP'
	for n in range(2, 400002, 2):
	    for who, number in ("a", n), ("b", n + 1):
	        print('{"seq":"0123456789abcdef:%d","payload":"{\\"source\\":\\"%s\\"}"}' % (number, who))
	EOP
	wait_lines full.out 200001
	source_does hear
	source_does end 400001
	exec 5>&-
	wait_exit full
	[ "$status" -eq 0 ]
	heard_all evstamp >told
	[ "$(tail -n 2 told)" = "$(echo bye; echo gone)" ]
	[ "$(grep -o ' [0-9]*' told | wc -l)" -gt 200000 ]
	grep '^drop' told | cut -d' ' -f3- | tr ' ' '\n' >numbers
	seq 2 2 400000 | cmp - numbers
}

@test "several filters in a line keep their connections apart" {
	source_start
	source_does end 3
	{ from a 1; from b 2; from c 3; } >records
	evstamp --drop a <records | evstamp --drop b | evkey .source >out
	[ "$(sed 's/,"payload.*//' out)" = "{\"key\":\"c\",\"seq\":\"$RUN:3\"" ] || cat out
	wait_for '[ "$(grep -c gone source.out)" -eq 3 ]'
	[ "$(grep -c '^evstamp: drop' source.out)" -eq 2 ]
	[ "$(heard evkey)" = "$(echo bye; echo gone)" ]
}
