#!/bin/bash
# SPDX-License-Identifier: ISC
# Half an hour of a topic ten times as fast to a channel, and a saved day for a rehearsal. The topic's record is 40
# minutes old.
# shellcheck source=examples/pipelines/common.bash disable=SC1091
. "${0%/*}/common.bash"

ts=$(($(date +%s%3N) - 40 * 60 * 1000))
printf '{"ts":%s,"payload":"%s"}\n' "$ts" first "$((ts + 100))" second | kwrite -q -t orders
redis-cli -u "$REDIS_URL" subscribe sse:orders >heard &
until_true subscribers sse:orders 1
kread -o @-1h --until @-30m orders | evreplay --speed 10 | rpub 'sse:{topic}'
until_true has heard second

printf '{"ts":%s,"key":"k","payload":"%s"}\n' "$ts" morning "$((ts + 20))" noon >day.ndjson
evreplay --max-gap 5s <day.ndjson | kwrite -t rehearsal
in_topic rehearsal 'k noon'
