#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# rsub and rpub with sentinels, real ones and one that says what a test wants it to say.

load helpers

setup_file() {
	make_certs
}

# url [SCHEME]: of the sentinels of sentinels_start or fakes_start.
url() {
	echo "${1:-redis+sentinel}://$SENTINELS/mymaster"
}

# fakes_start N: fake sentinels f1, f2, …; say NAME COMMAND tells one what to do.
fakes_start() {
	local n port
	SENTINELS=
	for ((n = 1; n <= $1; n++)); do
		port=$(free_port)
		mkfifo "f$n.in"
		spawn "f$n" "$ROOT/tests/bats/fake-sentinel" "$port" "id-$n" "f$n.in" </dev/null
		wait_file_contains "f$n.out" listening
		SENTINELS+=${SENTINELS:+,}127.0.0.1:$port
	done
}
say() {
	local before
	before=$(grep -cx "did ${*:2}" "$1.out" || true)
	echo "${*:2}" >"$1.in"
	wait_for "[ \$(grep -cx 'did ${*:2}' $1.out) -gt $before ]"
}

# counter FILE NAME: the value of a counter in a --metrics file.
counter() {
	awk -v name="evpipe_$2" '{ sub(/\{.*\}/, "", $1) } $1 == name { print $2 }' "$1"
}

# feed OPTION…: rpub on the channel x in the background, fed by descriptor 7.
feed() {
	mkfifo in
	spawn pub sh -c 'exec rpub -v --raw --metrics m "$@" x <in' pub "$@"
	exec 7>in
}

# subscribers NAME: of the channel x at a server.
subscribers() {
	scli "$1" pubsub numsub x | tail -n 1
}

# calls NAME: how often PUBLISH was called there.
calls() {
	scli "$1" info commandstats | sed -n 's/^cmdstat_publish:calls=\([0-9]*\),.*/\1/p'
}

# bats test_tags=smoke
@test "rsub and rpub move to the primary that a failover has made, by command" {
	redis_start
	replica_start r1
	sentinels_start 3
	spawn sub rsub -u "$(url)" --raw --metrics ms x
	wait_for '[ "$(subscribers redis)" -eq 1 ]'
	feed -u "$(url)"
	echo 1 >&7
	wait_lines sub.out 1
	failover s2
	wait_for '[ "$(subscribers r1)" -eq 1 ]'
	echo 2 >&7
	wait_lines sub.out 2
	exec 7>&-
	wait_exit pub
	[ "$status" -eq 0 ]
	[ "$(tail -n 1 sub.out)" = 2 ]
	# The old primary is one for ten seconds more, and its links are well: not they are why.
	for name in pub sub; do
		grep -q "lost redis at 127.0.0.1:$REDIS_PORT: the sentinels name 127.0.0.1:$(port_of r1) as the primary" $name.err
	done
	grep -q 'gap: ' sub.err
	# Sentinels that ran late may have gone back and forth.
	wait_for '[ "$(counter ms gaps_total)" -eq "$(grep -c "gap: " sub.err)" ]'
}

@test "rpub loses nothing, and rsub moves, when a primary is killed" {
	redis_start
	replica_start r1
	replica_start r2
	DOWN_AFTER_MS=500 sentinels_start 3
	spawn sub rsub -u "$(url)" --raw x
	wait_for '[ "$(subscribers redis)" -eq 1 ]'
	feed -u "$(url)"
	seq 3 >&7
	wait_lines sub.out 3
	redis_stop
	wait_file_contains sub.err 'gap: '
	seq 4 300 >&7
	exec 7>&-
	wait_exit pub
	[ "$status" -eq 0 ]
	wait_lines sub.out 300
	[ "$(counter m messages_forwarded_total)" -eq 300 ]
	[ "$(awk '!seen[$0]++' sub.out | tail -n 1)" = 300 ]
}

