#!/bin/bash
# SPDX-License-Identifier: ISC
# Two topics, each on a channel of its own.
# shellcheck source=examples/pipelines/common.bash disable=SC1091
. "${0%/*}/common.bash"

rsub -p 'sse:*' >heard &
until_true patterns 1
echo '{"n": 1}' | kwrite --raw -t orders
echo '{"n": 2}' | kwrite --raw -t payments
evpipe -n bridge kread -g bridge '^(orders|payments)$' '|' rpub 'sse:{topic}' --dead-letter dead.ndjson &
until_true has heard '{"channel":"sse:orders","pattern":"sse:*","payload":"{\"n\": 1}"}'
until_true has heard '{"channel":"sse:payments","pattern":"sse:*","payload":"{\"n\": 2}"}'
stop $!
