#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# kread as a static member of its group: who is killed takes its partitions over again when it is back. Sessions are
# longer here than any test waits, so that nothing is owed to their end.

load helpers

setup_file() {
	kafka_start
}

LONG=(-X session.timeout.ms=300000)

# unit NAME UNIT GROUP TOPIC OUT [OPTION…]: a pipeline in the background.
unit() {
	local name=$1 unit=$2 group=$3 topic=$4 out=$5
	shift 5
	spawn "$name" evpipe --restart -n "$unit" kread -g "$group" "${LONG[@]}" "$@" "$topic" '|' kwrite -t "$out" \
		</dev/null
}

# arrive TOPIC OUT LINE…: writes the lines, each to all partitions, and waits until all have come.
arrive() {
	local topic=$1 out=$2
	shift 2
	printf '%s\n' "$@" | kproduce "$topic" -p 0
	printf '%s\n' "$@" | kproduce "$topic" -p 1
	wait_for "[ \$(kconsume $out | grep -cxF -e ${1} ) -ge 2 ]"
}

# bats test_tags=smoke
@test "a killed member is back at once, and so is a killed unit" {
	topic=$(new_topic 2)
	out=$(new_topic)
	unit it "$topic" "$topic" "$topic" "$out"
	arrive "$topic" "$out" first
	kill -KILL "$(pgrep -x -P "$(pid_of it)" kread)"
	arrive "$topic" "$out" second
	kill -KILL "$(pgrep -x -P "$(pid_of it)" kwrite)"
	arrive "$topic" "$out" third
	stop it KILL
	wait_exit it
	unit it "$topic" "$topic" "$topic" "$out"
	arrive "$topic" "$out" fourth
	stop it
	wait_exit it
	[ "$status" -eq 0 ]
	# It is still a member: what comes again has its partitions without a rebalance.
	unit it "$topic" "$topic" "$topic" "$out"
	arrive "$topic" "$out" fifth
}

# owners: who has which partitions, once three have two each; a member's id is its instance's, and 37 random bytes.
owners() {
	kcheck --json -g "$topic" | jq -er 'select(.group) | select(.state == "Stable" and (.members | length) == 3) | .members |
		select(all(.[]; (.partitions | length) == 2)) | sort_by(.id)[] | "\(.id[:-37]) \(.partitions)"'
}

@test "a rolling restart of three units moves no partition" {
	local n
	topic=$(new_topic 6)
	out=$(new_topic)
	for n in a b c; do unit $n "$topic-$n" "$topic" "$topic" "$out" -v; done
	wait_for 'owners >before'
	for n in a b c; do
		stop $n
		wait_exit $n
		[ "$status" -eq 0 ]
		unit $n "$topic-$n" "$topic" "$topic" "$out" -v
		wait_file_contains $n.err "2 partitions were assigned"
		wait_for 'owners >after'
		diff before after
	done
	# What was given out again beside it would be told.
	for n in a b; do [ "$(grep -c assigned $n.err)" -eq 1 ]; done
}

@test "two units of one name are two members" {
	topic=$(new_topic 2)
	out=$(new_topic)
	unit one "$topic" "$topic" "$topic" "$out"
	arrive "$topic" "$out" first
	unit two "$topic" "$topic" "$topic" "$out" -v
	wait_file_contains two.err "1 partition was assigned"
	arrive "$topic" "$out" second
	run ! grep "another process" one.err two.err
}

@test "a reading that ends leaves the group" {
	topic=$(new_topic)
	out=$(new_topic)
	echo first | kproduce "$topic"
	evpipe kread -g "$topic" "${LONG[@]}" -e "$topic" '|' kwrite -t "$out"
	run -0 kread --raw -g "$topic" --commit never -e "$topic"
	evpipe kread -g "$topic" "${LONG[@]}" --idle-exit 100ms "$topic" '|' kwrite -t "$out" || true
	run -0 kread --raw -g "$topic" --commit never -e "$topic"
}

# bats test_tags=smoke
@test "of two processes with one group.instance.id the first ends with 100, and says so once" {
	topic=$(new_topic)
	group=$(unique group)
	for n in one two; do
		spawn "$n" kread -g "$group" --commit written -X group.instance.id=m1 "${LONG[@]}" "$topic" </dev/null
		[ "$n" = two ] || echo first | kproduce "$topic"
		[ "$n" = two ] || wait_lines one.out 1
	done
	wait_exit one
	[ "$status" -eq 100 ]
	[ "$(cat one.err)" = "kread: another process runs with group.instance.id 'm1': each needs one of its own" ]
	echo second | kproduce "$topic"
	wait_lines two.out 1
}

