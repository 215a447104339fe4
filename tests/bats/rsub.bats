#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# rsub against a real redis-server.

load helpers

# A secret that is told by a message or by ps shows as this text.
SECRET=qX7-geheim-9

# subscribe NAME CHANNEL OPTION…: rsub in the background, with CHANNEL subscribed when it returns.
subscribe() {
	local name=$1 channel=$2
	shift 2
	spawn "$name" rsub "$channel" "$@" </dev/null
	wait_for "[ \$(redis_subscribers $channel) -eq 1 ]"
}

# publish_file CHANNEL FILE: its bytes as one message.
publish_file() {
	rcli -x publish "$1" <"$2" >/dev/null
}

# publish_numbers CHANNEL FIRST LAST [PADDING]: one message each.
publish_numbers() {
	python3 - "$@" <<-'EOP' | rcli --pipe >pipe.log
		import sys
		channel, first, last = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
		pad = "x" * int(sys.argv[4] if len(sys.argv) > 4 else 0)
		for n in range(first, last + 1):
		    payload = "%d%s" % (n, pad)
		    sys.stdout.write("*3\r\n$7\r\nPUBLISH\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n" %
		        (len(channel), channel, len(payload), payload))
	EOP
	grep -q 'errors: 0' pipe.log
}

# counter FILE NAME: the value of a counter in a --metrics file.
counter() {
	awk -v name="evpipe_$2" '{ sub(/\{.*\}/, "", $1) } $1 == name { print $2 }' "$1"
}

# gap_seconds FILE: the length of the first gap that is told there, in whole seconds.
gap_seconds() {
	sed -n 's/.*gap: .* for \([0-9]*\)\.[0-9] s.*/\1/p' "$1" | head -n 1
}

# let_pass SECONDS: what is lost for so long, at least.
let_pass() {
	local until=$((SECONDS + $1 + 1))
	wait_for "[ \$SECONDS -ge $until ]"
}

all_bytes() {
	python3 -c 'import sys; sys.stdout.buffer.write(bytes(range(256)))'
}

@test "rsub prints a message on a channel as a record that names it" {
	redis_start
	subscribe sub news -c 1
	rcli publish news hello
	wait_exit sub
	[ "$status" -eq 0 ]
	[ "$(cat sub.out)" = '{"channel":"news","payload":"hello"}' ]
}

