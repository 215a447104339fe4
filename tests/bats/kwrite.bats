#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# kwrite on a real Kafka.

load helpers

setup_file() {
	kafka_start
}

# records FROM TO: records with these numbers as payloads.
records() {
	seq -f '{"payload":"%.0f"}' "$1" "$2"
}

# classes FILE: the classes of the dead letters in it.
classes() {
	jq -r .error.class "$1" | xargs
}

# batch TOPIC AT COUNT: bytes of the first batch of partition 0 as the broker has it on its disk.
batch() {
	od -An -v -tx1 -j "$2" -N "$3" "$EVPIPE_KAFKA_DIR/data/$1-0/00000000000000000000.log" | tr -d ' '
}

# ---- to which partition ----

# What Kafka's own console producer does with these keys on six partitions.
@test "a key goes to the partition to which Java sends it" {
	topic=$(new_topic 6)
	cat >java <<-'EOF'
		00000000-0000-0000-0000-000000000000 3
		21 0
		a 4
		a-little-bit-longer-string 5
		ab 2
		abc 3
		abcd 2
		abcde 1
		b 2
		c 4
		foobar 0
		lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8 5
		tenant-42 2
		user-1 2
		ключ 2
		日本語 4
	EOF
	while read -r key _; do
		printf '{"key":"%s","payload":"x"}\n' "$key"
	done <java | kwrite -t "$topic"
	kconsume "$topic" -f '%k %p\n' | sort >ours
	diff java ours
}

# As kcat, which leaves it to librdkafka; records that no key sends anywhere are spread.
@test "-X partitioner: each that librdkafka has" {
	local name
	seq 20 | sed 's/.*/key-&:&/' >keyed
	sed 's/^.*:/:/' keyed >none
	for name in murmur2 consistent fnv1a murmur2_random consistent_random fnv1a_random random; do
		topic=$(new_topic 6) kcats=$(new_topic 6)
		sed 's/\(.*\):\(.*\)/{"key":"\1","payload":"\2"}/' keyed | kwrite -t "$topic" -X partitioner=$name
		kproduce "$kcats" -K: -X partitioner=$name <keyed
		[ $name = random ] ||
			diff <(kconsume "$topic" -f '%s %p\n' | sort) <(kconsume "$kcats" -f '%s %p\n' | sort)
		topic=$(new_topic 6) kcats=$(new_topic 6)
		sed 's/^:\(.*\)/{"payload":"\1"}/' none | kwrite -t "$topic" -X partitioner=$name
		kproduce "$kcats" -K: -Z -X partitioner=$name <none
		if [[ $name == *random ]]; then
			[ "$(kconsume "$topic" -f '%p\n' | sort -u | wc -l)" -gt 1 ]
		else
			diff <(kconsume "$topic" -f '%s %p\n' | sort) <(kconsume "$kcats" -f '%s %p\n' | sort)
		fi
	done
}

@test "records without a key are spread over the partitions" {
	topic=$(new_topic 2)
	for i in {1..12}; do
		records 1 20 | kwrite -t "$topic"
		[ "$(kconsume "$topic" -f '%p\n' | sort -u | xargs)" != "0 1" ] || break
	done
	[ "$(kconsume "$topic" -f '%p\n' | sort -u | xargs)" = "0 1" ]
}

@test "records without a key that come one by one go to each partition in turn" {
	topic=$(new_topic 3)
	spawn_fed fed kwrite -t "$topic"
	for i in 1 2 3; do
		records $i $i >&7
		wait_for '[ "$(kconsume "$topic" | wc -l)" -eq '$i' ]'
	done
	exec 7>&-
	wait_exit fed
	[ "$(kconsume "$topic" -f '%p\n' | sort | xargs)" = "0 1 2" ]
}

