#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# The line of sources and sinks on a terminal.

load helpers

setup_file() {
	kmock_start -t three:3 -t one:1
	seq 1 50 | kwrite --raw -t one
}

# on_terminal PATTERN SCRIPT: runs the shell text SCRIPT on a terminal of its own until what it shows matches the
# regular expression PATTERN, or the script ends; then the script gets SIGINT as from Ctrl-C, and "shown" has all that
# the terminal was given. Fails when the pattern is not there.
on_terminal() {
	TERM=xterm python3 - "$@" <<-'EOP'
	import os, pty, re, select, signal, sys, time
	pattern, script = sys.argv[1:]
	pid, fd = pty.fork()
	if pid == 0:
	    os.execvp("bash", ["bash", "-c", script])
	open("shown", "wb").close()
	seen, end, found = b"", time.monotonic() + 120, False
	while time.monotonic() < end:
	    if select.select([fd], [], [], 0.2)[0]:
	        try:
	            got = os.read(fd, 65536)
	        except OSError:
	            break
	        if not got:
	            break
	        seen += got
	        with open("shown", "ab") as file:
	            file.write(got)
	    if not found and re.search(pattern.encode(), seen):
	        found = True
	        os.write(fd, b"\x03")
	os.kill(pid, signal.SIGKILL)
	os.waitpid(pid, 0)
	if not found and not re.search(pattern.encode(), seen):
	    sys.exit(f"not seen: {pattern}\n{seen!r}")
	EOP
}

@test "kread waits at the end, and says so; nothing of it is in its output" {
	on_terminal 'kread: 50 records read, waiting at the end of 1 partition' 'kread one >out'
	[ "$(wc -l <out)" -eq 50 ]
	jq -e .payload out >/dev/null
	on_terminal 'kread: 0 records read, waiting at the end of 3 partitions' 'kread three >out'
	[ ! -s out ]
}

@test "kread with an end says where it is and how much is left" {
	on_terminal 'kread: [0-9]+ records? read, [0-9]+/s, at one/0@[0-9]+ of 50, [0-9]+ left, [0-9]+ s' \
		'kread -e --rate 5 one >out'
}

@test "who waits for a broker names it" {
	on_terminal 'kread: 0 records read, waiting for broker 127.0.0.1:1' 'kread -b 127.0.0.1:1 one >out'
	on_terminal 'kwrite: 0 records written, waiting for broker 127.0.0.1:1' \
		'(echo x; sleep 100) | timeout --foreground 30 kwrite -b 127.0.0.1:1 --raw -t one'
	on_terminal 'rsub: 0 records read, waiting for redis at 127.0.0.1:1' 'rsub -u redis://127.0.0.1:1 ch >out'
	on_terminal 'rapply: 0 records written, waiting for redis at 127.0.0.1:1' \
		'(echo x; sleep 100) | timeout --foreground 30 rapply -u redis://127.0.0.1:1'
}

@test "a sink says how many it has written" {
	on_terminal 'kwrite: [0-9]+ records written' '(seq 9; sleep 30) | kwrite --raw -t three'
}

@test "the line goes before records that are printed on the same terminal, by kread or by a program behind it" {
	local line writer
	for line in 'kread -o end one' 'kread -o end one | cat'; do
		: >shown
		(wait_for 'grep -aq "waiting at the end" shown' && echo fresh | kwrite -q --raw -t one) 3>&- &
		writer=$!
		on_terminal 'waiting at the end of 1 partition.*\r\x1b\[K\{"topic":"one".*"fresh"' "$line"
		wait "$writer"
	done
}

@test "no line under -q, in JSON, under evpipe, on a dumb terminal, in a file, and in the background" {
	local call
	for call in 'kread -q one' 'kread --log json one' 'TERM=dumb kread one' 'TERM= kread one'; do
		on_terminal 'over' "$call -o end --idle-exit 3s >out; echo over"
		run ! grep -aq 'records read' shown
	done
	on_terminal 'over' 'evpipe kread -o end --idle-exit 3s one "|" cat >out; echo over'
	run ! grep -aq 'records read' shown
	on_terminal 'over' 'set -m; kread -o end --idle-exit 3s one >out & wait; echo over'
	run ! grep -aq 'records read' shown
	run -99 kread -o end --idle-exit 3s one
	[[ $output != *"records read"* ]]
}

@test "a message takes the place of the line, and the end removes it" {
	on_terminal 'over' 'kread --idle-exit 3s one >out; echo over'
	grep -aqF $'partition\e[K\r\e[Kkread: no record came for 3000 ms' shown
}

@test "-v tells a total at the end" {
	run -0 --separate-stderr kread -v -e one
	# shellcheck disable=SC2154
	[[ $stderr =~ kread:\ 5[0-9]\ records\ read\ in\ [0-9]+\.[0-9]\ s ]]
	run -0 kwrite -v --raw -t three <<<x
	[[ $output == *"kwrite: 1 record written in "* ]]
	run -0 kread -e three
	[[ $output != *"records read in"* ]]
}
