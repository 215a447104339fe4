#!/bin/bash
# SPDX-License-Identifier: ISC
# Records that do not have a certain header.
# shellcheck source=examples/pipelines/common.bash disable=SC1091
. "${0%/*}/common.bash"

printf '%s\n' '{"headers":["test","1"],"payload":"a"}' '{"headers":["trace","x"],"payload":"b"}' \
	'{"payload":"c"}' >records.ndjson
evsel --invert '.headers | index("test")' <records.ndjson >out
[ "$(jq -r .payload out | tr '\n' ' ')" = 'b c ' ]