@test "records without a key that come fast go to a partition in runs" {
	topic=$(new_topic 3)
	records 1 3000 | kwrite -t "$topic"
	# Of each record in their order, the partition.
	kconsume "$topic" -f '%s %p\n' | sort -n | cut -d' ' -f2 >partitions
	[ "$(sort -u partitions | xargs)" = "0 1 2" ]
	[ "$(uniq partitions | wc -l)" -lt 100 ]
}

@test "-p N writes to that partition" {
	topic=$(new_topic 3)
	printf '{"key":"%s","payload":"x"}\n' a b c d | kwrite -t "$topic" -p 2
	[ "$(kconsume "$topic" -f '%p\n' | xargs)" = "2 2 2 2" ]
}

@test "-p keep writes to the record's partition" {
	topic=$(new_topic 3)
	for p in 2 0 1; do printf '{"key":"k","partition":%d,"payload":"%d"}\n' $p $p; done |
		kwrite -t "$topic" -p keep
	[ "$(kconsume "$topic" -f '%p %s\n' | sort)" = $'0 0\n1 1\n2 2' ]
}

@test "-p keep refuses a record without a partition" {
	topic=$(new_topic 3)
	printf '%s\n' '{"partition":1,"payload":"a"}' '{"payload":"b"}' '{"partition":2,"payload":"c"}' >in
	run -1 kwrite -t "$topic" -p keep --dead-letter dead <in
	[ "$(classes dead)" = missing-field ]
	[ "$(kconsume "$topic" -f '%s\n' | sort | xargs)" = "a c" ]
}

@test "-p have writes to the record's partition where it has one, else by key" {
	topic=$(new_topic 3)
	key() { kconsume "$topic" -f '%p %s\n' | sed -n "s/ $1\$//p"; }
	printf '{"key":"k","payload":"by-key"}\n' | kwrite -t "$topic"
	for p in 2 0 1; do printf '{"key":"k","partition":%d,"payload":"%d"}\n' $p $p; done >in
	printf '%s\n' '{"key":"k","partition":null,"payload":"null"}' '{"key":"k","payload":"none"}' >>in
	kwrite -t "$topic" -p have <in
	for p in 2 0 1; do [ "$(key $p)" = $p ]; done
	[ "$(key none)" = "$(key by-key)" ]
	[ "$(key null)" = "$(key by-key)" ]
	printf '%s\n' '{"partition":-1,"payload":"a"}' '{"partition":7,"payload":"b"}' >in
	run -1 kwrite -t "$topic" -p have --dead-letter dead <in
	[ "$(wc -l <dead)" -eq 2 ]
	[[ $(run -100 kwrite -t t --raw -p have </dev/null; echo "$output") == *"-p have"* ]]
}

@test "a partition the topic does not have is refused, and its neighbours are written" {
	topic=$(new_topic 3)
	printf '{"partition":%d,"payload":"%d"}\n' 0 0 7 7 1 1 >in
	run -1 kwrite -t "$topic" -p keep --dead-letter dead <in
	[[ $output == *"line 2: topic '$topic': "* ]]
	[ "$(jq -c .record dead)" = '{"partition":7,"payload":"7"}' ]
	[ "$(kconsume "$topic" -f '%s\n' | sort | xargs)" = "0 1" ]
}

@test "-p takes nothing else" {
	for p in -1 x 1,2 ''; do
		run -100 kwrite -t t -p "$p" </dev/null
		[[ $output == "kwrite: -p "* ]]
	done
}

# ---- topic, key, time ----

@test "the topic is the record's own when none is named" {
	one=$(new_topic)
	two=$(new_topic)
	printf '{"topic":"%s","payload":"%s"}\n' "$one" 1 "$two" 2 "$one" 3 | kwrite
	[ "$(kconsume "$one" | xargs)" = "1 3" ]
	[ "$(kconsume "$two" | xargs)" = 2 ]
}

@test "the topic may be made of the record" {
	topic=$(new_topic)
	printf '{"channel":"sse:%s","payload":"x"}\n' "$topic" | kwrite -t '{channel#sse:}'
	[ "$(kconsume "$topic")" = x ]
}

