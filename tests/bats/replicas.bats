#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# Three brokers with three replicas, two of which must be in sync, in two racks; each fault comes under load: 0 lost, order kept.

# bats file_tags=once
load helpers
load brokers

setup_file() {
	brokers_start 'SIX [::1]:@SIX@' -- min.insync.replicas=2 \
		replica.lag.time.max.ms=3000
}

# load_begins COUNT: so many records, a thousand a second, each with its number, into $topic by kwrite; what it says is in
# writes.err.
load_begins() {
	seq "$1" | jq -c --argjson now $((EPOCHSECONDS * 1000)) '{ts: ($now + .), key: "\(. % 5)", payload: "\(.)"}' >records
	# shellcheck disable=SC2016 # the inner shell's
	spawn writes sh -c 'evreplay --speed ${SPEED:-1} <records | kwrite --now -t "$1"' sh "$topic" </dev/null
}

count() {
	kread -q -e --raw "${1:-$topic}" | wc -l
}

# load_ends COUNT: all of them stand in the topic once, those of a key in order.
load_ends() {
	wait_exit writes
	cat writes.err
	[ "$status" -eq 0 ]
	wait_for "[ \$(count) -ge $1 ]"
	kread -q -e "$topic" | jq -r '[.key, .payload] | @tsv' >all
	[ "$(wc -l <all)" -eq "$1" ]
	cut -f2 all | sort -n | diff - <(seq "$1")
	awk '$2 <= last[$1] + 0 { exit 1 } { last[$1] = $2 }' all
}

@test "IPv6: the brokers are reached by it, in brackets" {
	topic=$(new_topic 1 replicas=1,2,3)
	SIX=$(awk '$1 == "SIX" { print $2 }' "$BROKERS_DIR/k2/named-ports")
	seq 3 | kwrite -b "[::1]:$SIX" --raw -t "$topic"
	[ "$(kread -q -b "[::1]:$SIX" -e --raw "$topic" | xargs)" = '1 2 3' ]
	kcheck -b "[::1]:$SIX" -t "$topic" >out
	[ "$(grep -c '^good  \[::1\]:' out)" -eq 3 ]
}

@test "the leader is killed under load, and comes back" {
	topic=$(new_topic 1 replicas=2,3,1)
	load_begins 3000
	wait_for '[ $(count) -ge 300 ]'
	broker_stop 2 -9
	load_ends 3000
	broker_start 2
	wait_for "all_in_sync $topic"
}

@test "too few replicas in sync: kwrite waits, and goes on when there are enough" {
	topic=$(new_topic 1 replicas=3,2 min.insync.replicas=2)
	load_begins 3000
	wait_for '[ $(count) -ge 300 ]'
	broker_stop 2 -9
	wait_file_contains writes.err 'warning'
	alive "$(pid_of writes)"
	broker_start 2
	load_ends 3000
}

@test "a broker that leads is frozen and wakes" {
	topic=$(new_topic 1 replicas=3,2)
	wait_for "all_in_sync $topic"
	load_begins 3000
	wait_for '[ $(count) -ge 300 ]'
	broker_signal 3 STOP
	wait_for '[ "$(leader_of "$topic")" = 2 ]'
	broker_signal 3 CONT
	load_ends 3000
}

# Each two records are too large together. The client that sends all four again makes other batches of them: three are refused,
# and the fourth, behind them, would be written first, since the broker has nothing of this client.
@test "two refused batches of few large records are sent again in order" {
	local n other
	topic=$(new_topic 1 replicas=3,) other=$(new_topic 1 replicas=3,)
	spawn_fed writes kwrite -v -t "$topic" -X linger.ms=1000 -X debug=msg
	echo '{"payload":"0"}' >&7
	wait_for '[ $(count) -eq 1 ]'
	"$ROOT/tests/kafka/topics" "$KAFKA_BROKERS" set "$topic,$other" max.message.bytes=500000
	# The leader has heard of it.
	wait_for "! printf '%0600000d' 0 | kproduce $other"
	broker_signal 3 STOP
	for n in 1 2; do
		seq -f '{"payload":"%0300000.0f"}' $((2 * n - 1)) $((2 * n)) >&7
		wait_for "[ \$(grep -c ': Produce MessageSet with 2 message' writes.err) -eq $n ]"
	done
	exec 7>&-
	broker_signal 3 CONT
	wait_exit writes
	[ "$status" -eq 0 ]
	kread -q -e --raw "$topic" | sed 's/^0*\(.\)/\1/' | diff - <(seq 0 4)
}

