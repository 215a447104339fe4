#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# khttp: topics, records to Kafka, and what the program says of itself; each row of the endpoint table but the consumers', and
# the texts that clients may meet.

load helpers
load khttp

setup_file() {
	kafka_start
	khttp_start
}

schema='Validation error on: Schema validation error'

# ---- the program itself ----

# bats test_tags=smoke
@test "version, description, health, metrics" {
	http /
	is 200 '.bridge_version | test("^[0-9]")'
	is_type application/json
	for path in /openapi /openapi/v3 /openapi/; do
		http "$path"
		is 200 '.openapi == "3.1.0" and (has("basePath") | not)'
		is_type application/json
	done
	http -H 'X-Forwarded-Prefix: /b' /openapi
	is 200 '.basePath == "/b"'
	http -H 'X-Forwarded-Prefix: /b' -H 'X-Forwarded-Path: /a' /openapi
	is 200 '.basePath == "/a" and .openapi == "3.1.0"'
	for socket in "$WEB" "$SIDE"; do
		for path in /healthy /ready; do
			WEB=$socket http "$path"
			is 200
			[ ! -s body ]
		done
		WEB=$socket http /metrics
		is 200
		is_type 'text/plain; version=0.0.4; charset=utf-8'
		cp body metrics
		# Those of a histogram have names of their own.
		grep -v evpipe_http_request_seconds body >plain
		valid_metrics plain
	done
	grep -q '^evpipe_http_request_seconds_count{pipeline="evpipe",method="GET",route="/ready",status="200"}' metrics
	grep -q '^evpipe_up{pipeline="evpipe",tool="khttp",peer="kafka"} 1' metrics
	WEB=$SIDE http /topics
	is 404
}

