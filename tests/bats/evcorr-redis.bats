#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# evcorr store, wait, call and http through TLS, sentinels and a cluster.

load helpers
load cluster

setup_file() {
	make_certs
}

# service ARG…: a service without Kafka, which answers what comes into the fifo req; ARGs are its store's.
service() {
	mkfifo req
	spawn service bash -c '
		jq -c --unbuffered "{headers: .headers[0:2], payload: (\"re:\" + .payload)}" |
			exec evcorr store "$@"' bash "$@" <>req
	exec 7>req
}

# answered OUT IN: each request has its own reply.
answered() {
	diff <(jq -r .payload "$1" | sort) <(sed 's/^/re:/' "$2" | sort)
}

@test "TLS: store, call, wait and http, and a certificate that is not the server's" {
	redis_tls_start address
	tls=(-u "rediss://127.0.0.1:$REDIS_PORT" --cacert "$CERTS/ca.pem")
	service "${tls[@]}"
	seq 200 >in
	evcorr call --timeout 1m "${tls[@]}" --raw -- sh -c 'cat >req' <in >out
	answered out in
	echo '{"headers":["correlation-id","a"],"payload":"p"}' | evcorr store "${tls[@]}"
	[ "$(evcorr wait "${tls[@]}" a | jq -r .payload)" = p ]
	spawn http evcorr http "${tls[@]}" --listen "unix:$T/http.sock" -- sh -c 'cat >req'
	wait_for '[ "$(curl -s --unix-socket http.sock http://front/readyz)" = ok ]'
	[ "$(curl -sS --unix-socket http.sock -d x http://front/)" = re:x ]
	[ "$(rcli dbsize)" -eq 0 ] || wait_for '[ "$(rcli dbsize)" -eq 0 ]'
	run -100 timeout 60 evcorr wait -u "rediss://127.0.0.1:$REDIS_PORT" --cacert "$CERTS/other-ca.pem" a
	[[ $output == "evcorr: "*certificate* ]]
}

@test "the rights that the page names are enough" {
	redis_start
	# may RIGHT…: what the user does may; keys and channels of others than evcorr it may not touch.
	may() {
		rcli acl setuser w reset on '>pw' '~evcorr:*' resetchannels '&evcorr:*' -@all "$@"
	}
	url=redis://w:pw@127.0.0.1:$REDIS_PORT
	may +evalsha +eval +lrange +exists +rpush +pexpire +publish +role
	service -u "$url"
	echo '{"headers":["correlation-id","a"],"payload":"p"}' | evcorr store -u "$url"
	rcli acl setuser w +subscribe +unsubscribe +unlink +set
	[ "$(evcorr wait -u "$url" a | jq -r .payload)" = p ]
	seq 20 >in
	evcorr call --timeout 1m -u "$url" --raw -- sh -c 'cat >req' <in >out
	answered out in
	run -99 evcorr wait -u "$url" --timeout 100ms b
	may +evalsha +eval +lrange +exists +rpush +pexpire +publish +role +del
	echo '{"headers":["correlation-id","c"],"payload":"p"}' | evcorr store -u "$url" --nobody drop
	[ "$(rcli exists 'evcorr:{63}')" = 0 ]
}

@test "sentinels: calls go on at the primary that a failover has made, and with --wait no reply is lost" {
	redis_start
	replica_start r1
	sentinels_start 3
	url=redis+sentinel://$SENTINELS/mymaster
	service -u "$url" --wait 1
	mkfifo in
	spawn caller sh -c "exec evcorr call -u $url --raw --timeout 100s -- sh -c 'cat >req' <in"
	exec 8>in
	seq 100 | tee all >&8
	wait_lines caller.out 100
	failover s2
	seq 101 200 | tee -a all >&8
	wait_lines caller.out 200
	exec 8>&-
	wait_exit caller
	[ "$status" -eq 0 ]
	answered caller.out all
	# The old primary has no part in it any more.
	wait_for '[ "$(scli r1 role | head -n 1)" = master ]'
	wait_for '[ "$(scli r1 dbsize)" -eq 0 ]'
}

@test "store --wait: a reply is not final before a replica has it" {
	redis_start
	mkfifo in
	spawn store sh -c "exec evcorr store -u $REDIS_URL --wait 1 --metrics m <in"
	exec 8>in
	echo '{"headers":["correlation-id","a"],"payload":"p"}' >&8
	wait_file_contains store.err 'fewer than --wait 1'
	[ "$(rcli exists 'evcorr:{61}')" -eq 1 ]
	exec 8>&-
	replica_start r1
	wait_exit store
	[ "$status" -eq 0 ]
	[ "$(scli r1 exists 'evcorr:{61}')" -eq 1 ]
	run -100 evcorr store --wait 0 </dev/null
}

# replies FROM TO: for a call each.
replies() {
	jq -nc --argjson from "$1" --argjson to "$2" 'range($from; $to) | {headers: ["correlation-id", "c\(.)"], payload: "p"}'
}

