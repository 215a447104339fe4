#!/bin/bash
# SPDX-License-Identifier: ISC
# The loop guard of a pair of bridges, one in each direction: what came over the other bridge
# goes no further.
# shellcheck source=examples/pipelines/common.bash disable=SC1091
. "${0%/*}/common.bash"

rsub -p 'sse:*' | evstamp --drop nas-worker --set cloud-run-api | kwrite -t '{channel#sse:}' &
until_true patterns 1
redis-cli -u "$REDIS_URL" publish sse:orders '{"id":1,"source":"nas-worker"}' >/dev/null
redis-cli -u "$REDIS_URL" publish sse:orders '{"id":2}' >/dev/null
until_true in_topic orders 'null {"id":2,"source":"cloud-run-api"}'
stop $!
kread -e orders >records.ndjson
[ "$(wc -l <records.ndjson)" -eq 1 ]
echo '{"payload":"{\"id\":3,\"source\":\"nas-worker\"}"}' >>records.ndjson
evstamp --drop cloud-run-api <records.ndjson >out
[ "$(cat out)" = '{"payload":"{\"id\":3,\"source\":\"nas-worker\"}"}' ]
