#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# kwrite and batches that the broker refuses: only what it refuses alone is a refused record.

load helpers

setup_file() {
	kafka_start
}

teardown_file() {
	"$ROOT/tests/kafka/stop" -9 "$BATS_FILE_TMPDIR/own"
	harness_teardown_file
}

# own_kafka: a Kafka of this file's own, on which the user alice may do only what she is allowed to; whoever has
# not logged in may do all. It takes requests of up to 6 MB. Sets KAFKA_BROKERS and KAFKA_SASL.
own_kafka() {
	local dir=$BATS_FILE_TMPDIR/own
	mkdir -p "$dir"
	[ -e "$dir/pid" ] || KAFKA_HEAP=256m "$ROOT/tests/kafka/start" "$dir" "${EVPIPE_KAFKA_VERSION:-4.1.0}" \
		authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer \
		super.users=User:ANONYMOUS socket.request.max.bytes=6000000
	KAFKA_BROKERS=$(<"$dir/bootstrap")
	KAFKA_SASL=$(<"$dir/sasl")
	export KAFKA_BROKERS KAFKA_SASL
}

# as_alice COMMAND…: kwrite or another with a login to which no configuration is told.
as_alice() {
	"$@" -b "$KAFKA_SASL" "${ALICE[@]}"
}
ALICE=(-X security.protocol=sasl_plaintext -X sasl.mechanism=PLAIN -X sasl.username=alice -X sasl.password=secret)

topics() {
	"$ROOT/tests/kafka/topics" "$KAFKA_BROKERS" "$@"
}

# keyed COUNT LINE…: records with their numbers as keys and payloads, but for these lines, which lack the key.
keyed() {
	local count=$1
	shift
	seq "$count" | sed 's/.*/{"key":"&","payload":"&"}/' |
		sed "$(printf '%ss/"key":"[0-9]*",//;' "$@")"
}

# records FROM TO: records with these numbers as payloads.
records() {
	seq -f '{"payload":"%.0f"}' "$1" "$2"
}

# classes FILE: the classes of the dead letters in it.
classes() {
	jq -r .error.class "$1" | sort | uniq -c | xargs
}

# alone CLASS LINE…: of the file in, written to $topic, these lines alone are refused. The others stand there once
# and in order.
alone() {
	local class=$1 these
	shift
	these=$(printf '%sp;' "$@")
	run -1 kwrite -t "$topic" --dead-letter dead <in
	printf '%s\n' "$output"
	[ "$(classes dead)" = "$# $class" ]
	diff <(jq -c .record dead) <(sed -n "$these" in)
	diff <(kconsume "$topic") <(sed "${these//p/d}" in | jq -r .payload)
}

# bats test_tags=smoke,newest
@test "of a batch with records without a key a compacted topic refuses these alone" {
	topic=$(new_topic 1 cleanup.policy=compact)
	keyed 200 51 52 199 >in
	alone invalid-record 51 52 199
	[[ $output == *"line 51: topic '$topic': "*key*"(invalid-record)"* ]]
}

# The broker knows nothing of the producer: it would take a second batch behind the first, which it refuses.
# bats test_tags=newest
@test "the first record that a partition gets may be refused, and all behind it stay in order" {
	topic=$(new_topic 1 cleanup.policy=compact)
	keyed 20000 1 2 400 >in
	alone invalid-record 1 2 400
}

# bats test_tags=newest
@test "batches behind the refused one stay in order" {
	topic=$(new_topic 1 cleanup.policy=compact)
	keyed 60000 30001 >in
	alone invalid-record 30001
}

# One by one it would be a request a record: minutes where each hundredth record is bad.
# bats test_tags=newest
@test "the records of a refused batch are sent again in few requests" {
	topic=$(new_topic 1 cleanup.policy=compact)
	keyed 5000 2501 >in
	run -1 kwrite -t "$topic" --dead-letter dead -X batch.size=1000000 -X linger.ms=1000 -X debug=msg -v <in
	[ "$(classes dead)" = "1 invalid-record" ]
	sent=$(grep -c ': Produce MessageSet with ' <<<"$output") || true
	echo "$sent requests"
	((sent > 32 && sent < 500))
}

