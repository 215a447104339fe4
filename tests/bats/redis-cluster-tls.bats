#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# A cluster that speaks TLS and has users: rpub, rsub and rapply.

load helpers
load cluster

setup_file() {
	local n
	CLUSTER_DIR=$BATS_FILE_TMPDIR
	export CLUSTER_DIR REDIS_PORT_FLAG=--tls-port
	make_certs
	tls_options
	CLUSTER_CLI="--tls --cacert $CERTS/ca.pem" cluster_start "${OPTIONS[@]}"
	for n in 1 2 3 4 5 6; do
		scli n$n acl setuser app on '>secret' '~*' '&*' +@all
		scli n$n acl setuser weak on '>secret' '~*' '&*' +@all -cluster
	done
}

tls_options() {
	OPTIONS=(--port 0 --tls-cluster yes --tls-replication yes --tls-cert-file "$CERTS/address.pem"
		--tls-key-file "$CERTS/address.key" --tls-ca-cert-file "$CERTS/ca.pem" --tls-auth-clients no)
}

tls() {
	echo "rediss+cluster://${1:-app:secret}@$NODES"
}

# users NAME: how many connections of a program belong to the user.
users() {
	local n
	for n in 1 2 3 4 5 6; do
		scli n$n client list
	done | grep "name=$1 " | grep -c 'user=app '
}

@test "rpub, rsub -s and rapply in a cluster with TLS and a user" {
	seq 1000 | rpub -u "$(tls)" --cacert "$CERTS/ca.pem" --raw --stream tls
	run -0 --separate-stderr rsub -u "$(tls)" --cacert "$CERTS/ca.pem" --raw -s tls -e
	diff <(seq 1000) <(echo "$output")
	for ((i = 0; i < 300; i++)); do
		echo "{\"topic\":\"t\",\"partition\":0,\"offset\":$i,\"payload\":[\"SET\",\"k$i\",\"$i\"]}"
	done | rapply -u "$(tls)" --cacert "$CERTS/ca.pem"
	n=$(node_of "$(slot_of k77)")
	[ "$(scli "$n" get k77)" = 77 ]
}

@test "all links of a cluster log in as the user of the URL, over TLS" {
	mkfifo in
	spawn apply sh -c 'exec rapply -u "$0" --cacert "$1" <in' "$(tls)" "$CERTS/ca.pem"
	exec 7>in
	# One to each primary, and the one that asks for the slots.
	wait_for '[ "$(users rapply)" -eq 4 ]'
	spawn sub rsub -v -u "$(tls)" --cacert "$CERTS/ca.pem" --raw --shard c
	wait_file_contains sub.err 'subscribed at redis at'
	echo '{"payload":"1"}' | rpub -u "$(tls)" --cacert "$CERTS/ca.pem" --shard --min-receivers 1 c
	wait_lines sub.out 1
	[ "$(users rsub)" -eq 2 ]
	exec 7>&-
	wait_exit apply
	[ "$status" -eq 0 ]
}

@test "a cluster's wrong password, certificate, and a user without CLUSTER: 100, with the reason" {
	echo '{"payload":"1"}' >in
	for program in 'rpub --stream x' 'rapply' 'rsub -s x'; do
		# shellcheck disable=SC2086 # words
		run -100 timeout 20 $program -u "$(tls app:wrong)" --cacert "$CERTS/ca.pem" <in
		[[ $output == *WRONGPASS* ]]
		# shellcheck disable=SC2086
		run -100 timeout 20 $program -u "$(tls)" --cacert "$CERTS/other-ca.pem" <in
		[[ $output == *"certificate"* ]]
		# shellcheck disable=SC2086
		run -100 timeout 20 $program -u "$(tls weak:secret)" --cacert "$CERTS/ca.pem" <in
		[[ $output == *NOPERM* ]]
		# shellcheck disable=SC2086
		run -100 timeout 20 $program -u "redis+cluster://app:secret@$NODES" <in
		[[ $output == *TLS* ]]
	done
}

@test "a primary of a cluster with TLS is killed under load: nothing is lost" {
	local from
	from=$(node_of "$(slot_of dies)")
	mkfifo in
	spawn pub sh -c 'exec rpub -v --raw --wait 1 -u "$0" --cacert "$1" --stream dies <in' "$(tls)" "$CERTS/ca.pem"
	exec 7>in
	spawn load sh -c 'for i in $(seq 100); do seq $((i * 100 - 99)) $((i * 100)); sleep 0.01; done >in'
	wait_for '[ "$(scli '"$from"' xlen dies)" -gt 300 ]'
	redis_stop "$from"
	wait_file_contains pub.err 'is there after'
	tls_options
	cluster_node "$from" "${OPTIONS[@]}"
	exec 7>&-
	wait_exit load
	wait_exit pub
	[ "$status" -eq 0 ]
	wait_cluster
	from=$(node_of "$(slot_of dies)")
	diff <(seq 10000) <(scli "$from" xrange dies - + | awk '/^payload$/ { getline; print }' | sort -nu)
}