@test "paths and methods that there are not" {
	http /nothing
	is_error 404 'Not Found'
	http /topics/a/b/c
	is_error 404 'Not Found'
	# What is no text is no name: at such a one a broker ends the connection, which is all requests'.
	post json '{"records":[{"value":"a"}]}' /topics/%FF
	is_error 404 'Not Found'
	post v2 '{}' /consumers/%C3%28
	is_error 404 'Not Found'
	http -X PUT /topics
	is 405
	[ ! -s body ]
	[[ $(curl -s -i -X PUT --unix-socket "$WEB" http://localhost/topics) == *'Allow: GET, HEAD'* ]]
	for path in /topics/t/records /consumers/g/instances/i/records; do
		for method in PUT HEAD; do
			curl -s -i -m 5 -X $method --unix-socket "$WEB" "http://localhost$path" | grep -qx $'Allow: GET\r'
		done
	done
	# Without --cors-origin there is no preflight.
	http -X OPTIONS -H 'Origin: http://a' -H 'Access-Control-Request-Method: GET' /topics
	is 405
	http '/topics/?nothing=1'
	is 200 'type == "array"'
	http -I /topics
	is 200
}

# ---- topics ----

@test "topics are made, listed and shown" {
	local topic
	topic=$(unique made)
	post json '{"topic_name":"'"$topic"'","partitions_count":3,"replication_factor":1}' /admin/topics
	is 201 '. == {}'
	post json '{"topic_name":"'"$topic"'"}' /admin/topics
	is_error 409 "Topic '$topic' already exists."
	post json '{"topic_name":"'"$topic"'-2","partitions_count":null,"replication_factor":null}' /admin/topics
	is 201 '. == {}'
	wait_for "http /topics; is 200 'index(\"$topic\") and index(\"$topic-2\") and (index(\"__consumer_offsets\") | not)'"
	is_type application/vnd.kafka.v2+json
	http "/topics/$topic"
	is 200 '.name == "'"$topic"'" and .configs["cleanup.policy"] == "delete" and
		[.partitions[].partition] == [0, 1, 2] and
		.partitions[0].replicas == [{broker: .partitions[0].leader, leader: true, in_sync: true}]'
	http "/topics/$topic/partitions"
	is 200 '[.[].partition] == [0, 1, 2]'
	http "/topics/$topic/partitions/1/"
	is 200 '.partition == 1 and (.leader | type) == "number"'
	http "/topics/$topic/partitions/1/offsets"
	is 200 '. == {beginning_offset: 0, end_offset: 0}'
}

@test "what a topic cannot be" {
	for body in '{}' '[]' '{"topic_name":1}' '{"topic_name":"a","x":1}' '{"topic_name":"a","partitions_count":"1"}' \
		'{"topic_name":"a","partitions_count":1.5}' '{"topic_name":"a","replication_factor":true}'; do
		post json "$body" /admin/topics
		is_error 400 "$schema"
		is 400 '.validation_errors | length > 0'
	done
	for body in '{"topic_name":"no good"}' '{"topic_name":"."}' '{"topic_name":""}' \
		'{"topic_name":"x","partitions_count":0}' '{"topic_name":"x","replication_factor":9}' "{\"topic_name\":\"$(printf %040000d 1)\"}"; do
		post json "$body" /admin/topics
		is 400 '.error_code == 400'
	done
	for kind in binary text application/x-ndjson; do
		post $kind '{"topic_name":"a"}' /admin/topics
		is_error 400 'Validation error on: The format of the request body is not supported'
	done
}

@test "what is not there" {
	local topic
	topic=$(new_topic 2)
	for path in nothing-here nothing-here/partitions nothing-here/partitions/0 nothing-here/partitions/0/offsets; do
		http "/topics/$path"
		is_error 404 'This server does not host this topic-partition.'
	done
	http /topics
	is 200 'index("nothing-here") | not'
	http "/topics/$topic/partitions/2"
	is_error 404 'Specified partition does not exist.'
	http "/topics/$topic/partitions/2/offsets"
	is_error 404 "Topic '$topic' does not have partition with id 2"
	for rest in '' /offsets; do
		http "/topics/$topic/partitions/99999999999$rest"
		is_error 422 'Specified partition is not a valid number'
		for p in x -1 1x 1.0; do
			http "/topics/$topic/partitions/$p$rest"
			is_error 400 "$schema"
		done
	done
}

# ---- records ----

# bats test_tags=smoke
@test "records as JSON, text and base64" {
	local topic
	topic=$(new_topic 1)
	post json '{"records":[{"key":{"k":1E5},"value":{"n":1.10,"big":1e400}},{"value":"text"},{"value":[1, 2],"key":"s"}]}' "/topics/$topic"
	is 200 '. == {offsets: [{partition: 0, offset: 0}, {partition: 0, offset: 1}, {partition: 0, offset: 2}]}'
	is_type application/vnd.kafka.v2+json
	post text '{"records":[{"key":"k\u00e9y","value":"a\nb"},{"value":""}]}' "/topics/$topic"
	is 200 '[.offsets[].offset] == [3, 4]'
	post binary '{"records":[{"key":"/w==","value":"AP8"},{"value":""}]}' "/topics/$topic"
	is 200 '[.offsets[].offset] == [5, 6]'
	post application/json '{"records":[{"value":{"p":1}}]}' "/topics/$topic"
	is 200
	kread -q -e "$topic" | jq -c '[.key // .key_b64, .payload // .payload_b64]' >got
	diff - got <<-'EOF'
	["{\"k\":1E5}","{\"n\":1.10,\"big\":1e400}"]
	[null,"\"text\""]
	["\"s\"","[1, 2]"]
	["kéy","a\nb"]
	[null,""]
	["/w==","AP8="]
	[null,""]
	[null,"{\"p\":1}"]
	EOF
}

@test "keys go to the partitions of the Java client; headers, time, partition, tombstone" {
	local topic
	topic=$(new_topic 3)
	post text '{"records":[{"key":"my-key","value":"1"},{"key":"other","value":"2","timestamp":0},{"value":"3","partition":2,"timestamp":1000}]}' "/topics/$topic"
	is 200
	cp body answer
	printf '%s\n' '{"key":"my-key","payload":"1"}' '{"key":"other","payload":"2"}' | kwrite -t "$topic"
	kread -q -e "$topic" >got
	for key in my-key other; do
		[ "$(jq -r 'select(.key == "'$key'") | .partition' got | sort -u | wc -l)" -eq 1 ]
	done
	[ "$(jq -c 'select(.payload == "3") | [.partition, .ts]' got)" = '[2,1000]' ]
	# That is as near to 0 as librdkafka can.
	[ "$(jq -s 'map(select(.payload == "2").ts) | min' got)" = 1 ]
	jq -e '.offsets[2].partition == 2' answer
	topic=$(new_topic 1)
	post json '{"records":[{"key":"k","value":null,"headers":[{"key":"a","value":"/w=="},{"key":"a","value":"Yg"},{"key":"","value":"Yw=="}]}]}' "/topics/$topic"
	is 200
	for kind in text binary json; do
		post $kind '{"records":[{"value":null}]}' "/topics/$topic"
		is 200 '.offsets[0].partition == 0'
	done
	kread -q -e "$topic" | jq -c '[.key, .payload, .headers]' >got
	diff - got <<-'EOF'
	["\"k\"",null,["a",{"b64":"/w=="},"a","b","","c"]]
	[null,null,null]
	[null,null,null]
	[null,null,null]
	EOF
}

@test "one partition by its path" {
	local topic
	topic=$(new_topic 3)
	post text '{"records":[{"key":"a","value":"1"},{"key":"b","value":"2"}]}' "/topics/$topic/partitions/1"
	is 200 '. == {offsets: [{partition: 1, offset: 0}, {partition: 1, offset: 1}]}'
	post text '{"records":[{"value":"1"}]}' "/topics/$topic/partitions/7"
	is 200 '.offsets[0].error_code == 404'
	[[ $(jq -r '.offsets[0].message' body) == "Partition 7 of topic $topic with partition count 3 is not present in metadata after "*' ms.' ]]
	for member in '"partition":1' '"timestamp":5'; do
		post text '{"records":[{"value":"1",'"$member"'}]}' "/topics/$topic/partitions/1"
		is_error 400 "$schema"
	done
	post text '{"records":[]}' "/topics/$topic/partitions/99999999999"
	is_error 422 'Specified partition is not a valid number'
	post text '{"records":[]}' "/topics/$topic/partitions/x"
	is_error 400 "$schema"
}

@test "a record that fails takes no neighbour along" {
	local topic
	topic=$(new_topic 1 max.message.bytes=10000)
	{
		printf '{"records":[{"value":"1"},{"value":"%s"},{"value":"3"},{"value":"4","partition":9}]}' \
			"$(head -c 20000 /dev/zero | tr '\0' x)"
	} >large
	post text @large "/topics/$topic"
	is 200 '(.offsets | map(.error_code)) == [null, 413, null, 404]'
	[ "$(in_topic "$topic" | wc -l)" -eq 2 ]
	post text @large "/topics/$topic?errors=fail"
	is 413 '.error_code == 413 and (.offsets | length) == 4'
	post text @large "/topics/$topic?errors=failed"
	is_error 400 "$schema"
	# A time of the far future is not taken. The others keep theirs.
	post text '{"records":[{"value":"5","timestamp":7},{"value":"6","timestamp":9223372036854775807},{"value":"7","timestamp":8}]}' "/topics/$topic"
	is 200 '(.offsets | map(.error_code)) == [null, 422, null]'
	[ "$(kread -q -e "$topic" | jq -c '[.payload, .ts]' | tail -n 2 | xargs)" = '[5,7] [7,8]' ]
	# A compacted topic wants keys; other clients' records in the same batch are written.
	topic=$(new_topic 1 cleanup.policy=compact)
	post text '{"records":[{"key":"a","value":"1"},{"value":"2"},{"key":"b","value":"3"}]}' "/topics/$topic"
	is 200 '(.offsets | map(.error_code)) == [null, 422, null]'
	[ "$(in_topic "$topic")" = '0 a 1 []
0 b 3 []' ]
}

@test "a topic that there is not" {
	# The tests' broker makes none by itself.
	post text '{"records":[{"value":"1"},{"value":"2"}]}' /topics/none-at-all
	is 200 '[.offsets[].error_code] == [404, 404]'
	[[ $(jq -r '.offsets[0].message' body) == 'Topic none-at-all not present in metadata after '*' ms.' ]]
	post text '{"records":[{"value":"1"}]}' '/topics/none-at-all?errors=fail'
	is 404 '.error_code == 404'
	for name in no%20name no%20name no%20name . ..; do
		post text '{"records":[{"value":"1"}]}' "/topics/$name" --path-as-is
		is 200 '.offsets[0].error_code == 400'
	done
}

@test "async" {
	local topic
	topic=$(new_topic 1)
	post text '{"records":[{"value":"1"}]}' "/topics/$topic?async=true"
	is 204
	[ ! -s body ]
	wait_for "[ \"\$(in_topic $topic | wc -l)\" -eq 1 ]"
	post text '{"records":[{"value":"2"}]}' "/topics/$topic?async=false"
	is 200
	post text '{"records":[{"value":"2"}]}' "/topics/$topic?async=yes"
	is_error 400 "$schema"
}

@test "lines of records" {
	local topic from
	from=$(new_topic 1) topic=$(new_topic 1)
	printf '%s\n' '{"key":"k","ts":5,"headers":["a","b","n",null],"payload":"1"}' '{"key_b64":"/w==","payload":null}' \
		'{"payload":{"a":1.10}}' | kwrite -t "$from"
	kread -q -e "$from" >lines
	post application/x-ndjson @lines "/topics/$topic"
	is 200 '[.offsets[].offset] == [0, 1, 2]'
	kread -q -e "$topic" >got
	diff <(jq -c '[.key, .key_b64, .payload, .headers, .ts]' lines) <(jq -c '[.key, .key_b64, .payload, .headers, .ts]' got)
	printf '%s\n' '{"payload":"x"}' 'no record' >lines
	post application/x-ndjson @lines "/topics/$topic"
	is 400 '.validation_errors[0] | startswith("line 2: ")'
	post application/x-ndjson '' "/topics/$topic"
	is 200 '.offsets == []'
	# All times are kept but 0, which librdkafka does not know.
	printf '{"ts":%d,"payload":"t"}\n' -5 -1 0 1 >lines
	post application/x-ndjson @lines "/topics/$topic"
	is 200
	[ "$(kread -q -e "$topic" | jq 'select(.payload == "t").ts' | xargs)" = '-5 -1 1 1' ]
}

repeated() { WEB=$SIDE http /metrics >/dev/null && sed -n 's/^evpipe_http_repeated_total{.*} //p' body; }

@test "Idempotency-Key: what comes again is not written again" {
	local topic other n before calls=()
	topic=$(new_topic 1) other=$(new_topic 1)
	before=$(repeated)
	for _ in 1 2 3; do
		post text '{"records":[{"value":"1"}]}' "/topics/$topic" -H 'Idempotency-Key: a'
		is 200 '. == {offsets: [{partition: 0, offset: 0}]}'
	done
	# It is the same path.
	post text '{"records":[{"value":"1"}]}' "/topics/$(printf '%%%02x' "'${topic:0:1}")${topic:1}/" -H 'Idempotency-Key: a'
	is 200 '.offsets[0].offset == 0'
	post text '{"records":[{"value":"2"}]}' "/topics/$topic" -H 'Idempotency-Key: a'
	is 422
	post text '{"records":[{"value":"1"}]}' "/topics/$topic" -H 'Idempotency-Key: b'
	is 200 '.offsets[0].offset == 1'
	post text '{"records":[{"value":"1"}]}' "/topics/$other" -H 'Idempotency-Key: a'
	is 200 '.offsets[0].offset == 0'
	# All at once: three of them wait for the first's answer.
	for n in 1 2 3 4; do
		curl -s --unix-socket "$WEB" -H 'Content-Type: application/json' -H 'Idempotency-Key: c' \
			-d '{"records":[{"value":"x"}]}' -o "answer$n" "http://localhost/topics/$topic" &
		calls+=($!)
	done
	wait "${calls[@]}"
	for n in 1 2 3 4; do
		[ "$(cat answer$n)" = '{"offsets":[{"partition":0,"offset":2}]}' ]
	done
	[ "$(in_topic "$topic" | wc -l)" -eq 3 ]
	# Each that came again counts once, whether it waited or not; another's key is none.
	[ "$(repeated)" -eq $((before + 6)) ]
	# What was refused was not done.
	post text '{"records":[{"value":1}]}' "/topics/$topic" -H 'Idempotency-Key: d'
	is 400
	post text '{"records":[{"value":"1"}]}' "/topics/$topic" -H 'Idempotency-Key: d'
	is 200 '.offsets[0].offset == 3'
}

# ---- what is refused ----

@test "bodies that are not as the schema has them" {
	local topic
	topic=$(new_topic 1)
	post text '' "/topics/$topic"
	is_error 400 'Validation error on: The related request does not contain the required body.'
	for body in '{' 'x' '{"records":[]} x' "$(printf '{"records":[{"value":"\xff"}]}')"; do
		post json "$body" "/topics/$topic"
		is_error 400 "Validation error on: The request body can't be decoded"
	done
	for mime in text/plain application/x-www-form-urlencoded 'application/json; charset=utf-16' 'application/json, text/plain' v2; do
		# It is looked at before the body is.
		post "$mime" '{' "/topics/$topic"
		is_error 400 'Validation error on: The format of the request body is not supported'
	done
	for body in '[]' '{}' '{"records":{}}' '{"records":[1]}' '{"records":[{}]}' '{"records":[{"key":"k"}]}' \
		'{"records":[{"value":1}]}' '{"records":[{"value":true}]}' '{"records":[{"value":"v","key":null}]}' \
		'{"records":[{"value":"v","key":1}]}' '{"records":[{"value":"v","partition":"1"}]}' \
		'{"records":[{"value":"v","timestamp":1.5}]}' '{"records":[{"value":"v","x":1}]}' '{"records":[],"x":1}' \
		'{"records":[{"value":"v","headers":{}}]}' '{"records":[{"value":"v","headers":[{"key":"a"}]}]}' \
		'{"records":[{"value":"v","headers":[{"key":"a","value":""}]}]}' \
		'{"records":[{"value":"v","headers":[{"key":"a","value":"YQ==","x":1}]}]}'; do
		post json "$body" "/topics/$topic"
		is_error 400 "$schema"
		is 400 '.validation_errors | length > 0'
	done
	[ -z "$(in_topic "$topic")" ]
}

@test "bodies that mean nothing" {
	local topic
	topic=$(new_topic 1)
	while read -r kind body; do
		read -r text
		post "$kind" '{"records":[{"value":"dg=="},'"$body"']}' "/topics/$topic"
		is_error 422 "$text"
	done <<-'EOF'
	json {"value":"v","partition":-1}
	Invalid partition: -1. Partition number should always be non-negative or null.
	json {"value":"v","timestamp":-5}
	Invalid timestamp: -5. Timestamp should always be non-negative or null.
	text {"value":{}}
	Because the embedded format is 'text', the value must be a string
	text {"value":"v","key":[]}
	Because the embedded format is 'text', the key must be a string
	binary {"value":"*"}
	Illegal base64 character 2a
	binary {"value":"ab-_"}
	Illegal base64 character 2d
	json {"value":"v","headers":[{"key":"a","value":"*"}]}
	Illegal base64 character 2a
	EOF
	[ -z "$(in_topic "$topic")" ]
}

@test "types of bodies are understood with their parameters" {
	local topic
	topic=$(new_topic 1)
	for mime in 'application/json; charset=utf-8' 'APPLICATION/JSON' 'application/vnd.kafka.json.v2+json;charset="UTF-8"'; do
		post "$mime" '{"records":[{"value":{}}]}' "/topics/$topic"
		is 200
	done
	post json '{"records":[{"value":{}}]}' "/topics/$topic" -H 'Content-Encoding: identity'
	is 200
	for code in gzip 'identity, br'; do
		post json '{"records":[{"value":{}}]}' "/topics/$topic" -H 'Content-Encoding: identity' -H "Content-Encoding: $code"
		is_error 415 "the body must not be compressed: a Content-Encoding other than 'identity' is not known here"
	done
}

@test "--compat on: as the reference, to the letter" {
	local topic
	topic=$(new_topic 1 max.message.bytes=10000)
	khttp_start old --compat on
	post json '{"records":[{"value":null}]}' "/topics/$topic"
	is 200
	post binary '{"records":[{"value":null}]}' "/topics/$topic"
	is 200
	post text '{"records":[{"value":null}]}' "/topics/$topic"
	is_error 422 "Because the embedded format is 'text', the value must be a string"
	kread -q -e "$topic" | jq -c '[.payload, .payload_b64]' >got
	diff - got <<-'EOF'
	["null",null]
	[null,"null"]
	EOF
	for mime in application/json 'application/vnd.kafka.json.v2+json; charset=utf-8' APPLICATION/VND.KAFKA.JSON.V2+JSON; do
		post "$mime" '{"records":[{"value":{}}]}' "/topics/$topic"
		is 400
	done
	printf '{"records":[{"value":"%s"}]}' "$(head -c 20000 /dev/zero | tr '\0' x)" >large
	post text @large "/topics/$topic"
	is 200 '.offsets[0].error_code == 500'
	post json '{"topic_name":"'"$topic"'"}' /admin/topics
	is_error 500 "Topic '$topic' already exists."
}

# ---- who asks ----

@test "tokens, names and passwords" {
	printf 'one\n# two\n' >tokens
	echo 'alice:secret' >users
	khttp_start shut --token-file tokens --user-file users
	http /topics
	is 401 '.error_code == 401'
	for header in 'Authorization: Bearer two' 'Authorization: Bearer' 'Authorization: Basic b25l'; do
		http -H "$header" /topics
		is 401
	done
	http -H 'Authorization: Bearer one' /topics
	is 200
	http -u alice:secret /topics
	is 200
	http -u alice:other /topics
	is 401
	# Who asks is looked at before what is asked.
	for mime in text text/plain; do
		post $mime '{' /topics/x
		is 401
	done
	http /ready
	is 200
	http /metrics
	is 401
	WEB=$SIDE http /metrics
	is 200
	echo three >tokens.new
	mv tokens.new tokens
	http -H 'Authorization: Bearer one' /topics
	is 401
	http -H 'Authorization: Bearer three' /topics
	is 200
}

@test "pages of other origins" {
	khttp_start cors --cors-origin https://app.test --cors-origin 'https://*.site.test'
	for origin in https://app.test https://a.site.test; do
		curl -s -i --unix-socket "$WEB" -H "Origin: $origin" http://localhost/topics >answer
		grep -qi "^Access-Control-Allow-Origin: $origin" answer
		grep -qi "^Access-Control-Expose-Headers: .*Idempotency-Replayed" answer
		curl -s -i --unix-socket "$WEB" -X OPTIONS -H "Origin: $origin" -H 'Access-Control-Request-Method: POST' \
			http://localhost/topics/x >answer
		grep -q '^HTTP/1.1 204' answer
		grep -qi '^Access-Control-Allow-Methods: .*POST' answer
	done
	for origin in http://app.test https://site.test.evil https://xsite.test null; do
		http -H "Origin: $origin" /topics
		is_error 403 'CORS Rejected - Invalid origin'
		http -X OPTIONS -H "Origin: $origin" -H 'Access-Control-Request-Method: POST' /topics
		is_error 403 'CORS Rejected - Invalid origin'
	done
	http /topics
	is 200
	http -H 'Origin: http://localhost' /topics
	is 200
}

@test "a side that is switched off" {
	khttp_start off --no-producer --no-consumer
	post text '{"records":[{"value":"1"}]}' /topics/x
	is 503 '.message | startswith("Producer is disabled in config.")'
	post v2 '{}' /consumers/g
	is 503 '.message | startswith("Consumer is disabled in config.")'
	http /topics
	is 200
}

@test "each route stands in the OpenAPI, and the reverse" {
	http /openapi
	is 200
	jq -r '.paths | to_entries[] | .key as $path | .value | keys[] | select(. != "parameters") |
		"\(ascii_upcase) \($path | gsub("{[^}]*}"; "{}"))"' body | sort >described
	sed -n 's/^\t{"\([A-Z]*\)", "\(.*\)", BODY_.*/\1 \2/p; s/^\t{"\([A-Z]*\)", INSTANCE\( "\([^"]*\)"\)*, BODY_.*/\1 \/consumers\/{}\/instances\/{}\3/p' \
		"$ROOT/tools/khttp/route.c" | sed 's/{[^}]*}/{}/g' | sort >routed
	[ "$(wc -l <routed)" -gt 25 ]
	diff described routed
}
