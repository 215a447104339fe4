#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# evtop: what it counts is right, records go on untouched, and a terminal is drawn on, read from and given back.

# shellcheck disable=SC2154 # run sets stderr
load helpers
load ack

setup() {
	harness_setup
	export LC_ALL=C.UTF-8
	for n in 1 2 3 4 5 6 7 8; do
		echo "{\"topic\":\"orders\",\"partition\":$((n % 2)),\"offset\":$n,\"ts\":1795677803876,\"key\":\"t-$((n % 4 / 3))\",\"payload\":\"12345\", \"x\":1.10}"
	done >records
	cat >>records <<-'EOT'
	{"topic":"orders","partition":1,"offset":9,"ts":-1,"key":null,"payload":null}
	{"channel":"sse:x","key_b64":"AAE=","payload_b64":"//4A"}
	{"stream":"s","id":"1795677803876-2","key":"\u001b[31mred\n","payload":{"a":1}}
	EOT
}

# row FILE TEXT: whether a line of the table has these words.
row() {
	sed 's/  */ /g; s/ $//' "$1" | grep -qxF -e "$2" || { cat "$1"; false; }
}

# ---- a stream ----

@test "records, bytes, sizes, nulls, places and keys are counted" {
	evtop <records >table
	grep -q '^records  11  ' table
	grep -q '^bytes    50 B  ' table
	row table 'size p50 5 B p99 7 B max 7 B'
	row table 'null payload 1 (9.1 %) key 1 (9.1 %)'
	grep -qE '^orders/1 +5 +45\.5 % +[0-9.]+ +9 +[0-9.]+ ' table
	grep -qE '^orders/0 +4 +36\.4 % +[0-9.]+ +8 ' table
	grep -qE '^sse:x +1 +9\.1 % +[0-9.]+ +- +-$' table
	grep -qE '^s +1 +9\.1 % ' table
	row table 't-0 6 54.5 %'
	row table 't-1 2 18.2 %'
	row table '\x00\x01 1 9.1 %'
	row table '\x1b[31mred\n 1 9.1 %'
	# A time before 1970 is one; what is further off than numbers go is no fault.
	printf '{"topic":"t","ts":%s,"payload":"x"}\n' -2 -9223372036854775808 | evtop >table
	grep -qE '^delay +p50 [0-9.]+ d' table
}

@test "the heaviest keys are found among more than are counted" {
	python3 - >many <<-'EOF'
	import random
	random.seed(7)
	keys = ["heavy"] * 6000 + ["half"] * 3000 + [f"rare-{n}" for n in range(30000)]
	random.shuffle(keys)
	for key in keys:
	    print('{"key":"%s","payload":""}' % key)
	EOF
	[ "$(wc -l <many)" -eq 39000 ]
	evtop <many >table
	[ "$(sed -n '/^KEY/,$p' table | awk 'NR == 2 || NR == 3 { print $1 }' | tr '\n' ' ')" = 'heavy half ' ]
	# A count is never too low, and too high by a 512th at most.
	count=$(awk '$1 == "heavy" { sub("~", "", $2); print $2 }' table)
	[ "$count" -ge 6000 ]
	[ "$count" -le 6077 ]
	run ! grep rare- table
}

@test "memory stays the same, whatever comes" {
	seq 400000 | sed 's/.*/{"topic":"t-&","partition":0,"key":"&","payload":""}/' >many
	mkfifo in
	spawn it sh -c 'exec evtop --every 100ms --metrics m <in'
	exec 5>in
	cat many >&5
	wait_for 'grep -q "records_in_total.* 400000$" m'
	[ "$(awk '/VmHWM/ { print $2 }' "/proc/$(pid_of it)/status")" -lt 12000 ]
	exec 5>&-
	wait_exit it
	grep -q '^(others)' it.out
}

@test "lines that are no records are counted by their class" {
	{ echo nonsense; echo '{}'; cat records; } >mixed
	status=0
	evtop --on-error skip <mixed >table 2>err || status=$?
	[ "$status" -eq 1 ]
	row table 'refused 2 json-decode 1 invalid-record 1'
}

