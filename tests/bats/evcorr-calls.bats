#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# evcorr store, wait and call: replies into Redis and to the one that waits.

# shellcheck disable=SC2154 # run sets stderr
load helpers

UUID7='[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}'

setup_file() {
	redis_start
}

setup() {
	harness_setup
	rcli flushall
}

# reply ID PAYLOAD [HEADER…]: a record.
reply() {
	jq -cn '{headers: (["correlation-id", $ARGS.positional[0]] + $ARGS.positional[2:]), payload: $ARGS.positional[1]}' \
		--args "$@"
}

# service [ID-HEADER]: a service without Kafka, which stores the replies to the requests that come into the fifo req.
service() {
	mkfifo req
	spawn service bash -c '
		jq -c --unbuffered "{headers: (.headers[0:2] + [\"status\",\"201\"]), payload: (\"re:\" + .payload)}" |
			exec evcorr store --id-header "$1"' bash "${1:-correlation-id}" <>req
	exec 7>req
}

empty() {
	[ "$(rcli dbsize)" -eq 0 ]
}

# ---- store and wait ----

@test "a stored reply is waited for, printed with its status, and leaves the cache" {
	{ reply one p status 404; reply two q; reply three r status mine; } >replies
	evcorr store <replies
	[ "$(rcli dbsize)" -eq 3 ]
	evcorr wait three one two >out
	[ "$(jq -c '[.status,.payload]' out | sort | paste -sd' ')" = '[200,"q"] [200,"r"] [404,"p"]' ]
	grep -qxF '{"status":404,"headers":["correlation-id","one","status","404"],"payload":"p"}' out
	empty
	run -99 evcorr wait --timeout 100ms one
	[ "${lines[0]}" = '{"status":504,"headers":["correlation-id","one"],"payload":null}' ] ||
		[ "${lines[1]}" = '{"status":504,"headers":["correlation-id","one"],"payload":null}' ]
	[[ $output == *"evcorr: 1 of 1 id had no reply in time"* ]]
	# However short the time is, it is looked for.
	evcorr store <replies
	[ "$(evcorr wait --timeout 0 one two three | wc -l)" -eq 3 ]
	run -99 --separate-stderr evcorr wait --timeout 0 one
	[ "$(jq .status <<<"$output")" -eq 504 ]
}

@test "one that waits is woken when the reply comes" {
	spawn waiter evcorr wait --timeout 100s late
	wait_for '[ "$(redis_subscribers evcorr:id:6c617465)" -eq 1 ]'
	reply late p | evcorr store
	wait_exit waiter
	[ "$status" -eq 0 ]
	[ "$(jq -r .payload waiter.out)" = p ]
	empty
}
@test "call: each request gets its own reply" {
	service
	seq 1000 | evcorr call --timeout 1m --raw -- sh -c 'cat >req' >out
	[ "$(jq -r '.payload' out | sort)" = "$(seq 1000 | sed 's/^/re:/' | sort)" ]
	[ "$(jq .status out | sort -u)" = 201 ]
	empty
}

@test "ids are bytes: NUL, LF and quotes, 16 of them or one" {
	for bytes in '\0\n"\\\xff\x00\x01\x7f\x80\xfe\r\t\xc3(AB' '\0' 'hex:61'; do
		id=$(printf %b "$bytes" | base64)
		hex=hex:$(printf %b "$bytes" | od -An -v -tx1 | tr -d ' \n')
		echo "{\"headers\":[\"kafka_correlationId\",{\"b64\":\"$id\"}],\"payload\":\"p\"}" | evcorr store --preset spring
		run -0 evcorr wait --preset spring "$hex"
		[ "$output" = "{\"status\":200,\"headers\":[\"kafka_correlationId\",{\"b64\":\"$id\"}],\"payload\":\"p\"}" ]
		empty
	done
	service 'kafka_correlationId'
	seq 500 | evcorr call --timeout 1m --preset spring --raw -- sh -c 'cat >req' >out
	[ "$(jq -r '.payload' out | sort)" = "$(seq 500 | sed 's/^/re:/' | sort)" ]
	for bad in '' hex: hex:1 hex:zz; do
		run -100 evcorr wait "$bad"
		[[ $output == "evcorr: '$bad' is no id"* ]]
	done
}

