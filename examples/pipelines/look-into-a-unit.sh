#!/bin/bash
# SPDX-License-Identifier: ISC
# The metrics of a pipeline's members, in files.
# shellcheck source=examples/pipelines/common.bash disable=SC1091
. "${0%/*}/common.bash"

evpipe -d bridge.d rsub -p 'sse:*' '|' rpub '{channel#sse:}' &
bridge=$!
until_true [ -e bridge.d/current/ready/rsub ]
redis-cli -u "$REDIS_URL" publish sse:orders '{"n": 1}' >/dev/null
look() {
	cat bridge.d/current/metrics/*.prom
}
forwarded() {
	look | has /dev/stdin 'evpipe_messages_forwarded_total{pipeline="evpipe"} 1'
}
until_true forwarded
kill "$bridge"
wait "$bridge"
