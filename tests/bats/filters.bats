#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# How filters run: at once when slow, fast in bulk, small, and ended in the right way by EOF, signals and
# readers that go. evstamp and evkey share a loop; both are tried where a test costs nothing.

load helpers

setup() {
	harness_setup
	mkfifo in out
}

record() {
	printf '{"payload":"{\\"a\\":%s}"}\n' "$1"
}

# filter NAME [OPTION…]: an evstamp from the FIFO in to NAME.out; descriptor 5 writes into it.
filter() {
	local name=$1
	shift
	spawn "$name" sh -c 'exec evstamp --drop x "$@" <in' sh "$@"
	exec 5>in
}

# ---- at once ----

@test "a record goes on while the input stays open and silent" {
	filter one
	record 1 >&5
	wait_lines one.out 1
	[ "$(cat one.out)" = "$(record 1)" ]
	record 2 >&5
	wait_lines one.out 2
	exec 5>&-
	wait_exit one
	[ "$status" -eq 0 ]
}

@test "half a record waits for its other half, and what came before it does not" {
	filter half
	{ record 1; printf '{"payload":'; } >&5
	wait_lines half.out 1
	printf '"2"}\n' >&5
	wait_lines half.out 2
	[ "$(sed 1d half.out)" = '{"payload":"2"}' ]
	exec 5>&-
}

@test "a filter is ready before any input" {
	spawn ready sh -c 'exec evkey .a --ready-fd 3 <in 3>ready-file'
	exec 5>in
	wait_for '[ -s ready-file ]'
	[ "$(od -An -c ready-file)" = '  \n' ]
	alive "$(pid_of ready)"
	exec 5>&-
	wait_exit ready
	[ "$status" -eq 0 ]
}

@test "metrics are rewritten while the input stays open and silent" {
	filter counted --metrics m
	record 1 >&5
	wait_file_contains m 'evpipe_records_out_total{pipeline="evpipe",tool="evstamp"} 1'
	wait_file_contains m 'evpipe_ready{pipeline="evpipe",tool="evstamp"} 1'
	exec 5>&-
}

# ---- the end ----

@test "no input at all is done" {
	run -0 evkey .a </dev/null
	[ -z "$output" ]
	run -0 evstamp --drop x </dev/null
	[ -z "$output" ]
}

@test "the first signal is ignored while input is open, and EOF ends it with 0" {
	for signal in TERM INT HUP; do
		filter "f$signal"
		record 1 >&5
		wait_lines "f$signal.out" 1
		stop "f$signal" "$signal"
		record 2 >&5
		wait_lines "f$signal.out" 2
		exec 5>&-
		wait_exit "f$signal"
		[ "$status" -eq 0 ]
		[ "$(cat "f$signal.err")" = "evstamp: warning: a signal came: waiting for the end of input; a second signal ends it at once" ]
	done
}

@test "the second signal ends it at once with 111" {
	filter two
	record 1 >&5
	wait_lines two.out 1
	stop two TERM
	record 2 >&5
	wait_lines two.out 2
	stop two INT
	wait_exit two
	[ "$status" -eq 111 ]
	[[ $(cat two.err) == "evstamp: "*signal* ]]
	exec 5>&-
}

@test "a signal is not lost with the write that was to wake the loop" {
	spawn torn sh -c 'exec strace -D -o trace -e trace=write -e inject=write:error=EIO:when=2 evstamp --drop x <in'
	exec 5>in
	record 1 >&5
	wait_lines torn.out 1
	stop torn TERM
	wait_file_contains trace INJECTED
	stop torn INT
	wait_exit torn
	[ "$status" -eq 111 ]
	exec 5>&-
}

@test "the second signal ends it even while its reader does not read" {
	seq 100000 | sed 's/.*/{"payload":"&"}/' >many
	spawn stuck sh -c 'exec evstamp --drop x <many >out'
	exec 6<out
	read -r _ <&6
	# Two of one kind could melt into one.
	stop stuck TERM
	stop stuck INT
	wait_exit stuck
	[ "$status" -eq 111 ]
	exec 6<&-
}

