#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# rpub and rsub with a cluster: three primaries and three replicas.

load helpers
load cluster

setup_file() {
	CLUSTER_DIR=$BATS_FILE_TMPDIR
	export CLUSTER_DIR
	cluster_start
}

feed() {
	mkfifo in
	spawn pub sh -c 'exec rpub -v --raw -u "$0" "$@" <in' "$(url)" "$@"
	exec 7>in
}

# bats test_tags=smoke
@test "rpub adds entries to the streams of all nodes" {
	local p
	for ((p = 0; p < 3000; p++)); do
		echo "{\"topic\":\"t\",\"partition\":$((p % 30)),\"payload\":\"$p\"}"
	done >records
	run -0 rpub -u "$(url)" --stream 'all-{partition}' <records
	for ((p = 0; p < 30; p++)); do
		diff <(seq $p 30 2999) <(entries all-$p)
	done
}

# across FROM TO STREAMS: a record for each number, in so many streams in turn.
across() {
	seq "$1" "$2" | awk -v n="$3" '{ printf "{\"key\":\"%d\",\"payload\":\"%d\"}\n", $1 % n, $1 }'
}

# reads: how many times the nodes have read from their clients.
reads() {
	local n
	for n in 1 2 3 4 5 6; do
		scli n$n info stats | sed -n 's/^total_reads_processed:\([0-9]*\).*/\1/p'
	done | awk '{ n += $1 } END { print n }'
}

@test "entries for many streams do not wait for each other" {
	local before
	across 0 19999 40 >records
	before=$(reads)
	rpub -u "$(url)" --stream 'many-{key}' <records
	[ "$(($(reads) - before))" -lt 10000 ]
	for p in 0 17 39; do
		diff <(seq "$p" 40 19999) <(entries "many-$p")
	done
}

@test "what one of several streams refuses is refused alone, and the others keep their order" {
	redis-cli -c -p "$(port_of n1)" set some-3 string
	across 0 4999 7 >records
	run -1 --separate-stderr rpub -u "$(url)" --stream 'some-{key}' --dead-letter dead <records
	[ "$(wc -l <dead)" -eq "$(seq 3 7 4999 | wc -l)" ]
	for p in 0 1 2 4 5 6; do
		diff <(seq "$p" 7 4999) <(entries "some-$p")
	done
}

@test "a node has no memory for a moment under load of many streams: each entry once, in order" {
	local name
	mkfifo in
	spawn pub sh -c 'exec rpub -u "$0" --stream "oom-{key}" <in' "$(url)"
	exec 7>in
	across 0 999 9 >&7
	name=$(node_of "$(slot_of oom-1)")
	wait_for '[ "$(scli '"$name"' xlen oom-1)" -gt 100 ]'
	scli "$name" config set maxmemory 1
	across 1000 20999 9 >records
	spawn load sh -c 'exec cat records >in'
	wait_file_contains pub.err OOM
	scli "$name" config set maxmemory 0
	exec 7>&-
	wait_exit load
	wait_exit pub
	[ "$status" -eq 0 ]
	for p in 0 1 2 3 4 5 6 7 8; do
		diff <(seq "$p" 9 20999) <(entries "oom-$p")
	done
}

@test "a slot moves under load of many streams: each entry once, in order" {
	local slot from to
	slot=$(slot_of hop-1)
	from=$(node_of "$slot")
	to=$(other "$from")
	mkfifo in
	spawn pub sh -c 'exec rpub -q -u "$0" --stream "hop-{key}" <in' "$(url)"
	exec 7>in
	across 0 999 9 >&7
	wait_for '[ "$(scli '"$from"' xlen hop-1)" -gt 100 ]'
	across 1000 20999 9 >records
	spawn load sh -c 'exec cat records >in'
	move_about "$slot" "$from" "$to" 3
	exec 7>&-
	wait_exit load
	wait_exit pub
	[ "$status" -eq 0 ]
	for p in 0 1 2 3 4 5 6 7 8; do
		diff <(seq "$p" 9 20999) <(entries "hop-$p")
	done
}

