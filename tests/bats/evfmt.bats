#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# evfmt: kcat's tokens print what kcat prints, no byte is changed but for a terminal, and a terminal obeys nothing.

load helpers

setup() {
	harness_setup
	export TZ=UTC
	unset NO_COLOR
	cat >in <<-'EOT'
	{"topic":"orders","partition":2,"offset":17,"tstype":"create","ts":1795677803876,"headers":["a","1","b",null,"a","é"],"key":"t-7","payload":"{\"id\":12345678901234567890,\"n\":1.10,\"o\":{\"l\":[{\"s\":\"x y\"}]},\"z\":null}","more":{"x":1E400}}
	EOT
	echo '{"topic":"orders","partition":0,"offset":3,"ts":-1,"key":null,"payload":null}' >tombstone
	echo '{"topic":"t","partition":0,"offset":1,"key_b64":"AAAABw==","payload_b64":"//4A"}' >binary
	echo '{"channel":"sse:x","pattern":"sse:*","payload":"hello"}' >channel
	echo '{"stream":"s","id":"1795677803876-2","payload":"hello"}' >stream
}

# prints FORMAT TEXT [FILE]
prints() {
	run -0 evfmt -f "$1" <"${3:-in}"
	echo "$1: $output"
	[ "$output" = "$2" ]
}

# on_terminal COMMAND…: with a terminal as its standard output, which goes to the file seen.
on_terminal() {
	python3 - "$@" <<-'EOF'
	import os, pty, sys
	out = open("seen", "wb")
	def read(fd):
	    data = os.read(fd, 65536)
	    out.write(data)
	    return b""
	pty.spawn(["sh", "-c", 'exec "$@" <in', "sh", *sys.argv[1:]], read, lambda fd: b"")
	EOF
}

# ---- tokens ----

@test "kcat's tokens print what kcat prints" {
	kmock_start -t t:1
	printf '%s\n' '{"key":"k","payload":"hello","headers":["a","1","b",null,"c",""]}' '{"payload":null}' \
		'{"key_b64":"/w==","payload_b64":"AAH+"}' '{"key":"","payload":""}' | kwrite -t t
	format='%t|%p|%o|%k|%K|%s|%S|%T|%h|%R|%%|\x41\t\\ \n'
	kconsume t -f "$format" >expected
	kread -e t | evfmt -f "$format" >out
	[ "$(wc -l <expected)" -eq 4 ]
	cmp expected out
	# kcat's -Z takes what is empty for null: that is left out.
	kconsume t -c 3 -Z -f '%k %s\n' >expected
	kread -c 3 t | evfmt -Z -f '%k %s\n' >out
	cmp expected out
}

@test "a format is all that is printed" {
	prints '' ''
	prints x x
	prints 'a\nb\x21\041\e' $'a\nb!!\e'
	evfmt -f '%s' <channel >out
	[ "$(od -An -c out | tr -d ' ')" = hello ]
}

@test "fields by name" {
	prints '%{topic} %{partition} %{offset} %{ts} %{tstype} %{key}' 'orders 2 17 1795677803876 create t-7'
	prints '%{channel} %{pattern} %{payload} [%{topic}%{partition}%{ts}]' 'sse:x sse:* hello []' channel
	prints '%{stream} %{id} %T %{ts:iso}' 's 1795677803876-2 1795677803876 2026-11-26T07:23:23.876Z' stream
	prints '%{place}' orders/2@17
	prints '%{place}' sse:x channel
	prints '%{place}' s@1795677803876-2 stream
	prints '%{record}' "$(cat in)"
}

@test "values in the payload and in the record stand as they came" {
	prints '%{.payload.id} %{.payload.n} %{payload.o.l[0].s} %{.more.x}' '12345678901234567890 1.10 x y 1E400'
	prints '%{.payload.o} %{.payload.o.l[0].s:json}' '{"l":[{"s":"x y"}]} "x y"'
	prints '[%{.payload.z}%{.payload.no}%{.no}%{.payload.n.m}]' '[]'
	prints '[%{.payload.a}]' '[]' channel
	prints '[%{.payload.a}]' '[]' tombstone
}

@test "-Z: NULL for what is null or not there" {
	run -0 evfmt -Z -f '%k %s %{.payload.a} %{header:x} %{channel} %{ts:iso} %S' <tombstone
	[ "$output" = 'NULL NULL NULL NULL NULL NULL -1' ]
}

@test "headers: the last of a name; all in their order" {
	prints '%{header:a} [%{header:b}] [%{header:c}] %{header:a:hex}' 'é [] [] c3a9'
	prints '%h' 'a=1,b=NULL,a=é'
	prints '%{headers}' 'a=1,b=NULL,a=é'
}

