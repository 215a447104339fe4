#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# kread and rapply: a topic that was made anew under its name is another log, and is read from where it parts from the one before.

load helpers
load gaps

setup_file() {
	kafka_start
}

# delete_and_make TOPIC: the topic anew, under its name.
delete_and_make() {
	topics delete "$1"
	topics create "$1" 1
}

# reads_anew OLD NEW ARGUMENT…: whether a kread that has read OLD records reads NEW records of a topic that takes
# its place.
reads_anew() {
	local old=$1 new=$2 topic
	shift 2
	topic=$(new_topic)
	seq -f old%g "$old" | kproduce "$topic"
	spawn it kread -q --raw --metrics m.prom "$@" "$topic" </dev/null
	wait_lines it.out "$old"
	delete_and_make "$topic"
	seq -f new%g "$new" | kproduce "$topic"
	wait_for "[ \$(grep -c new it.out) -ge $new ]"
	stop it
	wait_exit it
	[ "$status" -eq 0 ]
	[ "$(grep -v old it.out | sort -u | wc -l)" -eq "$new" ]
	grep -q "^kread: topic '$topic', partition 0: its log is not the one that was read up to $old: .* goes back to its beginning$" it.err
	[ "$(metric gaps_total m.prom)" = 1 ]
}

# bats test_tags=newest
@test "proofs that are asked for all the time find no other log, and nothing comes twice" {
	local topics=() writers=() w
	for w in 1 2 3; do
		topics+=("$(new_topic 2)")
	done
	spawn it kread -q --raw --metrics m.prom -g "$(unique group)" --commit written \
		-X topic.metadata.refresh.interval.ms=20 -X fetch.wait.max.ms=20 "${topics[@]}"
	# One by one, so that ends are reached again and again.
	for w in 1 2 3; do
		for i in $(seq "$w" 3 1800); do
			echo "$i"
			sleep 0.005
		done | kwrite --raw -t "${topics[w - 1]}" &
		writers+=($!)
	done
	wait "${writers[@]}"
	wait_lines it.out 1800
	stop it
	wait_exit it
	[ "$status" -eq 0 ]
	[ "$(sort -n it.out)" = "$(seq 1800)" ]
	[ ! -s it.err ]
	[ "$(metric gaps_total m.prom)" = 0 ]
}

# bats test_tags=smoke
@test "a topic that is made anew under a reader is read from its beginning, if it is longer than it was" {
	reads_anew 10 30 -g "$(unique group)" --commit written
}

@test "a topic that is made anew under a reader is read from its beginning, if it is shorter than it was" {
	reads_anew 10 5 -g "$(unique group)" --commit written
}

@test "a topic that is made anew is read from its beginning without a group too" {
	reads_anew 10 30 -o 0
	reads_anew 10 10 -p 0
}

# bats test_tags=newest
@test "a topic that has gone under a reader without a group is told once, and waited for" {
	topic=$(new_topic)
	seq -f old%g 10 | kproduce "$topic"
	spawn it kread --raw "$topic" </dev/null
	wait_lines it.out 10
	topics delete "$topic"
	wait_file_contains it.err "topic '$topic', partition 0 cannot be read: "
	topics create "$topic" 1
	seq -f new%g 30 | kproduce "$topic"
	wait_for '[ "$(grep -c new it.out)" -ge 30 ]'
	[ "$(grep -c 'cannot be read' it.err)" -eq 1 ]
	# A librdkafka that knows topics by their ids has another word.
	grep -qE "^kread: warning: topic '$topic', partition 0 cannot be read: .*Unknown topic (or partition|id).*; trying again$" it.err
}

# Nothing tells of the change: the new log ends where the old one did, and was there at the next fetch.
# bats test_tags=newest
@test "a topic that is made anew with as many records is read, though no message and no error has come of it" {
	topic=$(new_topic)
	seq -f old%g 10 | kproduce "$topic"
	spawn it kread -v --raw -X topic.metadata.refresh.interval.ms=300 -X fetch.wait.max.ms=10 -X debug=protocol \
		"$topic" </dev/null
	wait_lines it.out 10
	# It has seen the end.
	wait_for '[ "$(grep -c "Sent FetchRequest" it.err)" -ge 50 ]'
	stop it STOP
	delete_and_make "$topic"
	seq -f new%g 10 | kproduce "$topic"
	stop it CONT
	wait_for '[ "$(grep -c new it.out)" -ge 10 ]'
	[ "$(grep new it.out | sort -u | wc -l)" -eq 10 ]
	grep -q "its log is not the one that was read up to 10: .* goes back to its beginning$" it.err
}

@test "a topic that is made anew ends a reading with --on-gap stop" {
	topic=$(new_topic)
	group=$(unique group)
	seq 10 | kproduce "$topic"
	spawn it kread -q --raw --on-gap stop -g "$group" --commit written "$topic" </dev/null
	wait_lines it.out 10
	delete_and_make "$topic"
	seq 30 | kproduce "$topic"
	wait_exit it
	[ "$status" -eq 100 ]
	[ "$(wc -l <it.out)" -eq 10 ]
}

