#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# The pair of bridges at once, joined by plain pipes, between a real Kafka and a real Redis: what
# README.md calls the pair, on topics of our own.

load helpers

setup_file() {
	kafka_start
	redis_start
}

# counter FILE NAME: the value of a counter in a --metrics file.
counter() {
	awk -v name="evpipe_$2" '{ sub(/\{.*\}/, "", $1) } $1 == name { print $2 }' "$1"
}

# edge_publish CHANNEL FILE: each line as a message, by redis-cli.
edge_publish() {
	python3 - "$1" "$2" <<-'EOP' | rcli --pipe >pipe.log
		import sys
		channel = sys.argv[1].encode()
		for line in open(sys.argv[2], "rb").read().split(b"\n")[:-1]:
		    sys.stdout.buffer.write(b"*3\r\n$7\r\nPUBLISH\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n" %
		        (len(channel), channel, len(line), line))
	EOP
	grep -q 'errors: 0' pipe.log
}

# pair_start: both bridges in the background, on the topics $a and $b. A bridge ends on SIGTERM to
# its source, and its status is the worst of its members'.
pair_start() {
	spawn forward bash -o pipefail -c '
		kread -g "$0" --commit written "^($1|$2)\$" --ready-fd 3 3>forward.ready |
			evstamp --drop cloud-run-api --metrics forward-stamp.prom |
			rpub "sse:{topic}" --metrics forward-rpub.prom' "$(unique bridge)" "$a" "$b" </dev/null
	spawn reverse bash -o pipefail -c '
		rsub -p "sse:*" --ready-fd 3 3>reverse.ready |
			evstamp --drop nas-worker --set cloud-run-api --metrics reverse-stamp.prom \
				--dead-letter dead |
			evkey .tenantId --dead-letter dead |
			kwrite -t "{channel#sse:}" --metrics reverse-kwrite.prom' </dev/null
	wait_lines forward.ready 1
	wait_lines reverse.ready 1
}

# pair_stop: ends the sources; the rest of each bridge ends with its input.
pair_stop() {
	kill -TERM "$(pgrep -g "$(pid_of forward)" -x kread)"
	kill -TERM "$(pgrep -g "$(pid_of reverse)" -x rsub)"
	wait_exit forward
	forward_status=$status
	wait_exit reverse
	reverse_status=$status
}

# events SIDE COUNT SEED: as JSON, some of it what a parser and printer would not leave alone.
events() {
	awk -v side="$1" -v count="$2" -v seed="$3" 'BEGIN {
		for (i = 1; i <= count; i++) {
			source = side == "nas" ? ", \"source\" : \"nas-worker\"" : ""
			printf "{\"id\": \"%s-%s-%d\",  \"tenantId\":\"tenant-%d\",\"n\":1234567890123456789%d,", \
				side, seed, i, i % 5, i % 10
			printf "\"x\":[1.10, 1E400 ],\"s\":\"\\u00e9 é € 𝄞 \\/ \\ud83d\"%s }\n", source
		}
	}'
}

# One run of the pair for the tests below.
run_pair() {
	local a b
	a=$(new_topic 3)
	b=$(new_topic 3)
	echo "$a" >a
	echo "$b" >b
	spawn ear rsub --raw -p 'sse:*' </dev/null
	wait_for "[ \$(redis_patterns) -eq 1 ]"
	pair_start
	events nas 200 a >nas-a
	events nas 200 b >nas-b
	events edge 200 a >edge-a
	events edge 200 b >edge-b
	printf '%s\n' '{"id":"bad-1"' 'no json' '{"id":"bad-3","tenantId":"t"}}' >bad-json
	printf '%s\n' '{"id":"bad-4"}' '{"id":"bad-5","tenantId":null}' >bad-tenant
	kproduce "$a" <nas-a &
	kproduce "$b" <nas-b
	edge_publish "sse:$a" bad-json
	edge_publish "sse:$a" edge-a
	edge_publish "sse:$b" bad-tenant
	edge_publish "sse:$b" edge-b
	wait $!
	# What came over the other bridge is looked at once more on its way back: then no echo is left.
	wait_for '[ "$(counter forward-stamp.prom dropped_total)" -eq 400 ]'
	wait_for '[ "$(counter reverse-stamp.prom dropped_total)" -eq 400 ]'
	pair_stop
	wait_lines ear.out 805
	stop ear
	wait_exit ear
	for topic in "$a" "$b"; do
		kread --raw -e "$topic"
	done >kafka
	cat nas-a nas-b >nas
	cat edge-a edge-b >edge
	sed 's/ }$/,"source":"cloud-run-api" }/' edge >edge-stamped
}

