#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# khttp and what a cluster does wrong: producers that librdkafka gives up, a broker of several that does not answer, a group's
# coordinator that moves, a disk that fails.

load helpers
load khttp

PRODUCE=0 FETCH=1 OFFSET_FETCH=9

setup() {
	harness_setup
	mkfifo mock-commands
	exec 9<>mock-commands
	spawn mock "$ROOT/tests/bats/mock-cluster" 2 t:2 other:1 <mock-commands
	wait_lines mock.out 1
	KAFKA_BROKERS=$(head -n 1 mock.out)
	export KAFKA_BROKERS
	mock_does leader t 0 1
	mock_does leader t 1 2
	mock_does leader other 0 1
}

mock_does() {
	local before
	before=$(grep -c '^did' mock.out || true)
	echo "$*" >&9
	wait_for "[ \$(grep -c '^did' mock.out) -gt $before ]"
}

metric() {
	curl -s --unix-socket "$SIDE" http://localhost/metrics | sed -n "s/^evpipe_$1{.*} //p"
}

record='{"records":[{"value":"1"}]}'

@test "a producer that librdkafka gives up: another one takes its place, and the bridge goes on" {
	local key
	khttp_start
	# Records with an Idempotency-Key have a producer of their own.
	for key in '' k; do
		post json "$record" /topics/t/partitions/0 ${key:+-H "Idempotency-Key: first"}
		is 200
		# Its sequence of records has a hole: that is fatal to it.
		mock_does refuse $PRODUCE 45 1
		post json "$record" /topics/t/partitions/0 ${key:+-H "Idempotency-Key: lost"}
		# With a key 504 would mean that the same key may ask again.
		is "$([ -z "$key" ] && echo 504 || echo 500)" '.offsets[0].error_code == 504'
		wait_for 'post json "$record" /topics/t/partitions/0; is 200'
		wait_for 'post json "$record" /topics/t/partitions/1 -H "Idempotency-Key: $RANDOM"; is 200'
	done
	wait_for '[ "$(metric producers_given_up_total)" = 2 ]'
	grep -q 'another producer takes its place' http.err
	stop http
	wait_exit http
	[ "$status" -eq 0 ]
}

@test "the producer of what goes again by itself is given up as soon as it is there: what it had goes to the next" {
	khttp_start http -X linger.ms=100
	post json "$record" /topics/t/partitions/0
	is 200
	mock_does refuse $PRODUCE 10 1
	mock_does refuse $PRODUCE 45 1
	post json '{"records":[{"value":"1"},{"value":"2"},{"value":"3"},{"value":"4"}]}' /topics/t/partitions/0
	is 200 '(.offsets | map(.error_code)) == [504, null, null, null]'
}

@test "a record that librdkafka takes for written since a later one is, and no broker has confirmed, is 504" {
	khttp_start http -X batch.num.messages=1
	post json "$record" /topics/t/partitions/0
	is 200
	# Both are on their way; the first one is not written.
	mock_does late 1 300
	mock_does refuse $PRODUCE 7 1
	post json '{"records":[{"value":"2"},{"value":"3"}]}' /topics/t/partitions/0
	is 200 '.offsets == [{error_code: 504, message: "Request timed out: the record may have been written"}, {partition: 0, offset: 1}]'
	[ "$(kcat -C -e -q -b "$KAFKA_BROKERS" -t t -p 0 | xargs)" = '1 3' ]
}

@test "a large body whose record had no answer is not sent any further; with --compat neither, though all is 500 there" {
	local compat
	# Of 8 MiB for one broker, and what follows for the other.
	python3 -c 'print("{\"records\":[" + ",".join(["{\"partition\":%d,\"value\":\"%s\"}" % (n < 200, 50000 * "x") for n in range(201)]) + "]}")' >large
	for compat in off on; do
		khttp_start $compat --compat $compat -X message.timeout.ms=3000 -X socket.timeout.ms=2000
		for n in 0 1; do
			post json "$record" /topics/t/partitions/$n
			is 200
		done
	done
	mock_does late 2 1000000
	for compat in off on; do
		spawn large-$compat curl -s -w ' %{http_code}' --unix-socket "$T/$compat.web" -H 'Content-Type: application/vnd.kafka.json.v2+json' \
			-d @large http://localhost/topics/t </dev/null
	done
	wait_exit large-off
	wait_exit large-on
	[[ $(<large-off.out) == *' 504' ]]
	[[ $(<large-on.out) == *' 200' ]]
	for compat in off on; do
		sed 's/ [0-9]*$//' large-$compat.out | jq -c '.offsets | [length, .[-1].error_code]' >last
		[ "$(<last)" = "[201,$([ $compat = off ] && echo 503 || echo 500)]" ]
	done
	mock_does late 2 0
}

