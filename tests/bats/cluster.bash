# SPDX-License-Identifier: ISC
# shellcheck shell=bash
# A Redis Cluster of three primaries and three replicas, n1 to n6, for a file's tests. setup_file says
#
#	CLUSTER_DIR=$BATS_FILE_TMPDIR
#	export CLUSTER_DIR
#	cluster_start

# cluster_node NAME [OPTION…]
cluster_node() {
	redis_start "$1" --cluster-enabled yes --cluster-config-file "nodes-$1.conf" \
		--cluster-node-timeout 1000 --cluster-port "$(free_port)" \
		--cluster-replica-validity-factor 0 --repl-ping-replica-period 1 "${@:2}"
}

# cluster_start [OPTION…]: n1 to n6, with options of redis-server; exports NODES, HOST:PORT,…. $CLUSTER_CLI: options of
# redis-cli for their ports.
cluster_start() {
	local n addresses=()
	NODES=
	for n in 1 2 3 4 5 6; do
		cluster_node n$n "$@"
		addresses+=("127.0.0.1:$(port_of n$n)")
		NODES+=${NODES:+,}127.0.0.1:$(port_of n$n)
	done
	# shellcheck disable=SC2086 # words
	redis-cli ${CLUSTER_CLI:-} --cluster create "${addresses[@]}" --cluster-replicas 1 --cluster-yes \
		>"$(harness_scope)/create.out"
	export NODES
	wait_cluster
}

# wait_cluster: all nodes that run find it well, and each replica has its primary.
wait_cluster() {
	local n
	for n in 1 2 3 4 5 6; do
		scli n$n ping >/dev/null 2>&1 || continue
		wait_for "scli n$n cluster info | grep -q cluster_state:ok" || return 1
		wait_for "! scli n$n info replication | grep -q master_link_status:down" || return 1
	done
}

# The servers live as long as the file, those too that a test starts again.
harness_scope() {
	echo "${CLUSTER_DIR:-$T}"
}

url() {
	echo "redis+cluster://$NODES"
}

# node_of SLOT: the name of its primary.
node_of() {
	local n port
	port=$(scli "${2:-n1}" cluster nodes | awk -v slot="$1" '$3 ~ /master/ && $3 !~ /fail/ {
		for (i = 9; i <= NF; i++) {
			split($i, r, "-")
			if (slot >= r[1] && slot <= (r[2] == "" ? r[1] : r[2])) { split($2, a, /[:@]/); print a[2] }
		}
	}')
	for n in 1 2 3 4 5 6; do
		[ "$(port_of n$n)" != "$port" ] || echo n$n
	done
}

slot_of() {
	scli n1 cluster keyslot "$1"
}

# other NAME: another primary.
other() {
	local slot name
	for slot in 0 8000 16383; do
		name=$(node_of $slot)
		[ "$name" = "$1" ] || break
	done
	echo "$name"
}

# move_begin SLOT FROM TO; move_keys SLOT FROM TO; move_end SLOT FROM TO.
move_begin() {
	scli "$3" cluster setslot "$1" importing "$(scli "$2" cluster myid)"
	scli "$2" cluster setslot "$1" migrating "$(scli "$3" cluster myid)"
}
move_keys() {
	local key
	while key=$(scli "$2" cluster getkeysinslot "$1" 1) && [ -n "$key" ]; do
		scli "$2" migrate 127.0.0.1 "$(port_of "$3")" "$key" 0 5000
	done
}
move_end() {
	local id
	id=$(scli "$3" cluster myid)
	scli "$3" cluster setslot "$1" node "$id"
	scli "$2" cluster setslot "$1" node "$id"
}

# move_about SLOT FROM TO TIMES: there, back, and so on.
move_about() {
	local n from=$2 to=$3 next
	for ((n = 0; n < $4; n++)); do
		move_begin "$1" "$from" "$to"
		move_keys "$1" "$from" "$to"
		move_end "$1" "$from" "$to"
		next=$from from=$to to=$next
	done
}

# entries STREAM: the payloads of a stream, in their order.
entries() {
	redis-cli -c -p "$(port_of n1)" xrange "$1" - + | awk '/^payload$/ { getline; print }'
}

