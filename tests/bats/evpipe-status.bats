#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# What evpipe tells of a pipeline: metrics, health, readiness, over HTTP and to supervisors. The members
# are scripts under our programs' names, which say of themselves what the test wants.

load helpers

setup() {
	harness_setup
	export XDG_RUNTIME_DIR=$T/runtime
	mkdir runtime
	mkfifo idle
	# A program of ours: rewrites its metrics, from the file NAME.says; is ready while NAME.ready exists,
	# does not end on a signal while NAME.stays does, and fails when NAME.fails does.
	cat >member <<-'EOT'
	#!/bin/bash
	name=${0##*/}
	trap 'ended=yes; touch ended' TERM
	exec 9<>idle
	while :; do
		sed "s/PIPELINE/pipeline=\"$EVPIPE_NAME\"/" "$name.says" >"$EVPIPE_DIR/metrics/$name.prom.tmp"
		mv "$EVPIPE_DIR/metrics/$name.prom.tmp" "$EVPIPE_DIR/metrics/$name.prom"
		if [ -e "$name.ready" ]; then
			touch "$EVPIPE_DIR/ready/$name"
		else
			rm -f "$EVPIPE_DIR/ready/$name"
		fi
		read -r -t 0.1 -u 9
		if [ "$name" != kread ]; then
			read -r -t 0.001 && continue
			[ $? -gt 128 ] || exit 0
		fi
		[ -z "$ended" ] || [ -e "$name.stays" ] || exit 0
		[ ! -e "$name.fails" ] || exit 111
	done
	EOT
	chmod +x member
	for name in kread rpub; do
		ln -s member $name
		says $name 1
		touch $name.ready
	done
}

# says NAME UP [STALLED]: what a member reports of itself.
says() {
	cat >"$1.new" <<-EOT
	evpipe_up{PIPELINE,tool="$1",peer="server-of-$1"} $2
	evpipe_records_in_total{PIPELINE,tool="$1"} 7
	evpipe_messages_forwarded_total{PIPELINE} 5
	evpipe_stalled_records{PIPELINE} ${3:-0}
	EOT
	mv "$1.new" "$1.says"
}

# unit [OPTION…]: the unit, in the background, with its server.
unit() {
	spawn unit evpipe -n u --listen unix:http "$@" ./kread '|' ./rpub
	wait_for '[ -S http ]'
}

# get PATH [OPTION…]: prints what is answered, then the status in a line.
get() {
	curl -s --max-time 20 --unix-socket http -w '%{http_code}\n' "http://unit$1" "${@:2}"
}

green() { [ "$(get /healthz)" = $'ok\n200' ]; }
red() { [ "$(get /healthz)" = "$1"$'\n503' ]; }
ready() { [ "$(get /readyz)" = $'ok\n200' ]; }

# ---- metrics ----

@test "/metrics is one valid exposition of all members" {
	unit
	wait_for 'get /metrics | grep -q "^evpipe_messages_forwarded_total{pipeline=.u.} 10$"'
	get /metrics -D head >all
	sed -i '$d' all
	grep -qi '^content-type: text/plain; version=0.0.4' head
	for line in 'evpipe_restarts_total{pipeline="u"} 0' 'evpipe_member_up{pipeline="u",tool="kread"} 1' \
		'evpipe_member_up{pipeline="u",tool="rpub"} 1' 'evpipe_ready{pipeline="u",tool="evpipe"} 1' \
		'evpipe_up{pipeline="u",tool="kread",peer="server-of-kread"} 1' \
		'evpipe_records_in_total{pipeline="u",tool="rpub"} 7'; do
		grep -qxF "$line" all
	done
	[ "$(sort all | uniq -d)" = "" ]
	[ "$(get /metrics --head | sed -n 1p)" = $'HTTP/1.1 200 OK\r' ]
	[ "$(get /metrics --head | sed -n '$p')" = 200 ]
}

@test "/metrics of our real programs is valid, and so is --metrics FILE" {
	mkfifo in
	exec 7<>in
	spawn real evpipe --listen unix:http --metrics all sh -c 'cat in' '|' evstamp --drop x '|' \
		evstamp --drop y '|' evkey .a
	wait_for 'get /metrics | grep -qF "evpipe_records_in_total{pipeline=\"evpipe\",tool=\"evstamp-2\"} 0"'
	wait_for 'get /metrics | grep -qF "evpipe_ready{pipeline=\"evpipe\",tool=\"evkey\"} 1"'
	get /metrics | sed '$d' >now
	valid_metrics now
	wait_for 'grep -qF "evpipe_ready{pipeline=\"evpipe\",tool=\"evkey\"} 1" all'
	valid_metrics all
	grep -qxF 'evpipe_member_up{pipeline="evpipe",tool="evstamp-2"} 1' all
	stop real
	wait_exit real
	exec 7>&-
	grep -qxF 'evpipe_member_up{pipeline="evpipe",tool="evstamp-2"} 0' all
}

@test "other paths and methods are refused, and a client that stalls stops nobody" {
	unit
	[ "$(get / | tail -n 1)" = 404 ]
	[ "$(get /metrics/x | tail -n 1)" = 404 ]
	[ "$(get /metrics -X DELETE | tail -n 1)" = 405 ]
	[ "$(get /metrics -X POST -d "$(seq 1000)" | tail -n 1)" = 405 ]
	[ "$(get '/readyz?verbose=1' | tail -n 1)" = 200 ]
	cat >stall.py <<-'EOT'
	import signal, socket
	s = socket.socket(socket.AF_UNIX)
	s.connect("http")
	s.send(b"GET /met")
	open("stalls", "w")
	signal.pause()
	EOT
	spawn stall python3 stall.py
	wait_for '[ -e stalls ]'
	wait_for ready
	wait_for green
}

# ---- health ----

@test "health is red when a server has been away for --health-grace, and green again" {
	says rpub 0
	unit --health-grace 300ms
	wait_for 'red_for_rpub'
	says rpub 1
	wait_for green
	says kread 0
	wait_for '[[ $(get /healthz) == "kread: no connection to server-of-kread for "*s* ]]'
}

red_for_rpub() {
	[[ $(get /healthz) == "rpub: no connection to server-of-rpub for "*$' s\n503' ]]
}

@test "within --health-grace an absent server is no reason" {
	says rpub 0
	unit --health-grace 1h
	wait_for 'get /metrics | grep -qF "evpipe_up{pipeline=\"u\",tool=\"rpub\",peer=\"server-of-rpub\"} 0"'
	wait_for green
}

@test "health is red while records are stalled" {
	unit
	wait_for 'get /metrics | grep -qF "evpipe_stalled_records{pipeline=\"u\"} 0"'
	wait_for green
	says kread 1 17
	wait_for 'red "kread: 17 records are stalled: a program behind it has not handed them on"'
	says kread 1 0
	wait_for green
}

@test "health is red when a member is stopped, and it does not fail for it" {
	unit
	wait_for green
	pid=$(pgrep -P "$(pid_of unit)" rpub)
	freeze "$pid"
	wait_for '[[ $(get /healthz) == "rpub: has not written its metrics for "*" s: stopped or stuck"* ]]'
	kill -CONT "$pid"
	wait_for green
}

# ok_but TEXT: healthy; the line below, which ends with TEXT, says why that is not known for sure.
ok_but() {
	[[ $(get /healthz) == $'ok\n'*"$1"$'\n200' ]]
}

@test "a directory that has gone does not turn health red, and is made again" {
	redis_start
	spawn sub rsub --raw copy
	wait_for '[ "$(redis_subscribers copy)" -eq 1 ]'
	spawn unit evpipe --listen unix:http rsub news '|' evstamp --drop x '|' rpub copy
	wait_for ready
	# All are connected then.
	rcli publish news '"x"'
	wait_lines sub.out 1
	mv runtime/* gone
	wait_for '[ -e runtime/*/ready/rsub ] && [ -e runtime/*/ready/evstamp ] && [ -s runtime/*/metrics/rsub.prom ]'
	green
	# Where it cannot be made the unit goes on.
	mv runtime gone/too
	touch runtime
	wait_for 'ok_but "Not a directory"'
	wait_file_contains unit.err "metrics': Not a directory: metrics are old, and a member that is stuck is not seen"
	ready
	rcli publish news '"x"'
	wait_lines sub.out 2
	rm runtime
	mkdir -m 700 runtime
	wait_for green
	wait_for ready
	stop unit
	wait_exit unit
	[ "$status" -eq 0 ]
	[ "$(grep -c 'metrics are old' unit.err)" -eq 1 ]
}

