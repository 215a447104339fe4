#!/bin/bash
# SPDX-License-Identifier: ISC
# A bridge to Redis: a topic on the channel that is named after it.
# shellcheck source=examples/pipelines/common.bash disable=SC1091
. "${0%/*}/common.bash"

rsub --raw sse:orders >heard &
until_true subscribers sse:orders 1
echo '{"n": 1}' | kwrite --raw -t orders
evpipe -n bridge kread -g bridge orders '|' rpub 'sse:{topic}' --dead-letter dead.ndjson &
until_true has heard '{"n": 1}'
stop $!
[ "$(wc -l <heard)" -eq 1 ]
