#!/bin/bash
# SPDX-License-Identifier: ISC
# Records that could not be keyed are kept, and sent on once the key's rule has been mended.
# shellcheck source=examples/pipelines/common.bash disable=SC1091
. "${0%/*}/common.bash"

printf '%s\n' '{"topic":"payments","payload":"{\"id\":1}"}' >records.ndjson
evkey .tenantId --dead-letter dead.ndjson <records.ndjson | kwrite || [ $? -eq 1 ]
evsel --undead <dead.ndjson | kwrite
in_topic payments 'null {"id":1}'
