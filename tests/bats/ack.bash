# SPDX-License-Identifier: ISC
# shellcheck shell=bash
# Tests of filters and sinks against a source that is a test: load helpers, then ack.

RUN=0123456789abcdef

# source_start [OPTION…]: listens on $T/ack, which becomes EVPIPE_ACK; what it hears is in source.out.
source_start() {
	mkfifo "$T/commands"
	exec 8<>"$T/commands"
	spawn source "$ROOT/tests/bats/fake-source" "$@" "$T/ack" <"$T/commands"
	export EVPIPE_ACK=$T/ack
	wait_file_contains source.out listening
}

# source_does COMMAND…: as fake-source has them; done when it returns.
source_does() {
	local before
	before=$(grep -c '^did' source.out || true)
	echo "$*" >&8
	wait_for "[ \$(grep -c '^did' source.out) -gt $before ]"
}

# heard NAME: what the program has said so far, without hello and its process id.
heard() {
	sed -n "s/^$1: //p" source.out | grep -v '^hello ' || true
}

# heard_all NAME: the same once its connection has ended.
heard_all() {
	wait_file_contains source.out "$1: gone" && heard "$1"
}

# rec N [PAYLOAD]: a record with this number or label; the payload has no quotes or backslashes.
rec() {
	printf '{"seq":"%s:%s","payload":"%s"}\n' "$RUN" "$1" "${2-p$1}"
}

# from SOURCE N: a record as a filter would see it from this origin.
from() {
	printf '{"seq":"%s:%s","payload":"{\\"source\\":\\"%s\\"}"}\n' "$RUN" "$2" "$1"
}