@test "a prefix that is not there refuses the record" {
	topic=$(new_topic)
	printf '{"channel":"%s","payload":"%s"}\n' "sse:$topic" a "see:$topic" b "sse:$topic" c >in
	run -1 kwrite -t '{channel#sse:}' --dead-letter dead <in
	[ "$(classes dead)" = prefix-mismatch ]
	[ "$(jq -r .record.payload dead)" = b ]
	[ "$(kconsume "$topic" | xargs)" = "a c" ]
}

@test "a field that is missing refuses the record" {
	topic=$(new_topic)
	printf '%s\n' '{"payload":"a"}' "{\"topic\":\"$topic\",\"payload\":\"b\"}" >in
	run -1 kwrite --dead-letter dead <in
	[ "$(classes dead)" = missing-field ]
	[[ ${lines[0]} == "kwrite: warning: line 1: "*"topic"*"(missing-field)" ]]
	[ "$(kconsume "$topic")" = b ]
}

@test "--key makes the key of the record" {
	topic=$(new_topic)
	printf '%s\n' '{"headers":["id","7"],"payload":"{\"tenant\":\"t1\"}"}' \
		'{"key":"old","headers":["id","8"],"payload":{"tenant":"t2"}}' |
		kwrite -t "$topic" --key '{payload.tenant}/{header:id}'
	[ "$(kconsume "$topic" -f '%k %s\n')" = $'t1/7 {"tenant":"t1"}\nt2/8 {"tenant":"t2"}' ]
}

@test "--key refuses a record that lacks the field" {
	topic=$(new_topic)
	printf '%s\n' '{"payload":"{\"a\":1}"}' '{"payload":"{\"b\":1}"}' >in
	run -1 kwrite -t "$topic" --key '{payload.a}' --dead-letter dead <in
	[ "$(classes dead)" = missing-field ]
	[ "$(kconsume "$topic" -f '%k %s')" = '1 {"a":1}' ]
}

@test "a template that is none is refused" {
	run -100 kwrite -t '{topic' </dev/null
	[[ $output == "kwrite: -t '{topic': "* ]]
	run -100 kwrite -t x --key '{nothing}' </dev/null
	[[ $output == "kwrite: --key '{nothing}': "* ]]
}

@test "the time is the record's" {
	topic=$(new_topic)
	echo '{"ts":1234567890123,"payload":"x"}' | kwrite -t "$topic"
	[ "$(kconsume "$topic" -f '%T')" = 1234567890123 ]
}

@test "a record without a time gets that of writing" {
	topic=$(new_topic)
	before=$(date +%s%3N)
	records 1 1 | kwrite -t "$topic"
	[ "$(kconsume "$topic" -f '%T')" -ge "$before" ]
}

@test "the times around 0 are written as they are, and 0 is said to become that of writing" {
	topic=$(new_topic)
	before=$(date +%s%3N)
	printf '{"ts":%d,"payload":"x"}\n' -5 -1 0 0 1 | kwrite -t "$topic" 2>err
	kconsume "$topic" -f '%T\n' >stamps
	[ "$(sed '3,4d' stamps | xargs)" = "-5 -1 1" ]
	[ "$(sed -n 3p stamps)" -ge "$before" ]
	[ "$(grep -c 'a record has ts 0' err)" -eq 1 ]
	kread -e "$topic" | jq .ts | sed '3,4d' | xargs >seen
	[ "$(cat seen)" = "-5 -1 1" ]
	# Once too when the broker refuses the batch, and the record is sent again.
	printf '{"ts":%s,"payload":"x"}\n' 0 9223372036854775807 >in
	run -1 kwrite -t "$topic" --on-error skip <in
	[ "$(grep -c 'a record has ts 0' <<<"$output")" -eq 1 ]
}

