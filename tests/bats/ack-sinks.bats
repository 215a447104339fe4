#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# What kwrite and rpub tell their source, and when: what is durable, in the order in which it came, up to
# the first record they still hold, and nothing before it is a fact.

load helpers
load ack

setup_file() {
	redis_start
	kmock_start
}

setup() {
	harness_setup
	TOPIC=$(unique topic)
	export TOPIC
	# A newer kmock makes no topic for a client which says that it may not, as kwrite does.
	kcat -q -L -b "$KAFKA_BROKERS" -t "$TOPIC" >meta
}

teardown() {
	kill -CONT "$(<"$BATS_FILE_TMPDIR/kmock.pid")"
	harness_teardown
}

# sink NAME COMMAND…: the sink from the FIFO in; descriptor 5 writes into it.
sink() {
	local name=$1
	shift
	[ -p in ] || mkfifo in
	spawn "$name" sh -c 'exec "$@" <in' sh "$@"
	exec 5>in
}

# told NAME LINE…: just these, then gone.
told() {
	wait_file_contains source.out "$1: gone"
	told_so_far "$@" gone
}

# bad N: a record that every sink refuses.
bad() {
	printf '{"seq":"%s:%s","payload":5}\n' "$RUN" "$1"
}

# in_topic: the payloads there, in order.
in_topic() {
	kconsume "$TOPIC" -f '%s\n'
}

# proxied: $REDIS_URL by way of redis-proxy; descriptor 6 commands it.
proxied() {
	mkfifo orders
	exec 6<>orders
	spawn proxy "$ROOT/tests/bats/redis-proxy" "$T/proxy.sock" "$REDIS_SOCK" <orders
	wait_file_contains proxy.out listening
	PROXY=unix:$T/proxy.sock
}

proxy_does() {
	local before
	before=$(grep -c '^did' proxy.out || true)
	echo "$1" >&6
	wait_for "[ \$(grep -c '^did' proxy.out) -gt $before ]"
}

# role_is_kept: the proxy has the whole reply to a ROLE that came behind another.
role_is_kept() {
	wait_for 'grep -qE "^kept :[01] .*master :[0-9]+ [*]0 $" proxy.out'
}

# subscribed CHANNEL: what is published there goes to sub.out.
subscribed() {
	spawn sub redis-cli -s "$REDIS_SOCK" subscribe "$1" </dev/null
	wait_for "[ \"\$(redis_subscribers $1)\" = 1 ]"
}

# ---- both ----

# sinks SCRIPT: evaluates it for each sink, with $sink its name and "$@" its command line.
sinks() {
	local sink
	for sink in kwrite rpub; do
		if [ "$sink" = kwrite ]; then set -- kwrite -p 0 -t "$TOPIC"; else set -- rpub "$TOPIC"; fi
		source_start
		eval "$SCRIPT"
		harness_end "$T"
		rm -f ack commands in source.out
	done
}

@test "what is delivered is final, in ranges, and it ends with bye" {
	SCRIPT='
		source_does end 6
		{ rec 1; rec 2; rec 3; rec 5; rec 6; } >records
		run -0 "$@" <records
		told $sink "final 1" "final 2" "final 3" "final 5" "final 6" bye
		grep -qxE "$sink: hello $sink [0-9]+ sink" source.out' sinks
	[ "$(in_topic | xargs)" = "p1 p2 p3 p5 p6" ]
}

@test "labels that are sets or parts are reported as they stand" {
	SCRIPT='
		source_does end 30
		{ rec 1; rec 3-5,9; rec 12.2/3; rec 12-14.1/2; rec 15; rec 20.1/2 | sed "s|/|\\\\/|"; } >records
		run -0 "$@" <records
		told $sink "final 1" "final 3-5,9" "final 12.2/3" "final 12-14.1/2" "final 15" \
			"final 20.1/2" bye' sinks
}

