#!/bin/bash
# SPDX-License-Identifier: ISC
# Lines of a log on a channel of another Redis, as they are written.
# shellcheck source=examples/pipelines/common.bash disable=SC1091
. "${0%/*}/common.bash"

CACHE=$REDIS_URL
unset REDIS_URL
rsub -u "$CACHE" --raw events >heard &
REDIS_URL=$CACHE until_true subscribers events 1
echo 'first line' >events.log
tail -f events.log | rpub --raw -u "$CACHE" events &
until_true has heard 'first line'
echo 'second line' >>events.log
until_true has heard 'second line'
stop $!
