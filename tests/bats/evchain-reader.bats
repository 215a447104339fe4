#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# evchain beside a second reader that has none of its code (tests/chain/reader, made on Go's sumdb): each reads what the
# other one wrote.

# bats file_tags=once
load helpers

setup_file() {
	READER=$("$ROOT/tests/chain/fetch")
	export READER
}

setup() {
	harness_setup
	evchain keygen example.com/audit >key 2>vkey
}

records() {
	seq "$1" | sed 's/.*/{"key":"k&","payload":"{\\"id\\":&,\\"source\\":\\"s\\"}"}/'
}

reader() {
	"$READER" "$@"
}

# cross LOG N…: proofs of these entries cross over.
cross() {
	local log=$1 n
	shift
	for n in "$@"; do
		evchain show --number "$n" "$log" >line
		evchain prove "$log" "$n" >ours
		reader prove "$log" "$n" | cmp - ours
		reader check "$(cat vkey)" ours line
		evchain check --key @vkey ours line
	done
}

@test "the reader accepts what evchain wrote, at sizes around those of tiles; proofs cross over" {
	for n in 0 1 2 255 256 257 511 512; do
		records "$n" | evchain append --key @key "log$n"
		[ "$(reader verify "$(cat vkey)" "log$n")" -eq "$n" ]
	done
	cross log512 0 1 254 255 256 257 510 511
	cross log257 0 255 256
	cross log1 0
}

@test "… of lines of each length, over the blocks of the hash" {
	for ((n = 0; n < 200; n++)); do
		printf '{"payload":"%*s"}\n' "$n" ''
	done | evchain append --key @key log
	[ "$(reader verify "$(cat vkey)" log)" -eq 200 ]
	evchain verify -q --key @vkey log
}

# bats test_tags=load
@test "… of two levels of tiles, 65,536, and of 100,000 in pieces" {
	records 65535 >in
	evchain append --key @key log <in
	[ "$(reader verify "$(cat vkey)" log)" -eq 65535 ]
	cross log 0 65534
	records 1 | evchain append --key @key log
	[ "$(reader verify "$(cat vkey)" log)" -eq 65536 ]
	cross log 0 255 256 32768 65535
	cp log.tlog/checkpoint old
	records 1 | evchain append --key @key log
	head -n 34463 in | evchain append --key @key log
	[ "$(reader verify "$(cat vkey)" log)" -eq 100000 ]
	cross log 0 65535 65536 99999
	for head in old log.tlog/checkpoint; do
		evchain consistency --key @vkey log "$head" >proof
		reader consistency "$(cat vkey)" "$head" proof
	done
	jq -c . log.tlog/heads | while read -r record; do
		jq -j .payload <<<"$record" >kept
		evchain consistency --key @vkey log kept >proof
		reader consistency "$(cat vkey)" kept proof
		evchain verify -q --key @vkey --head kept log
	done
}

@test "evchain accepts what the reader wrote, and goes on" {
	for n in 0 1 2 255 256 257 700; do
		reader write "$(cat key)" "go$n" "$n"
		run -0 evchain verify --key @vkey "go$n"
		entries=entries
		[ "$n" -ne 1 ] || entries=entry
		[[ $output == "good: $n $entries read, $n signed by"* ]]
		records 300 | evchain append --key @key "go$n"
		run -0 evchain verify --key @vkey "go$n"
		[ "$(reader verify "$(cat vkey)" "go$n")" -eq $((n + 300)) ]
	done
	cross go700 0 255 256 699 700 999
	[ "$(evchain show --origin go go700 | wc -l)" -eq 700 ]
}

@test "the reader accepts closed segments, and finds what is not right" {
	for n in 1 2 3; do
		records 200 | evchain append --key @key --rotate 10K log
	done
	[ "$(find . -name 'log.0*' | wc -l)" -ge 3 ]
	[ "$(reader verify "$(cat vkey)" log)" -eq 600 ]
	cross log 0 199 200 599
	sed -i '1s/k1/k7/' "$(find . -name 'log.0*' | sort | head -n 1)"
	run -1 reader verify "$(cat vkey)" log
}

@test "Tessera's fsck accepts a log with its entries in bundles, and finds what is not right" {
	local tessera n
	tessera=$("$ROOT/tests/chain/fetch" tessera 2>fetch.err) ||
		skip "Tessera cannot be built here: $(tail -n 1 fetch.err)"
	for n in 1 255 256 257 700 66000; do
		# In closed segments too, and of several heads.
		records "$n" >in
		for piece in "1,$((n / 2))p" "$((n / 2 + 1)),\$p"; do
			sed -n "$piece" in | evchain append --key @key --rotate 20K "log$n"
		done
		mkdir "export$n"
		cp -r "log$n.tlog/checkpoint" "log$n.tlog/tile" "export$n"
		reader bundles "log$n" "export$n"
		"$tessera" fsck "$(cat vkey)" "export$n"
	done
	evchain keygen example.com/audit >key2 2>vkey2
	run -1 "$tessera" fsck "$(cat vkey2)" export700
	sed -i 's/"id/"di/' export700/tile/entries/001
	run -1 "$tessera" fsck "$(cat vkey)" export700
	printf x | dd of=export66000/tile/1/000 bs=1 seek=100 conv=notrunc status=none
	run -1 "$tessera" fsck "$(cat vkey)" export66000
}