@test "it is idle when it holds nothing, and busy when it does" {
	SCRIPT='
		sink it "$@"
		wait_file_contains source.out "$sink: idle"
		rec 1 >&5
		wait_file_contains source.out "$sink: final $RUN 1"
		wait_for "[ \"\$(state $sink)\" = idle ]"
		source_does end 1
		exec 5>&-
		wait_exit it
		[ "$status" -eq 0 ]' sinks
}

@test "it is busy while its server is away, though it has delivered all that it has read" {
	source_start
	proxied
	sink pub rpub -u "$PROXY" "$TOPIC"
	rec 1 >&5
	wait_for "[ \"\$(state rpub)\" = idle ]"
	stop proxy
	exec 6>&-
	wait_for "[ \"\$(state rpub)\" = busy ]"
	rm -f orders proxy.sock
	proxied
	rec 2 >&5
	wait_file_contains source.out "rpub: final $RUN 2"
	source_does end 2
	exec 5>&-
	wait_exit pub
	[ "$status" -eq 0 ]
	harness_end "$T"
	rm -f ack commands in source.out

	source_start
	sink it kwrite -t '{topic}'
	wait_file_contains source.out "kwrite: idle"
	freeze "$(<"$BATS_FILE_TMPDIR/kmock.pid")"
	printf '{"seq":"%s:1","topic":"%s","payload":"x"}\n' "$RUN" "$TOPIC" >&5
	wait_for "[ \"\$(state kwrite)\" = busy ]"
	kill -CONT "$(<"$BATS_FILE_TMPDIR/kmock.pid")"
	wait_file_contains source.out "kwrite: final $RUN 1"
	source_does end 1
	exec 5>&-
	wait_exit it
	[ "$status" -eq 0 ]
}

@test "with --pass it is busy while its server is away" {
	source_start
	proxied
	sink pub rpub --pass -u "$PROXY" "$TOPIC"
	rec 1 >&5
	wait_lines pub.out 1
	stop proxy
	exec 6>&-
	wait_for "[ \"\$(state rpub)\" = busy ]"
	rm -f orders proxy.sock
	proxied
	wait_for "[ \"\$(state rpub)\" = idle ]"
	source_does end 1
	exec 5>&-
	wait_exit pub
	[ "$status" -eq 0 ]
}

@test "input waits for the greeting" {
	SCRIPT='
		rm -f ack commands source.out
		harness_end "$T"
		source_start --mute
		sink it "$@"
		rec 1 >&5
		wait_file_contains source.out hello
		source_does greet
		wait_file_contains source.out "$sink: final $RUN 1"
		source_does end 1
		exec 5>&-
		wait_exit it
		[ "$status" -eq 0 ]' sinks
}

@test "a source that never greets: one signal ends it when nobody writes to its input any more" {
	SCRIPT='
		rm -f ack commands source.out
		harness_end "$T"
		source_start --mute
		rec 1 >records
		spawn it sh -c "exec \"\$@\" --metrics m <records" sh "$@"
		wait_file_contains source.out hello
		wait_for "grep -qE \"^evpipe_up.* 1\" m"
		stop it
		wait_exit it
		[ "$status" -eq 111 ]
		rm m' sinks
}

@test "an end of input without the source's word is 111, with all delivered and reported" {
	SCRIPT='
		{ rec 1; rec 2; } >records
		run -111 --separate-stderr "$@" <records
		[[ $stderr == "$sink: "*"has not said that it is whole"* ]]
		told $sink "final 1" "final 2"' sinks
}

@test "a torn last line is not reported" {
	SCRIPT='
		source_does end 2
		{ rec 1; rec 2 | tr -d "\n"; } >records
		run -111 "$@" <records
		told $sink "final 1" bye' sinks
}

@test "a record of another source ends it with 100, and what came before is reported" {
	SCRIPT='
		{ rec 1; rec 2 | sed "s/$RUN/fedcba9876543210/"; rec 3; } >records
		run -100 --separate-stderr "$@" <records
		[[ $stderr == *"records of two sources: run two pipelines"* ]]
		told $sink stop "final 1" bye' sinks
	[ "$(in_topic)" = p1 ]
}