@test "refusals in several partitions at a time: each partition stays in order" {
	topic=$(new_topic 6 cleanup.policy=compact)
	# shellcheck disable=SC2046 # a list of numbers
	keyed 20000 $(seq 7 997 20000) >in
	run -1 kwrite -t "$topic" --dead-letter dead <in
	[ "$(classes dead)" = "$(seq 7 997 20000 | wc -l) invalid-record" ]
	diff <(jq -r .record.payload dead | sort -n) <(seq 7 997 20000)
	diff <(kconsume "$topic" | sort -n) <(seq 20000 | grep -vxf <(seq 7 997 20000))
	for p in 0 1 2 3 4 5; do
		kconsume "$topic" -p "$p" | sort -nc
	done
}

# bats test_tags=smoke,newest
@test "of a batch with a time stamp that is too old the broker refuses that record alone" {
	topic=$(new_topic 1 message.timestamp.before.max.ms=3600000)
	records 1 200 | sed '51s/{/{"ts":1000,/' >in
	alone invalid-record 51
}

# bats test_tags=newest
@test "of a batch with a time stamp that is to come the broker refuses that record alone" {
	topic=$(new_topic 1 message.timestamp.after.max.ms=3600000)
	records 1 5000 | sed '1s/{/{"ts":9999999999999,/' >in
	alone invalid-record 1
}

@test "a record that is sent again keeps its time" {
	topic=$(new_topic 1 cleanup.policy=compact)
	keyed 3 2 | sed '3s/{/{"ts":1234567890123,/' >in
	alone invalid-record 2
	[ "$(kconsume "$topic" -f '%T\n' | tail -n 1)" = 1234567890123 ]
}

@test "headers, and a tombstone, are what they were when they are sent again" {
	topic=$(new_topic 1 cleanup.policy=compact)
	cat >in <<-'EOF'
		{"key":"a","payload":"1","headers":["h","1","h",null]}
		{"payload":"2"}
		{"key":"b","payload":null}
	EOF
	run -1 kwrite -t "$topic" --on-error skip <in
	kconsume "$topic" -Z -f '%k %s %h\n'
	[ "$(kconsume "$topic" -Z -f '%k %s %h\n')" = $'a 1 h=1,h=NULL\nb NULL ' ]
}

# bats test_tags=newest
@test "stop names the record at fault, once, and what stood before it is delivered" {
	topic=$(new_topic 1 cleanup.policy=compact)
	keyed 200 51 52 53 120 >in
	run -1 kwrite -t "$topic" <in
	printf '%s\n' "$output"
	[ "${#lines[@]}" -eq 1 ]
	[[ $output == "kwrite: line 51: topic '$topic': "* ]]
	diff <(kconsume "$topic" | head -n 50) <(seq 50)
}

@test "under stop the position is that of the record at fault" {
	from=$(new_topic 1) topic=$(new_topic 1 cleanup.policy=compact) group=$(unique)
	keyed 200 51 | kwrite -t "$from"
	run evpipe kread -g "$group" -e "$from" '|' kwrite -t "$topic"
	printf '%s\n' "$output"
	[ "$status" -eq 100 ]
	run -0 kread -g "$group" --commit never -e "$from"
	[ "$(head -n 1 <<<"$output" | jq -r .payload)" = 51 ]
}

# bats test_tags=newest
@test "a limit that is lowered while it runs refuses only what is over it" {
	topic=$(new_topic)
	spawn_fed fed kwrite -t "$topic" --dead-letter dead
	records 1 10 >&7
	wait_for '[ "$(kconsume "$topic" | wc -l)" -eq 10 ]'
	topics set "$topic" max.message.bytes=5000
	{
		records 11 2010
		printf '{"payload":"%06000d"}\n' 0
		records 2011 2100
	} >&7
	exec 7>&-
	wait_exit fed
	[ "$status" -eq 1 ]
	[ "$(classes dead)" = "1 too-large" ]
	diff <(kconsume "$topic") <(seq 2100)
}

