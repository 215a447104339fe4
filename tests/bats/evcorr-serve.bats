#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# evcorr serve: each request makes one reply, with the id and the place that it was asked to, whatever becomes of the
# worker; what nobody waits for is not started.

load helpers
load ack

# request N [REPLY-TO [HEADER VALUE]…]: with the id cN and the payload pN.
request() {
	local n=$1 headers
	headers="\"correlation-id\",\"c$n\",\"reply-to\",\"${2:-replies}\""
	shift $(($# < 2 ? $# : 2))
	[ $# -eq 0 ] || headers+=$(printf ',"%s"' "$@")
	printf '{"seq":"%s:%s","topic":"requests","partition":1,"offset":%s,"ts":1,"headers":[%s],"key":"k%s","payload":"p%s"}\n' \
		"$RUN" "$n" "$n" "$headers" "$n" "$n"
}

requests() {
	local n
	for ((n = $1; n <= $2; n++)); do request "$n"; done
}

# replies: one a line, ID STATUS PAYLOAD, in the order of ids.
replies() {
	jq -r '.headers as $h | [$h[$h | index("correlation-id") + 1], $h[$h | index("status") + 1], .payload] | join(" ")' |
		sort -V
}

# worker NAME <<EOF: a program in bash.
worker() {
	{ echo '#!/bin/bash'; cat; } >"$1"
	chmod +x "$1"
}

upper() {
	worker upper <<<'while IFS= read -r x; do echo "${x^^}"; done'
}

@test "a reply has the topic it was asked to, id, status, and the request's number" {
	upper
	request 7 >in
	run -0 --separate-stderr evcorr serve -- ./upper <in
	[ "$output" = "{\"topic\":\"replies\",\"headers\":[\"correlation-id\",\"c7\",\"status\",\"200\"],\"payload\":\"P7\",\"seq\":\"$RUN:7\"}" ]
	[ -z "$stderr" ]
	# The partition only when it was asked for; a number that is part of one stays so; none is none.
	{ request 8.2/3 replies/0 | sed 's/"offset":[^,]*,//'; request 9 | sed 's/"seq":"[^"]*",//'; } >in
	run -0 evcorr serve -- ./upper <in
	[ "$(jq -c '[.topic, .partition, .seq]' <<<"$output")" = '["replies",0,"'"$RUN"':8.2/3"]
["replies",null,null]' ]
}

@test "ids are bytes, and Spring's headers are understood" {
	upper
	cat >in <<-'EOT'
	{"headers":["kafka_replyTopic","r","kafka_correlationId",{"b64":"AAoiAZNlQnC0/3kQqfDe/w=="},"kafka_replyPartition",{"b64":"AAAAAg=="}],"payload":"a"}
	{"headers":["kafka_replyTopic","r","kafka_correlationId","\u0000\n\"\\"],"payload":"b"}
	{"headers":["kafka_replyTopic","r","kafka_correlationId","x","kafka_replyPartition","\u0000\u0000\u0001\u0002"],"payload":"c"}
	EOT
	evcorr serve --preset spring -- ./upper <in >out
	diff out - <<-'EOT'
	{"topic":"r","partition":2,"headers":["kafka_correlationId",{"b64":"AAoiAZNlQnC0/3kQqfDe/w=="},"status","200"],"payload":"A"}
	{"topic":"r","headers":["kafka_correlationId","\u0000\n\"\\","status","200"],"payload":"B"}
	{"topic":"r","partition":258,"headers":["kafka_correlationId","x","status","200"],"payload":"C"}
	EOT
	echo '{"headers":["r2","r","i","x","s","y"],"payload":"a"}' >in
	run -0 evcorr serve --id-header i --reply-to-header r2 --status-header s -- ./upper <in
	[ "$output" = '{"topic":"r","headers":["i","x","s","200"],"payload":"A"}' ]
}

@test "a worker keeps running from call to call, and -P N of them work side by side" {
	worker count <<<'n=0; while read -r x; do echo "$$ $((++n)) $x"; done'
	requests 1 20 >in
	evcorr serve -- ./count <in | replies >out
	[ "$(cut -d' ' -f3 out | uniq | wc -l)" -eq 1 ]
	[ "$(cut -d' ' -f4 out | xargs)" = "$(seq 20 | xargs)" ]
	# Three that wait for one another.
	worker meet <<-'EOT'
	while read -r x; do
		: >"$x"
		until [ -e p1 ] && [ -e p2 ] && [ -e p3 ]; do sleep 0.01; done
		echo "$x"
	done
	EOT
	requests 1 3 >in
	evcorr serve -P 3 -- ./meet <in | replies >out
	[ "$(xargs <out)" = "c1 200 p1 c2 200 p2 c3 200 p3" ]
}

@test "an answer leaves at once, while others are at work and input is open" {
	worker gate <<<'while read -r x; do while [ "$x" = p1 ] && [ ! -e go ]; do sleep 0.01; done; echo "$x"; done'
	mkfifo in
	exec 7<>in
	spawn it sh -c 'exec evcorr serve -P 2 -- ./gate <in'
	requests 1 3 >&7
	wait_lines it.out 2
	[ "$(replies <it.out)" = $'c2 200 p2\nc3 200 p3' ]
	: >go
	wait_lines it.out 3
	stop it
	exec 7>&-
	wait_exit it
	[ "$status" -eq 0 ]
}

@test "a service's own status: descriptor 3, or the record's member" {
	worker some <<-'EOT'
	while read -r x; do
		case $x in
		p2) echo 404 >&3; echo "no $x" ;;
		p3) echo 200 >&3; echo 503 >&3; echo "$x" ;;
		p4) echo maybe >&3; echo "$x" ;;
		*) echo "$x" ;;
		esac
	done
	EOT
	requests 1 5 >in
	evcorr serve -- ./some <in | replies >out
	diff out - <<-'EOT'
	c1 200 p1
	c2 404 no p2
	c3 503 p3
	c4 500 './some' wrote on descriptor 3 what is no status from 100 to 599
	c5 200 p5
	EOT
	run -0 evcorr serve --format record -- jq -c --unbuffered \
		'.status = if .payload == "p2" then 422 elif .payload == "p3" then 1000 elif .payload == "p4" then "x" else null end' <in
	replies <<<"$output" | cut -c1-6 | diff - <(printf '%s\n' 'c1 200' 'c2 422' 'c3 500' 'c4 500' 'c5 200')
}

