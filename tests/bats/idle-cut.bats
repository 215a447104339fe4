#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# A middle box forgets idle connections: what is sent in them is dropped in silence, and new ones work.

load helpers

setup() {
	harness_setup
	kmock_start -t t:1
	# Connections that were there when the file "gone" came are held, and nothing goes through them any more.
	spawn box python3 -u -c 'import os, socket, sys, threading
def copy(a, b, old):
    while data := a.recv(65536):
        if os.path.exists("gone") and not old:
            threading.Event().wait()
        b.sendall(data)
    b.shutdown(socket.SHUT_WR)
s = socket.create_server(("127.0.0.1", 0))
print(s.getsockname()[1], flush=True)
while True:
    a = s.accept()[0]
    b = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    for pair in (a, b), (b, a):
        threading.Thread(target=copy, args=(*pair, os.path.exists("gone")), daemon=True).start()' "${KAFKA_BROKERS##*:}"
	wait_lines box.out 1
	THROUGH=(-b "$KAFKA_BROKERS" --resolve "$KAFKA_BROKERS:127.0.0.1:$(cat box.out)" -X socket.timeout.ms=3000
		-X request.timeout.ms=3000)
}

# kept NAME: each connection of a program is probed within a minute, so that no middle box forgets it.
kept() {
	ss -Htnpo state established | grep "pid=$(pid_of "$1")," >"$1.links" && ! grep -vE 'timer:\(keepalive,([0-9]+sec|1min),|timer:\(on,' "$1.links"
}

@test "a connection that is quiet is probed each minute, so that none is forgotten" {
	mkfifo in
	exec 7<>in
	spawn reads kread -b "$KAFKA_BROKERS" --raw t </dev/null
	spawn writes kwrite -b "$KAFKA_BROKERS" --raw -t t <in
	echo one >&7
	wait_lines reads.out 1
	wait_for 'kept reads'
	wait_for 'kept writes'
	exec 7>&-
}

@test "kwrite and kread find it within the time-out of a request, and lose nothing" {
	mkfifo in
	exec 7<>in
	spawn reads kread "${THROUGH[@]:0:6}" --raw t </dev/null
	spawn writes kwrite "${THROUGH[@]}" --raw -t t <in
	echo one >&7
	wait_lines reads.out 1
	: >gone
	echo two >&7
	wait_lines reads.out 2
	exec 7>&-
	wait_exit writes
	[ "$status" -eq 0 ]
	stop reads
	wait_exit reads
	[ "$status" -eq 0 ]
	[ "$(xargs <reads.out)" = 'one two' ]
	[ "$(kread -b "$KAFKA_BROKERS" -e --raw t | xargs)" = 'one two' ]
}
