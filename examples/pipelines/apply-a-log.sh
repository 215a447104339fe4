#!/bin/bash
# SPDX-License-Identifier: ISC
# A log of writes applied to Redis by two units that share its partitions. Redis is emptied, and filled again.
# shellcheck source=examples/pipelines/common.bash disable=SC1091
. "${0%/*}/common.bash"

redis() {
	redis-cli -u "$REDIS_URL" "$@"
}
value_is() {
	[ "$(redis get "$1")" = "$2" ]
}

evpipe -n applier kread -g applier redis-writes '|' rapply &
first=$!
evpipe -n applier kread -g applier redis-writes '|' rapply &
second=$!
for i in {1..100}; do
	echo "{\"key\":\"k$i\",\"payload\":[\"INCRBY\",\"sum\",$i]}"
done | kwrite -t redis-writes
until_true value_is sum 5050
redis flushall >flushed
until_true value_is sum 5050
kill "$first" "$second"
wait "$first" "$second"
