#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# Servers that take a login and cannot serve: they are waited for, said once, and nobody is ready before.

load helpers

# feed NAME PROGRAM OPTION…: in the background, fed by descriptor 7.
feed() {
	local name=$1
	shift
	mkfifo "$name.in"
	spawn "$name" sh -c 'in=$1; shift; exec "$@" <"$in"' feed "$name.in" "$@" --metrics "$name.m"
	exec 7>"$name.in"
}

is_ready() {
	grep -q '^evpipe_ready{.*} 1' "$1.m"
}

# waits NAME ERROR: it has said so once, and is not ready.
waits() {
	wait_file_contains "$1.err" "cannot serve: $2"
	wait_for "grep -q '^evpipe_ready{.*} 0' $1.m"
	wait_for "grep -q '^evpipe_outages_total{.*} 1' $1.m"
}

# is_back NAME: it becomes ready, and has said its outage once.
is_back() {
	wait_for "is_ready $1"
	[ "$(grep -c 'trying again' "$1.err")" -eq 1 ]
	grep -q 'is there after' "$1.err"
}

# serves NAME: the same, and it ends.
serves() {
	is_back "$1"
	exec 7>&-
	wait_exit "$1"
	[ "$status" -eq 0 ]
}

@test "a publisher is not ready while the server loads its data" {
	redis_start redis --rdbcompression no
	for i in {1..1000}; do printf "set k%d %0500d\n" "$i" 0; done | rcli >/dev/null
	rcli save
	redis_stop
	REDIS_PORT=$(port_of redis)
	# A key takes 50 ms, all of them too long.
	spawn loading redis-server --bind 127.0.0.1 --port "$REDIS_PORT" --dir "$T" --dbfilename redis.rdb \
		--key-load-delay 50000 --loading-process-events-interval-bytes 1024 </dev/null
	feed pub rpub --raw x
	wait_for "is_ready pub || grep -q LOADING pub.err"
	waits pub LOADING
	stop loading KILL
	wait_exit loading
	redis_start redis
	echo 1 >&7
	serves pub
	redis-cli -p "$REDIS_PORT" info commandstats | grep -q 'cmdstat_publish:calls=1,'
}

@test "a server that was lost and loads its data when it is back is told as such, once" {
	redis_start redis --rdbcompression no
	for i in {1..1000}; do printf "set k%d %0500d\n" "$i" 0; done | rcli >/dev/null
	rcli save
	feed pub rpub --raw x
	wait_for 'is_ready pub'
	redis_stop
	wait_file_contains pub.err 'lost redis'
	spawn loading redis-server --bind 127.0.0.1 --port "$(port_of redis)" --dir "$T" --dbfilename redis.rdb \
		--key-load-delay 50000 --loading-process-events-interval-bytes 1024 </dev/null
	wait_file_contains pub.err 'is reached, and cannot serve: LOADING'
	stop loading KILL
	wait_exit loading
	redis_start redis
	echo 1 >&7
	serves pub
	[ "$(wc -l <pub.err)" -eq 3 ]
}

@test "a sink of streams, and an applier, are not ready where a write would be refused" {
	redis_start
	for how in 'maxmemory 1 0 OOM' 'min-replicas-to-write 1 0 NOREPLICAS'; do
		read -r what on off says <<<"$how"
		n=0
		for program in 'rpub --stream s --raw' 'rpub --stream {topic}' rapply; do
			rcli config set "$what" "$on"
			name=$((++n))-$what
			# shellcheck disable=SC2086 # a program and its options
			feed "$name" $program
			waits "$name" "$says"
			rcli config set "$what" "$off"
			serves "$name"
		done
	done
}

@test "an idle sink is not ready when its server begins to refuse writes" {
	redis_start
	mkfifo store.in app.in
	spawn store sh -c 'exec evcorr store --metrics store.m <store.in'
	spawn app sh -c 'exec rapply --metrics app.m <app.in'
	exec 8>store.in 9>app.in
	feed pub rpub --stream s --raw
	echo '{"topic":"t","partition":0,"offset":0,"payload":["SET","a","1"]}' >&9
	wait_for '[ "$(rcli get a)" = 1 ]'
	for name in pub store app; do wait_for "is_ready $name"; done
	# They find out after five seconds, and after ten: see IDLE_MS.
	rcli config set min-replicas-to-write 1
	for name in pub store app; do waits "$name" NOREPLICAS; done
	rcli config set min-replicas-to-write 0
	for name in store app; do is_back "$name"; done
	exec 8>&- 9>&-
	serves pub
	for name in store app; do
		wait_exit "$name"
		[ "$status" -eq 0 ]
	done
}

@test "a reader of a group waits where it could not acknowledge, and reads where it can" {
	redis_start
	rcli xadd s 1-1 payload a
	rcli config set min-replicas-to-write 1
	spawn sub rsub -s s -g g -c 1 --raw --commit written --metrics sub.m
	waits sub NOREPLICAS
	rcli config set min-replicas-to-write 0
	wait_exit sub
	[ "$status" -eq 0 ]
	[ "$(cat sub.out)" = a ]
}

