#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# evpipe: wiring, stop order, exit status, restarts, health and readiness. Members are small scripts here,
# called as one of our programs where it is to be taken for one; at the end the real ones.

load helpers

setup() {
	harness_setup
	export XDG_RUNTIME_DIR=$T/runtime
	mkdir runtime
	: >log
}

# script NAME: a program NAME in the current directory, from standard input.
script() {
	{ echo '#!/bin/bash'; cat; } >"$1"
	chmod +x "$1"
}

# attempt OPTION…: evpipe, its status in $status, its output in out and err.
attempt() {
	status=0
	timeout -s KILL 120 evpipe "$@" >out 2>err || status=$?
}

# ended_with STATUS TEXT…: as attempt says; err has these texts.
ended_with() {
	cat err
	[ "$status" -eq "$1" ]
	shift
	for text in "$@"; do
		grep -qF -e "$text" err
	done
}

# A source that writes until it is told to stop, and then one line more.
steady_source() {
	script "${1:-source}" <<-'EOT'
	trap 'echo TERM >>log; echo last; exit 0' TERM
	trap 'echo INT >>log' INT
	[ -e idle ] || mkfifo idle
	exec 9<>idle
	echo first
	touch started
	while :; do read -r -t 0.05 -u 9; done
	EOT
}

# What is not to be ended by a signal while its input lasts.
steady_filter() {
	script filter <<-'EOT'
	trap 'echo filter TERM >>log' TERM
	trap 'echo filter INT >>log' INT
	while :; do
		if IFS= read -r line; then echo "$line"; continue; fi
		[ $? -gt 128 ] || exit 0
	done
	EOT
}

# ---- wiring ----

@test "secrets of members do not show in its own command line, and the members have them" {
	script show <<<'printf "%s\n" "$@" >given; tr "\0" "\n" <"/proc/$PPID/cmdline" >seen; cat'
	evpipe -n pair ./show -u redis://me:s3cr3t@h:1/0 -X sasl.password=s3cr3t -Xssl.key.password=s3cr3t \
		--url=redis://:s3/cr3t@h "PASSWORD=s3cr3t rpub -u 'redis://:s3cr3t@h' 'sse:{topic}'" \
		http://h:80/ sasl.username=alice PRIVATE+KEY+a+0+s3cr3t "append --key='PRIVATE+KEY+a+0+s3cr3t' log" \
		'|' cat </dev/null
	[ "$(grep -c 's3/\?cr3t' given)" -eq 7 ]
	run ! grep 's3/\?cr3t' seen
	grep -qx "append --key='PRIVATE+KEY+x*' log" seen
	[ "$(grep -c -x -e redis://me:xxxxxx@h:1/0 -e sasl.password=xxxxxx -e http://h:80/ -e sasl.username=alice seen)" -eq 4 ]
}

@test "members are connected in order, from standard input to standard output" {
	seq 1000 | evpipe sed 's/^/a/' '|' sed 's/^/b/' '|' sed 's/^/c/' >out 2>err
	[ ! -s err ]
	seq 1000 | sed 's/^/cba/' | cmp - out
}

@test "the source is started when all others are there" {
	script source <<<'pgrep -c -P "$PPID"'
	for _ in 1 2 3 4 5; do
		[ "$(evpipe ./source '|' cat '|' cat '|' cat)" = 4 ]
	done
}

@test "members get the pipeline's environment, and nothing of another pipeline's" {
	script show <<<'cat; echo "$0: $EVPIPE_NAME $EVPIPE_MEMBER $EVPIPE_ACK $EVPIPE_DIR"'
	export EVPIPE_DIR=outer EVPIPE_ACK=outer EVPIPE_MEMBER=outer
	evpipe -n bridge-1 ./show '|' ./show '|' env ./show </dev/null >out
	dir=$(sed -n '1s/.* //p' out)
	[[ $dir == "$T/runtime/evpipe-bridge-1."* ]]
	diff out - <<-EOT
	./show: bridge-1 show $dir/ack $dir
	./show: bridge-1 show-2 $dir/ack $dir
	./show: bridge-1 env $dir/ack $dir
	EOT
	EVPIPE_NAME=inherited evpipe ./show '|' cat </dev/null | grep -q '^./show: inherited show '
	evpipe ./show '|' cat </dev/null | grep -q '^./show: evpipe show '
}

@test "every member gets the socket's path, and the first is told who else is in the line" {
	script show <<<'cat; echo "${EVPIPE_ACK#"$EVPIPE_DIR"} ${EVPIPE_SINK-unset} ${EVPIPE_FOREIGN-unset}" >>said'
	script rpub <<<'cat >/dev/null'
	ln -s show kread
	ln -s rpub evack
	# said LINE: by the first member, if it is the one that speaks; the reader of its output is in no hurry.
	said() {
		rm -f said
		# shellcheck disable=SC2086
		evpipe $1 </dev/null
		cat said
	}
	set -f
	[ "$(said './kread -g g | cat')" = '/ack  ' ]
	[ "$(said './show | ./rpub')" = '/ack rpub ' ]
	[ "$(said './kread | ./rpub --pass c')" = '/ack  ' ]
	[ "$(said 'true | ./show | cat')" = '/ack unset unset' ]
	[ "$(said './kread | cat | grep x | jq -c . | sort | ./rpub')" = '/ack rpub grep sort' ]
	# Those that hand on each line, and those that may not.
	for line in 'cat' 'tee copy' 'jq -c .' 'jq -c .payload=1'; do
		[ "$(said "./kread | $line | ./rpub")" = '/ack rpub ' ]
	done
	echo . >file
	for line in 'jq -c select(.a)' 'jq -f file' 'jq .[]' 'sort'; do
		[ "$(said "./kread | $line | ./rpub")" = "/ack rpub ${line%% *}" ]
	done
	# What evack hears of is the sink; a filter in front of it is one.
	[ "$(said './kread | sort | ./evack')" = '/ack evack ' ]
	[ "$(said './kread | sort | cat | ./evack')" = '/ack evack sort' ]
	export EVPIPE_SINK=outer EVPIPE_FOREIGN=outer
	[ "$(said 'true | ./show | cat')" = '/ack unset unset' ]
}

