#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# kread's end of the acknowledgement socket, with filters and sinks that say what a test wants.

load helpers

setup_file() {
	kafka_start
}

# topic_with N [PARTITIONS]: sets $topic, with the numbers up to N in it (one record a partition in turn),
# and $group.
topic_with() {
	topic=$(new_topic "${2:-1}")
	group=$(unique)
	more 1 "$1" "${2:-1}"
}

# more FROM TO [PARTITIONS]
more() {
	local p partitions=${3:-1}
	for ((p = 0; p < partitions; p++)); do
		seq "$1" "$2" | awk -v n="$partitions" -v p=$p 'NR % n == p' | kproduce "$topic" -p $p
	done
}

# reads NAME ARGUMENT…: a kread in the group that listens on ./ack, or on $ACK.
reads() {
	local name=$1
	shift
	spawn "$name" kread -g "$group" --ack "${ACK:-ack}" "$@" "$topic" </dev/null
}

# come NAME [ROLE]: connects to ./ack, or to $ACK, and says hello.
declare -gA FDS # also when bats reads this in a function
come() {
	local fd
	mkfifo "$1.in"
	exec {fd}<>"$1.in"
	FDS[$1]=$fd
	spawn "peer-$1" "$ROOT/tests/bats/ack-peer" "${ACK:-ack}" <"$1.in" >/dev/null
	wait_file_contains "peer-$1.out" "run "
	RUN=$(awk '$1 == "run" { print $2; exit }' "peer-$1.out")
	[ -z "${2:-}" ] || say "$1" "hello $1 77 $2"
}

# say NAME TEXT…: each on a line.
say() {
	local name=$1
	shift
	printf '%s\n' "$@" >&"${FDS[$name]}"
}

# heard NAME TEXT: waits until the source has said it.
heard() {
	wait_file_contains "peer-$1.out" "$2"
}

# leave NAME: ends its connection behind what it has said.
leave() {
	local fd=${FDS[$1]}
	exec {fd}>&-
	wait_exit "peer-$1"
}

# committed: the group's position in partition 0 (or $PARTITION) of $topic, by asking a broker; nothing when there is none.
committed() {
	python3 - "$KAFKA_BROKERS" "$group" "$topic" "${PARTITION:-0}" <<-'EOP'
	import socket, struct, sys
	address, group, topic, partition = sys.argv[1:]
	host, port = address.rsplit(":", 1)
	text = lambda s: struct.pack(">h", len(s)) + s.encode()
	body = text(group) + struct.pack(">i", 1) + text(topic) + struct.pack(">ii", 1, int(partition))
	message = struct.pack(">hhi", 9, 1, 1) + text("test") + body
	s = socket.create_connection((host, int(port)))
	s.sendall(struct.pack(">i", len(message)) + message)
	f = s.makefile("rb")
	size, = struct.unpack(">i", f.read(4))
	reply = f.read(size)
	offset, = struct.unpack_from(">q", reply, 4 + 4 + 2 + len(topic) + 4 + 4)
	if offset >= 0:
	    print(offset)
	EOP
}

# ---- wiring ----

@test "a group without a socket is refused, and the three remedies are named" {
	run -100 kread -g group topic
	[[ $output == *evpipe*--ack*"--commit written"* ]]
}

@test "the socket is nobody else's" {
	topic_with 1
	reads source
	wait_for '[ -S ack ]'
	[ "$(stat -c %a ack)" = 600 ]
}

@test "nothing is printed before the sink has come" {
	topic_with 3
	reads source
	come early filter
	wait_for '[ "$(grep -c . peer-early.out)" -ge 1 ]'
	[ ! -s source.out ]
	come sink sink
	wait_lines source.out 3
}

@test "without a sink it ends after ten seconds, with the remedies" {
	topic_with 3
	run -100 kread -g "$group" --ack ack "$topic"
	[[ $output == "kread: no sink has come to 'ack' for ten seconds: "*evpipe*--ack*"--commit written"* ]]
	[ ! -e ack ]
}

