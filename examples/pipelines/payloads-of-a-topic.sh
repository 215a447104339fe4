#!/bin/bash
# SPDX-License-Identifier: ISC
# The payloads of a topic as it stands now, for people or for a script.
# shellcheck source=examples/pipelines/common.bash disable=SC1091
. "${0%/*}/common.bash"

printf '%s\n' '{"n": 1}' '{"n": 2}' | kwrite --raw -t orders
kread -e orders | jq -r .payload >out
has out '{"n": 1}'
has out '{"n": 2}'
