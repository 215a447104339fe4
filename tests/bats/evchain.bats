#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# evchain: what is appended, what a reader is told, and what is found when somebody has changed the files.

load helpers

setup() {
	harness_setup
	evchain keygen example.com/audit >key 2>vkey
}

# records N [FROM]: N records, numbered.
records() {
	seq "${2:-1}" $((${2:-1} + $1 - 1)) |
		sed 's/.*/{"topic":"t","partition":0,"offset":&,"key":"k&","payload":"{\\"id\\":&}"}/'
}

# chain N: appends so many records to the log.
chain() {
	records "$@" | evchain append --key @key log
}

verify() {
	evchain verify --key @vkey "$@" log
}

# leaf_hash: of the line on standard input, without its end, as a shell computes it.
leaf_hash() {
	{ printf '\0'; head -c -1; } | openssl dgst -sha256 -binary | base64
}

# says PATTERN: verify finds damage, and one of its sentences matches.
says() {
	run -1 verify
	echo "$output"
	# shellcheck disable=SC2254 # a pattern
	while read -r line; do
		case $line in $1) return 0 ;; esac
	done <<<"$output"
	return 1
}

# ---- append ----

@test "entries have the format that the manual says, byte by byte" {
	records 3 >in
	chain 3
	[ "$(wc -l <log)" -eq 3 ]
	[ "$(jq -c 'keys_unsorted' log | sort -u)" = $'["n","at","prev","record"]\n["n","at","prev","s","record"]' ]
	[[ $(sed -n 1p log) == '{"n":0,"at":'*',"prev":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=","s":1,"record":'"$(sed -n 1p in)"'}' ]]
	for n in 1 2; do
		prev=$(sed -n "${n}p" log | leaf_hash)
		[[ $(sed -n "$((n + 1))p" log) == "{\"n\":$n,\"at\":"*",\"prev\":\"$prev\",\"record\":$(sed -n "$((n + 1))p" in)}" ]]
	done
	jq -e '.at > 1700000000000' log
	[ "$(stat -c %a log)" = 600 ]
	[ "$(cat log.tlog/key.pub)" = "$(cat vkey)" ]
	[ "$(head -n 2 log.tlog/checkpoint)" = $'example.com/audit\n3' ]
	[ "$(jq -j .payload log.tlog/heads | tail -n 5)" = "$(cat log.tlog/checkpoint)" ]
	[ "$(jq -r .key log.tlog/heads | sort -u)" = example.com/audit ]
	[ "$(stat -c %s log.tlog/tile/0/000.p/3)" -eq 96 ]
	[ "$(stat -c %s log.tlog/index/000)" -eq 24 ]
	run -0 verify
	[[ $output == 'good: 3 entries read, 3 signed by example.com/audit+'* ]]
}

@test "records stay as they are: blanks, order, numbers, escapes, fields of others" {
	cat >in <<-'EOF'
		 {"b":1.0E400, "payload":"\u00e9\u0000\ud83d\ude00" ,"a":12345678901234567890}	
		{"payload":{"x":[1,2,{"y":null}]},"record":"}}","n":7,"prev":""}
		{"payload_b64":"/w==","key":null}
		{"payload":null}
	EOF
	evchain append --key @key log <in
	evchain show --records log | cmp - in
	run -0 verify
	evchain append --key @key --pass log <in >out
	cmp out in
	jq -c . log >/dev/null
}

@test "the origin of evstamp stands in front" {
	cat >in <<-'EOF'
		{"payload":"{\"source\":\"cloud-run-api\"}"}
		{"payload":{"source":"a\"b\u00e9"},"headers":["origin","site-a"]}
		{"payload":"{\"source\":7}"}
		{"payload":"{\"source\":null}"}
		{"payload":"no JSON, though it says source"}
	EOF
	evchain append --key @key log <in
	[ "$(jq -c .source log)" = $'"cloud-run-api"\n"a\\"bé"\n"7"\nnull\nnull' ]
	evchain append --at header:origin log2 <in
	[ "$(jq -c .source log2)" = $'null\n"site-a"\nnull\nnull\nnull' ]
	evchain append --at .a.b log3 <<<'{"payload":{"a":{"b":"x"}}}'
	[ "$(jq -r .source log3)" = x ]
	run -100 evchain append --at . log4 </dev/null
	verify
}