@test "a full file system does not turn health red, and a stuck member does" {
	[ "$(id -u)" = 0 ] && command -v unshare >/dev/null && unshare -m true || skip "a mount needs root"
	redis_start
	spawn sub rsub --raw copy
	wait_for '[ "$(redis_subscribers copy)" -eq 1 ]'
	cat >small <<-'EOT'
	mkdir small.d
	mount -t tmpfs -o size=200k,mode=700 tmpfs small.d
	XDG_RUNTIME_DIR=$PWD/small.d evpipe --listen unix:http rsub -u "unix:$PWD/redis.sock" news '|' evstamp --drop x '|' rpub -u "unix:$PWD/redis.sock" copy &
	until [ -e full ]; do sleep 0.02; done
	cat /dev/zero >small.d/zeros
	: >filled
	until [ -e empty ]; do sleep 0.02; done
	rm small.d/zeros
	wait
	EOT
	spawn unit unshare -m sh ./small
	wait_for ready
	rcli publish news '"x"'
	wait_lines sub.out 1
	touch full
	wait_for '[ -e filled ]'
	wait_for 'ok_but "No space left on device"'
	rcli publish news '"x"'
	wait_lines sub.out 2
	touch empty
	wait_for green
	pid=$(pgrep -x -P "$(pgrep -x -P "$(pid_of unit)" evpipe)" evstamp)
	freeze "$pid"
	wait_for '[[ $(get /healthz) == "evstamp: has not written its metrics for "*" s: stopped or stuck"* ]]'
	kill -CONT "$pid"
	wait_for green
	pkill -TERM -x -P "$(pid_of unit)" evpipe
	wait_exit unit
}