@test "the first signal ends it when its input has ended, while its reader does not read" {
	# More than a pipe of 256 KB holds, and less than would keep it from reading on.
	seq 15000 | sed 's/.*/{"payload":"&"}/' >many
	spawn stuck sh -c 'exec evstamp --drop x --metrics m <many >out'
	exec 6<out
	wait_file_contains m 'evpipe_records_in_total{pipeline="evpipe",tool="evstamp"} 15000'
	stop stuck TERM
	wait_exit stuck
	[ "$status" -eq 111 ]
	exec 6<&-
}

@test "a reader that goes ends it on a silent input" {
	spawn idle sh -c 'exec evkey .a <in >out'
	exec 5>in 6<out
	record 1 >&5
	read -r _ <&6
	exec 6<&-
	wait_exit idle
	[ "$status" -eq 111 ]
	[ "$(cat idle.err)" = "evkey: the reader of standard output has gone" ]
	exec 5>&-
}

@test "so does one at the other end of a socket" {
	for command in 'evkey .a' 'evbatch -- cat'; do
		read -ra words <<<"$command"
		python3 - "${words[@]}" <<-'EOP'
		import socket, subprocess, sys
		a, b = socket.socketpair()
		p = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE, stdout=b, stderr=subprocess.PIPE)
		b.close()
		p.stdin.write(b'{"payload":"{\\"a\\":1}"}\n')
		p.stdin.flush()
		assert a.recv(1)
		while len(a.recv(1 << 16)) == 1 << 16:
		    pass
		a.close()
		assert p.wait(60) == 111
		assert p.stderr.read() == f"{sys.argv[1]}: the reader of standard output has gone\n".encode()
		EOP
	done
}

@test "a reader that goes ends it in bulk" {
	yes "$(record 1)" | { evstamp --drop x 2>err; echo $? >status; } | head -n 1 >first || true
	[ "$(cat first)" = "$(record 1)" ]
	[ "$(cat status)" -eq 111 ]
	[ "$(cat err)" = "evstamp: the reader of standard output has gone" ]
}

@test "a full device ends it with 111" {
	for command in "evkey .a" "evstamp --drop x"; do
		record 1 >one
		# shellcheck disable=SC2086 # words
		run -111 --separate-stderr bash -c "$command <one >/dev/full"
		# shellcheck disable=SC2154 # run sets it
		[ "$stderr" = "${command%% *}: cannot write standard output: No space left on device" ]
	done
}

@test "a full device ends it with 111 though the input stays open" {
	spawn full sh -c 'exec evkey .a <in >/dev/full'
	exec 5>in
	record 1 >&5
	wait_exit full
	[ "$status" -eq 111 ]
	exec 5>&-
}

@test "a closed standard output ends it with 111 when something is lost" {
	record 1 >one
	for command in "evkey .a" "evstamp --drop x"; do
		run -111 bash -c "timeout -s KILL 120 $command --dead-letter dead <one >&-"
		[ "$output" = "${command%% *}: cannot write standard output: Bad file descriptor" ]
		[ ! -s dead ]
	done
}

# ---- what is shared ----

@test "descriptors that others share do not become non-blocking" {
	record 1 >one
	{
		evstamp --drop x <one
		python3 -c 'import fcntl, os; print(fcntl.fcntl(1, fcntl.F_GETFL) & os.O_NONBLOCK)'
	} | cat >both
	[ "$(cat both)" = "$(record 1; echo 0)" ]
	record 1 | {
		evstamp --drop x >copy
		python3 -c 'import fcntl, os; print(fcntl.fcntl(0, fcntl.F_GETFL) & os.O_NONBLOCK)'
	} >flag
	[ "$(cat flag)" = 0 ]
	cmp one copy
}

@test "a standard input that came non-blocking is read like any other" {
	python3 - <<-'EOP'
	import os, subprocess
	r, w = os.pipe()
	os.set_blocking(r, False)
	p = subprocess.Popen(["evkey", ".a"], stdin=r, stdout=subprocess.PIPE)
	os.close(r)
	for n in b"1", b"2":
	    os.write(w, b'{"payload":"{\\"a\\":' + n + b'}"}\n')
	    line = p.stdout.readline()
	    assert line == b'{"key":"' + n + b'","payload":"{\\"a\\":' + n + b'}"}\n', line
	os.close(w)
	assert p.wait(60) == 0
	EOP
}

