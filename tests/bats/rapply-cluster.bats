#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# rapply in a cluster of three primaries and three replicas.

load helpers
load ack
load cluster

setup_file() {
	CLUSTER_DIR=$BATS_FILE_TMPDIR
	export CLUSTER_DIR
	cluster_start
	kmock_start -t plain:2 -t moves:2 -t dies:2 -t empty:2 -t rest:2
}

# put OFFSET PAYLOAD [MEMBERS]: a record of topic $TOPIC (t), partition 0; PAYLOAD is JSON.
put() {
	echo "{\"topic\":\"${TOPIC:-t}\",\"partition\":0,\"offset\":$1,\"payload\":$2${3:+,$3}}"
}

ccli() {
	redis-cli -c -p "$(port_of "${NODE:-n1}")" "$@"
}

# counters PREFIX N: the sum of PREFIX0 to PREFIX(N - 1), each in a slot of its own.
counters() {
	local n
	for ((n = 0; n < $2; n++)); do
		ccli get "$1$n"
	done | awk '{ sum += $1 } END { print sum + 0 }'
}

# log TOPIC PARTITION PREFIX FIRST LAST: INCRBY of each number, over 40 keys.
log() {
	seq "$4" "$5" | awk -v p="$3" '{ printf "[\"INCRBY\",\"%s%d\",\"%d\"]\n", p, $1 % 40, $1 }' |
		kproduce "$1" -p "$2"
}

# sum_is PREFIX N
sum_is() {
	[ "$(counters "$1" 40)" = "$2" ]
}

# bats test_tags=smoke
@test "rapply in a cluster: commands of all slots, lists of one slot, and those without a key" {
	for ((i = 0; i < 2000; i++)); do
		put $((3 * i)) "[\"INCRBY\",\"a$((i % 100))\",1]"
		put $((3 * i + 1)) "[[\"RPUSH\",\"{u$((i % 7))}:l\",\"$i\"],[\"INCR\",\"{u$((i % 7))}:n\"]]"
		put $((3 * i + 2)) '["PUBLISH","c","x"]'
	done >all
	rapply -u "$(url)" <all
	[ "$(counters a 100)" = 2000 ]
	diff <(seq 3 7 1999) <(ccli lrange '{u3}:l' 0 -1)
	[ "$(ccli get '{u3}:n')" = "$(seq 3 7 1999 | wc -l)" ]
	# Again: nothing is applied twice.
	rapply -u "$(url)" <all
	[ "$(counters a 100)" = 2000 ]
	[ "$(ccli get '{u3}:n')" = "$(seq 3 7 1999 | wc -l)" ]
}

@test "rapply in a cluster refuses a record over several slots, and a position that has a tag" {
	TOPIC=over
	{
		put 0 '["SET","over1","1"]'
		put 1 '["MSET","over1","2","over2","2"]'
		put 2 '[["SET","over1","3"],["SET","over2","3"]]'
		put 3 '["SET","over2","4"]'
	} >in
	run -1 rapply -u "$(url)" --dead-letter dead <in
	[ "$(ccli get over1) $(ccli get over2)" = '1 4' ]
	[ "$(wc -l <dead)" = 2 ]
	[ "$(grep -c 'keys of the record are of several slots' dead)" = 2 ]
	run -100 rapply -u "$(url)" --position '{x}' <in
	[[ $output == *"has a '{'"* ]]
	ccli sadd other:slots:over:0 x
	run -100 rapply -u "$(url)" --position other <in
	[[ $output == *"refuses the position, key 'other:slots:over:0': WRONGTYPE"* ]]
}

# begins START COMMITTED RECORD: rapply, told so of the group, begins at START, and gets the record as the last one.
begins() {
	rm -f commands ack
	source_start
	spawn apply sh -c "exec rapply -u '$(url)' <pipe"
	exec 7>pipe
	wait_file_contains source.out "sink position"
	source_does say "assigned $RUN $TOPIC 0 0 50 $2 kafka-1"
	wait_file_contains source.out "start $RUN $TOPIC 0 $1"
	source_does end 9
	echo "$3" >&7
	exec 7>&-
	wait_exit apply
	stop source KILL
	wait_exit source
}

@test "rapply in a cluster: the record at the lowest position comes again, and its time says whether it is the topic" {
	TOPIC=again
	mkfifo pipe
	for i in 0 1 2; do
		begins $i $((i + 1)) "$(put $i "[\"RPUSH\",\"again$i\",$i]" "\"seq\":\"$RUN:1\",\"ts\":100$i")"
	done
	begins 2 - "$(put 2 '["RPUSH","again2",2]' "\"seq\":\"$RUN:1\",\"ts\":1002")"
	run ! grep "the group has no position" apply.err
	begins 2 - "$(put 2 '["RPUSH","again2",2]' "\"seq\":\"$RUN:1\",\"ts\":1009")"
	grep -q "is not of this topic: the record at offset 2 that was applied has the time 1002, and the one there now has 1009" apply.err
	[ "$(ccli llen again2)" = 1 ]
}