@test "a stream's slot moves to another primary under load: each entry once, in order" {
	local slot from to
	slot=$(slot_of moves)
	from=$(node_of "$slot")
	to=$(other "$from")
	feed --stream moves
	spawn load sh -c 'for i in $(seq 200); do seq $((i * 100 - 99)) $((i * 100)); sleep 0.01; done >in'
	wait_for '[ "$(scli '"$from"' xlen moves)" -gt 300 ]'
	move_about "$slot" "$from" "$to" 3
	exec 7>&-
	wait_exit load
	wait_exit pub
	[ "$status" -eq 0 ]
	diff <(seq 20000) <(entries moves)
}

@test "a slot that comes and goes at once: a stream is never made at both primaries" {
	local slot from to asked
	slot=$(slot_of back)
	from=$(node_of "$slot")
	to=$(other "$from")
	feed --stream back
	echo 1 >&7
	wait_for '[ "$(scli '"$from"' xlen back)" = 1 ]'
	move_begin "$slot" "$from" "$to"
	move_keys "$slot" "$from" "$to"
	echo 2 >&7
	# ASK is followed.
	wait_for '[ "$(scli '"$to"' --raw cluster countkeysinslot '"$slot"') $(redis-cli -c -p "$(port_of n1)" xlen back)" = "1 2" ]'
	asked=$(date +%s%3N)
	move_end "$slot" "$from" "$to"
	move_begin "$slot" "$to" "$from"
	move_keys "$slot" "$to" "$from"
	move_end "$slot" "$to" "$from"
	move_begin "$slot" "$from" "$to"
	# What ASK has said counts for a fifth of a second.
	wait_for '[ $(($(date +%s%3N) - asked)) -gt 300 ]'
	echo 3 >&7
	wait_for '[ "$(scli '"$from"' xlen back)" = 3 ]'
	[ "$(scli "$to" cluster countkeysinslot "$slot")" = 0 ]
	move_keys "$slot" "$from" "$to"
	move_end "$slot" "$from" "$to"
	exec 7>&-
	wait_exit pub
	[ "$status" -eq 0 ]
	diff <(seq 3) <(entries back)
}

@test "a primary is killed under load: nothing is lost" {
	local slot from
	slot=$(slot_of dies)
	from=$(node_of "$slot")
	feed --stream dies --wait 1
	spawn load sh -c 'for i in $(seq 200); do seq $((i * 100 - 99)) $((i * 100)); sleep 0.01; done >in'
	wait_for '[ "$(scli '"$from"' xlen dies)" -gt 300 ]'
	redis_stop "$from"
	wait_file_contains pub.err 'is there after'
	cluster_node "$from"
	exec 7>&-
	wait_exit load
	wait_exit pub
	[ "$status" -eq 0 ]
	entries dies >got
	# What was not acknowledged may be there twice.
	diff <(seq 20000) <(sort -nu got)
	wait_cluster
}

# bats test_tags=once
@test "a primary is killed under load of many streams: nothing is lost" {
	local from
	from=$(node_of "$(slot_of gone-1)")
	mkfifo in
	spawn pub sh -c 'exec rpub -v -u "$0" --stream "gone-{key}" --wait 1 <in' "$(url)"
	exec 7>in
	across 0 999 9 >&7
	wait_for '[ "$(scli '"$from"' xlen gone-1)" -gt 100 ]'
	across 1000 20999 9 >records
	spawn load sh -c 'exec split -l 100 --filter "cat; sleep 0.01" records >in'
	redis_stop "$from"
	wait_file_contains pub.err 'is there after'
	cluster_node "$from"
	exec 7>&-
	wait_exit load
	wait_exit pub
	[ "$status" -eq 0 ]
	for p in 0 1 2 3 4 5 6 7 8; do
		entries "gone-$p" >got
		diff <(seq "$p" 9 20999) <(sort -nu got)
	done
	wait_cluster
}