# named NAME…: which of these servers the sentinels have for the primary.
named() {
	local port name
	port=$(scli s1 sentinel get-master-addr-by-name mymaster | tail -n 1)
	for name in "$@"; do [ "$(port_of "$name")" -ne "$port" ] || echo "$name"; done
}

@test "a group on a stream loses no entry over failovers, by command and by kill" {
	local primary
	redis_start
	replica_start r1
	replica_start r2
	kmock_start -t out:1
	DOWN_AFTER_MS=1000 sentinels_start 3
	spawn unit evpipe rsub -u "$(url)" -g g -s s '|' kwrite -t out </dev/null
	mkfifo in
	spawn pub sh -c 'exec rpub --raw --stream s --wait 1 -u "$1" <in' pub "$(url)"
	exec 7>in
	got() { kread -q -e --raw out >got && [ "$(sort -u got | wc -l)" -ge "$1" ]; }
	seq 1000 >&7
	wait_for 'got 1000'
	failover s2
	wait_for '[ -n "$(named r1 r2)" ]'
	primary=$(named r1 r2)
	seq 1001 2000 >&7
	wait_for 'got 2000'
	redis_stop "$primary"
	seq 2001 3000 >&7
	wait_for 'got 3000'
	exec 7>&-
	wait_exit pub
	[ "$status" -eq 0 ]
	stop unit
	wait_exit unit
	[ "$status" -eq 0 ]
	kread -q -e --raw out | awk '!seen[$0]++' | diff - <(seq 3000)
}

@test "rpub learns the other sentinels, and goes on when those that it was told of are dead" {
	redis_start
	replica_start r1
	sentinels_start 3
	feed -u "redis+sentinel://127.0.0.1:$(free_port),127.0.0.1:$(port_of s1)/mymaster"
	echo 1 >&7
	wait_for '[ "$(counter m messages_forwarded_total)" -eq 1 ]'
	# Two links to each.
	wait_for '[ "$(scli s3 client list | grep -c name=rpub)" -eq 2 ]'
	wait_for '[ "$(scli s2 client list | grep -c name=rpub)" -eq 2 ]'
	server_stop s1 KILL
	failover s3
	wait_file_contains pub.err "127.0.0.1:$(port_of r1) is there"
	echo 2 >&7
	exec 7>&-
	wait_exit pub
	[ "$status" -eq 0 ]
}

@test "a server that a sentinel names is used only if it is a primary" {
	redis_start
	replica_start r1
	fakes_start 1
	say f1 name "$(port_of r1)"
	feed -u "$(url)"
	echo 1 >&7
	wait_file_contains pub.err "redis at 127.0.0.1:$(port_of r1) is a replica, though the sentinels name it"
	[ -z "$(calls r1)" ]
	scli r1 replicaof no one
	exec 7>&-
	wait_exit pub
	[ "$status" -eq 0 ]
	[ "$(calls r1)" -eq 1 ]
	[ "$(grep -c 'replica' pub.err)" -eq 1 ]
}

@test "a server that sentinels name, and nobody reaches, is told as theirs" {
	fakes_start 1
	say f1 name "$(free_port)"
	run -99 rpub -u "$(url)" --retry-for 1s --raw x < <(seq 1)
	[[ $output == *"cannot reach redis at 127.0.0.1:"*", which the sentinels have named: Connection refused"* ]]
}