@test "a header's name with a NUL is written whole" {
	topic=$(new_topic)
	echo '{"headers":["a\u0000b","v"],"payload":"x"}' | kwrite -t "$topic"
	[[ $(batch "$topic" 61 100) == *066100620276 ]]
	kread -e "$topic" | jq -c .headers >seen
	[ "$(cat seen)" = '["a","v"]' ]
}

@test "--now gives each record the time of writing" {
	topic=$(new_topic)
	before=$(date +%s%3N)
	echo '{"ts":1234567890123,"payload":"x"}' | kwrite -t "$topic" --now
	[ "$(kconsume "$topic" -f '%T')" -ge "$before" ]
}

# ---- forms of input ----

@test "--raw takes each line as a payload" {
	topic=$(new_topic)
	printf '{"topic":"x"}\n\n \xff\r\nlast\n' >in
	kwrite --raw -t "$topic" <in
	kconsume "$topic" -f '%s\n' >out
	cmp in out
}

@test "--raw leaves the key away, unless one is named" {
	topic=$(new_topic)
	echo a | kwrite --raw -t "$topic"
	echo b | kwrite --raw -t "$topic" --key k
	[ "$(kconsume "$topic" -f '%K%k%s ')" = "-1a 1kb " ]
}

@test "--raw without a topic is refused" {
	run -100 kwrite --raw </dev/null
	[[ $output == *"--raw needs -t TOPIC"* ]]
	run -100 kwrite --raw -t '{topic}' </dev/null
	run -100 kwrite --raw -t x --key '{topic}' </dev/null
	run -100 kwrite -0 -t x </dev/null
}

@test "-0 takes payloads that end with NUL" {
	topic=$(new_topic)
	printf 'two\nlines\0\0x\0' >in
	kwrite --raw -0 -t "$topic" <in
	[ "$(kconsume "$topic" -f '%S:%s|')" = $'9:two\nlines|0:|1:x|' ]
}

@test "a payload that is JSON is written as it stands" {
	topic=$(new_topic)
	payload='{ "n" : 12345678901234567890 ,"x":1.10, "y":1E400 }'
	echo "{\"payload\":$payload}" | kwrite -t "$topic"
	[ "$(kconsume "$topic")" = "$payload" ]
}

@test "what kcat -J prints can be written" {
	topic=$(new_topic)
	copy=$(new_topic)
	printf 'k1:a\nk2:{"b":"ü"}\n:c\n' | kproduce "$topic" -K: -H a=1 -H a=2
	kconsume "$topic" -J | kwrite -t "$copy"
	[ "$(kconsume "$copy" -f '%k %h %T %s|')" = "$(kconsume "$topic" -f '%k %h %T %s|')" ]
}

# ---- how it is written ----

@test "-z compresses, with each codec" {
	number=0
	for codec in gzip snappy lz4 zstd; do
		number=$((number + 1))
		topic=$(new_topic)
		# A small one would only grow.
		seq -f '{"payload":"%01000.0f"}' 3 | kwrite -t "$topic" -z $codec
		diff <(kconsume "$topic") <(seq -f %01000.0f 3)
		[ "$(batch "$topic" 21 2)" = "000$number" ]
	done
}

@test "nothing is compressed when nothing is said" {
	topic=$(new_topic)
	seq -f '{"payload":"%01000.0f"}' 3 | kwrite -t "$topic"
	[ "$(batch "$topic" 21 2)" = 0000 ]
}

@test "-z refuses what is no codec" {
	run -100 kwrite -t x -z rar </dev/null
	[[ $output == "kwrite: -z: "*rar* ]]
}

# bats test_tags=newest
@test "the producer is idempotent" {
	topic=$(new_topic)
	records 1 1 | kwrite -t "$topic"
	[ "$(batch "$topic" 43 8)" != ffffffffffffffff ]
}

@test "the order within a partition is that of the input" {
	topic=$(new_topic)
	records 1 50000 | kwrite -t "$topic"
	[ "$(kconsume "$topic" | md5sum)" = "$(seq 50000 | md5sum)" ]
}