@test "--format record: a worker reads whole records, and the reply has what it adds and nothing else" {
	request 1 replies/2 trace t1 reply-to replies/2 >in
	evcorr serve --format record -- jq -c --unbuffered \
		'.seq = "x" | .ts = 5 | .payload = {n: (.payload + "!" + .headers[5])} | .headers += ["trace", "t2", "kind", null, "kind", "b"]' <in >out
	diff out - <<-EOT
	{"topic":"replies","partition":2,"headers":["correlation-id","c1","trace","t2","kind",null,"kind","b","status","200"],"key":"k1","payload":{"n":"p1!t1"},"seq":"$RUN:1"}
	EOT
	printf '%s\n' '{"headers":["correlation-id","a","reply-to","r"],"key_b64":"/w==","payload_b64":"/w=="}' \
		'{"headers":["correlation-id","b","reply-to","r"],"payload":null}' >in
	evcorr serve --format record -- cat <in >out
	diff out - <<-'EOT'
	{"topic":"r","headers":["correlation-id","a","status","200"],"key_b64":"/w==","payload_b64":"/w=="}
	{"topic":"r","headers":["correlation-id","b","status","200"],"payload":null}
	EOT
	# What is no record, and what is another call's.
	requests 1 3 >in
	worker odd <<<'while read -r x; do case $x in *p2*) echo nothing ;; *p3*) echo "${x/c3/c1}" ;; *) echo "$x" ;; esac; done'
	evcorr serve --format record -- ./odd <in | replies >out
	[ "$(cut -d' ' -f1,2 out | xargs)" = "c1 200 c2 500 c3 500" ]
	grep -q "c2.*no record" out
	grep -q "c3.*another call" out
}

