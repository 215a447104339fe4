#!/bin/bash
# SPDX-License-Identifier: ISC
# A script as the sink: what it prints back is acknowledged, and the group's position follows.
# shellcheck source=examples/pipelines/common.bash disable=SC1091
. "${0%/*}/common.bash"
PATH=$OLDPWD/${0%/*}/../sinks:${0%/*}/../sinks:$PATH

printf '%s\n' one two three | kwrite --raw -t payments
export EVPIPE_ACK=$work/ack
kread -g archive -e payments | to-file delivered.log | evack
[ "$(tr '\n' ' ' <delivered.log)" = 'one two three ' ]