@test "a source that says stop ends it with 100, with all delivered that was read" {
	SCRIPT='
		sink it "$@"
		rec 1 >&5
		wait_file_contains source.out "$sink: final $RUN 1"
		source_does say stop there is a sink already
		wait_exit it
		[ "$status" -eq 100 ]
		grep -qF "there is a sink already" it.err
		told $sink "final 1"
		exec 5>&-' sinks
}

@test "records without a seq are delivered, and counted at the end" {
	SCRIPT='
		source_does end 1
		{ rec 1; echo "{\"payload\":\"a\"}"; echo "{\"payload\":\"b\",\"seq\":null}"; } >records
		run -0 --separate-stderr "$@" <records
		[[ $stderr == *"2 records had no seq"* ]]
		told $sink "final 1" bye' sinks
	[ "$(in_topic | xargs)" = "p1 a b" ]
}

@test "a refused record stops it; neither it nor any behind it is reported" {
	SCRIPT='
		{ rec 1; bad 2; rec 3; } >records
		run -1 "$@" <records
		wait_file_contains source.out "$sink: stop a record was refused: "
		wait_file_contains source.out "$sink: gone"
		[ "$(reports $sink | sort | xargs)" = "bye final 1 gone stop" ]' sinks
}

@test "a skipped record is a drop, in its turn" {
	SCRIPT='
		source_does end 4
		{ rec 1; bad 2; bad 3; rec 4; bad 5; } >records
		run -1 "$@" --on-error skip <records
		told $sink "final 1" "drop 2" "drop 3" "final 4" "drop 5" bye' sinks
}

@test "a dead letter is reported in its turn, and is on the disk first" {
	SCRIPT='
		rm -f dead
		source_does end 4
		{ rec 1; bad 2; rec 3; bad 4; } >records
		run -1 strace -f -o trace -e trace=fdatasync,sendto -s 400 "$@" --dead-letter dead <records
		told $sink "final 1" "dead 2" "final 3" "dead 4" bye
		[ "$(wc -l <dead)" -eq 2 ]
		sync=$(grep -n " fdatasync" trace | head -n 1 | cut -d: -f1)
		report=$(grep -nE "(dead|early) $RUN" trace | head -n 1 | cut -d: -f1)
		[ "$sync" -lt "$report" ]' sinks
}

@test "a line over the limit is reported in its turn" {
	SCRIPT='
		rm -f dead
		source_does end 3
		{ rec 1; rec 2 "$(printf %0999d 0)"; rec 3; } >records
		run -1 "$@" --max-line 200 --dead-letter dead <records
		told $sink "final 1" "dead 2" "final 3" bye' sinks
}

@test "a line that is no JSON accounts for nothing" {
	SCRIPT='
		source_does end 3
		{ rec 1; echo "{\"seq\":\"$RUN:2\",\"payload\":"; rec 3; } >records
		run -1 --separate-stderr "$@" --on-error skip <records
		[[ $stderr != *"had no seq"* ]]
		told $sink "final 1" "final 3" bye' sinks
}

@test "nothing but refused records is no reason to wait" {
	SCRIPT='
		source_does end 9999
		bad "&" >bad
		seq 9999 | sed "s/.*/$(cat bad)/" >records
		run -1 "$@" -q --on-error skip <records
		wait_file_contains source.out "$sink: gone"
		[ "$(heard $sink | grep -c drop)" -gt 0 ]
		[ "$(reports $sink | grep -c drop)" -eq 9999 ]' sinks
}

@test "a line that is no record gets a hint at --raw, from a sink alone" {
	for line in nonsense '"x"' '{"Payload":1}'; do
		echo "$line" >records
		for sink in "kwrite -t $TOPIC" "rpub $TOPIC"; do
			# shellcheck disable=SC2086 # words
			run -1 $sink <records
			[[ $output == *"(payloads without a record: use --raw) ("* ]]
		done
		run -1 evkey .a <records
		[[ $output != *raw* ]]
	done
}