@test "a broker that does not answer: its partitions are 504, the others go on; a key has the outcome when there is one" {
	khttp_start http -X message.timeout.ms=3000 -X socket.timeout.ms=2000
	post json "$record" /topics/t/partitions/1 -H 'Idempotency-Key: before'
	is 200
	post json "$record" /topics/t/partitions/1
	is 200
	post json "$record" /topics/other -H 'Idempotency-Key: before'
	is 200
	mock_does late 2 1000000
	spawn plain curl -s -w ' %{http_code}' --unix-socket "$WEB" -H 'Content-Type: application/json' -d "$record" \
		http://localhost/topics/t/partitions/1 </dev/null
	spawn keyed curl -s -w ' %{http_code}' --unix-socket "$WEB" -H 'Content-Type: application/json' -d "$record" \
		-H 'Idempotency-Key: k' http://localhost/topics/t/partitions/1 </dev/null
	for _ in 1 2 3; do
		post json "$record" /topics/t/partitions/0
		is 200
		post json "$record" /topics/other -H "Idempotency-Key: $RANDOM"
		is 200
	done
	wait_exit keyed
	[[ $(<keyed.out) == *'the same Idempotency-Key asks what has become of it'*' 504' ]]
	wait_exit plain
	[[ $(<plain.out) == *' 504' ]]
	# The one that has lost a record takes no more.
	post json "$record" /topics/t/partitions/0
	is 200
	post json "$record" /topics/other
	is 200
	# Nothing is known yet: not the old answer, and not done again.
	post json "$record" /topics/t/partitions/1 -H 'Idempotency-Key: k'
	is 504
	spawn later curl -s -i --unix-socket "$WEB" -H 'Content-Type: application/json' -d "$record" \
		-H 'Idempotency-Key: k' http://localhost/topics/t/partitions/1 </dev/null
	mock_does late 2 0
	wait_for "post json '$record' /topics/t/partitions/1 -H 'Idempotency-Key: k'; is 200 '.offsets[0].offset >= 0'"
	wait_exit later
	cp body first
	post json "$record" /topics/t/partitions/1 -H 'Idempotency-Key: k'
	is 200
	cmp body first
	stop http
	wait_exit http
	[ "$status" -eq 0 ]
}

@test "what was on its way when its producer was given up is answered soon, as a record that may have been written" {
	# The same time-outs as an example of ours: a request is given up long before its record.
	khttp_start http -X message.timeout.ms=3000 -X socket.timeout.ms=2000
	for n in 0 1; do
		post json "$record" /topics/t/partitions/$n -H "Idempotency-Key: before $n"
		is 200
	done
	mock_does late 2 1000000
	spawn sent curl -s --unix-socket "$WEB" -H 'Content-Type: application/json' -d "$record" \
		-H 'Idempotency-Key: k' http://localhost/topics/t/partitions/1 </dev/null
	wait_for '[ "$(metric produce_in_flight)" = 1 ]'
	mock_does refuse $PRODUCE 45 1
	post json "$record" /topics/t/partitions/0 -H "Idempotency-Key: lost"
	is 500
	wait_exit sent
	mock_does late 2 0
	# As long as a key is remembered librdkafka would keep the record, and not send it.
	wait_for "post json '$record' /topics/t/partitions/1 -H 'Idempotency-Key: k'; is 500 || is 200"
	post json "$record" /topics/t/partitions/1 -H 'Idempotency-Key: another'
	is 200
}

@test "a topic that waits has an eighth of the room; others go on" {
	khttp_start http --max-in-flight 80K -X socket.timeout.ms=2000 -X message.timeout.ms=300000 \
		-X max.in.flight.requests.per.connection=1 -X batch.size=5000
	post json "$record" /topics/t/partitions/1
	is 200
	mock_does late 2 1000000
	jq -nc '{records: [{value: ("x" * 9000)}]}' >large
	for n in 1 2; do
		spawn "large$n" curl -s --unix-socket "$WEB" -H 'Content-Type: application/json' -d @large \
			http://localhost/topics/t/partitions/1 </dev/null
	done
	wait_for 'post json "$record" "/topics/t/partitions/1?async=true"; is 503'
	is 503 '.message | test("records of t ")'
	post json @large /topics/other
	is 200
	post json @large /topics/t/partitions/0
	is 503
	# The producer is given up: of the two that have waited so long for nothing of theirs, one was not sent.
	mock_does refuse $PRODUCE 45 1
	post json "$record" /topics/other
	is 504
	wait_for '[ "$(metric producers_given_up_total)" = 1 ]'
	mock_does late 2 0
	wait_exit large1
	wait_exit large2
	[ "$(jq -s 'map(.offsets[0].error_code) | sort == [null, 504]' large1.out large2.out)" = true ]
	# Those whose clients did not wait may be on their way yet.
	wait_for 'post json @large /topics/t/partitions/1; is 200'
}

@test "a coordinator that has moved when positions are asked for: they are asked for again" {
	local of=/consumers/g/instances/c
	khttp_start
	post json "$record" /topics/other
	is 200
	post v2 '{"name":"c","format":"json","auto.offset.reset":"earliest"}' /consumers/g
	is 200
	mock_does refuse $OFFSET_FETCH 16 1
	post v2 '{"partitions":[{"topic":"other","partition":0}]}' $of/assignments
	is 204
	http "$of/records?timeout=60000"
	is 200 'map(.value) == ["1"]'
}

# librdkafka tries such a fetch again without a word.
@test "a broker's disk fails: said once for all consumers; what is read to its end, or waits for a reply, has the reason" {
	local of=/consumers/g/instances/c why="topic 'other', partition 0 cannot be read: Disk error when trying to access log file on disk"
	khttp_start
	post json "$record" /topics/other
	is 200
	mock_does refuse $FETCH 56 100000
	post v2 '{"name":"c","format":"json","auto.offset.reset":"earliest"}' /consumers/g
	is 200
	post v2 '{"partitions":[{"topic":"other","partition":0}]}' $of/assignments
	is 204
	for accept in application/vnd.kafka.json.v2+json application/x-ndjson; do
		http -H "Accept: $accept" "/topics/other/records?timeout=700"
		is_error 503 "$why"
	done
	wait_file_contains http.err "$why; trying again"
	post json '{"value":"1"}' "/topics/t/request?reply_topic=other&timeout=700"
	is_error 504 "No reply has come within 700 ms: $why."
	http "$of/records?timeout=0"
	is 200 '. == []'
	mock_does calm $FETCH
	http "$of/records?timeout=60000"
	is 200 'map(.value) == ["1"]'
	[ "$(grep -c 'cannot be read' http.err)" = 1 ]
}