@test "a sink of streams waits for a server that runs a script, and says it once" {
	redis_start redis --busy-reply-threshold 50
	feed pub rpub --stream s --raw
	wait_for 'is_ready pub'
	rcli eval 'while true do end' 0 >/dev/null 2>&1 &
	wait_for 'rcli ping | grep -q BUSY'
	echo 1 >&7
	wait_file_contains pub.err BUSY
	wait_for 'grep -q "^evpipe_ready{.*} 0" pub.m'
	rcli script kill
	wait "$!" || true
	serves pub
	grep -q '^evpipe_outages_total{.*} 1' pub.m
	[ "$(rcli xlen s)" = 1 ]
}

@test "a writer at a replica says so, and goes on when it is a primary" {
	redis_start
	rcli replicaof 127.0.0.1 1
	feed app rapply
	wait_file_contains app.err 'cannot serve: READONLY'
	rcli replicaof no one
	serves app
}

# link_of NAME: the numbers of the connections of this name.
link_of() {
	rcli client list | sed -n "s/^id=\([0-9]*\) .* name=$1 .*/\1/p" | paste -sd ' '
}

@test "a link that the server closes while it is idle is opened again without a word" {
	redis_start redis --timeout 1
	feed pub rpub --stream s --raw
	mkfifo store.in
	spawn store sh -c 'exec evcorr store --metrics store.m <store.in'
	exec 8>store.in
	for name in pub store; do wait_for "is_ready $name"; done
	for program in rpub evcorr; do
		for _ in 1 2 3; do
			was=$(link_of $program)
			wait_for "now=\$(link_of $program); [ -n \"\$now\" ] && [ \"\$now\" != '$was' ]"
		done
	done
	echo 1 >&7
	exec 7>&- 8>&-
	for name in pub store; do
		wait_exit "$name"
		[ "$status" -eq 0 ]
		[ ! -s "$name.err" ]
		grep -q '^evpipe_outages_total{.*} 0' "$name.m"
	done
	[ "$(rcli xlen s)" = 1 ]
}

@test "a server that goes while nothing is under way is told once" {
	redis_start
	feed pub rpub --stream s --raw
	wait_for 'is_ready pub'
	wait_for "rcli client list | grep -q 'name=rpub .* idle=[2-9]'"
	redis_stop
	wait_file_contains pub.err 'lost redis'
	wait_for "grep -q '^evpipe_ready{.*} 0' pub.m && grep -q '^evpipe_outages_total{.*} 1' pub.m"
	redis_start
	echo 1 >&7
	serves pub
	[ "$(rcli xlen s)" = 1 ]
}

# applied N: so many records of the list.
applied() {
	[ "$(rcli llen l)" = "$1" ]
}

@test "rapply waits through NOREPLICAS and MISCONF, says each once, and loses and repeats nothing" {
	mkdir gone
	redis_start redis --save '3600 1' --dir "$PWD/gone"
	rmdir gone
	feed app rapply
	echo '{"topic":"t","partition":0,"offset":0,"payload":["RPUSH","l","0"]}' >&7
	wait_for 'applied 1'
	rcli config set min-replicas-to-write 1
	for i in {1..300}; do echo "{\"topic\":\"t\",\"partition\":0,\"offset\":$i,\"payload\":[\"RPUSH\",\"l\",\"$i\"]}"; done >&7
	wait_file_contains app.err 'takes no commands: NOREPLICAS'
	wait_for "grep -q '^evpipe_ready{.*} 0' app.m"
	applied 1
	rcli config set min-replicas-to-write 0
	wait_for 'applied 301'
	wait_for 'is_ready app'
	wait_for "grep -q '^evpipe_outages_total{.*} 1' app.m"
	rcli bgsave
	wait_for 'rcli info persistence | grep -q rdb_last_bgsave_status:err'
	for i in {301..600}; do echo "{\"topic\":\"t\",\"partition\":0,\"offset\":$i,\"payload\":[\"RPUSH\",\"l\",\"$i\"]}"; done >&7
	wait_file_contains app.err 'takes no commands: MISCONF'
	wait_for "grep -q '^evpipe_ready{.*} 0' app.m"
	applied 301
	rcli config set stop-writes-on-bgsave-error no
	wait_for 'applied 601'
	exec 7>&-
	wait_exit app
	[ "$status" -eq 0 ]
	diff <(seq 0 600) <(rcli lrange l 0 -1)
	[ "$(grep -c 'takes no commands: ' app.err)" = 2 ]
	[ "$(grep -c 'takes commands again' app.err)" = 2 ]
	[ "$(rcli get evpipe:pos:t:0)" = '600 -' ]
}

