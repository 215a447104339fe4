#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# rapply against a real redis-server; with kread on kmock, or a source that is a test.

load helpers
load ack

setup_file() {
	kmock_start -t unused:1
}

setup() {
	harness_setup
	redis_start
}

# put OFFSET PAYLOAD [MEMBERS]: a record of topic t, partition 0; PAYLOAD is JSON. With a number OFFSET + 1 when
# there is a source.
put() {
	local seq=
	[ -z "${EVPIPE_ACK:-}" ] || seq="\"seq\":\"$RUN:$(($1 + 1))\","
	echo "{$seq\"topic\":\"t\",\"partition\":0,\"offset\":$1,\"payload\":$2${3:+,$3}}"
}

# plain PAYLOAD [MEMBERS]: a record without a position.
plain() {
	echo "{\"payload\":$1${2:+,$2}}"
}

position() {
	rcli get "evpipe:pos:${1:-t:0}"
}

# counter FILE NAME [LABEL]: the value of a counter in a --metrics file.
counter() {
	awk -v name="evpipe_$2" -v label="${3:-}" \
		'index($1, name "{") == 1 && index($1, label) { print $2 }' "$1"
}

# feed [OPTION…]: rapply in the background, fed by descriptor 7.
feed() {
	mkfifo in
	spawn apply sh -c 'exec rapply --metrics m "$@" <in' apply "$@"
	exec 7>in
}

# assign LOW HIGH COMMITTED CLUSTER: of topic t, partition 0, once rapply is there.
assign() {
	wait_file_contains source.out "sink position"
	source_does say "assigned $RUN t 0 $*"
}

# sum_is N: of the example's log.
sum_is() {
	[ "$(rcli get sum)" = "$1" ]
}

# log TOPIC PARTITION FIRST LAST: INCRBY of each number.
log() {
	seq "$3" "$4" | sed 's/.*/["INCRBY","sum","&"]/' | kproduce "$1" -p "$2"
}

# So many that one of them falls behind by more than it keeps on its way.
@test "two rapply at once on one partition apply each record once, and both end" {
	seq 0 119999 | sed 's/.*/{"topic":"t","partition":0,"offset":&,"payload":["INCR","n"]}/' >log
	spawn one sh -c 'exec rapply <log'
	spawn two sh -c 'exec rapply <log'
	wait_exit one
	[ "$status" -eq 0 ]
	wait_exit two
	[ "$status" -eq 0 ]
	[ "$(rcli get n)" = 120000 ]
	[ "$(position)" = '119999 -' ]
}

# ---- what payloads are ----

@test "rapply applies commands, lists of commands and objects, in order" {
	{
		put 0 '["SET","a","1"]'
		put 1 '"[\"SET\",\"b\",\"\\u00e9\"]"'
		put 2 '[["INCRBY","a",41],["RPUSH","l","1","2","3","4","5","6","7","8","9","10"]]'
		put 3 '{"op":"set","key":"c","value":{"x": 1.10},"source":"me"}'
		put 4 '{"op":"HSET","key":"h","field":"f","value":7}'
		put 5 '{"op":"HSET","key":"h","fields":{"g":true,"n":null,"o":[1, 2]}}'
		put 6 '{"op":"DEL","key":"b"}'
		put 7 '{"op":"ZADD","key":"z","args":["1.5","m"]}'
		put 8 '["SET","bytes",{"b64":"AP8K"}]'
	} | rapply
	[ "$(rcli get a)" = 42 ]
	[ "$(rcli exists b)" = 0 ]
	[ "$(rcli llen l)" = 10 ]
	[ "$(rcli get c)" = '{"x": 1.10}' ]
	[ "$(rcli hget h f) $(rcli hget h g) $(rcli hget h o) $(rcli hlen h)" = '7 true [1, 2] 3' ]
	[ "$(rcli zscore z m)" = 1.5 ]
	[ "$(rcli get bytes | xxd -p)" = 00ff0a0a ]
	[ "$(position)" = '8 -' ]
}