# To the second partition nothing has been written: the broker would take the last record before those in front of it.
# bats test_tags=newest
@test "the first records of a partition, in a topic whose limit was lowered, stay in order" {
	topic=$(new_topic 2) other=$(new_topic)
	spawn_fed fed kwrite -p keep -t "$topic"
	echo '{"partition":0,"payload":"0"}' >&7
	wait_for '[ "$(kconsume "$topic" | wc -l)" -eq 1 ]'
	topics set "$topic,$other" max.message.bytes=500000
	# The broker has heard of it.
	wait_for "! printf '%0600000d' 0 | kproduce $other"
	seq -f '{"partition":1,"payload":"%0300000.0f"}' 4 >&7
	exec 7>&-
	wait_exit fed
	[ "$status" -eq 0 ]
	diff <(kconsume "$topic" -p 1 | sed 's/^0*//') <(seq 4)
}

# bats test_tags=newest
@test "dead letters in a topic whose limit is lowered are all written" {
	topic=$(new_topic) letters=$(new_topic)
	spawn_fed fed kwrite -t "$topic" --dead-letter "kafka:$letters"
	echo 0 >&7
	wait_for '[ "$(kconsume "$letters" | wc -l)" -eq 1 ]'
	topics set "$letters" max.message.bytes=2000
	seq 1000 >&7
	exec 7>&-
	wait_exit fed
	[ "$status" -eq 1 ]
	diff <(kconsume "$letters" | jq -r .line) <(seq 0 1000)
}

@test "where a topic's limit may not be read, only what is over it is refused" {
	own_kafka
	for large in 400 6000; do
		topic=$(new_topic 1 max.message.bytes=5000)
		topics allow "$topic" alice read,write
		{
			records 1 2000
			printf "{\"payload\":\"%0${large}d\"}\n" 0
			records 2001 4000
		} >in
		: >dead
		run as_alice kwrite -t "$topic" --dead-letter dead <in
		printf '%s\n' "$output"
		if [ "$large" -gt 5000 ]; then
			[ "$status" -eq 1 ]
			[ "$(classes dead)" = "1 too-large" ]
		else
			[ "$status" -eq 0 ]
		fi
		diff <(kconsume "$topic" | grep -v 000000) <(seq 4000)
	done
	# Above the brokers' default, which is not taken for the topic's limit.
	topic=$(new_topic 1 max.message.bytes=9000000)
	topics allow "$topic" alice read,write
	printf '{"payload":"%05000000d"}\n' 0 | as_alice kwrite -t "$topic"
	[ "$(kconsume "$topic" | wc -c)" -eq 5000001 ]
	topic=$(new_topic 1 max.message.bytes=5000) letters=$(new_topic 1 max.message.bytes=2000)
	topics allow "$letters" alice read,write
	run -1 as_alice kwrite -t "$topic" --dead-letter "kafka:$letters" < <(seq 1000)
	diff <(kconsume "$letters" | jq -r .line) <(seq 1000)
}

@test "a record that is larger than a broker's requests may be is refused; where that is not known, what holds it up is told" {
	own_kafka
	topic=$(new_topic 1 max.message.bytes=9000000)
	topics allow "$topic" alice read,write
	{
		records 1 2
		printf '{"payload":"%07000000d"}\n' 0
		records 3 4
	} >in
	run -1 kwrite -t "$topic" --on-error skip <in
	[[ $output == *"line 3: topic '$topic' takes messages of up to 5999"*" bytes (the brokers' socket.request.max.bytes), this one has 7000"*" (too-large)"* ]]
	diff <(kconsume "$topic") <(seq 4)
	spawn it kwrite -b "$KAFKA_SASL" "${ALICE[@]}" -t "$topic" <in
	wait_file_contains it.err "kwrite: warning: broker $KAFKA_SASL cuts the connection each time records are sent to it: is a request larger than its socket.request.max.bytes?"
	stop it
	wait_exit it
	[ "$status" -eq 111 ]
	[ "$(grep -c warning: it.err)" -eq 1 ]
}