@test "each record has a number of its own, in the order of printing" {
	topic_with 50 2
	reads source
	come sink sink
	wait_lines source.out 50
	jq -r .seq source.out | cmp - <(seq -f "$RUN:%.0f" 50)
	[[ $RUN =~ ^[0-9a-f]{16}$ ]]
}

@test "a second sink is told to stop and hears of --pass; the first goes on" {
	topic_with 3
	reads source
	come sink sink
	come second sink
	heard second "--pass"
	grep -q '^stop ' peer-second.out
	wait_lines source.out 3
	say sink "final $RUN 1 2 3"
	wait_for '[ "$(committed)" = 3 ]'
}

@test "a path that somebody listens on is refused" {
	topic_with 1
	reads source
	wait_for '[ -S ack ]'
	come sink sink
	run -100 kread -g "$group" --ack ack "$topic"
	[[ $output == *"another source listens on 'ack'"* ]]
	say sink "idle"
	alive "$(pid_of source)"
}

@test "a dead socket file is replaced, and any other file is not" {
	topic_with 1
	reads dead "${SHORT_SESSION[@]}"
	wait_for '[ -S ack ]'
	stop dead KILL
	wait_exit dead
	[ -S ack ]
	reads source "${SHORT_SESSION[@]}"
	come sink sink
	wait_lines source.out 1
	echo precious >file
	run -100 kread -g "$group" --ack file "$topic"
	[ "$(cat file)" = precious ]
}

@test "a path too long for a socket is refused" {
	run -100 kread -g group --ack "$(printf 'x%.0s' {1..108})" topic
	[[ $output == *"too long for a socket: 108 bytes, and 107 are the limit"* ]]
}

# ---- positions ----

@test "only what is final is committed, and nothing above a hole" {
	topic_with 10
	reads source
	come sink sink
	wait_lines source.out 10
	say sink "final $RUN 1 2 3 5 6-10"
	wait_for '[ "$(committed)" = 3 ]'
	say sink "final $RUN 4"
	wait_for '[ "$(committed)" = 10 ]'
}

@test "what a filter drops and what is a dead letter is final" {
	topic_with 4
	reads source
	come filter filter
	come sink sink
	wait_lines source.out 4
	say sink "final $RUN 1 4"
	say filter "drop $RUN 2" "dead $RUN 3"
	wait_for '[ "$(committed)" = 4 ]'
}

@test "the parts of a record are final together" {
	topic_with 1
	reads source
	come sink sink
	wait_lines source.out 1
	say sink "final $RUN 1.1/2"
	stop source
	heard sink "end $RUN 1"
	[ -z "$(committed)" ]
	say sink "final $RUN 1.2/2"
	wait_exit source
	[ "$status" -eq 0 ]
	[ "$(committed)" = 1 ]
}

@test "a name stands for its set, whoever gave it" {
	topic_with 1000
	reads source
	come sink sink
	come filter filter
	wait_lines source.out 1000
	say filter "set $RUN #a $(seq -s, 3 2 599)" "set $RUN #a $(seq -s, 601 2 999)" "drop $RUN 1 $(seq -s' ' 2 2 1000)"
	# A filter names a set before it hands the record on.
	wait_for '[ "$(committed)" = 2 ]'
	say sink "final $RUN #a.1/2" "final $RUN #a.2/2"
	wait_for '[ "$(committed)" = 1000 ]'
	say sink "final $RUN #b"
	wait_file_contains peer-sink.out "stop garbage"
	wait_exit source
	[ "$status" -eq 111 ]
}

@test "a report of another run is ignored" {
	topic_with 3
	reads source --metrics m.prom
	come sink sink
	wait_lines source.out 3
	say sink "final 0123456789abcdef 1 2 3" "final $RUN 1"
	wait_for '[ "$(committed)" = 1 ]'
	wait_file_contains m.prom 'stale_reports_total{pipeline="evpipe",tool="kread"} 1'
	grep -q "records of another source" source.err
}