@test "the order of each key is that of the input, with many partitions and topics and little room" {
	one=$(new_topic 6)
	two=$(new_topic 3)
	awk -v one="$one" -v two="$two" 'BEGIN {
		for (i = 1; i <= 20000; i++)
			printf "{\"topic\":\"%s\",\"key\":\"k\\u0020%d\",\"payload\":\"\\\"%d\\\"\"%s}\n",
				i % 3 ? one : two, i * 7919 % 97, i,
				i % 5 ? "" : sprintf(",\"headers\":[\"n\",\"%d\"]", i)
	}' >in
	kwrite -X queue.buffering.max.messages=100 <in
	for topic in "$one" "$two"; do
		diff <(kconsume "$topic" -f '%k %s %h\n' | sort -s -k2,2) \
			<(grep -F "$topic" in | jq -r '"\(.key) \(.payload) \(if .headers then
				"n=" + .headers[1] else "" end)"' | sort -s -k2,2)
	done
}

# ---- topics that do not exist ----

# bats test_tags=newest
@test "--create makes a topic that does not exist" {
	topic=$(unique made)
	records 1 10 | kwrite -t "$topic" --create
	[ "$(kconsume "$topic" | xargs)" = "$(seq 10 | xargs)" ]
}

# bats test_tags=newest
@test "a topic that does not exist refuses its records alone" {
	topic=$(new_topic)
	none=$(unique none)
	for i in {1..30}; do
		printf '{"topic":"%s","payload":"%d"}\n' "$topic" "$i"
		[ $((i % 10)) -ne 0 ] || printf '{"topic":"%s","payload":"no %d"}\n' "$none" "$i"
	done >in
	run -1 kwrite --dead-letter dead <in
	[[ $output == *"line 11: topic '$none' does not exist"*"(unknown-topic)"* ]]
	[ "$(classes dead)" = "unknown-topic unknown-topic unknown-topic" ]
	diff <(jq -c .record dead) <(grep -F "$none" in)
	[ "$(kconsume "$topic" | xargs)" = "$(seq 30 | xargs)" ]
}

@test "a topic that does not exist stops it when nothing else is said" {
	topic=$(new_topic)
	none=$(unique none)
	printf '{"topic":"%s","payload":"%s"}\n' "$topic" a "$none" b "$topic" c >in
	run -1 kwrite <in
	[[ $output == "kwrite: line 2: topic '$none' does not exist"*"(unknown-topic)" ]]
	[ "$(kconsume "$topic")" = a ]
}

@test "what cannot be a topic's name refuses the record" {
	topic=$(new_topic)
	printf '{"topic":"%s","payload":"%s"}\n' "$topic" a 'a b' b ../x c . d "$topic" e '' f >in
	run -1 kwrite --create --dead-letter dead <in
	[ "$(classes dead)" = "unknown-topic unknown-topic unknown-topic unknown-topic" ]
	[ "$(kconsume "$topic" | xargs)" = "a e" ]
}

# ---- messages that are too large ----

# large TOPIC-BYTES BYTES: 200 records of which each fiftieth has a payload of BYTES; only these are
# refused, and the others stand in order.
large() {
	topic=$(new_topic 1 "max.message.bytes=$1")
	python3 - "$2" >in <<-'EOP'
	import sys
	for i in range(1, 201):
	    print('{"payload":"%d%s"}' % (i, " " * int(sys.argv[1]) if i % 50 == 0 else ""))
	EOP
	run -1 kwrite -t "$topic" --dead-letter dead <in
	[ "$(classes dead)" = "too-large too-large too-large too-large" ]
	[[ ${lines[0]} == "kwrite: warning: line 50: topic '$topic'"*"(too-large)" ]]
	diff <(jq -c .record dead) <(awk 'NR % 50 == 0' in)
	[ "$(kconsume "$topic" | xargs)" = "$(seq 200 | awk '$1 % 50' | xargs)" ]
}

