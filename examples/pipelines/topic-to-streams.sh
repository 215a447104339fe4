#!/bin/bash
# SPDX-License-Identifier: ISC
# The records of a topic into streams, a partition each; what is read again is not added again.
# shellcheck source=examples/pipelines/common.bash disable=SC1091
. "${0%/*}/common.bash"

evpipe -n down kread -g down orders '|' rpub --stream '{topic}-{partition}' --id offset --maxlen '~1000000' --dead-letter dead.ndjson &
printf '{"topic":"orders","partition":0,"payload":"%s"}\n' one two | kwrite -p keep
in_stream() { rsub -s orders-0 -e --raw | grep -cxF "$1" >in_stream && [ "$(cat in_stream)" = 1 ]; }
until_true in_stream two
stop $!
in_stream one
