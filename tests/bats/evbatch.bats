#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# evbatch: what a program makes of a batch is labelled with just the numbers that went in, and is written
# whole or not at all.

load helpers
load ack

# labels: of the records on standard input, one a line, without the run.
labels() {
	LC_ALL=C sed -nE "s/.*\"seq\":\"$RUN:([^\"]*)\".*/\1/p"
}

# lines N [M]: records N (from N) to M.
recs() {
	local n
	for ((n = $1; n <= ${2:-$1}; n++)); do rec "$n"; done
}

# How it fares is a matter of time.
told() {
	heard_all evbatch | grep -vx -e busy -e idle >told
	printf '%s\n' "$@" gone | sed '/^$/d' | diff - told
}

# A command from a script: script NAME <<EOF.
script() {
	{ echo '#!/bin/bash'; cat; } >"$1"
	chmod +x "$1"
}

# ---- labels ----

@test "each record is a part of the batch's numbers" {
	recs 401 403 >in
	evbatch -- cat <in >out
	[ "$(labels <out)" = $'401-403.1/3\n401-403.2/3\n401-403.3/3' ]
	jq -r .payload out | diff - <(printf 'p%s\n' 401 402 403)
}

@test "the numbers are just those that were read, ascending, whatever order they came in" {
	for n in 403 401 9 8 10 403 12; do rec "$n"; done >in
	run -0 evbatch -- tail -n 1 <in
	[ "$(labels <<<"$output")" = 8-10,12,401,403 ]
	# Sets that another evbatch has made of whole batches go into one.
	{ rec 5-7,9; rec 3; rec 4; rec 20-30; rec 8; } >in
	run -0 evbatch -- tail -n 1 <in
	[ "$(labels <<<"$output")" = 3-9,20-30 ]
}

@test "one record of a batch has its numbers whole, and a record of one its number" {
	recs 1 3 >in
	[ "$(evbatch -- head -n 1 <in | labels)" = 1-3 ]
	[ "$(evbatch -n 1 -- cat <in | labels)" = $'1\n2\n3' ]
	[ "$(evbatch -n 1 -- sed p <in | labels)" = $'1.1/2\n1.2/2\n2.1/2\n2.2/2\n3.1/2\n3.2/2' ]
}

@test "seq is put in the place of what the command left there, or added; all else stays as it was" {
	script cmd <<-'EOT'
	cat >/dev/null
	printf '%s\n' ' { "z":1E400 , "payload" : "\u00e9\/", "u":[1.10] } ' \
		'{"seq":"x:1","payload":{"a" : 1.10}}' '{"payload_b64":"//4=","seq":null}' \
		"{\"seq\":\"0123456789abcdef:7.1\/2\",\"payload\":\"\"}"
	EOT
	rec 7 >in
	evbatch -- ./cmd <in >out
	diff - out <<-EOT
	 { "z":1E400 , "seq":"$RUN:7.1/4","payload" : "\u00e9\/", "u":[1.10] } 
	{"seq":"$RUN:7.2/4","payload":{"a" : 1.10}}
	{"payload_b64":"//4=","seq":"$RUN:7.3/4"}
	{"seq":"$RUN:7.4/4","payload":""}
	EOT
}

@test "a label stays short: a long set gets a name, which the source has heard before" {
	source_start
	source_does end 1000
	recs() { local n; for ((n = $1; n <= $2; n += 2)); do rec "$n"; done; }
	recs 1 999 >in
	run -0 --separate-stderr evbatch -- cat <in
	labels <<<"$output" >labels.got
	name=$(sed -n '1s|\.1/500$||p' labels.got)
	[[ $name == "#"* ]]
	awk -v name="$name" '$0 != name "." NR "/500" || length($0) > 64 { exit 1 }' labels.got
	[ "$(wc -l <labels.got)" -eq 500 ]
	told "set $RUN $name $(seq -s, 1 2 999)" bye
	# Behind another evbatch the names are of the set too.
	run -0 --separate-stderr bash -c 'evbatch -- tail -n 1 <in | evbatch -- sed p'
	labels <<<"$output" >labels.got
	[ "$(sed 's/^#.*\././' labels.got | xargs)" = ".1/2 .2/2" ]
}