# ---- kwrite ----

# bats test_tags=newest
@test "kwrite reports nothing that the broker has not confirmed, and nothing past it" {
	source_start
	sink it kwrite -t "$TOPIC" --on-error skip
	rec 1 >&5
	wait_file_contains source.out "kwrite: final $RUN 1"
	wait_for '[ "$(state kwrite)" = idle ]'
	freeze "$(<"$BATS_FILE_TMPDIR/kmock.pid")"
	{ rec 2; bad 3; } >&5
	wait_for '[ "$(state kwrite)" = busy ]'
	wait_file_contains it.err "line 3"
	[ "$(reports kwrite)" = "final 1" ]
	kill -CONT "$(<"$BATS_FILE_TMPDIR/kmock.pid")"
	source_does end 3
	exec 5>&-
	wait_exit it
	told kwrite "final 1" "final 2" "drop 3" bye
}

@test "kwrite reports nothing behind a record that the broker refuses under stop" {
	source_start
	{
		seq 1 50 | while read -r i; do
			printf '{"seq":"%s:%d","payload":"p%d","partition":%d}\n' \
				"$RUN" "$i" "$i" $((i == 20 ? 99 : 0))
		done
	} >records
	run -1 kwrite -t "$TOPIC" -p keep <records
	wait_file_contains source.out "kwrite: bye"
	[ "$(reports kwrite | grep -c final)" -eq 19 ]
	[ "$(reports kwrite | grep final | tail -n 1)" = "final 19" ]
}

# ---- rpub ----

@test "a ROLE confirms what was sent before it, and nothing behind it" {
	source_start
	proxied
	subscribed "$TOPIC"
	sink it rpub -u "$PROXY" "$TOPIC" --on-error skip
	rec 1 >&5
	wait_file_contains source.out "rpub: final $RUN 1"
	proxy_does hold
	rec 2 >&5
	wait_file_contains proxy.out "PUBLISH $TOPIC p2"
	role_is_kept
	proxy_does stall
	{ bad 3; rec 4; rec 5; } >&5
	wait_file_contains proxy.out "PUBLISH $TOPIC p5"
	[ "$(reports rpub)" = "final 1" ]
	# The replies to the first two commands; those behind them the server never sees.
	proxy_does reply
	wait_for "has_told rpub 2 && has_told rpub 3"
	told_so_far rpub "final 1" "final 2" "drop 3"
	proxy_does cut
	wait_for "has_told rpub 5"
	source_does end 5
	exec 5>&-
	wait_exit it
	[ "$status" -eq 1 ]
	wait_file_contains sub.out p5
	[ "$(grep '^p' sub.out | xargs)" = "p1 p2 p4 p5" ]
	told rpub "final 1" "final 2" "drop 3" "final 4" "final 5" bye
}

@test "refused records among those that are sent again are not sent, and are reported in their turn" {
	source_start
	proxied
	subscribed "$TOPIC"
	sink it rpub -u "$PROXY" "$TOPIC" --on-error skip
	wait_file_contains source.out "rpub: idle"
	proxy_does hold
	{ bad 1; rec 2; bad 3; bad 4; rec 5; bad 6; } >&5
	wait_file_contains proxy.out "PUBLISH $TOPIC p5"
	wait_file_contains it.err "line 6"
	[ "$(reports rpub)" = "drop 1" ]
	proxy_does cut
	wait_for "has_told rpub 5 && has_told rpub 6"
	source_does end 6
	exec 5>&-
	wait_exit it
	told rpub "drop 1" "final 2" "drop 3" "drop 4" "final 5" "drop 6" bye
}

@test "rpub that Redis does not let in stops the source, reports nothing, keeps no dead letter" {
	source_start
	run -100 rpub -u "redis://:wrong@127.0.0.1:$REDIS_PORT" --dead-letter dead "$TOPIC" < <(rec 1)
	told rpub stop bye
	[ ! -s dead ]
}

