#!/bin/bash
# SPDX-License-Identifier: ISC
# The payloads of the next ten messages on a channel of another Redis.
# shellcheck source=examples/pipelines/common.bash disable=SC1091
. "${0%/*}/common.bash"

CACHE=$REDIS_URL
rsub -u "$CACHE" --raw -c 10 news >out &
until_true subscribers news 1
seq 12 | rpub --raw news
wait $!
[ "$(cat out)" = "$(seq 10)" ]