@test "a message over the brokers' limit is refused alone" {
	large 1048588 2000000
}

@test "a message over a topic's own limit is refused alone" {
	large 2000 3000
}

@test "a message just within the topic's limit is written" {
	topic=$(new_topic 1 max.message.bytes=2000)
	for n in 1800 1900 1920; do
		printf '{"payload":"%*s"}\n' $n x
	done | kwrite -t "$topic"
	[ "$(kconsume "$topic" -f '%S ')" = "1800 1900 1920 " ]
}

@test "messages larger than librdkafka's default are written where the topic takes them" {
	topic=$(new_topic 1 max.message.bytes=8000000)
	python3 -c 'print("{\"payload\":\"%s\"}" % ("x" * 5000000))' | kwrite -t "$topic"
	[ "$(kconsume "$topic" -f '%S')" = 5000000 ]
}

# ---- input that stays open ----

# bats test_tags=newest
@test "no record waits for the next" {
	topic=$(new_topic)
	spawn_fed fed kwrite -t "$topic"
	for i in 1 2 3; do
		records $i $i >&7
		wait_for '[ "$(kconsume "$topic" | wc -l)" -eq '$i' ]'
	done
	alive "$(pid_of fed)"
	exec 7>&-
	wait_exit fed
	[ "$status" -eq 0 ]
}

@test "the first SIGTERM is ignored while input is open" {
	for signal in TERM INT; do
		topic=$(new_topic)
		spawn_fed "fed$signal" kwrite -t "$topic"
		records 1 1 >&7
		wait_for '[ "$(kconsume "$topic" | wc -l)" -eq 1 ]'
		stop "fed$signal" $signal
		records 2 3 >&7
		wait_for '[ "$(kconsume "$topic" | wc -l)" -eq 3 ]'
		exec 7>&-
		wait_exit "fed$signal"
		[ "$status" -eq 0 ]
		[ "$(kconsume "$topic" | xargs)" = "1 2 3" ]
	done
}

@test "the second SIGTERM ends it with 111" {
	topic=$(new_topic)
	spawn_fed fed kwrite -t "$topic"
	records 1 1 >&7
	wait_for '[ "$(kconsume "$topic" | wc -l)" -eq 1 ]'
	wait_for 'stop fed; ! alive "$(pid_of fed)"'
	wait_exit fed
	[ "$status" -eq 111 ]
	grep -q '^kwrite: ended by a signal: .* not delivered, and input is left' fed.err
}

@test "a torn last line ends it with 111, and all before it is written" {
	topic=$(new_topic)
	{ records 1 2; printf '{"payload":"3"}'; } >in
	run -111 kwrite -t "$topic" <in
	[[ $output == "kwrite: line 3"* ]]
	[ "$(kconsume "$topic" | xargs)" = "1 2" ]
}

@test "no input is no error" {
	run -0 kwrite -t "$(new_topic)" </dev/null
	[ -z "$output" ]
}

# ---- brokers ----

@test "a wrong password ends it with 100, and is no record's fault" {
	records 1 5 >in
	run -100 timeout 120 kwrite -b "$KAFKA_SASL" -X security.protocol=sasl_plaintext \
		-X sasl.mechanism=PLAIN -X sasl.username=alice -X sasl.password=wrong-one \
		-t t --dead-letter dead <in
	[[ $output == "kwrite: "*"; 5 records were not delivered; the first is line 1" ]]
	[[ $output != *wrong-one* ]]
	[ ! -s dead ]
}

@test "the right password is taken" {
	topic=$(new_topic)
	records 1 5 | kwrite -b "$KAFKA_SASL" -X security.protocol=sasl_plaintext \
		-X sasl.mechanism=PLAIN -X sasl.username=alice -X sasl.password=secret -t "$topic"
	[ "$(kconsume "$topic" | xargs)" = "1 2 3 4 5" ]
}