# ---- --pass ----

@test "kwrite --pass hands each record on with where it was written, and reports nothing" {
	source_start
	source_does end 4
	cat >records <<-END
		{"seq":"$RUN:1","payload":"a","x":[1.10,{"topic":5}]}
		{ "offset":9007199254740993, "topic":"here","partition":7, "seq":"$RUN:2","payload":"b"}
		{"seq":"$RUN:3","payload":"c","topic":null}
	END
	kwrite -t "$TOPIC" -p 0 --pass --metrics m <records >out
	cat >expected <<-END
		{"topic":"$TOPIC","partition":0,"offset":0,"seq":"$RUN:1","payload":"a","x":[1.10,{"topic":5}]}
		{ "offset":1, "topic":"$TOPIC","partition":0, "seq":"$RUN:2","payload":"b"}
		{"partition":0,"offset":2,"seq":"$RUN:3","payload":"c","topic":"$TOPIC"}
	END
	diff expected out
	told kwrite bye
	grep -qxE 'kwrite: hello kwrite [0-9]+ filter' source.out
	# What the pipeline has forwarded is the last program's to count.
	grep -q '^evpipe_records_out_total{.*} 3$' m
	run ! grep evpipe_messages_forwarded_total m
}

@test "rpub --pass hands each record on with where it was published, and reports nothing" {
	source_start
	source_does end 3
	subscribed "$TOPIC:x"
	cat >records <<-END
		{"seq":"$RUN:1","topic":"x","payload":"a"}
		{"seq":"$RUN:2","topic":"y\"z","payload":"b","receivers":null,"channel":"c"}
	END
	rpub "$TOPIC:{topic}" --pass <records >out
	cat >expected <<-END
		{"receivers":1,"channel":"$TOPIC:x","seq":"$RUN:1","topic":"x","payload":"a"}
		{"seq":"$RUN:2","topic":"y\"z","payload":"b","receivers":0,"channel":"$TOPIC:y\"z"}
	END
	diff expected out
	told rpub bye
	grep -qxE 'rpub: hello rpub [0-9]+ filter' source.out
}

@test "with --pass refused records are handed on as they came, in their place, and not reported" {
	SCRIPT='
		source_does end 5
		rm -f dead
		{ bad 1; rec 2; echo nonsense; rec 4; bad 5; } >records
		run -1 strace -f -o trace -e trace=fdatasync,write,writev -s 4000 "$@" --pass --dead-letter dead <records
		diff records <(sed -E "s/\"(topic|channel)\":\"$TOPIC\",|\"(partition|offset|receivers)\":[0-9]+,//g" <<<"$output" |
			grep -v "^[a-z]*: ")
		[ "$(wc -l <dead)" -eq 3 ]
		sync=$(grep -n " fdatasync" trace | head -n 1 | cut -d: -f1)
		passed=$(grep -nE " writev?\(1, .*$RUN:1" trace | head -n 1 | cut -d: -f1)
		[ "$sync" -lt "$passed" ]
		told $sink bye' sinks
}

@test "with --pass a record of another source is delivered and handed on, for the last program to judge" {
	SCRIPT='
		source_does end 2
		{ rec 1; rec 5 | sed "s/$RUN/fedcba9876543210/"; rec 6 | sed "s/$RUN:6/mine/"; rec 2; } >records
		run -0 "$@" --pass <records
		diff records <(sed -E "s/\"(topic|channel)\":\"$TOPIC\",|\"(partition|offset|receivers)\":[0-9]+,//g" <<<"$output")
		told $sink bye' sinks
	[ "$(in_topic | xargs)" = "p1 p5 p6 p2" ]
}

