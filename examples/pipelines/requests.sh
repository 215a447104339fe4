#!/bin/bash
# SPDX-License-Identifier: ISC
# Requests that ask for a reply: each gets an id, the topic of its reply, and a deadline.
# shellcheck source=examples/pipelines/common.bash disable=SC1091
. "${0%/*}/common.bash"

printf '{"payload":"%s"}\n' one two >requests.ndjson
evcorr stamp --reply-to replies --deadline 5s <requests.ndjson >stamped
[ "$(jq -r '.headers | .[0], .[2], .[3], .[4]' <stamped | sort | uniq -c | awk '{print $1, $2}' | paste -sd' ')" = \
	'2 correlation-id 2 deadline 2 replies 2 reply-to' ]