@test "payloads go to a worker byte for byte, and answers come back so" {
	cat >in <<-'EOT'
	{"headers":["correlation-id","1","reply-to","r"],"payload":{"a" : 1.10}}
	{"headers":["correlation-id","2","reply-to","r"],"payload":null}
	{"headers":["correlation-id","3","reply-to","r"],"payload":""}
	{"headers":["correlation-id","4","reply-to","r"],"payload_b64":"/wD+"}
	{"headers":["correlation-id","5","reply-to","r"],"payload":"\u00e9\t\"\u0000\r"}
	EOT
	evcorr serve -- cat <in | jq -c '[.payload, .payload_b64]' >out
	diff out - <<-'EOT'
	["{\"a\" : 1.10}",null]
	["",null]
	["",null]
	[null,"/wD+"]
	["é\t\"\u0000\r",null]
	EOT
}

@test "a payload of several lines needs -0 or records; else it is answered with 400" {
	printf '%s\n' '{"headers":["correlation-id","1","reply-to","r"],"payload":"a\nb"}' >in
	[ "$(evcorr serve -- cat <in | jq -c '[.headers[3], .payload]')" = \
		'["400","the payload has more than one line, and this service takes one"]' ]
	[ "$(evcorr serve -0 -- sed -uz 's/$/\n!/' <in | jq -c '[.headers[3], .payload]')" = '["200","a\nb\n!"]' ]
	[ "$(evcorr serve --format record -- cat <in | jq -c '[.headers[3], .payload]')" = '["200","a\nb"]' ]
	echo '{"headers":["correlation-id","1","reply-to","r"],"payload":"a\u0000b"}' >in
	[ "$(evcorr serve -0 -- cat <in | jq -c '.headers[3]')" = '"400"' ]
	# More than pipes hold.
	printf '{"headers":["correlation-id","1","reply-to","r"],"payload":"%0300000d"}\n' 1 2 >in
	[ "$(evcorr serve -- cat <in | jq -r .payload | md5sum)" = "$(printf '%0300000d\n' 1 2 | md5sum)" ]
}

# ---- what goes wrong with a worker ----

@test "a worker that crashes: its call gets 500 with the reason, and the others their answers" {
	worker crash <<-'EOT'
	while read -r x; do
		case $x in
		p2) exit 3 ;;
		p4) kill -9 $$ ;;
		p5) exit 0 ;;
		p6) printf torn; exit 0 ;;
		*) echo "$x" ;;
		esac
	done
	EOT
	requests 1 7 >in
	run -0 --separate-stderr evcorr serve -- ./crash <in
	replies <<<"$output" | diff - <(cat <<-'EOT'
	c1 200 p1
	c2 500 './crash' exited with status 3
	c3 200 p3
	c4 500 './crash' was killed by signal 9 (Killed)
	c5 500 './crash' exited with status 0 without an answer
	c6 500 './crash' exited with status 0 without an answer
	c7 200 p7
	EOT
	)
	# shellcheck disable=SC2154 # run sets it
	[[ $stderr == *"'./crash' exited with status 3 without an answer: the call gets status 500"* ]]
}

@test "a program that answers one call and ends serves all: what it has not read goes to the next" {
	requests 1 50 >in
	run -0 --separate-stderr evcorr serve -P 2 -- sh -c 'read -r x && echo "<$x>"' <in
	replies <<<"$output" | diff - <(seq 50 | sed 's/.*/c& 200 <p&>/')
	[ -z "$stderr" ]
	# An answer counts, whatever its worker does then.
	run -0 --separate-stderr evcorr serve -- sh -c 'read -r x; echo "<$x>"; exit 3' <in
	replies <<<"$output" | diff - <(seq 50 | sed 's/.*/c& 200 <p&>/')
	[[ $stderr == *"exited with status 3"*"counted alone"* ]]
}

@test "a worker that never answers: 504, and another one is started" {
	worker slow <<<'while read -r x; do [ "$x" != p2 ] || sleep 1000; echo "$$ $x"; done'
	requests 1 3 >in
	run -0 --separate-stderr evcorr serve --timeout 1s --metrics m -- ./slow <in
	[ "$(replies <<<"$output" | cut -d' ' -f1,2 | xargs)" = "c1 200 c2 504 c3 200" ]
	[ "$(replies <<<"$output" | cut -d' ' -f3 | sort -u | wc -l)" -eq 3 ]
	[[ $stderr == *"'./slow' has not answered within 1000 ms"* ]]
	grep -q '^evpipe_calls_failed_total{.*} 1$' m
	grep -q '^evpipe_calls_timed_out_total{.*} 1$' m
	# One whose answers stay in a buffer.
	request 1 >in
	run -0 --separate-stderr evcorr serve --timeout 200ms -- sed s/p/q/ <in
	[[ $stderr == *"sed -u"* ]]
}

