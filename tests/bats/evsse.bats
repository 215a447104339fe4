#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# evsse: what its clients get. What they cannot have, and who may not, stands in evsse-gaps.bats.

load helpers
load evsse

# bats test_tags=smoke
@test "clients get each record as an event, with the place of the whole stream as its id" {
	evsse_start
	hear one events/orders
	hear two 'events/orders,pay*'
	{
		orders 5 6
		echo '{"topic":"payments","partition":3,"offset":9,"payload":"p"}'
		orders 0 0 1
		echo '{"topic":"other","partition":0,"offset":1,"payload":"not for them"}'
		orders 7 7
	} >&7
	wait_event one '{"n":7}'
	wait_event two '{"n":7}'
	[ "$(events one.out)" = 'orders orders/0=5 {"n":5}
orders orders/0=6 {"n":6}
orders orders/0=6,1=0 {"n":0}
orders orders/0=7,1=0 {"n":7}' ]
	[ "$(events two.out | tail -n 3)" = 'payments orders/0=6,payments/3=9 p
orders orders/0=6,1=0,payments/3=9 {"n":0}
orders orders/0=7,1=0,payments/3=9 {"n":7}' ]
	get metrics >m
	valid_metrics m
	grep -q '^evpipe_clients{.*} 2$' m
	exec 7>&-
	wait_exit sse
	[ "$status" -eq 0 ]
	wait_exit one
	[[ $(tail -n 2 one.out) == retry:* ]]
}

@test "the headers of a stream" {
	evsse_start
	hear one events/orders -D headers
	grep -qx $'Content-Type: text/event-stream\r' headers
	grep -qx $'Cache-Control: no-store\r' headers
	grep -qx $'X-Accel-Buffering: no\r' headers
	get events/orders -I >h
	grep -qx $'Content-Type: text/event-stream\r' h
	wait_file_contains one.out "id: -"
	[[ $(head -n 1 one.out) =~ ^retry:\ [0-9]+$ ]]
	[ "$(sed -n 2p one.out)" = "id: -" ]
}

@test "payloads: lines are kept, and what an event cannot carry goes as a record" {
	evsse_start
	hear one events/t
	cat >&7 <<-'EOF'
	{"topic":"t","partition":0,"offset":0,"payload":"a\nb\n"}
	{"topic":"t","partition":0,"offset":1,"payload":" x"}
	{"topic":"t","partition":0,"offset":2,"payload":""}
	{"topic":"t","partition":0,"offset":3,"payload":"a\rb"}
	{"topic":"t","partition":0,"offset":4,"payload_b64":"/w=="}
	{"topic":"t","partition":0,"offset":5,"payload":null}
	{"topic":"t","partition":0,"offset":6,"payload":{"a": 1E400}}
	{"topic":"t","partition":0,"offset":7,"payload":"\u0000ü"}
	EOF
	printf '{"topic":"t",\r"partition":0,"offset":8,"payload":"\\r"}\r\n' >&7
	wait_events one 9
	events one.out | cut -d ' ' -f 3- | tr '\0' 0 >seen
	diff seen - <<-'EOF'
	a\nb\n
	 x
	
	{"topic":"t","partition":0,"offset":3,"payload":"a\rb"}
	{"topic":"t","partition":0,"offset":4,"payload_b64":"/w=="}
	{"topic":"t","partition":0,"offset":5,"payload":null}
	{"a": 1E400}
	0ü
	{"topic":"t", "partition":0,"offset":8,"payload":"\r"} 
	EOF
}

@test "as=record, and --as" {
	evsse_start --as record
	hear one events/orders
	hear two 'events/orders?as=payload'
	orders 1 1 >&7
	wait_events one 1
	wait_events two 1
	[ "$(events one.out)" = "orders orders/0=1 $(orders 1 1)" ]
	[ "$(events two.out)" = 'orders orders/0=1 {"n":1}' ]
}

@test "a client with an id goes on behind it, also in the query, and the header goes before" {
	evsse_start
	hear one events/orders
	orders 1 9 >&7
	orders 1 9 1 >&7
	wait_events one 18
	hear header events/orders -H 'Last-Event-ID: orders/0=7,1=9'
	hear query 'events/orders?lastEventID=orders/0=9,1=8'
	hear both 'events/orders?lastEventID=orders/0=1,1=1' -H 'Last-Event-ID: orders/0=9,1=9'
	hear last 'events/orders?last=2'
	orders 10 10 >&7
	for name in header query both last; do
		wait_event $name '{"n":10}'
		events $name.out >$name
	done
	[ "$(<header)" = 'orders orders/0=8,1=9 {"n":8}
orders orders/0=9,1=9 {"n":9}
orders orders/0=10,1=9 {"n":10}' ]
	[ "$(<query)" = 'orders orders/0=9,1=9 {"n":9}
orders orders/0=10,1=9 {"n":10}' ]
	[ "$(<both)" = 'orders orders/0=10,1=9 {"n":10}' ]
	[ "$(<last)" = 'orders orders/0=9,1=8 {"n":8}
orders orders/0=9,1=9 {"n":9}
orders orders/0=10,1=9 {"n":10}' ]
}

@test "records of Redis: a channel's are counted, a stream's have their ids" {
	evsse_start
	hear one 'events/*'
	cat >&7 <<-'EOF'
	{"channel":"sse:a","payload":"1"}
	{"stream":"s","id":"1526919030474-55","payload":"2"}
	{"channel":"sse:a","pattern":"sse:*","payload":"3"}
	{"stream":"s","id":"1526919030474-56","payload":"4"}
	EOF
	wait_event one 4
	events one.out >seen
	run=$(grep -o 'r[0-9a-f]\{8\}' seen | head -n 1)
	[ "$(cut -d ' ' -f 1,3 seen)" = 'sse:a 1
s 2
sse:a 3
s 4' ]
	id=$(sed -n '3s/^[^ ]* \([^ ]*\).*/\1/p' seen)
	[[ $id == *"sse%3Aa/$run=2"* && $id == *s/id=1526919030474-55* ]]
	hear two 'events/*' -H "Last-Event-ID: $id"
	echo '{"channel":"sse:a","payload":"5"}' >&7
	wait_event two 5
	[ "$(events two.out | cut -d ' ' -f 1,3)" = 's 4
sse:a 5' ]
}

@test "filters: by key, by a path of the payload, by a header" {
	evsse_start
	hear key 'events/orders?key=k2&key=k4'
	hear more 'events/orders?where=.n>2&where=n!=4'
	hear header 'events/orders?where=header:kind=a%3Db'
	hear text 'events/orders?where=.tag%3D%3D%22x%20y%22&as=record'
	orders 1 5 >&7
	echo '{"topic":"orders","partition":0,"offset":6,"headers":["kind","b","kind","a=b"],"payload":"no JSON"}' >&7
	echo '{"topic":"orders","partition":0,"offset":7,"payload":{"n":10,"tag":"x y"}}' >&7
	wait_events more 3
	wait_events text 1
	[ "$(events key.out | cut -d ' ' -f 2-)" = 'orders/0=2 {"n":2}
orders/0=4 {"n":4}' ]
	[ "$(events more.out | cut -d ' ' -f 2-)" = 'orders/0=3 {"n":3}
orders/0=5 {"n":5}
orders/0=7 {"n":10,"tag":"x y"}' ]
	[ "$(events header.out | cut -d ' ' -f 2-)" = 'orders/0=6 no JSON' ]
	[ "$(events text.out | cut -d ' ' -f 2 )" = 'orders/0=7' ]
	for bad in 'where=%3D1' 'where=.a..b' 'as=x' 'last=-1' 'where=header:'; do
		run get "events/orders?$bad" -w '%{http_code}'
		[ "$output" = 400 ]
	done
}

@test "a silent stream gets a comment, and a filtered one the place that it has passed" {
	evsse_start --heartbeat 200ms
	hear one events/orders
	hear two 'events/orders?key=none'
	orders 1 3 >&7
	wait_for 'grep -qx : one.out'
	wait_file_contains two.out 'id: orders/0=3'
	# An id in a block without data fires no event.
	[ -z "$(events two.out)" ]
	[ "$(grep -c '^id: orders' two.out)" -eq 1 ]
}

@test "OPTIONS is answered always; origins that may read are told so" {
	evsse_start --cors-origin https://a.example --cors-origin https://b.example
	for path in events/orders nowhere ''; do
		get "$path" -X OPTIONS -D headers -H 'Origin: https://b.example'
		head -n 1 headers | grep -q ' 204 '
		[ "$(grep -i '^Allow:' headers)" = $'Allow: GET, HEAD, OPTIONS\r' ]
		grep -qi '^Access-Control-Allow-Headers:.*Last-Event-ID' headers
		grep -qx $'Access-Control-Allow-Origin: https://b.example\r' headers
	done
	hear ours events/orders -D headers -H 'Origin: https://a.example'
	grep -qx $'Access-Control-Allow-Origin: https://a.example\r' headers
	grep -qx $'Vary: Origin\r' headers
	hear theirs events/orders -D headers -H 'Origin: https://evil.example'
	run -1 grep -i Allow-Origin headers
}

@test "clients beyond the limit are told to come later, with 200" {
	evsse_start --max-clients 2
	hear one events/orders
	hear two events/orders
	get events/orders >three
	[[ $(<three) =~ ^retry:\ [0-9]+$ ]]
	get metrics | grep -q '^evpipe_clients_refused_total{.*} 1$'
	stop one
	wait_for 'get metrics | grep "^evpipe_clients{.*} 1$"'
	hear three events/orders
	orders 1 1 >&7
	wait_event three '{"n":1}'
}

@test "--linger: behind the end of input clients come and get what is kept, until a signal" {
	orders 1 3 >records
	spawn sse sh -c 'exec evsse --listen unix:web --linger 10m <records'
	wait_for 'get metrics | grep "^evpipe_kept_events{.*} 3$"'
	hear one events/orders?last=2
	wait_event one '{"n":3}'
	[ "$(events one.out | cut -d ' ' -f 3 | paste -sd' ')" = '{"n":2} {"n":3}' ]
	stop sse
	wait_exit sse
	[ "$status" -eq 0 ]
}

@test "--path, --topic and --raw" {
	evsse_start --path "/live/{topic}/events" --raw --topic log
	hear one live/log/events
	printf 'a\n\377\n' >&7
	wait_events one 2
	[ "$(events one.out | cut -d ' ' -f 1,3)" = 'log a
log {"payload_b64":"/w=="}' ]
	for bad in nowhere "/a{topic}" "/{x}" '/{topic}/{topic}'; do
		run -100 evsse --listen unix:x --path "$bad" </dev/null
		[[ $output == "evsse: --path takes a path"* ]]
	done
}

@test "an EventSource sees each event once, through a restart, and what came meanwhile" {
	evsse_start --retry 100ms
	spawn browser "$ROOT/tests/bats/event-source" web /events/orders </dev/null
	wait_file_contains browser.err open
	orders 1 100 >&7
	wait_lines browser.out 100
	exec 7>&-
	wait_exit sse
	rm in
	mkfifo in
	rm -f web
	spawn sse sh -c 'exec evsse --listen unix:web <in'
	exec 7>in
	# The window is repeated, and there is more.
	orders 50 200 >&7
	wait_lines browser.out 200
	orders 150 210 >&7
	wait_lines browser.out 210
	[ "$(jq -r .data browser.out)" = "$(seq 210 | sed 's/.*/{"n":&}/')" ]
	wait_for 'get metrics | grep -qx "evpipe_repeated_total{.*} 51"'
}

@test "the page is one answer that asks nobody else, and knows the path of the streams" {
	evsse_start --path '/live/{topic}'
	get '' -D headers >page
	grep -qi "^Content-Security-Policy: default-src 'none';" headers
	grep -q 'const PATH = "/live/{topic}"' page
	run -1 grep -E 'https?://|src=' page
	hear one 'live/*?event=message&as=record'
	orders 1 1 >&7
	wait_events one 1
	run -1 grep event: one.out
	[ "$(grep -A 1 '^id: orders' one.out)" = "id: orders/0=1
data: $(orders 1 1)" ]
}
