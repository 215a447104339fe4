#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# Each unit that somebody may copy, from README.md, the examples and the directories for supervisors, goes on behind a
# tombstone: it takes the record behind it too, and ends with 0 when it is stopped.

# bats file_tags=once
load helpers

# units FILE…: the units that read a topic as a group, a line each, without what stands before and behind them.
units() {
	sed -e ':a' -e '/\\$/N; s/\\\n[[:space:]]*//; ta' "$@" |
		grep -oE "\bevpipe [^#]*kread [^#]*-g [^#]*'\|'[^#]*" | sed -E "s/ *&?[[:space:]]*$//" | sort -u
}

# left_out UNIT: why it is not run here.
left_out() {
	case $1 in
	*'ssh '*) echo 'its sink is another host, and that is kwrite' ;;
	*SENTINELS*) echo 'its Redis has sentinels; without them it is tried' ;;
	*'$OLD'*) echo 'a cluster to another: its sink is kwrite' ;;
	*upper.py* | *awk*) echo 'what a script of its own makes of them is for the script to say' ;;
	*) return 1 ;;
	esac
}

# In each topic a tombstone, and a record that goes through all units.
records() {
	local topic payload headers
	for topic in orders payments requests replies redis-writes prices; do
		payload='"{\"id\":2,\"tenantId\":\"t\"}"'
		[ $topic != redis-writes ] || payload='"[\"SET\",\"last\",\"x\"]"'
		headers='"topic"'
		[[ $topic != re[qp]* ]] || headers='"headers":["correlation-id","c1","reply-to","replies"],"topic"'
		printf "{$headers:\"%s\",\"key\":\"k\",\"payload\":%s}\n" "$topic" null "$topic" "$payload"
	done
}

# value METRIC: of kread.
value() {
	awk -v name="$1" '$1 ~ "^" name "({|$)" { print $NF }' kread.prom
}

# survives UNIT: it takes all records, and ends well.
survives() {
	local unit=$1 count=2 topics=()
	for topic in orders payments requests replies redis-writes prices keyed copied events; do
		topics+=(-t "$topic:1")
	done
	harness_end "$T"
	rm -rf "${T:?}"/*
	kmock_start "${topics[@]}"
	redis_start
	records | kwrite -q
	printf '#!/bin/sh\nexec cat\n' >price
	chmod +x price
	unit=${unit/--listen :8080/--listen unix:sse.sock}
	unit=${unit/\"\$LISTEN\"/unix:status.sock}
	unit=${unit/kread /kread --metrics kread.prom }
	[[ $unit != *'|payments'* ]] || count=4
	export CACHE=$REDIS_URL
	spawn unit bash -c "exec $unit"
	wait_for "[ \"\$(value evpipe_open_records)\" = 0 ] && [ \"\$(value evpipe_records_out_total)\" -ge $count ]" 60
	kill -TERM "$(<unit.pid)"
	wait_exit unit
	[ "$status" -eq 0 ] || { echo "status $status"; return 1; }
}

@test "README.md and the examples" {
	units "$ROOT/README.md" "$ROOT"/examples/pipelines/*.sh >all
	mv all "$BATS_TEST_TMPDIR"
	local unit bad=
	[ "$(wc -l <"$BATS_TEST_TMPDIR/all")" -ge 12 ]
	while IFS= read -r unit; do
		left_out "$unit" >/dev/null && continue
		echo "=== $unit"
		survives "$unit" || { cat unit.err; bad=1; }
	done <"$BATS_TEST_TMPDIR/all"
	[ -z "$bad" ]
}