@test "a plain table each --every while the input is open, and a last one at its end" {
	mkfifo in
	spawn it sh -c 'exec evtop --every 50ms <in'
	exec 5>in
	cat records >&5
	wait_for '[ "$(grep -c "^records  11  " it.out)" -ge 3 ]'
	run ! grep $'\e' it.out
	cat records >&5
	exec 5>&-
	wait_exit it
	[ "$status" -eq 0 ]
	[ "$(grep '^records' it.out | tail -n 1 | awk '{ print $2 }')" -eq 22 ]
	grep -q '▁' it.out
}

@test "-c ends after so many tables; a signal ends with a last one" {
	mkfifo in
	spawn it sh -c 'exec evtop -c 2 --every 50ms <in'
	exec 5>in
	wait_exit it
	[ "$status" -eq 0 ]
	[ "$(grep -c ^records it.out)" -eq 2 ]
	spawn it sh -c 'exec evtop --every 1h --metrics m <in'
	cat records >in
	wait_for 'grep -q "records_in_total.* 11$" m'
	stop it TERM
	wait_exit it
	[ "$status" -eq 0 ]
	[ ! -s it.err ]
	[ "$(grep -c ^records it.out)" -eq 1 ]
	exec 5>&-
}

# ---- records go on ----

@test "in a pipe each record goes on as it came, and the table is on standard error" {
	evtop <records 2>table | cat >out
	cmp records out
	grep -q '^records  11  ' table
	evtop --pass <records >out 2>table
	cmp records out
	grep -q '^records  11  ' table
	seq 200000 | sed 's/.*/{"payload":"&"}/' >many
	evtop --every 10ms <many 2>table | cat >out
	cmp many out
}

@test "handing on, it ends as a filter" {
	{ head -n 1 records; printf '{'; } >torn
	status=0
	evtop --pass <torn >out 2>err || status=$?
	[ "$status" -eq 111 ]
	grep -q 'the torn line is left out' err
	yes "$(head -n 1 records)" | { evtop 2>err; echo $? >status; } | head -n 1 >out || true
	[ "$(cat status)" -eq 111 ]
	grep -q 'the reader of standard output has gone' err
	mkfifo in
	spawn it sh -c 'exec evtop --pass <in'
	exec 5>in
	cat records >&5
	wait_lines it.out 11
	stop it TERM
	cat records >&5
	wait_lines it.out 22
	exec 5>&-
	wait_exit it
	[ "$status" -eq 0 ]
}

@test "under acknowledgements it is a filter that reports nothing" {
	kafka_start
	topic=$(new_topic) copy=$(new_topic)
	group=$(unique group)
	seq 100 | kproduce "$topic"
	run -0 evpipe kread -q -g "$group" -e "$topic" '|' evtop -q '|' kwrite -q -t "$copy"
	[ "$(kconsume "$copy" | wc -l)" -eq 100 ]
	[ "$(position_and_metadata "$group" "$topic" | cut -d ' ' -f 1)" = 100 ]
}

# ---- a pipeline ----

unit_start() {
	kmock_start -t events:2 -t copy:1
	for n in 1 2 3; do echo "{\"key\":\"k\",\"payload\":\"{\\\"a\\\":$n}\"}"; done | kwrite -q -t events
	spawn unit evpipe -q -n bridge -d unit.d --listen "unix:$T/http" kread -q events '|' \
		evkey .no --dead-letter dead '|' kwrite -q -t copy
	wait_file_contains unit.d/current/metrics/evkey.prom 'evpipe_dead_letters_total{pipeline="bridge",tool="evkey",type="missing-key"} 3'
}

@test "a pipeline by its directory and by its metrics" {
	unit_start
	export EVPIPE_DIR
	EVPIPE_DIR=$(realpath unit.d/current)
	for of in "-d unit.d" "-d $EVPIPE_DIR" "unix:$T/http"; do
		read -ra words <<<"$of"
		evtop -c 2 --every 1s "${words[@]}" >table
		grep -qE '^bridge +0 +0 +[0-9]+ +0 +0 ' table
		grep -qE '^kread +bridge +yes +kafka +- +- +3 ' table
		grep -qE '^evkey +bridge +yes +- +3 +[0-9.]+ +0 +0 +0 +3 +3$' table
		grep -qE '^missing-key +evkey +bridge +3 ' table
		grep -qE '^events +[01] +bridge +0$' table
	done
	stop unit
}

