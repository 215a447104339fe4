#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# The programs on whatever version of Kafka the run has: quick, and nothing of it twice.

load helpers

setup_file() {
	kafka_start
}

# bats test_tags=smoke
@test "smoke: kwrite writes and kread reads" {
	topic=$(new_topic 3)
	seq 300 | sed 's/.*/{"key":"&","ts":1700000000000,"headers":["n","&"],"payload":"&"}/' |
		kwrite -t "$topic"
	kread -e "$topic" >out
	[ "$(jq -r .payload out | sort -n | md5sum)" = "$(seq 300 | md5sum)" ]
	[ "$(jq -c 'select(.key != .payload or .headers[1] != .payload or .ts != 1700000000000)' out)" = "" ]
}

# bats test_tags=smoke
@test "smoke: a group goes on where it stopped" {
	topic=$(new_topic)
	group=$(unique)
	seq 10 | kwrite --raw -t "$topic"
	[ "$(kread --raw -c 4 -g "$group" --commit written "$topic" | xargs)" = "1 2 3 4" ]
	[ "$(kread --raw -e -g "$group" --commit written "$topic" | xargs)" = "5 6 7 8 9 10" ]
}

# bats test_tags=smoke
@test "smoke: times are turned into offsets" {
	topic=$(new_topic)
	now=$(date +%s000)
	printf '{"ts":%d,"payload":"%s"}\n' $((now - 7200000)) old "$now" new | kwrite -t "$topic"
	[ "$(kread --raw -e -o @-1h "$topic")" = new ]
	[ "$(kread --raw --until @-1h "$topic")" = old ]
}

# bats test_tags=smoke
@test "smoke: a topic is created, and one that does not exist is refused" {
	topic=$(unique made)
	echo x | kwrite --raw -t "$topic" --create
	[ "$(kread --raw -e "$topic")" = x ]
	printf '{"payload":"x"}\n' >in
	run -1 kwrite -t "$(unique none)" --dead-letter dead <in
	[ "$(jq -r .error.class dead)" = unknown-topic ]
	run -100 kread -e "$(unique none)"
}

# bats test_tags=smoke
@test "smoke: a message over the topic's limit is refused alone" {
	topic=$(new_topic 1 max.message.bytes=2000)
	printf '{"payload":"%*s"}\n' 1 a 3000 b 1 c >in
	run -1 kwrite -t "$topic" --dead-letter dead <in
	[ "$(jq -r .error.class dead)" = too-large ]
	[ "$(kread --raw -e "$topic" | xargs)" = "a c" ]
}

# bats test_tags=smoke
@test "smoke: each codec is understood" {
	topic=$(new_topic)
	for codec in gzip snappy lz4 zstd; do
		seq -f "$codec %.0f" 50 | kwrite --raw -t "$topic" -z $codec
	done
	[ "$(kread --raw -e "$topic" | wc -l)" -eq 200 ]
}

# bats test_tags=smoke
@test "smoke: a login is done, and a wrong one ends with 100" {
	topic=$(new_topic)
	login=(-b "$KAFKA_SASL" -X security.protocol=sasl_plaintext -X sasl.mechanism=PLAIN
		-X sasl.username=alice)
	echo x | kwrite --raw -t "$topic" "${login[@]}" -X sasl.password=secret
	[ "$(kread --raw -e "${login[@]}" -X sasl.password=secret "$topic")" = x ]
	run -100 timeout 120 kread -e "${login[@]}" -X sasl.password=no "$topic"
}
