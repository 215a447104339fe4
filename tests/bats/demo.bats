#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# The demonstration which the README names first.

load helpers

# It builds by itself, so a sanitized build has no part in it.
# bats test_tags=load
@test "the demo ends with 0 and says of all that arrived: byte for byte, each once" {
	run -0 timeout 400 "$ROOT/examples/demo"
	[ "$(grep -c 'byte for byte, each once$' <<<"$output")" -ge 4 ]
	[[ $output != *WRONG* ]]
}