@test "rapply: a life is counted from the record's time, so that a replay does not lengthen it" {
	now=$(($(date +%s) * 1000))
	{
		put 0 '{"op":"SET","key":"k","value":"v","ttl_ms":600000}' "\"ts\":$now"
		put 1 '{"op":"RPUSH","key":"l","value":"v","ttl_ms":600000}' "\"ts\":$now"
		put 2 '{"op":"SET","key":"gone","value":"v","ttl_ms":1000}' "\"ts\":$((now - 5000))"
		put 3 '["SET","m","v"]' "\"ts\":$now"
		put 4 '{"op":"EXPIRE","key":"m","ttl_ms":5000000}' "\"ts\":$now"
	} | rapply
	[ "$(rcli pexpiretime k)" = $((now + 600000)) ]
	[ "$(rcli pexpiretime l)" = $((now + 600000)) ]
	[ "$(rcli pexpiretime m)" = $((now + 5000000)) ]
	[ "$(rcli exists gone)" = 0 ]
	run -1 rapply < <(put 5 '{"op":"SET","key":"k","value":"v","ttl_ms":600000}')
	[[ $output == *"counts from the record's time"*"(invalid-record)"* ]]
	# The script that it is has 7000 words at most.
	long() { put "$1" "{\"op\":\"RPUSH\",\"key\":\"long\",\"args\":[$(seq -s, "$2")],\"ttl_ms\":600000}" "\"ts\":$now"; }
	run -1 rapply < <(long 6 6998; long 7 6999)
	[[ $output == *"line 2: a command of more than 7000 words"*"(invalid-record)"* ]]
	[ "$(rcli llen long)" = 6998 ]

	# A record that is refused changes nothing: its life is not that of the key it was wrong about.
	rcli set text x
	now=$(($(date +%s) * 1000))
	for op in '"HSET","field":"f","value":1' '"LPUSH","value":1' '"SADD","value":1' '"INCRBY","value":1' \
		'"ZADD","args":["1","m"]' '"XADD","args":["*","a","b"]' '"HSET","field":"f"' '"NONSENSE"'; do
		put $((10 + n++)) "{\"key\":\"text\",\"op\":$op,\"ttl_ms\":1}" "\"ts\":$((now - 5000))"
	done >in
	put 20 '{"op":"HSET","key":"h","field":"f","value":1,"ttl_ms":600000}' "\"ts\":$now" >>in
	run -1 rapply --dead-letter dead <in
	[ "$(wc -l <dead) $(grep -c wrong-type dead)" = '8 5' ]
	[ "$(rcli get text) $(rcli pexpiretime text)" = 'x -1' ]
	[ "$(rcli pexpiretime h)" = $((now + 600000)) ]
}

@test "rapply ends with 100 where ttl_ms needs EVAL and there is none, and dead-letters nothing" {
	redis_stop redis
	redis_start redis --rename-command EVAL ''
	run -100 rapply --dead-letter dead \
		< <(put 0 '{"op":"RPUSH","key":"l","value":"v","ttl_ms":600000}' '"ts":1700000000000')
	[[ $output == "rapply: redis at "*"refuses a command of line 1: ERR unknown command 'EVAL'"* ]]
	[ ! -s dead ]
	[[ $(position) == -* ]]
}

@test "rapply: a tombstone deletes the record's key, whatever the form" {
	for form in command string hash; do
		rcli set k v
		plain null '"key":"k"' | rapply --as "$form"
		[ "$(rcli exists k)" = 0 ]
		run -1 rapply --as "$form" < <(plain null)
		[[ $output == *"a tombstone without a key (missing-key)"* ]]
	done
}