@test "records without a seq make records as the command wrote them" {
	printf '%s\n' '{"payload":"a"}' '{"payload":"b","seq":"my own"}' '{"seq":null,"payload":"c"}' >in
	evbatch -- cat <in >out
	cmp in out
	# With others in the batch they are of its numbers.
	{ echo '{"payload":"a"}'; rec 5; } >in
	[ "$(evbatch -- cat <in | labels)" = $'5.1/2\n5.2/2' ]
}

@test "records that are parts already are refused with a sentence" {
	{ rec 1; rec 2.1/2; } >in
	run -100 --separate-stderr evbatch -- cat <in
	# shellcheck disable=SC2154 # run sets it
	[[ $stderr == "evbatch: line 2: "*"evbatch does not nest"*"evbatch -- sh -c "* ]]
	[ "$(labels <<<"$output")" = 1 ]
}

@test "records of two sources are refused" {
	{ rec 1; rec 2 | sed "s/$RUN/fedcba9876543210/"; } >in
	run -100 evbatch -- cat <in
	[[ $output == *"line 2: records of two sources: run two pipelines"* ]]
}

# ---- what a batch is ----

@test "a batch that is full does not wait for more" {
	source_start
	mkfifo in
	spawn full sh -c 'exec evbatch -n 2 -t 1h -- cat <in'
	exec 5>in
	recs 1 3 >&5
	wait_lines full.out 2
	[ "$(labels <full.out)" = $'1-2.1/2\n1-2.2/2' ]
	rec 4 >&5
	wait_lines full.out 4
	[ "$(labels <full.out | tail -n 2)" = $'3-4.1/2\n3-4.2/2' ]
	rec 5 >&5
	source_does end 5
	exec 5>&-
	wait_exit full
	[ "$status" -eq 0 ]
	[ "$(labels <full.out | tail -n 1)" = 5 ]
}

@test "a batch that is not full does not wait for ever" {
	mkfifo in
	spawn slow sh -c 'exec evbatch -n 1000 -t 10ms -- cat <in'
	exec 5>in
	recs 1 3 >&5
	wait_lines slow.out 3
	rec 4 >&5
	wait_lines slow.out 4
	exec 5>&-
	wait_exit slow
	[ "$status" -eq 0 ]
}

@test "a batch of big records is full before its number is" {
	python3 - >in <<-'EOP'
	for n in range(1, 41):
	    print('{"seq":"0123456789abcdef:%d","payload":"%s"}' % (n, "x" * 1000000))
	EOP
	evbatch -t 1h -- cat <in | labels >out
	diff - out < <(for n in {1..17}; do echo "1-17.$n/17"; done
		for n in {1..17}; do echo "18-34.$n/17"; done
		for n in {1..6}; do echo "35-40.$n/6"; done)
}

@test "a batch of numbers that are far apart is full before its label is too long" {
	seq 1 2 20000 | sed "s/.*/{\"seq\":\"$RUN:&\",\"payload\":\"\"}/" >in
	evbatch -n 100000 -t 1h -- head -n 1 <in | labels >out
	[ "$(wc -l <out)" -eq 3 ]
	tr ',' '\n' <out | cmp - <(seq 1 2 20000)
}

@test "input and output larger than pipes go side by side" {
	seq 200000 | sed "s/.*/{\"seq\":\"$RUN:&\",\"payload\":\"&\"}/" >in
	evbatch -n 100000 -t 1h -- cat <in | jq -r .payload | cmp - <(seq 200000)
	evbatch -n 100000 -t 1h -- sort -r <in | wc -l >count
	[ "$(cat count)" -eq 200000 ]
}

@test "a command need not read its input" {
	seq 100000 | sed "s/.*/{\"seq\":\"$RUN:&\",\"payload\":\"&\"}/" >in
	run -0 evbatch -n 100000 -t 1h -- echo '{"payload":"summary"}' <in
	[ "$output" = "{\"seq\":\"$RUN:1-100000\",\"payload\":\"summary\"}" ]
}

