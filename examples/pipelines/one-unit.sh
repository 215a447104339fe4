#!/bin/bash
# SPDX-License-Identifier: ISC
# A bridge as one unit: ended at its source, by one signal.
# shellcheck source=examples/pipelines/common.bash disable=SC1091
. "${0%/*}/common.bash"

rsub --raw sse:orders >heard &
until_true subscribers sse:orders 1
evpipe -n bridge kread -g bridge orders '|' rpub 'sse:{topic}' --dead-letter dead.ndjson &
bridge=$!
echo '{"n": 1}' | kwrite --raw -t orders
until_true has heard '{"n": 1}'
kill "$bridge"
wait "$bridge"
