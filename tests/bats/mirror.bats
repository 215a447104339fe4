#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# A second site: kread | evstamp | kwrite between two real clusters, OLD and NEW; a group moves from one to the other.

# shellcheck disable=SC2154 # run sets stderr
load helpers

setup_file() {
	harness_setup
	own_kafka_start
	NEW=$KAFKA_BROKERS
	kafka_start
	OLD=$KAFKA_BROKERS
	export OLD NEW
}

setup() {
	harness_setup
	topic=$(unique topic)
	map=$(unique map)
	group=$(unique g)
	export topic map group
}

# old_topic PARTITIONS [CONFIG…], new_topic…: a topic of that name in the cluster.
old_topic() {
	"$ROOT/tests/kafka/topics" "$OLD" create "$topic" "$@"
}

# records FROM TO: as many, with keys and numbers, of now.
records() {
	local now=$((EPOCHSECONDS * 1000))
	seq "$1" "$2" | jq -c --arg t "$topic" --argjson now $now \
		'{topic: $t, ts: ($now + .), key: "k\(. % 7)", headers: ["n", "\(.)"], payload: "\(.)"}'
}

# mirror: what stands in OLD is copied.
mirror() {
	kread -q -b "$OLD" -e "$topic" | kwrite -b "$NEW" -p keep --create like --old "$OLD" --map "$map"
}

# what CLUSTER: all of the topic's records, but for where they were read.
what() {
	kread -q -b "$1" -e "$topic" | jq -Sc 'del(.broker, .seq)' | sort
}

# reads CLUSTER OPTION…: payloads that the group reads there, sorted.
reads() {
	kread -q -b "$1" -g "$group" --commit written "${@:2}" "$topic" 2>>reads.err | jq -r .payload | sort -n
}

@test "names, partitions, keys, headers, times and tombstones are the same; the topic is made like the old one" {
	old_topic 5 max.message.bytes=54321 cleanup.policy=compact segment.ms=3600000
	{
		records 1 50
		jq -nc --arg t "$topic" '{topic: $t, key: "gone", payload: null}, {topic: $t, key: "", payload: ""},
			{topic: $t, key_b64: "/w==", payload_b64: "/wA=", headers: ["a", null, "a", "", "b", {"b64": "/w=="}]}'
	} | kwrite -b "$OLD"
	mirror
	what "$OLD" >old
	what "$NEW" >new
	[ "$(wc -l <old)" -eq 53 ]
	diff old new
	kcheck --json -b "$NEW" -t "$topic" | jq -e 'select(.topic).partitions | length == 5'
	run kwrite -q -b "$NEW" -t "$topic" <<<"{\"key\":\"k\",\"payload\":\"$(head -c 60000 /dev/zero | tr '\0' x)\"}"
	[ "$status" -eq 1 ]
	[[ $output == *'max.message.bytes'* ]]
}

@test "a topic with another number of partitions is refused, and one that the old cluster lacks" {
	old_topic 3
	"$ROOT/tests/kafka/topics" "$NEW" create "$topic" 2
	records 1 5 | kwrite -b "$OLD"
	run mirror
	[ "$status" -eq 100 ]
	[[ $output == *"has 2 partitions here"*"3 in the old cluster"* ]]
	run kwrite -b "$NEW" --create like --old "$OLD" <<<'{"topic":"nowhere","payload":"x"}'
	[ "$status" -eq 1 ]
	[[ $output == *"'nowhere' does not exist, in the old cluster neither"* ]]
}

@test "a group moves over without a repeat, by the old cluster's positions" {
	old_topic 3
	records 1 300 | kwrite -b "$OLD"
	reads "$OLD" -c 200 >before
	mirror
	reads "$NEW" --offsets-from "$map" --old "$OLD" -e >after
	[ "$(wc -l <before)" -eq 200 ]
	seq 300 | diff - <(sort -n before after)
	# Once: it has a position of its own now, in each partition.
	reads "$NEW" --offsets-from "$map" --old "$OLD" -e >again
	[ ! -s again ]
}

@test "a group moves over when the old cluster is gone: the map has its positions" {
	old_topic 3
	records 1 300 | kwrite -b "$OLD"
	reads "$OLD" -c 120 >before
	mirror
	reads "$NEW" --offsets-from "$map" -e >after
	seq 300 | diff - <(sort -n before after)
}