@test "the command's standard error passes, and its environment has no socket of ours" {
	source_start
	source_does end 1
	rec 1 >in
	EVPIPE_DIR=$T EVPIPE_MEMBER=evbatch-2 run -0 --separate-stderr evbatch -- \
		sh -c 'echo "ack=$EVPIPE_ACK dir=$EVPIPE_DIR member=$EVPIPE_MEMBER" >&2; cat' <in
	[[ $stderr == *"ack= dir= member=" ]]
}

@test "a filter of ours in it does not report" {
	source_start
	source_does end 3
	{ from a 1; from b 2; from c 3; } >records
	evbatch -- sh -c 'evstamp --drop a | evkey .source' <records >out
	[ "$(labels <out)" = $'1-3.1/2\n1-3.2/2' ]
	told bye
	run ! grep -q evstamp source.out
}

@test "batches run side by side and are written in order" {
	script cmd <<-'EOT'
	read -r line
	case $line in
	*p1\"*) until [ -e go ]; do sleep 0.02; done ;;
	*p3\"*) until [ -e second ]; do sleep 0.02; done; : >third ;;
	*p2\"*) : >second ;;
	esac
	printf '%s\n' "$line"
	EOT
	recs 1 5 >in
	spawn side sh -c 'exec evbatch -n 1 -P 3 -- ./cmd <in'
	wait_for '[ -e third ]'
	[ ! -s side.out ]
	: >go
	wait_exit side
	[ "$status" -eq 0 ]
	[ "$(labels <side.out)" = $'1\n2\n3\n4\n5' ]
}

@test "no more than -P run side by side" {
	script cmd <<-'EOT'
	mkdir running.$$
	ls -d running.* | wc -l >>counts
	sleep 0.05
	rmdir running.$$
	cat
	EOT
	recs 1 20 >in
	evbatch -n 1 -P 2 -- ./cmd <in >out
	[ "$(labels <out | tr '\n' ' ')" = "$(seq 20 | tr '\n' ' ')" ]
	[ "$(sort -n counts | tail -n 1)" -le 2 ]
}

# ---- nothing is written of what failed ----

@test "a failed batch is tried again, and nothing of the failed runs is written" {
	script cmd <<-'EOT'
	echo >>runs
	sed 's/p1/attempt/'
	[ "$(wc -l <runs)" -eq 3 ]
	EOT
	source_start
	source_does end 1
	rec 1 >in
	run -0 --separate-stderr evbatch -- ./cmd <in
	[ "$output" = "{\"seq\":\"$RUN:1\",\"payload\":\"attempt\"}" ]
	[ "$(wc -l <runs)" -eq 3 ]
	[ "$(grep -c 'exited with status 1 on the batch of 1 record from line 1 on: tried again in' <<<"$stderr")" -eq 2 ]
	told bye
}

@test "after five attempts it gives up: what came before is written, what came after is not" {
	script cmd <<-'EOT'
	read -r line
	printf '%s\n' "$line"
	case $line in *p2\"*) echo >>runs; kill -KILL $$ ;; esac
	EOT
	source_start
	recs 1 4 >in
	run -111 --separate-stderr evbatch -n 1 -P 3 -- ./cmd <in
	[ "$(labels <<<"$output")" = 1 ]
	[ "$(wc -l <runs)" -eq 5 ]
	[[ $stderr == *"'./cmd' was killed by signal 9 (Killed) on the batch of 1 record from line 2 on, attempt 5: nothing of it was written" ]]
	[ "$(heard_all evbatch | grep -vx -e busy -e idle)" = gone ]
}

@test "a command that fails takes with it what it has started" {
	script cmd <<-'EOT'
	(echo $BASHPID >child.$$; exec sleep 1000) &
	until [ -s child.$$ ]; do sleep 0.02; done
	exit 3
	EOT
	rec 1 >in
	run -111 evbatch -- ./cmd <in
	[ "$(cat child.* | wc -l)" -eq 5 ]
	for file in child.*; do
		wait_for "! alive $(cat "$file")"
	done
}