@test "the next run goes on behind what was final" {
	topic_with 10
	reads source "${SHORT_SESSION[@]}"
	come sink sink
	wait_lines source.out 10
	say sink "final $RUN 1-4"
	wait_for '[ "$(committed)" = 4 ]'
	stop source KILL
	wait_exit source
	reads again
	come other sink
	wait_lines again.out 6
	[ "$(jq -r .payload again.out | xargs)" = "5 6 7 8 9 10" ]
}

@test "-e leaves what came behind the end to the next reading" {
	topic_with 5
	reads source -e -v --window 3 -X debug=fetch -X fetch.wait.max.ms=10 --metrics m.prom
	come sink sink
	wait_file_contains m.prom 'evpipe_ready{pipeline="evpipe",tool="kread"} 1'
	wait_lines source.out 3
	# The end is known. What comes now stands in one batch with what came before, and so does its own
	# end, which is there when it is fetched behind it once more.
	more 6 8
	wait_for '[ "$(grep -c "at offset 8 " source.err)" -ge 2 ]'
	say sink "final $RUN 1-3"
	wait_lines source.out 5
	say sink "final $RUN 4-5"
	wait_exit source
	[ "$status" -eq 0 ]
	[ "$(committed)" = 5 ]
}

@test "without a group nothing waits, and the end does" {
	topic_with 5
	spawn source kread -e --ack ack "$topic" </dev/null
	wait_lines source.out 5
	come sink sink
	heard sink "end $RUN 5"
	say sink "final $RUN 1-5"
	wait_exit source
	[ "$status" -eq 0 ]
	[ ! -s source.err ]
}

# ---- garbage ----

@test "garbage closes its connection alone" {
	topic_with 2
	reads source
	come sink sink
	wait_lines source.out 2
	n=0
	for garbage in "" "hello again" "hello x 1 king" "hello x y filter" "final $RUN 1"; do
		come "g$((++n))"
		say "g$n" "$garbage"
		wait_exit "peer-g$n"
	done
	for garbage in "final $RUN 1" "drop $RUN" "drop $RUN 3" "drop $RUN 01" "drop $RUN 1-" "drop 1" \
		"drop $RUN  1" "idle now" "bare $RUN 1" "offsets $RUN 1" "hello g 1 filter" "nonsense" $'\xff\xfe'; do
		come "g$((++n))" filter
		say "g$n" "$garbage"
		wait_exit "peer-g$n"
		grep -q '^stop garbage' "peer-g$n.out"
	done
	say sink "final $RUN 1-2"
	wait_for '[ "$(committed)" = 2 ]'
	[ "$(grep -c 'closed the acknowledgement connection' source.err)" -eq $n ]
}

@test "a line over a megabyte is garbage" {
	topic_with 1
	reads source
	come sink sink
	come big filter
	head -c 1100000 /dev/zero | tr '\0' x >&"${FDS[big]}"
	wait_file_contains source.err "a line over a megabyte"
	wait_lines source.out 1
	say sink "final $RUN 1"
	wait_for '[ "$(committed)" = 1 ]'
}

@test "half a line counts when its other half has come" {
	topic_with 2
	reads source
	come sink sink
	wait_lines source.out 2
	printf 'final %s 1-' "$RUN" >&"${FDS[sink]}"
	come other filter
	say other "hello again"
	wait_exit peer-other
	[ -z "$(committed)" ]
	echo 2 >&"${FDS[sink]}"
	wait_for '[ "$(committed)" = 2 ]'
}

@test "a record that is acknowledged twice ends the pipeline with 100" {
	topic_with 5
	reads source
	come sink sink
	wait_lines source.out 5
	say sink "final $RUN 1" "final $RUN 1"
	heard sink "stop "
	wait_exit source
	[ "$status" -eq 100 ]
	grep -q "record 1 a second time: .*evbatch" source.err
	[ -z "$(committed)" ]
}