@test "the offsets need not be the same: records were there before, others are dropped, some come twice" {
	old_topic 2
	records 1 20 | kwrite -b "$OLD"
	mirror
	# Once more from the beginning: all of them come twice.
	mirror
	records 21 200 | kwrite -b "$OLD"
	reads "$OLD" -c 100 >before
	kread -q -b "$OLD" -e "$topic" | evsel '.payload | tonumber | . > 20 and . % 10 != 0' |
		kwrite -b "$NEW" -p keep --map "$map"
	reads "$NEW" --offsets-from "$map" --old "$OLD" -e >after
	# Of what was read nothing comes again, and all that is left does, twice where the group had no position.
	[ -z "$(comm -12 <(sort before) <(sort after))" ]
	# shellcheck disable=SC2016 # awk's
	seq 200 | awk '$1 <= 20 || $1 % 10' | grep -vxFf before | diff - <(sort -nu after)
}

@test "what is not in the map yet is told, and a group that it does not know" {
	old_topic 1
	records 1 10 | kwrite -b "$OLD"
	kread -q -b "$OLD" -c 4 "$topic" | kwrite -b "$NEW" -p keep --create like --old "$OLD" --map "$map"
	reads "$OLD" -e >before
	run --separate-stderr kread -b "$NEW" -g "$group" --commit written --offsets-from "$map" --old "$OLD" -e "$topic"
	[ "$status" -eq 0 ]
	[ -z "$output" ]
	[[ $stderr == *'the last 6 offsets that the group has read in the old cluster are not in the map'* ]]
	run --separate-stderr kread -b "$NEW" -g "$group-2" --commit written --offsets-from "$map" -e "$topic"
	[[ $stderr == *"does not say where group '$group-2' was"* ]]
	[ "${#lines[@]}" -eq 4 ]
}

@test "a map that is none" {
	old_topic 1
	records 1 3 | kwrite -b "$OLD"
	run kread -b "$OLD" -g "$group" --commit written --offsets-from "$topic-no" -e "$topic"
	[ "$status" -eq 100 ]
	[[ $output == *"the map's topic, '$topic-no', does not exist"* ]]
	run --separate-stderr kread -b "$OLD" -g "$group" --commit written --offsets-from "$topic" -e "$topic"
	[ "$status" -eq 0 ]
	[[ $stderr == *"a message that is none of kwrite --map"* ]]
	run kwrite -b "$OLD" --map "$topic" <<<"{\"topic\":\"$topic\",\"partition\":0,\"offset\":1,\"payload\":\"x\"}"
	[ "$status" -eq 100 ]
	[[ $output == *"is not compacted"* ]]
	run kwrite -b "$OLD" --map "$map" <<<"{\"topic\":\"$topic\",\"payload\":\"x\"}"
	[ "$status" -eq 1 ]
	[[ $output == *"no topic, partition and offset"* ]]
}

@test "what the map cannot take is not acknowledged" {
	old_topic 1
	records 1 3 | kwrite -b "$OLD"
	KAFKA_BROKERS=$OLD
	"$ROOT/tests/kafka/topics" "$OLD" create "$map" 1 cleanup.policy=compact max.message.bytes=100
	run -111 evpipe kread -q -e -g "$group" "$topic" '|' kwrite -t "$topic-copy" --create --map "$map"
	[[ $output == *"kwrite: cannot write to the map, topic '$map': Message size too large"* ]]
	[ "$(reads "$OLD" -e)" = "$(seq 3)" ]
}

@test "options that do not go together" {
	local call
	while read -r call; do
		# shellcheck disable=SC2086 # words
		run $call </dev/null
		echo "$call: $output"
		[ "$status" -eq 100 ]
		[[ $output == *--help* ]]
	done <<-'EOC'
		kwrite -b x:1 --create like
		kwrite -b x:1 --create=other
		kwrite -b x:1 --old y:1
		kwrite -b x:1 --map m --pass
		kwrite -b x:1 --map m --raw -t t
		kwrite -b x:1 --create like --old y:1 --raw -t t
		kread -b x:1 --offsets-from m t
		kread -b x:1 -g g --commit written --old y:1 t
	EOC
}

