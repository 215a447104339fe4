#!/bin/bash
# SPDX-License-Identifier: ISC
# A pair of bridges between Kafka topics and the Redis channels sse:TOPIC, one pipeline for each
# direction, which do not echo each other.
# shellcheck source=examples/pipelines/common.bash disable=SC1091
. "${0%/*}/common.bash"

rsub --raw sse:orders >heard &
until_true subscribers sse:orders 1
evpipe -n bridge kread -g bridge '^(orders|payments)$' '|' evstamp --drop cloud-run-api '|' rpub 'sse:{topic}' --dead-letter dead.ndjson &
forward=$!
evpipe -n revbridge rsub -p 'sse:*' '|' evstamp --drop nas-worker --set cloud-run-api '|' evkey .tenantId '|' kwrite -t '{channel#sse:}' &
reverse=$!
until_true patterns 1
echo '{"id": 1, "tenantId": "acme", "source": "nas-worker"}' | kwrite --raw -t orders
redis-cli -u "$REDIS_URL" publish sse:orders '{"id":2,"tenantId":"acme"}' >/dev/null
until_true has heard '{"id": 1, "tenantId": "acme", "source": "nas-worker"}'
until_true in_topic orders 'acme {"id":2,"tenantId":"acme","source":"cloud-run-api"}'
stop "$forward"
stop "$reverse"
[ "$(wc -l <heard)" -eq 2 ]
[ "$(kread -q -e orders | wc -l)" -eq 2 ]