@test "a member of ours that never tells anything is red" {
	printf '#!/bin/sh\nexec cat\n' >silent
	chmod +x silent
	ln -sf silent rpub
	unit
	wait_for 'red "rpub: has not written its metrics"'
}

@test "health is red when a member has failed and while a restart is waited for" {
	unit --restart --drain 1h
	wait_for green
	touch kread.stays rpub.fails
	wait_for 'red "rpub: exit 111, temporary trouble"'
	rm kread.stays
	wait_for '[[ $(get /healthz) == "rpub: exit 111, temporary trouble; starting again"* ]]'
	wait_for '[[ $(get /readyz) == "rpub: exit 111, temporary trouble; starting again"*503 ]]'
	rm rpub.fails
	wait_for green
	wait_for '[ "$(get /metrics | grep -c "^evpipe_restarts_total{pipeline=.u.} [1-9]")" -eq 1 ]'
}

@test "a program of ours inside a script counts" {
	says kread 0
	rm kread.ready
	spawn unit evpipe --health-grace 1ms --listen unix:http sh -c 'exec ./kread' '|' ./rpub
	wait_for '[[ $(get /healthz) == "kread: no connection to server-of-kread"* ]]'
	wait_for '[ "$(get /readyz)" = "kread is not ready
503" ]'
}

# ---- readiness ----

