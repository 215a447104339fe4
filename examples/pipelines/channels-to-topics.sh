#!/bin/bash
# SPDX-License-Identifier: ISC
# Events from Redis, keyed by their tenant, into the topic that the channel names.
# shellcheck source=examples/pipelines/common.bash disable=SC1091
. "${0%/*}/common.bash"

rsub -p 'sse:*' | evkey .tenantId | kwrite -t '{channel#sse:}' &
until_true patterns 1
redis-cli -u "$REDIS_URL" publish sse:orders '{"tenantId": "acme"}' >/dev/null
redis-cli -u "$REDIS_URL" publish sse:payments '{"tenantId": 7}' >/dev/null
until_true in_topic orders 'acme {"tenantId": "acme"}'
until_true in_topic payments '7 {"tenantId": 7}'
stop $!