@test "the sentinel that has changed its word is followed, however many have not" {
	redis_start
	redis_start r1
	fakes_start 3
	for f in f1 f2 f3; do say $f name "$REDIS_PORT"; done
	feed -u "$(url)"
	echo 1 >&7
	wait_for '[ "$(counter m messages_forwarded_total)" -eq 1 ]'
	say f2 name "$(port_of r1)"
	say f2 publish
	wait_file_contains pub.err "127.0.0.1:$(port_of r1) is there"
	# One that goes and comes back with its old word has changed nothing.
	say f1 leave
	say f1 back
	asked=$(grep -cx asked f1.out)
	wait_for "[ \$(grep -cx asked f1.out) -gt $asked ]"
	say f3 publish
	echo 2 >&7
	wait_for '[ "$(counter m messages_forwarded_total)" -eq 2 ]'
	[ "$(calls r1)" -eq 1 ]
	say f3 name "$(port_of r1)"
	say f3 publish
	echo 3 >&7
	wait_for '[ "$(counter m messages_forwarded_total)" -eq 3 ]'
	[ "$(calls r1)" -eq 2 ]
	# Back again: the last one to change.
	say f2 name "$REDIS_PORT"
	say f2 publish
	wait_for '[ "$(grep -c "there after" pub.err)" -eq 2 ]'
	echo 4 >&7
	exec 7>&-
	wait_exit pub
	[ "$(calls redis)" -eq 2 ]
}

@test "most sentinels are right at the start, and one that is out of date is not" {
	redis_start
	redis_start r1
	fakes_start 3
	say f1 name "$(port_of r1)"
	say f2 silent
	say f3 silent
	feed -u "$(url)"
	wait_for '[ "$(scli r1 client list | grep -c name=rpub)" -eq 1 ]'
	say f2 name "$REDIS_PORT"
	say f3 name "$REDIS_PORT"
	say f2 talk
	say f3 talk
	wait_for '[ "$(rcli client list | grep -c name=rpub)" -eq 1 ]'
	echo 1 >&7
	exec 7>&-
	wait_exit pub
	[ "$status" -eq 0 ]
	[ "$(calls redis)" -eq 1 ]
}

@test "answers of a primary that slept are no acknowledgement before a sentinel has been asked" {
	redis_start
	redis_start r1
	fakes_start 1
	say f1 name "$REDIS_PORT"
	feed -u "$(url)"
	echo 1 >&7
	wait_for '[ "$(counter m messages_forwarded_total)" -eq 1 ]'
	say f1 silent
	freeze "$(cat redis.pid)"
	seq 2 50 >&7
	wait_for '[ "$(counter m records_in_total)" -eq 50 ]'
	until=$((SECONDS + 3))
	wait_for "[ $until -le \$SECONDS ]"
	kill -CONT "$(cat redis.pid)"
	# It has published them, and says so.
	wait_for '[ "$(calls redis)" -eq 50 ]'
	wait_for '[ "$(rcli client list | grep -c "name=rpub.*cmd=role")" -eq 1 ]'
	[ "$(counter m messages_forwarded_total)" -eq 1 ]
	say f1 name "$(port_of r1)"
	say f1 talk
	exec 7>&-
	wait_exit pub
	[ "$status" -eq 0 ]
	[ "$(calls r1)" -eq 49 ]
	[ "$(counter m messages_forwarded_total)" -eq 50 ]
}

@test "a primary that slept, and is still the one that is named, is believed" {
	redis_start
	fakes_start 1
	say f1 name "$REDIS_PORT"
	feed -u "$(url)"
	echo 1 >&7
	wait_for '[ "$(counter m messages_forwarded_total)" -eq 1 ]'
	freeze "$(cat redis.pid)"
	echo 2 >&7
	until=$((SECONDS + 3))
	wait_for "[ $until -le \$SECONDS ]"
	kill -CONT "$(cat redis.pid)"
	exec 7>&-
	wait_exit pub
	[ "$status" -eq 0 ]
	[ "$(calls redis)" -eq 2 ]
}

