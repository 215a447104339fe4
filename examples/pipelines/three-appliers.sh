#!/bin/bash
# SPDX-License-Identifier: ISC
# A log of writes applied by three units of one group to a Redis behind sentinels: ready once partitions are assigned,
# behind after an outage, right after a failover, and complete when a unit is gone.
# shellcheck source=examples/pipelines/common.bash disable=SC1091
. "${0%/*}/common.bash"

# server ARGUMENT…: a redis-server on a free port, which is appended to `ports`.
ports=()
server() {
	local port log
	while :; do
		port=$((15000 + RANDOM % 17000)) log=server-${#ports[@]}
		redis-server "$@" --port "$port" >"$log" 2>&1 &
		# Another server may have the port.
		until redis-cli -p "$port" info server 2>&1 | grep -q "^process_id:$!\b"; do
			kill -0 $! 2>/dev/null || continue 2
			sleep 0.05
		done
		ports+=("$port")
		return
	done
}
primary() {
	redis-cli -p "${SENTINELS##*:}" sentinel get-master-addr-by-name mymaster | tail -n 1
}
is() {
	[ "$(redis-cli -p "$(primary)" get "$1")" = "$2" ]
}
ready() {
	curl -sf --unix-socket "$1.sock" http://unit/readyz
}
write() {
	for ((i = $1; i <= $2; i++)); do
		echo "{\"key\":\"k$i\",\"payload\":[\"INCRBY\",\"sum\",$i]}"
	done | kwrite -t redis-writes
}
unit() {
	local listen=unix:$work/$1.sock
	evpipe -n applier --restart --listen "$listen" kread -g applier redis-writes '|' rapply -u "redis+sentinel://$SENTINELS/mymaster" &
	units[$2]=$!
}
replicas() {
	redis-cli -p "$1" info replication | grep -q "connected_slaves:$2"
}

redis=(--bind 127.0.0.1 --dir "$work" --save '')
server "${redis[@]}"
server "${redis[@]}" --replicaof 127.0.0.1 "${ports[0]}"
until_true replicas "${ports[0]}" 1
SENTINELS=
for n in 2 3 4; do
	printf '%s\n' "sentinel monitor mymaster 127.0.0.1 ${ports[0]} 2" \
		'sentinel down-after-milliseconds mymaster 1000' >"sentinel-$n.conf"
	server "sentinel-$n.conf" --sentinel
	SENTINELS+=${SENTINELS:+,}127.0.0.1:${ports[n]}
done

units=()
for n in 0 1 2; do unit "unit-$n" "$n"; done
for n in 0 1 2; do until_true ready "unit-$n"; done
write 1 100
until_true is sum 5050

# An outage of all units.
kill "${units[@]}"
wait "${units[@]}"
write 101 200
for n in 0 1 2; do unit "unit-$n" "$n"; done
until_true is sum 20100

# A failover, while writes go on.
write 201 300 &
old=$(primary)
until_true redis-cli -p "${SENTINELS##*:}" sentinel failover mymaster
moved() {
	[ "$(primary)" != "$old" ]
}
until_true moved
until_true is sum 45150

# A unit dies with all its members; the others take over.
kill -KILL -- "-${units[0]}"
write 301 400
until_true is sum 80200
kill "${units[@]:1}"
wait "${units[@]:1}"
