# SPDX-License-Identifier: ISC
# shellcheck shell=bash
# Tests of kwrite --txn: load helpers, ack, then txn.

answered=0 # questions to the source that is a test

# committed TOPIC: the payloads that a read_committed consumer sees, one a line.
committed() {
	kconsume "$1" -X isolation.level=read_committed -f '%s\n'
}

# numbers FROM TO TOPIC: a topic with these as payloads.
numbers() {
	seq "$1" "$2" | kproduce "$3"
}

# once TOPIC N: each of 1…N is seen there, and once.
once() {
	committed "$1" | sort -n | diff <(seq "$2") - | head -n 5
	[ "$(committed "$1" | sort -n | md5sum)" = "$(seq "$2" | md5sum)" ]
}

# line NAME GROUP IN OUT [KREAD-OPTION…]: kread | kwrite --txn in the background; NAME.r.pid is kread's,
# NAME.w.pid kwrite's, NAME.status what they ended with.
line() {
	local name=$1 group=$2 in=$3 out=$4
	shift 4
	rm -f "$name".[rw] "$name.status"
	# shellcheck disable=SC2016
	spawn "$name" bash -c '
		name=$1 group=$2 in=$3 out=$4
		shift 4
		export EVPIPE_ACK=$PWD/$name.ack
		bash -c "echo \$\$ >$name.r; exec \"\$@\"" r \
			kread '"${SHORT_SESSION[*]}"' -g "$group" "$@" "$in" 2>"$name.r.err" |
			bash -c "echo \$\$ >$name.w; exec \"\$@\"" w \
				kwrite --txn "$name-$out" -t "$out" 2>"$name.w.err"
		echo "${PIPESTATUS[*]}" >"$name.status"' line "$name" "$group" "$in" "$out" "$@" </dev/null
}

# ended NAME: its exit statuses, once it has ended.
ended() {
	wait_for "[ -s $1.status ]" && cat "$1.status"
	wait_exit "$1"
}

# txn_sink NAME OPTION…: kwrite --txn against the source that is a test; descriptor 5 is its input.
txn_sink() {
	local name=$1
	shift
	[ -p in ] || mkfifo in
	spawn "$name" sh -c 'exec "$@" <in' sh kwrite --txn "$name-$RANDOM" "$@"
	exec 5>in
}

# reply [TOPIC P O]…: positions under the metadata of a group without members; for the last question,
# and "again" for those before it that have had no reply.
reply() {
	local group asked
	asked=$(heard kwrite | grep -c '^offsets')
	for ((; ++answered < asked; )); do source_does say "again $RUN"; done
	# shellcheck disable=SC2153 # the test sets GROUP
	group=$(python3 -c 'import base64, struct, sys
print(base64.b64encode(b"CGMDv2:" + struct.pack("i", -1) + sys.argv[1].encode() + b"\0\0\1").decode())' "$GROUP")
	source_does say "offsets $group${*:+ $*}"
}

# reports: what kwrite has said, without how it fares.
reports() {
	heard kwrite | grep -vE '^(idle|busy)$' || true
}

# asked PATTERN: once the source has been asked about these labels.
asked() {
	wait_for "grep -qxE 'kwrite: offsets $RUN $1' source.out" || { cat source.out; return 1; }
}
