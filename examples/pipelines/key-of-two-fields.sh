#!/bin/bash
# SPDX-License-Identifier: ISC
# The key is the first of two fields that is there.
# shellcheck source=examples/pipelines/common.bash disable=SC1091
. "${0%/*}/common.bash"

printf '%s\n' '{"payload":"{\"order\":{\"id\":17},\"id\":1}"}' '{"payload":"{\"id\":2}"}' >records.ndjson
evkey '.order.id // .id' <records.ndjson >out
[ "$(jq -r .key out | tr '\n' ' ')" = '17 2 ' ]
