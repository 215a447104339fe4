#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# evchain: segments, changes of keys, and records that come again.

# shellcheck disable=SC2119,SC2120 # verify gets its options by way of run
load helpers
load ack

setup() {
	harness_setup
	evchain keygen example.com/audit >key 2>vkey
	cp key first
}

records() {
	seq "${2:-1}" $((${2:-1} + $1 - 1)) | sed 's/.*/{"key":"k&","payload":"{\\"id\\":&}"}/'
}

chain() {
	records "$@" | evchain append --key @key log
}

verify() {
	evchain verify --key @vkey "$@" log
}

# ---- segments ----

@test "--rotate by size: segments by the numbers of their entries, the chain goes on" {
	records 1000 >in
	for n in 1 2 3; do
		evchain append --key @key --rotate 20K log <in
	done
	ls log.0* >segments
	[ "$(wc -l <segments)" -ge 3 ]
	from=0
	while read -r segment; do
		range=${segment#log.}
		[[ $range =~ ^[0-9]{12}-[0-9]{12}$ ]]
		[ "$((10#${range%-*}))" -eq $from ]
		[ "$(head -n 1 "$segment" | jq .n)" -eq $from ]
		[ "$(tail -n 1 "$segment" | jq .n)" -eq "$((10#${range#*-}))" ]
		from=$((10#${range#*-} + 1))
	done <segments
	evchain show --records log >out
	cat in in in | cmp - out
	[ "$(evchain show --number 999-1001 log | jq .n | paste -sd' ')" = '999 1000 1001' ]
	run -0 verify
	[[ $output == 'good: 3000 entries read, 3000 signed by'* ]]
	evchain prove log 5 >proof
	evchain check --key @vkey proof "$(head -n 6 "$(head -n 1 segments)" | tail -n 1)"
	# A closed segment is never written again; its entries can be shown.
	first=$(head -n 1 segments)
	run -100 evchain append --key @key "$first" <in
	[ "$output" = "evchain: '$first' is a closed segment: the log is 'log'" ]
	run -100 evchain verify --key @vkey "$first"
	evchain show "$first" | cmp - "$first"
	verify
}

@test "entries that no head covers are told before they are signed" {
	evchain append log < <(records 2)
	run -0 evchain append --key @key log </dev/null
	[ "$output" = "evchain: warning: 'log' has no head: its 2 entries are signed as they stand" ]
	run -0 evchain append --key @key log </dev/null
	[ -z "$output" ]
}

@test "--rotate by age" {
	mkfifo in
	spawn one sh -c 'exec evchain append --key @key --rotate 200ms log <in'
	exec 5>in
	records 1 >&5
	wait_for 'ls log.000000000000-000000000000'
	[ ! -s log ]
	records 1 2 >&5
	wait_for 'ls log.000000000001-000000000001'
	exec 5>&-
	wait_exit one
	[ "$status" -eq 0 ]
	verify
	chain 1
	verify
	for bad in 0 x 1.5G -1; do
		run -100 evchain append --rotate "$bad" other </dev/null
	done
}

@test "segments that are elsewhere are told as not here, and the rest verifies" {
	records 1000 >in
	for n in 1 2 3; do
		evchain append --key @key --rotate 20K log <in
	done
	mapfile -t segments < <(ls log.0*)
	last=$((10#${segments[0]#*-}))
	mkdir old
	mv "${segments[0]}" old
	run -0 verify
	echo "$output"
	[[ $output == "entries 0-$last not here"*'good: '* ]]
	evchain prove log 3 >proof
	chain 5
	run -0 verify
	# One in the middle, too; an entry that is here is still looked at.
	mv "${segments[1]}" old
	run -0 verify
	sed -i '2s/"id/"ID/' "${segments[2]}"
	run -1 verify
	first=${segments[2]#log.}
	[[ $output == *"entry $((10#${first%-*} + 1)): it was changed"* ]]
	sed -i '2s/"ID/"id/' "${segments[2]}"
	# All closed ones.
	mv log.0* old
	run -0 verify
	[[ $output == *'not here'* ]]
	chain 5
	verify
	# Without tiles nobody knows what was in them; with the segments the tiles are made anew.
	cp -a log.tlog/tile tile
	rm -r log.tlog/tile
	run -1 verify
	run -100 evchain append --key @key log </dev/null
	mv old/* .
	chain 1
	verify
	# A line that is missing at the end of a closed segment.
	sed -i '$d' "${segments[1]}"
	run -1 verify
	[[ $output == *': it is missing'* ]]
}

# ---- keys ----

@test "--rekey: a new key, named by an entry, and the old one is gone" {
	mkfifo in
	# Of a link it is the file behind it that changes.
	mkdir safe
	mv key safe/key
	ln -s safe/key key
	spawn one sh -c 'exec evchain append --key @key --rekey 300ms --rotate 2K log <in'
	exec 5>in
	for n in 1 2 3; do
		cp key before
		records 20 $n >&5
		wait_for '! cmp -s key before'
	done
	exec 5>&-
	wait_exit one
	[ "$status" -eq 0 ]
	[ -L key ]
	[ ! -e key.new ]
	[ ! -e safe/key.new ]
	[ "$(stat -c %a safe/key)" = 600 ]
	cat log.0* log >all
	[ "$(jq -c 'select(.record.evchain == "key") | .record | keys' all | sort -u)" = '["evchain","vkey"]' ]
	[ "$(jq -r 'select(.record.evchain == "key") | .record.vkey' all | sort -u | wc -l)" -ge 3 ]
	# From the first key on.
	run -0 verify
	[[ $output != *"$(cut -d+ -f2 vkey)"* ]]
	[ "$(cat log.tlog/key.pub)" = "$(cat vkey)" ]
	"$("$ROOT/tests/chain/fetch")" verify "$(cat vkey)" log
	# From the last one.
	jq -r 'select(.record.evchain == "key") | .record.vkey' all | tail -n 1 >last
	evchain verify --key @last log
	chain 3
	verify
	# The first key signs no more.
	run -100 evchain append --key first log </dev/null
	run -100 evchain append --key "$(cat key)" --rekey 1d log </dev/null
	run -100 evchain append --rekey 1d log </dev/null
}

@test "who has today's key cannot sign for yesterday, nor name a key by himself" {
	chain 10
	touch -d '2 days ago' key
	chain 5
	records 5 | evchain append --key @key --rekey 1d log
	[ "$(jq -c 'select(.record.evchain == "key")' log | wc -l)" -eq 1 ]
	verify
	# The entries before are changed, and all is signed anew with today's key.
	evchain show --records log | grep -v evchain | sed '3s/id/ID/' >forged
	mkdir other
	evchain append --key @key other/log <forged
	cp other/log log
	rm -r log.tlog
	cp -a other/log.tlog log.tlog
	run -1 verify
	# A record that looks like a change of keys is none.
	evchain keygen example.com/audit 2>&1 >/dev/null | sed 's/.*/{"evchain":"key","vkey":"&","payload":null}/' |
		evchain append --key first new
	evchain append --key first new <<<'{"payload":1}' || true
	evchain verify --key @vkey new
}

# A change of keys that a crash has stopped anywhere: the system calls that it makes are let through one by one.
@test "killed anywhere in a change of keys, the next start has a key, and the log verifies" {
	chain 3
	mkdir -p keep
	cp -a log log.tlog key keep
	done=0
	for n in $(seq 1 200); do
		rm -rf log log.tlog key key.new
		cp -a keep/. .
		touch -d '2 days ago' key
		status=0
		strace -qq -o trace -e trace=rename,renameat,fsync,fdatasync,write,pwrite64,unlink,openat,ftruncate \
			-e inject=rename,renameat,fsync,fdatasync,write,pwrite64,unlink,openat,ftruncate:signal=KILL:when="$n" \
			evchain append --key @key --rekey 1d log </dev/null || status=$?
		records 1 | evchain append --key @key log
		[ ! -e key.new ]
		verify
		[ "$status" -ne 0 ] || { done=1 && break; }
	done
	[ "$done" -eq 1 ]
	[ "$n" -gt 40 ]
}

# ---- records that come again ----

# again SEQ OFFSET [PAYLOAD]: a record of a source.
again() {
	printf '{"topic":"t","partition":0,"offset":%s,"ts":1,"key":"k","payload":"%s","broker":%s,"seq":"%s:%s"}\n' \
		"$2" "${3:-x}" "$RANDOM" "$RUN" "$1"
}

@test "a record that a source sends again is not appended again" {
	source_start
	{
		again 1 10
		again 2 11
		again 3 10
		again 4 11 other
		again 5 12
	} >in
	spawn it sh -c 'exec evchain append --key @key --metrics m log <in'
	wait_file_contains source.out "final $RUN"
	stop source KILL
	wait_exit it
	[ "$(jq -c '[.record.offset, .record.payload]' log | paste -sd' ')" = '[10,"x"] [11,"x"] [11,"other"] [12,"x"]' ]
	grep -q 'evpipe_repeats_total.* 1$' m
	verify
	# After a new start, and with --pass it is handed on.
	exec 8>&-
	rm commands ack
	source_start
	{ again 7 12; again 8 13; again 9.1/2 14; again 9.2/2 14; } >in
	spawn it sh -c 'exec evchain append --key @key --pass log <in >out'
	wait_lines out 4
	stop source KILL
	wait_exit it
	[ "$(jq -c '.record.offset' log | paste -sd' ')" = '10 11 11 12 13 14 14' ]
	cmp in out
	# Not looked for without a source.
	EVPIPE_ACK='' evchain append --key @key log <in
	[ "$(wc -l <log)" -eq 11 ]
	verify
}

@test "--repeats 0: what a source sends again is appended again" {
	source_start
	{ again 1 10; again 2 10; } >in
	spawn it sh -c 'exec evchain append --key @key --repeats 0 log <in'
	wait_file_contains source.out "final $RUN"
	stop source KILL
	wait_exit it
	[ "$(jq -c .record.offset log | paste -sd' ')" = '10 10' ]
	verify
}