@test "output appended to a file stays behind what was there" {
	echo before >log
	record 1 | evstamp --drop x >>log
	record 2 | evstamp --drop x >>log
	[ "$(cat log)" = "$(echo before; record 1; record 2)" ]
}

@test "output to a socket is whole" {
	seq 50000 | sed 's/.*/{"payload":"&"}/' >many
	python3 - <<-'EOP'
	import socket, subprocess
	a, b = socket.socketpair()
	p = subprocess.Popen(["evstamp", "--drop", "x"], stdin=open("many"), stdout=b)
	b.close()
	data = b""
	while piece := a.recv(1000):
	    data += piece
	assert data == open("many", "rb").read()
	assert p.wait(60) == 0
	EOP
}

# ---- small ----

# bats test_tags=load
@test "behind a reader that never quite catches up it stays small" {
	python3 - <<-'EOP'
	import os, resource, subprocess
	line = b'{"payload":"' + b"x" * 200 + b'"}\n'
	with open("many", "wb") as f:
	    for _ in range(200):
	        f.write(line * 2500)
	p = subprocess.Popen(["evstamp", "--drop", "x"], stdin=open("many"), stdout=subprocess.PIPE, bufsize=0)
	# The pipe is kept full: the writer refills it faster than we take from it.
	import fcntl, termios, array
	total, n = 0, array.array("i", [0])
	while total < os.path.getsize("many") - (1 << 20):
	    while True:
	        fcntl.ioctl(p.stdout.fileno(), termios.FIONREAD, n)
	        if n[0] > 20000:
	            break
	    total += len(p.stdout.read(min(16384, n[0] - 4096)))
	while piece := p.stdout.read(1 << 16):
	    total += len(piece)
	assert total == os.path.getsize("many"), total
	assert p.wait(60) == 0
	peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
	print(peak, "MB")
	assert peak < 30
	EOP
}

# ---- dead letters are durable ----

@test "a dead letter is synced before the program waits or ends" {
	{ record 1; echo bad1; echo bad2; record 2; } >some
	strace -o trace -e trace=write,fdatasync,poll evkey .a --dead-letter dead <some >copy 2>/dev/null || [ $? -eq 1 ]
	python3 - <<-'EOP'
	import re
	dirty = synced = 0
	for line in open("trace"):
	    if re.match(r'write\(\d+, "\{\\"error', line):
	        dirty += 1
	    elif line.startswith("fdatasync("):
	        assert line.rstrip().endswith("= 0"), line
	        synced, dirty = synced + dirty, 0
	    elif line.startswith(("poll(", "+++")) or line.startswith("write(1,"):
	        assert not dirty, line
	assert synced == 2, synced
	EOP
}

# ---- messages ----

@test "-q leaves warnings away and keeps errors" {
	{ record 1; echo bad; } >some
	run -1 --separate-stderr evkey -q .a --on-error skip <some
	[ -z "$stderr" ]
	run -1 --separate-stderr evkey -q .a <some
	[[ $stderr == "evkey: line 2: "* ]]
}

@test "--log json keeps whatever a message quotes" {
	# shellcheck disable=SC1003 # a backslash is meant
	run -1 --separate-stderr evkey '."q\"b\\"' --log json --on-error skip <<<'{"payload":"{}"}'
	jq -e -s 'length == 2 and (.[0].message | contains("q\\\"b")) and .[0].level == "warning"' <<<"$stderr"
}

@test "refused records of one class are told ten times and counted at the end" {
	{ seq 50; record 1; } >some
	run -1 --separate-stderr evkey .a --on-error skip <some
	[ "$(grep -c 'line .*invalid-record' <<<"$stderr")" -eq 10 ]
	[ "$(tail -n 1 <<<"$stderr")" = "evkey: warning: 50 records were refused and skipped" ]
	[ "$output" = '{"key":"1","payload":"{\"a\":1}"}' ]
}