@test "rapply --as string: the payload's bytes are the value of the record's key" {
	{
		plain '"v\u0000w"' '"key":"a"'
		plain '{"a": 1.10}' '"key":"b"'
		echo '{"payload_b64":"AP8=","key_b64":"/w=="}'
		plain '""' '"key":"e"'
	} | rapply --as string
	[ "$(rcli get a | xxd -p)" = 7600770a ]
	[ "$(rcli get b)" = '{"a": 1.10}' ]
	[ "$(rcli get $'\xff' | xxd -p)" = 00ff0a ]
	[ "$(rcli exists e) $(rcli strlen e)" = '1 0' ]
	run -1 rapply --as string < <(plain '"v"')
	[[ $output == *"a record without a key (missing-key)"* ]]
}

@test "rapply --as hash: the hash becomes the object" {
	{
		plain '{"a":1,"b":"x"}' '"key":"h"'
		plain '{"b":{"c": 1},"n":null}' '"key":"h"'
		plain '{"a":1}' '"key":"i"'
		plain '{}' '"key":"i"'
	} | rapply --as hash
	[ "$(rcli hgetall h)" = $'b\n{"c": 1}' ]
	[ "$(rcli exists i)" = 0 ]
	run -1 rapply --as hash < <(plain '[1]' '"key":"h"')
	[[ $output == *"(invalid-record)"* ]]
}

