#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# evchain: what somebody who can write the files does to them, and what a crash leaves of them.

# shellcheck disable=SC2119,SC2120 # verify gets its options by way of run
load helpers

setup() {
	harness_setup
	evchain keygen example.com/audit >key 2>vkey
}

# records N [FROM]: N records, numbered.
records() {
	seq "${2:-1}" $((${2:-1} + $1 - 1)) | sed 's/.*/{"key":"k&","payload":"{\\"id\\":&}"}/'
}

# chain N [FROM]: appends so many records to the log.
chain() {
	records "$@" | evchain append --key @key log
}

verify() {
	evchain verify --key @vkey "$@" log
}

# restore: the log as save has kept it.
save() {
	rm -rf saved
	mkdir saved
	cp -a log log.* saved/
}
restore() {
	rm -rf log log.*
	cp -a saved/. .
}

# found PATTERN…: verify ends with 1, and each pattern matches one of its sentences; append touches nothing then.
found() {
	local pattern
	run -1 verify
	echo "$output"
	for pattern in "$@"; do
		grep -qE "^evchain: $pattern" <<<"$output"
	done
}
refuses() {
	cat log log.tlog/checkpoint >before
	run -100 evchain append --key @key log </dev/null
	echo "$output"
	[[ $output == "evchain: 'log"*'damaged'* ]]
	cat log log.tlog/checkpoint | cmp - before
}

# ---- entries ----

@test "an entry that was changed is named, and an append refuses to go on" {
	chain 300
	save
	for n in 0 1 254 255 256 299; do
		restore
		sed -i "$((n + 1))s/payload\":\"{/payload\":\"[/" log
		found "entry $n: it was changed"
		[ "$(grep -c '^evchain: entry' <<<"$output")" -eq 1 ]
		refuses
		[[ $output == *"entry $n:"* ]]
	done
}

# bats test_tags=once
@test "a bit that is flipped at any byte of a small log is found" {
	chain 3
	cat >flip.py <<-'EOF'
	import itertools, subprocess, sys
	data = open("log", "rb").read()
	ends = [i for i, b in enumerate(data) if b == 10]
	lines = [range(a, b) for a, b in zip([0] + [e + 1 for e in ends], ends)]
	# A process costs more than what it looks at: the first and the last entry are damaged in one log, the one between them, and
	# the lines' ends, each in a log of its own.
	both = itertools.zip_longest(lines[0], lines[2])
	for at in [[i] for i in [*lines[1], *ends]] + [[i for i in pair if i is not None] for pair in both]:
	    bad = bytearray(data)
	    for i in at:
	        bad[i] ^= (1, 32)[i % 2]
	    open("log", "wb").write(bad)
	    p = subprocess.run(["evchain", "verify", "--key", "@vkey", "log"], capture_output=True, text=True)
	    for i in at:
	        n = sum(1 for e in ends if e < i)
	        if p.returncode != 1 or f"evchain: entry {n}:" not in p.stderr:
	            sys.exit(f"bytes {at}: status {p.returncode}: {p.stderr}")
	open("log", "wb").write(data)
	EOF
	python3 flip.py
	verify
}

# bats test_tags=once
@test "a bit that is flipped at any byte of what stands beside it is found" {
	chain 3
	cat >flip.py <<-'EOF'
	import subprocess, sys
	for name in ("checkpoint", "key.pub", "heads", "tile/0/000.p/3"):
	    path = "log.tlog/" + name
	    data = open(path, "rb").read()
	    # The records of heads are alike: in the last one.
	    for i in range(data.rstrip().rfind(b"\n") + 1 if name == "heads" else 0, len(data)):
	        # Of a head's record the time, which is not signed, may be another one.
	        if name == "heads" and data[i:i + 1].isdigit() and b'"ts":' in data[max(0, i - 20):i] and b"," not in data[max(0, i - 20):i].split(b'"ts":')[-1]:
	            continue
	        open(path, "wb").write(data[:i] + bytes([data[i] ^ 1]) + data[i + 1:])
	        args = [] if name == "key.pub" else ["--key", "@vkey"]
	        p = subprocess.run(["evchain", "verify", *args, "log"], capture_output=True, text=True)
	        if p.returncode != 1:
	            sys.exit(f"{name}: byte {i}: status {p.returncode}: {p.stderr}")
	    open(path, "wb").write(data)
	EOF
	python3 flip.py
	verify
}