@test "rapply in a cluster: WRONGTYPE and unknown commands are their records' fault alone" {
	TOPIC=wrong
	{
		put 0 '["SET","wrong","1"]'
		put 1 '["LPUSH","wrong","1"]'
		put 2 '["NOSUCH","wrong"]'
		put 3 '["INCR","wrong"]'
	} >in
	run -1 rapply -u "$(url)" --dead-letter dead <in
	[ "$(ccli get wrong)" = 2 ]
	grep -q '"class":"wrong-type"' dead
	grep -q '"class":"redis"' dead
	[ "$(wc -l <dead)" = 2 ]
	# Nor does a refused record change the life of the key; a list's other commands are applied.
	put 4 '{"op":"LPUSH","key":"wrong","value":1,"ttl_ms":1}' '"ts":1' >in
	put 5 '[["LPUSH","wrong",1],["INCR","wrong"]]' >>in
	put 6 '{"op":"INCRBY","key":"{wrong}n","value":3,"ttl_ms":4000000000000}' '"ts":1' >>in
	run -1 rapply -u "$(url)" --dead-letter dead <in
	[ "$(ccli get wrong) $(ccli pexpiretime wrong) $(ccli pexpiretime '{wrong}n')" = '3 -1 4000000000001' ]
	[ "$(wc -l <dead)" = 4 ]
}

@test "kread | rapply: a slot moves under load, and each command is applied once" {
	local slot from to
	log moves 0 m 1 30000
	log moves 1 m 1 30000
	slot=$(slot_of m7)
	from=$(node_of "$slot")
	to=$(other "$from")
	spawn unit evpipe kread -g g --window 500 moves '|' rapply --batch 100 -u "$(url)"
	wait_for '[ "$(ccli get m7)" -gt 10000 ]'
	move_about "$slot" "$from" "$to" 3
	wait_for 'sum_is m 900030000'
	stop unit
	wait_exit unit
	[ "$status" -eq 0 ]
	sum_is m 900030000
}

# gets NAME…: how often GET was called at these servers.
gets() {
	local n
	for n in "$@"; do
		scli "$n" info commandstats | sed -n 's/^cmdstat_get:calls=\([0-9]*\),.*/\1/p'
	done | awk '{ sum += $1 } END { print sum + 0 }'
}

@test "rapply in a cluster: keys of a record at two nodes are one outage, though positions are read meanwhile" {
	local slot from to before
	TOPIC=parted
	slot=$(slot_of '{split}a')
	from=$(node_of "$slot")
	to=$(other "$from")
	mkfifo pipe
	spawn apply sh -c "exec rapply -u '$(url)' <pipe"
	exec 7>pipe
	put 0 '[["INCR","{split}a"],["INCR","{split}b"]]' >&7
	wait_for '[ "$(ccli get "{split}b")" = 1 ]'
	move_begin "$slot" "$from" "$to"
	scli "$from" migrate 127.0.0.1 "$(port_of "$to")" '{split}b' 0 1000
	put 1 '[["INCR","{split}a"],["INCR","{split}b"]]' >&7
	wait_file_contains apply.err TRYAGAIN
	before=$(gets "$from" "$to")
	wait_for "[ \$(gets $from $to) -gt $((before + 3)) ]"
	move_keys "$slot" "$from" "$to"
	move_end "$slot" "$from" "$to"
	wait_for '[ "$(ccli get "{split}b")" = 2 ]'
	exec 7>&-
	wait_exit apply
	[ "$status" -eq 0 ]
	[ "$(ccli get '{split}a')" = 2 ]
	[ "$(grep -c TRYAGAIN apply.err)" -eq 1 ]
}

@test "kread | rapply --wait 1: a primary is killed under load, and each command is applied once" {
	local from
	log dies 0 d 1 30000
	log dies 1 d 1 30000
	from=$(node_of "$(slot_of d7)")
	spawn unit evpipe kread -g g --window 500 dies '|' rapply -v --batch 100 --wait 1 -u "$(url)"
	wait_for '[ "$(ccli get d7)" -gt 10000 ]'
	redis_stop "$from"
	wait_file_contains unit.err 'is there after'
	cluster_node "$from"
	wait_for 'sum_is d 900030000'
	stop unit
	wait_exit unit
	[ "$status" -eq 0 ]
	sum_is d 900030000
	wait_cluster
}

