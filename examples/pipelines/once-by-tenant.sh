#!/bin/bash
# SPDX-License-Identifier: ISC
# Orders under another key in another topic, each written once, whatever is killed.
# shellcheck source=examples/pipelines/common.bash disable=SC1091
. "${0%/*}/common.bash"

printf '%s\n' '{"tenantId":"acme","n":1}' '{"tenantId":"zeta","n":2}' | kwrite --raw -t orders
evpipe kread -g keying orders '|' evkey .tenantId --dead-letter dead.ndjson '|' kwrite --txn keying -t keyed &
unit=$!
until_true in_topic keyed 'acme {"tenantId":"acme","n":1}'
until_true in_topic keyed 'zeta {"tenantId":"zeta","n":2}'
stop "$unit"
[ "$(kread -q -e keyed | wc -l)" -eq 2 ]
