#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# evcorr store, wait and call: replies into Redis and to the one that waits.

load helpers

setup_file() {
	redis_start
}

# reply ID PAYLOAD [HEADER…]: a record.
reply() {
	jq -cn '{headers: (["correlation-id", $ARGS.positional[0]] + $ARGS.positional[2:]), payload: $ARGS.positional[1]}' \
		--args "$@"
}

# service: a service without Kafka, which stores the replies to the requests that come into the fifo req.
service() {
	mkfifo req
	spawn service bash -c '
		jq -c --unbuffered "{headers: (.headers[0:2] + [\"status\",\"201\"]), payload: (\"re:\" + .payload)}" |
			exec evcorr store' <>req
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
	[[ $output == *"evcorr: 1 of 1 ids had no reply in time"* ]]
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
	seq 1000 | evcorr call --raw -- sh -c 'cat >req' >out
	[ "$(jq -r '.payload' out | sort)" = "$(seq 1000 | sed 's/^/re:/' | sort)" ]
	[ "$(jq .status out | sort -u)" = 201 ]
	empty
}
