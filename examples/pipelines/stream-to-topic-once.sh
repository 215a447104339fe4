#!/bin/bash
# SPDX-License-Identifier: ISC
# The entries of a stream into a topic, each of them once. Kill what you like.
# shellcheck source=examples/pipelines/common.bash disable=SC1091
. "${0%/*}/common.bash"

redis-cli -u "$REDIS_URL" xadd events '*' payload one >/dev/null
evpipe -n up rsub -s events -g up '|' kwrite --txn up --positions up-positions -t events &
unit=$!
until_true in_topic events 'null one'
redis-cli -u "$REDIS_URL" xadd events '*' payload two >/dev/null
until_true in_topic events 'null two'
stop "$unit"
[ "$(kread -q -e events | wc -l)" -eq 2 ]
[ "$(kread -q -e up-positions | tail -n 1 | jq -r .key)" = up ]