@test "a primary is stopped until another one has its place, and wakes: what is acknowledged is there" {
	local slot from asked=n1
	wait_cluster
	slot=$(slot_of sleeps)
	from=$(node_of "$slot")
	[ "$from" != n1 ] || asked=n2
	feed --stream sleeps --wait 1 --pass
	spawn load sh -c 'for i in $(seq 100); do seq $((i * 100 - 99)) $((i * 100)); sleep 0.01; done >in'
	wait_for '[ "$(scli '"$from"' xlen sleeps)" -gt 300 ]'
	freeze "$(<"$CLUSTER_DIR/$from.pid")"
	wait_for '[ -n "$(node_of '"$slot $asked"')" ] && [ "$(node_of '"$slot $asked"')" != '"$from"' ]'
	kill -CONT "$(<"$CLUSTER_DIR/$from.pid")"
	exec 7>&-
	wait_exit load
	wait_exit pub
	[ "$status" -eq 0 ]
	diff <(seq 10000) pub.out
	wait_cluster
	diff <(seq 10000) <(entries sleeps | sort -nu)
}

@test "evpipe rsub -s -g acknowledges across a slot that moves; rpub --id offset adds each record once" {
	local slot from to in=bring
	slot=$(slot_of "$in")
	from=$(node_of "$slot")
	to=$(other "$from")
	spawn unit evpipe rsub -u "$(url)" -s "$in" -g g --window 100 '|' rpub -u "$(url)" --stream brought
	seq 1500 | rpub -u "$(url)" --raw --stream "$in"
	wait_for '[ "$(redis-cli -c -p "$(port_of n1)" xlen brought)" -ge 500 ]'
	move_begin "$slot" "$from" "$to"
	move_keys "$slot" "$from" "$to"
	seq 1501 2000 | rpub -u "$(url)" --raw --stream "$in"
	move_end "$slot" "$from" "$to"
	seq 2001 2500 | rpub -u "$(url)" --raw --stream "$in"
	wait_for '[ "$(redis-cli -c -p "$(port_of n1)" --raw xpending '"$in"' g | head -n 1)" = 0 ]'
	wait_for '[ "$(redis-cli -c -p "$(port_of n1)" xlen brought)" -ge 2500 ]'
	stop unit
	wait_exit unit
	[ "$status" -eq 0 ]
	diff <(seq 2500) <(entries brought | sort -nu)
	[ "$(scli "$to" --raw xpending "$in" g | head -n 1)" = 0 ]
}

@test "rpub --stream --id offset while the slot moves: each offset once, in order" {
	local slot from to
	slot=$(slot_of offsets)
	from=$(node_of "$slot")
	to=$(other "$from")
	mkfifo in
	spawn pub sh -c 'exec rpub -u "$0" --stream offsets --id offset <in' "$(url)"
	exec 7>in
	spawn load sh -c 'for i in $(seq 100); do for j in $(seq $((i * 100 - 99)) $((i * 100))); do
		echo "{\"topic\":\"t\",\"partition\":0,\"offset\":$j,\"payload\":\"$j\"}"; done; sleep 0.01; done >in'
	wait_for '[ "$(scli '"$from"' xlen offsets)" -gt 300 ]'
	move_about "$slot" "$from" "$to" 2
	exec 7>&-
	wait_exit load
	wait_exit pub
	[ "$status" -eq 0 ]
	diff <(seq 10000) <(entries offsets)
}