@test "a pipeline's metrics by http, also through a pipe; an answer that is none" {
	port=$(free_port)
	cat >server <<-'EOF'
	import http.server, sys
	class Handler(http.server.BaseHTTPRequestHandler):
	    def do_GET(self):
	        ok = self.path == "/metrics"
	        self.send_response(200 if ok else 404)
	        self.end_headers()
	        if ok:
	            self.wfile.write(b'evpipe_ready{pipeline="p",tool="kread"} 1\nother 5\nevpipe_up{pipeline="p",tool="kread",peer="kafka"} 0\n')
	    def log_message(self, *args):
	        pass
	http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
	EOF
	spawn server python3 server "$port"
	wait_for "(: </dev/tcp/127.0.0.1/$port)"
	for url in "http://127.0.0.1:$port/metrics" "http://127.0.0.1:$port" "127.0.0.1:$port" "http://localhost:$port/metrics"; do
		run -0 evtop -c 1 "$url"
		[[ $output =~ kread\ +p\ +yes\ +kafka\ AWAY ]]
	done
	run -111 evtop -c 1 "127.0.0.1:$port/none"
	[ "$output" = "evtop: cannot get '127.0.0.1:$port/none': the server answers 404" ]
	# The server goes: the table says so, and goes on.
	spawn it sh -c "exec evtop --every 100ms 127.0.0.1:$port >table"
	wait_for 'grep -q kread table'
	stop server KILL
	wait_file_contains it.err "cannot get '127.0.0.1:$port': Connection "
	[ "$(wc -l <it.err)" -eq 1 ]
	spawn server python3 server "$port"
	: >table
	wait_for 'grep -q "^kread" table'
	stop it
	wait_exit it
	[ "$status" -eq 0 ]
}

@test "what is no pipeline is named" {
	run -100 evtop -d "$T"
	[[ $output == *"there is no 'metrics' in it"* ]]
	run -111 evtop http://127.0.0.1:1
	[[ $output == "evtop: cannot get 'http://127.0.0.1:1': Connection refused" ]]
	redis_start
	for args in "127.0.0.1:$REDIS_PORT" "unix:$REDIS_SOCK"; do
		run -111 evtop "$args"
		[[ $output == *"is it another server's port?" ]]
	done
	mkdir -p empty/metrics
	run -0 evtop -c 1 -d empty
	[[ $output == *'no pipeline runs here'* ]]
	for args in '-d x y' 'ftp://x' 'http://' '--cacert x http://x' '--key x https://x' 'https://127.0.0.1:1 --cacert /nowhere' ':' 'unix:' '--every 0' '-c 0' '-n 0' '--pass -d x' 'a b'; do
		read -ra words <<<"$args"
		run -100 evtop "${words[@]}" </dev/null
	done
}

# ---- a terminal ----

# on_terminal SHELL-TEXT STEP…: runs it on a terminal of 24 lines and 80 columns. A STEP is expect:REGEX, of what came
# since the last one; size:ROWS:COLUMNS; keys:TEXT; touch:FILE; status:N, the last. What came is left in seen.
on_terminal() {
	python3 - "$@" <<-'EOF'
	import fcntl, os, pty, re, select, struct, sys, termios, time
	pid, fd = pty.fork()
	if pid == 0:
	    os.execvp("bash", ["bash", "-c", 'stty rows 24 cols 80; ' + sys.argv[1]])
	seen = at = b""
	def expect(regex):
	    global seen, at
	    end = time.monotonic() + 60
	    while not (found := re.search(regex.encode(), at, re.S)):
	        if time.monotonic() > end or not select.select([fd], [], [], 60)[0]:
	            sys.exit(f"not seen: {regex}\n{at!r}")
	        try:
	            more = os.read(fd, 65536)
	        except OSError:
	            sys.exit(f"not seen before the end: {regex}\n{at!r}")
	        seen += more
	        at += more
	        open("seen", "wb").write(seen)
	    at = at[found.end():]
	for step in sys.argv[2:]:
	    word, _, rest = step.partition(":")
	    if word == "expect":
	        expect(rest)
	    elif word == "size":
	        rows, columns = map(int, rest.split(":"))
	        fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
	    elif word == "keys":
	        os.write(fd, rest.encode())
	    elif word == "touch":
	        open(rest, "w").close()
	    elif word == "status":
	        expect(f"status={rest} ")
	os.close(fd)
	os.waitpid(pid, 0)
	EOF
}