@test "a batch ends with its output: a child that goes on writing is waited for" {
	script cmd <<-'EOT'
	(until [ -e go ]; do sleep 0.02; done; echo '{"payload":"late"}') &
	: >done
	EOT
	rec 1 >in
	spawn late sh -c 'exec evbatch -- ./cmd <in'
	wait_for '[ -e done ]'
	[ ! -s late.out ]
	: >go
	wait_exit late
	[ "$status" -eq 0 ]
	[ "$(cat late.out)" = "{\"seq\":\"$RUN:1\",\"payload\":\"late\"}" ]
}

@test "a process that keeps the output of a command that has ended is named" {
	script cmd <<-'EOT'
	cat
	(echo $BASHPID >holder; exec sleep 1000) &
	EOT
	rec 1 >in
	spawn held sh -c 'exec evbatch -- ./cmd <in'
	wait_file_contains held.err "keeps its output open"
	[ "$(cat held.err)" = "evbatch: warning: './cmd' has ended, but process $(cat holder) (sleep) keeps its output open: the batch of 1 record from line 1 on waits for it" ]
	[ ! -s held.out ]
	kill "$(cat holder)"
	wait_exit held
	[ "$status" -eq 0 ]
	[ "$(labels <held.out)" = 1 ]
	[ "$(wc -l <held.err)" -eq 1 ]
}

@test "a command and what it has started end with evbatch, though by SIGKILL" {
	script cmd <<-'EOT'
	sleep 1000 &
	echo $! >child
	echo $$ >pid
	sleep 1000
	EOT
	mkfifo in
	spawn killed sh -c 'exec evbatch -n 1 -P 2 -- ./cmd <in'
	exec 5>in
	rec 1 >&5
	wait_for '[ -s pid ]'
	kill -KILL "$(pid_of killed)"
	wait_for '! alive "$(cat pid)"'
	wait_for '! alive "$(cat child)"'
	exec 5>&-
}

@test "the source is told when a batch takes long, and when it does no more" {
	source_start
	source_does end 2
	mkfifo in
	spawn slow sh -c 'exec evbatch -n 1 -- sh -c "until [ -e go ]; do sleep 0.02; done; cat" <in'
	exec 5>in
	rec 1 >&5
	wait_file_contains source.out "evbatch: busy"
	: >go
	wait_file_contains source.out "evbatch: idle"
	rec 2 >&5
	exec 5>&-
	wait_exit slow
	[ "$status" -eq 0 ]
	heard_all evbatch | uniq | xargs >told
	grep -qE "^(idle )?busy idle (busy idle )*bye gone$" told
}

@test "a command that is not there is permanent trouble" {
	source_start
	rec 1 >in
	run -100 evbatch -- ./nothing <in
	[ "$output" = "evbatch: cannot run './nothing': No such file or directory" ]
	told "stop cannot run './nothing': No such file or directory" bye
	: >file
	EVPIPE_ACK='' run -100 evbatch -- ./file <in
	[ "$output" = "evbatch: cannot run './file': Permission denied" ]
}

# bats test_tags=load
@test "an output beyond all measure ends it, and it is not tried again" {
	script cmd <<-'EOT'
	echo >>runs
	exec cat /dev/zero
	EOT
	rec 1 >in
	run -111 evbatch -- ./cmd <in
	[[ $output == "evbatch: './cmd' wrote 64 MiB more than it was given on the batch"* ]]
	[ "$(wc -l <runs)" -eq 1 ]
}

# bats test_tags=load
@test "a record as long as a record may be is not too much" {
	{ printf '{"payload":"'; head -c $((67108864 - 14)) /dev/zero | tr '\0' x; printf '"}\n'; } >in
	evbatch -- cat <in >out
	cmp in out
}

@test "a command is seen to end though SIGCHLD came ignored" {
	rec 1 >in
	spawn late sh -c 'exec env --ignore-signal=CHLD evbatch -- cat <in'
	wait_exit late
	[ "$status" -eq 0 ]
	[ "$(cat late.out)" = "$(rec 1)" ]
}

# ---- output that is no record ----