@test "rsub hears at one node what is published at another, and moves when its node is killed" {
	local port name before
	spawn sub rsub -v -u "$(url)" --raw news
	wait_file_contains sub.err 'subscribed at redis at'
	# A busy cluster may make a failover of its own, in which a message is lost.
	wait_for 'published 1 && grep -qx 1 sub.out'
	port=$(sed -n 's/.*subscribed at redis at 127.0.0.1:\([0-9]*\).*/\1/p' sub.err | tail -n 1)
	before=$(grep -c 'subscribed at redis at' sub.err)
	for name in n1 n2 n3 n4 n5 n6; do
		[ "$(port_of "$name")" != "$port" ] || break
	done
	redis_stop "$name"
	wait_for "[ \"\$(grep -c 'subscribed at redis at' sub.err)\" -gt $before ]"
	cluster_node "$name"
	wait_cluster
	wait_for 'published 2 && grep -qx 2 sub.out'
	kill "$(<sub.pid)"
	wait_exit sub
	[ "$status" -eq 0 ]
	grep -q 'gap: ' sub.err
	[ "$(uniq sub.out)" = "$(printf '1\n2')" ]
}

published() {
	echo "{\"payload\":\"$1\"}" | rpub -u "$(url)" news
}

# n1 knows the name $1 of each node, and none that is $2 or missing.
all_named() {
	local slots
	slots=$(scli n1 cluster slots)
	[[ $slots == *"$1"* && $slots != *"$2"* && $slots != *'?'* ]]
}

@test "a cluster whose nodes have names is used by these, and told as the one that gave them" {
	for n in n1 n2 n3 n4 n5 n6; do
		scli $n config set cluster-preferred-endpoint-type hostname
		scli $n config set cluster-announce-hostname localhost
	done
	wait_for 'all_named localhost nowhere'
	seed=redis+cluster://127.0.0.1:$(port_of n1)
	spawn sub rsub -v -u "$seed" --raw names
	wait_file_contains sub.err 'subscribed at redis at localhost:'
	wait_for 'echo 1 | rpub -u "$seed" --raw names && grep -qx 1 sub.out'
	kill "$(<sub.pid)"
	wait_exit sub
	run ! grep -e 'lost redis' -e 'gap:' sub.err
	for n in n1 n2 n3 n4 n5 n6; do scli $n config set cluster-announce-hostname nowhere.invalid; done
	wait_for 'all_named nowhere localhost'
	run -99 rpub -u "$seed" --raw --retry-for 1s --stream x < <(seq 1)
	[[ $output == *"redis at nowhere.invalid:"*", which the cluster has named: "* ]]
	for n in n1 n2 n3 n4 n5 n6; do
		scli $n config set cluster-announce-hostname ''
		scli $n config set cluster-preferred-endpoint-type ip
	done
	wait_for '! scli n1 cluster slots | grep nowhere'
}

@test "a sharded channel is heard at its slot's primary, and where that slot goes" {
	local slot from to
	slot=$(slot_of shard)
	from=$(node_of "$slot")
	to=$(other "$from")
	spawn sub rsub -v -u "$(url)" --raw --shard shard
	wait_file_contains sub.err 'subscribed at redis at'
	run -0 rpub -u "$(url)" --shard --min-receivers 1 shard < <(echo '{"payload":"1"}')
	wait_lines sub.out 1
	move_begin "$slot" "$from" "$to"
	move_end "$slot" "$from" "$to"
	wait_for '[ "$(grep -c "subscribed at redis at" sub.err)" -eq 2 ]'
	run -0 rpub -u "$(url)" --shard --min-receivers 1 shard < <(echo '{"payload":"2"}')
	wait_lines sub.out 2
	kill "$(<sub.pid)"
	wait_exit sub
	[ "$status" -eq 0 ]
	[ "$(cat sub.out)" = "$(printf '1\n2')" ]
	grep -q 'gap: ' sub.err
}

@test "rsub -s follows its stream to another primary: each entry is printed" {
	local slot from to
	slot=$(slot_of read)
	from=$(node_of "$slot")
	to=$(other "$from")
	spawn sub rsub -u "$(url)" --raw -s read -g g --commit written --from 0
	seq 1000 | rpub -u "$(url)" --raw --stream read
	wait_lines sub.out 1000
	move_begin "$slot" "$from" "$to"
	move_keys "$slot" "$from" "$to"
	seq 1001 2000 | rpub -u "$(url)" --raw --stream read
	wait_lines sub.out 2000
	move_end "$slot" "$from" "$to"
	seq 2001 3000 | rpub -u "$(url)" --raw --stream read
	wait_lines sub.out 3000
	kill "$(<sub.pid)"
	wait_exit sub
	[ "$status" -eq 0 ]
	diff <(seq 3000) sub.out
}

