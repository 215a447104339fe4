#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# khttp with a login that Kafka allows little: 403 with Kafka's reason, and the bridge goes on.

load helpers
load khttp

setup_file() {
	KAFKA_HEAP=256m own_kafka_start authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer \
		super.users=User:ANONYMOUS socket.request.max.bytes=300000
	KAFKA_ALL=$KAFKA_BROKERS
	export KAFKA_ALL
	topics create mine 1
	topics create written 1
	topics create hidden 1
	topics allow mine alice read,write,describe
	topics allow written alice write,describe
	seq 1 3 | kproduce mine
	seq 1 3 | kproduce written
	seq 1 3 | kproduce hidden
	# shellcheck disable=SC2153 # own_kafka_start sets it
	KAFKA_BROKERS=$KAFKA_SASL khttp_start http -X security.protocol=sasl_plaintext -X sasl.mechanism=PLAIN \
		-X sasl.username=alice -X sasl.password=secret
}

topics() {
	"$ROOT/tests/kafka/topics" "$KAFKA_ALL" "$@"
}

record='{"records":[{"value":"1"}]}'

@test "records to a topic: 403 where it is not allowed, and others are written" {
	post json "$record" /topics/mine
	is 200 '.offsets[0].offset >= 0'
	post json "$record" /topics/hidden
	is 200 '.offsets[0].error_code == 403 and (.offsets[0].message | test("uthoriz"))'
	post json "$record" /topics/hidden?errors=fail
	is 403 '.message | test("uthoriz")'
	post json "$record" '/topics/hidden?errors=fail' -H 'Idempotency-Key: k'
	is 403
	post json "$record" /topics/mine
	is 200 '.offsets[0].offset >= 0'
	post json '{"topic_name":"new"}' /admin/topics
	is 403
}

@test "records of a topic: 403 where it is not allowed" {
	local name
	http '/topics/mine/records?limit=3'
	is 200 'length == 3'
	http /topics/hidden/records
	is 403 '.message | test("uthoriz")'
	http /topics/written/records
	is 403 '.message | test("uthoriz")'
	for name in hidden written; do
		post v2 "{\"name\":\"$name\"}" /consumers/g
		is 200
		post v2 "{\"partitions\":[{\"topic\":\"$name\",\"partition\":0}]}" "/consumers/g/instances/$name/assignments"
		is 204
		post v2 "{\"partitions\":[{\"topic\":\"$name\",\"partition\":0}]}" "/consumers/g/instances/$name/positions/beginning"
		is 204
		wait_for "http '/consumers/g/instances/$name/records?timeout=1000'; is 403"
		is 403 '.message | test("uthoriz")'
	done
	# The group is not allowed.
	post v2 '{"name":"member"}' /consumers/g
	post v2 '{"topics":["mine"]}' /consumers/g/instances/member/subscription
	is 204
	wait_for "http '/consumers/g/instances/member/records?timeout=1000'; is 403"
	is 403 '.message | test("uthoriz")'
	post json "$record" /topics/mine
	is 200 '.offsets[0].offset >= 0'
}