@test "an output that is no record stops it, and nothing of the batch is written" {
	source_start
	{ rec 1; rec 2; rec 3; rec 4; } >in
	run -1 --separate-stderr evbatch -n 2 -- sed 's/.*p4.*/nonsense/' <in
	[ "$(labels <<<"$output")" = $'1-2.1/2\n1-2.2/2' ]
	[[ $stderr == "evbatch: line 3: line 2 of what 'sed' made of the batch that begins here: not JSON"*"(json-decode)" ]]
	heard_all evbatch | grep -vx -e busy -e idle >told
	[[ $(sed -n 1p told) == "stop a record was refused: "* ]]
	[ "$(sed 1d told)" = "$(echo bye; echo gone)" ]
}

@test "an output that is no record is a part of its own as a dead letter" {
	source_start
	source_does end 3
	recs 1 3 >in
	run -1 --separate-stderr evbatch --dead-letter dead -- sed 's/.*p2.*/nonsense/' <in
	[ "$(labels <<<"$output")" = $'1-3.1/3\n1-3.3/3' ]
	[ "$(jq -r '.error.class + " " + .line' dead)" = 'json-decode nonsense' ]
	told "dead $RUN 1-3.2/3" bye
}

@test "an output that is no record is a part of its own when it is skipped" {
	source_start
	source_does end 1
	rec 1 >in
	run -1 evbatch --on-error skip -- echo nonsense <in
	told "drop $RUN 1" bye
}

@test "a last line without its end is no record" {
	rec 1 >in
	run -1 --separate-stderr evbatch -- printf '%s\n%s' '{"payload":"a"}' '{"payload":"b"}' <in
	[ -z "$output" ]
	[[ $stderr == *"the last line of the output has no end (invalid-record)" ]]
}

# ---- acknowledgements ----

@test "a batch without output is a drop of all its numbers, and counted" {
	source_start
	source_does end 9
	{ rec 1; rec 2; rec 9; rec 5; } >in
	evbatch --metrics m -- true <in >out
	[ ! -s out ]
	told "drop $RUN 1-2,5,9" bye
	grep -qx 'evpipe_dropped_total{pipeline="evpipe",tool="evbatch"} 4' m
	grep -qx 'evpipe_records_in_total{pipeline="evpipe",tool="evbatch"} 4' m
	grep -qx 'evpipe_records_out_total{pipeline="evpipe",tool="evbatch"} 0' m
}

@test "a batch in which grep finds nothing is a drop, and no failure" {
	source_start
	source_does end 4
	recs 1 4 >in
	run -0 --separate-stderr evbatch -n 1 -- grep '"p[24]"' <in
	[ -z "$stderr" ]
	[ "$(labels <<<"$output")" = $'2\n4' ]
	[ "$(heard_all evbatch | grep '^drop' | cut -d' ' -f3- | tr ' ,' '\n' | paste -sd ' ')" = '1 3' ]
	# Its 2 is a failure.
	rec 1 >in
	run -111 --separate-stderr env -u EVPIPE_ACK evbatch -- grep '[' <in
	[[ $stderr == *"'grep' exited with status 2 on the batch of 1 record"* ]]
}

@test "of what goes on nothing is said" {
	source_start
	source_does end 4
	recs 1 4 >in
	evbatch -n 2 --metrics m -- head -n 1 <in >out
	[ "$(labels <out)" = $'1-2\n3-4' ]
	told bye
	grep -qx 'evpipe_records_out_total{pipeline="evpipe",tool="evbatch"} 2' m
	grep -qx 'evpipe_dropped_total{pipeline="evpipe",tool="evbatch"} 0' m
}

@test "a refused record of the input is not in a batch, and is reported" {
	source_start
	source_does end 3
	{ rec 1; echo "{\"seq\":\"$RUN:2\",\"payload\":5}"; rec 3; } >in
	run -1 --separate-stderr evbatch --dead-letter dead -- cat <in
	[ "$(labels <<<"$output")" = $'1,3.1/2\n1,3.2/2' ]
	told "dead $RUN 2" bye
}