@test "store: the script goes by its digest, and its text to a server that does not know it or does not permit that" {
	redis_start
	mkfifo in
	spawn store sh -c 'exec evcorr store --ttl 10m --replies 3 <in'
	exec 8>in
	replies 0 100 >&8
	wait_for '[ "$(rcli dbsize)" -eq 100 ]'
	rcli config resetstat
	replies 100 200 >&8
	wait_for '[ "$(rcli dbsize)" -eq 200 ]'
	rcli info commandstats | tr , '\n' >stats
	grep -q '^cmdstat_evalsha:calls=100' stats
	run ! grep cmdstat_eval: stats
	# Replies of one call keep their order.
	rcli script flush
	for n in 1 2 3; do echo "{\"headers\":[\"correlation-id\",\"x\"],\"payload\":\"$n\"}" >&8; done
	exec 8>&-
	wait_exit store
	[ "$status" -eq 0 ]
	[ "$(evcorr wait --replies 3 x | jq -r .payload | xargs)" = "1 2 3" ]
	rcli acl setuser texts on nopass '~*' '&*' +@all -evalsha
	run -0 evcorr store --ttl 10m -u "redis://texts:x@127.0.0.1:$REDIS_PORT" < <(replies 200 300)
	[ "$(rcli dbsize)" -eq 300 ]
	rcli acl setuser none on nopass '~*' '&*' +@all -evalsha -eval
	run -100 evcorr store --ttl 10m -u "redis://none:x@127.0.0.1:$REDIS_PORT" < <(replies 300 400)
	[[ $output == *"refuses to store a reply: NOPERM"* ]]
	rcli acl setuser some on nopass '~*' '&*' +@all -rpush
	run -100 evcorr store --on-error skip -u "redis://some:x@127.0.0.1:$REDIS_PORT" < <(replies 300 400)
	[[ $output == *"refuses to store a reply: "*"The user executing the script"* ]]
}

# refusals NODE: for want of memory.
refusals() {
	scli "$1" info errorstats | awk -F = '/OOM/ { n = $2 } END { print n + 0 }'
}

@test "a cluster: replies stand at all its nodes, and nothing is left" {
	export CLUSTER_DIR=$T
	cluster_start
	url=redis+cluster://$NODES
	service -u "$url"
	seq 300 >in
	evcorr call -u "$url" --raw --timeout 100s -- sh -c 'cat >req' <in >out
	answered out in
	for n in a b c d e f g h; do echo "{\"headers\":[\"correlation-id\",\"$n\"],\"payload\":\"$n\"}"; done | evcorr store -u "$url"
	run -0 --separate-stderr evcorr wait -u "$url" --timeout 100s a b c d e f g h
	[ "$(jq -r .payload <<<"$output" | sort | xargs)" = "a b c d e f g h" ]
	for n in 1 2 3 4 5 6; do wait_for "[ \"\$(scli n$n dbsize)\" -eq 0 ]"; done
	run -100 evcorr store -u "$url" --nobody drop </dev/null
	[[ $output == *"a node of a cluster does not know who listens"* ]]
	# One that was down is there with the first answer, be it that a reply is refused.
	redis-cli -c -p "$(port_of n1)" set 'evcorr:{63}' x
	at=$(node_of "$(slot_of 'evcorr:{63}')")
	slot=$(scli "$at" cluster nodes | awk '/myself/ { split($9, r, "-"); print r[1] }')
	mkfifo fifo
	spawn store sh -c "exec evcorr store -u $url --on-error skip --metrics m <fifo"
	exec 8>fifo
	wait_for 'grep -q "^evpipe_ready{.*} 1" m'
	scli "$at" cluster delslots "$slot"
	echo '{"headers":["correlation-id","c"],"payload":"p"}' >&8
	wait_file_contains store.err 'CLUSTERDOWN'
	wait_for 'grep -q "^evpipe_ready{.*} 0" m'
	scli "$at" cluster addslots "$slot"
	wait_file_contains store.err 'WRONGTYPE'
	wait_file_contains store.err 'is there after'
	wait_for 'grep -q "^evpipe_ready{.*} 1" m'
	# What one node refuses is one outage, whatever the others answer meanwhile.
	scli "$at" config set maxmemory 1
	for n in {1..8}; do
		refused=$(refusals "$at")
		replies 0 20 >&8
		wait_for "[ \$(refusals $at) -gt $refused ]"
	done
	scli "$at" config set maxmemory 0
	wait_for '[ "$(grep -c "is there after" store.err)" -eq 2 ]'
	[ "$(grep -c OOM store.err)" -eq 1 ]
	wait_for 'grep -q "^evpipe_ready{.*} 1" m && grep -q "^evpipe_outages_total{.*} 2" m'
}

@test "a key of another type: store refuses its reply, wait and call say why theirs does not come" {
	redis_start
	rcli set 'evcorr:{63}' x
	run -1 evcorr store --on-error skip < <(replies 0 2; echo '{"headers":["correlation-id","c"],"payload":"p"}')
	[[ $output == *"line 3: redis says: WRONGTYPE"*"(wrong-type)"* ]]
	run -99 evcorr wait --timeout 100ms c c0
	[ "$(grep -c "has no replies in the key 'evcorr:{63}': WRONGTYPE" <<<"$output")" -eq 1 ]
	[ "$(grep -c '"status":200' <<<"$output")" -eq 1 ]
	run -99 evcorr call --timeout 100ms -- sh -c 'cat >sent' <<<'{"headers":["correlation-id","c"],"payload":"p"}'
	[[ $output == *"has no replies in the key 'evcorr:{63}': WRONGTYPE"* ]]
	[ "$(rcli get 'evcorr:{63}')" = x ]
}