# unblocks COMMAND: the client that waits in it gets an error in place of its answer.
unblocks() {
	local id
	id=$(rcli client list | awk -v cmd="cmd=$1" '$0 ~ cmd "( |$)" { sub("id=", "", $1); print $1; exit }')
	[ -n "$id" ] && [ "$(rcli client unblock "$id" error)" = 1 ]
}

# errors CODE: how many of them the server has given.
errors() {
	rcli info errorstats | sed -n "s/^errorstat_$1:count=\([0-9]*\).*/\1/p"
}

# pushes FROM TO: records that push their offset.
pushes() {
	local i
	for ((i = $1; i <= $2; i++)); do
		echo "{\"topic\":\"t\",\"partition\":0,\"offset\":$i,\"payload\":[\"RPUSH\",\"l\",\"$i\"]}"
	done
}

@test "a reader whose wait for entries is ended by an error reads on, once each" {
	redis_start
	rcli xadd s 1-1 payload 1
	spawn one rsub -s s --raw -c 3 --metrics one.m
	wait_lines one.out 1
	for _ in 1 2 3; do wait_for 'unblocks xread'; done
	spawn sub rsub -s s -g g --raw --commit written -c 3 --metrics sub.m
	wait_lines sub.out 1
	for _ in 1 2 3; do wait_for 'unblocks xreadgroup'; done
	[ "$(errors UNBLOCKED)" = 6 ]
	for i in 2 3; do rcli xadd s "$i-1" payload "$i"; done
	for name in one sub; do
		wait_exit "$name"
		[ "$status" -eq 0 ]
		[ "$(paste -sd ' ' "$name.out")" = '1 2 3' ]
		run ! grep -vE 'is made$' "$name.err"
		grep -q '^evpipe_gaps_total{.*} 0' "$name.m"
	done
	[ "$(rcli xpending s g | head -n 1)" = 0 ]
}

@test "a wait for replicas that is ended by an error confirms nothing, loses nothing and repeats nothing" {
	redis_start
	redis_start other
	feed app rapply --wait 1
	pushes 0 1 >&7
	for _ in 1 2 3; do wait_for 'unblocks wait'; done
	wait_file_contains app.err 'UNBLOCKED client unblocked'
	exec 7>&-
	# Its end waits for a replica.
	wait_for 'unblocks wait'
	mkfifo pub.in
	spawn pub sh -c 'exec rpub --stream s --id offset --wait 1 --pass --metrics pub.m <pub.in'
	exec 7>pub.in
	pushes 0 1 >&7
	wait_for '[ "$(rcli xlen s)" = 2 ]'
	exec 7>&-
	wait_for '[ "$(errors UNBLOCKED)" -ge 4 ]'
	for _ in 1 2 3; do wait_for 'unblocks wait'; done
	[ ! -s pub.out ]
	[ "$(grep -c 'fewer than --wait 1' pub.err)" = 1 ]
	alive "$(pid_of app)"
	redis-cli -s other.sock replicaof 127.0.0.1 "$REDIS_PORT"
	for name in app pub; do
		wait_exit "$name"
		[ "$status" -eq 0 ]
	done
	[ "$(wc -l <pub.out)" = 2 ]
	[ "$(redis-cli -s other.sock xlen s)" = 2 ]
	[ "$(rcli lrange l 0 -1 | paste -sd ' ')" = '0 1' ]
}

@test "transactions that are discarded (EXECABORT) are made again: told once, counted once, nothing twice" {
	redis_start
	mkfifo app.in pub.in
	spawn app sh -c 'exec rapply --metrics app.m <app.in'
	spawn pub sh -c 'exec rpub --stream s --id offset --metrics pub.m <pub.in'
	spawn sub rsub -s s -g g --commit written -c 101 --metrics sub.m
	exec 7> >(exec tee app.in >pub.in)
	pushes 0 0 >&7
	wait_for 'applied 1'
	wait_lines sub.out 1
	rcli config set maxmemory 1
	wait_for '[ "$(errors EXECABORT)" -ge 1 ]' # of rsub's questions
	pushes 1 100 >&7
	for name in app pub; do
		wait_file_contains "$name.err" OOM
		wait_for "grep -q '^evpipe_ready{.*} 0' $name.m"
	done
	applied 1
	[ "$(rcli xlen s)" = 1 ]
	rcli config set maxmemory 0
	exec 7>&-
	for name in app pub sub; do
		wait_exit "$name"
		[ "$status" -eq 0 ]
	done
	diff <(seq 0 100) <(rcli lrange l 0 -1)
	diff <(seq 0 100) <(jq -r '.payload | fromjson[2]' sub.out)
	for name in app pub; do
		[ "$(grep -c OOM "$name.err")" = 1 ]
		grep -q '^evpipe_outages_total{.*} 1' "$name.m"
	done
	run ! grep -E 'OOM|EXECABORT' sub.err
}
