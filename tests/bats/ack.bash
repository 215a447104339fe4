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

# state NAME: idle or busy, as its source takes it to be: a report ends idleness, too.
state() {
	heard "$1" | awk '/^(idle|busy)$/ { state = $1 } /^(final|drop|dead|early) / { state = "busy" } END { print state }'
}

# labels NAME: what it has reported, each label in a line of its own with its kind.
labels() {
	heard "$1" | awk -v run="$RUN" '
		/^(final|drop|dead|early) / {
			if ($2 != run)
				print "run " $2
			for (i = 3; i <= NF; i++)
				if ($i ~ /^[0-9]+-[0-9]+$/) {
					split($i, ends, "-")
					for (n = ends[1] + 0; n <= ends[2] + 0; n++)
						print $1 " " n
				} else {
					print $1 " " $i
				}
			next
		}
		$1 == "stop" { print "stop"; next }
		$1 != "idle" && $1 != "busy" && $1 != "bare"'
}

# reports NAME: the same without what was told of early, which is a matter of time: a sink does that, without the kind,
# with what has waited for half a second behind a record that it holds, and does not tell of it again.
reports() {
	labels "$1" | grep -v '^early ' || true
}

# has_told NAME LABEL: of it, in its turn or early.
has_told() {
	labels "$1" | grep -qxE "(final|drop|dead|early) $2"
}

# told_so_far NAME LINE…: just these, in this order; of what it told early, LINE… has any kind.
told_so_far() {
	local name=$1
	shift
	printf '%s\n' "$@" | awk 'FILENAME != "-" { if ($1 == "early") early[$2]; next } !($2 in early)' <(labels "$name") - |
		diff - <(reports "$name")
}

# rec N [PAYLOAD]: a record with this number or label; the payload has no quotes or backslashes.
rec() {
	printf '{"seq":"%s:%s","payload":"%s"}\n' "$RUN" "$1" "${2-p$1}"
}

# from SOURCE N: a record as a filter would see it from this origin.
from() {
	printf '{"seq":"%s:%s","payload":"{\\"source\\":\\"%s\\"}"}\n' "$RUN" "$2" "$1"
}