@test "the first member is told the unit's name, which another unit on the host does not have" {
	name=$(unique unit)
	script source <<<'echo "$EVPIPE_UNIT" >>"$1"; mkfifo "idle.$1"; trap "exit 0" TERM; read -r <>"idle.$1"'
	script second <<<'echo "${EVPIPE_UNIT-unset}" >>others; cat'
	spawn one evpipe -n "$name" ./source one '|' ./second
	wait_for '[ -s one ]'
	spawn two evpipe -n "$name" ./source two '|' ./second
	wait_for '[ -s two ]'
	EVPIPE_UNIT=inherited spawn three evpipe -n "$name-2" ./source three '|' ./second
	wait_for '[ -s three ]'
	[ "$(cat one two three)" = "$name"$'\n'"$name-2"$'\n'"$name-2-2" ]
	stop one KILL
	wait_exit one
	attempt -n "$name" sh -c 'echo "$EVPIPE_UNIT"' '|' cat
	[ "$(cat out)" = "$name" ]
	wait_for '[ "$(sort -u others)" = unset ]'
	stop two
	wait_exit two
	[ "$status" -eq 0 ]
}

@test "behind a program that is no source, filters and sinks wait for none" {
	kmock_start -t t:1 -t out:1
	echo '{"key":"k","payload":"1"}' >in
	mkfifo slow
	for source in 'cat in' 'cat slow' 'sh -c cat<in'; do
		read -ra words <<<"$source"
		spawn unit evpipe "${words[@]}" '|' evstamp --drop nobody '|' kwrite -t t
		if [ "$source" = 'cat slow' ]; then
			wait_for '[ "$(pgrep -c -P "$(pid_of unit)")" -eq 3 ]'
			cat in >slow
		fi
		wait_exit unit
		cat unit.err
		[ "$status" -eq 0 ]
		[ ! -s unit.err ]
	done
	[ "$(kread -q -e t | jq -r .payload | xargs)" = '1 1 1' ]
	attempt cat in '|' kwrite --txn x -t t
	ended_with 100 'records come, but no source that could be asked for their positions'
}

@test "the directory is private, has its parts, and is gone at the end" {
	evpipe sh -c 'stat -c "%a %F" "$EVPIPE_DIR" "$EVPIPE_DIR"/*; ls "$EVPIPE_DIR"; touch "$EVPIPE_DIR/x"' '|' cat >out
	diff out - <<-'EOT'
	700 directory
	700 directory
	700 directory
	metrics
	ready
	EOT
	[ -z "$(ls runtime)" ]
	rmdir runtime
	evpipe sh -c 'echo "$EVPIPE_DIR"' '|' cat >out
	[[ $(cat out) == /tmp/evpipe-evpipe.* ]]
	[ ! -e "$(cat out)" ]
}

@test "a directory of XDG_RUNTIME_DIR where others may write is not used" {
	for mode in 777 1777 770; do
		chmod "$mode" runtime
		evpipe sh -c 'echo "$EVPIPE_DIR"' '|' cat >out
		[[ $(cat out) == /tmp/evpipe-evpipe.* ]]
	done
	chmod 700 runtime
	evpipe sh -c 'echo "$EVPIPE_DIR"' '|' cat >out
	[[ $(cat out) == "$T/runtime/"* ]]
	[ "$(id -u)" = 0 ] || skip "the rest needs root"
	chown nobody runtime
	evpipe sh -c 'echo "$EVPIPE_DIR"' '|' cat >out
	[[ $(cat out) == /tmp/evpipe-evpipe.* ]]
}

@test "the lock of -d is no link to a file elsewhere" {
	mkdir dir
	ln -s "$T/victim" dir/lock
	attempt -d dir true '|' cat
	ended_with 100 'cannot open'
	[ ! -e victim ]
}

@test "-d keeps the directory of the last run, behind a link" {
	evpipe -d dir sh -c 'echo 1 >"$EVPIPE_DIR/file"; echo "$EVPIPE_DIR"' '|' cat >one
	[ "$(cat dir/current/file)" = 1 ]
	[ "$(readlink -f dir/current)" = "$(cat one)" ]
	evpipe -d dir sh -c 'ls "$EVPIPE_DIR/file"; echo "$EVPIPE_DIR"' '|' cat >two 2>err || true
	[ "$(readlink -f dir/current)" = "$(cat two)" ]
	[ ! -e "$(cat one)" ]
	[ "$(stat -c %a dir)" = 700 ]
	[ "$(echo dir/*)" = "dir/current dir/lock dir/$(readlink dir/current)" ]
}

@test "two units cannot have the same -d" {
	steady_source
	spawn unit evpipe -d dir ./source '|' cat
	wait_for '[ -e started ]'
	attempt -d dir true '|' cat
	ended_with 100 "the directory 'dir' is another evpipe's"
	kill -KILL "$(pid_of unit)"
	wait_for '! alive "$(pid_of unit)"'
	attempt -d dir true '|' cat
	[ "$status" -eq 0 ]
}

@test "a line of members that is none is wrong usage" {
	for line in '' '|' '| cat' 'true |' 'true | | cat'; do
		set -f
		# shellcheck disable=SC2086
		attempt $line
		set +f
		[ "$status" -eq 100 ]
		[[ $(cat err) == *"try 'evpipe --help'" ]]
	done
	attempt -n 'a/b' true '|' cat
	ended_with 100 "'a/b'"
	attempt 'kread x | rpub y'
	ended_with 100 "there is no program 'kread x | rpub y': each word, and each '|', is an argument of its own"
	attempt true
	ended_with 0 "'true' is the only member: a bar between members is quoted, '|'"
}

@test "a program that is not there ends all before anything is started" {
	touch not-executable
	for name in nowhere-to-be-found ./nowhere ./not-executable "$T"; do
		attempt touch touched '|' "$name" '|' cat
		ended_with 100 "there is no program '$name' that can be run"
		[ ! -e touched ]
	done
	script bad-interpreter <<<''
	echo '#!/nowhere' >bad-interpreter
	attempt cat '|' ./bad-interpreter </dev/null
	[ "$status" -eq 100 ]
}