@test "a name that no sentinel knows, and a server that is no sentinel, end with 100" {
	redis_start
	replica_start r1
	sentinels_start 1
	echo 1 >in
	run -100 rpub -u "redis+sentinel://$SENTINELS/nomaster" --raw --dead-letter dead x <in
	[[ $output == *"knows no primary of the name 'nomaster'"* ]]
	[ ! -e dead ] || [ ! -s dead ]
	run -100 rsub -u "redis+sentinel://127.0.0.1:$REDIS_PORT/mymaster" x </dev/null
	[[ $output == *'is no sentinel'* ]]
	run -100 rsub -u "redis+sentinel://$SENTINELS" x </dev/null
	[[ $output == *'names no master'* ]]
	run -100 rsub -u "redis://$SENTINELS,127.0.0.1:1" x </dev/null
	[[ $output == *'has one host'* ]]
}

@test "a sentinel in the place of the server ends with 100 and the remedy; its own channels may be read" {
	redis_start
	replica_start r1
	sentinels_start 1
	for url in "redis://$SENTINELS" "unix:$T/s1.sock" "redis+cluster://$SENTINELS"; do
		for program in 'rsub x' 'rsub +switch-master x' 'rsub -p x*' 'rsub -s x' 'rpub --raw x' 'rpub --raw --stream x' \
			rapply 'evcorr store' 'evcorr wait x'; do
			# shellcheck disable=SC2086 # it has arguments
			run -100 $program -u "$url" </dev/null
			[[ $output == *'is a sentinel: name the server itself, or all sentinels with redis+sentinel://'* ]]
		done
	done
	spawn events rsub -u "redis://$SENTINELS" --raw +failover-end -p '+switch-*' -v
	wait_file_contains events.err subscribed
	failover s1
	wait_file_contains events.out "mymaster 127.0.0.1 $REDIS_PORT 127.0.0.1 $(port_of r1)"
	stop events
	wait_exit events
	[ "$status" -eq 0 ]
}

@test "sentinels that cannot be reached are waited for, and said once" {
	port=$(free_port)
	spawn pub rpub -u "redis+sentinel://127.0.0.1:$port/mymaster" --raw x
	wait_file_contains pub.err "no sentinel names the primary 'mymaster': the sentinel at 127.0.0.1:$port: Connection refused"
	redis_start
	replica_start r1
	SENTINELS=
	echo "$port" >s1.port
	printf '%s\n' "port $port" 'bind 127.0.0.1' "dir $T" \
		"sentinel monitor mymaster 127.0.0.1 $REDIS_PORT 1" >s1.conf
	spawn s1 redis-server s1.conf --sentinel </dev/null
	wait_file_contains pub.err 'is there'
	[ "$(grep -c 'no sentinel names' pub.err)" -eq 1 ]
}

@test "sentinels that all go away are told once, and so is that one is back" {
	redis_start
	fakes_start 2
	say f1 name "$REDIS_PORT"
	say f2 name "$REDIS_PORT"
	feed -u "$(url)"
	echo 1 >&7
	wait_for '[ "$(counter m messages_forwarded_total)" -eq 1 ]'
	say f1 leave
	say f2 leave
	wait_file_contains pub.err "no sentinel of 'mymaster' answers any more: the sentinel at 127.0.0.1:"
	echo 2 >&7
	wait_for '[ "$(counter m messages_forwarded_total)" -eq 2 ]'
	say f2 back
	wait_file_contains pub.err "a sentinel of 'mymaster' answers again"
	exec 7>&-
	wait_exit pub
	[ "$status" -eq 0 ]
	[ "$(grep -c "sentinel of 'mymaster'" pub.err)" -eq 2 ]
}

