#!/bin/bash
# SPDX-License-Identifier: ISC
# The origin in a header, so that the payload is not touched, and at most three passes.
# shellcheck source=examples/pipelines/common.bash disable=SC1091
. "${0%/*}/common.bash"

echo '{"payload":"{\"id\": 1}"}' >records.ndjson
for _ in 1 2 3; do
	evstamp --at header:origin --set site-a --max-hops 3 <records.ndjson >out
	[ "$(jq -r .payload out)" = '{"id": 1}' ]
	[ "$(jq -r '.headers | join(" ")' out | grep -c 'origin site-a')" -eq 1 ]
	mv out records.ndjson
done
status=0
evstamp --at header:origin --set site-a --max-hops 3 <records.ndjson >out || status=$?
[ "$status" -eq 1 ]
[ ! -s out ]
