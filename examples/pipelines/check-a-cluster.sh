#!/bin/bash
# SPDX-License-Identifier: ISC
# Can a cluster be reached, and why not?
# shellcheck source=examples/pipelines/common.bash disable=SC1091
. "${0%/*}/common.bash"

# A name that nobody knows here.
kcheck -b kafka:9092 >verdict && exit 1
grep -q '^verdict: kafka:9092: .*does not resolve' verdict

kcheck -t orders -g bridge >state
grep -q '^good  topic orders  6 partitions' state

kcheck --json | jq -r 'select(.ok | not) | .verdict' >verdict
test ! -s verdict

until kcheck -q >state; do sleep 1; done
has state 'verdict: good'