@test "a worker that prints more than a line for a call is not trusted with the next one" {
	requests 1 3 >in
	run -0 --separate-stderr evcorr serve -- sed -u 's/p2/x\ny/' <in
	replies <<<"$output" | diff - <(cat <<-'EOT'
	c1 200 p1
	c2 500 'sed' printed more than one line for a call
	c3 200 p3
	EOT
	)
	# shellcheck disable=SC2154
	[[ $stderr == *"'sed' printed more than one line for a call"* ]]
	# One that prints without a call.
	worker greets <<<'[ -e greeted ] || { : >greeted; echo hello; }; while read -r x; do echo "$x"; done'
	mkfifo in2
	exec 7<>in2
	spawn it sh -c 'exec evcorr serve --metrics m -- ./greets <in2'
	wait_file_contains it.err "prints without a call"
	requests 1 2 >&7
	wait_lines it.out 2
	[ "$(replies <it.out)" = $'c1 200 p1\nc2 200 p2' ]
	wait_for 'grep -q "^evpipe_calls_unasked_total{.*} 1$" m'
}

@test "a command that cannot be run ends the program" {
	request 1 >in
	run -100 evcorr serve -- ./nowhere <in
	[ "$output" = "evcorr: cannot run './nowhere': No such file or directory" ]
}

# ---- requests that are not served ----

