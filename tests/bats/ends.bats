#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# Every program and every way to end: the exit status, and for each that is not 0 one sentence on standard
# error which says why, also with -q. A test is a way to end; its rows are programs. What only a real Kafka
# refuses, a login or a topic, stands in kread.bats and kwrite.bats.

load helpers
load ack

# Programs with a standard input; those of them that hand records on; sources.
FILTERS=('evkey .a' 'evsel true' 'evstamp --drop x' 'evbatch -n 1 -- cat' evreplay 'evcorr-stamp'
	'evcorr-serve -- cat')
PASSING=('kwrite -t out --pass' 'rpub out --pass' 'evchain-append --pass')
SINKS=('kwrite -t out' 'rpub out' 'rapply --position none --as string' evack evchain-append evcorr-store
	'evsse --listen 127.0.0.1:0 -t x')
SOURCES=('kread events' 'rsub events')
# What prints for people takes no part in acknowledgements.
PRINTERS=(evfmt)
TELL_OF_READERS=("${PASSING[@]}" "${SOURCES[@]}")

setup_file() {
	kmock_start -t out:1 -t events:1 -t none:1
	redis_start
	# More than pipes hold.
	seq -f "%.0f $(printf '%0200d' 0)" 5000 | kproduce events
}

setup() {
	harness_setup
	mkfifo in out
	# A row has options behind its first word: a command of a program is called by a name of its own.
	mkdir bin
	printf '#!/bin/sh\nexec evcorr "${0##*/evcorr-}" "$@"\n' | tee bin/evcorr-stamp bin/evcorr-store >bin/evcorr-serve
	# Each with a log of its own.
	printf '#!/bin/sh\nexec evchain append "$@" "$(mktemp -d "$T/log.XXXXXX")/log"\n' >bin/evchain-append
	chmod +x bin/*
	PATH=$T/bin:$PATH
	started=0 ended=0 inputs=()
}

record() {
	echo '{"key":"k","headers":["correlation-id","c","reply-to","out"],"payload":"{\"a\":1}"}'
}

# each ROW… -- COMMAND…: calls COMMAND for each row, without and with -q, with the program's words as $words and
# its name as $program.
each() {
	local rows=() row quiet words program
	while [ "$1" != -- ]; do
		rows+=("$1")
		shift
	done
	shift
	for row in "${rows[@]}"; do
		for quiet in '' -q; do
			read -ra words <<<"$row"
			program=${words[0]%%-*}
			words=("${words[0]}" ${quiet:+"$quiet"} "${words[@]:1}")
			echo "--- ${words[*]}"
			"$@"
			exec 5>&- 6<&-
		done
	done
}

# starts SHELL-TEXT: spawns "it", a shell text in which "$@" is the program and its arguments.
starts() {
	spawn it bash -c "$1" bash "${words[@]}"
}

# ends STATUS PATTERN [NAME]: "it", or NAME, ends so, and has said one sentence that matches; warnings before it
# are heard without -q alone.
ends() {
	local name=${3:-it}
	wait_exit "$name"
	cat "$name.err"
	[ "$status" -eq "$1" ]
	[[ " ${words[*]} " == *" -q "* ]] || sed -i "/^$program: warning: /d" "$name.err"
	[ "$(wc -l <"$name.err")" -eq 1 ]
	[[ $(cat "$name.err") == "$program: "$2 ]]
}

publish_many() {
	seq 5000 | sed "s/.*/PUBLISH events $(printf '%0200d' 0)\r/" | rcli --pipe >published
}

# ---- the reader of standard output goes ----

reader_goes_idle() {
	case $program in
	# Without a group it is somebody who looks.
	kread) starts 'exec "$@" -g idle$$ --commit never >out' ;;
	rsub) starts 'exec 7>ready; exec "$@" --ready-fd 7 >out' ;;
	*) starts 'exec "$@" <in >out' && exec 5>in && record >&5 ;;
	esac
	exec 6<out
	[ "$program" != rsub ] || { wait_for '[ -s ready ]' && rcli publish events x; }
	read -r _ <&6
	exec 6<&-
	ends 111 'the reader of standard output has gone'
	rm -f ready
}