@test "rsub reads several channels and no other" {
	redis_start
	subscribe sub a b -c 2
	rcli publish a 1
	rcli publish ab no
	rcli publish b 2
	wait_exit sub
	[ "$(cat sub.out)" = '{"channel":"a","payload":"1"}
{"channel":"b","payload":"2"}' ]
}

@test "rsub tells the channel and the pattern of a message that came by a pattern" {
	redis_start
	spawn sub rsub -p 'sse:*' -p '?x' -c 3
	wait_for '[ "$(redis_patterns)" -eq 2 ]'
	rcli publish sse:orders 1
	rcli publish other no
	rcli publish ax 2
	rcli publish sse:payments 3
	wait_exit sub
	[ "$(cat sub.out)" = '{"channel":"sse:orders","pattern":"sse:*","payload":"1"}
{"channel":"ax","pattern":"?x","payload":"2"}
{"channel":"sse:payments","pattern":"sse:*","payload":"3"}' ]
}

@test "rsub reads channels and patterns at once" {
	redis_start
	subscribe sub news -p 'sse:*' -c 2
	wait_for '[ "$(redis_patterns)" -eq 1 ]'
	rcli publish sse:a 1
	rcli publish news 2
	wait_exit sub
	[ "$(jq -r .payload <sub.out | tr '\n' ' ')" = '1 2 ' ]
}

@test "rsub reads by the port that REDIS_URL names, or -u before it" {
	redis_start
	redis_start other
	subscribe one news -c 1
	REDIS_URL=redis://127.0.0.1:1 subscribe two newer -u "redis://127.0.0.1:$REDIS_PORT" -c 1
	rcli publish news 1
	rcli publish newer 2
	wait_exit one
	wait_exit two
	[ "$(jq -r .payload one.out two.out | tr '\n' ' ')" = '1 2 ' ]
}

@test "rsub reads by a Unix socket" {
	redis_start
	REDIS_URL=redis://127.0.0.1:1 subscribe sub news -u "unix:$REDIS_SOCK" -c 1
	rcli publish news hello
	wait_exit sub
	[ "$status" -eq 0 ]
	[ "$(jq -r .payload sub.out)" = hello ]
}

@test "rsub keeps a payload of line ends, quotes and NUL in one line" {
	redis_start
	printf 'a\nb\r\n"c"\\\0d\t\177' >payload
	subscribe sub news -c 1
	publish_file news payload
	wait_exit sub
	[ "$(wc -l <sub.out)" -eq 1 ]
	python3 -c 'import json, sys; sys.stdout.buffer.write(json.load(open("sub.out"))["payload"].encode())' >seen
	cmp payload seen
}

@test "rsub prints a payload that is not UTF-8 as payload_b64, each byte value" {
	redis_start
	all_bytes >payload
	subscribe sub news -c 1
	publish_file news payload
	wait_exit sub
	[ "$(jq -r 'keys_unsorted | join(" ")' sub.out)" = 'channel payload_b64' ]
	jq -r .payload_b64 sub.out | base64 -d >seen
	cmp payload seen
}

@test "rsub prints a channel and a pattern that are not UTF-8 as channel_b64 and pattern_b64" {
	redis_start
	spawn sub rsub -p $'bc:\xff*' -c 2
	wait_for '[ "$(redis_patterns)" -eq 1 ]'
	rcli publish $'bc:\xff\x01' one
	rcli publish $'bc:\xffx\xc3\xa4' two
	wait_exit sub
	[ "$status" -eq 0 ]
	[ "$(cat sub.out)" = '{"channel_b64":"YmM6/wE=","pattern_b64":"YmM6/yo=","payload":"one"}
{"channel_b64":"YmM6/3jDpA==","pattern_b64":"YmM6/yo=","payload":"two"}' ]
}

@test "rsub and rpub copy messages of channels that are not UTF-8 to channels of the same bytes" {
	redis_start
	redis_start other
	spawn sub rsub $'a\xfe' $'b\xff' c -c 3
	wait_for '[ "$(redis_subscribers c)" -eq 1 ]'
	spawn seen redis-cli -s other.sock subscribe $'a\xfe' $'b\xff' c
	wait_lines seen.out 9
	rcli publish $'a\xfe' 1
	rcli publish $'b\xff' 2
	rcli publish c 3
	wait_exit sub
	rpub -u unix:other.sock --pass '{channel}' <sub.out >passed
	[ "$(jq -r '.receivers, .channel // .channel_b64' passed | tr '\n' ' ')" = '1 Yf4= 1 Yv8= 1 c ' ]
	# From one kind of name to the other.
	[ "$(rpub -u unix:other.sock --pass c <sub.out | jq -c '[.channel, .channel_b64]' | sort -u)" = '["c",null]' ]
	[ "$(rpub -u unix:other.sock --pass $'\xff' <sub.out | jq -c '[.channel, .channel_b64]' | sort -u)" = '[null,"/w=="]' ]
	wait_lines seen.out 27
	[ "$(tail -n +10 seen.out | head -n 9 | base64 -w0)" = "$(printf 'message\na\xfe\n1\nmessage\nb\xff\n2\nmessage\nc\n3\n' | base64 -w0)" ]
}

@test "rsub subscribes to the channels and patterns that a file names, and to any number of them" {
	redis_start
	seq -f 'c.%g' 3000 >names
	printf 'p.[%s]\n' a b >patterns
	printf '\n\nlast one' >>names
	mapfile -t given < <(seq -f 'd.%g' 2500)
	spawn sub rsub "${given[@]}" --channels-from names --patterns-from patterns -c 5
	wait_for '[ "$(redis_patterns)" -eq 2 ]'
	wait_for '[ "$(redis_subscribers "last one")" -eq 1 ]'
	for channel in d.2500 c.1 c.3000 'last one' p.b; do rcli publish "$channel" "$channel"; done
	wait_exit sub
	[ "$status" -eq 0 ]
	[ "$(jq -r .payload sub.out | paste -sd ,)" = 'd.2500,c.1,c.3000,last one,p.b' ]
	: >none
	for file in none missing .; do
		run -100 rsub --channels-from "$file"
		[[ $output == *"'$file'"* ]]
	done
}

@test "rsub prints an empty payload as an empty string" {
	redis_start
	subscribe sub news -c 1
	rcli publish news ''
	wait_exit sub
	[ "$(cat sub.out)" = '{"channel":"news","payload":""}' ]
}

@test "rsub --raw prints payloads alone, one a line" {
	redis_start
	subscribe sub news --raw -c 2
	rcli publish news '{"a": 1.10}'
	rcli publish news 'two words'
	wait_exit sub
	[ "$(cat sub.out)" = '{"a": 1.10}
two words' ]
}

@test "rsub --raw -0 ends payloads with NUL, so that all other bytes survive" {
	redis_start
	all_bytes | tail -c 255 >payload
	subscribe sub news --raw -0 -c 2
	publish_file news payload
	rcli publish news x
	wait_exit sub
	{ cat payload; printf '\0x\0'; } >expected
	cmp expected sub.out
}

@test "rsub -c ends after so many records with 0, whatever comes behind them" {
	redis_start
	subscribe sub news --raw -c 3
	publish_numbers news 1 1000
	wait_exit sub
	[ "$status" -eq 0 ]
	[ "$(cat sub.out)" = "$(seq 3)" ]
}

@test "rsub --idle-exit ends with 99 when nothing comes, with all that came printed" {
	redis_start
	spawn sub rsub -q news --raw --idle-exit 5s
	wait_for '[ "$(redis_subscribers news)" -eq 1 ]'
	rcli publish news hello
	wait_exit sub
	[ "$status" -eq 99 ]
	[ "$(cat sub.out)" = hello ]
	[ "$(cat sub.err)" = "rsub: no record came for 5000 ms" ]
}

# The first address is of a server that accepts and says nothing.
@test "rsub and rpub go on to a name's next address when the first one accepts but does not answer" {
	redis_start
	cc -shared -fPIC -o two-addresses.so "$ROOT/tests/bats/two-addresses.c"
	spawn frozen python3 -u - "$REDIS_PORT" <<-'EOP'
		import signal, socket, sys
		s = socket.socket()
		s.bind(("127.0.0.2", int(sys.argv[1])))
		s.listen(64)
		print("listening")
		signal.pause()
	EOP
	wait_file_contains frozen.out listening
	export REDIS_URL=redis://cache:$REDIS_PORT
	spawn sub env LD_PRELOAD="$PWD/two-addresses.so" rsub --raw -c 1 news
	wait_for '[ "$(redis_subscribers news)" -eq 1 ]'
	spawn pub env LD_PRELOAD="$PWD/two-addresses.so" rpub news <<<'{"payload":"hello"}'
	wait_exit pub
	[ "$status" -eq 0 ]
	wait_exit sub
	[ "$(cat sub.out)" = hello ]
	grep -q 'no answer within 5 s; trying again' sub.err
	stop frozen
}

@test "name servers that are silent hold nothing up: rsub and rpub end when they are told to" {
	cc -shared -fPIC -o silent-names.so "$ROOT/tests/bats/silent-names.c"
	export REDIS_URL=redis://cache:6379
	spawn sub env LD_PRELOAD="$PWD/silent-names.so" rsub news
	wait_file_contains sub.err 'asked for cache'
	stop sub
	wait_exit sub
	[ "$status" -eq 0 ]
	spawn_fed pub env LD_PRELOAD="$PWD/silent-names.so" rpub news
	wait_file_contains pub.err 'asked for cache'
	stop pub
	stop pub INT
	wait_exit pub
	[ "$status" -eq 111 ]
}

@test "rsub is ready only when the last subscription is confirmed" {
	mkfifo confirm
	python3 -u - 3<>confirm >port <<-'EOP' &
		import os, socket
		s = socket.socket()
		s.bind(("127.0.0.1", 0))
		s.listen(1)
		print(s.getsockname()[1])
		c, _ = s.accept()
		f = c.makefile("rb")
		while True:
		    words = []
		    for _ in range(int(f.readline()[1:])):
		        words.append(f.read(int(f.readline()[1:]) + 2)[:-2])
		    if words[0].upper() == b"SUBSCRIBE":
		        break
		    c.sendall(b"+OK\r\n")
		c.sendall(b"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n")
		c.sendall(b"*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$5\r\nfirst\r\n")
		os.read(3, 1)
		c.sendall(b"*3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n")
		f.read()
	EOP
	server=$!
	wait_lines port 1
	spawn sub sh -c 'exec rsub -u "redis://127.0.0.1:$1" --ready-fd 3 --metrics m a b 3>ready' \
		sub "$(cat port)"
	wait_file_contains sub.out first
	[ ! -s ready ]
	wait_for '[ "$(counter m records_in_total)" = 1 ]'
	[ "$(counter m ready)" = 0 ]
	echo >confirm
	wait_lines ready 1
	stop sub
	wait_exit sub
	[ "$status" -eq 0 ]
	wait "$server" || true
}

@test "rsub subscribes again after CLIENT KILL, and tells and counts each gap once" {
	redis_start
	subscribe sub news -p 'sse:*' --raw --metrics m
	for n in 1 2; do
		rcli client kill type pubsub
		wait_for "[ \$(grep -c '^rsub: gap: ' sub.err) -eq $n ]"
		rcli publish news "news $n"
		rcli publish sse:a "sse $n"
		wait_lines sub.out $((2 * n))
	done
	stop sub
	wait_exit sub
	[ "$status" -eq 0 ]
	[ "$(cat sub.out)" = 'news 1
sse 1
news 2
sse 2' ]
	[ "$(grep -c 'gap: ' sub.err)" -eq 2 ]
	[ "$(counter m gaps_total)" -eq 2 ]
}

@test "rsub waits for a Redis that was killed, says so once, and tells one gap when it is back" {
	redis_start
	subscribe sub news --raw --metrics m
	rcli publish news before
	wait_lines sub.out 1
	redis_stop
	wait_file_contains sub.err 'trying again'
	wait_for '[ "$(counter m up)" = 0 ]'
	wait_for '[ "$(counter m ready)" = 0 ]'
	redis_start
	wait_file_contains sub.err 'gap: '
	rcli publish news after
	wait_lines sub.out 2
	stop sub
	wait_exit sub
	[ "$status" -eq 0 ]
	[ "$(cat sub.out)" = 'before
after' ]
	[ "$(grep -c 'trying again' sub.err)" -eq 1 ]
	[ "$(grep -c 'gap: ' sub.err)" -eq 1 ]
	[ "$(counter m gaps_total)" -eq 1 ]
	[ "$(counter m up)" -eq 1 ]
}

# A server that cannot save refuses writes, and PING, which is what rpub asks where there is no ROLE.
@test "rsub and rpub keep an idle connection whose keep-alive is refused" {
	mkdir gone
	redis_start redis --save '3600 1' --dir "$PWD/gone" --rename-command ROLE ''
	rmdir gone
	rcli bgsave
	wait_for 'rcli ping | grep -q MISCONF'
	subscribe sub news --raw -c 1
	mkfifo in
	spawn pub sh -c 'exec rpub --raw news <in'
	exec 7>in
	# Idle again after the keep-alive: its answer has been read.
	wait_for 'grep -q lost sub.err || rcli client list | grep "sub=1" | grep "cmd=ping" | grep -q "idle=[1-9]"'
	wait_for 'grep -q lost pub.err || rcli client list | grep name=rpub | grep "cmd=ping" | grep -q "idle=[1-9]"'
	echo hello >&7
	exec 7>&-
	wait_exit sub
	[ "$status" -eq 0 ]
	[ "$(cat sub.out)" = hello ]
	wait_exit pub
	[ "$status" -eq 0 ]
	run ! grep -E 'lost|gap' sub.err pub.err
}

@test "rsub connects again, with a gap, after an error that answers no command of its own" {
	redis_start
	mkfifo orders
	exec 6<>orders
	spawn proxy "$ROOT/tests/bats/redis-proxy" proxy.sock "$REDIS_SOCK" <orders
	wait_file_contains proxy.out listening
	subscribe sub news --raw --metrics m -u unix:proxy.sock
	rcli publish news before
	wait_lines sub.out 1
	echo error >&6
	wait_file_contains sub.err 'gap: '
	wait_for '[ "$(redis_subscribers news)" -eq 1 ]'
	rcli publish news after
	wait_lines sub.out 2
	stop sub
	wait_exit sub
	[ "$status" -eq 0 ]
	[ "$(cat sub.out)" = 'before
after' ]
	grep -q 'lost redis at .*: ERR upstream failure; trying again' sub.err
	[ "$(counter m gaps_total)" -eq 1 ]
	stop proxy
}

@test "a server of another kind is told by what it says, and one that says all back is none" {
	spawn others python3 -u -c 'import socket, threading
def serve(listener, answer):
    while True:
        s = listener.accept()[0]
        s.sendall(answer(s.recv(4096)))
for answer in lambda said: b"HTTP/1.1 400 Bad Request\r\n\r\n", lambda said: said:
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1])
    threading.Thread(target=serve, args=(listener, answer)).start()'
	wait_lines others.out 2
	mkfifo open
	exec 6<>open
	for program in 'rsub x' 'rsub -s x' 'rpub --raw x' rapply 'evcorr store'; do
		for n in 1 2; do
			# shellcheck disable=SC2086 # it has arguments
			spawn p$n $program -u "redis://127.0.0.1:$(sed -n ${n}p others.out)" <open
		done
		wait_file_contains p1.err "redis protocol: it says 'HTTP/1.1 400 Bad Request'; trying again"
		wait_file_contains p2.err 'redis protocol: an answer has another form than that of its command; trying again'
		kill -KILL "$(pid_of p1)" "$(pid_of p2)"
	done
}

# What the login has no answer to is no command of rsub's or rpub's.
@test "rsub and rpub try again after a connection that is lost in the middle of the login" {
	redis_start
	mkfifo orders
	exec 6<>orders
	spawn proxy "$ROOT/tests/bats/redis-proxy" proxy.sock "$REDIS_SOCK" <orders
	wait_file_contains proxy.out listening
	export REDIS_URL=unix:proxy.sock
	for name in rsub rpub; do
		echo hold >&6
		wait_for '[ "$(tail -n 1 proxy.out)" = "did hold" ]'
		spawn "$name" "$name" news <<<'{"payload":"hello"}'
		wait_for "grep -q '^< CLIENT SETNAME $name' proxy.out && tail -n 1 proxy.out | grep -q '^kept'"
		echo cut >&6
		[ "$name" != rsub ] || wait_for '[ "$(redis_subscribers news)" -eq 1 ]'
		[ "$name" != rsub ] || rcli publish news there
		[ "$name" != rsub ] || wait_lines rsub.out 1
		[ "$name" != rsub ] || stop rsub
		wait_exit "$name"
		[ "$status" -eq 0 ]
	done
	stop proxy
}

@test "rsub that is stopped while Redis is away tells the gap that is still open" {
	redis_start
	subscribe sub news
	redis_stop
	wait_file_contains sub.err 'trying again'
	stop sub
	wait_exit sub
	[ "$status" -eq 0 ]
	[ "$(grep -c 'gap: ' sub.err)" -eq 1 ]
}

@test "rsub waits for a Redis that is not there at the start, says so once, and has no gap" {
	redis_start
	redis_stop
	spawn sub rsub --raw -c 1 --metrics m news
	wait_file_contains sub.err "redis at 127.0.0.1:$REDIS_PORT: Connection refused; trying again"
	redis_start
	wait_for '[ "$(redis_subscribers news)" -eq 1 ]'
	rcli publish news hello
	wait_exit sub
	[ "$status" -eq 0 ]
	[ "$(cat sub.out)" = hello ]
	[ "$(grep -c 'trying again' sub.err)" -eq 1 ]
	run ! grep 'gap: ' sub.err
	[ "$(counter m gaps_total)" -eq 0 ]
}

@test "rsub ends with 100 on a wrong password, and does not tell it" {
	redis_start redis --requirepass right
	run -100 rsub -u "redis://:$SECRET@127.0.0.1:$REDIS_PORT" news
	[[ $output == "rsub: "*"$REDIS_PORT"*WRONGPASS* ]]
	[[ $output != *"$SECRET"* ]]
	[ "${#lines[@]}" -eq 1 ]
}

@test "rsub ends with 100 when Redis wants a password and none is given" {
	redis_start redis --requirepass right
	run -100 rsub news
	[[ $output == "rsub: redis at 127.0.0.1:$REDIS_PORT wants a password: "* ]]
}

@test "rsub logs in by each way to give a password, and ps shows none" {
	redis_start redis --requirepass "$SECRET"
	export REDISCLI_AUTH=$SECRET
	echo "$SECRET" >password
	subscribe by-variable news -c 1
	unset REDISCLI_AUTH
	REDISCLI_AUTH=wrong spawn by-file rsub --password-file password -c 1 news
	REDISCLI_AUTH=wrong spawn by-url rsub -u "redis://default:$SECRET@127.0.0.1:$REDIS_PORT" -c 1 news
	export REDISCLI_AUTH=$SECRET
	wait_for '[ "$(redis_subscribers news)" -eq 3 ]'
	for name in by-variable by-file by-url; do
		run ! grep -aF "$SECRET" "/proc/$(pid_of $name)/cmdline"
	done
	rcli publish news hello
	for name in by-variable by-file by-url; do
		wait_exit $name
		[ "$status" -eq 0 ]
	done
}

@test "rsub ends with 100 when it may not subscribe to a channel" {
	redis_start
	rcli acl setuser edge on '>pw' '+@all' resetchannels '&open'
	run -100 rsub -u "redis://edge:pw@127.0.0.1:$REDIS_PORT" closed
	[[ $output == "rsub: redis at 127.0.0.1:$REDIS_PORT refuses the subscription: NOPERM"* ]]
}

@test "rsub ends with 100 on a database that does not exist" {
	redis_start
	run -100 rsub -u "redis://127.0.0.1:$REDIS_PORT/99" news
	[[ $output == "rsub: "*"out of range"* ]]
}

@test "rsub ends with 100 when no channel is named" {
	run -100 rsub
	[[ $output == *"name a CHANNEL, a -p PATTERN or a -s STREAM"* ]]
}

@test "rsub ends with 111 when standard output is full" {
	redis_start
	spawn sub sh -c 'exec rsub -c 1 news >/dev/full'
	wait_for '[ "$(redis_subscribers news)" -eq 1 ]'
	rcli publish news hello
	wait_exit sub
	[ "$status" -eq 111 ]
	grep -qF 'cannot write standard output: No space left on device' sub.err
}

@test "rsub ends with an error when standard output is closed" {
	redis_start
	spawn sub sh -c 'exec rsub news >&-'
	wait_for '[ "$(redis_subscribers news)" -eq 1 ]'
	rcli publish news hello
	wait_exit sub
	[ "$status" -eq 111 ]
	grep -q '^rsub: cannot write standard output: ' sub.err
}

@test "rsub ends when its reader has gone, though its channel is idle" {
	redis_start
	spawn sub bash -c 'rsub -q --raw news | head -n 1; exit "${PIPESTATUS[0]}"'
	wait_for '[ "$(redis_subscribers news)" -eq 1 ]'
	rcli publish news hello
	wait_exit sub
	[ "$status" -eq 111 ]
	[ "$(cat sub.out)" = hello ]
	[ "$(cat sub.err)" = "rsub: the reader of standard output has gone" ]
}

@test "rsub ends on SIGTERM with 0 after all that it read is written" {
	redis_start
	mkfifo pipe
	exec 7<>pipe
	spawn sub sh -c 'exec rsub --raw --metrics m news >pipe'
	wait_for '[ "$(redis_subscribers news)" -eq 1 ]'
	# One message is more than the pipe takes, so that its end is in rsub when the signal comes.
	publish_numbers news 1 20 200000
	wait_for '[ "$(counter m records_in_total)" -gt 0 ]'
	stop sub
	tr -d x <pipe >seen 7>&- &
	reader=$!
	exec 7>&-
	wait_exit sub
	[ "$status" -eq 0 ]
	wait "$reader"
	[ "$(counter m records_in_total)" -eq "$(wc -l <seen)" ]
	seq "$(wc -l <seen)" | cmp - seen
}

@test "rsub hands a message on at once, into a pipe too, while the channel stays slow" {
	redis_start
	spawn sub sh -c 'rsub --raw news | cat'
	wait_for '[ "$(redis_subscribers news)" -eq 1 ]'
	for n in 1 2 3; do
		rcli publish news "$n"
		wait_lines sub.out "$n"
	done
	[ "$(cat sub.out)" = "$(seq 3)" ]
}

@test "rsub keeps the order of a hundred thousand messages, and each" {
	redis_start
	subscribe sub news --raw -c 100000
	rcli config set client-output-buffer-limit 'pubsub 0 0 0'
	publish_numbers news 1 100000
	wait_exit sub
	[ "$status" -eq 0 ]
	seq 100000 | cmp - sub.out
}

# bats test_tags=load
@test "rsub stays small while its reader does not read, and loses nothing that Redis kept" {
	redis_start
	rcli config set client-output-buffer-limit 'pubsub 0 0 0'
	mkfifo pipe
	exec 7<>pipe
	spawn sub sh -c 'exec rsub --raw -c 40000 news >pipe'
	wait_for '[ "$(redis_subscribers news)" -eq 1 ]'
	publish_numbers news 1 40000 1000
	kb=$(awk '/^VmHWM:/ { print $2 }' "/proc/$(pid_of sub)/status")
	echo "VmHWM $kb kB"
	[ "$kb" -lt 16384 ]
	tr -d x <pipe >seen 7>&- &
	reader=$!
	exec 7>&-
	wait_exit sub
	[ "$status" -eq 0 ]
	wait "$reader"
	seq 40000 | cmp - seen
}

@test "rsub tells a gap when Redis cuts it off because its reader is slow" {
	redis_start
	rcli config set client-output-buffer-limit 'pubsub 1mb 1mb 0'
	mkfifo pipe
	exec 7<>pipe
	spawn sub sh -c 'exec rsub --raw --metrics m news >pipe'
	wait_for '[ "$(redis_subscribers news)" -eq 1 ]'
	publish_numbers news 1 20000 1000
	wait_for '[ "$(redis_subscribers news)" -eq 0 ]'
	let_pass 3
	cat <pipe >seen 7>&- &
	wait_file_contains sub.err 'gap: '
	[ "$(gap_seconds sub.err)" -ge 3 ]
	wait_for '[ "$(redis_subscribers news)" -eq 1 ]'
	rcli publish news last
	wait_file_contains seen last
	stop sub
	wait_exit sub
	[ "$(counter m gaps_total)" -eq 1 ]
	[ "$(grep -c 'gap: ' sub.err)" -eq 1 ]
	# Whose fault it was, and which limit of the server it met.
	grep -q 'gap: .*standard output was full.*client-output-buffer-limit pubsub' sub.err
}

@test "rsub blames its reader for no gap that is the server's, though messages come fast" {
	redis_start
	subscribe sub news --raw
	publish_numbers news 1 20000
	wait_lines sub.out 20000
	redis_stop
	redis_start
	wait_file_contains sub.err 'gap: '
	run ! grep 'gap: .*standard output' sub.err
}

@test "rsub tells a gap from the last sign of life, not from when it found the loss" {
	redis_start
	subscribe sub news --raw
	rcli publish news before
	wait_lines sub.out 1
	freeze "$(pid_of sub)"
	rcli client kill type pubsub
	let_pass 3
	kill -CONT "$(pid_of sub)"
	wait_file_contains sub.err 'gap: '
	[ "$(gap_seconds sub.err)" -ge 3 ]
	stop sub
	wait_exit sub
}

@test "rsub tells a gap as long as the server's replies were kept back on the way" {
	redis_start
	mkfifo orders
	exec 6<>orders
	spawn proxy "$ROOT/tests/bats/redis-proxy" proxy.sock "$REDIS_SOCK" <orders
	wait_file_contains proxy.out listening
	subscribe sub news --raw -u unix:proxy.sock
	echo hold >&6
	wait_file_contains proxy.out 'did hold'
	rcli publish news lost
	let_pass 2
	echo cut >&6
	wait_file_contains sub.err 'gap: '
	[ "$(gap_seconds sub.err)" -ge 2 ]
	stop sub
	wait_exit sub
	stop proxy
}

@test "rsub refuses a message over --max-line, counts it, and goes on" {
	redis_start
	subscribe sub news --raw --max-line 1K -c 2 --metrics m
	rcli publish news before
	head -c 5000 /dev/zero | tr '\0' y >long
	publish_file news long
	rcli publish news after
	wait_exit sub
	[ "$status" -eq 1 ]
	[ "$(cat sub.out)" = 'before
after' ]
	grep -q 'channel news: .*too-large' sub.err
	grep -qx 'evpipe_errors_total{pipeline="evpipe",tool="rsub",type="too-large"} 1' m
}

@test "rsub tells a channel's name as one line, and a terminal has nothing to obey in it" {
	local name=$'a\e[31m\nrsub: b'
	redis_start
	spawn sub rsub -p 'a*' --raw --max-line 1K -c 1
	wait_for '[ "$(redis_patterns)" -eq 1 ]'
	head -c 5000 /dev/zero | tr '\0' y >long
	publish_file "$name" long
	rcli publish "$name" after
	wait_exit sub
	[ "$status" -eq 1 ]
	grep -qF 'channel a?[31m?rsub: b: ' sub.err
}

@test "rsub writes its counters in Prometheus's form, under the pipeline's name" {
	redis_start
	EVPIPE_NAME=bridge subscribe sub news --metrics m
	rcli publish news 1
	rcli publish news 2
	wait_lines sub.out 2
	stop sub
	wait_exit sub
	grep -qx 'evpipe_records_in_total{pipeline="bridge",tool="rsub"} 2' m
	grep -qx 'evpipe_records_out_total{pipeline="bridge",tool="rsub"} 2' m
	grep -qx 'evpipe_gaps_total{pipeline="bridge"} 0' m
	# Each sample has a TYPE before it, and no line is anything else.
	awk '/^# HELP / { next }
		/^# TYPE / { type[$3] = $4; next }
		{ name = $1; sub(/\{.*/, "", name) }
		!type[name] || NF != 2 || seen[$1]++ || type[name] == "counter" && name !~ /_total$/ { bad++; print }
		END { exit bad || NR == 0 }' m
}