@test "times" {
	prints '%{ts:iso} %{ts:rfc3339} %{ts:local} %{ts:s}' \
		'2026-11-26T07:23:23.876Z 2026-11-26T07:23:23.876Z 2026-11-26 07:23:23.876 1795677803'
	TZ=CET-1 prints '%{ts:iso} %{ts:rfc3339} %{ts:local}' \
		'2026-11-26T07:23:23.876Z 2026-11-26T08:23:23.876+01:00 2026-11-26 08:23:23.876'
	prints '%{ts:%H:%M:%S.%L %%}' '07:23:23.876 %'
	echo '{"ts":1,"payload":"{\"at\":-1,\"when\":1795677803876}"}' >early
	prints '%{ts:iso} %{.payload.at:iso} %{.payload.when:iso}' \
		'1970-01-01T00:00:00.001Z 1969-12-31T23:59:59.999Z 2026-11-26T07:23:23.876Z' early
	prints '[%{ts:iso}]' '[]' tombstone
	echo '{"ts":9223372036854775807,"payload":"x"}' >never
	prints '%{ts:iso}' 9223372036854775807 never
	date +'{"ts":%s000,"payload":""}' >now
	run -0 evfmt -f '%{ts:ago}' <now
	[[ $output =~ ^[0-9]+(ms|s|m)\ ago$ ]]
}

@test "forms of bytes" {
	prints '%{key:hex} %{key:base64} %{key:i32} %{key:u32le} %{key:size} %{payload:hex} %{payload:base64}' \
		'00000007 AAAABw== 7 117440512 4 fffe00 //4A' binary
	prints '%{key:i64} %{payload:u8}' 't-7 hello' <(sed 's/{/{"key":"t-7",/' channel)
	echo '{"key_b64":"//////////8=","payload_b64":"gA=="}' >negative
	prints '%{key:i64} %{key:u64} %{payload:i8} %{payload:u8}' '-1 18446744073709551615 -128 128' negative
	prints '%{payload:json} %{key:json}' '"hello" null' channel
}

@test "widths and limits count columns and cut no character" {
	prints '[%6k|%-6k|%.2k|%6.2k|%-6.2{key}|%1k]' '[   t-7|t-7   |t-|    t-|t-    |t-7]'
	echo '{"key":"東京é","payload":""}' >wide
	prints '[%6k|%-6k|%.3k|%.5k]' '[ 東京é|東京é |東|東京é]' wide
	prints '[%-8{.payload.o.l[0].s}]' '[x y     ]'
}

@test "what is no format is wrong usage and named" {
	for format in '%z' '%' '%5' 'a%{x}' '%{payload' '%{.a b}' '\q' '\x' 'end\8' '\400' '%{ts:nonsense}' '%{header:}'; do
		run -100 evfmt -f "$format" <in
		echo "$output"
		[[ $output == "evfmt: -f: '"* || $output == 'evfmt: -f: a token is missing'* ]]
		[[ $output == *"try 'evfmt --help'" ]]
	done
	run -100 evfmt --color sometimes <in
	run -100 evfmt -H -f x <in
	run -100 evfmt -Z <in
}

# ---- the layout ----

@test "without a format: time, place, key, payload, a line each" {
	cat in tombstone binary channel stream | evfmt >out
	printf '%s\t%s\t%s\t%s\n' '2026-11-26 07:23:23.876' orders/2@17 t-7 \
		'{"id":12345678901234567890,"n":1.10,"o":{"l":[{"s":"x y"}]},"z":null}' \
		- orders/0@3 - '(tombstone)' - t/0@1 '\x00\x00\x00\x07' '\xff\xfe\x00' \
		- sse:x - hello '2026-11-26 07:23:23.876' s@1795677803876-2 - hello >expected
	diff expected out
	[ "$(evfmt <<<'{"ts":-500,"payload":"x"}')" = $'1969-12-31 23:59:59.500\t-\t-\tx' ]
	[ "$(evfmt <<<'{"ts":-1,"payload":"x"}')" = $'-\t-\t-\tx' ]
}

@test "-H: headers too" {
	[ "$(evfmt -H <in | cut -f 4)" = 'a=1,b=NULL,a=é' ]
	[ "$(evfmt -H <channel | cut -f 4)" = - ]
}

@test "one record is one line, whatever its bytes" {
	printf '%s\n' '{"key":"a\nb\tc","payload":"x\r\ny\u0000\u0085\u2028\u202e\u001b]0;t\u0007"}' \
		'{"payload":"{\n  \"a\" : 1.0,\n  \"b\": \"c d\"\n}"}' >in
	evfmt <in >out
	printf '%s\n' $'-\t-\ta\\nb\\tc\tx\\r\\ny\\x00\\u0085\\u2028\\u202e\\x1b]0;t\\x07' \
		$'-\t-\t-\t{"a":1.0,"b":"c d"}' >expected
	diff expected out
}

@test "-p: JSON in lines, numbers and strings as they are" {
	printf '%s\n' '{"payload":"{\"a\":1.10,\"b\":[1E400,{}, [] ,\"\\u00e9\\\"\",null,[true]],\"c\":{\"d\":\"{,}\"}}"}' >in
	evfmt -f '%s\n' -p <in >out
	cat >expected <<-'EOT'
	{
	  "a": 1.10,
	  "b": [
	    1E400,
	    {},
	    [],
	    "\u00e9\"",
	    null,
	    [
	      true
	    ]
	  ],
	  "c": {
	    "d": "{,}"
	  }
	}
	EOT
	diff expected out
	evfmt -p <in | sed 1d | diff expected -
	[ "$(evfmt -p -f %s <channel)" = hello ]
}