@test "a partition without a leader, and one with too few replicas in sync: kread, kwrite and kcheck say so" {
	local few it
	topic=$(new_topic 1 replicas=3, min.insync.replicas=1)
	few=$(new_topic 1 replicas=2,3 min.insync.replicas=2)
	echo x | kwrite -q --raw -t "$topic"
	broker_stop 3 -9
	B=$(broker_at 1)
	export KAFKA_BROKERS=$B
	wait_for '[ "$(leader_of "$topic")" = -1 ]'
	spawn reads kread -e --raw "$topic" </dev/null
	spawn joins kread --raw -g "$(unique g)" --commit written -c 1 "$topic" </dev/null
	spawn writes kwrite --raw -t "$topic" <<<y
	spawn fews kwrite --raw -t "$few" <<<z
	for it in reads joins; do
		wait_file_contains $it.err "topic '$topic', partition 0: no broker can be asked for its offsets: "
	done
	wait_file_contains writes.err "topic $topic partition 0: no broker is its leader; waiting"
	wait_file_contains fews.err "topic $few partition 0: fewer in-sync replicas than min.insync.replicas; waiting"
	run -111 kcheck -t "$topic" -t "$few"
	[[ $output == *"verdict: topic '$topic': partition 0 has no leader: none of its replicas is there"* ]]
	[[ $output == *"verdict: topic '$few': partition 0 has 1 of 2 replicas in sync, and min.insync.replicas is 2: "* ]]
	broker_start 3
	for it in reads joins writes fews; do
		wait_exit $it
		[ "$status" -eq 0 ]
	done
	[ "$(head -n 1 reads.out)" = x ]
	[ "$(<joins.out)" = x ]
	[ "$(wc -l <joins.err)" -eq 1 ]
	run -0 kcheck -t "$few"
}

# A unit of the same brokers reads and writes: a broker that restarts is its source, its target, and its coordinator.
@test "all three restart, one after the other, under load: kread and kwrite go on" {
	local n out
	topic=$(new_topic 3 replicas=3)
	out=$(new_topic 3 replicas=3)
	spawn unit evpipe -n "$out" kread -q -g "$out" "$topic" '|' kwrite -t "$out" </dev/null
	SPEED=0.2 load_begins 4000
	wait_for '[ $(count "$out") -ge 100 ]'
	for n in 3 2 1; do
		broker_stop $n
		broker_start $n
		wait_for "all_in_sync $topic && all_in_sync $out"
	done
	load_ends 4000
	wait_for '[ "$(kread -q -e --raw "$out" | sort -u | wc -l)" -eq 4000 ]'
	stop unit
	wait_exit unit
	cat unit.err
	[ "$status" -eq 0 ]
	# What comes twice comes after its first copy.
	kread -q -e "$out" | jq -r '[.key, .payload] | @tsv' | awk '!seen[$0]++' |
		awk '$2 <= last[$1] + 0 { exit 1 } { last[$1] = $2 }'
}

# The last one: broker 3 stays there.
@test "a broker comes back under another address: its only readers and writers find it" {
	local old
	topic=$(new_topic 1 replicas=3, min.insync.replicas=1)
	old=$(broker_at 3)
	spawn reads kread -q --raw "$topic" </dev/null
	SPEED=0.2 load_begins 3000
	wait_lines reads.out 300
	broker_stop 3
	wait_file_contains writes.err 'warning'
	sed -i "s/^[0-9]*/$(free_port)/" "$BROKERS_DIR/k3/ports"
	broker_start 3
	[ "$(broker_at 3)" != "$old" ]
	load_ends 3000
	wait_lines reads.out 3000
	seq 3000 | diff - <(sort -n reads.out)
	stop reads
	wait_exit reads
	[ "$status" -eq 0 ]
}