@test "a position that was committed in another log is seen at the next start" {
	topic=$(new_topic)
	group=$(unique group)
	seq 10 | kproduce "$topic"
	ends_at 0 -e -g "$group" "$topic"
	before=$(position_and_metadata "$group" "$topic")
	delete_and_make "$topic"
	seq 30 | kproduce "$topic"
	# Kafka forgets the positions of a deleted topic. This is one that came too late.
	# shellcheck disable=SC2086 # an offset and words of metadata
	topics commit "$group" "$topic" 0 ${before%% *} "${before#* }"
	ends_at 0 -e -g "$group" "$topic"
	[ "$(wc -l <out)" -eq 30 ]
	grep -q "partition 0: its log is not the one that was read up to 10" err
	ends_at 0 -e -g "$group" "$topic"
	[ ! -s out ]
	[ ! -s err ]
}

@test "a reading goes back to where the logs part" {
	topic=$(new_topic)
	group=$(unique group)
	for i in {1..100}; do echo "{\"ts\":$((1700000000000 + i)),\"payload\":\"a$i\"}"; done >a
	for i in {1..400}; do echo "{\"ts\":$((1700000001000 + i)),\"payload\":\"b$i\"}"; done >b
	for i in {1..630}; do echo "{\"ts\":$((1700000002000 + i)),\"payload\":\"c$i\"}"; done >c
	kwrite -t "$topic" <a
	kwrite -t "$topic" <b
	spawn it kread -q --raw -g "$group" --commit written "$topic" </dev/null
	wait_lines it.out 500
	topics delete "$topic"
	topics create "$topic" 1
	cat a c | kwrite -t "$topic"
	wait_for '[ $(grep -c c it.out) -ge 630 ]'
	[ "$(grep c it.out | sort -u | wc -l)" -eq 630 ]
	# Not every record has a mark: a few of those that are the same come again. By its id the whole topic is new.
	back=$(sed -n 's/.* not the one that was read up to 500: .*; reading goes back to //p' it.err | head -n 1)
	[ "$back" != "its beginning" ] || back=0
	[ "$back" -le 100 ]
	if grep -q "it has another id" it.err; then
		[ "$(wc -l <it.out)" -ge 1230 ]
	else
		# A librdkafka that asks for topics by their ids may see the new one while it is empty.
		[ "$back" -gt 0 ] || ! kread --version | grep -q "librdkafka 2\.0\."
		[ "$(wc -l <it.out)" -eq $((1130 + 100 - back)) ]
	fi
}

@test "a pipeline with acknowledgements goes back, and nothing is left open" {
	topic=$(new_topic)
	to=$(new_topic)
	seq -f old%g 10 | kproduce "$topic"
	spawn unit evpipe kread -g "$topic" "$topic" '|' kwrite -t "$to" </dev/null
	wait_for '[ "$(position "$topic" "$topic")" = 10 ]'
	delete_and_make "$topic"
	seq -f new%g 30 | kproduce "$topic"
	wait_for '[ "$(position "$topic" "$topic")" = 30 ]'
	stop unit
	wait_exit unit
	[ "$status" -eq 0 ]
	[ "$(kconsume "$to" | xargs)" = "$(seq -f old%g 10 | xargs) $(seq -f new%g 30 | xargs)" ]
}

# bats test_tags=newest
@test "a position that a transaction committed in another log is seen at the next start" {
	topic=$(new_topic)
	to=$(new_topic)
	group=$(unique group)
	seq -f old%g 10 | kproduce "$topic"
	evpipe kread -q -e -g "$group" "$topic" '|' kwrite --txn "$group" -t "$to"
	before=$(position_and_metadata "$group" "$topic")
	echo "$before"
	[[ $before == "10 evpipe1 9:"* ]]
	delete_and_make "$topic"
	seq -f new%g 30 | kproduce "$topic"
	# shellcheck disable=SC2086 # an offset and words of metadata
	topics commit "$group" "$topic" 0 ${before%% *} "${before#* }"
	evpipe kread -q -e -g "$group" "$topic" '|' kwrite --txn "$group" -t "$to" 2>err
	grep -q "partition 0: its log is not the one that was read up to 10" err
	[ "$(kconsume "$to" -X isolation.level=read_committed -f '%s\n' | xargs)" = \
		"$(seq -f old%g 10 | xargs) $(seq -f new%g 30 | xargs)" ]
	[[ $(position_and_metadata "$group" "$topic") == "30 evpipe1 29:"* ]]
	evpipe kread -q -e -g "$group" "$topic" '|' kwrite --txn "$group" -t "$to" 2>err
	[ ! -s err ]
}