the_same_lines() {
	diff <(sort "$1") <(sort "$2") | head -n 20
	[ "${PIPESTATUS[0]}" -eq 0 ]
}

@test "the pair carries each event to the other side once, byte for byte, and echoes none" {
	run_pair
	# The stamp is all that an event of the edge gets.
	cat nas edge-stamped >kept
	the_same_lines kept kafka
	cat nas edge bad-json bad-tenant >said
	the_same_lines said ear.out
	# Each bad event is under its class, as it came; the bridge has told so by its status.
	[ "$(jq -r .error.class dead | sort | uniq -c | tr -s ' ' | tr '\n' ';')" = \
		' 3 json-decode; 2 missing-key;' ]
	the_same_lines bad-json <(jq -r 'select(.error.class == "json-decode") | .record.payload' dead)
	[ "$(jq -r 'select(.error.class == "missing-key") | .record.payload | fromjson.id' dead | tr '\n' ' ')" = \
		'bad-4 bad-5 ' ]
	[ "$forward_status" -eq 0 ]
	[ "$reverse_status" -eq 1 ]
	# Keyed by tenant, and all of a tenant in one partition, in order.
	for topic in "$(cat a)" "$(cat b)"; do
		kread -e "$topic" | jq -r 'select(.payload | contains("\"edge-")) |
			"\(.key) \(.payload | capture("\"tenantId\":\"(?<t>[^\"]*)").t) \(.partition)"'
	done | sort -u >keys
	[ "$(awk '$1 != $2' keys | wc -l)" -eq 0 ]
	[ "$(cut -d ' ' -f 1 keys | sort -u | wc -l)" -eq 5 ]
	[ "$(wc -l <keys)" -eq 5 ]
	[ "$(counter forward-rpub.prom messages_forwarded_total)" -eq 400 ]
	[ "$(counter reverse-kwrite.prom messages_forwarded_total)" -eq 400 ]
}

@test "jq -c . may stand in the middle of the forward bridge, and payloads stay as they are" {
	topic=$(new_topic)
	events nas 50 jq >said
	kproduce "$topic" <said
	spawn ear rsub --raw -c 50 "sse:$topic"
	wait_for "[ \$(redis_subscribers sse:$topic) -eq 1 ]"
	kread -e "$topic" | jq -c . | rpub 'sse:{topic}'
	wait_exit ear
	cmp said ear.out
}

@test "the reverse bridge takes a channel without the prefix for an error" {
	topic=$(new_topic)
	spawn reverse bash -o pipefail -c '
		rsub -p "*" -c 2 | evkey .tenantId | kwrite -t "{channel#sse:}" --dead-letter dead' </dev/null
	wait_for "[ \$(redis_patterns) -eq 1 ]"
	rcli publish "xsse:$topic" '{"tenantId":"a"}'
	rcli publish "sse:$topic" '{"tenantId":"b"}'
	wait_exit reverse
	[ "$status" -eq 1 ]
	[ "$(jq -r .error.class dead)" = prefix-mismatch ]
	[ "$(kread -e "$topic" | jq -r .key)" = b ]
}
