#!/bin/bash
# SPDX-License-Identifier: ISC
# The entries of a stream into a topic. Kill what you like: nothing is lost.
# shellcheck source=examples/pipelines/common.bash disable=SC1091
. "${0%/*}/common.bash"

evpipe -n up rsub -s events -g up '|' kwrite -t events &
redis-cli -u "$REDIS_URL" xadd events '*' payload one source edge >/dev/null
redis-cli -u "$REDIS_URL" xadd events '*' payload two source edge >/dev/null
until_true in_topic events 'null two'
stop $!
in_topic events 'null one'
[ "$(redis-cli -u "$REDIS_URL" xpending events up | head -n 1)" = 0 ]