@test "by order, an acknowledgement that goes back ends the pipeline with 100" {
	topic_with 5
	reads source --account order
	come sink sink
	wait_lines source.out 5
	say sink "final $RUN 3" "final $RUN 2"
	wait_exit source
	[ "$status" -eq 100 ]
	grep -q "record 2 after a later one" source.err
}

@test "a member that asks to stop stops the source" {
	topic_with 5
	reads source
	come sink sink
	wait_lines source.out 5
	say sink "final $RUN 1" "stop the disk is full"
	wait_file_contains source.err "the disk is full"
	say sink "final $RUN 2" bye
	leave sink
	wait_exit source
	[ "$status" -eq 100 ]
	grep -q "sink (process 77) stops the pipeline: the disk is full" source.err
	[ "$(committed)" = 2 ]
}

# ---- the end ----

@test "SIGTERM: the end is told, what is open is waited for and committed, and the status is 0" {
	topic_with 5
	reads source
	come sink sink
	wait_lines source.out 5
	say sink "final $RUN 1-3"
	stop source
	heard sink "end $RUN 5"
	say sink "final $RUN 4-5"
	wait_exit source
	[ "$status" -eq 0 ]
	[ "$(committed)" = 5 ]
	[ ! -s source.err ]
	[ ! -e ack ]
}

@test "the end is told before standard output is closed" {
	topic_with 5
	spawn source strace -o trace -e trace=sendto,close -s 200 kread -g "$group" --ack ack -e "$topic" </dev/null
	come sink sink
	heard sink "end $RUN 5"
	say sink "final $RUN 1-5"
	wait_exit source
	[ "$status" -eq 0 ]
	sed -n "s/^sendto(.*end $RUN 5.*/end/p; s/^close(1) .*/close/p" trace >order
	[ "$(xargs <order)" = "end close" ]
}

@test "what is open when the drain is over is named by its first record, and the status is 111" {
	topic_with 5
	reads source --drain 1s
	come sink sink
	wait_lines source.out 5
	say sink "final $RUN 1-2 4"
	wait_for '[ "$(committed)" = 2 ]'
	stop source
	wait_exit source
	[ "$status" -eq 111 ]
	grep -q "2 records were not acknowledged, the first of them topic '$topic', partition 0, offset 2; " source.err
	[ "$(committed)" = 2 ]
}

@test "what is open when all have gone is named at once" {
	topic_with 5
	reads source --drain 10m
	come sink sink
	wait_lines source.out 5
	say sink "final $RUN 1-2"
	stop source
	heard sink "end $RUN 5"
	say sink bye
	leave sink
	wait_exit source
	[ "$status" -eq 111 ]
	grep -q "3 records were not acknowledged" source.err
	[ "$(committed)" = 2 ]
}

@test "a filter's last word is heard when the sink has gone" {
	topic_with 5
	reads source --drain 10m
	come filter filter
	come sink sink
	wait_lines source.out 5
	stop source
	heard sink "end $RUN 5"
	say sink "final $RUN 1-4" bye
	leave sink
	say filter "drop $RUN 5"
	wait_exit source
	[ "$status" -eq 0 ]
	[ "$(committed)" = 5 ]
}

@test "by order, a tail that nobody has acknowledged is told and no failure" {
	topic_with 5
	reads source --account order
	come sink sink
	wait_lines source.out 5
	say sink "final $RUN 3"
	stop source
	heard sink "end $RUN 5"
	say sink bye
	leave sink
	wait_exit source
	[ "$status" -eq 0 ]
	grep -q "2 records behind the last acknowledged one" source.err
	[ "$(committed)" = 3 ]
}

@test "an end of its own keeps its status" {
	topic_with 3
	reads source --idle-exit 5s
	come sink sink
	heard sink "end $RUN 3"
	say sink "final $RUN 1-3"
	wait_exit source
	[ "$status" -eq 99 ]
	[ "$(committed)" = 3 ]
}