# readers_are FILE PREFIX N: it has each of 1 to N once, and those of a stream in their order.
readers_are() {
	diff <(seq "$3") <(sort -n "$1") && awk -v n="$3" '{ i = $1 % 8; if ($1 < last[i]) exit 1; last[i] = $1 }' "$1"
}

@test "a cluster that is down is told once, and once when it is there, however often it refuses" {
	local at slot
	at=$(node_of "$(slot_of down)")
	spawn sub rsub -u "$(url)" --raw --metrics sub.m -s down
	feed --stream down --wait 1 --metrics pub.m
	for m in sub.m pub.m; do wait_for "grep -q '^evpipe_ready{.*} 1' $m"; done
	# Without one of its slots a node refuses all commands.
	slot=$(scli "$at" cluster nodes | awk '/myself/ { split($9, r, "-"); print r[1] }')
	scli "$at" config resetstat
	scli "$at" cluster delslots "$slot"
	echo x >&7
	wait_for 'scli '"$at"' info errorstats | grep -qE "CLUSTERDOWN:count=(1[0-9]|[2-9][0-9])"'
	for m in sub.m pub.m; do wait_for "grep -q '^evpipe_ready{.*} 0' $m"; done
	scli "$at" cluster addslots "$slot"
	wait_lines sub.out 1
	for name in sub pub; do
		wait_for "grep -q '^evpipe_ready{.*} 1' $name.m"
		wait_for "grep -q '^evpipe_outages_total{.*} 1' $name.m"
		[ "$(grep -c 'is there after' "$name.err")" = 1 ]
		[ "$(grep -c 'CLUSTERDOWN The cluster is down; trying again' "$name.err")" = 1 ]
	done
	exec 7>&-
	wait_exit pub
	[ "$status" -eq 0 ]
}

@test "one rsub reads streams of several primaries, and follows one whose slot moves" {
	local slot from to names=()
	for n in {0..7}; do names+=(-s "many$n"); done
	spawn sub rsub -v -u "$(url)" --raw "${names[@]}" -g g --commit written
	for ((p = 1; p <= 4000; p++)); do echo "{\"channel\":\"many$((p % 8))\",\"payload\":\"$p\"}"; done >records
	head -n 2000 records | rpub -u "$(url)" --stream '{channel}'
	wait_lines sub.out 2000
	slot=$(slot_of many3)
	from=$(node_of "$slot")
	to=$(other "$from")
	move_begin "$slot" "$from" "$to"
	move_keys "$slot" "$from" "$to"
	move_end "$slot" "$from" "$to"
	tail -n 2000 records | rpub -u "$(url)" --stream '{channel}'
	wait_lines sub.out 4000
	kill "$(<sub.pid)"
	wait_exit sub
	[ "$status" -eq 0 ]
	readers_are sub.out many 4000
	for n in {0..7}; do
		[ "$(redis-cli -c -p "$(port_of n1)" --raw xpending "many$n" g | head -n 1)" = 0 ]
	done
	run -0 --separate-stderr rsub -u "$(url)" --raw -e "${names[@]}"
	readers_are <(echo "$output") many 4000
	run -0 --separate-stderr rsub -u "$(url)" --raw -c 100 "${names[@]}"
	[ "${#lines[@]}" -eq 100 ]
}