@test "the reader goes while nothing comes in" {
	each "${FILTERS[@]}" "${TELL_OF_READERS[@]}" -- reader_goes_idle
}

reader_goes_busy() {
	case $program in
	kread) starts '"$@" -g busy$$ --commit never | head -n 1 >/dev/null; exit ${PIPESTATUS[0]}' ;;
	rsub)
		starts 'exec 7>ready; "$@" --ready-fd 7 | head -n 1 >/dev/null; exit ${PIPESTATUS[0]}'
		wait_for '[ -s ready ]'
		publish_many
		;;
	*) REC=$(record) starts 'yes "$REC" | "$@" | head -n 1 >/dev/null; exit ${PIPESTATUS[1]}' ;;
	esac
	ends 111 'the reader of standard output has gone'
	rm -f ready
}

@test "the reader goes in the middle of the load" {
	each "${FILTERS[@]}" "${TELL_OF_READERS[@]}" -- reader_goes_busy
}

# Who looks at the first lines and goes has seen what it wanted.
looks_and_goes() {
	case $program in
	kread) starts '"$@" | head -n 1 >it.seen; exit ${PIPESTATUS[0]}' ;;
	*) REC=$(record) starts 'yes "$REC" | "$@" | head -n 1 >it.seen; exit ${PIPESTATUS[1]}' ;;
	esac
	wait_exit it
	[ "$status" -eq 0 ]
	[ ! -s it.err ]
	[ -s it.seen ]
}

@test "the reader of what is printed for people goes" {
	each "${PRINTERS[@]}" "kread events" -- looks_and_goes
}

stdout_full() {
	case $program in
	kread | kcheck | kmock) starts 'exec "$@" >/dev/full' ;;
	rsub)
		starts 'exec 7>ready; exec "$@" --ready-fd 7 >/dev/full'
		wait_for '[ -s ready ]'
		rcli publish events x
		;;
	*) record >records && starts 'exec "$@" <records >/dev/full' ;;
	esac
	ends 111 'cannot write standard output: No space left on device'
	rm -f ready
}

@test "standard output is full" {
	each "${PRINTERS[@]}" evtop "${FILTERS[@]}" "${PASSING[@]}" "${SOURCES[@]}" kcheck kmock -- stdout_full
}

# ---- the input ----

torn() {
	{ record; record | tr -d '\n'; } >records
	starts 'exec "$@" <records >it.seen'
	ends 111 'line 2*'
}

@test "the last line is torn" {
	each "${PRINTERS[@]}" evtop "${FILTERS[@]}" "${PASSING[@]}" "${SINKS[@]}" -- torn
}

unreadable() {
	starts 'exec "$@" </ >it.seen'
	ends 111 'cannot read standard input: Is a directory'
}

@test "standard input cannot be read" {
	each "${PRINTERS[@]}" evtop "${FILTERS[@]}" "${PASSING[@]}" "${SINKS[@]}" -- unreadable
}

refused() {
	{ record; echo '{"payload":5}'; record; } >records
	starts 'exec "$@" <records >it.seen'
	ends 1 "line 2: * (invalid-record)"
}

@test "a record is refused, and that stops it" {
	each "${PRINTERS[@]}" evtop "${FILTERS[@]}" "${PASSING[@]}" "${SINKS[@]}" -- refused
}

# With -q the user has asked to hear nothing of records that are refused and do not stop it.
refused_on() {
	rm -f dead
	{ record; echo '{"payload":5}'; record; } >records
	starts "exec \"\$1\" $1 \"\${@:2}\" <records >it.seen"
	wait_exit it
	cat it.err
	[ "$status" -eq 1 ]
	if [[ " ${words[*]} " == *" -q "* ]]; then
		[ ! -s it.err ]
	else
		[[ $(tail -n 1 it.err) == "$program: warning: 1 record was refused"* ]]
	fi
}

@test "a record is refused and skipped, or kept as a dead letter" {
	each "${PRINTERS[@]}" evtop "${FILTERS[@]}" "${PASSING[@]}" "${SINKS[@]}" -- refused_on '--on-error skip'
	each "${PRINTERS[@]}" evtop "${FILTERS[@]}" "${PASSING[@]}" "${SINKS[@]}" -- refused_on '--dead-letter dead'
}