@test "a sink that comes late to an empty topic is told the end, even when filters have gone" {
	topic_with 0
	spawn source kread -e --ack ack "$topic" </dev/null
	come filter filter
	heard filter "end $RUN 0"
	say filter bye
	leave filter
	come sink sink
	heard sink "end $RUN 0"
	say sink bye
	leave sink
	wait_exit source
	[ "$status" -eq 0 ]
}

@test "a sink that leaves before the end ends the source" {
	topic_with 3
	reads source
	come sink sink
	wait_lines source.out 3
	say sink "final $RUN 1-3" bye
	leave sink
	wait_exit source
	[ "$status" -eq 111 ]
	grep -q "the sink has gone" source.err
	[ "$(committed)" = 3 ]
}

@test "uncommitted records cannot be asked for where positions follow acknowledgements" {
	run -100 kread -g g --ack ack -X isolation.level=read_uncommitted topic
	[[ $output == *isolation.level* ]]
	[ ! -e ack ]
}

@test "a sink that comes late to a short reading is told the end" {
	topic_with 3
	spawn source kread -e --ack ack "$topic" </dev/null
	wait_lines source.out 3
	come sink sink
	heard sink "end $RUN 3"
	say sink "final $RUN 1-3"
	wait_exit source
	[ "$status" -eq 0 ]
}

@test "a second signal ends it with 111" {
	topic_with 3
	reads source --drain 10m
	come sink sink
	wait_lines source.out 3
	stop source
	heard sink "end $RUN 3"
	stop source
	wait_exit source
	[ "$status" -eq 111 ]
}

@test "a sink that goes without a word stops the source; what is final is committed" {
	topic_with 5
	reads source
	come filter filter
	come sink sink
	wait_lines source.out 5
	say sink "final $RUN 1-3"
	wait_for '[ "$(committed)" = 3 ]'
	say sink "final $RUN 4"
	leave sink
	wait_exit source
	[ "$status" -eq 111 ]
	grep -q "the sink has gone" source.err
	grep -q "1 record was not acknowledged, namely topic '$topic', partition 0, offset 4" source.err
	[ "$(committed)" = 4 ]
	run ! grep -q end peer-filter.out
}

@test "a reader of standard output that goes: what becomes final still is committed" {
	topic_with 5
	mkfifo pipe
	spawn source sh -c 'exec kread -g "$0" --ack ack "$1" >pipe' "$group" "$topic" </dev/null
	exec 7<pipe
	come sink sink
	for _ in 1 2 3 4 5; do read -r _ <&7; done
	exec 7<&-
	wait_file_contains source.err "the reader of standard output has gone"
	say sink "final $RUN 1-5"
	wait_exit source
	[ "$status" -eq 111 ]
	[ "$(committed)" = 5 ]
	run ! grep -q end peer-sink.out
}

@test "with --commit written and a socket, what a reader that goes has not been given is not committed" {
	topic_with 0
	seq -f "%.0f $(printf '%02000d' 0)" 1000 | kproduce "$topic"
	mkfifo pipe
	spawn source sh -c 'exec kread --raw -g "$0" --commit written --ack ack "$1" >pipe' \
		"$group" "$topic" </dev/null
	exec 7<pipe
	head -c 1000 <&7 >seen
	wait_for '[ -n "$(committed)" ]'
	exec 7<&-
	wait_exit source
	[ "$status" -eq 111 ]
	# No more than the pipe took: a record is over 2000 bytes long.
	[ "$(committed)" -le $(((262144 + 1000) / 2000)) ]
}

# ---- the window ----

@test "a full window pauses reading until it is committed, and membership is kept" {
	topic_with 100
	reads source --window 10 -X max.poll.interval.ms=4000 "${SHORT_SESSION[@]}"
	come sink sink
	wait_lines source.out 10
	# Longer than a member may be silent.
	wait_for "[ \$SECONDS -ge $((SECONDS + 6)) ]"
	[ "$(wc -l <source.out)" -eq 10 ]
	say sink "final $RUN 2-10"
	come filter filter
	say filter "drop $RUN 11"
	wait_exit peer-filter # garbage: nothing came behind the window
	say sink "final $RUN 1"
	wait_lines source.out 20
	say sink "final $RUN 11-15"
	wait_lines source.out 25
	say sink "final $RUN 16-25"
	wait_lines source.out 35
	[ "$(wc -l <source.out)" -eq 35 ]
	run ! grep -v "^kread: warning: closed" source.err
	stop source KILL
	wait_exit source
	[ "$(committed)" = 25 ]
}