@test "entries deleted, inserted, exchanged, copied, merged" {
	chain 300
	save
	sed -i 8d log
	found 'entry 7: it is missing'
	refuses
	restore
	sed -i 8,20d log
	found 'entries 7-19: they are missing'
	restore
	sed -i 1d log
	found 'entry 0: it is missing'
	refuses
	restore
	sed -i '8i some line' log
	found 'entry 7: a line that is no entry stands before it'
	refuses
	restore
	sed -i '8p' log
	found 'entry 7: a line with its number stands behind'
	restore
	sed -i '8{h;d};9{G}' log
	found 'entry 7: (it is missing|a line with its number stands behind entry 8)'
	refuses
	restore
	sed -i '8{N;s/\n/ /}' log
	found 'entry 7: it was changed' 'entry 8: it is missing'
	restore
	sed -i '8s/.*/nothing/' log
	found 'entry 7: it was changed: its line is no entry'
	[ "$(wc -l <<<"$output")" -eq 1 ]
	restore
	sed -i '8s/"n":7/"n":77/' log
	found 'entry 7: it was changed'
	restore
	verify
}

@test "the end is cut off" {
	chain 300
	save
	head -n 290 saved/log >log
	found 'entries 290-299: they are missing'
	refuses
	restore
	truncate -s -1 log
	found 'entry 299: its line is torn'
	refuses
	restore
	: >log
	found 'entries 0-299: they are missing'
	refuses
	restore
	rm log
	found 'entries 0-299: they are missing'
	run -100 evchain append --key @key log </dev/null
}

@test "chain and tiles made anew: the root tells, and the heads tell between which entries" {
	for n in 1 2 3 4; do chain 100; done
	save
	# Somebody without the key makes all anew, with one entry changed: entry 250.
	evchain show --records log | sed '251s/payload/payl0ad/; 251s/payl0ad/payload/; 251s/id/ID/' >forged
	mkdir other
	evchain append other/log <forged
	cp other/log log
	rm -r log.tlog/tile log.tlog/index
	cp -a other/log.tlog/tile other/log.tlog/index log.tlog
	run -1 verify
	echo "$output"
	# Times are others too, so that all entries are.
	[[ $output == *'entries 0-99: they are not those that were signed'* ]]
	refuses
	restore
	cat >forge.py <<-'EOF'
	import base64, hashlib, json, os
	lines = open("log").read().splitlines()
	prev, out, leaves = None, [], []
	for n, line in enumerate(lines):
	    if n == 250:
	        line = line.replace('id', 'ID')
	    if prev:
	        i = line.index('"prev":"') + 8
	        line = line[:i] + prev + line[i + 44:]
	    leaf = hashlib.sha256(b"\0" + line.encode()).digest()
	    leaves.append(leaf)
	    prev = base64.b64encode(leaf).decode()
	    out.append(line)
	open("log", "w").write("\n".join(out) + "\n")
	def root(h):
	    while len(h) > 1:
	        h = [hashlib.sha256(b"\1" + h[i] + h[i + 1]).digest() for i in range(0, len(h), 2)]
	    return h[0]
	open("log.tlog/tile/0/000", "wb").write(b"".join(leaves[:256]))
	open("log.tlog/tile/0/001.p/144", "wb").write(b"".join(leaves[256:]))
	open("log.tlog/tile/1/000.p/1", "wb").write(root(leaves[:256]))
	EOF
	python3 forge.py
	found 'entries 200-299: they are not those that were signed'
	refuses
}

