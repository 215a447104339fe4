#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# khttp against the OpenAPI that it serves, as schemathesis tries it: values at their limits, and just beyond; parameters and
# members that are missing, twice, of other types; methods that there are not. Each answer is as the description has it.

# Each test is a process of its own, and sets what bridge.bash sets.
# shellcheck disable=SC2030,SC2031,SC2154
# bats file_tags=once
load helpers
load bridge

setup_file() {
	kmock_start -t t:2
}

@test "what schemathesis asks is answered as the OpenAPI says, and nothing with 500" {
	local checks=status_code_conformance,content_type_conformance,response_schema_conformance,negative_data_rejection
	PYTHONPATH=$("$ROOT/tests/python/fetch" schemathesis) || skip 'schemathesis cannot be had'
	export PYTHONPATH PYTHONDONTWRITEBYTECODE=1
	# A topic that there is not is soon known not to be.
	bridge_start bridge -v -X topic.metadata.propagation.max.ms=10
	# What waits by itself is left out, and what kmock does not know: making a topic, and its configuration. That its own
	# making of requests is slow, beside other work, is no failure.
	python3 -m schemathesis.cli run "$BRIDGE/openapi" --phases fuzzing --max-examples 4 --seed 1 --no-color \
		--suppress-health-check too_slow --continue-on-failure -c "$checks,unsupported_method,allow_header_conformance" --request-timeout 100 \
		--exclude-path-regex '/(records|request)$|/admin/' --exclude-operation-id getTopic </dev/null >report || { cat report >&2; false; }
	sed -n 's/^ *\([0-9]* generated\)/# \1/p' report >&3
	[ "$(grep -cE ' us$' bridge.err)" -gt 20 ]
	run ! grep -E ' 500 [0-9]+ us$' bridge.err
	req GET /ready
	is 200
}