@test "by order, a filter that drops more than a window does not stop the pipeline" {
	topic_with 30000
	reads source --account order --window 10
	come sink sink
	wait_lines source.out 10
	say sink idle
	wait_lines source.out 30000
	say sink "final $RUN 15000"
	wait_for '[ "$(committed)" = 15000 ]'
	say sink idle "final $RUN 29999"
	wait_for '[ "$(committed)" = 29999 ]'
}

@test "without a group the window holds nobody" {
	topic_with 300000
	spawn source kread --ack ack -e "$topic" </dev/null
	come sink sink
	wait_lines source.out 300000
	heard sink "end $RUN 300000"
	say sink "final $RUN 37857-300000"
	wait_exit source
	[ "$status" -eq 0 ]
}

# bats test_tags=load
@test "what a filter swallows is named after 30 s, by topic, partition and offset" {
	topic_with 8
	reads source --metrics m.prom
	come sink sink
	wait_lines source.out 8
	say sink "final $RUN 1-2 5-6"
	wait_file_contains source.err "topic '$topic', partition 0, offset 2: a program"
	[[ $(<source.err) == *"kread: 2 records have not been acknowledged for 30 s"*evsel*evbatch*"--account order" ]]
	wait_file_contains m.prom "evpipe_stalled_records{pipeline=\"evpipe\"} 2"
	wait_file_contains m.prom "evpipe_open_records{pipeline=\"evpipe\"} 4"
	say sink idle
	wait_file_contains m.prom "evpipe_stalled_records{pipeline=\"evpipe\"} 4"
	[ "$(wc -l <source.err)" -eq 1 ]
	say sink "final $RUN 3-4 7-8"
	wait_file_contains m.prom "evpipe_stalled_records{pipeline=\"evpipe\"} 0"
	wait_file_contains m.prom "evpipe_delivery_seconds_count{pipeline=\"evpipe\"} 8"
	[ "$(committed)" = 8 ]
}

# ---- rebalances ----

# two_members ARGUMENT…: one has read 40 records of four partitions when two joins.
two_members() {
	topic_with 40 4
	reads one -v --drain 1m "$@"
	come sink1 sink
	RUN1=$RUN
	wait_lines one.out 40
	ACK=ack2 reads two -v --drain 1m "$@"
	ACK=ack2 come sink2 sink
	RUN2=$RUN
}

@test "what is taken away is waited for, and then committed: nothing comes twice" {
	two_members
	wait_file_contains one.err "4 partitions are to be given up"
	say sink1 "final $RUN1 1-39"
	more 41 80 4
	run ! grep -q "were taken away" one.err
	run ! grep -q "were assigned" two.err
	say sink1 "final $RUN1 40"
	wait_file_contains two.err "2 partitions were assigned"
	wait_for '[ "$(cat one.out two.out | wc -l)" -ge 80 ]'
	[ "$(jq -r .payload one.out two.out | sort -n | xargs)" = "$(seq 80 | xargs)" ]
	say sink1 "final $RUN1 41-$(wc -l <one.out)"
	say sink2 "final $RUN2 1-$(wc -l <two.out)"
	for member in one two; do
		stop $member
		wait_exit $member
		[ "$status" -eq 0 ]
	done
}

