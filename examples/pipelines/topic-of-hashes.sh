#!/bin/bash
# SPDX-License-Identifier: ISC
# A compacted topic as hashes: the last record of a key is the hash, a tombstone deletes it.
# shellcheck source=examples/pipelines/common.bash disable=SC1091
. "${0%/*}/common.bash"

export CACHE=$REDIS_URL
redis() {
	redis-cli -u "$REDIS_URL" "$@"
}
is() {
	[ "$("${@:2}")" = "$1" ]
}

evpipe -n cache kread -g cache prices '|' rapply --as hash -u "$CACHE" &
cache=$!
printf '%s\n' '{"key":"beer","payload":{"price":4.50,"unit":"l"}}' '{"key":"wine","payload":{"price":9}}' |
	kwrite -t prices
until_true is 4.50 redis hget beer price
until_true is 9 redis hget wine price
echo '{"key":"wine","payload":null}' | kwrite -t prices
until_true is 0 redis exists wine
kill "$cache"
wait "$cache"