@test "kread | rapply: one primary of three is emptied under load, and filled again" {
	local from list n
	log empty 0 e 1 20000
	log empty 1 e 1 20000
	from=$(node_of "$(slot_of e7)")
	spawn unit evpipe kread -g g --window 500 empty '|' rapply --batch 100 -u "$(url)"
	wait_for '[ "$(ccli get e7)" -gt 10000 ]'
	scli "$from" flushall
	wait_for 'sum_is e 400020000'
	stop unit
	wait_exit unit
	[ "$status" -eq 0 ]
	grep -q 'redis has lost what was applied' unit.err
	# While nobody looks.
	scli "$from" flushall
	run -0 timeout 60 evpipe kread -g g -e empty '|' rapply -u "$(url)"
	sum_is e 400020000
	# The list's server too, and another applier has begun the list anew with the slots that are left.
	list=evpipe:pos:slots:empty:0
	[ "$(ccli exists "$list")" -eq 1 ]
	scli "$(node_of "$(slot_of "$list")")" flushall
	for ((n = 0; n < 40; n++)); do
		[ "$(ccli exists "e$n")" -eq 0 ] || ccli setbit "$list" "$(slot_of "e$n")" 1
	done
	[ "$(ccli exists "$list")" -eq 1 ]
	run -0 timeout 60 evpipe kread -g g -e empty '|' rapply -u "$(url)"
	sum_is e 400020000
}

@test "kread | rapply: a primary is emptied when the log is at rest: all of its slots come back" {
	local from n
	log rest 0 r 1 4000
	log rest 1 r 1 4000
	spawn unit evpipe kread -g g rest '|' rapply -u "$(url)"
	wait_for 'sum_is r 16004000'
	for n in r1 r2 r3; do
		from=$(node_of "$(slot_of $n)")
		scli "$from" flushall
		wait_for 'sum_is r 16004000'
	done
	stop unit
	wait_exit unit
	[ "$status" -eq 0 ]
}

@test "rapply in a cluster: an applier that was stopped and wakes late changes nothing" {
	TOPIC=late
	for i in {0..999}; do put "$i" "[\"INCRBY\",\"z$((i % 40))\",\"$i\"]"; done >all
	mkfifo in
	spawn zombie sh -c 'exec rapply -u "$0" <in' "$(url)"
	exec 7>in
	head -n 100 all >&7
	wait_for '[ "$(counters z 40)" = 4950 ]'
	stop zombie STOP
	sed -n '101,400p' all >&7
	rapply -u "$(url)" <all
	sum_is z 499500
	stop zombie CONT
	exec 7>&-
	wait_exit zombie
	[ "$status" -eq 0 ]
	sum_is z 499500
}

@test "rapply in a cluster is not ready while one node takes no commands, though another has just answered" {
	local at slot n=0
	TOPIC=some
	at=$(node_of "$(slot_of some)")
	while [ "$(node_of "$(slot_of "else$n")")" = "$at" ]; do n=$((n + 1)); done
	slot=$(scli "$at" cluster nodes | awk '/myself/ { print r[split($9, r, "-")] }')
	mkfifo in
	spawn app sh -c "exec rapply -u $(url) --metrics m <in"
	exec 7>in
	put 0 '["INCR","some"]' >&7
	put 1 "[\"INCR\",\"else$n\"]" >&7
	wait_for '[ "$(ccli get some)$(ccli get "else$n")" = 11 ]'
	scli "$at" cluster delslots "$slot"
	put 2 '["INCR","some"]' >&7
	wait_file_contains app.err CLUSTERDOWN
	freeze "$(pid_of app)"
	scli "$at" config set maxmemory 1
	scli "$at" cluster addslots "$slot"
	put 3 "[\"INCR\",\"else$n\"]" >&7
	stop app CONT
	wait_file_contains app.err 'is there after'
	wait_file_contains app.err 'takes no commands: OOM'
	# Some attempts later.
	wait_for '[ "$(awk "/^evpipe_errors_total.*\"redis\"/ { print \$2 }" m)" -ge 5 ]'
	grep -q '^evpipe_ready{.*} 0' m
	[ "$(ccli get "else$n")" = 2 ]
	scli "$at" config set maxmemory 0
	wait_for '[ "$(ccli get some)" = 2 ]'
	wait_for 'grep -q "^evpipe_ready{.*} 1" m'
	exec 7>&-
	wait_exit app
	[ "$status" -eq 0 ]
	[ "$(grep -c 'takes no commands' app.err) $(grep -c 'trying again' app.err)" = '1 1' ]
}
