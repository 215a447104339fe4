#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# rpub against a real redis-server.

load helpers

# A secret that is told by a message or by ps shows as this text.
SECRET=qX7-geheim-9

# listen NAME PATTERN…: redis-cli subscribed to patterns when it returns; NAME.out has what came.
listen() {
	local name=$1
	shift
	spawn "$name" redis-cli -s "$REDIS_SOCK" psubscribe "$@" </dev/null
	wait_for "[ \$(grep -c '^psubscribe$' $name.out) -eq $# ]"
}

# heard NAME: prints CHANNEL and PAYLOAD of each message (one without line ends) up to "the-end".
heard() {
	rcli publish the-end the-end >/dev/null
	wait_file_contains "$1.out" the-end
	awk '$0 == "pmessage" { getline; getline c; getline; if ($0 == "the-end") exit; print c, $0 }' "$1.out"
}

# counter FILE NAME: the value of a counter in a --metrics file.
counter() {
	awk -v name="evpipe_$2" '{ sub(/\{.*\}/, "", $1) } $1 == name { print $2 }' "$1"
}

# records TOPIC FIRST LAST: with numbers as payloads.
records() {
	seq "$2" "$3" | sed "s/.*/{\"topic\":\"$1\",\"payload\":\"&\"}/"
}

# feed_rpub OPTION…: rpub in the background, fed by descriptor 7.
feed_rpub() {
	mkfifo in
	spawn pub sh -c 'exec rpub "$@" <in' pub "$@"
	exec 7>in
}