ends='echo "status=$? "; stty -a | grep -q " icanon" && stty -a | grep -q " echo " && echo restored'

@test "a terminal is drawn on in place, in its size, and given back" {
	on_terminal "(cat records; until [ -e left ]; do sleep 0.1; done) | (trap '' PIPE; exec evtop --every 100ms); $ends" \
		'expect:records  11 .*\x1b\[J' 'expect:\x1b\[[0-9]+A\r' 'expect:\x1b\[1mPLACE' 'expect:\x1b\[1mKEY' \
		'size:10:30' 'expect:\x1b\[H\x1b\[2J' 'expect:\x1b\[J' 'expect:\x1b\[8A|\x1b\[9A' \
		keys:xq touch:left status:0 expect:restored
	# Nothing of a record is obeyed.
	run ! grep -q $'\e\\[31m' seen
}

@test "lines are cut to the columns of the terminal" {
	on_terminal "stty rows 12 cols 20; (cat records; until [ -e left ]; do sleep 0.1; done) | evtop --every 100ms; $ends" \
		'expect:KEY.*\x1b\[J|PLACE.*\x1b\[J' keys:q touch:left status:0
	sed 's/\x1b\[[0-9;]*[A-Za-z]//g; s/\r//g' seen | awk 'length > 20 && !/status|icanon/ { print; bad = 1 } END { exit bad }'
}

@test "q ends the table and not the flow where records go on" {
	on_terminal "(cat records; until [ -e more ]; do sleep 0.1; done; cat records) | evtop --every 100ms | cat >out; $ends" \
		'expect:records  11 ' keys:q expect:'\x1b\[J' touch:more status:0 expect:restored
	[ "$(wc -l <out)" -eq 22 ]
}

@test "a signal gives the terminal back" {
	on_terminal "trap : INT; (cat records; exec sleep 60) | evtop --every 100ms; $ends" \
		'expect:records  11 ' 'expect:\x1b\[J' $'keys:\x03' status:0 'expect:restored'
}

@test "a pipeline on a terminal" {
	unit_start
	on_terminal "evtop -d unit.d; $ends" 'expect:\x1b\[1mPIPELINE' 'expect:evkey ' 'expect:\x1b\[[0-9]+A\r' \
		keys:q status:0 expect:restored
	stop unit
}

@test "a URL over https: the certificate is looked at, and a plain port is named" {
	make_certs
	mkfifo in
	spawn sse sh -c 'exec evsse -v --listen 127.0.0.1:0 --cert "$CERTS/address.pem" --key "$CERTS/address.key" <in'
	exec 7>in
	wait_file_contains sse.err 'listening on '
	at=$(sed -n 's/.*listening on //p' sse.err)
	run -0 evtop -c 1 --cacert "$CERTS/ca.pem" "https://$at/metrics"
	echo "$output"
	[[ $output == *evsse* ]]
	run -111 --separate-stderr evtop -c 1 "https://$at"
	[[ $stderr == *"cannot get 'https://$at': "*certificate* ]]
	run -111 --separate-stderr evtop -c 1 "http://$at"
	exec 7>&-
	wait_exit sse
	kmock_start
	run -111 --separate-stderr evtop -c 1 "https://$KAFKA_BROKERS"
	[[ $stderr == *"cannot get 'https://$KAFKA_BROKERS': "* ]]
}
