#!/bin/bash
# SPDX-License-Identifier: ISC
# A bridge that is started again when it fails, and is watched over HTTP.
# shellcheck source=examples/pipelines/common.bash disable=SC1091
. "${0%/*}/common.bash"

LISTEN=unix:$work/http
evpipe --restart --listen "$LISTEN" rsub -p 'sse:*' '|' kwrite -t '{channel#sse:}' &
bridge=$!
get() {
	curl -sf --unix-socket http "http://bridge$1"
}
until_true get /readyz
redis-cli -u "$REDIS_URL" publish sse:orders '{"n": 1}' >/dev/null
until_true in_topic orders 'null {"n": 1}'
until_true get /healthz
get /metrics | has /dev/stdin 'evpipe_member_up{pipeline="evpipe",tool="kwrite"} 1'
kill "$bridge"
wait "$bridge"