@test "lines that are no records: refused, or taken as payloads" {
	printf '%s\n' '{"payload":"a"}' 'plain text' '{"payload":"b"}' >in
	run -1 evchain append --key @key log <in
	[[ $output == "evchain: line 2: "*"--raw"*"(json-decode)" ]]
	[ "$(wc -l <log)" -eq 1 ]
	run -1 evchain append --key @key --on-error skip log <in
	[ "$(wc -l <log)" -eq 3 ]
	run -1 evchain append --key @key --dead-letter dead log <in
	[ "$(jq -r .line dead)" = 'plain text' ]
	printf 'a "b"\\\0\xff\0' | evchain append --key @key --raw -0 log
	[ "$(tail -n 2 log | jq -c .record)" = $'{"payload":"a \\"b\\"\\\\"}\n{"payload_b64":"/w=="}' ]
	printf '%s' '{"payload":"torn"}' >in
	run -111 evchain append --key @key log <in
	[ "$(grep -c torn log)" -eq 0 ]
	{ printf '{"payload":"'; head -c 1000000 /dev/zero | tr '\0' x; echo '"}'; } >in
	run -1 evchain append --key @key --max-line 1K log <in
	evchain append --key @key log <in
	[ "$(tail -n 1 log | wc -c)" -gt 1000000 ]
	verify
}

@test "one writer: a second one ends with 100, in a unit with 111, since the first may be on its way out" {
	mkfifo in
	spawn one sh -c 'exec evchain append --key @key --metrics m log <in'
	exec 5>in
	wait_file_contains m 'evpipe_ready{pipeline="evpipe",tool="evchain"} 1'
	run -100 evchain append --key @key log </dev/null
	[[ $output == "evchain: another program appends to 'log'"* ]]
	EVPIPE_RUN=$T run -111 evchain append --key @key log </dev/null
	[[ $output == "evchain: another program appends to 'log'"* ]]
	# Readers need no lock, and see what was synced at once.
	records 3 >&5
	wait_lines log 3
	verify
	# Another name of the log is no way round the lock.
	mkdir other
	ln -s ../log other/link
	ln -s other/link link
	run -100 evchain append --key @key link </dev/null
	[[ $output == "evchain: another program appends to "*"log'"* ]]
	exec 5>&-
	wait_exit one
	[ "$status" -eq 0 ]
}

@test "a symbolic link is another name of its log, also of one that is not there yet" {
	ln -s log link
	records 3 | evchain append --key @key link
	records 3 4 | evchain append --key @key --rotate 100 link
	[ -L link ]
	[ "$(echo link* log.0* log.tlog)" = 'link log.000000000000-000000000005 log.tlog' ]
	chain 1
	evchain verify --key @vkey link >out
	verify | cmp - out
	[ "$(evchain show link | wc -l)" -eq 7 ]
	evchain prove link 0 >proof
	evchain check --key @vkey proof "$(evchain show --number 0 link)"
	ln -s loop loop
	run -100 evchain append loop </dev/null
}

@test "heads: each second, after each group, to a descriptor; none without a key" {
	mkfifo in
	spawn one sh -c 'exec evchain append --key @key --head-every 0 --heads 4 --metrics m log <in 4>heads'
	exec 5>in
	for n in 1 2 3; do
		records 1 $n >&5
		wait_for "jq -j .payload heads | grep -qx $n"
	done
	exec 5>&-
	wait_exit one
	grep -q '^evpipe_chain_entries{.*} 3$' m
	grep -q '^evpipe_chain_signed_entries{.*} 3$' m
	cmp heads log.tlog/heads
	[ "$(jq -r .payload heads | grep -cx '[0-9]')" -eq 4 ]
	chain 1
	[ "$(wc -l <log.tlog/heads)" -eq 6 ]
	records 3 | evchain append plain
	[ ! -e plain.tlog/checkpoint ]
	run -0 evchain verify plain
	[ "$output" = 'good: 3 entries read, chained; no head signs for them' ]
	run -1 evchain verify --key @vkey plain
	run -100 evchain append --heads 4 plain 4>heads </dev/null
	run -100 evchain append --key @key --heads 9 log </dev/null
	# A log that is signed stays so.
	run -100 evchain append log </dev/null
	[[ $output == *'its key is needed'* ]]
}