@test "with --pass a dead letter is synced before its record goes on behind a full block of output" {
	source_start
	source_does end 71
	{
		for ((i = 1; i <= 70; i++)); do rec "$i" "$(printf %01000d "$i")"; done
		rec 71 | sed 's/{/{"partition":999,/'
	} | sed 's/^{"seq/{"partition":0,"seq/' >records
	run -1 --separate-stderr strace -f -o trace -e trace=fdatasync,write -s 200000 \
		kwrite -p keep -t "$TOPIC" --pass --dead-letter dead <records
	[ "${#lines[@]}" -eq 71 ]
	[ "$(grep -oE " (fdatasync|write\(1, .*$RUN:71)" trace | head -n 1)" = " fdatasync" ]
}

@test "with --pass a record refused under stop is not handed on, nor what is behind it" {
	SCRIPT='
		{ rec 1; bad 2; rec 3; } >records
		run -1 --separate-stderr "$@" --pass <records
		[ "${#lines[@]}" -eq 1 ]
		wait_file_contains source.out "$sink: gone"
		[ "$(reports $sink | sort | xargs)" = "bye gone stop" ]' sinks
}

@test "with --pass a reader that goes at the other end of a socket ends it" {
	SCRIPT='
		rec 1 | python3 -c "
import socket, subprocess, sys
a, b = socket.socketpair()
p = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE, stdout=b)
b.close()
p.stdin.write(sys.stdin.buffer.read())
p.stdin.flush()
a.recv(1 << 16)
a.close()
assert p.wait(60) == 111
" "$@" --pass' sinks
}

@test "with --pass a slow reader holds up the writer, and gets all in order" {
	SCRIPT='
		awk -v run=$RUN "BEGIN { for (i = 1; i <= 40000; i++)
			printf \"{\\\"seq\\\":\\\"%s:%d\\\",\\\"payload\\\":\\\"%0500d\\\"}\\n\", run, i, i }" >records
		source_does end 40000
		mkfifo out
		exec 6<>out
		spawn it sh -c "exec \"\$@\" <records >out" sh "$@" --pass
		exec 4<out
		# Only now has the writer opened it for sure.
		read -r first <&4
		exec 6>&-
		{ echo "$first"; cat <&4; } >passed
		wait_exit it
		[ "$status" -eq 0 ]
		exec 4<&-
		[ "$(sed -E "s/.*:([0-9]+)\".*/\1/" passed)" = "$(seq 40000)" ]
		rm -f out' sinks
}

@test "with --pass a reader that has gone ends it with 111 and without bye" {
	SCRIPT='
		sink it bash -c "\"\$@\" --pass | true; exit \${PIPESTATUS[0]}" sh "$@"
		wait_exit it
		[ "$status" -eq 111 ]
		[ "$(cat it.err)" = "$sink: the reader of standard output has gone" ]
		wait_file_contains source.out "$sink: gone"
		[ "$(reports $sink)" = gone ]
		exec 5>&-' sinks
}

@test "rpub --pass hands nothing on that a ROLE has not confirmed" {
	source_start
	proxied
	sink it rpub -u "$PROXY" --pass "$TOPIC"
	rec 1 >&5
	wait_lines it.out 1
	proxy_does hold
	rec 2 >&5
	wait_file_contains proxy.out "PUBLISH $TOPIC p2"
	role_is_kept
	# The reply to PUBLISH, but not that to ROLE.
	proxy_does line
	rec 3 >&5
	wait_file_contains proxy.out "PUBLISH $TOPIC p3"
	[ "$(wc -l <it.out)" -eq 1 ]
	proxy_does cut
	wait_lines it.out 3
	source_does end 3
	exec 5>&-
	wait_exit it
	[ "$status" -eq 0 ]
	[ "$(jq -r .payload it.out | xargs)" = "p1 p2 p3" ]
}

@test "two sinks in a line: the last one acknowledges" {
	source_start
	source_does end 3
	{ rec 1; bad 2; rec 3; } >records
	kwrite -t "$TOPIC" --pass --on-error skip <records | rpub "$TOPIC" --on-error skip || true
	told rpub "final 1" "drop 2" "final 3" bye
	told kwrite bye
}