@test "one rsub of several primaries acknowledges what is delivered, within its window" {
	local names=()
	for n in {0..7}; do names+=(-s "acked$n"); done
	for ((p = 1; p <= 3000; p++)); do echo "{\"channel\":\"acked$((p % 8))\",\"payload\":\"$p\"}"; done |
		rpub -u "$(url)" --stream '{channel}'
	run -0 timeout 60 evpipe rsub -u "$(url)" "${names[@]}" -g g --window 64 -e '|' rpub -u "$(url)" --stream all
	diff <(seq 3000) <(entries all | sort -n)
	for n in {0..7}; do
		[ "$(redis-cli -c -p "$(port_of n1)" --raw xpending "acked$n" g | head -n 1)" = 0 ]
	done
}

@test "one rsub hears sharded channels of several primaries, and is ready when it hears all" {
	local names=()
	for n in {0..7}; do names+=("sharded$n"); done
	spawn sub rsub -v -u "$(url)" --metrics m --shard "${names[@]}"
	wait_for '[ "$(grep -c "subscribed at redis at" sub.err)" -eq 8 ]'
	wait_for 'grep -q "^evpipe_ready{.*} 1" m'
	for n in {0..7}; do echo "{\"channel\":\"sharded$n\",\"payload\":\"$n\"}"; done |
		rpub -u "$(url)" --shard --min-receivers 1 '{channel}'
	wait_lines sub.out 8
	valid_metrics m
	kill "$(<sub.pid)"
	wait_exit sub
	[ "$status" -eq 0 ]
	diff <(seq 0 7) <(jq -r .payload sub.out | sort -n)
}

@test "rpub and rsub end with 100 at what a cluster cannot do, and where there is none" {
	run -100 rpub -u "$(url)" --min-receivers 1 x </dev/null
	[[ $output == *"--min-receivers goes with --shard"* ]]
	run -100 rsub -u "$(url)" --shard -p 'x*'
	[[ $output == *"--shard is for channels"* ]]
	redis_start plain
	echo '{"payload":"1"}' >in
	run -100 rpub -u "redis+cluster://127.0.0.1:$(port_of plain)" x <in
	[[ $output == *"is no cluster"*"cluster support disabled"* ]]
	run -100 rsub -u "redis+cluster://127.0.0.1:$(port_of plain)" --shard x
	[[ $output == *"is no cluster"* ]]
	for program in 'rsub x' 'rsub -p x*' 'rsub -s x' rapply; do
		# shellcheck disable=SC2086 # words
		run -100 timeout 60 $program -u "redis+cluster://127.0.0.1:$(port_of plain)" <in
		[[ $output == *"is no cluster"* ]]
	done
	# A node of a cluster, named as if it were alone.
	alone=redis://127.0.0.1:$(port_of "$(other "$(node_of "$(slot_of x)")")")
	echo '{"payload":["SET","x","1"]}' >in
	for program in 'rpub --stream x' 'rpub --shard x' 'rsub -s x' 'rsub --shard x' rapply; do
		# shellcheck disable=SC2086 # words
		run -100 timeout 60 $program -u "$alone" <in
		[[ $output == *"MOVED "*"its URL is redis+cluster://"* ]]
	done
	run -100 rpub -u "redis://127.0.0.1:$(port_of plain)/" --stream x --shard <in
	[[ $output == *"--shard is for a channel"* ]]
}

@test "rpub and rsub have sharded channels at a single server, too" {
	redis_start single
	spawn sub rsub -v -u "redis://127.0.0.1:$(port_of single)" --raw --shard a b
	wait_file_contains sub.err 'subscribed at redis at'
	run -0 rpub -u "redis://127.0.0.1:$(port_of single)" --shard '{channel}' \
		< <(printf '%s\n' '{"channel":"a","payload":"1"}' '{"channel":"b","payload":"2"}')
	wait_lines sub.out 2
	kill "$(<sub.pid)"
	wait_exit sub
	[ "$status" -eq 0 ]
	[ "$(cat sub.out)" = "$(printf '1\n2')" ]
}

@test "one seed that is there suffices: it names the others" {
	run -0 rpub -u "redis+cluster://127.0.0.1:1,127.0.0.1:$(port_of n1)" --raw --stream learned < <(seq 100)
	diff <(seq 100) <(entries learned)
}
