#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# khttp: a request by HTTP, a record with an id, a service at the other end of Kafka, and its reply as the answer.

load helpers
load khttp

setup_file() {
	kafka_start
	khttp_start
}

setup() {
	harness_setup
	requests=$(new_topic 2)
	replies=$(new_topic 2)
}

# service [OPTION…]: evcorr serve on $requests, in capitals; OPTION… are its own.
service() {
	printf '%s\n' '#!/bin/bash' 'while IFS= read -r x; do echo "${x^^}"; done' >upper
	chmod +x upper
	spawn service evpipe kread -g "$(unique)" "${SHORT_SESSION[@]}" -b "$KAFKA_BROKERS" "$requests" '|' \
		evcorr serve "${@:---preset=spring}" -P 2 -- ./upper '|' kwrite -b "$KAFKA_BROKERS" -p have
}

# ask TYPE BODY [QUERY [CURL-OPTION…]]
ask() {
	post "$1" "$2" "/topics/$requests/request?reply_topic=$replies&timeout=30000${3:-}" "${@:4}"
}

# metric NAME: its value.
metric() {
	curl -s --unix-socket "$SIDE" http://localhost/metrics | sed -n "s/^evpipe_$1{[^}]*} //p"
}

@test "a request is answered with the reply of a service" {
	service
	ask json '{"records":[{"key":"k","value":{"a":1.10},"headers":[{"key":"h","value":"YQ=="}]}]}'
	is 200 '.topic == "'"$replies"'" and .value == {"A":1.1} and .error == null and .headers[0].key == "kafka_correlationId"'
	is_type application/vnd.kafka.json.v2+json
	# What the service was given.
	kread -q -b "$KAFKA_BROKERS" -e "$requests" >sent
	jq -e '.key == "\"k\"" and .payload == "{\"a\":1.10}" and .headers[:2] == ["h","a"] and
		.headers[2] == "kafka_correlationId" and .headers[4:] == ["kafka_replyTopic","'"$replies"'"]' sent
	# A record by itself; other types, there and back.
	ask text '{"value":"ab"}'
	is 200 '.value == "AB"'
	is_type application/vnd.kafka.text.v2+json
	ask binary '{"value":"YWI="}'
	is 200 '.value == "QUI="'
	ask text '{"value":"ab"}' '' -H 'Accept: application/vnd.kafka.binary.v2+json'
	is 200 '.value == "QUI="'
	ask application/json '{"value":"ab"}' '' -H 'Accept: application/json'
	is 200 '.value == "AB"'
	is_type application/json
	ask application/x-ndjson '{"key":"k","payload":"ab"}'
	is 200 '.payload == "AB" and .topic == "'"$replies"'"'
	is_type application/x-ndjson
	# One that is not of the type is there all the same.
	ask json '{"value":[true]}'
	is 200 '.value == null and .raw == "W1RSVUVd"'
	# A partition of its own.
	for n in 0 1; do
		ask text '{"value":"ab"}' "&reply_partition=$n"
		is 200 ".partition == $n"
	done
	[ "$(metric calls_in_flight) $(metric late_replies_total)" = "0 0" ]
}

@test "no reply is too fast, and each goes to its request" {
	service
	for n in 1 2 3; do
		replies=$(new_topic "$n")
		ask text '{"value":"first"}'
		is 200 '.value == "FIRST"'
	done
	for n in $(seq 40); do
		printf 'next\nsilent\nurl = "http://localhost/topics/%s/request?reply_topic=%s&timeout=30000"\nunix-socket = "%s"\noutput = "out.%s"\nheader = "Content-Type: application/vnd.kafka.text.v2+json"\ndata = "{\\"value\\":\\"n-%s\\"}"\n' \
			"$requests" "$replies" "$WEB" "$n" "$n"
	done >all
	curl -s -Z --parallel-immediate --parallel-max 40 -K all
	for n in $(seq 40); do [ "$(jq -r .value "out.$n")" = "N-$n" ]; done
}