@test "store: the first reply wins, or so many as are asked for" {
	{ reply a 1; reply a 2; reply a 3; } >in
	evcorr store --metrics m <in
	grep -q 'evpipe_repeated_replies_total{.*} 2' m
	[ "$(evcorr wait a | jq -r .payload)" = 1 ]
	evcorr store --replies 2 <in
	[ "$(evcorr wait --replies 2 a | jq -r .payload | paste -sd' ')" = '1 2' ]
	empty
	run -1 evcorr store --repeated refuse --dead-letter dead <in
	[ "$(jq -r '.error.class + " " + .record.payload' dead | paste -sd' ')" = 'timeout 2 timeout 3' ]
	evcorr wait a
	empty
}

@test "store: a record without an id, and one that is none, is refused" {
	{ echo '{"payload":"p"}'; echo '{"headers":["correlation-id",null],"payload":"p"}'; echo nonsense; reply a 1; } >in
	run -1 evcorr store --dead-letter dead <in
	[ "$(jq -r .error.class dead | paste -sd' ')" = 'missing-field missing-field json-decode' ]
	evcorr wait a
	run -1 evcorr store <in
	[[ $output == "evcorr: line 1: the record has no header 'correlation-id', so it is no reply (missing-field)" ]]
}

@test "store: a reply lives for its time, and a late one is kept, dropped or refused as asked" {
	reply a 1 | evcorr store --ttl 50ms
	wait_for empty
	# Each call times out, and leaves its mark, for as long as it was given; so the store runs before, and the reply is ready.
	request='{"headers":["correlation-id","late"],"payload":"p"}'
	late=$(reply late p)
	mkfifo replies
	for what in keep drop refuse; do
		rcli flushall
		spawn store sh -c 'exec evcorr store --late "$0" --metrics m --dead-letter dead <replies' $what
		exec 8>replies
		echo "${late/late/first}" >&8
		wait_for '[ "$(rcli exists "evcorr:{6669727374}")" -eq 1 ]'
		status=0
		evcorr call --timeout 2s -- cat <<<"$request" >out || status=$?
		echo "$late" >&8
		exec 8>&-
		[ "$status" -eq 99 ]
		wait_exit store
		[ "$status" -eq "$([ $what = refuse ] && echo 1 || echo 0)" ]
		grep -q 'evpipe_late_replies_total{.*} 1' m
		[ "$(rcli exists 'evcorr:{6c617465}')" -eq "$([ $what = keep ] && echo 1 || echo 0)" ]
	done
	[ "$(jq -r .error.class dead)" = timeout ]
	wait_for '[ "$(rcli exists "evcorr:{6c617465}:late")" -eq 0 ]'
}

@test "store: a reply that nobody hears is kept, dropped or refused as asked" {
	reply a 1 | evcorr store --metrics m
	grep -q 'evpipe_unheard_replies_total{.*} 1' m
	rcli flushall
	reply a 1 | evcorr store --nobody drop --metrics m
	grep -q 'evpipe_unheard_replies_total{.*} 1' m
	grep -q 'evpipe_dropped_total{.*} 1' m
	empty
	run -1 evcorr store --nobody refuse <<<"$(reply a 1)"
	empty
	spawn waiter evcorr wait --timeout 100s a
	wait_for '[ "$(redis_subscribers evcorr:id:61)" -eq 1 ]'
	reply a 1 | evcorr store --nobody drop --metrics m
	grep -q 'evpipe_heard_replies_total{.*} 1' m
	wait_exit waiter
	[ "$status" -eq 0 ]
}