@test "what nobody waits for any more is not started, and declared dropped" {
	source_start
	worker note <<<'while read -r x; do echo "$x" >>started; echo "$x"; done'
	{
		request 1 r deadline 1000
		request 2 r deadline "$((EPOCHSECONDS + 3600))000"
		request 3 r deadline 2001-01-01T00:00:00Z
		request 4 r deadline "$(date -u -d '+1 hour' +%FT%TZ)"
	} >in
	source_does end 4
	run -0 --separate-stderr evcorr serve --metrics m -- ./note <in
	[ "$(replies <<<"$output" | xargs)" = "c2 200 p2 c4 200 p4" ]
	[ "$(xargs <started)" = "p2 p4" ]
	# In one message or in two.
	[ "$(heard_all evcorr | sed "s/drop $RUN //" | xargs)" = "1 3 bye gone" ]
	grep -q 'calls_expired_total{.*} 2' m
}

@test "a caller's clock may be behind by --skew" {
	{ request 1 r deadline "$((EPOCHSECONDS - 60))000"; request 2 r deadline "$((EPOCHSECONDS - 7200))000"; } >in
	run -0 --separate-stderr evcorr serve -- cat <in
	[ -z "$output" ]
	# shellcheck disable=SC2154
	[[ $stderr == "evcorr: warning: a request's deadline was over by 6"*"see --skew" ]]
	run -0 --separate-stderr evcorr serve --skew 1h -- cat <in
	[ "$(replies <<<"$output")" = "c1 200 p1" ]
}

@test "requests that cannot be answered are refused by their class" {
	upper
	{
		request 1
		echo '{"headers":["reply-to","r"],"payload":"no-id"}'
		echo '{"headers":["correlation-id","a"],"payload":"no-place"}'
		echo '{"payload":"none"}'
		echo '{"headers":["correlation-id","a","reply-to","r/x"],"payload":"bad-place"}'
		echo '{"headers":["correlation-id","a","reply-to","r","deadline","soon"],"payload":"bad-deadline"}'
		echo '{"headers":["correlation-id",""],"payload":"empty"}'
		echo 'nothing'
		request 2
		printf torn
	} >in
	run -111 --separate-stderr evcorr serve --dead-letter dead -- ./upper <in
	[ "$(replies <<<"$output" | xargs)" = "c1 200 P1 c2 200 P2" ]
	[ "$(jq -r .error.class dead | xargs)" = \
		"missing-field missing-field missing-field invalid-record invalid-record missing-field json-decode" ]
	[[ $stderr == *"has no id in header 'correlation-id'"*"does not say in header 'reply-to'"* ]]
	run -1 --separate-stderr evcorr serve -- ./upper <in
	[ "$(replies <<<"$output" | xargs)" = "c1 200 P1" ]
	# A place for those that do not say it.
	sed -n 3p in >one
	run -0 evcorr serve --reply-to there/4 -- ./upper <one
	[ "$(jq -c '[.topic, .partition]' <<<"$output")" = '["there",4]' ]
}

# ---- the ledger, and the end ----

@test "nothing is reported of a request that has a reply; refused ones are" {
	source_start
	upper
	{ request 1; rec 2; request 3; } >in
	source_does end 3
	run -1 --separate-stderr evcorr serve --on-error skip -- ./upper <in
	[ "$(jq -r .seq <<<"$output" | xargs)" = "$RUN:1 $RUN:3" ]
	heard_all evcorr | diff - <(printf '%s\n' "drop $RUN 2" bye gone)
}

@test "the first SIGTERM does not reach the workers; the second ends all of it" {
	worker hold <<<'trap "echo got >>signals" TERM; while read -r x; do : >began; until [ -e go ]; do sleep 0.01; done; echo "$x"; done'
	mkfifo in
	exec 7<>in
	spawn it sh -c 'exec evcorr serve -- ./hold <in'
	requests 1 2 >&7
	wait_for '[ -e began ]'
	stop it
	wait_file_contains it.err "waiting for the end"
	: >go
	wait_lines it.out 2
	[ ! -e signals ]
	rm go
	requests 3 3 >&7
	wait_for "[ -n \"\$(pgrep -f '^/bin/bash ./hold')\" ]"
	stop it
	wait_exit it
	[ "$status" -eq 111 ]
	grep -q "ended by a signal with .* calls\? unanswered" it.err
}

@test "workers see the end of input, and what they do then is waited for" {
	worker last <<<'while read -r x; do echo "$x"; done; echo "left over"; echo all >ended'
	requests 1 2 >in
	run -0 --separate-stderr evcorr serve -P 2 -- ./last <in
	[ "$(replies <<<"$output" | xargs)" = "c1 200 p1 c2 200 p2" ]
	[ "$(cat ended)" = all ]
}

@test "a serve that is killed takes its workers with it" {
	worker sleeper <<<'echo $$ >pid; while read -r x; do sleep 1000 & echo $! >pid2; wait; done'
	mkfifo in
	exec 7<>in
	spawn it sh -c 'exec evcorr serve -- ./sleeper <in'
	requests 1 1 >&7
	wait_for '[ -s pid2 ]'
	stop it KILL
	wait_for '! alive $(<pid) && ! alive $(<pid2)'
}

@test "workers and evcorr are killed in the middle of calls, and each request has its reply" {
	kmock_start -t requests:2 -t replies:1
	worker slowly <<<'while read -r x; do echo $$ >pid; sleep 0.01; echo "${x^^}"; done'
	requests 1 300 | kwrite -t requests
	spawn it evpipe --restart -d dir kread -g shop "${SHORT_SESSION[@]}" requests '|' \
		evcorr serve -P 2 -- ./slowly '|' kwrite -p have
	got() { kread -q -e replies | replies >got && [ "$(cut -d' ' -f1 got | uniq | wc -l)" -ge "$1" ]; }
	for at in 50 100 150 200; do
		wait_for "got $at"
		kill -KILL "$(<pid)" 2>/dev/null || true
	done
	pkill -KILL -g "$(pid_of it)" -x evcorr || pkill -KILL -P "$(pid_of it)" -x evcorr
	wait_for "got 300"
	# Those that were killed have an error, and maybe an answer too; nobody has another's.
	awk '$2 == 200 && $3 != "P" substr($1, 2)' got >crossed
	grep -v -e ' 200 ' -e ' 500 .*killed by signal 9' got >others || true
	[ ! -s crossed ]
	[ ! -s others ]
}

@test "options that are wrong" {
	for args in '-P 0' '-P 129' '-P x' '--format json' '--timeout 0' '--timeout 2d' '--skew x' '--reply-to a/b' '--reply-to /1' \
		'-0 --format record' '--preset kafka'; do
		# shellcheck disable=SC2086
		run -100 evcorr serve $args -- cat </dev/null
		[[ $output == "evcorr: "*"try 'evcorr serve --help'"* ]] || { echo "$args: $output"; false; }
	done
	run -100 evcorr serve </dev/null
}