@test "ready is when all are, and not any more when one is not" {
	rm kread.ready rpub.ready
	spawn unit sh -c 'exec evpipe --listen unix:http --ready-fd 8 ./kread "|" ./rpub 8>told'
	wait_for '[ "$(get /readyz)" = "kread is not ready
rpub is not ready
503" ]'
	touch kread.ready
	wait_for '[ "$(get /readyz)" = "rpub is not ready
503" ]'
	[ ! -s told ]
	touch rpub.ready
	wait_for ready
	wait_for '[ -s told ]'
	rm kread.ready
	wait_for '[ "$(get /readyz | tail -n 1)" = 503 ]'
	touch kread.ready
	wait_for ready
	stop unit
	wait_exit unit
	[ "$status" -eq 0 ]
	[ "$(od -An -c told | tr -d ' ')" = '\n' ]
}

# manager ADDRESS: a service manager; writes what it is told to the file manager, a message a line.
manager() {
	cat >manager.py <<-'EOT'
	import socket, sys
	s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
	s.bind(sys.argv[1].replace("@", "\0", 1))
	out = open("manager", "w")
	while True:
	    out.write(s.recv(4096).decode().rstrip("\n").replace("\n", " ") + "\n")
	    out.flush()
	EOT
	rm -f manager
	spawn manager python3 manager.py "$1"
	wait_for '[ -e manager ]'
}

@test "a service manager is told, over a path and an abstract name" {
	for address in "$T/notify" "@evpipe-test-$$-$RANDOM"; do
		manager "$address"
		rm -f rpub.ready
		says kread 1
		NOTIFY_SOCKET=$address spawn unit evpipe --health-grace 1ms sh -c \
			'echo "${NOTIFY_SOCKET-unset}" >seen; exec ./kread' '|' ./rpub
		wait_file_contains manager 'STATUS=rpub is not ready'
		run ! grep READY manager
		touch rpub.ready
		wait_file_contains manager 'READY=1 STATUS=running'
		says kread 0
		wait_file_contains manager 'STATUS=kread: no connection to server-of-kread'
		says kread 1
		stop unit
		wait_exit unit
		wait_file_contains manager 'STOPPING=1'
		[ "$(grep -c READY manager)" -eq 1 ]
		[ "$(cat seen)" = unset ]
		stop manager KILL
		wait_exit manager
	done
}

# fed NAME: how often the watchdog was.
fed() {
	grep -c '^WATCHDOG=1$' manager
}

@test "the watchdog hears of a healthy unit, twice in its time, and not of an unhealthy one" {
	manager "$T/notify"
	export NOTIFY_SOCKET=$T/notify WATCHDOG_USEC=400000
	spawn unit evpipe --health-grace 1ms sh -c 'echo "${WATCHDOG_USEC-}${WATCHDOG_PID-}" >seen; exec ./kread' '|' ./rpub
	wait_for '[ "$(fed)" -ge 5 ]'
	says rpub 0
	wait_file_contains manager 'STATUS=rpub: no connection to server-of-rpub'
	fed_before=$(fed)
	# The manager is told of each second of it: some of them go by.
	wait_for '[ "$(grep -c "STATUS=rpub: no connection" manager)" -ge 4 ]'
	[ "$(fed)" -eq "$fed_before" ]
	says rpub 1
	wait_for '[ "$(fed)" -gt "$fed_before" ]'
	stop unit
	wait_exit unit
	[ "$(cat seen)" = "" ]
	# For another process.
	before=$(grep -c STATUS=running manager)
	WATCHDOG_PID=1 spawn unit evpipe ./kread '|' ./rpub
	wait_for "[ \$(grep -c STATUS=running manager) -gt $before ]"
	fed_before=$(fed)
	says rpub 0
	wait_for '[ "$(tail -n 1 manager | grep -c "STATUS=rpub: no")" -eq 1 ]'
	[ "$(fed)" -eq "$fed_before" ]
	stop unit
	wait_exit unit
	# In our own name.
	WATCHDOG_PID=1 spawn unit sh -c 'WATCHDOG_PID=$$ exec evpipe ./kread "|" ./rpub'
	says rpub 1
	wait_for '[ "$(fed)" -gt "$fed_before" ]'
	stop unit
	wait_exit unit
}