@test "rpub publishes on the channel that a template makes of each record" {
	redis_start
	listen ear '*'
	printf '%s\n' '{"topic":"a","payload":"1"}' '{"topic":"b","headers":["h","x"],"payload":"2"}' >in
	rpub 'sse:{topic}' <in
	tail -n 1 in | rpub '{topic}/{header:h}'
	echo '{"payload":{"id":7}}' | rpub 'id-{payload.id}'
	echo '{"channel":"sse:c","payload":"3"}' | rpub '{channel#sse:}'
	[ "$(heard ear)" = 'sse:a 1
sse:b 2
b/x 2
id-7 {"id":7}
c 3' ]
}

@test "rpub publishes on a constant channel, whatever the record's fields" {
	redis_start
	listen ear '*'
	echo '{"topic":"a","channel":"b","payload":"1"}' | rpub news
	[ "$(heard ear)" = 'news 1' ]
}

@test "rpub refuses a channel without the prefix to strip, after what came before it" {
	redis_start
	listen ear '*'
	printf '%s\n' '{"channel":"sse:a","payload":"1"}' '{"channel":"xsse:a","payload":"2"}' \
		'{"channel":"sse:b","payload":"3"}' >in
	run -1 rpub '{channel#sse:}' <in
	[[ $output == "rpub: line 2: "*"(prefix-mismatch)"* ]]
	[ "$(heard ear)" = 'a 1' ]
}

@test "rpub dead-letters a record that lacks a field of the channel, and goes on" {
	redis_start
	listen ear '*'
	{ records a 1 1; echo '{"payload":"2"}'; records a 3 3; } >in
	run -1 rpub --dead-letter dead 'sse:{topic}' <in
	[ "$(heard ear)" = 'sse:a 1
sse:a 3' ]
	[ "$(jq -r .error.class dead)" = missing-field ]
	[ "$(jq -c .record dead)" = '{"payload":"2"}' ]
}

@test "rpub refuses a tombstone, since PUBLISH has none" {
	redis_start
	listen ear '*'
	{ echo '{"topic":"a","payload":null}'; records a 2 2; } >in
	run -1 rpub --on-error skip 'sse:{topic}' <in
	[[ $output == *"line 1: null payload: PUBLISH has no tombstone: drop it (evsel '.payload != null') or keep it (--dead-letter FILE) (invalid-record)"* ]]
	[ "$(heard ear)" = 'sse:a 2' ]
}

@test "rpub publishes an empty payload" {
	redis_start
	listen ear '*'
	echo '{"topic":"a","payload":""}' | rpub x
	[ "$(heard ear)" = 'x ' ]
}

@test "rpub publishes each byte value as it is, from payload_b64 and from escapes" {
	redis_start
	python3 - >in <<-'EOP'
		import base64, json
		every = bytes(range(256))
		text = "".join(map(chr, range(0, 0x300))) + "\u20ac\U0001f600"
		print(json.dumps({"payload_b64": base64.b64encode(every).decode()}))
		print(json.dumps({"payload": text}))
		print(json.dumps({"payload": text}, ensure_ascii=False))
		with open("expected", "wb") as f:
		    for payload in every, text.encode(), text.encode():
		        f.write(b"message\nx\n" + payload + b"\n")
	EOP
	spawn ear redis-cli -s "$REDIS_SOCK" subscribe x </dev/null
	wait_for '[ "$(redis_subscribers x)" -eq 1 ]'
	rpub x <in
	wait_for '[ $(wc -c <ear.out) -ge $(($(wc -c <expected) + 14)) ]'
	tail -c +15 ear.out | cmp - expected
}

@test "rpub publishes an inline object or array as the bytes that stand in the line" {
	redis_start
	listen ear '*'
	printf '%s\n' '{"payload": {"a": 1.10,  "b":[12345678901234567890, 1E400],"a":2} ,"topic":"t"}' \
		'{"topic":"t","payload":[ "\u00e9" ]}' >in
	rpub x <in
	[ "$(heard ear)" = 'x {"a": 1.10,  "b":[12345678901234567890, 1E400],"a":2}
x [ "\u00e9" ]' ]
}

@test "rpub --raw publishes lines as they are, and with -0 what NUL ends" {
	redis_start
	spawn ear rsub --raw -0 -c 3 x
	wait_for '[ "$(redis_subscribers x)" -eq 1 ]'
	printf '{"not": json\n\n' | rpub --raw x
	printf 'two\nlines\377\0' | rpub --raw -0 x
	wait_exit ear
	printf '{"not": json\0\0two\nlines\377\0' | cmp - ear.out
}

@test "rpub --raw refuses a template that needs fields" {
	run -100 rpub --raw '{topic}' </dev/null
	[[ $output == *"lines of --raw have no fields for '{topic}'"* ]]
}

@test "rpub refuses a template that is none, and no channel" {
	run -100 rpub 'sse:{topic' </dev/null
	[[ $output == *"'sse:{topic' is no template: "* ]]
	run -100 rpub </dev/null
}

@test "rpub keeps the order of each channel" {
	redis_start
	spawn ear rsub -p 'sse:*' -c 30000
	wait_for '[ "$(redis_patterns)" -eq 1 ]'
	awk 'BEGIN { for (; i < 30000; i++) printf "{\"topic\":\"%d\",\"payload\":\"%d\"}\n", i % 7, i }' |
		rpub 'sse:{topic}'
	wait_exit ear
	sed 's/.*"channel":"\([^"]*\)".*"payload":"\([^"]*\)"}/\1 \2/' ear.out |
		awk '$2 <= last[$1] && $2 > 0 { bad++ } { last[$1] = $2 } END { exit bad > 0 || NR != 30000 }'
}

@test "rpub publishes by a Unix socket" {
	redis_start
	listen ear '*'
	records a 1 1 | REDIS_URL=redis://127.0.0.1:1 rpub -u "unix:$REDIS_SOCK" x
	[ "$(heard ear)" = 'x 1' ]
	rcli acl setuser me on '>p@ss' '~*' '&*' +@all
	records a 1 1 | rpub -u "unix://me:p%40ss@$REDIS_SOCK?db=1" x
	run -100 rpub -u "unix://me@$REDIS_SOCK" x </dev/null
	[[ $output == *"names a user and there is no password"* ]]
}

@test "rpub counts what nobody was subscribed to" {
	redis_start
	listen ear heard
	{ records heard 1 2; records unheard 1 3; } | rpub -v --metrics m '{topic}' 2>err
	[ "$(counter m receivers_zero_total)" -eq 3 ]
	[ "$(counter m messages_forwarded_total)" -eq 5 ]
	[ "$(grep -c 'published to no subscriber' err)" -eq 3 ]
}

@test "rpub delivers a record at once while its input stays open and idle" {
	redis_start
	listen ear '*'
	feed_rpub x
	for n in 1 2 3; do
		records a "$n" "$n" >&7
		wait_for "[ \$(grep -c '^pmessage\$' ear.out) -eq $n ]"
	done
	exec 7>&-
	[ "$(heard ear)" = 'x 1
x 2
x 3' ]
}

@test "rpub is ready when it has found a primary, before any input" {
	redis_start
	mkfifo in
	exec 7<>in
	spawn pub sh -c 'exec rpub x --ready-fd 3 --metrics m <in 3>ready'
	wait_lines ready 1
	wait_for '[ "$(counter m ready)" = 1 ]'
	[ "$(counter m up)" -eq 1 ]
}

@test "rpub waits for a Redis that is not there at the start, says so once, and loses nothing" {
	redis_start
	redis_stop
	records a 1 100 >in
	spawn pub rpub x <in
	wait_file_contains pub.err "redis at 127.0.0.1:$REDIS_PORT: Connection refused; trying again"
	# A replica, so that the listener is there before the first record.
	redis_start redis --replicaof 127.0.0.1 1
	listen ear '*'
	rcli replicaof no one
	wait_exit pub
	[ "$status" -eq 0 ]
	[ "$(heard ear)" = "$(seq -f 'x %g' 100)" ]
	[ "$(grep -c 'Connection refused' pub.err)" -eq 1 ]
}

@test "rpub publishes nothing on a replica, says so, and goes on when it is a primary" {
	redis_start
	rcli replicaof 127.0.0.1 1
	listen ear '*'
	records a 1 3 >in
	spawn pub rpub x --metrics m <in
	wait_file_contains pub.err replica
	[ "$(rcli info commandstats | grep -c cmdstat_publish)" -eq 0 ]
	rcli replicaof no one
	wait_exit pub
	[ "$status" -eq 0 ]
	[ "$(heard ear)" = 'x 1
x 2
x 3' ]
}

@test "rpub publishes again what went to a server that had become a replica" {
	redis_start
	listen ear '*'
	feed_rpub x --metrics m
	records a 1 1 >&7
	wait_for '[ "$(counter m messages_forwarded_total)" -eq 1 ]'
	rcli replicaof 127.0.0.1 1
	records a 2 2 >&7
	exec 7>&-
	wait_file_contains pub.err replica
	alive "$(pid_of pub)"
	# It went there, and the listener here heard it from the replica too; unless rpub had asked in between.
	calls=$(rcli info commandstats | sed -n 's/^cmdstat_publish:calls=\([0-9]*\),.*/\1/p')
	rcli replicaof no one
	wait_exit pub
	[ "$status" -eq 0 ]
	[ "$(heard ear)" = "$(seq -f 'x %g' 1 "$calls"; echo 'x 2')" ]
}

@test "rpub sends again what a lost connection left unanswered, each record, in order" {
	redis_start
	listen ear '*'
	feed_rpub x --metrics m
	rcli client pause 100000 write
	records a 1 500 >&7
	wait_for '[ "$(counter m records_in_total)" -eq 500 ]'
	[ "$(counter m messages_forwarded_total)" -eq 0 ]
	rcli client kill type normal
	exec 7>&-
	rcli client unpause
	wait_exit pub
	[ "$status" -eq 0 ]
	[ "$(heard ear | awk '!seen[$0]++')" = "$(seq -f 'x %g' 500)" ]
}

@test "rpub loses nothing and keeps the order while its connection is killed again and again" {
	redis_start
	spawn ear rsub --raw -p '*'
	wait_for '[ "$(redis_patterns)" -eq 1 ]'
	feed_rpub x
	for ((i = 0; i < 20; i++)); do
		records a $((i * 1000 + 1)) $((i * 1000 + 1000)) >&7
		rcli client kill type normal
	done
	exec 7>&-
	wait_exit pub
	[ "$status" -eq 0 ]
	rcli publish y the-end
	wait_file_contains ear.out the-end
	awk '!seen[$0]++' ear.out | grep -v the-end | cmp - <(seq 20000)
}

@test "rpub keeps what it had read over a kill -9 of Redis, and publishes it to the next one" {
	redis_start
	feed_rpub x --metrics m
	records a 1 1 >&7
	wait_for '[ "$(counter m messages_forwarded_total)" -eq 1 ]'
	freeze "$(cat redis.pid)"
	records a 2 300 >&7
	wait_for '[ "$(counter m records_in_total)" -eq 300 ]'
	redis_stop
	wait_file_contains pub.err 'trying again'
	records a 301 400 >&7
	exec 7>&-
	# A replica, so that the listener is there before the first record.
	redis_start redis --replicaof 127.0.0.1 1
	listen ear '*'
	rcli replicaof no one
	wait_exit pub
	[ "$status" -eq 0 ]
	[ "$(heard ear)" = "$(seq -f 'x %g' 2 400)" ]
	[ "$(counter m messages_forwarded_total)" -eq 400 ]
	[ "$(grep -c 'Connection refused' pub.err)" -le 1 ]
}

@test "rpub ends with 100 on a wrong password, does not tell it, and dead-letters nothing" {
	redis_start redis --requirepass right
	records a 1 3 >in
	run -100 rpub -u "redis://:$SECRET@127.0.0.1:$REDIS_PORT" --dead-letter dead x <in
	[[ $output == "rpub: "*WRONGPASS* ]]
	[[ $output != *"$SECRET"* ]]
	[ ! -s dead ]
}

@test "rpub ends with 100 on a channel that it may not publish on, and dead-letters nothing" {
	redis_start
	rcli acl setuser edge on '>pw' '+@all' resetchannels '&open'
	listen ear '*'
	{ records open 1 1; records closed 2 2; records open 3 3; } >in
	run -100 rpub -u "redis://edge:pw@127.0.0.1:$REDIS_PORT" --dead-letter dead '{topic}' <in
	[[ $output == "rpub: line 2: redis at "*NOPERM* ]]
	[ ! -s dead ]
	[[ $(heard ear) == 'open 1'* ]]
}

@test "rpub ends with 100 where PUBLISH is no command, and dead-letters nothing" {
	redis_start redis --rename-command PUBLISH ''
	records a 1 3 >in
	run -100 rpub --dead-letter dead x <in
	[[ $output == "rpub: line 1: redis at "*"refuses to publish: ERR unknown command"* ]]
	[ ! -s dead ]
}

@test "rpub ends with 111 on a torn last line, with the whole ones published" {
	redis_start
	listen ear '*'
	{ records a 1 2; printf '{"topic":"a","payload":"3"}'; } >in
	run -111 rpub x <in
	[[ $output == *"line 3"* ]]
	[ "$(heard ear)" = 'x 1
x 2' ]
}

@test "rpub ignores the first SIGTERM while its input is open, and ends with it" {
	redis_start
	listen ear '*'
	feed_rpub x
	records a 1 1 >&7
	wait_for 'grep -qx pmessage ear.out'
	stop pub
	records a 2 2 >&7
	exec 7>&-
	wait_exit pub
	[ "$status" -eq 0 ]
	[ "$(heard ear)" = 'x 1
x 2' ]
}

@test "rpub ends at once on the second SIGTERM, with 111, and says what is unanswered" {
	redis_start
	listen ear '*'
	feed_rpub x --metrics m
	records a 1 1 >&7
	wait_for '[ "$(counter m messages_forwarded_total)" = 1 ]'
	stop pub
	rcli client pause 100000 write
	records a 2 4 >&7
	wait_for '[ "$(counter m records_in_total)" -eq 4 ]'
	stop pub INT
	wait_exit pub
	[ "$status" -eq 111 ]
	grep -q 'ended by a signal: 3 records were not delivered, and input is left' pub.err
}

@test "rpub writes its counters in Prometheus's form, under the pipeline's name" {
	redis_start
	{ records a 1 3; echo no; } >in
	EVPIPE_NAME=bridge run -1 rpub --on-error skip --metrics m x <in
	grep -qx 'evpipe_records_in_total{pipeline="bridge",tool="rpub"} 4' m
	grep -qx 'evpipe_messages_forwarded_total{pipeline="bridge"} 3' m
	grep -qx 'evpipe_errors_total{pipeline="bridge",tool="rpub",type="invalid-record"} 1' m ||
		grep -qx 'evpipe_errors_total{pipeline="bridge",tool="rpub",type="json-decode"} 1' m
	# Each sample has a TYPE before it, and no line is anything else.
	awk '/^# HELP / { next }
		/^# TYPE / { type[$3] = $4; next }
		{ name = $1; sub(/\{.*/, "", name) }
		!type[name] || NF != 2 || seen[$1]++ || type[name] == "counter" && name !~ /_total$/ { bad++; print }
		END { exit bad || NR == 0 }' m
}