# own_kafka: a Kafka of this file's own that runs. Sets KAFKA_BROKERS and KAFKA_DIR.
own_kafka() {
	export KAFKA_DIR=$BATS_FILE_TMPDIR/own
	mkdir -p "$KAFKA_DIR"
	[ -e "$KAFKA_DIR/pid" ] || KAFKA_HEAP=256m "$ROOT/tests/kafka/start" "$KAFKA_DIR" \
		"${EVPIPE_KAFKA_VERSION:-4.1.0}"
	KAFKA_BROKERS=$(<"$KAFKA_DIR/bootstrap")
	export KAFKA_BROKERS
}

teardown_file() {
	"$ROOT/tests/kafka/stop" -9 "$BATS_FILE_TMPDIR/own"
	harness_teardown_file
}

@test "a broker that is away at the start is waited for, and this is said once" {
	own_kafka
	topic=$(new_topic)
	"$ROOT/tests/kafka/stop" "$KAFKA_DIR"
	records 1 1000 >in
	spawn waits kwrite -t "$topic" --dead-letter dead <in
	wait_file_contains waits.err "kwrite: warning: cannot reach broker $KAFKA_BROKERS"
	"$ROOT/tests/kafka/start" "$KAFKA_DIR"
	wait_exit waits
	[ "$status" -eq 0 ]
	[ "$(kconsume "$topic" | md5sum)" = "$(seq 1000 | md5sum)" ]
	[ "$(grep -c 'cannot reach' waits.err)" -eq 1 ]
	[ ! -s dead ]
}

@test "a broker that crashes and comes back gets all records, in order, once" {
	own_kafka
	topic=$(new_topic)
	spawn_fed fed kwrite -t "$topic" --dead-letter dead
	records 1 1000 >&7
	wait_for '[ "$(kconsume "$topic" | wc -l)" -eq 1000 ]'
	"$ROOT/tests/kafka/stop" -9 "$KAFKA_DIR"
	records 1001 3000 >&7
	wait_file_contains fed.err "cannot reach broker"
	records 3001 4000 >&7
	"$ROOT/tests/kafka/start" "$KAFKA_DIR"
	wait_file_contains fed.err "is back"
	records 4001 5000 >&7
	exec 7>&-
	wait_exit fed
	[ "$status" -eq 0 ]
	[ "$(kconsume "$topic" | md5sum)" = "$(seq 5000 | md5sum)" ]
	[ "$(grep -c 'cannot reach' fed.err)" -eq 1 ]
	[ ! -s dead ]
}

# librdkafka has no reason to connect again, and evcorr http sends nothing while kwrite is not up.
@test "without records too it finds a broker that is back" {
	own_kafka
	topic=$(new_topic)
	spawn_fed fed kwrite -t "$topic"
	records 1 10 >&7
	wait_for '[ "$(kconsume "$topic" | wc -l)" -eq 10 ]'
	"$ROOT/tests/kafka/stop" -9 "$KAFKA_DIR"
	wait_file_contains fed.err "cannot reach broker"
	"$ROOT/tests/kafka/start" "$KAFKA_DIR"
	wait_file_contains fed.err "is back"
	exec 7>&-
	wait_exit fed
	[ "$status" -eq 0 ]
}

# librdkafka's thread would poll without waiting until it is answered, and take a core for that.
@test "a broker that is frozen costs no CPU, though there is more to send" {
	local tid
	kmock_start -t to:1
	spawn_fed fed kwrite -t to --pass
	records 1 10 >&7
	wait_lines fed.out 10
	stop kmock STOP
	records 11 20000 >&7
	tid=$(grep -l '^rdk:broker1$' /proc/"$(pid_of fed)"/task/*/comm)
	tid=${tid%/comm}
	spawn tracer strace -p "${tid##*/}" -o trace -e trace=poll,ppoll </dev/null
	wait_lines trace 1000
	stop tracer
	wait_exit tracer
	stop kmock CONT
	exec 7>&-
	wait_exit fed
	[ "$status" -eq 0 ]
	tail -n 500 trace | grep -q 'tv_nsec=1000000}'
}