@test "lines over the limit and outputs that are no records keep apart in the dead letters" {
	source_start
	source_does end 4
	long=$(head -c 3000000 /dev/zero | tr '\0' x)
	{ rec 1; rec 2 "$long"; rec 3; rec 4 "$long"; } >in
	run -1 --separate-stderr evbatch -n 1 --max-line 1K --dead-letter dead -- echo junk <in
	[ -z "$output" ]
	[ "$(wc -l <dead)" -eq 4 ]
	[ "$(jq -r '.error.class' dead | sort | uniq -c | tr -s ' \n' ' ')" = ' 2 json-decode 2 too-large ' ]
	heard_all evbatch | grep -o '^dead.*' | cut -d' ' -f3- | tr ' ' '\n' | sort >numbers
	[ "$(tr '\n' ' ' <numbers)" = '1 2 3 4 ' ] || [ "$(tr '\n' ' ' <numbers)" = '1-2 3-4 ' ] ||
		[ "$(tr '\n' ' ' <numbers)" = '1-4 ' ]
}

@test "the source's stop ends it after what it holds" {
	source_start
	mkfifo in
	spawn told sh -c 'exec evbatch -n 2 -t 1h -- cat <in'
	exec 5>in
	recs 1 3 >&5
	wait_lines told.out 2
	source_does say stop enough
	wait_exit told
	[ "$status" -eq 100 ]
	[ "$(labels <told.out)" = $'1-2.1/2\n1-2.2/2\n3' ]
	exec 5>&-
}

@test "an end of input without the source's end is 111" {
	source_start
	rec 1 >in
	run -111 --separate-stderr evbatch -- cat <in
	[ "$(labels <<<"$output")" = 1 ]
	told
}

# ---- signals and readers ----

@test "the first signal is ignored and not the command's; the second ends both" {
	script cmd <<-'EOT'
	ps -o pgid= -p $$ | tr -d ' ' >group
	echo $$ >pid
	exec sleep 1000
	EOT
	mkfifo in
	spawn two sh -c 'exec evbatch -n 1 -- ./cmd <in'
	exec 5>in
	rec 1 >&5
	wait_for '[ -s pid ]'
	[ "$(cat group)" = "$(cat pid)" ]
	kill -INT -- "-$(pid_of two)"
	rec 2 >&5
	alive "$(cat pid)"
	alive "$(pid_of two)"
	kill -TERM -- "-$(pid_of two)"
	wait_exit two
	[ "$status" -eq 111 ]
	wait_for '! alive "$(cat pid)"'
	exec 5>&-
}

@test "a reader that goes ends it and the command" {
	script cmd <<-'EOT'
	echo $$ >>pids
	read -r line
	case $line in *p2\"*) exec sleep 1000 ;; esac
	printf '%s\n' "$line"
	EOT
	mkfifo in out
	spawn gone sh -c 'exec evbatch -n 1 -- ./cmd <in >out'
	exec 5>in 6<out
	recs 1 2 >&5
	read -r _ <&6
	wait_lines pids 2
	exec 6<&-
	wait_exit gone
	[ "$status" -eq 111 ]
	wait_for '! alive "$(tail -n 1 pids)"'
	exec 5>&-
}

@test "a slow reader gets all, in pieces" {
	seq 30000 | sed "s/.*/{\"seq\":\"$RUN:&\",\"payload\":\"&\"}/" >in
	evbatch -n 10000 -- cat <in | python3 -c '
import os, sys
data = b""
while piece := os.read(0, 3000):
    data += piece
sys.stdout.buffer.write(data)' >out
	jq -r .payload out | cmp - <(seq 30000)
}

@test "wrong usage is 100" {
	for args in '' '-n 0 cat' '-n x cat' '-P 0 cat' '-P 65 cat' '-t 5min cat' '-t 2h cat' '-x cat'; do
		# shellcheck disable=SC2086 # words
		run -100 evbatch $args </dev/null
		[[ $output == *"try 'evbatch --help'" ]]
	done
}

@test "secrets of the command do not show in evbatch's own command line" {
	echo '{"payload":"1"}' | evbatch -- sh -c 'tr "\0" "\n" <"/proc/$PPID/cmdline" >seen; echo "$1" >given; cat' \
		sh redis://:s3cr3t@h >out
	[ "$(cat given)" = redis://:s3cr3t@h ]
	[ "$(tail -n 1 seen)" = redis://:xxxxxx@h ]
	run ! grep s3cr3t seen
}
