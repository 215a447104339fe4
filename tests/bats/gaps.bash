# SPDX-License-Identifier: ISC
# shellcheck shell=bash
# What gaps.bats and another-log.bats share.

topics() {
	"$ROOT/tests/kafka/topics" "$KAFKA_BROKERS" "$@"
}

# group_at OFFSET TOPIC: prints a group that has this position in partition 0, committed without metadata.
group_at() {
	local group
	group=$(unique group)
	topics commit "$group" "$2" 0 "$1" && echo "$group"
}

# position GROUP TOPIC: prints the position of partition 0.
position() {
	python3 -B - "$KAFKA_BROKERS" "$@" <<-'END'
	import os, sys
	sys.path.insert(0, os.environ["ROOT"] + "/tests/faults")
	import wire
	print(wire.Kafka(sys.argv[1]).committed(sys.argv[2], sys.argv[3], 1)[0])
	END
}

# metric NAME FILE: prints a counter's value.
metric() {
	sed -n "s/^evpipe_$1{.*} //p" "$2"
}

# ends_at STATUS ARGUMENT…: a quiet kread, its records in out, what it says in err.
ends_at() {
	local want=$1 status=0
	shift
	kread -q --metrics m.prom --commit written "$@" >out 2>err || status=$?
	[ "$status" -eq "$want" ] || { echo "status $status"; cat err; return 1; }
}