@test "a pipeline with transactions goes back, and each record is written once" {
	topic=$(new_topic)
	to=$(new_topic)
	seq -f old%g 10 | kproduce "$topic"
	spawn unit evpipe kread -g "$topic" "$topic" '|' kwrite --txn "$topic" -t "$to" </dev/null
	wait_for '[ "$(position "$topic" "$topic")" = 10 ]'
	delete_and_make "$topic"
	seq -f new%g 30 | kproduce "$topic"
	wait_for '[ "$(position "$topic" "$topic")" = 30 ]'
	stop unit
	wait_exit unit
	[ "$status" -eq 0 ]
	[ "$(kconsume "$to" -X isolation.level=read_committed -f '%s\n' | xargs)" = \
		"$(seq -f old%g 10 | xargs) $(seq -f new%g 30 | xargs)" ]
	[[ $(position_and_metadata "$topic" "$topic") == "30 evpipe1 29:"* ]]
}

# Kafka has forgotten the group's position, and no id or mark is left of the old topic but in redis.
@test "rapply refuses a topic that was made anew while it was down, though it is longer than the position" {
	redis_start
	topic=$(new_topic)
	group=$(unique group)
	commands() { seq "$1" | awk '{ printf "[\"SADD\",\"s\",\"%d\"]\n", $1 }' | kproduce "$topic"; }
	apply() { evpipe kread -e -g "$1" "$topic" '|' rapply 2>err; }
	commands 10
	apply "$group"
	apply "$group"
	# Of another group the record at the position says that it is the topic.
	apply "$(unique group)"
	[ "$(rcli scard s)" = 10 ]
	run ! grep warning err
	delete_and_make "$topic"
	commands 30
	run -100 apply "$group"
	grep -q "^rapply: topic '$topic', partition 0: the position in redis (key 'evpipe:pos:$topic:0') is not of this topic: the record at offset 9" err
	[ "$(rcli scard s)" = 10 ]
	# A position without a time, as older ones are.
	rcli set "evpipe:pos:$topic:0" "$(rcli get "evpipe:pos:$topic:0" | cut -d' ' -f1,2)"
	apply "$group"
	grep -q "^rapply: warning: topic '$topic', partition 0: redis has offset 9 (key 'evpipe:pos:$topic:0'), and the group has no position: if the topic was made anew" err
	apply "$group"
	run ! grep "the group has no position" err
	rcli del "evpipe:pos:$topic:0" s
	apply "$group"
	[ "$(rcli scard s)" = 30 ]
}

# ---- ids of topics ----

# needs_ids: librdkafka has them from 2.3 on.
needs_ids() {
	kread --version | grep -q "librdkafka 2\.[012]\." && skip "this librdkafka knows no ids"
	return 0
}

# alike TOPIC N: the same records at each call.
alike() {
	for i in $(seq "$2"); do echo "{\"ts\":$((1700000000000 + i)),\"payload\":\"a$i\"}"; done | kwrite -t "$1"
}

# bats test_tags=newest
@test "a position of a topic that was made anew with the same records is seen by the id" {
	needs_ids
	topic=$(new_topic)
	group=$(unique group)
	alike "$topic" 10
	ends_at 0 -e -g "$group" "$topic"
	before=$(position_and_metadata "$group" "$topic")
	[[ $before == "10 evpipe1 9:"*" @"* ]]
	delete_and_make "$topic"
	alike "$topic" 12
	# shellcheck disable=SC2086 # an offset and words of metadata
	topics commit "$group" "$topic" 0 ${before%% *} "${before#* }"
	ends_at 100 -e --on-gap stop -g "$group" "$topic"
	[ ! -s out ]
	ends_at 0 -e -g "$group" "$topic"
	[ "$(wc -l <out)" -eq 12 ]
	grep -q "partition 0: its log is not the one that was read up to 10: the topic was made anew, it has another id; reading goes back to its beginning$" err
	[ "$(metric gaps_total m.prom)" = 1 ]
	[[ $(position_and_metadata "$group" "$topic") != *"${before##* }" ]]
	ends_at 0 -e -g "$group" "$topic"
	[ ! -s out ]
	[ ! -s err ]
}

# bats test_tags=newest
@test "a topic that is made anew with the same records under a reader is seen by the id" {
	needs_ids
	topic=$(new_topic)
	group=$(unique group)
	alike "$topic" 10
	spawn it kread -q --raw --metrics m.prom -g "$group" --commit written "$topic" </dev/null
	wait_lines it.out 10
	delete_and_make "$topic"
	alike "$topic" 10
	wait_lines it.out 20
	alike "$topic" 1
	wait_lines it.out 21
	stop it
	wait_exit it
	[ "$status" -eq 0 ]
	grep -q "its log is not the one that was read up to" it.err
	ends_at 0 -e -g "$group" "$topic"
	[ ! -s out ]
	[ ! -s err ]
}