# ---- options ----

@test "--metrics counts what was delivered and what was refused" {
	topic=$(new_topic)
	{ records 1 10; echo '{}'; } >in
	run -1 kwrite -t "$topic" --metrics prom --on-error skip <in
	grep -q '^evpipe_records_in_total{pipeline="evpipe",tool="kwrite"} 11$' prom
	grep -q '^evpipe_messages_forwarded_total{pipeline="evpipe"} 10$' prom
	grep -q '^evpipe_errors_total{pipeline="evpipe",tool="kwrite",type="invalid-record"} 1$' prom
	grep -q '^evpipe_up{pipeline="evpipe",tool="kwrite",peer="kafka"} 1$' prom
	run ! grep -vE '^(# (HELP|TYPE) [a-z_]+ .+|[a-z_]+(\{[a-z]+="[^"]*"(,[a-z]+="[^"]*")*\})? -?[0-9.]+)$' prom
	if command -v promtool; then promtool check metrics <prom; fi
}

@test "--ready-fd tells that Kafka answers, before a record" {
	mkfifo in
	exec 7<>in
	spawn ready sh -c 'exec 5>ready.fd; exec kwrite --ready-fd 5 -t "$1"' sh "$(new_topic)" <in
	wait_lines ready.fd 1
}

# bats test_tags=newest
@test "--ready-fd tells nothing while no broker answers" {
	mkfifo in
	exec 7<>in
	spawn away sh -c 'exec 5>ready.fd; exec kwrite --ready-fd 5 -b "$1" -t x' sh \
		127.0.0.1:1 <in
	wait_file_contains away.err "cannot reach broker"
	[ ! -s ready.fd ]
}

@test "-X refuses what its promises rest on" {
	run -100 kwrite -X delivery.report.only.error=true -t x </dev/null
	[[ $output == *"-X cannot set"* ]]
	run -100 kwrite -X enable.idempotence=false -X request.required.acks=0 -t x </dev/null
	[[ $output == *"acks=0: no broker would say"* ]]
}

@test "what weakens its promise is warned of" {
	topic=$(new_topic)
	run -0 kwrite -t "$topic" -X enable.idempotence=false -X acks=1 < <(records 1 1)
	[[ $output == *"warning: acks=1: "*"warning: enable.idempotence=false: "* ]]
	[ "$(kconsume "$topic")" = 1 ]
}

@test "-F cannot set what the promises rest on; another program's value is warned of" {
	topic=$(new_topic)
	printf 'delivery.report.only.error=true\nallow.auto.create.topics = false\n' >conf
	run -0 kwrite -F conf -t "$topic" < <(records 1 1)
	[ "$output" = "kwrite: warning: conf, line 1: left out: kwrite sets 'delivery.report.only.error' itself" ]
	[ "$(kconsume "$topic")" = 1 ]
}

@test "-H: headers of each message, behind the record's own, for records and payloads" {
	kmock_start -t to:1
	echo '{"payload":"a","headers":["own","1"]}' | kwrite -t to -H source=here -H 'text=a = b' -H empty= -H none
	echo b | kwrite -t to --raw --header source=there
	run -0 sh -c 'kread -e to | jq -c .headers'
	[ "${lines[0]}" = '["own","1","source","here","text","a = b","empty","","none",null]' ]
	[ "${lines[1]}" = '["source","there"]' ]
	run -100 kwrite -t to -H =x </dev/null
	[ "$output" = "kwrite: -H takes NAME=VALUE, not '=x'; try 'kwrite --help'" ]
	run -100 kwrite -t to -H '' </dev/null
	[ "$output" = "kwrite: -H takes NAME=VALUE, not ''; try 'kwrite --help'" ]
}