@test "sentinels have a user and a password of their own, and nothing of the server's" {
	redis_start redis --requirepass server
	redis_start r1 --replicaof 127.0.0.1 "$REDIS_PORT" --requirepass server --masterauth server
	export REDISCLI_AUTH=server
	wait_for "scli r1 info replication | grep -q master_link_status:up"
	REDISCLI_AUTH=sent sentinels_start 1 'sentinel auth-pass mymaster server' 'requirepass sent' \
		'user watch on >w +@all ~* &*'
	echo sent >sent
	echo w >watch
	seq 1 | rpub -u "$(url)" --sentinel-password-file sent --raw x
	seq 1 | rpub -u "$(url)" --sentinel-user watch --sentinel-password-file watch --raw x
	echo 1 >in
	run -100 rpub -u "$(url)" --raw x <in
	[[ $output == *'the sentinel at '*'wants a password: give it by --sentinel-password-file'* ]]
	echo server >server
	run -100 rpub -u "$(url)" --password-file server --raw x <in
	[[ $output == *'the sentinel at '*'wants a password'* ]]
	unset REDISCLI_AUTH
	run -100 rpub -u "$(url)" --sentinel-password-file sent --raw x <in
	[[ $output == *'redis at '*'wants a password'* ]]
	seq 1 | rpub -u "redis+sentinel://:server@$SENTINELS/mymaster" --sentinel-password-file sent --raw x
}

@test "sentinels and their servers speak TLS or not, each by itself" {
	tls=("tls-cert-file $CERTS/address.pem" "tls-key-file $CERTS/address.key" "tls-ca-cert-file $CERTS/ca.pem"
		'tls-auth-clients no')
	redis_start
	replica_start r1
	port=$(free_port)
	sentinels_start 1 "tls-port $port" "${tls[@]}"
	seq 1 | rpub -u "redis+sentinels://127.0.0.1:$port/mymaster" --cacert "$CERTS/ca.pem" --raw x
	echo 1 >in
	run -100 rpub -u "redis+sentinels://127.0.0.1:$port/mymaster" --cacert "$CERTS/other-ca.pem" --raw x <in
	[[ $output == *'the sentinel at '*'from no CA that is trusted here'* ]]
	run -100 rpub -u "redis+sentinels://127.0.0.1:$(port_of s1)/mymaster" --cacert "$CERTS/ca.pem" --raw x <in
	[[ $output == *'the sentinel at '*'does not speak TLS at this port'* ]]
	run -100 rpub -u "rediss+sentinels://127.0.0.1:$port/mymaster" --cacert "$CERTS/ca.pem" --raw x <in
	[[ $output == *'redis at '*'does not speak TLS at this port'* ]]
	# A server that speaks TLS: its address is what a fake names.
	redis_stop
	redis_tls_start address
	fakes_start 1
	say f1 name "$REDIS_PORT"
	seq 1 | rpub -u "$(url rediss+sentinel)" --cacert "$CERTS/ca.pem" --raw x
	run -100 rpub -u "$(url)" --raw x <in
	[[ $output == *'speaks TLS at this port'* ]]
}

@test "rpub --wait counts a record only when a replica has it, and says that it waits" {
	redis_start
	replica_start r1
	feed --wait 1
	echo 1 >&7
	wait_for '[ "$(counter m messages_forwarded_total)" -eq 1 ]'
	freeze "$(cat r1.pid)"
	echo 2 >&7
	wait_file_contains pub.err 'fewer than --wait 1 have the records'
	wait_for '[ "$(counter m wait_shortfalls_total)" -ge 2 ]'
	[ "$(counter m messages_forwarded_total)" -eq 1 ]
	kill -CONT "$(cat r1.pid)"
	exec 7>&-
	wait_exit pub
	[ "$status" -eq 0 ]
	[ "$(grep -c 'fewer than' pub.err)" -eq 1 ]
	[ "$(calls redis)" -eq 2 ]
}

@test "rpub advises min-replicas-to-write where there are replicas, and neither that nor --wait is set" {
	redis_start
	seq 1 | rpub --raw x 2>err
	run ! grep min-replicas err
	replica_start r1
	seq 1 | rpub --raw x 2>err
	grep -q 'has replicas, and min-replicas-to-write is 0' err
	seq 1 | rpub --wait 1 --raw x 2>err
	run ! grep min-replicas err
	rcli config set min-replicas-to-write 1
	seq 1 | rpub --raw x 2>err
	run ! grep min-replicas err
}