@test "tiles: changed, cut, deleted; an append makes those anew that are missing" {
	chain 700
	save
	printf 'x' | dd of=log.tlog/tile/0/001 bs=1 seek=3200 conv=notrunc status=none
	found "'log.tlog/tile/0/001' is damaged: it has another hash for entry 356, which is as it was signed"
	refuses
	restore
	printf 'x' | dd of=log.tlog/tile/1/000.p/2 bs=1 seek=40 conv=notrunc status=none
	run -1 verify
	refuses
	restore
	truncate -s 100 log.tlog/tile/0/001
	found "'log.tlog/tile/0/001' is missing or too short"
	run -0 evchain append --key @key log </dev/null
	[[ $output == *"1 tile of 'log' is made anew"* ]]
	verify
	rm -r log.tlog/tile log.tlog/index
	chain 1
	verify
	evchain prove log 300 >proof
}

# ---- heads ----

@test "an older state put back is found by a head that was kept elsewhere" {
	chain 100
	save
	chain 100
	cp log.tlog/checkpoint kept
	restore
	verify
	run -1 verify --head kept
	[[ $output == *'the log was rolled back: it has 100 entries, and the head that was given 200'* ]]
	run -1 evchain consistency --key @vkey log kept
	# The same length, other entries, signed with the key.
	chain 100 7
	verify
	run -1 verify --head kept
	[[ $output == *'entries 0-199: they are not those that were signed'* || $output == *'entries 100-199: they are not'* ]]
	run -1 evchain consistency --key @vkey log kept
}

@test "heads rolled back, deleted, of another log or key" {
	chain 100
	cp log.tlog/checkpoint old
	chain 100
	save
	cp old log.tlog/checkpoint
	found "the newest head .*was rolled back: it is of 100 entries, and 200 were signed"
	restore
	rm log.tlog/checkpoint
	found "'log' has no signed head"
	run -100 evchain append --key @key log </dev/null
	restore
	sed -i '$d' log.tlog/heads
	verify
	sed -i 1d log.tlog/heads
	verify
	restore
	evchain keygen example.com/audit >key2 2>vkey2
	run -1 evchain verify --key @vkey2 log
	[[ $output == *'it is not signed by'* ]]
	run -100 evchain append --key @key2 log </dev/null
	[[ $output == *'is signed by another key'* ]]
	records 200 | evchain append --key @key2 other
	cp other.tlog/checkpoint log.tlog/
	found "the newest head .*: it is not signed by a key of the log"
	run -100 evchain append --key @key log </dev/null
}

# ---- what a crash leaves ----