@test "by the cooperative protocol, too, and what is kept goes on" {
	two_members -X partition.assignment.strategy=cooperative-sticky
	wait_file_contains one.err "2 partitions are to be given up"
	more 41 80 4
	run ! grep -qE "[1-4] partitions? (was|were) assigned" two.err
	say sink1 "final $RUN1 1-40"
	wait_file_contains two.err "2 partitions were assigned"
	wait_lines one.out 60
	wait_lines two.out 20
	[ "$(jq -r .payload one.out two.out | sort -n | xargs)" = "$(seq 80 | xargs)" ]
	say sink1 "final $RUN1 41-60"
	say sink2 "final $RUN2 1-20"
	for member in one two; do
		stop $member
		wait_exit $member
		[ "$status" -eq 0 ]
	done
}

# bats test_tags=load
@test "by the cooperative protocol, nothing of what is kept is passed over or comes twice" {
	local i topic group
	topic=$(new_topic 6)
	group=$(unique)
	seq 30000 | kproduce "$topic"
	cc -shared -fPIC -o slow-lock.so "$ROOT/tests/bats/slow-lock.c"
	set -- -g "$group" --commit written -X partition.assignment.strategy=cooperative-sticky \
		-X session.timeout.ms=6000 -X heartbeat.interval.ms=200 "$topic"
	spawn one env LD_PRELOAD="$PWD/slow-lock.so" kread "$@" </dev/null
	wait_for '[ "$(wc -l <one.out)" -ge 500 ]'
	for i in 1 2 3; do
		spawn "two$i" kread -v --rate 10 "$@" </dev/null
		wait_for "grep -qE '[1-9] partitions? (was|were) assigned' two$i.err"
		stop "two$i"
		wait_exit "two$i"
	done
	stop one
	wait_exit one
	# partition and offset of each
	sed 's/.*"partition":\([0-9]*\),"offset":\([0-9]*\),.*/\1 \2/' one.out >one.at
	sed 's/.*"partition":\([0-9]*\),"offset":\([0-9]*\),.*/\1 \2/' two?.out |
		sort -u -k1n -k2n - one.at |
		awk '$2 != want[$1] + 0 { print "missing before", $0 } { want[$1] = $2 + 1 }' >missing
	awk '$1 in last && $2 == last[$1] { print "twice", $0 } { last[$1] = $2 }' one.at >twice
	cat missing twice >&2
	[ ! -s missing ]
	[ ! -s twice ]
}

@test "what is not acknowledged in time is given up, and comes again" {
	two_members --metrics m.prom -X max.poll.interval.ms=4000 "${SHORT_SESSION[@]}"
	wait_file_contains one.err "40 records of partitions that were taken away are not acknowledged"
	wait_file_contains two.err "2 partitions were assigned"
	wait_for '[ "$(cat one.out two.out | wc -l)" -ge 80 ]'
	say sink1 "final $RUN1 1-40"
	wait_for '[ "$(cat m.prom | grep late_reports_total{ | cut -d" " -f2)" = 40 ]'
	# What the sink said of the first assignment commits nothing of the second.
	say sink1 "final $RUN1 41-$(wc -l <one.out)"
	stop one
	wait_exit one
	[ "$status" -eq 0 ]
	stop two KILL
	wait_exit two
	for p in 0 1 2 3; do PARTITION=$p committed; done >positions
	[ "$(xargs <positions)" = "10 10" ]
}

@test "who has lost its partitions commits nothing of them" {
	topic_with 10
	reads one -v "${SHORT_SESSION[@]}"
	come sink1 sink
	RUN1=$RUN
	wait_lines one.out 10
	stop one STOP
	ACK=ack2 reads two -v
	ACK=ack2 come sink2 sink
	wait_lines two.out 10
	say sink2 "final $RUN 1-10"
	wait_for '[ "$(committed)" = 10 ]'
	stop one CONT
	say sink1 "final $RUN1 1-3"
	wait_file_contains one.err "taken away"
	say sink1 "final $RUN1 4"
	stop one
	wait_exit one
	[ "$status" -eq 0 ]
	[ "$(committed)" = 10 ]
}

# ---- rsub ----