@test "rapply refuses payloads that are no commands, each with its class, and goes on" {
	rows=('"nonsense" json-decode' '"7" invalid-record' '[] invalid-record' '[[]] invalid-record'
		'[["SET","a","1"],"x"] invalid-record' '["SET","a",null] invalid-record'
		'["SET","a",["b"]] invalid-record' '{"key":"k","value":"v"} invalid-record'
		'{"op":"SET","value":"v"} invalid-record' '{"op":"SET","key":"k"} invalid-record'
		'{"op":"SET","key":"k","value":"v","ttl":5} invalid-record'
		'{"op":"SET","key":"k","value":"v","ttl_ms":0} invalid-record'
		'["SET","a",{"b64":"A"}] invalid-record' '["GETSET"] redis' '["NONSENSE","a"] redis'
		'["LPUSH","text","a"] wrong-type' '["INCR","text"] redis')
	{
		put 0 '["SET","text","x"]'
		n=1
		for row in "${rows[@]}"; do
			put "$n" "${row% *}" '"ts":1'
			put "$((n + 1))" '["INCR","n"]'
			n=$((n + 2))
		done
	} >in
	run -1 rapply --dead-letter dead <in
	for row in "${rows[@]}"; do echo "${row##* }"; done >expected
	jq -r .error.class dead | diff expected -
	[ "$(rcli get n)" = ${#rows[@]} ]
	[ "$(position)" = "$((n - 1)) -" ]

	rows=('-99999999999999999999 not above 0' '0 not above 0' '1.5 no integer' '"5" no integer'
		'9223372036854775807 too large' '99999999999999999999 too large')
	for row in "${rows[@]}"; do
		plain "{\"op\":\"SET\",\"key\":\"k\",\"value\":\"v\",\"ttl_ms\":${row%% *}}" '"ts":0'
	done >in
	run -1 rapply --on-error skip <in
	for n in "${!rows[@]}"; do
		[[ ${lines[n + 1]} == *": line $((n + 1)): \"ttl_ms\" is ${rows[n]#* } (invalid-record)" ]]
	done
	[ "$(rcli exists k)" = 0 ]
}

@test "rapply: a position passes a refused record that is the last" {
	{ put 0 '["SET","a","1"]'; put 1 '"nonsense"'; } >in
	run -1 rapply --dead-letter dead <in
	[ "$(position)" = '1 -' ]
	run -0 rapply --dead-letter dead <in
	[ "$(wc -l <dead)" = 1 ]
}

@test "rapply: a position passes no record that stands before a refused one and has to be sent again" {
	feed --batch 2 --dead-letter dead
	put 0 '["RPUSH","l","0"]' >&7
	wait_for '[ "$(rcli llen l)" = 1 ]'
	rcli client pause 100000 write
	{ for i in 1 2 3; do put "$i" '["RPUSH","l","'"$i"'"]'; done; put 4 '"nonsense"'; } >some
	cat some >&7
	wait_for '[ -s dead ]'
	rcli client kill type normal skipme yes
	rcli client unpause
	exec 7>&-
	wait_exit apply
	[ "$status" -eq 1 ]
	[ "$(rcli lrange l 0 -1)" = "$(seq 0 3)" ]
	[ "$(position)" = '4 -' ]
}

@test "rapply --on-error stop applies nothing behind the record that is refused, and its position stays before it" {
	for bad in '"nonsense"' '["NONSENSE","a"]' '["FLUSHALL"]'; do
		rcli flushall
		{ put 0 '["SET","a","1"]'; put 1 "$bad"; put 2 '["SET","b","1"]'; put 3 '["BAD"]'; } >in
		run -1 rapply <in
		[[ $output == *"line 2"* && $output != *"line 4"* ]]
		[ "$(rcli get a) $(rcli exists b)" = '1 0' ]
		[ "$(position)" = '0 -' ]
	done
}

@test "rapply refuses always what changes the connection, and what is dangerous unless it is allowed" {
	for name in MULTI exec Discard WATCH UNWATCH SELECT AUTH HELLO RESET QUIT CLIENT SUBSCRIBE PSUBSCRIBE \
		SSUBSCRIBE UNSUBSCRIBE PUNSUBSCRIBE SUNSUBSCRIBE MONITOR SYNC PSYNC REPLCONF REPLICAOF SLAVEOF ASKING \
		READONLY READWRITE WAIT WAITAOF; do
		run -1 rapply < <(plain "[\"$name\",\"1\"]")
		[[ $output == *"$name changes the connection"*"(invalid-record)"* ]]
		run -100 rapply --allow "$name" </dev/null
	done
	for name in FLUSHALL flushdb CONFIG DEBUG EVAL EVALSHA EVAL_RO EVALSHA_RO FCALL FCALL_RO SCRIPT FUNCTION KEYS \
		SWAPDB MIGRATE SHUTDOWN ACL MODULE CLUSTER FAILOVER SAVE BGSAVE BGREWRITEAOF; do
		run -1 rapply < <(plain "[\"$name\",\"1\"]")
		[[ $output == *"$name is dangerous"*"--allow $name"*"(invalid-record)"* ]]
	done
	run -100 rapply --allow SET </dev/null
	plain '["EVAL","return redis.call(\"set\",\"e\",ARGV[1])","0","x"]' | rapply --allow eval --allow KEYS
	[ "$(rcli get e)" = x ]
	run -1 rapply < <(put 0 '["SET","evpipe:pos:t:1","5 -"]')
	[[ $output == *"keys that begin with 'evpipe:pos:' are rapply's positions (invalid-record)"* ]]
}

# ---- positions ----

@test "rapply leaves out what Redis has already, without a source too" {
	{ put 0 '["INCR","n"]'; put 1 '["INCR","n"]'; } >one
	{ cat one; put 2 '["INCR","n"]'; } >two
	rapply <one
	rapply <two
	rapply <two
	[ "$(rcli get n)" = 3 ]
	rapply --position other <two
	rapply --position none <two
	[ "$(rcli get n) $(rcli get other:t:0)" = '9 2 -' ]
}

@test "rapply asks for nothing, and warns, where records have no position" {
	run -0 rapply < <(plain '["INCR","n"]')
	[[ $output == *"applied without a position"* ]]
	[ "$(rcli keys 'evpipe*')" = '' ]
}

@test "rapply: a topic that Kafka cannot have has no position" {
	for topic in '' '\u0000x' 'x\u0000'; do
		run -0 rapply <<-END
		{"topic":"$topic","partition":0,"offset":3,"payload":["SET","k","$topic."]}
		END
		[[ $output == *'line 1: records without topic'* ]]
	done
	[ "$(rcli keys 'evpipe:pos:*')" = '' ]
}

@test "rapply answers a source where to begin, goes back when Redis lost its tail, and drops what was read before" {
	source_start
	feed
	assign 0 50 20 kafka-1
	wait_file_contains source.out "start $RUN t 0 0"
	for i in 0 1 2 3; do put "$i" '["RPUSH","l","'"$i"'"]'; done >&7
	wait_file_contains source.out "final $RUN"
	wait_for '[ "$(position)" = "3 kafka-1" ]'
	rcli save
	# Idle: nothing but the look of each second finds it out.
	rcli flushall
	wait_file_contains source.out "back $RUN t 0 0"
	# Still from the old place: dropped, with or without the word that has not come yet.
	for i in 4 5; do put "$i" '["RPUSH","l","'"$i"'"]'; done >&7
	source_does say "from $RUN t 0 7"
	for i in 0 1 2; do put "$i" '["RPUSH","l","'"$i"'"]' | sed "s/:$((i + 1))\"/:$((i + 7))\"/"; done >&7
	wait_for '[ "$(position)" = "2 kafka-1" ]'
	[ "$(rcli lrange l 0 -1)" = $'0\n1\n2' ]
	source_does end 9
	exec 7>&-
	wait_exit apply
	[ "$status" -eq 0 ]
	run ! grep -E "(final|drop|dead) .*[ -](5|6)( |\$)" source.out
	[ "$(counter m position_losses_total)" = 1 ]
}

@test "rapply: Redis is ahead after another process, and what it has is final and not applied" {
	source_start
	rcli set evpipe:pos:t:0 '1 kafka-1'
	feed
	assign 0 50 20 kafka-1
	wait_file_contains source.out "start $RUN t 0 2"
	put 2 '["RPUSH","l","2"]' >&7
	wait_for '[ "$(position)" = "2 kafka-1" ]'
	rcli set evpipe:pos:t:0 '4 kafka-1'
	for i in 3 4 5; do put "$i" '["RPUSH","l","'"$i"'"]'; done >&7
	wait_for '[ "$(position)" = "5 kafka-1" ]'
	source_does end 6
	exec 7>&-
	wait_exit apply
	[ "$status" -eq 0 ]
	[ "$(rcli lrange l 0 -1)" = $'2\n5' ]
	[ "$(heard source | wc -l)" = 0 ]
	grep -E "final $RUN ([0-9 -]*)6" source.out
}

@test "rapply ends with 100 at a position of another topic or cluster, with the key" {
	source_start
	rcli set evpipe:pos:t:0 '99 kafka-1'
	feed
	assign 0 50 - kafka-1
	wait_exit apply
	[ "$status" -eq 100 ]
	grep "the position in redis (key 'evpipe:pos:t:0') is not of this topic" apply.err
	stop source KILL
}

# proves POSITION START STATUS RECORD…: rapply, told of a group without a position, begins at START, gets the records,
# and ends with STATUS.
proves() {
	rm -f commands ack
	rcli set evpipe:pos:t:0 "$1"
	source_start
	spawn apply sh -c 'exec rapply <in'
	exec 7>in
	assign 0 50 - kafka-1
	wait_file_contains source.out "start $RUN t 0 $2"
	source_does end 9
	printf '%s\n' "${@:4}" >&7
	exec 7>&-
	wait_exit apply
	[ "$status" -eq "$3" ] || return 1
	stop source KILL
	wait_exit source
}

@test "rapply: the record at the position comes again, and its time says whether the topic was made anew" {
	mkfifo in
	EVPIPE_ACK=$T/ack
	proves '4 kafka-1 1004' 4 0 "$(put 4 '["RPUSH","l",4]' '"ts":1004')" "$(put 5 '["RPUSH","l",5]' '"ts":1005')"
	[ "$(position) $(rcli lrange l 0 -1 | xargs)" = '5 kafka-1 1005 5' ]
	run ! grep warning apply.err
	# Compacted away, or left out by a filter.
	proves '5 kafka-1 1005' 5 0 "$(put 7 '["RPUSH","l",7]' '"ts":1007')"
	[ "$(position) $(rcli lrange l 0 -1 | xargs)" = '7 kafka-1 1007 5 7' ]
	grep -q "has offset 5 (key 'evpipe:pos:t:0'), and the group has no position" apply.err

	proves '7 kafka-1 1007' 7 100 "$(put 7 '["RPUSH","l",8]' '"ts":1008')"
	grep -q "(key 'evpipe:pos:t:0') is not of this topic: the record at offset 7 that was applied has the time 1007, and the one there now has 1008: the topic was made anew; delete the key" apply.err
	[ "$(position) $(rcli lrange l 0 -1 | xargs)" = '7 kafka-1 1007 5 7' ]
}

@test "rapply ends with 100 at a position of another cluster, and at a key that holds none" {
	source_start
	rcli set evpipe:pos:t:0 '9 kafka-2'
	feed
	assign 0 50 - kafka-1
	wait_exit apply
	[ "$status" -eq 100 ]
	grep "of the kafka cluster kafka-2" apply.err
	unset EVPIPE_ACK
	rcli set evpipe:pos:t:0 'hello'
	run -100 rapply < <(put 0 '["INCR","n"]')
	[[ $output == *"holds no position"* ]]
	# For MGET a key of another type is as good as none.
	rcli del evpipe:pos:t:0
	rcli sadd evpipe:pos:t:0 x
	run -100 rapply < <(put 0 '["INCR","n"]')
	[[ $output == *"the key 'evpipe:pos:t:0' in redis holds no position"* ]]
	[ "$(rcli exists n)" = 0 ]
}

@test "rapply: records that Kafka deleted are a gap: 100, or told and passed with --on-gap go" {
	source_start
	rcli set evpipe:pos:t:0 '9 kafka-1'
	feed
	assign 15 50 - kafka-1
	wait_exit apply
	[ "$status" -eq 100 ]
	grep "gap: kafka has deleted 5 offsets .*from 10 to 14" apply.err
	stop source KILL
	rm -f ack commands in apply.err
	source_start
	feed --on-gap go -q
	assign 15 50 - kafka-1
	wait_file_contains source.out "start $RUN t 0 15"
	grep "gap: kafka has deleted 5 offsets" apply.err
	wait_for '[ "$(counter m gaps_total) $(counter m lost_records_total)" = "1 5" ]'
}

@test "rapply --adopt takes over the group's position, and writes it at once" {
	source_start
	feed --adopt
	assign 0 50 20 kafka-1
	wait_file_contains source.out "start $RUN t 0 20"
	wait_for '[ "$(position)" = "19 kafka-1" ]'
	rcli flushall
	wait_file_contains source.out "back $RUN t 0 0"
}

@test "rapply ends with 100 when a filter splits or reorders records that have a position" {
	source_start
	{ put 0 '["INCR","n"]' | sed 's/:1"/:1.1\/2"/'; put 0 '["INCR","n"]' | sed 's/:1"/:1.2\/2"/'; } >in
	run -100 rapply <in
	[[ $output == *"split or put together"* ]]
	{ put 1 '["INCR","n"]'; put 0 '["INCR","n"]'; } >in
	stop source KILL
	rm -f ack commands
	source_start
	run -100 rapply <in
	[[ $output == *"changes the order"* ]]
}

# ---- with kread ----

@test "kread | rapply: the position in Redis decides, whatever the group has committed" {
	kmock_start -t w:2
	log w 0 1 100
	log w 1 1 100
	run_unit() { timeout 60 evpipe kread -g "$1" -e w '|' rapply; }
	run_unit g
	sum_is 10100
	rcli flushall
	run_unit g
	sum_is 10100
	run_unit other
	sum_is 10100
	log w 1 1 10
	run_unit other
	sum_is 10155
	rcli set evpipe:pos:w:0 "49 $(position w:1 | cut -d' ' -f2)"
	rcli set sum 0
	run_unit g
	sum_is $((5050 - 1275))
}

@test "kread | rapply: emptied under load, Redis is filled again from the beginning" {
	kmock_start -t w:2
	log w 0 1 20000
	log w 1 1 20000
	spawn unit evpipe kread -g g --window 100 w '|' rapply --batch 20
	wait_for '[ "$(rcli get sum)" -gt 1000000 ]'
	rcli flushall
	wait_for 'sum_is 400020000'
	grep -qF 'redis has lost what was applied' unit.err
	stop unit
	wait_exit unit
	[ "$status" -eq 0 ]
	[ "$(rcli get sum)" = 400020000 ]
}

# ---- Redis refuses, or is away ----

@test "rapply waits while Redis has no memory, says so once, and loses nothing" {
	feed
	put 0 '["RPUSH","l","0"]' >&7
	wait_for '[ "$(rcli llen l)" = 1 ]'
	rcli config set maxmemory 1
	for i in {1..50}; do put "$i" '["RPUSH","l","'"$i"'"]'; done >&7
	wait_file_contains apply.err "takes no commands: OOM"
	wait_for '[ "$(counter m errors_total '"'type=\"redis\"'"')" -ge 2 ]'
	wait_for 'grep -q "^evpipe_ready{.*} 0" m'
	rcli config set maxmemory 0
	wait_for '[ "$(rcli llen l)" = 51 ]'
	exec 7>&-
	wait_exit apply
	[ "$status" -eq 0 ]
	[ "$(rcli lrange l 0 -1)" = "$(seq 0 50)" ]
	[ "$(grep -c OOM apply.err)" = 1 ]
	[ "$(grep -c 'takes commands again' apply.err)" = 1 ]
}

@test "rapply leaves a server that has become a replica, and comes back when it takes writes" {
	feed
	put 0 '["RPUSH","l","0"]' >&7
	wait_for '[ "$(rcli llen l)" = 1 ]'
	rcli replicaof 127.0.0.1 1
	put 1 '["RPUSH","l","1"]' >&7
	wait_file_contains apply.err "READONLY"
	wait_for 'grep -q "^evpipe_ready{.*} 0" m'
	rcli replicaof no one
	wait_for '[ "$(rcli llen l)" = 2 ]'
	exec 7>&-
	wait_exit apply
	[ "$status" -eq 0 ]
	[ "$(grep -c READONLY apply.err)" = 1 ]
	[ "$(wc -l <apply.err)" = 2 ]
}

@test "rapply is not ready at a server that takes no writes" {
	rcli config set maxmemory 1
	feed
	wait_for 'grep -q "^evpipe_ready{.*} 0" m'
	put 0 '["SET","a","1"]' >&7
	wait_file_contains apply.err OOM
	run ! grep '^evpipe_ready{.*} 1' m
	rcli config set maxmemory 0
	wait_for '[ "$(rcli get a)" = 1 ]'
	exec 7>&-
	wait_exit apply
	[ "$status" -eq 0 ]
}

@test "rapply: connections that are killed again and again cost nothing" {
	kmock_start -t w:1
	log w 0 1 30000
	spawn unit evpipe kread -g g --window 2000 w '|' rapply --batch 50
	while ! sum_is 450015000; do
		rcli client kill type normal skipme yes >/dev/null || true
		sleep 0.1
	done
	stop unit
	wait_exit unit
	[ "$status" -eq 0 ]
	sum_is 450015000
}

@test "rapply outlives a Redis that is paused, and one that is started again with an old dump" {
	kmock_start -t w:1
	log w 0 1 2000
	spawn unit evpipe --health-grace 60s kread -g g w '|' rapply
	wait_for 'sum_is 2001000'
	rcli save
	rcli client pause 2000
	log w 0 1 2000
	wait_for 'sum_is 4002000'
	redis_stop
	redis_start
	# The dump has the first half.
	wait_for 'sum_is 4002000'
	stop unit
	wait_exit unit
	[ "$status" -eq 0 ]
}

@test "a second applier that was stopped and wakes late changes nothing" {
	kmock_start -t w:1
	mkfifo pipe
	for i in {0..999}; do put "$i" '["INCRBY","sum","'"$i"'"]'; done >all
	mkfifo in
	spawn zombie sh -c 'exec rapply <in'
	exec 7>in
	head -n 100 all >&7
	wait_for '[ "$(position)" = "99 -" ]'
	stop zombie STOP
	sed -n '101,400p' all >&7
	rapply <all
	[ "$(position)" = '999 -' ]
	stop zombie CONT
	exec 7>&-
	wait_exit zombie
	[ "$status" -eq 0 ]
	sum_is 499500
	[ "$(position)" = '999 -' ]
}

@test "rapply --wait: a record is final when the replica has it" {
	redis_start replica
	source_start
	port=$(<replica.port)
	feed --wait 1
	assign 0 50 - kafka-1
	wait_file_contains source.out "start $RUN t 0 0"
	put 0 '["SET","a","1"]' >&7
	wait_file_contains apply.err "0 replicas have the last batch, and --wait asks for 1"
	wait_for '[ "$(counter m wait_shortfalls_total)" -ge 1 ]'
	run ! grep final source.out
	redis-cli -p "$port" replicaof 127.0.0.1 "$REDIS_PORT"
	wait_file_contains source.out "final $RUN 1"
	[ "$(redis-cli -p "$port" get a)" = 1 ]
	source_does end 1
	exec 7>&-
	wait_exit apply
	[ "$status" -eq 0 ]
}

@test "rapply: a user without permission is no record's fault" {
	rcli acl setuser w on '>pw' '~*' +@all -incr
	run -100 rapply -u "redis://w:pw@127.0.0.1:$REDIS_PORT" --dead-letter dead < <(put 0 '["INCR","n"]')
	[[ $output == *NOPERM* ]]
	[ ! -s dead ]
	[ "$(position)" = '- -' ]
	rcli acl setuser w -mget +incr
	run -100 rapply -u "redis://w:pw@127.0.0.1:$REDIS_PORT" --dead-letter dead < <(put 0 '["INCR","n"]')
	[[ $output == *NOPERM* ]]
	# A command of a script.
	rcli acl setuser w +mget -lpush
	lpush='{"op":"LPUSH","key":"l","value":1,"ttl_ms":600000}'
	run -100 rapply -u "redis://w:pw@127.0.0.1:$REDIS_PORT" --dead-letter dead < <(plain "$lpush" '"ts":1')
	[[ $output == *"refuses a command of line 1"*"ACL SETUSER"* ]]
	[ ! -s dead ]
	# Whose position has passed: the record must not be lost.
	run -100 rapply -u "redis://w:pw@127.0.0.1:$REDIS_PORT" --dead-letter dead < <(put 0 "$lpush" '"ts":1')
	[ "$(wc -l <dead) $(position)" = '1 0 -' ]
}

@test "rapply waits when Redis has no memory for a script of a record without a position" {
	feed
	wait_for 'grep -q "^evpipe_ready{.*} 1" m'
	rcli config set maxmemory 1
	plain '{"op":"LPUSH","key":"l","value":1,"ttl_ms":600000}' "\"ts\":$(date +%s)000" >&7
	wait_file_contains apply.err 'takes no commands: OOM'
	rcli config set maxmemory 0
	exec 7>&-
	wait_exit apply
	[ "$status" -eq 0 ]
	[ "$(rcli llen l)" = 1 ]
}

@test "a position without records that redis does not answer: a signal after the end of input ends it with 111" {
	feed --on-error skip
	put 0 '["SET","a","1"]' >&7
	wait_for '[[ $(position) == 0* ]]'
	freeze "$(pid_of redis)"
	put 1 '"none"' >&7
	wait_file_contains apply.err 'line 2'
	exec 7>&-
	# It may not have seen the end yet: then it takes two.
	stop apply
	stop apply INT
	wait_exit apply
	[ "$status" -eq 111 ]
	[ "$(tail -n 1 apply.err)" = "rapply: ended by a signal: positions are not in redis" ]
}