# Two groups behind a head, cut at each byte: the next start cuts the torn line off, keeps all whole ones, and says so.
# Of what is signed nothing may be missing, not even the last line's end.
# bats test_tags=once
@test "a log that is cut at any byte behind its head starts again, and loses no line that was whole" {
	chain 2
	cp -a log.tlog head.tlog
	for n in 3 4; do chain 1 $n; done
	cat >cut.py <<-'EOF'
	import os, shutil, subprocess, sys
	data = open("log", "rb").read()
	signed = len(b"".join(data.splitlines(True)[:2]))
	for at in [0, 1, signed // 2, signed - 2, signed - 1] + list(range(signed, len(data) + 1)):
	    open("log", "wb").write(data[:at])
	    shutil.rmtree("log.tlog")
	    shutil.copytree("head.tlog", "log.tlog")
	    p = subprocess.run(["evchain", "append", "--key", "@key", "log"], input='{"payload":"more"}\n', capture_output=True, text=True)
	    where = f"cut at byte {at}: status {p.returncode}: {p.stderr}"
	    now = open("log", "rb").read()
	    if at < signed:
	        if p.returncode != 100 or now != data[:at]:
	            sys.exit(where)
	        continue
	    whole = data[:at].rfind(b"\n") + 1
	    torn = at - whole
	    if p.returncode != 0 or now[:whole] != data[:whole] or now.count(b"\n") != data[:whole].count(b"\n") + 1:
	        sys.exit(where)
	    if (torn > 0) != (f"{torn} bytes of a group" in p.stderr):
	        sys.exit(where)
	    n = data[:whole].count(b"\n")
	    if torn and open(f"log.tlog/torn-{n}", "rb").read() != data[whole:at]:
	        sys.exit(where)
	    # What was whole, and what came, is the same for all cuts in a line.
	    if torn > 1 and at % 16:
	        continue
	    p = subprocess.run(["evchain", "verify", "--key", "@vkey", "log"], capture_output=True, text=True)
	    if p.returncode:
	        sys.exit(where + p.stderr)
	EOF
	python3 cut.py
}

@test "behind the head: a torn group is cut, and what was synced is never repaired" {
	chain 2
	cp -a log.tlog head.tlog
	for n in 3 4; do records 3 $n | evchain append --key @key log; done
	save
	again() {
		restore
		rm -r log.tlog
		cp -a head.tlog log.tlog
	}
	# Groups: 2-4 and 5-7. In the last one, nobody can tell.
	again
	sed -i '7s/"id/"ID/' log
	run -0 evchain append --key @key log </dev/null
	[[ $output == *'entry 7: it does not follow'* ]]
	[ "$(wc -l <log)" -eq 7 ]
	verify
	# Zeros where a page was not written.
	again
	head -n 6 saved/log >log
	truncate -s +100 log
	echo >>log
	sed -n 8p saved/log >>log
	run -0 evchain append --key @key log </dev/null
	[[ $output == *'entry 6: '*'are cut off and kept'* ]]
	[ "$(wc -l <log)" -eq 6 ]
	verify
	# In the group before, which was synced.
	for change in '4s/"id/"ID/' 4d '4s/.*/x/' '5s/"id/"ID/' '3,5d'; do
		again
		sed -i "$change" log
		run -100 evchain append --key @key log </dev/null
		echo "$output"
		[[ $output == *'it was synced before the entries behind it were written'* ]]
		sed "$change" saved/log | cmp - log
	done
	# heads: a torn last record.
	again
	truncate -s -5 log.tlog/heads
	run -0 evchain append --key @key log </dev/null
	[[ $output == *"heads' was torn"* ]]
	verify
}

# It ends in the midst of a group, which is not written: its entries are in the tree, and no head may sign for them.
# bats test_tags=load
@test "a reader of standard output that goes away leaves a log that goes on, and no head of what was not written" {
	seq 300000 | sed 's/.*/{"payload":"&"}/' >in
	for _ in {1..10}; do
		rm -rf log log.tlog
		evchain append --pass --key @key log <in 2>err | head -n 1 >/dev/null || true
		grep -q 'the reader of standard output has gone' err
		run -0 evchain append --key @key log </dev/null
		run -0 evchain verify --key @vkey log
	done
}

# bats test_tags=load
@test "killed at any time: what was handed on is there, in order, and the chain verifies" {
	records 200000 >in
	handed=0
	for n in 1 2 3 4 5 6; do
		mkfifo "pipe$n"
		spawn "it$n" sh -c "exec evchain append --key @key --pass --head-every 10ms --rotate 300K log <in >pipe$n"
		cat <"pipe$n" >"out$n" &
		wait_for "[ \$(stat -c %s out$n) -gt $((n * n * 10000)) ]"
		kill -KILL "-$(cat "it$n.pid")" || true
		wait_exit "it$n"
		wait $! || true
		run evchain append --key @key log </dev/null
		echo "$output"
		[ "$status" -eq 0 ]
		verify
		# Each run has begun with the first record.
		evchain show --records --number "$handed-" log >run
		head -n "$(grep -c '}$' "out$n")" run | cmp -n "$(head -n "$(grep -c '}$' "out$n")" "out$n" | wc -c)" - "out$n"
		head -n "$(wc -l <run)" in | cmp - run
		handed=$((handed + $(wc -l <run)))
	done
}