# A broker that comes back may take the request of a process that was killed after the one of the process behind it.
@test "a group.instance.id that is taken before the group gave out partitions is 111: who took it may be dead" {
	topic=$(new_topic)
	group=$(unique group)
	echo first | kproduce "$topic"
	# The group waits for it, two minutes.
	spawn silent "$ROOT/tests/bats/silent-member" "$KAFKA_BROKERS" "$group" "$topic" 120000
	wait_file_contains silent.out 'heartbeat 0'
	spawn late kread -g "$group" --commit written -X group.instance.id=m1 "${LONG[@]}" "$topic" </dev/null
	wait_for 'kcheck --json -g "$group" | jq -e "select(.group) | .members | any(.id | startswith(\"m1\"))"'
	"$ROOT/tests/bats/silent-member" "$KAFKA_BROKERS" "$group" "$topic" 120000 m1
	wait_exit late
	[ "$status" -eq 111 ]
	[ ! -s late.out ]
	[ "$(cat late.err)" = "kread: group.instance.id 'm1' was taken before the group gave out partitions: by an older request of a process that has ended, or by another process, which needs one of its own" ]
	# The next one takes it over.
	spawn next kread -g "$group" --commit written -X group.instance.id=m1 "${LONG[@]}" "$topic" </dev/null
	wait_for 'kcheck --json -g "$group" | jq -e "select(.group) | .members | any(.id | startswith(\"m1\"))"'
	stop silent
	wait_lines next.out 1
}

# bats test_tags=newest
@test "group.protocol=consumer: with a librdkafka that has it the group is read and goes on where it was; else that is said" {
	local version
	topic=$(new_topic 2)
	group=$(unique g)
	seq 10 | kproduce "$topic"
	version=$(kread -V | sed -n 's/.*librdkafka \([0-9.]*\).*/\1/p')
	if [ "$(printf '%s\n' "$version" 2.4.0 | sort -V | head -n 1)" != 2.4.0 ]; then
		run -100 kread -g "$group" --commit written -X group.protocol=consumer "$topic"
		[[ $output == *"group.protocol"*"it needs librdkafka 2.4, and this is $version"* ]]
		echo 'group.protocol = consumer' >properties
		run -100 kread -g "$group" --commit written -F properties "$topic"
		[[ $output == *"properties, line 1"*"it needs librdkafka 2.4, and this is $version"* ]]
		return
	fi
	echo 'group.protocol = consumer' >properties
	kread -q -g "$group-2" --commit written -F properties --raw -c 10 "$topic" >three
	[ "$(sort -n three | xargs)" = "$(seq 10 | xargs)" ]
	spawn reads kread -q -g "$group-3" --commit written -F properties --raw "$topic" </dev/null
	wait_lines reads.out 10
	wait_for 'kcheck --json -g "$group-3" | jq -e "select(.group) | .state == \"Stable\" and (.members[0].partitions | length) == 2"'
	# It says that there are no positions yet, until there are.
	wait_for 'kcheck -g "$group-3" >view && ! grep -q note: view'
	grep -qx "  member evpipe-kread /127.0.0.1 reads $topic 0 1" view
	stop reads
	wait_exit reads
	kread -q -g "$group" --commit written -X group.protocol=consumer --raw -c 4 "$topic" >one
	kread -q -g "$group" --commit written -X group.protocol=consumer --raw -c 6 "$topic" >two
	[ "$(sort -n one two | xargs)" = "$(seq 10 | xargs)" ]
}

# bats test_tags=newest
@test "group.protocol=consumer: an instance id that is still a member's is 111 at once, named; its member goes on" {
	local version
	version=$(kread -V | sed -n 's/.*librdkafka \([0-9.]*\).*/\1/p')
	# What an older one says is told above.
	[ "$(printf '%s\n' "$version" 2.4.0 | sort -V | head -n 1)" = 2.4.0 ] || return 0
	topic=$(new_topic) group=$(unique group)
	new=(-g "$group" --commit written -X group.protocol=consumer -X group.instance.id=m1 --raw)
	echo first | kproduce "$topic"
	spawn one kread "${new[@]}" "$topic" </dev/null
	wait_lines one.out 1
	run -111 --separate-stderr timeout 100 kread "${new[@]}" "$topic"
	# shellcheck disable=SC2154 # set by run
	[[ $stderr == "kread: group.instance.id 'm1' is still a member's: of a process that was killed, until its session is over "* ]]
	[ "$(wc -l <<<"$stderr")" -eq 1 ]
	echo second | kproduce "$topic"
	wait_lines one.out 2
}