@test "options behind the first word are the member's" {
	attempt -v echo -n --restart -v '|' cat
	[ "$status" -eq 0 ]
	[ "$(cat out)" = "--restart -v" ]
}

@test "members have the signals as they came to evpipe" {
	env --default-signal=PIPE,CHLD evpipe grep -E '^Sig(Ign|Blk)' /proc/self/status '|' cat >out
	grep -E '^Sig(Ign|Blk)' /proc/self/status | sed -n '1,2p' >here
	env --default-signal=PIPE,CHLD grep -E '^Sig(Ign|Blk)' /proc/self/status >expected
	diff expected out
}

@test "no descriptor of evpipe's is a member's" {
	(
		for fd in /proc/self/fd/*; do
			[ "${fd##*/}" -le 2 ] || eval "exec ${fd##*/}>&-"
		done
		evpipe --listen unix:http -d dir ls -l /proc/self/fd '|' cat >out
	)
	run ! grep -E 'lock|inotify|eventpoll|http' out
	[ "$(grep -c 'pipe:' out)" -le 2 ]
}

@test "too few descriptors are temporary trouble, with the remedy" {
	for options in '' '--listen localhost:0' '--listen unix:http' '-d dir'; do
		read -ra words <<<"$options"
		ended=0
		for n in {6..20}; do
			status=0
			(ulimit -n "$n" && exec timeout -s KILL 120 evpipe "${words[@]}" true '|' true) \
				>/dev/null 2>err || status=$?
			[ "$status" -ne 0 ] || { ended=1; continue; }
			cat err
			[ "$status" -eq 111 ]
			grep -qF 'Too many open files; raise the limit (ulimit -n)' err
		done
		[ $ended -eq 1 ]
	done
}

# ---- foreign programs ----

@test "a foreign program that uses stdio hands on each line at once" {
	mkfifo in
	for program in 'jq -c .' 'grep a' 'sed s/a/a/' 'gawk {print}' 'tr b c' 'cut -c1-' uniq; do
		read -ra words <<<"$program"
		exec 7<>in
		spawn unit evpipe cat in '|' "${words[@]}" '|' cat
		echo '{"a":1}' >&7
		wait_lines unit.out 1
		stop unit
		wait_exit unit
		[ "$status" -eq 0 ]
		exec 7>&-
	done
}