@test "a client that cannot be accepted does not make evpipe spin, and is served in the end" {
	unit
	wait_for green
	pid=$(pid_of unit)
	prlimit --nofile=3:1024 --pid "$pid"
	spawn client curl -s --unix-socket http http://unit/readyz
	wait_file_contains unit.err "cannot take connections on 'unix:http': too many open files; raise the limit (ulimit -n)"
	# It sleeps; one that spins is never seen to.
	wait_for '[ "$(cut -d" " -f3 "/proc/$pid/stat")" = S ] && [ "$(cut -d" " -f3 "/proc/$pid/stat")" = S ]'
	prlimit --nofile=1024:1024 --pid "$pid"
	wait_exit client
	[ "$(cat client.out)" = ok ]
	[ "$(grep -c 'cannot take connections' unit.err)" -eq 1 ]
}

# ---- addresses ----

@test "an address in use, or none, ends evpipe before anything is started" {
	unit
	wait_for green
	cat >listen.py <<-'EOT'
	import signal, socket
	s = socket.socket()
	s.bind(("127.0.0.1", 0))
	s.listen()
	print(s.getsockname()[1], flush=True)
	signal.pause()
	EOT
	spawn port python3 listen.py
	wait_lines port.out 1
	touch file
	for case in "127.0.0.1:$(cat port.out)|the port is in use" "unix:http|the path is in use" \
		"unix:file|the path is in use" "80|an address is HOST:PORT, :PORT or unix:PATH" \
		"127.0.0.1:http|an address is" "127.0.0.1:99999|an address is" "unix:|the path is empty" \
		"host.invalid:0|"; do
		status=0
		timeout 120 evpipe --listen "${case%|*}" touch started '|' cat 2>err || status=$?
		cat err
		[ "$status" -eq 100 ]
		[ "$(wc -l <err)" -eq 1 ]
		[[ $(cat err) == "evpipe: cannot listen on '${case%|*}': ${case#*|}"* ]]
	done
	[ ! -e started ]
	wait_for green
}

@test "a socket file that nobody listens on is replaced, and gone at the end" {
	unit
	stop unit KILL
	wait_for '! alive "$(pid_of unit)"'
	[ -S http ]
	rm -f ended
	unit
	wait_for green
	stop unit
	wait_exit unit
	[ ! -e http ]
}