dead_full() {
	echo '{"payload":5}' >records
	starts 'exec "$1" --dead-letter /dev/full "${@:2}" <records >it.seen'
	ends 111 "cannot write to the dead-letter file '/dev/full': No space left on device*"
}

dead_nowhere() {
	record >records
	starts 'exec "$1" --dead-letter none/dead "${@:2}" <records >it.seen'
	ends 100 "cannot open the dead-letter file 'none/dead': No such file or directory"
}

@test "the dead-letter file cannot be opened" {
	each "${PRINTERS[@]}" evtop "${FILTERS[@]}" "${PASSING[@]}" "${SINKS[@]}" -- dead_nowhere
}

@test "a dead letter cannot be written" {
	each "${PRINTERS[@]}" evtop "${FILTERS[@]}" "${PASSING[@]}" "${SINKS[@]}" -- dead_full
}

# ---- signals ----

# Many at once, since each waits for metrics: starts_one is the first of two rounds over the rows; each program has
# the name it$i and its input open, which begins with a record.
starts_one() {
	local fd
	mkfifo "in$((++started))"
	spawn "it$started" bash -c 'exec "$2" --metrics "m$1" "${@:3}" <"in$1" >"seen$1"' bash "$started" "${words[@]}"
	exec {fd}>"in$started"
	inputs+=("$fd")
	echo "$1" >&"$fd"
}

# all_have PATTERN: once it is in each one's metrics.
all_have() {
	wait_for "[ \"\$(grep -l '$1' m* | wc -l)\" -eq $started ]"
}

# ends_one STATUS PATTERN: the next in the second round.
ends_one() {
	ends "$1" "$2" "it$((++ended))"
}

close_inputs() {
	local fd
	for fd in "${inputs[@]}"; do
		exec {fd}>&-
	done
}

# still PID: whether it sleeps each time it is looked at.
still() {
	local state
	for _ in {1..20}; do
		read -r _ _ state _ <"/proc/$1/stat"
		[ "$state" = S ] || return
	done
}

rests() {
	wait_for "still $(pid_of "it$((++ended))")"
}

signalled_twice() {
	stop "it$((ended + 1))" TERM
	wait_for "still $(pid_of "it$((ended + 1))")"
	stop "it$((ended + 1))" INT
	ends_one 111 '*signal*'
}

@test "a second signal while the input is open; what has nothing to do rests" {
	each "${PRINTERS[@]}" "${FILTERS[@]}" "${PASSING[@]}" "${SINKS[@]}" -- starts_one "$(record)"
	all_have 'records_in_total.* 1$'
	each "${PRINTERS[@]}" "${FILTERS[@]}" "${PASSING[@]}" "${SINKS[@]}" -- rests
	ended=0
	each "${PRINTERS[@]}" "${FILTERS[@]}" "${PASSING[@]}" "${SINKS[@]}" -- signalled_twice
}

AWAY=('kwrite -b 127.0.0.1:1 -t out' 'kwrite -b 127.0.0.1:1 -t out --pass'
	'rapply -u redis://127.0.0.1:1 --position none --as string' 'rpub -u redis://127.0.0.1:1 out' 'rpub -u redis://127.0.0.1:1 out --pass'
	'evcorr-store -u redis://127.0.0.1:1')

@test "a second signal while the server is away" {
	each "${AWAY[@]}" -- starts_one "$(record)"
	all_have 'evpipe_up.* 0$'
	each "${AWAY[@]}" -- signalled_twice
}

# A sink reads no further than its server lets it, so it may not have read the end of its input.
signalled_once() {
	stop "it$((ended + 1))" TERM
	ends_one 111 "ended by a signal: 3 records were not delivered; the first is line 1 (topic 'src', partition 2, offset 7)"
}

from_src() {
	printf '{"topic":"src","partition":2,"offset":%d,"payload":"x"}\n' 7 8 9
}

@test "a first signal once nobody writes to the input, while the server is away" {
	each "${AWAY[@]}" -- starts_one "$(from_src)"
	close_inputs
	all_have 'evpipe_up.* 0$'
	each "${AWAY[@]}" -- signalled_once
}

