#!/bin/bash
# SPDX-License-Identifier: ISC
# A service that reads whole records, by jq.
# shellcheck source=examples/pipelines/common.bash disable=SC1091
. "${0%/*}/common.bash"

printf '{"payload":"%s"}\n' one two | evcorr stamp --reply-to replies >requests.ndjson
evcorr serve --format record -- jq -c --unbuffered '.payload |= ascii_upcase' <requests.ndjson >replies.ndjson
[ "$(jq -r .payload replies.ndjson | paste -sd' ')" = 'ONE TWO' ]