@test "TCP addresses: a port of the system's choice, a host, all" {
	for address in 127.0.0.1:0 localhost:0 :0; do
		spawn unit evpipe -v --listen "$address" ./kread '|' ./rpub
		wait_file_contains unit.err 'listening on '
		port=$(sed -n 's/.*listening on .*://p' unit.err)
		wait_for '[ "$(curl -s --max-time 20 "http://localhost:$port/readyz")" = ok ]'
		[ "$address" != :0 ] || [ "$(curl -s "http://127.0.0.1:$port/readyz")" = ok ]
		stop unit
		wait_exit unit
		[ "$status" -eq 0 ]
	done
}

# ---- supervisors: service.pid is for the teardown, which ends them first ----

@test "s6: ready by notification-fd, stopped from the source, down for good after 100" {
	mkdir service
	echo 3 >service/notification-fd
	rm kread.ready
	cat >service/run <<-EOT
	#!/bin/sh
	cd "$T"
	echo \$\$ >service.pid
	[ ! -e permanent ] || exec evpipe ./kread '|' sh -c 'exit 100'
	exec evpipe --ready-fd 3 ./kread '|' ./rpub
	EOT
	cat >service/finish <<-'EOT'
	#!/bin/sh
	[ "$1" -ne 100 ] || exit 125
	EOT
	chmod +x service/run service/finish
	spawn s6 s6-supervise service
	wait_for '[ "$(s6-svstat -o up,ready service)" = "true false" ]'
	touch kread.ready
	wait_for '[ "$(s6-svstat -o up,ready service)" = "true true" ]'
	s6-svc -d service
	wait_for '[ "$(s6-svstat -o up,exitcode service)" = "false 0" ]'
	[ -e ended ]
	touch permanent
	s6-svc -u service
	wait_for '[ "$(s6-svstat -o up,wantedup,exitcode service)" = "false false 100" ]'
}

@test "runit: stopped from the source, down for good after 100" {
	mkdir service
	cat >service/run <<-EOT
	#!/bin/sh
	cd "$T"
	echo \$\$ >service.pid
	[ ! -e permanent ] || exec evpipe ./kread '|' sh -c 'exit 100'
	exec evpipe ./kread '|' ./rpub
	EOT
	cat >service/finish <<-'EOT'
	#!/bin/sh
	[ "$1" -ne 100 ] || exec sv down .
	EOT
	chmod +x service/run service/finish
	spawn runsv runsv "$T/service"
	wait_for '[[ $(sv status "$T/service") == run:* ]] && [ -n "$(ls runtime/*/ready)" ]'
	sv down "$T/service"
	wait_for '[[ $(sv status "$T/service") == down:* ]]'
	[ -e ended ]
	touch permanent
	sv up "$T/service"
	wait_for '[[ $(sv status "$T/service") == down:*"normally up" ]]'
}

# ---- real programs ----

@test "green never hides a Kafka that cannot be reached, at the start or later, for a source or a sink" {
	redis_start
	for line in 'kread -b 127.0.0.1:1 -g g events | rpub news' 'kread -b 127.0.0.1:1 events | rpub news' \
		'rsub news | kwrite -b 127.0.0.1:1 -t events'; do
		rm -f away
		read -ra words <<<"$line"
		spawn unit evpipe --health-grace 100ms --drain 100ms --listen unix:away "${words[@]}"
		wait_for 'curl -s --unix-socket away http://u/healthz | grep -q "no connection to kafka for"'
		stop unit
		wait_exit unit
	done
	for line in 'kread -g g events | rpub news' 'rsub news | kwrite -t events'; do
		kmock_start -t events:1
		read -ra words <<<"$line"
		spawn unit evpipe --health-grace 100ms --drain 100ms --listen unix:dies "${words[@]}"
		wait_for '[ "$(curl -s --unix-socket dies http://u/readyz)" = ok ]'
		wait_for '[ "$(curl -s --unix-socket dies http://u/healthz)" = ok ]'
		kmock_stop
		wait_for 'curl -s --unix-socket dies http://u/healthz | grep -q "no connection to kafka for"'
		stop unit
		wait_exit unit
	done
}

# frozen SERVER PEER [WARNING…]: the server stops with its connections open, then goes on.
frozen() {
	local line text words
	redis_start
	kmock_start -t events:1
	for line in 'kread -g g events | rpub news' 'rsub news | kwrite -t events'; do
		read -ra words <<<"$line"
		rm -f frozen
		spawn unit evpipe --health-grace 100ms --drain 100ms --listen unix:frozen "${words[@]}"
		wait_for '[ "$(curl -s --unix-socket frozen http://u/readyz)" = ok ]'
		wait_for '[ "$(curl -s --unix-socket frozen http://u/healthz)" = ok ]'
		freeze "$(pid_of "$1")"
		wait_for "curl -s --unix-socket frozen http://u/healthz | grep -q 'no connection to $2 for'"
		kill -CONT "$(pid_of "$1")"
		wait_for '[ "$(curl -s --unix-socket frozen http://u/healthz)" = ok ]'
		for text in "${@:3}"; do
			grep -q ": warning: $text" unit.err
		done
		stop unit
		wait_exit unit
	done
}

@test "green does not hide a Kafka that is frozen with its connections open" {
	frozen kmock kafka 'the brokers do not answer; waiting for them' 'the brokers answer again'
}

@test "green does not hide a Redis that is frozen with its connections open" {
	frozen redis redis
}