@test "without a service it is 504, and the late reply is counted and dropped" {
	local late
	post text '{"value":"late"}' "/topics/$requests/request?reply_topic=$replies&timeout=1500"
	is_error 504 'No reply has come within 1500 ms.'
	late=$(metric late_replies_total)
	[ "$(metric call_timeouts_total)" -ge 1 ]
	service
	wait_for '[ "$(metric late_replies_total)" -gt '"$late"' ]'
	# And nobody else gets it.
	ask text '{"value":"next"}'
	is 200 '.value == "NEXT"'
}

@test "what is no request" {
	local path=/topics/$requests/request
	post text '{"value":"a"}' "$path"
	is 400 '.validation_errors == ["query parameter reply_topic: the value is invalid"]'
	for query in timeout=x timeout=-1 timeout= reply_partition=-1 reply_partition=a reply_partition=3000000000; do
		post text '{"value":"a"}' "$path?reply_topic=$replies&$query"
		is 400 '.validation_errors == ["query parameter '"${query%%=*}"': the value is invalid"]'
	done
	post text '{"records":[{"value":"a"},{"value":"b"}]}' "$path?reply_topic=$replies"
	is_error 422 'A request has one record, not 2.'
	post text '{"records":[]}' "$path?reply_topic=$replies"
	is_error 422 'A request has one record, not 0.'
	post text '{"value":"a","headers":[{"key":"kafka_correlationId","value":"YQ=="}]}' "$path?reply_topic=$replies"
	is 422 '.message | test("are the bridge.s to set")'
	post text '{"valve":"a"}' "$path?reply_topic=$replies"
	is 400 '.validation_errors | length > 0'
	post text '{"value":1}' "$path?reply_topic=$replies"
	is 400
	post text '[1]' "$path?reply_topic=$replies"
	is 400
	post text 'no' "$path?reply_topic=$replies"
	is 400
	post application/xml '<a/>' "$path?reply_topic=$replies"
	is 400
	post text '{"value":"a"}' "$path?reply_topic=$replies" -H 'Accept: text/html'
	is 406
	post text '{"value":"a"}' "$path?reply_topic=nothing-here"
	is_error 404 "There is no reply topic 'nothing-here'."
	post text '{"value":"a"}' "$path?reply_topic=not%20a%20name"
	is 404
	post text '{"value":"a","partition":77}' "$path?reply_topic=$replies"
	is 404 '.message | startswith("Partition 77 of topic '"$requests"' with partition count 2 is not present in metadata after ")'
	post text '{"value":"a"}' "/topics/nothing-here/request?reply_topic=$replies"
	is 404
	http "$path?reply_topic=$replies"
	is 405
	# Nothing of all that was written.
	[ -z "$(kread -q -b "$KAFKA_BROKERS" -e "$requests")" ]
}

@test "only so many requests wait, and one whose client has gone does not" {
	khttp_start small --max-requests 1
	local web=$WEB
	spawn waits curl -s --unix-socket "$web" -H 'Content-Type: application/json' -d '{"value":["a"]}' \
		"http://localhost/topics/$requests/request?reply_topic=$replies&timeout=300000"
	local pid=$!
	wait_for '[ "$(metric calls_in_flight)" = 1 ]'
	ask text '{"value":"b"}' '' -D head
	is_error 503 '1 requests wait for their replies: no more'
	grep -qi '^retry-after: 1' head
	kill "$pid"
	wait_for '[ "$(metric calls_in_flight)" = 0 ]'
	service
	ask text '{"value":"b"}'
	is 200 '.value == "B"'
}

@test "the headers have the names that they are given" {
	khttp_start named --id-header correlation-id --reply-to-header reply-to
	service --on-error stop
	ask text '{"value":"b"}'
	is 200 '.value == "B" and .headers[0].key == "correlation-id"'
	khttp_start closed --no-producer
	ask text '{"value":"b"}'
	is 503
}

@test "SIGTERM ends it when the requests are answered" {
	khttp_start term
	local pid=$!
	spawn waits curl -s --unix-socket "$WEB" -H 'Content-Type: application/json' -d '{"value":["a"]}' \
		"http://localhost/topics/$requests/request?reply_topic=$replies&timeout=3000"
	local client=$!
	wait_for '[ "$(metric calls_in_flight)" = 1 ]'
	kill -TERM "$pid"
	wait "$client"
	jq -e '.error_code == 504' waits.out
	wait "$pid"
}
