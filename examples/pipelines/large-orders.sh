#!/bin/bash
# SPDX-License-Identifier: ISC
# The large orders of a topic.
# shellcheck source=examples/pipelines/common.bash disable=SC1091
. "${0%/*}/common.bash"

printf '%s\n' '{"payload":"{\"id\":1,\"total\":99.5}"}' '{"payload":"{\"id\":2, \"total\":100.10}"}' |
	kwrite -t orders
kread -e orders | evsel '.payload.total > 100' >out
[ "$(jq -r .payload out)" = '{"id":2, "total":100.10}' ]