signalled_on_a_file() {
	from_src >records
	starts 'exec "$@" --metrics m <records'
	wait_for 'grep -q "evpipe_up.* 0$" m'
	stop it INT
	ends 111 "ended by a signal: 3 records were not delivered; the first is line 1*"
	rm -f m
}

@test "a first signal while the input is a file and the server is away" {
	each "${AWAY[@]}" -- signalled_on_a_file
}

signalled_before_the_end() {
	mkfifo later
	starts 'exec "$@" --metrics m <later'
	exec 7>later
	from_src >&7
	wait_for 'grep -q "evpipe_up.* 0$" m'
	stop it
	[[ " ${words[*]} " == *" -q "* ]] ||
		wait_file_contains it.err 'waiting for the end of input; a second signal'
	exec 7>&-
	ends 111 "ended by a signal: 3 records were not delivered; the first is line 1*"
	rm -f later m
}

@test "the input ends after a first signal, while the server is away" {
	each "${AWAY[@]}" -- signalled_before_the_end
}

gives_up() {
	from_src >records
	starts 'exec "$@" --retry-for 300ms <records'
	ends 99 "gave up: the server has taken nothing for 300ms; 3 records were not delivered; the first is line 1 (topic 'src', partition 2, offset 7)"
}

@test "--retry-for ends a sink whose server is away" {
	each "${AWAY[@]}" -- gives_up
}

gives_up_on_open_input() {
	starts 'exec "$@" --retry-for 300ms <in'
	exec 5>in
	from_src >&5
	ends 99 "gave up: the server has taken nothing for 300ms*, and input is left*"
}

@test "--retry-for ends a sink whose server is away while its input is open" {
	each "${AWAY[@]}" -- gives_up_on_open_input
}

says_that_it_waits() {
	local it=it$((ended + 1))
	stop "$it" TERM
	[[ " ${words[*]} " == *" -q "* ]] ||
		wait_file_contains "$it.err" "$program: warning: a signal came: waiting for the end of input; a second signal ends it at once"
	stop "$it" INT
	ends_one 111 '*signal*'
}

@test "a first signal while the input is open says that its end is waited for" {
	each "${PRINTERS[@]}" "${FILTERS[@]}" "${PASSING[@]}" "${SINKS[@]}" -- starts_one "$(record)"
	all_have 'records_in_total.* 1$'
	each "${PRINTERS[@]}" "${FILTERS[@]}" "${PASSING[@]}" "${SINKS[@]}" -- says_that_it_waits
}

# Behind a pipe that nobody reads, in which nothing more has room.
source_stuck() {
	case $program in
	kread) starts 'exec "$@" >out' ;;
	rsub) starts 'exec 7>ready; exec "$@" --ready-fd 7 >out' ;;
	esac
	exec 6<out
	if [ "$program" = rsub ]; then
		wait_for '[ -s ready ]'
		publish_many
	fi
	wait_for 'pipe_is_full'
	stop it TERM
	stop it INT
	ends 111 '*'
	rm -f ready
}

# Whether the pipe "out" takes no more.
pipe_is_full() {
	python3 -c '
import os, select, sys
fd = os.open("out", os.O_WRONLY | os.O_NONBLOCK)
sys.exit(len(select.select([], [fd], [], 0)[1]))'
}

@test "a second signal while the reader of a source does not read" {
	each "${SOURCES[@]}" -- source_stuck
}

first_signal() {
	starts 'exec "$@" --metrics m >it.seen'
	wait_for 'grep -q "evpipe_ready.* 1$" m'
	stop it
	wait_exit it
	cat it.err
	[ "$status" -eq 0 ]
	[ ! -s it.err ]
	rm -f m
}

@test "a source and a server end on their first signal, with 0 and without a word" {
	each 'kread none' 'rsub none' kmock 'khttp --listen unix:web --management none' -- first_signal
}

# ---- the acknowledgement socket ----

