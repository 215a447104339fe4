#!/bin/bash
# SPDX-License-Identifier: ISC
# Lines of a log as messages, as they are written.
# shellcheck source=examples/pipelines/common.bash disable=SC1091
. "${0%/*}/common.bash"

kwrite --raw -t logs --create </dev/null
echo 'first line' >app.log
tail -F app.log | kwrite --raw -t logs &
until_true in_topic logs 'null first line'
echo 'second line' >>app.log
until_true in_topic logs 'null second line'
stop $!