@test "call: a long reply is read from its key, and the order is that of requests if asked" {
	service
	head -c 30000 /dev/zero | tr '\0' x >long
	{ seq 100; cat long; echo; seq 100 200; } >in
	evcorr call --timeout 1m --ordered --raw -- sh -c 'cat >req' <in >out
	diff <(jq -r .payload out) <(sed 's/^/re:/' in)
	empty
}

@test "wait: where redis could not be looked at, that is the status" {
	run -111 --separate-stderr evcorr wait -u redis://127.0.0.1:1 --timeout 300ms one two
	[ "$(jq -c .status <<<"$output")" = $'504\n504' ]
	[[ $stderr == *"evcorr: redis at 127.0.0.1:1 was away: the replies of 2 of 2 ids were not looked for" ]]
}

@test "call: its requests have the headers that CMD takes away, and keep their own" {
	printf '%s\n' '{"key":"k","payload":"a"}' '{"headers":["correlation-id","mine","reply-to","x/1"],"payload":"b"}' >in
	status=0
	evcorr call --reply-to replies/2 --timeout 300ms -- sh -c 'cat >got' <in >out || status=$?
	[ "$status" -eq 99 ]
	[[ $(head -n 1 got) =~ ^\{\"key\":\"k\",\"headers\":\[\"correlation-id\",\"$UUID7\",\"reply-to\",\"replies/2\",\"deadline\",\"[0-9]+\"\],\"payload\":\"a\"\}$ ]]
	[[ $(tail -n 1 got) =~ ^\{\"headers\":\[\"correlation-id\",\"mine\",\"reply-to\",\"x/1\",\"deadline\",\"[0-9]+\"\],\"payload\":\"b\"\}$ ]]
	# The key and the id say which call has timed out.
	[ "$(jq -c 'select(.key) | [.status,.key,.payload]' out)" = '[504,"k",null]' ]
	grep -qxF '{"status":504,"headers":["correlation-id","mine"],"payload":null}' out
	wait_for empty
}

@test "call: a deadline that is over is not sent; an id that is on its way is refused" {
	echo '{"headers":["deadline","1000"],"payload":"a"}' | { evcorr call --timeout 100s -- sh -c 'cat >got' || true; } >out
	[ ! -s got ]
	[ "$(jq .status out)" -eq 504 ]
	service
	{ reply a 1; reply a 2; reply b 3; } >in
	mkfifo gate
	spawn gated sh -c 'exec evcorr call --on-error skip -- sh -c "read -r _ <gate; cat >req" <in'
	wait_file_contains gated.err 'line 2: a call with this id is on its way already (invalid-record)'
	echo >gate
	wait_exit gated
	[ "$status" -eq 1 ]
	[ "$(jq -r .payload gated.out | sort | paste -sd' ')" = 're:1 re:3' ]
}

@test "call: CMD that cannot be run, that fails, that does not read" {
	run -100 evcorr call --raw -- ./none <<<x
	[[ $output == "evcorr: cannot run './none': "* ]]
	status=0
	yes | evcorr call --raw --timeout 100ms -- sh -c 'exit 3' >out 2>err || status=$?
	[ "$status" -eq 111 ]
	[ "$(tail -n 1 err)" = "evcorr: 'sh' exited with status 3 before its input ended" ]
	status=0
	yes | evcorr call --raw --timeout 100ms -- sh -c 'exit 100' >out 2>err || status=$?
	[ "$status" -eq 100 ]
	status=0
	yes | evcorr call --raw --timeout 100ms -- true >out 2>err || status=$?
	[ "$status" -eq 111 ]
	[ "$(tail -n 1 err)" = "evcorr: 'true' exited with status 0 before its input ended" ]
}

@test "call: the reply has its request's seq, and the store's record has none" {
	mkfifo req
	spawn service bash -c 'jq -c --unbuffered "{payload,headers,topic:\"t\",seq:\"0123456789abcdef:7\"}" | exec evcorr store --ack ""' <>req
	echo '{"seq":"fedcba9876543210:3","payload":"p"}' | evcorr call -- sh -c 'cat >req' >out || true
	[ "$(jq -r .seq out)" = fedcba9876543210:3 ]
}

@test "a caller that is killed: its call is answered to evcorr wait" {
	mkfifo in
	spawn caller sh -c 'exec evcorr call --timeout 100s -- sh -c "cat >>got" <in'
	reply orphan x >in
	wait_file_contains got orphan
	kill -KILL "$(pid_of caller)"
	reply orphan answer | evcorr store
	run -0 evcorr wait orphan
	[ "$(jq -r .payload <<<"$output")" = answer ]
	empty
}

# bats test_tags=load
@test "call: ten thousand calls wait at a time, in little memory, and survive a Redis that is started again" {
	redis_start own --save ''
	url=redis://127.0.0.1:$(port_of own)
	seq 10000 >in
	spawn caller sh -c "exec evcorr call -u $url --raw --timeout 100s -- sh -c 'cat >got' <in"
	wait_lines got 10000
	[ "$(awk '/VmRSS/ {print $2}' "/proc/$(pid_of caller)/status")" -lt 65536 ]
	redis_stop own
	redis_start own --save ''
	jq -c '{headers: .headers[0:2], payload: ("re:" + .payload)}' got | evcorr store -u "$url"
	wait_exit caller
	[ "$status" -eq 0 ]
	[ "$(jq -r .payload caller.out | sort)" = "$(sed 's/^/re:/' in | sort)" ]
	wait_for '[ "$(scli own dbsize)" -eq 0 ]'
}

@test "call: what was stored while a caller was cut off is found when it is there again" {
	redis_start own --save ''
	url=redis://127.0.0.1:$(port_of own)
	mkfifo in
	spawn caller sh -c "exec evcorr call -u $url --timeout 100s -- sh -c 'cat >got' <in"
	exec 8>in
	reply cut x >&8
	wait_file_contains got cut
	freeze "$(pid_of caller)"
	scli own client kill type pubsub
	reply cut answer | evcorr store -u "$url"
	kill -CONT "$(pid_of caller)"
	exec 8>&-
	wait_exit caller
	[ "$status" -eq 0 ]
	[ "$(jq -r .payload caller.out)" = answer ]
}

# loop OPTION…: a service with these options of serve, and a store, on a kmock.
loop() {
	kmock_start -t in:2 -t out:1 -t requests:2 -t replies:2
	spawn serve evpipe kread -g s "${SHORT_SESSION[@]}" requests '|' evcorr serve "$@" -- sed -u 's/^/re:/' '|' kwrite -p have
	spawn store evpipe kread -g r "${SHORT_SESSION[@]}" replies '|' evcorr store
}

@test "call in a pipeline: each request of a topic has its reply in another one, and is read once" {
	loop
	seq 500 | kwrite --raw -t in
	got() { kread -q -e out | jq -r .payload | sort >got && [ "$(wc -l <got)" -ge "$1" ]; }
	for count in 500 501; do
		spawn it evpipe --restart kread -g calls "${SHORT_SESSION[@]}" in '|' \
			evcorr call --timeout 100s --reply-to replies -- kwrite -t requests '|' kwrite -t out
		wait_for "got $count"
		stop it
		wait_exit it
		[ "$status" -eq 0 ]
		echo 501 | kwrite --raw -t in
	done
	got 501
	diff got <(seq 501 | sed 's/^/re:/' | sort)
}

# answers TOPIC JQ: what a service that makes mistakes has written: JQ makes replies of the requests that there are.
answers() {
	kread -q -e requests | jq -c "{headers: .headers[0:2], payload: (\"re:\" + .payload)} | $2" | kwrite -p 0 -t "$1"
}

@test "replies late, twice, malformed, to the wrong topic: none is another call's, and the cache is empty again" {
	kmock_start -t requests:2 -t replies:1 -t elsewhere:1
	spawn store sh -c 'kread -o beginning replies | exec evcorr store --ttl 2s --on-error skip --metrics m'
	# Time-outs, whatever is written: no reply has the id of one of these, or it comes too late.
	{ seq -f 'late %.0f' 25; seq -f 'astray %.0f' 25; } >never
	run -99 --separate-stderr evcorr call --raw --timeout 1s --reply-to replies -- kwrite -t requests <never
	[ "$(jq -c '[.status,.payload]' <<<"$output" | sort -u)" = '[504,null]' ]
	[ "$(wc -l <<<"$output")" -eq 50 ]
	answers replies 'select(.payload | test("late"))'
	answers elsewhere 'select(.payload | test("astray"))'
	# Each of these has a reply of its own between replies that are none.
	seq -f 'good %.0f' 50 >good
	spawn call evcorr call --raw --timeout 100s --reply-to replies -- sh -c 'tee got | exec kwrite -t requests' <good
	wait_for '[ "$(kread -q -e requests | wc -l)" -eq 100 ]'
	answers replies 'select(.payload | test("good")) |
		(.headers[1] = null), (.headers[1] |= .[1:]), (.headers[0] = "other"), (.headers = []), (.headers[1] += "0"),
		(.headers += ["status","mine"]), (.payload = "again"), (.headers = [.headers[1], .headers[0]])'
	wait_exit call
	[ "$status" -eq 0 ]
	[ "$(jq -r '"\(.status) \(.payload)"' call.out | sort)" = "$(sed 's/^/200 re:/' good | sort)" ]
	# What was written elsewhere is found once somebody stores it.
	kread -q -e elsewhere >astray
	evcorr store <astray
	# shellcheck disable=SC2046 # ids have no spaces
	run -0 evcorr wait $(jq -r '.headers[1]' astray)
	[ "$(jq -r .payload <<<"$output" | sort)" = "$(sed -n 's/^astray/re:&/p' never | sort)" ]
	wait_for empty
	wait_for "grep -q 'evpipe_errors_total{.*type=\"missing-field\"} 200' m"
}

# bats test_tags=once
@test "clocks that are an hour before or behind: each reply at its own caller, and a deadline within --skew" {
	loop --skew 2h
	for by in -1h +1h; do
		seq -f "$by %.0f" 200 >"in$by"
		spawn "call$by" env FAKETIME_DONT_FAKE_MONOTONIC=1 faketime -f "$by" sh -c \
			'exec evcorr call --raw --timeout 100s --reply-to replies -- env -u LD_PRELOAD kwrite -t requests <"$0"' "in$by"
	done
	for by in -1h +1h; do
		wait_exit "call$by"
		[ "$status" -eq 0 ]
		diff <(jq -r .payload "call$by.out" | sort) <(sed 's/^/re:/' "in$by" | sort)
	done
}

# bats test_tags=load,once
@test "over a real Kafka: 20,000 calls, two workers, two stores, two callers, and each reply at its own" {
	kafka_start
	requests=$(new_topic 2) replies=$(new_topic 2) group=$(unique)
	for i in 1 2; do
		spawn "serve$i" evpipe kread -g "s$group" "$requests" '|' evcorr serve -- sed -u 's/^/re:/' '|' kwrite -p have
		spawn "store$i" evpipe kread -g "r$group" "$replies" '|' evcorr store
	done
	for i in 1 2; do
		seq -f "$i-%.0f" 10000 >"in$i"
		spawn "call$i" sh -c "exec evcorr call --raw --timeout 100s --reply-to $replies -- kwrite -t $requests <in$i"
	done
	for i in 1 2; do
		wait_exit "call$i"
		[ "$status" -eq 0 ]
		diff <(jq -r .payload "call$i.out" | sort) <(sed 's/^/re:/' "in$i" | sort)
	done
	# A killed caller's call, and a partition that is asked for.
	echo '{"headers":["correlation-id","killed"],"payload":"x"}' |
		evcorr stamp --reply-to "$replies/1" | kwrite -t "$requests"
	run -0 evcorr wait --timeout 100s killed
	[ "$(jq -c '[.payload,.partition]' <<<"$output")" = '["re:x",1]' ]
	wait_for empty
}