@test "the reader of heads has gone" {
	mkfifo heads in
	spawn one sh -c 'exec evchain append --key @key --heads 4 log 4>heads <in'
	exec 6<heads 5>in
	read -r _ <&6
	exec 6<&-
	wait_exit one
	[ "$status" -eq 111 ]
	grep -q 'the reader of descriptor 4 (--heads) has gone' one.err
	exec 5>&-
	chain 1
	verify
}

@test "a disk that is full stops it, and leaves nothing half" {
	chain 10
	records 20000 >in
	status=0
	(ulimit -f 300; evchain append --key @key --pass log <in >out 2>err) || status=$?
	cat err
	[ "$status" -eq 111 ]
	grep -q "^evchain: cannot write 'log': File too large" err
	# What was handed on is in the log.
	n=$(wc -l <out)
	[ "$(wc -l <log)" -eq $((10 + n)) ]
	[ "$(tail -c 1 log)" = "" ]
	evchain show --records --number 10- log | cmp - out
	chain 5
	verify
}

@test "times never fall" {
	cat >clock.c <<-'EOF'
	#define _GNU_SOURCE
	#include <dlfcn.h>
	#include <time.h>
	int clock_gettime(clockid_t id, struct timespec *t)
	{
		int rc = ((int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime"))(id, t);
		if (id == CLOCK_REALTIME)
			t->tv_sec -= 3600;
		return rc;
	}
	EOF
	gcc -shared -fPIC -o clock.so clock.c
	chain 1
	records 2 | LD_PRELOAD=$T/clock.so evchain append --key @key log
	[ "$(jq .at log | sort -u | wc -l)" -eq 1 ]
	verify
}

# ---- readers ----

@test "show: numbers, times, origins, keys, records" {
	for n in 1 2 3; do
		printf '{"key":"k%s","payload":{"source":"s%s","n":%s}}\n' $n $((n % 2)) $n | evchain append --key @key log
		sleep 0.01
	done
	at=$(sed -n 2p log | jq .at)
	[ "$(evchain show log)" = "$(cat log)" ]
	[ "$(evchain show --number 1 log)" = "$(sed -n 2p log)" ]
	[ "$(evchain show --number 1- log)" = "$(sed -n 2,3p log)" ]
	[ "$(evchain show --number 0-1 log)" = "$(sed -n 1,2p log)" ]
	[ "$(evchain show --from "$at" log)" = "$(sed -n 2,3p log)" ]
	[ "$(evchain show --until "$at" log)" = "$(sed -n 1p log)" ]
	[ "$(evchain show --from -1h --until 2099-01-01 log | wc -l)" -eq 3 ]
	[ "$(evchain show --origin s1 log)" = "$(sed -n '1p;3p' log)" ]
	[ "$(evchain show --key k2 --records log)" = '{"key":"k2","payload":{"source":"s0","n":2}}' ]
	[ -z "$(evchain show --number 7 log)" ]
	for wrong in '--number x' '--number 2-1' '--from yesterday' '--from -1h --until -2h'; do
		# shellcheck disable=SC2086 # two words or four
		run -100 evchain show $wrong log
	done
	run -100 evchain show nothing
	run -111 sh -c 'exec evchain show log >/dev/full'
	rm -r log.tlog/index
	[ "$(evchain show --number 1 log)" = "$(sed -n 2p log)" ]
}

@test "show finds the end of a long log without reading it" {
	records 50000 | evchain append --key @key log
	rm -r log.tlog/index
	strace -e trace=read,pread64 -o trace evchain show --number 49990- log >out
	[ "$(wc -l <out)" -eq 10 ]
	[ "$(sed -n 's/.* = \([0-9]*\)$/\1/p' trace | paste -sd+ | bc)" -lt 500000 ]
}

@test "proofs: of each entry, checked without the log; a wrong line, key or number is found" {
	chain 300
	for n in 0 1 255 256 299; do
		evchain prove log "$n" >proof
		sed -n "$((n + 1))p" log >line
		evchain check --key @vkey proof line
		evchain check --key "$(cat vkey)" "$(cat proof)" "$(cat line)"
		evchain check --key @vkey @proof @line
		evchain check --key @vkey - "$(cat line)" <proof
	done
	run -1 evchain check --key @vkey proof "$(sed -n 1p log)"
	[[ $output == "evchain: the line is not entry 299 of the log 'example.com/audit'" ]]
	sed 's/^index 299$/index 298/' proof >wrong
	run -1 evchain check --key @vkey wrong line
	sed '3{s/^A/B/;t;s/./A/}' proof >wrong
	run -1 evchain check --key @vkey wrong line
	sed '3d' proof >wrong
	run -1 evchain check --key @vkey wrong line
	sed 's/^300$/301/' proof >wrong
	run -1 evchain check --key @vkey wrong line
	[[ $output == *'signature is not good'* ]]
	head -n 3 proof >wrong
	run -1 evchain check --key @vkey wrong line
	evchain keygen example.com/other >key2 2>vkey2
	run -1 evchain check --key @vkey2 proof line
	[[ $output == *'it is not signed by example.com/other+'* ]]
	run -1 evchain prove log 300
	run -100 evchain prove log x
	run -100 evchain check --key nonsense proof line
	run -100 evchain check --key "$(cat key)" proof line
	[[ $output == 'evchain: a private key was given'* && $output != *"$(cut -d+ -f5 key)"* ]]
	run -100 evchain prove nothing 1
}

@test "consistency: from each older head; the text is what a witness wants" {
	for n in 1 2 4 93 156 1 44; do
		chain $n
		cp log.tlog/checkpoint "head-$(wc -l <log)"
	done
	for head in head-*; do
		evchain consistency --key @vkey log "$head" >proof
		[ "$(head -n 1 proof)" = "old ${head#head-}" ]
		sed '1,/^$/d' proof | cmp - log.tlog/checkpoint
		verify --head "$head"
		verify --head "$(cat "$head")"
	done
	jq -r .payload <<<"$(sed -n 2p log.tlog/heads)" >kept
	evchain consistency --key @vkey log kept
	# Another log with the same key.
	records 50 7 | evchain append --key @key other
	run -1 evchain consistency --key @vkey log other.tlog/checkpoint
	[[ $output == *'has not grown from the older head'* ]]
	run -1 evchain verify --key @vkey --head other.tlog/checkpoint log
	run -1 evchain consistency --key @vkey other head-301
	[[ $output == *'was rolled back'* ]]
	run -1 evchain verify --key @vkey --head head-301 other
	[[ $output == *'was rolled back'* ]]
	echo nonsense >kept
	run -1 evchain consistency --key @vkey log kept
	run -1 verify --head kept
}

@test "keygen: keys in Go's text form, each another one; names that are none" {
	[[ $(cat key) =~ ^PRIVATE\+KEY\+example.com/audit\+[0-9a-f]{8}\+[A-Za-z0-9+/]{44}$ ]]
	[[ $(cat vkey) =~ ^example.com/audit\+[0-9a-f]{8}\+[A-Za-z0-9+/]{44}$ ]]
	[ "$(evchain keygen a 2>/dev/null)" != "$(evchain keygen a 2>/dev/null)" ]
	for name in '' 'a b' 'a+b' $'a\nb' $'\xff' "$(printf '%0256d' 0)"; do
		run -100 evchain keygen -- "$name"
	done
	run -111 sh -c 'exec evchain keygen a >/dev/full'
	run -100 evchain append --key nothing log </dev/null
	echo nonsense >bad
	run -100 evchain append --key bad log </dev/null
	run -100 evchain append --key @vkey log </dev/null
	evchain append --key "$(cat key)" log </dev/null
	evchain append --key key log </dev/null
	[ "$(sed -n 2p log.tlog/checkpoint)" = 0 ]
	verify
	# The verifier is the half that nobody can make again.
	run -111 sh -c 'exec evchain keygen a >key2 2>/dev/full'
}