@test "what a foreign program's loss of records means is said by the source" {
	kmock_start -t t:1 -t out:1
	sentence='`grep` is not ours: what it drops is never committed; use evsel, evbatch -- grep, or --account order'
	last='the last member of the pipeline is no sink of ours, or has --pass'
	begins() {
		spawn unit evpipe "${@:2}" -b "$KAFKA_BROKERS" t '|' grep --line-buffered -v x '|' "${sink[@]}"
		wait_file_contains unit.err "$1"
		stop unit
		wait_exit unit
	}
	sink=(kwrite -t out)
	begins "kread: warning: $sentence" kread -g g
	begins "kread: warning: $sentence" nice kread -gg --account strict
	begins "kread: warning: ${sentence/is never committed/counts as lost}" kread
	run ! grep "$last" unit.err
	begins 'kread: 1 partition was assigned' kread -v -g g --account order
	run ! grep 'warning' unit.err
	sink=(evcorr -u redis://127.0.0.1:1 store)
	begins 'kread: 1 partition was assigned' kread -v -g g --account order
	run ! grep "$last" unit.err
	sink=(cat)
	begins "kread: warning: $last" kread -vg g
	attempt kread -e -b "$KAFKA_BROKERS" t '|' grep -v x '|' cat
	[ ! -s err ]
}

# ---- the end, and whose fault it was ----

@test "the status is that of the member that failed, in our terms" {
	script kwrite <<<'cat >/dev/null; exit $1'
	script foreign <<<'cat >/dev/null; exit $1'
	for case in 0:0 1:1 99:99 100:100 111:111 3:111 127:111; do
		attempt true '|' ./kwrite "${case%:*}"
		[ "$status" -eq "${case#*:}" ]
	done
	for case in 0:0 1:111 3:111 99:99 100:100 111:111 126:100 127:100; do
		attempt true '|' ./foreign "${case%:*}"
		[ "$status" -eq "${case#*:}" ]
	done
	# A shell that was asked to stop says so; of itself it is a failure.
	attempt true '|' ./foreign 143
	[ "$status" -eq 111 ]
	script shell <<<'trap "exit 143" TERM; echo x; sleep 1000 & wait'
	spawn unit evpipe ./shell '|' tee seen
	wait_lines seen 1
	stop unit
	wait_exit unit
	[ "$status" -eq 0 ]
	for name in grep egrep fgrep rg; do
		script $name <<<'cat >/dev/null; exit $1'
		attempt true '|' ./$name 1
		[ "$status" -eq 0 ]
		attempt true '|' ./$name 2
		[ "$status" -eq 111 ]
	done
}

@test "a table says how each member ended, and only if one has failed" {
	script rpub <<<'cat >/dev/null; exit 100'
	attempt true '|' cat '|' ./rpub
	[ "$status" -eq 100 ]
	diff err - <<-'EOT'
	evpipe: true: exit 0
	evpipe: cat: exit 0
	evpipe: rpub: exit 100, permanent trouble (failed first)
	EOT
	attempt true '|' cat '|' cat
	[ ! -s err ]
	attempt -v true '|' cat '|' cat
	[ "$(sort err)" = $'evpipe: cat-2: exit 0\nevpipe: cat: exit 0\nevpipe: true: exit 0' ]
	attempt --log json true '|' cat '|' ./rpub
	[ "$(jq -r .message err | tail -n 1)" = 'rpub: exit 100, permanent trouble (failed first)' ]
}

@test "a member killed by a signal is temporary trouble, whichever it is" {
	for which in 1 2 3; do
		for i in 1 2 3; do
			if [ $i -eq $which ]; then script m$i <<<'kill -KILL $$'; else script m$i <<<'exec cat'; fi
		done
		attempt ./m1 '|' ./m2 '|' ./m3 </dev/null
		ended_with 111 "evpipe: m$which: killed by SIGKILL (failed first)"
		[ "$(grep -c 'failed first' err)" -eq 1 ]
	done
}

@test "the cause is named, not its consequence" {
	script kread <<<'cat /dev/zero 2>/dev/null; exit 111'
	script rpub <<<'exit 100'
	for _ in 1 2 3 4 5; do
		attempt ./kread '|' ./rpub
		ended_with 100 "rpub: exit 100, permanent trouble (failed first)"
		attempt yes '|' sh -c 'exit 3' '|' cat
		ended_with 111 "sh: exit 3 (failed first)"
	done
}

# together FIRST SECOND THIRD: three members end with these statuses (-SIGNAL: are killed) while evpipe does
# not look; sets $status and err.
together() {
	rm -f go ended.*
	for i in 1 2 3; do
		printf '%s\n' '#!/bin/bash' 'until [ -e go ]; do sleep 0.02; done' 'touch "ended.$1"' \
			'[ "$2" -ge 0 ] || kill "$2" $$' 'exit "$2"' >"m$i"
		chmod +x m$i
	done
	ln -sf m1 kread
	ln -sf m3 rpub
	spawn unit evpipe ./kread 1 "$1" '|' ./m2 2 "$2" '|' ./rpub 3 "$3"
	wait_for '[ "$(pgrep -P "$(pid_of unit)" | wc -l)" -eq 3 ]'
	local pids
	mapfile -t pids < <(pgrep -P "$(pid_of unit)")
	stop unit STOP
	touch go
	for pid in "${pids[@]}"; do wait_for "! alive $pid"; done
	stop unit CONT
	wait_exit unit
	cat unit.err
}

@test "of those that have ended together, the likely cause is named" {
	together 111 0 100
	grep -qxF 'evpipe: rpub: exit 100, permanent trouble (failed first)' unit.err
	[ "$status" -eq 100 ]
	together 100 0 111
	grep -qxF 'evpipe: kread: exit 100, permanent trouble (failed first)' unit.err
	[ "$status" -eq 100 ]
	together 111 -9 111
	grep -qxF 'evpipe: m2: killed by SIGKILL (failed first)' unit.err
	together 111 0 111
	grep -qxF 'evpipe: rpub: exit 111, temporary trouble (failed first)' unit.err
	together 0 -13 0
	[ "$status" -eq 0 ]
}

@test "who has refused a record is named, not the source that was asked to stop, however long it drains" {
	script kread <<-'EOT'
	trap 'read -r -t 0.3 -u 9; exit 100' TERM
	mkfifo idle
	exec 9<>idle
	touch started
	while :; do read -r -t 0.05 -u 9; done
	EOT
	script evkey <<<'until [ -e started ]; do :; done; exit 1'
	script rpub <<<'cat; exit 111'
	attempt ./kread '|' ./evkey '|' ./rpub
	ended_with 100 "evkey: exit 1, records were refused (failed first)"
	[ "$(grep -c 'failed first' err)" -eq 1 ]
	rm started idle
	# The source's own trouble is its own.
	script kread <<<'exit 100'
	script evkey <<<'cat; exit 111'
	attempt ./kread '|' ./evkey '|' ./rpub
	ended_with 100 "kread: exit 100, permanent trouble (failed first)"
}

@test "a record refused under stop: the filter or the sink is named, with 100" {
	kmock_start -t t:1 -t out:1
	redis_start
	echo '{"payload":"no key","topic":"t"}' | kwrite
	attempt kread -g g t '|' evkey .id '|' rpub c
	ended_with 100 'evpipe: evkey: exit 1, records were refused (failed first)'
	attempt kread -g h t '|' evstamp --drop x '|' kwrite -t '{header:none}'
	ended_with 100 'evpipe: kwrite: exit 1, records were refused (failed first)'
}

@test "a clean stop is 0 if all that was refused stands in dead letters" {
	redis_start
	for options in '--dead-letter dead:0' '--on-error skip:1'; do
		read -ra words <<<"${options%:*}"
		: >err
		spawn unit evpipe rsub news '|' evkey "${words[@]}" .id '|' rpub '{key}'
		wait_for '[ "$(redis_subscribers news)" -eq 1 ]'
		rcli publish news '{"no":1}'
		rcli publish news '{"id":"seen"}'
		spawn sub rsub --raw seen
		wait_for '[ "$(redis_subscribers seen)" -eq 1 ]'
		rcli publish news '{"id":"seen"}'
		wait_lines sub.out 1
		stop sub
		wait_exit sub
		stop unit
		wait_exit unit
		[ "$status" -eq "${options##*:}" ]
	done
	[ "$(wc -l <dead)" -eq 1 ]
	# By itself a program is told by its own signal; without one it is 1.
	status=0
	echo '{}' | evkey --dead-letter dead .id || status=$?
	[ "$status" -eq 1 ]
	mkfifo in
	exec 7<>in
	spawn alone sh -c 'exec evkey --dead-letter dead .id <in 7>&-'
	echo '{}' >&7
	wait_for '[ "$(wc -l <dead)" -eq 3 ]'
	stop alone
	exec 7>&-
	wait_exit alone
	[ "$status" -eq 0 ]
}

@test "the reader's end is no fault of a writer" {
	attempt yes '|' head -n 2
	[ "$status" -eq 0 ]
	[ "$(cat out)" = $'y\ny' ]
}

@test "the end of the input is handed on, and no one is hurried" {
	script slow <<<'sleep 0.5; cat'
	attempt --drain 10ms seq 3 '|' ./slow '|' ./slow
	[ "$status" -eq 0 ]
	[ ! -s err ]
	[ "$(cat out)" = $'1\n2\n3' ]
}

# ---- the stop order ----

@test "a stop signal goes to the source alone; the rest ends with its input" {
	steady_source
	steady_filter
	for signal in TERM INT HUP; do
		rm -f started
		: >log
		spawn unit evpipe ./source '|' ./filter '|' ./filter
		wait_for '[ -e started ]'
		wait_lines unit.out 1
		stop unit $signal
		wait_exit unit
		[ "$status" -eq 0 ]
		[ ! -s unit.err ]
		[ "$(cat unit.out)" = $'first\nlast' ]
		[ "$(cat log)" = TERM ]
	done
}

@test "a foreign source that SIGTERM kills has ended well" {
	mkfifo in
	exec 7<>in
	spawn unit evpipe cat in '|' cat
	echo line >&7
	wait_lines unit.out 1
	stop unit
	wait_exit unit
	exec 7>&-
	[ "$status" -eq 0 ]
	[ ! -s unit.err ]
}

@test "Ctrl-C reaches evpipe alone" {
	steady_source kread
	steady_filter
	cat >keys.py <<-'EOT'
	import os, pty, sys, time
	pid, fd = pty.fork()
	if pid == 0:
	    os.execvp("evpipe", ["evpipe", "./kread", "|", "./filter", "|", "sh", "-c", "exec cat >delivered"])
	while not (os.path.exists("delivered") and os.path.getsize("delivered")):
	    time.sleep(0.02)
	os.write(fd, b"\x03")
	_, status = os.waitpid(pid, 0)
	sys.exit(os.waitstatus_to_exitcode(status))
	EOT
	timeout 120 python3 keys.py
	[ "$(cat delivered)" = $'first\nlast' ]
	[ "$(cat log)" = TERM ]
}

@test "a first member that reads the terminal can" {
	cat >keys.py <<-'EOT'
	import os, pty, sys, time
	pid, fd = pty.fork()
	if pid == 0:
	    os.execvp("evpipe", ["evpipe", "cat", "|", "sh", "-c", "exec cat >delivered"])
	os.write(fd, b"typed\n")
	while not (os.path.exists("delivered") and os.path.getsize("delivered")):
	    time.sleep(0.02)
	os.write(fd, sys.argv[1].encode().decode("unicode_escape").encode())
	_, status = os.waitpid(pid, 0)
	sys.exit(os.waitstatus_to_exitcode(status))
	EOT
	for key in '\x04' '\x03'; do
		rm -f delivered
		timeout 120 python3 keys.py "$key"
		[ "$(cat delivered)" = typed ]
	done
}

@test "a pager at the end of the line gets the keyboard, and gives it back at ^Z and at its end" {
	steady_source kread
	script pager <<-'EOT'
	trap 'echo INT >>pager.log' INT
	IFS= read -r line
	while read -r key </dev/tty; do
		echo "$line $key" >>pager.log
		[ "$key" != q ] || exit 0
	done
	EOT
	cat >keys.py <<-'EOT'
	import os, pty, sys, threading, time
	pid, fd = pty.fork()
	if pid == 0:
	    os.execvp("bash", ["bash", "--norc", "--noprofile", "-i"])
	seen = b""
	def screen():
	    global seen
	    try:
	        while data := os.read(fd, 4096):
	            seen += data
	    except OSError:
	        pass
	threading.Thread(target=screen, daemon=True).start()
	def keys(text, done):
	    os.write(fd, text)
	    while not done():
	        time.sleep(0.02)
	def has(name, text):
	    return lambda: os.path.exists(name) and text in open(name).read()
	def stopped():
	    return b"Stopped" in seen
	keys(b"evpipe ./kread '|' ./pager\n", has("started", ""))
	keys(b"one\n", has("pager.log", "first one\n"))
	keys(b"\x1a", stopped)
	keys(b"echo shell >shell\n", has("shell", "shell\n"))
	os.write(fd, b"fg\n")
	keys(b"two\n", has("pager.log", "first two\n"))
	keys(b"q\n", has("pager.log", "first q\n"))
	keys(b"echo again >again\n", has("again", "again\n"))
	os.write(fd, b"exit\n")
	os.waitpid(pid, 0)
	EOT
	timeout 120 python3 keys.py
	[ "$(cat pager.log)" = $'first one\nfirst two\nfirst q' ]
}

@test "a member that fails stops an idle source, which drains what it has" {
	steady_source
	steady_filter
	script sink <<<'IFS= read -r line; echo "$line"; exit 100'
	attempt ./source '|' ./filter '|' ./sink
	ended_with 100 "sink: exit 100, permanent trouble (failed first)"
	[ "$(cat out)" = first ]
	[ "$(cat log)" = TERM ]
}

@test "a member that ends before those in front of it gives them --drain, then stops them" {
	steady_source
	attempt --drain 100ms ./source '|' head -n 1
	[ "$status" -eq 0 ]
	[ "$(cat out)" = first ]
	[ "$(cat log)" = TERM ]
}

@test "what does not end within --drain is told twice and then killed" {
	steady_source
	script filter <<-'EOT'
	trap 'echo filter TERM >>log' TERM
	trap 'echo filter INT >>log' INT
	cat
	while :; do read -r -t 0.05 -u 9 9<>idle; done
	EOT
	spawn unit evpipe --drain 3s ./source '|' ./filter '|' cat
	wait_lines unit.out 1
	stop unit
	wait_exit unit
	cat unit.err
	[ "$status" -eq 111 ]
	grep -qxF 'evpipe: ended by force, after --drain: filter, cat' unit.err
	grep -qxF 'evpipe: filter: killed by SIGKILL of ours (failed first)' unit.err
	[ "$(sort log)" = $'TERM\nfilter INT\nfilter TERM' ]
}

@test "a second signal does not wait for --drain" {
	script source <<<'trap "echo TERM >>log" TERM; mkfifo idle; touch started; read <>idle; read <>idle'
	spawn unit evpipe --drain 1h ./source '|' cat
	wait_for '[ -e started ]'
	stop unit
	wait_for '[ -s log ]'
	stop unit
	wait_exit unit
	[ "$status" -eq 111 ]
	grep -qxF 'evpipe: ended by force, for a second signal: source, cat' unit.err
}

@test "a stopped member is no failure, and is continued to be ended" {
	steady_source
	script filter <<<'echo $$ >filter.id; exec cat'
	spawn unit evpipe ./source '|' ./filter '|' cat
	wait_lines unit.out 1
	freeze "$(cat filter.id)"
	wait_for 'grep -q "^State:.T" /proc/$(cat filter.id)/status'
	alive "$(pid_of unit)"
	stop unit
	wait_exit unit
	[ "$status" -eq 0 ]
	[ "$(cat unit.out)" = $'first\nlast' ]
}

# ---- nothing is left ----

# none_left: no process has this test's directory as its own.
none_left() {
	local cwd
	for cwd in /proc/[0-9]*/cwd; do
		[ "$(readlink "$cwd")" != "$T" ] || [ "${cwd//[!0-9]/}" = "$BASHPID" ] ||
			[ "${cwd//[!0-9]/}" = "$$" ] || [ "${cwd//[!0-9]/}" = "$PPID" ] ||
			! alive "${cwd//[!0-9]/}" || return 1
	done
}

@test "what a member leaves behind is waited for, then ended, and nothing is a zombie" {
	script leaver <<<'(sleep 1000 & echo $! >left.id) >/dev/null; cat'
	spawn unit evpipe --drain 100ms cat '|' ./leaver </dev/null
	wait_for '[ -s left.id ]'
	wait_exit unit
	[ "$status" -eq 0 ]
	grep -qF 'evpipe: ended by force, after --drain: leaver' unit.err
	[ ! -e "/proc/$(cat left.id)" ]
	script leaver <<<'(sleep 0.3; echo late >&2) & exec cat'
	attempt ./leaver '|' cat </dev/null
	[ "$status" -eq 0 ]
	[ "$(cat err)" = late ]
}

@test "what a member leaves behind ends though nobody above evpipe waits for it" {
	cat >parent.py <<-'EOT'
	import ctypes, subprocess, sys
	PR_SET_CHILD_SUBREAPER = 36
	ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
	sys.exit(subprocess.run(["evpipe", "cat", "|", "./leaver"], stdin=subprocess.DEVNULL).returncode)
	EOT
	script leaver <<<'sleep 0.3 >/dev/null & exec cat'
	timeout 120 python3 parent.py
}

@test "when evpipe is killed, the source is stopped and the others end with their input" {
	steady_source
	steady_filter
	script sink <<<'echo $$ >sink.id; exec cat'
	spawn unit evpipe ./source '|' ./filter '|' ./sink
	wait_lines unit.out 1
	stop unit KILL
	wait_for '! alive "$(cat sink.id)"'
	[ "$(cat unit.out)" = $'first\nlast' ]
	[ "$(cat log)" = TERM ]
}

# ---- restart ----

@test "--restart starts the whole unit again, in a new directory, until it ends well" {
	script source <<<'echo "source $EVPIPE_DIR" >>runs; echo x'
	script sink <<-'EOT'
	cat >/dev/null
	echo "sink $EVPIPE_DIR" >>runs
	[ "$(grep -c sink runs)" -ge 3 ] || exit 111
	EOT
	attempt --restart ./source '|' ./sink
	ended_with 0 "evpipe: sink: exit 111, temporary trouble (failed first)" "starting again in"
	[ "$(grep -c source runs)" -eq 3 ]
	[ "$(grep -c sink runs)" -eq 3 ]
	[ "$(cut -d' ' -f2 runs | sort -u | wc -l)" -eq 3 ]
	[ -z "$(ls runtime)" ]
}

@test "--restart ends with permanent trouble" {
	script sink <<<'echo run >>runs; exit 100'
	attempt --restart true '|' ./sink
	[ "$status" -eq 100 ]
	[ "$(wc -l <runs)" -eq 1 ]
	attempt --restart true '|' ./nowhere
	[ "$status" -eq 100 ]
}

# restarting [OPTION…]: a unit whose sink is killed when the file kill is there; it counts its runs in runs.
restarting() {
	script sink <<<'echo "$EVPIPE_DIR" >>runs; while read -r line; do [ ! -e kill ] || { rm kill; kill -KILL $$; }; done'
	script ticks <<<'while sleep 0.05; do echo x; done'
	spawn unit evpipe --restart "$@" ./ticks '|' ./sink
	wait_lines runs 1
}

@test "--restart outlives a directory that has vanished, with and without -d" {
	restarting
	mv runtime gone
	touch kill
	wait_lines runs 2
	[[ $(sed -n 2p runs) == /tmp/evpipe-evpipe.* ]]
	[ -d "$(sed -n 2p runs)" ]
	grep -qF "the unit's directory is in '/tmp' from now on: '$T/runtime' has gone" unit.err
	mkdir -m 700 runtime
	touch kill
	wait_lines runs 3
	[[ $(sed -n 3p runs) == "$T/runtime/"* ]]
	stop unit
	wait_exit unit
	[ "$status" -eq 0 ]
	[ ! -e "$(sed -n 2p runs)" ]
	rm runs
	mkdir parent
	restarting -d parent/dir
	# A member may write into it meanwhile.
	wait_for 'rm -r parent/dir'
	touch kill
	wait_lines runs 2
	[ "$(readlink -f parent/dir/current)" = "$(tail -n 1 runs)" ]
	attempt -d parent/dir true '|' cat
	ended_with 100 "the directory 'parent/dir' is another evpipe's"
	# Nothing can be made where its parent is no directory.
	wait_for 'rm -r parent'
	touch parent kill
	wait_file_contains unit.err "cannot make the directory '$T/parent/dir': Not a directory"
	wait_for '[ "$(grep -c "starting again" unit.err)" -ge 3 ]'
	rm parent
	mkdir parent
	wait_lines runs 3
	stop unit
	wait_exit unit
	[ "$status" -eq 0 ]
}

@test "a directory that cannot be made is permanent or temporary trouble at the first start, and leaves nothing" {
	touch file
	attempt --restart -d file/dir true '|' cat
	ended_with 100 "cannot make the directory 'file/dir': Not a directory"
	[ "$(id -u)" = 0 ] || skip "the rest needs root"
	command -v unshare >/dev/null && unshare -m true || skip "the rest needs a mount"
	# A file system with room for one directory and not for what is in it.
	cat >full <<-'EOT'
	mkdir full.d
	mount -t tmpfs -o nr_inodes=2,mode=700 tmpfs full.d
	XDG_RUNTIME_DIR=$PWD/full.d timeout 100 evpipe --restart true '|' cat
	echo "$?" "$(ls full.d)" >said
	EOT
	unshare -m sh ./full 2>err
	cat err
	[ "$(cat said)" = '111 ' ]
	grep -q "cannot make the directory '$T/full.d/evpipe-evpipe.*No space left on device" err
}

@test "--restart outlives a program that is missing for a moment" {
	restarting
	mv sink away
	# The shell that runs it has it open.
	touch kill
	wait_file_contains unit.err "there is no program './sink' that can be run"
	mv away sink
	wait_lines runs 2
	stop unit
	wait_exit unit
	[ "$status" -eq 0 ]
	# What a shell says of it is no reason to give up either.
	script source <<<'echo x; exec sleep 1000'
	spawn unit evpipe --restart ./source '|' sh -c 'exec ./sink'
	wait_lines runs 3
	mv sink away
	pkill -KILL -P "$(pid_of unit)" -x sink
	wait_file_contains unit.err 'sh: exit 127'
	mv away sink
	wait_lines runs 4
	stop unit
	wait_exit unit
	[ "$status" -eq 0 ]
}

@test "a member killed again and again does not make the waits grow" {
	restarting
	for n in 2 3 4 5 6 7 8 9; do
		touch kill
		wait_lines runs $n
	done
	stop unit
	wait_exit unit
	sed -n 's/.*starting again in \(.*\) s$/\1/p' unit.err >waits
	[ "$(wc -l <waits)" -eq 8 ]
	head -n 1 waits | awk '{ exit !($1 >= 0.1 && $1 <= 0.3) }'
	awk '$1 > 1 { bad = 1 } END { exit bad }' waits
}

@test "what members leave in groups of their own is ended with the run, and named" {
	script leaver <<-'EOT'
	setsid sh -c 'echo $$ >group.id; sleep 1000 & echo $! >daemon.id; exec sleep 1000' <>/dev/null >&0 2>&0 &
	until [ -s daemon.id ]; do sleep 0.01; done
	cat
	EOT
	attempt cat '|' ./leaver </dev/null
	ended_with 0 'members have left processes, which are ended: sleep ('
	wait_for '! alive "$(cat daemon.id)"'
	wait_for '! alive "$(cat group.id)"'
	# It may not want to.
	script stubborn <<<'trap "" TERM; echo $$ >stubborn.id; while :; do sleep 0.1; done'
	script leaver <<<'setsid ./stubborn <>/dev/null >&0 2>&0 & until [ -s stubborn.id ]; do sleep 0.01; done; cat'
	attempt cat '|' ./leaver </dev/null
	[ "$status" -eq 0 ]
	wait_for '! alive "$(cat stubborn.id)"'
	# What was there before, or is not to be found, is left alone.
	script daemon <<<'echo $$ >left.id; exec sleep 1000'
	script leaver <<<'env -u EVPIPE_RUN setsid ./daemon <>/dev/null >&0 2>&0 & until [ -s left.id ]; do sleep 0.01; done; cat'
	export EVPIPE_RUN=of-an-outer-pipeline
	timeout 100 sh -c 'sleep 1000 & echo $! >before.id; exec evpipe cat "|" ./leaver' </dev/null 2>err
	[ ! -s err ]
	kill "$(cat left.id)" "$(cat before.id)"
}

@test "evbatch killed: its command is ended before the next run" {
	script source <<<'echo "{\"payload\":\"x\"}"; exec sleep 1000'
	script work <<<'echo $$ >>works; exec sleep 1000'
	spawn unit evpipe --restart ./source '|' evbatch -n 1 -- ./work '|' cat
	wait_lines works 1
	pkill -KILL -P "$(pid_of unit)" -x evbatch
	wait_lines works 2
	wait_for '! alive "$(head -n 1 works)"'
	stop unit
	stop unit
	wait_exit unit
	wait_for '! alive "$(tail -n 1 works)"'
}

@test "a stop signal ends a unit that waits for its restart, and one that runs" {
	script sink <<<'exit 111'
	spawn unit evpipe --restart true '|' ./sink
	wait_file_contains unit.err 'starting again'
	stop unit
	wait_exit unit
	[ "$status" -eq 111 ]
	steady_source
	spawn unit evpipe --restart ./source '|' cat
	wait_lines unit.out 1
	stop unit
	wait_exit unit
	[ "$status" -eq 0 ]
	[ "$(cat log)" = TERM ]
	# Not well, but for the signal.
	script source <<<'trap "exit 111" TERM; echo first; mkfifo idle2; read <>idle2'
	spawn unit evpipe --restart ./source '|' cat
	wait_lines unit.out 1
	stop unit
	wait_exit unit
	[ "$status" -eq 111 ]
	run ! grep 'starting again' unit.err
}

# ---- the whole, with our programs, Kafka and Redis ----

@test "a source that commits finds its sink, wherever both stand in the line" {
	kafka_start
	from=$(new_topic 1)
	to=$(new_topic 1)
	export GROUP=$from TO=$to
	seq 10 | kproduce "$from"
	evpipe kread -eg "$GROUP" "$from" '|' sh -c 'exec kwrite -t "$TO"'
	seq 11 20 | kproduce "$from"
	evpipe nice kread -e -g "$GROUP" "$from" '|' kwrite -t "$to"
	seq 21 30 | kproduce "$from"
	evpipe timeout 100 kread -e -g "$GROUP" "$from" '|' kwrite -t "$to"
	seq 31 40 | kproduce "$from"
	evpipe sh -c 'exec kread -e -g "$GROUP" "$1"' sh "$from" '|' jq -c . '|' kwrite -t "$to"
	seq 41 50 | kproduce "$from"
	evpipe sh -c 'kread -e -g "$GROUP" "$1" | kwrite -t "$TO"' sh "$from" '|' cat
	seq 50 | diff - <(kconsume "$to")
	run -0 kread -q -e -g "$GROUP" --commit written "$from"
	[ "$output" = "" ]
}

@test "a sink with --pass at the end of the line is named, with a remedy that is right" {
	kafka_start
	from=$(new_topic 1)
	to=$(new_topic 1)
	seq 3 | kproduce "$from"
	attempt kread -e -g "$from" "$from" '|' evstamp --drop nobody '|' kwrite -t "$to" --pass
	ended_with 100 'kread: warning: the last member of the pipeline is no sink of ours, or has --pass' \
		'ten seconds, only filters: ' 'with --pass a sink is a filter' 'kwrite' 'evstamp' \
		'end the pipeline with rpub, kwrite or evack'
	run ! grep -F 'run the pipeline with evpipe' err
	[ "$(kconsume "$to")" = "" ]
}

# a_unit IN OUT: a pipeline with a foreign filter in it, that commits what is acknowledged.
a_unit() {
	unit=(kread -g "$1" "${SHORT_SESSION[@]}" "$1" '|' evstamp --drop nobody
		'|' jq -c . '|' kwrite -t "$2")
}

# delivered TOPIC: the payloads there, each once.
delivered() {
	kconsume "$1" | sort -nu
}

@test "any member killed, any number of times: the unit comes back and nothing is lost" {
	kafka_start
	from=$(new_topic 3)
	to=$(new_topic 1)
	a_unit "$from" "$to"
	seq 1000 | kproduce "$from"
	spawn unit evpipe --restart -d dir "${unit[@]}"
	last=1000
	for name in kwrite jq evstamp kread; do
		wait_for '[ "$(delivered "$to" | tail -n 1)" = "$last" ]'
		seq $((last + 1)) $((last + 1000)) | kproduce "$from"
		last=$((last + 1000))
		wait_for 'pkill -KILL -P "$(pid_of unit)" -x "$name"'
		wait_file_contains unit.err "evpipe: $name: killed by SIGKILL (failed first)"
	done
	wait_for '[ "$(delivered "$to" | wc -l)" -eq 5000 ]'
	# All may have been delivered while the unit waits for its restart.
	wait_for 'pgrep -P "$(pid_of unit)" -x kread && [ -e dir/current/ready/kread ]'
	stop unit
	wait_exit unit
	[ "$status" -eq 0 ]
	diff <(seq 5000) <(delivered "$to")
}

@test "Ctrl-C on a terminal, in the middle of the load: nothing is lost and nothing comes again" {
	kafka_start
	from=$(new_topic 3)
	to=$(new_topic 1)
	a_unit "$from" "$to"
	seq 20000 | kproduce "$from"
	cat >keys.py <<-'EOT'
	import os, pty, sys, threading
	pid, fd = pty.fork()
	if pid == 0:
	    os.execvp("evpipe", ["evpipe", "--metrics", "all"] + sys.argv[1:])
	def screen():
	    try:
	        while os.read(fd, 4096):
	            pass
	    except OSError:
	        pass
	threading.Thread(target=screen, daemon=True).start()
	sys.stdin.read()
	os.write(fd, b"\x03")
	_, status = os.waitpid(pid, 0)
	sys.exit(os.waitstatus_to_exitcode(status))
	EOT
	mkfifo in
	exec 7<>in
	spawn first sh -c 'exec <in 7>&-; exec python3 keys.py "$@"' sh "${unit[@]}"
	wait_for '[ -n "$(kconsume "$to" -c 1)" ]'
	exec 7>&-
	wait_exit first
	[ "$status" -eq 0 ]
	kconsume "$to" | wc -l
	spawn second evpipe "${unit[@]}"
	wait_for '[ "$(delivered "$to" | wc -l)" -eq 20000 ]'
	stop second
	wait_exit second
	[ "$status" -eq 0 ]
	[ "$(kconsume "$to" | wc -l)" -eq 20000 ]
}

@test "a bridge to Redis whose server goes away is red, not dead, and delivers all in the end" {
	kafka_start
	redis_start
	topic=$(new_topic 1)
	spawn sub rsub --raw "$topic"
	wait_for '[ "$(redis_subscribers "$topic")" -eq 1 ]'
	spawn unit evpipe -n b --health-grace 100ms --listen unix:http kread -g "$topic" "$topic" '|' rpub '{topic}'
	wait_for 'curl -sf --unix-socket http http://b/readyz'
	redis_stop
	wait_for 'curl -s --unix-socket http http://b/healthz | grep -q "^rpub: no connection to redis for"'
	seq 100 | kproduce "$topic"
	redis_start
	wait_for 'curl -sf --unix-socket http http://b/healthz'
	wait_for 'curl -s --unix-socket http http://b/metrics | grep -q "^evpipe_messages_forwarded_total{pipeline=.b.} 100$"'
	stop unit
	wait_exit unit
	[ "$status" -eq 0 ]
	run -0 kread -q -e -g "$topic" --commit written "$topic"
	[ "$output" = "" ]
}

@test "evpipe --restart: rsub tells and counts the time between two runs as a gap" {
	redis_start
	spawn unit evpipe --restart -d . --listen "unix:$PWD/http" rsub --raw news '|' cat
	wait_for '[ "$(redis_subscribers news)" -eq 1 ]'
	run ! grep 'gap: ' unit.err
	kill -KILL "$(pgrep -P "$(pid_of unit)" -x rsub)"
	wait_file_contains unit.err 'gap: the unit was started again'
	wait_for '[ "$(redis_subscribers news)" -eq 1 ]'
	wait_for 'curl -s --unix-socket http http://localhost/metrics | grep -qx "evpipe_gaps_total{.*} 1"'
	stop unit
	wait_exit unit
	[ "$(grep -c 'gap: ' unit.err)" -eq 1 ]
}