# with_source EVENT STATUS PATTERN: each has taken a record of a source; then the event, which all end after.
with_source() {
	source_start
	each "${FILTERS[@]}" "${PASSING[@]}" "${SINKS[@]}" -- starts_one "$(record | sed "s/{/{\"seq\":\"$RUN:1\",/")"
	all_have 'records_in_total.* 1$'
	"$1"
	each "${FILTERS[@]}" "${PASSING[@]}" "${SINKS[@]}" -- ends_one "$2" "$3"
}

hangs_up() { source_does hang-up; }
says_stop() { source_does say stop you are not wanted; }
dies() { stop source KILL && close_inputs; }

# It gives its input ten seconds to end.
@test "the source closes its socket, and its output goes on" {
	with_source hangs_up 111 'the source has closed the acknowledgement socket, but its output goes on'
}

@test "the source tells it to stop" {
	with_source says_stop 100 'you are not wanted'
}

@test "the input ends without the source's word that it is whole" {
	with_source close_inputs 111 'the input has ended, but the source has not said that it is whole'
}

@test "the source is killed" {
	with_source dies 111 '*'
}

bad_socket() {
	touch file
	record >records
	starts 'exec "$1" --ack file/x "${@:2}" <records >it.seen'
	ends 100 "*'file/x'*Not a directory*"
}

@test "the acknowledgement socket cannot be" {
	each "${FILTERS[@]}" "${PASSING[@]}" "${SINKS[@]}" -- bad_socket
}

sink_goes() {
	mkfifo peer.in
	exec 9<>peer.in
	rm -f ready
	starts 'exec 7>ready; exec "$@" --ready-fd 7 --ack ack >it.seen'
	wait_for '[ -s ready ]'
	spawn peer "$ROOT/tests/bats/ack-peer" ack <peer.in
	wait_file_contains peer.out 'run '
	echo 'hello sink 77 sink' >&9
	[ "$program" = kread ] || rcli publish events x
	wait_lines it.seen 1
	# What is open would be named in another sentence.
	sed 's/^run \(.*\)/final \1 1/' peer.out >&9
	exec 9>&-
	wait_exit peer
	ends 111 'the sink has gone'
	rm -f peer.in ready it.seen
}

@test "the sink goes" {
	each 'kread -o -1 events' 'rsub events' -- sink_goes
}

# ---- nothing comes ----

idle() {
	starts 'exec "$1" --idle-exit 200ms "${@:2}" >it.seen'
	ends 99 'no * came for 200 ms'
}

@test "nothing comes for --idle-exit" {
	each 'kread none' 'rsub none' -- idle
}

# ---- permanent trouble ----

wrong_usage() {
	starts 'exec "$@" --nonsense </dev/null >it.seen'
	ends 100 "*--nonsense*try '$program"*" --help'"
}

@test "wrong usage" {
	each "${PRINTERS[@]}" evtop "${FILTERS[@]/-- cat/}" "${PASSING[@]}" "${SINKS[@]}" "${SOURCES[@]}" kcheck kmock khttp -- wrong_usage
}

login_refused() {
	record >records
	starts 'exec "$@" <records >it.seen'
	ends 100 '*refuses the login: *'
}

@test "a login is refused" {
	url=redis://:wrong@127.0.0.1:$REDIS_PORT
	each "rsub -u $url events" "rpub -u $url out" "rpub -u $url out --pass" \
		"rapply -u $url --position none --as string" -- login_refused
}

# ---- a server's address ----

no_address() {
	starts 'exec "$@" </dev/null >it.seen'
	ends 100 "cannot listen on '*"
}

@test "a server cannot listen there" {
	each 'khttp --listen unix:no/where --management none' 'khttp --listen unix:web --management unix:no/where' \
		'evsse --listen unix:no/where -t x' -- no_address
}

# ---- evpipe: a table of its members, of which one has failed first ----

@test "evpipe says how each member ended, and which failed first" {
	for quiet in '' -q; do
		status=0
		# shellcheck disable=SC2086
		evpipe $quiet true '|' sh -c 'cat; exit 100' 2>err || status=$?
		cat err
		[ "$status" -eq 100 ]
		[ "$(grep -c '(failed first)$' err)" -eq 1 ]
		status=0
		# shellcheck disable=SC2086
		evpipe $quiet --nonsense 2>err || status=$?
		[ "$status" -eq 100 ]
		[ "$(wc -l <err)" -eq 1 ]
		status=0
		# shellcheck disable=SC2086
		evpipe $quiet true '|' ./nowhere 2>err || status=$?
		[ "$status" -eq 100 ]
		[ "$(wc -l <err)" -eq 1 ]
	done
}
