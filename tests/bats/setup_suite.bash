# SPDX-License-Identifier: ISC
# shellcheck shell=bash
# Names the real Kafka of a run; helpers.bash starts it when the first test asks for it. With
# EVPIPE_KAFKA_DIR set the caller's own is used and left running.

setup_suite() {
	# A python3 that is a shell script which looks for one starts five times as slowly, hundreds of times.
	PATH=$(python3 -c 'import os, sys; print(os.path.dirname(sys.executable))'):$PATH
	export PATH
	[ -z "${EVPIPE_KAFKA_DIR:-}" ] || return 0
	export EVPIPE_KAFKA_DIR=$BATS_SUITE_TMPDIR/kafka
	export EVPIPE_KAFKA_OURS=1
}

teardown_suite() {
	[ -n "${EVPIPE_KAFKA_OURS:-}" ] || return 0
	"$(dirname "${BASH_SOURCE[0]}")/../kafka/stop" "$EVPIPE_KAFKA_DIR"
}