@test "a stream of a topic says so when the right to read is taken away, and another one is 403 before its first byte" {
	local n accept name path
	topics create shared 1
	topics allow shared alice read,describe
	topics allow group:shared alice read
	for accept in text/event-stream application/x-ndjson; do
		for n in reader topic; do
			name=$n-${accept#*/}
			if [ $n = reader ]; then
				post v2 "{\"name\":\"$name\",\"format\":\"json\",\"auto.offset.reset\":\"earliest\"}" /consumers/shared
				post v2 '{"partitions":[{"topic":"shared","partition":0}]}' "/consumers/shared/instances/$name/assignments"
				path=/consumers/shared/instances/$name/records
			else
				path="/topics/shared/records?offset=0"
				[ $accept = text/event-stream ] || continue
			fi
			spawn "$name" curl -sN --unix-socket "$WEB" -H "Accept: $accept" "http://localhost$path" </dev/null
		done
	done
	echo '"first"' | kproduce shared
	for name in reader-event-stream reader-x-ndjson topic-event-stream; do
		wait_file_contains "$name.out" first
	done
	topics deny shared alice read
	for name in reader-event-stream reader-x-ndjson topic-event-stream; do
		wait_exit "$name"
		[ "$status" -eq 0 ]
	done
	for name in reader-event-stream topic-event-stream; do
		[ "$(tail -n 3 $name.out | head -n 1)" = 'event: error' ]
		tail -n 2 $name.out | sed -n 's/^data: //p' | jq -e '.error_code == 403 and (.message | test("uthoriz"))'
	done
	tail -n 1 reader-x-ndjson.out | jq -e '.error_code == 403 and (.message | test("uthoriz"))'
	for accept in text/event-stream application/x-ndjson; do
		http -H "Accept: $accept" "/topics/shared/records?offset=0"
		is 403 '.message | test("uthoriz")'
	done
}

@test "403 stays for polls and for streams, until it is allowed" {
	local n path
	topics create barred 1
	topics allow barred alice describe
	topics allow group:barred alice read
	echo 1 | kproduce barred
	post v2 '{"name":"barred","format":"json"}' /consumers/barred
	path=/consumers/barred/instances/barred
	post v2 '{"partitions":[{"topic":"barred","partition":0}]}' $path/assignments
	post v2 '{"partitions":[]}' $path/positions/beginning
	wait_for "http '$path/records?timeout=1000'; is 403"
	for n in 1 2 3; do
		http "$path/records?timeout=5"
		is 403 '.message | test("uthoriz")'
	done
	# In the first event, or as the status.
	http -H 'Accept: text/event-stream' $path/records
	grep -q '"error_code":403' body
	http "$path/records?timeout=5"
	is 403
	topics allow barred alice read
	wait_for "http '$path/records?timeout=1000'; is 200 'map(.value) == [1]'"
	topics create open 1
	topics allow open alice read,describe
	post v2 '{"name":"members","format":"json"}' /consumers/closed
	post v2 '{"topics":["open"]}' /consumers/closed/instances/members/subscription
	wait_for "http '/consumers/closed/instances/members/records?timeout=1000'; is 403"
	http '/consumers/closed/instances/members/records?timeout=5'
	is 403 '.message | test("uthoriz")'
	topics allow group:closed alice read
	wait_for "http '/consumers/closed/instances/members/records?timeout=1000'; is 200"
}

@test "topics: what is hidden is not told of" {
	http /topics
	is 200 '(index("mine") != null) and (index("hidden") == null)'
	http /topics/hidden
	is 403 || is 404
	http /topics/hidden/partitions/0/offsets
	is 403 || is 404
	http /ready
	is 200
}

@test "a record that is larger than a broker's requests may be: 413 with the limit's name, where that may be read" {
	local size
	KAFKA_BROKERS=$KAFKA_ALL khttp_start all
	# The brokers' limit was asked for on the same connection before.
	http /topics/mine
	is 200
	printf '{"records":[{"value":"1"},{"value":"%0400000d"}]}' 1 >large
	post json @large '/topics/mine?errors=fail'
	is 413 '.message | test("^Message size too large: the brokers.* socket.request.max.bytes leaves room for 299[0-9]{3} bytes$")'
	post json @large /topics/mine
	is 200 '(.offsets[0].offset >= 0) and .offsets[1].error_code == 413'
	# Near the limit: none is without an answer.
	for size in 299000 299550 299650 299750 299850 299950 300000; do
		printf '{"records":[{"value":"%0*d"}]}' "$((size - 2))" 1 >large
		post json @large '/topics/mine?errors=fail'
		is 200 || is 413
	done 2>/dev/null
	is 413
	post json "$record" /topics/mine
	is 200 '.offsets[0].offset >= 0'
	run ! grep -q 'cuts the connection' all.err
}

# The last one: until its time is over the record holds up all behind it.
@test "a record that is larger than a broker's requests may be: a warning says what happens" {
	printf '{"records":[{"value":"%0400000d"}]}' 1 >large
	spawn client curl -s --unix-socket "$WEB" -H 'Content-Type: application/vnd.kafka.json.v2+json' \
		--data-binary @large http://localhost/topics/mine
	wait_file_contains "$BATS_FILE_TMPDIR/http.err" "khttp: warning: broker $KAFKA_SASL cuts the connection each time records are sent to it: is a request larger than its socket.request.max.bytes?"
}