# subscribed ARGUMENT…: an rsub of channel c, as source, that listens on ./ack.
subscribed() {
	redis_start
	spawn source sh -c 'exec 5>ready; exec rsub --ready-fd 5 --ack ack "$@" c' sh "$@" </dev/null
	wait_lines ready 1
}

@test "rsub numbers its records, waits for nobody, and at the end for all" {
	subscribed
	for i in 1 2 3; do rcli publish c "$i"; done
	wait_lines source.out 3
	come sink sink
	[ "$(jq -r .seq source.out | xargs)" = "$RUN:1 $RUN:2 $RUN:3" ]
	stop source
	heard sink "end $RUN 3"
	say sink "final $RUN 1-3"
	wait_exit source
	[ "$status" -eq 0 ]
	[ ! -s source.err ]
}

@test "rsub tells how many records a lost sink has lost" {
	subscribed
	come filter filter
	come sink sink
	for i in 1 2 3 4 5; do rcli publish c "$i"; done
	wait_lines source.out 5
	say filter "drop $RUN 2" "hello again"
	wait_exit peer-filter
	say sink "final $RUN 1"
	leave sink
	wait_exit source
	[ "$status" -eq 111 ]
	grep -q "the sink has gone" source.err
	grep -qE "[34] records were not acknowledged, the first of them number [13]; they may be lost" source.err
}

# It keeps 262144 numbers: what is acknowledged beyond them is not known any more.
@test "rsub says at most of a loss when it could not keep all numbers" {
	subscribed
	come sink sink
	rcli config set client-output-buffer-limit 'pubsub 0 0 0'
	python3 -c 'print("PUBLISH c x\r\n" * 262200, end="")' | rcli --pipe >pipe.log
	wait_lines source.out 262200
	say sink "final $RUN 1-20"
	leave sink
	wait_exit source
	[ "$status" -eq 111 ]
	grep -qE "at most 262(200|180) records were not acknowledged, the first of them number [0-9]+ at the latest; they may be lost" source.err
}

@test "rsub names what the drain has not brought, and its status is 111" {
	subscribed --drain 500ms -c 2 --metrics m.prom
	come sink sink
	rcli publish c 1
	wait_lines source.out 1
	say sink "final $RUN 1"
	wait_file_contains m.prom 'evpipe_delivery_seconds_count{pipeline="evpipe"} 1'
	rcli publish c 2
	wait_exit source
	[ "$status" -eq 111 ]
	grep -q "1 record was not acknowledged, namely number 2; it may be lost" source.err
}

@test "rsub ends with 100 when a member asks it to stop, though its reader has gone before" {
	redis_start
	mkfifo pipe
	spawn source sh -c 'exec 5>ready; exec rsub --ready-fd 5 --ack ack --drain 10m c >pipe' </dev/null
	exec 7<pipe
	wait_lines ready 1
	come sink sink
	rcli publish c x
	read -r _ <&7
	exec 7<&-
	wait_file_contains source.err "the reader of standard output has gone"
	say sink "stop the disk is full"
	wait_file_contains source.err "the disk is full"
	say sink "final $RUN 1" bye
	leave sink
	wait_exit source
	[ "$status" -eq 100 ]
}

@test "rsub says so when its reader takes the rest of its output not even in --drain" {
	redis_start
	mkfifo pipe
	exec 7<>pipe
	spawn source sh -c 'exec 5>ready; exec rsub -q --ready-fd 5 --ack ack --drain 500ms c >pipe' </dev/null
	wait_lines ready 1
	head -c 500000 /dev/zero | tr '\0' x | rcli -x publish c
	wait_for '[ "$(cat /proc/$(pid_of source)/wchan)" != 0 ]'
	stop source
	wait_exit source
	exec 7<&-
	[ "$status" -eq 111 ]
	[ "$(cat source.err)" = "rsub: stopped before all output was written" ]
}

@test "rsub without a sink ends as it would without a socket" {
	subscribed
	rcli publish c x
	wait_lines source.out 1
	stop source
	wait_exit source
	[ "$status" -eq 0 ]
	[ ! -s source.err ]
}