@test "both ways at once, with the same names, and no loop" {
	old_topic 2
	spawn there evpipe -n there kread -b "$OLD" -g "$group" "$topic" '|' \
		evstamp --at header:site --drop new --set old '|' \
		kwrite -b "$NEW" -p keep --create like --old "$OLD" --map "$map"
	records 1 20 | kwrite -b "$OLD"
	wait_for "[ \$(kread -q -b $NEW -e $topic | wc -l) -eq 20 ]"
	spawn back evpipe -n back kread -b "$NEW" -g "$group" "$topic" '|' \
		evstamp --at header:site --drop old --set new '|' \
		kwrite -b "$OLD" -p keep --create like --old "$NEW" --map "$map"
	records 21 40 | kwrite -b "$NEW"
	wait_for "[ \$(kread -q -b $OLD -e $topic | wc -l) -ge 40 ]"
	records 41 50 | kwrite -b "$OLD"
	wait_for "[ \$(kread -q -b $NEW -e $topic | wc -l) -ge 50 ]"
	# Both have taken all there is, and nothing is left to be sent back.
	wait_for "kcheck --json -b $OLD -g $group | jq -e 'select(.group) | .lag == 0'"
	wait_for "kcheck --json -b $NEW -g $group | jq -e 'select(.group) | .lag == 0'"
	stop there
	stop back
	wait_exit there
	[ "$status" -eq 0 ]
	wait_exit back
	[ "$status" -eq 0 ]
	for cluster in "$OLD" "$NEW"; do
		kread -q -b "$cluster" -e "$topic" | jq -r .payload | sort -n | diff <(seq 50) -
	done
}

# Each kill costs a restart of the unit; which member it is changes.
@test "members are killed under load: nothing is lost, order is kept, and a group moves over exactly" {
	old_topic 3
	spawn unit evpipe --restart --listen unix:status -n mirror kread -b "$OLD" -g mirror-"$group" "${SHORT_SESSION[@]}" --window 500 "$topic" '|' \
		evstamp --at header:site --drop new --set old '|' \
		kwrite -b "$NEW" -p keep --create like --old "$OLD" --map "$map"
	records 1 3000 | evreplay --speed 0.5 | kwrite -b "$OLD" &
	local load=$! n=0 kills=0
	for member in kwrite kread evstamp kwrite; do
		n=$((n + 500))
		wait_for "[ \$(kread -q -b $NEW -e $topic | jq -r .payload | sort -un | wc -l) -ge $n ]"
		# Records may be there already: then a kill would meet members that the last one has ended.
		wait_for "[ \$(grep -c 'starting again' unit.err) -eq $kills ]"
		kills=$((kills + 1))
		wait_for "pkill -KILL -P $(pid_of unit) -x $member"
	done
	wait "$load"
	reads "$OLD" -c 1700 >before
	wait_for "[ \$(kread -q -b $NEW -e $topic | jq -r .payload | sort -un | wc -l) -eq 3000 ]"
	wait_for "kcheck --json -b $OLD -g mirror-$group | jq -e 'select(.group) | .lag == 0'"
	# All may have been written before the last kill, and a unit that waits to start again has failed.
	wait_for '[ "$(grep -c "starting again" unit.err)" -eq 4 ] && [ "$(curl -s --unix-socket status http://unit/readyz)" = ok ]'
	stop unit
	wait_exit unit
	[ "$status" -eq 0 ]
	# The first copies of a partition come in its order.
	for partition in 0 1 2; do
		for cluster in "$OLD" "$NEW"; do
			kread -q -b "$cluster" -p $partition -e "$topic" | jq -r .payload | awk '!seen[$0]++' >"$cluster.$partition"
		done
		diff "$OLD.$partition" "$NEW.$partition"
	done
	reads "$NEW" --offsets-from "$map" -e >after
	[ -z "$(comm -12 <(sort before) <(sort after))" ]
	sort -nu before after | diff <(seq 3000) -
}

# grow CLUSTER PARTITIONS: gives the topic more of them.
grow() {
	"$ROOT/tests/kafka/topics" "$1" grow "$topic" "$2"
}

@test "partitions added at the source while it runs end it with the reason; once the target has them too all is copied" {
	old_topic 2
	local unit=(evpipe -n mirror kread -b "$OLD" -g mirror-"$group" -X topic.metadata.refresh.interval.ms=500
		"$topic" '|' kwrite -b "$NEW" -p keep --create like --old "$OLD" --map "$map")
	spawn unit "${unit[@]}"
	records 1 100 | kwrite -b "$OLD"
	wait_for "[ \$(kread -q -b $NEW -e $topic | wc -l) -eq 100 ]"
	grow "$OLD" 4
	jq -nc --arg t "$topic" '{topic: $t, partition: 3, payload: "in the new one"}' | kwrite -b "$OLD" -p keep
	wait_exit unit
	[ "$status" -ne 0 ]
	grep -q "topic '$topic': Unknown partition (the topic has fewer: kafka-topics.sh --alter --partitions N gives it more) (kafka); record $topic/3@0" unit.err
	grow "$NEW" 4
	spawn unit "${unit[@]}"
	wait_for "kread -q -b $NEW -p 3 -e $topic | grep -q 'in the new one'"
	stop unit
	wait_exit unit
	[ "$status" -eq 0 ]
	what "$OLD" >old
	what "$NEW" >new
	diff old new
}