@test "with a format bytes are not changed, in a file or a pipe" {
	printf '%s\n' '{"payload":"x\u001b[31m\r\n\u0000\u202e"}' '{"payload_b64":"//4KAA=="}' >in
	evfmt -f '%s' <in >out
	printf 'x\33[31m\r\n\0\342\200\256\377\376\n\0' | cmp - out
	[ "$(evfmt -f '%s|' --escape always <in)" = 'x\x1b[31m\r\n\x00\u202e|\xff\xfe\n\x00|' ]
}

# ---- terminals ----

@test "a terminal obeys nothing that a record holds" {
	printf '%s\n' '{"topic":"a\u001b[1mb","headers":["h\u0007","\u001b"],"key":"\u009b2J","payload":"\u001b[31m\r\n\ttext\u202e","x":"\u001bc"}' \
		'{"key_b64":"Gw==","payload_b64":"G1sybf8="}' '{"payload":"{\"a\":\"\\u001b\u009b\u202e\"}"}' >in
	for args in '--color never -H' "--color never -f %t%k%s%h%{.x}%{header:h}%-20s%{place}%{payload:i8}\n" \
		'--color never -p -f %s\n'; do
		read -ra words <<<"$args"
		on_terminal evfmt "${words[@]}"
		# Only the line ends of evfmt, which the terminal has made CR LF, are controls.
		[ -s seen ]
		LC_ALL=C run ! grep -aP '[\x00-\x09\x0b\x0c\x0e-\x1f\x7f]|\xc2[\x80-\x9f]|\xe2\x80\xae' seen
		[ "$(tr -cd '\r' <seen | wc -c)" -ge 3 ]
	done
}

@test "colours on a terminal, by NO_COLOR and --color; kcheck's too" {
	on_terminal evfmt
	grep -q $'\e\\[36morders/2@17\e\\[0m' seen
	grep -q $'\e\\[33mt-7\e\\[0m' seen
	grep -q $'\e\\[36m12345678901234567890\e\\[0m' seen
	NO_COLOR=1 on_terminal evfmt
	run ! grep -q $'\e' seen
	NO_COLOR='' on_terminal evfmt
	grep -q $'\e' seen
	TERM=dumb on_terminal evfmt
	run ! grep -q $'\e' seen
	NO_COLOR=1 on_terminal evfmt --color=always
	grep -q $'\e' seen
	evfmt <in >seen
	run ! grep -q $'\e' seen
	for args in --color --color=always '--color always'; do
		read -ra words <<<"$args"
		evfmt "${words[@]}" <in >seen
		grep -q $'\e' seen
	done
	# Without the colours it is the same text.
	sed 's/\x1b\[[0-9;]*m//g' seen | diff - <(evfmt <in)

	NO_COLOR='' on_terminal kcheck -b 127.0.0.1:1
	grep -q $'\e.*FAIL' seen
	for plain in NO_COLOR=1 TERM=dumb; do
		(export "${plain?}" && on_terminal kcheck -b 127.0.0.1:1)
		grep -q FAIL seen
		run ! grep -q $'\e' seen
	done
}

@test "in columns on a terminal" {
	sed -i 'h; s/t-7/a much longer key/p; g' ./in
	on_terminal evfmt --color never
	[ "$(grep -aob '{"id"' seen | head -n 1 | cut -d : -f 1)" -gt 0 ]
	[ "$(sed 's/{.*//' seen | awk '{ print length }' | sort -u | wc -l)" -eq 1 ]
}

# ---- the stream ----

@test "a record is printed while the input stays open" {
	mkfifo fifo
	spawn it sh -c 'exec evfmt -f "%s\n" <fifo'
	exec 5>fifo
	cat channel >&5
	wait_lines it.out 1
	exec 5>&-
	wait_exit it
	[ "$status" -eq 0 ]
}

@test "it takes no part in acknowledgements" {
	export EVPIPE_ACK=$T/nobody
	run -0 evfmt -f '%s' <channel
	[ "$output" = hello ]
}

@test "behind kread in a unit of evpipe" {
	kmock_start -t t:1
	kproduce t <<<hello
	run -0 evpipe kread -q -e t '|' evfmt -f '%s\n'
	[ "$output" = hello ]
}

@test "records of all sizes, none lost" {
	seq 100000 | sed 's/.*/{"payload":"&"}/' >many
	evfmt -f '%s\n' <many | cmp - <(seq 100000)
	{ printf '{"payload":"'; head -c 3000000 /dev/zero | tr '\0' x; printf '"}\n'; } >long
	[ "$(evfmt -f '%s' <long | wc -c)" -eq 3000000 ]
}
