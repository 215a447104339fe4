#!/bin/bash
# SPDX-License-Identifier: ISC
# Only the records that have a key, selected by jq.
# shellcheck source=examples/pipelines/common.bash disable=SC1091
. "${0%/*}/common.bash"

printf '%s\n' '{"key":"a","payload":"1"}' '{"payload":"2"}' '{"key":"b","payload":"3"}' | kwrite -t orders
kread -e orders | evbatch -- jq -c 'select(.key)' | kwrite -t payments
in_topic payments 'a 1'
in_topic payments 'b 3'
[ "$(kread -q -e payments | wc -l)" -eq 2 ]
