#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# evsse: what clients cannot have, or from elsewhere; who may not; limits.

load helpers
load evsse

gaps() {
	events "$1" | sed -n 's/^gap [^ ]* //p'
}

@test "a client whose place is no longer kept is told from where to where" {
	evsse_start --keep 10
	hear first 'events/orders?last=1'
	orders 0 99 >&7
	orders 5 5 1 >&7
	wait_event first '{"n":5}'
	hear one events/orders -H 'Last-Event-ID: orders/0=20,1=4'
	wait_events one 11
	[ "$(events one.out | head -n 2)" = 'gap orders/0=90,1=4 {"topic":"orders","partition":0,"from":21,"to":90,"reason":"no longer here"}
orders orders/0=91,1=4 {"n":91}' ]
	# Told once: it goes on behind the gap.
	hear two events/orders -H 'Last-Event-ID: orders/0=90,1=4'
	wait_event two '{"n":5}'
	[ -z "$(gaps two.out)" ]
	[ "$(events two.out | wc -l)" -eq 10 ]
	get metrics | grep -qx 'evpipe_gaps_total{.*} 1'
}

@test "there is no gap where a restarted source goes on just behind the client's place" {
	evsse_start
	hear one events/orders -H 'Last-Event-ID: orders/0=20'
	hear two events/orders -H 'Last-Event-ID: orders/0=18'
	orders 21 22 >&7
	wait_event one '{"n":22}'
	wait_event two '{"n":22}'
	[ "$(events one.out)" = 'orders orders/0=21 {"n":21}
orders orders/0=22 {"n":22}' ]
	[ "$(gaps two.out | jq -c '[.from,.to]')" = '[19,20]' ]
}

@test "a client that does not read is passed by the ring, holds up nobody, and is told what it missed" {
	evsse_start --keep 100
	mkfifo go
	cat >slow.py <<-'EOP'
	import socket, sys
	s = socket.socket(socket.AF_UNIX)
	s.connect("web")
	s.sendall(b"GET /events/big HTTP/1.0\r\n\r\n")
	text = b""
	while b"retry" not in text:
	    text += s.recv(1000)
	print("open", flush=True)
	open("go").readline()
	while b"the-end" not in text:
	    text += s.recv(100000)
	open("slow.txt", "wb").write(text.split(b"\r\n\r\n", 1)[1])
	EOP
	spawn slow python3 slow.py
	wait_file_contains slow.out open
	hear quick events/big
	for n in $(seq 0 50 2999); do
		seq "$n" $((n + 49)) | sed "s/.*/{\"topic\":\"big\",\"partition\":0,\"offset\":&,\"payload\":\"& $(printf '%02000d' 0)\"}/" >&7
		wait_for "grep -q '^data: $((n + 49)) ' quick.out"
	done
	[ "$(grep -c '^data: [0-9]* 0' quick.out)" -eq 3000 ]
	echo '{"topic":"big","partition":0,"offset":3000,"payload":"the-end"}' >&7
	echo >go
	wait_exit slow
	python3 - <<-'EOP'
	import json, re
	at = -1
	gap = 0
	for block in open("slow.txt").read().split("\n\n"):
	    data = re.search("^data: (.*)", block, re.M)
	    if "event: gap" in block:
	        told = json.loads(data[1])
	        assert told["from"] == at + 1, (told, at)
	        at = told["to"]
	        gap += 1
	    elif data and data[1] != "the-end":
	        n = int(data[1].split()[0])
	        assert n == at + 1, (n, at)
	        at = n
	assert at == 2999 and gap, (at, gap)
	EOP
}

@test "an id that is none is told, and so is a place that an ended process has counted" {
	evsse_start
	orders 1 3 >&7
	echo '{"channel":"news","payload":"1"}' >&7
	wait_for 'get metrics | grep -qx "evpipe_kept_events{.*} 4"'
	hear one events/orders -H 'Last-Event-ID: 1755:0'
	hear two events/news -H 'Last-Event-ID: news/r00000000=41'
	wait_events one 1
	wait_event two 1
	[ "$(gaps one.out | jq -c '[.from,.to]')" = '["1755:0",null]' ]
	[ "$(gaps two.out | jq -c '[.topic,.from,.to]')" = '["news",42,null]' ]
}

@test "a topic that was made anew begins again" {
	evsse_start
	hear one events/orders
	orders 100 105 >&7
	# What a client has not had of the old topic would be a gap.
	wait_event one '{"n":105}'
	orders 0 2 | sed 's/"ts":/&999/' >&7
	wait_event one '{"n":2}'
	[ "$(events one.out | wc -l)" -eq 9 ]
	hear two events/orders -H 'Last-Event-ID: orders/0=105'
	wait_event two '{"n":2}'
	[ "$(gaps two.out | jq -c '[.from,.to]')" = '[106,null]' ]
	get metrics | grep -qx 'evpipe_repeated_total{.*} 0'
}

@test "a topic that was made anew while nobody looked begins again once a record is younger than the client" {
	evsse_start
	hear one events/orders -H 'Last-Event-ID: orders/0=105'
	old() { orders "$1" "$2" | sed 's/"ts":/&99/'; }
	# As after a restart, when a window comes again: nothing of it is for the client.
	old 0 3 >&7
	wait_for 'get metrics | grep -qx "evpipe_kept_events{.*} 4"'
	[ -z "$(events one.out)" ]
	# A clock may be wrong by ten seconds.
	orders 4 4 | sed "s/\"ts\":4/\"ts\":$(($(date +%s%3N) + 10000))/" >&7
	wait_event one '{"n":4}'
	[ "$(gaps one.out | jq -c '[.from,.to,.reason]')" = '[106,null,"the topic was made anew"]' ]
	[ "$(events one.out | tail -n +2 | cut -d ' ' -f 2-)" = "$(seq 0 4 | sed 's/.*/orders\/0=& {"n":&}/')" ]
}

# ---- from elsewhere ----

# bats test_tags=smoke
@test "--replay brings from Kafka what is no longer kept, once, and no gap" {
	kmock_start -t orders:2
	seq 0 99 | kproduce orders -p 0
	evsse_start --keep 10 --replay "kread -b $KAFKA_BROKERS"
	kread -q -e orders >&7
	wait_for 'get metrics | grep -qx "evpipe_records_out_total{.*} 100"'
	for name in a b; do
		hear $name events/orders -H 'Last-Event-ID: orders/0=20'
	done
	hear filtered 'events/orders?where=header:x' -H 'Last-Event-ID: orders/0=20'
	for name in a b; do
		wait_event $name 99
		[ "$(events $name.out | cut -d ' ' -f 2)" = "$(seq -f 'orders/0=%.0f' 21 99)" ]
		[ "$(events $name.out | cut -d ' ' -f 3)" = "$(seq 21 99)" ]
	done
	wait_file_contains filtered.out 'id: orders/0=20'
	get metrics | grep -qx 'evpipe_replays_total{.*} 1'
}

@test "--replay: a restarted evsse that has nothing yet asks Kafka, and joins what comes" {
	kmock_start -t orders:1
	seq 0 4999 | kproduce orders -p 0
	evsse_start --replay "kread -b $KAFKA_BROKERS"
	hear one events/orders -H 'Last-Event-ID: orders/0=2499'
	wait_event one 4999
	seq 5000 5099 | kproduce orders -p 0
	kread -q -e -p 0 -o 4990 orders >&7
	wait_event one 5099
	[ "$(events one.out | cut -d ' ' -f 3)" = "$(seq 2500 5099)" ]
}

@test "--replay that fails: clients are told of a gap instead" {
	evsse_start --keep 5 --replay 'false -X sasl.password=s3cr3t'
	run ! grep -qaF s3cr3t "/proc/$(pid_of sse)/cmdline"
	orders 1 20 >&7
	wait_for 'get metrics | grep -qx "evpipe_records_out_total{.*} 20"'
	hear one events/orders -H 'Last-Event-ID: orders/0=3'
	wait_events one 6
	[ "$(gaps one.out | jq -c '[.from,.to]')" = '[4,15]' ]
	grep -q "'false -X sasl.password=xxxxxx' exited with status 1: clients are told of a gap instead" sse.err
}

@test "--replay from a stream of Redis" {
	redis_start
	for i in $(seq 1 50); do echo "XADD feed $i-1 payload $i"; done | rcli >added
	evsse_start --keep 5 --replay "rsub -u unix:$REDIS_SOCK"
	rsub -q -e -s feed >&7
	wait_for 'get metrics | grep -qx "evpipe_records_out_total{.*} 50"'
	hear one events/feed -H 'Last-Event-ID: feed/id=10-1'
	wait_event one 50
	[ "$(events one.out | cut -d ' ' -f 2-)" = "$(seq 11 50 | sed 's/.*/feed\/id=&-1 &/')" ]
}

# ---- who may ----

@test "--token-file: by header, cookie or query; for some topics; read again when it changes" {
	printf 'all # a comment\nsome orders pay*\n' >tokens
	evsse_start --token-file tokens
	status_of() {
		curl -s -o /dev/null -m 120 -I -w '%{http_code}' --unix-socket web "http://localhost/$1" "${@:2}"
	}
	[ "$(status_of events/orders)" = 401 ]
	[ "$(status_of events/orders -H 'Authorization: Bearer wrong')" = 401 ]
	[ "$(status_of events/orders -H 'Authorization: Bearer all')" = 200 ]
	[ "$(status_of events/orders -H 'Cookie: a=b; token=all')" = 200 ]
	[ "$(status_of 'events/orders?token=all')" = 200 ]
	[ "$(status_of 'events/orders,payments?token=some')" = 200 ]
	[ "$(status_of 'events/orders,secret?token=some')" = 403 ]
	[ "$(status_of '')" = 200 ]
	hear one 'events/*?token=some'
	hear two 'events/*?token=all'
	orders 1 1 >&7
	echo '{"topic":"secret","partition":0,"offset":0,"payload":"s"}' >&7
	echo '{"topic":"payments","partition":0,"offset":0,"payload":"p"}' >&7
	wait_event one p
	wait_event two p
	[ "$(events one.out | cut -d ' ' -f 3)" = '{"n":1}
p' ]
	grep -qx 'data: s' two.out
	hear three 'events/*?token=some&lastEventID=secret/0=-1'
	hear four 'events/*?token=some&lastEventID=secret/0=0'
	echo new >tokens
	wait_for '[ "$(status_of events/orders?token=new)" = 200 ]'
	[ "$(status_of events/orders?token=all)" = 401 ]
	run -1 grep -h secret one.out four.out
	run -100 evsse --listen unix:x --token-file nowhere </dev/null
	[[ $output == "evsse: cannot read the tokens in 'nowhere': "* ]]
}

@test "--token-cookie: the cookie of this name has the token, and the default one does not" {
	echo all >tokens
	evsse_start --token-file tokens --token-cookie session
	run -22 get events/orders -H 'Cookie: token=all'
	hear one events/orders -H 'Cookie: token=no; session=all'
	orders 1 1 >&7
	wait_event one '{"n":1}'
}

@test "TLS" {
	make_certs
	port=$(free_port)
	cat "$CERTS/address.pem" "$CERTS/address.key" >both.pem
	mkfifo in
	spawn sse sh -c 'exec evsse --listen "127.0.0.1:$1" --cert both.pem <in' sse "$port"
	exec 7>in
	wait_for "curl -sf --cacert $CERTS/ca.pem https://127.0.0.1:$port/readyz"
	spawn one curl -sN --cacert "$CERTS/ca.pem" "https://127.0.0.1:$port/events/orders" </dev/null
	wait_file_contains one.out retry:
	orders 1 500 >&7
	wait_event one '{"n":500}'
	[ "$(events one.out | wc -l)" -eq 500 ]
	run -100 evsse --listen 127.0.0.1:0 --cert "$CERTS/address.pem" --key "$CERTS/name.key" </dev/null
	[ "$output" = "evsse: cannot read the key '$CERTS/name.key': it is not the key of the certificate" ]
	run -100 evsse --listen 127.0.0.1:0 --cert "$CERTS/address.pem" </dev/null
	[ "$output" = "evsse: cannot read the key '$CERTS/address.pem': it has none in PEM" ]
	run -100 evsse --listen 127.0.0.1:0 --cert nowhere </dev/null
	[ "$output" = "evsse: cannot read the certificate 'nowhere': No such file or directory" ]
	run -100 evsse --listen 127.0.0.1:0 --key "$CERTS/name.key" </dev/null
}

@test "limits: long headers, a client that takes nothing, memory" {
	evsse_start --stuck 3s --memory 100K --keep 100000
	hear one events/orders -H "Cookie: $(printf '%01500d' 0)"
	run get events/orders -H "Cookie: $(printf '%05000d' 0)" -w '%{http_code}'
	[[ $output == 431 || $output == 414 ]]
	spawn stuck python3 -c '
import socket, time
s = socket.socket(socket.AF_UNIX)
s.connect("web")
s.sendall(b"GET /events/orders HTTP/1.0\r\n\r\n")
while b"retry" not in s.recv(1000):
    pass
print("open", flush=True)
time.sleep(1000)'
	wait_file_contains stuck.out open
	orders 1 20000 >&7
	wait_event one '{"n":20000}'
	wait_for 'get metrics | grep -qx "evpipe_clients{.*} 1"'
	kept=$(get metrics | sed -n 's/^evpipe_kept_events{.*} //p')
	[ "$kept" -gt 50 ]
	[ "$kept" -lt 400 ]
}

@test "kread and evsse are killed under load again and again: clients see every event once" {
	kmock_start -t orders:3
	spawn unit evpipe --restart -n live kread -g live orders '|' evsse --listen unix:web --retry 100ms \
		--replay "kread -b $KAFKA_BROKERS"
	wait_for 'get readyz'
	for n in 1 2 3; do
		spawn "browser$n" "$ROOT/tests/bats/event-source" web /events/orders </dev/null
		wait_file_contains "browser$n.err" open
	done
	for round in $(seq 0 3); do
		seq $((round * 500 + 1)) $((round * 500 + 500)) | kproduce orders -p $((round % 3))
		wait_for "grep -q '\"data\": \"$((round * 500 + 5))\"' browser1.out"
		if [ $((round % 2)) -eq 0 ]; then program=kread; else program=evsse; fi
		wait_for "pgrep -P $(pid_of unit) -x $program"
		pid=$(pgrep -P "$(pid_of unit)" -x "$program")
		kill -KILL "$pid"
		wait_for "! alive $pid"
	done
	seq 2001 2100 | kproduce orders -p 1
	for n in 1 2 3; do
		wait_lines "browser$n.out" 2100
		[ "$(jq -r .data "browser$n.out" | sort -n)" = "$(seq 2100)" ]
	done
}
