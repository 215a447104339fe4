#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# kcheck: topics, groups and all of a cluster, beside what kcat says of them.

# shellcheck disable=SC2154 # run sets stderr
load helpers

setup_file() {
	kafka_start
}

# check STATUS OPTION…: kcheck ends so. Its output is in out, and as JSON in json.
check() {
	local expected=$1 status=0
	shift
	kcheck "$@" >out 2>err || status=$?
	cat out err
	[ "$status" -eq "$expected" ]
	status=0
	kcheck --json "$@" >json 2>err || status=$?
	[ "$status" -eq "$expected" ]
}

# of KIND FILTER: from the objects in json that have a member KIND.
of() {
	jq -c "select(.$1) | $2" json
}

@test "-t: partitions, leaders, replicas in sync, offsets" {
	topic=$(new_topic 3) other=$(new_topic)
	seq 7 | kproduce "$topic" -p 1
	check 0 -t "$topic" -t "$other"
	grep -qx "good  topic $topic  3 partitions  min.insync.replicas 1" out
	grep -qx '  partition 1  leader 1  replicas 1  in sync 1  offsets 0 to 7' out
	[ "$(of topic '[.topic, .ok, .verdict, .min_insync_replicas, (.partitions | length)]')" = "\
[\"$topic\",true,\"good\",1,3]
[\"$other\",true,\"good\",1,1]" ]
	[ "$(of topic .partitions | head -n 1 | jq -c '.[1]')" = \
		'{"partition":1,"leader":1,"replicas":[1],"isr":[1],"begin":0,"end":7}' ]
}

@test "-t of a topic that does not exist, and of a name that cannot be one" {
	topic=$(new_topic)
	check 111 -t "$topic" -t none-such
	grep -qx "verdict: topic 'none-such' does not exist in this cluster" out
	grep -q '^remedy: kafka-topics.sh --create --topic none-such' out
	[ "$(of topic '[.topic, .ok]')" = "[\"$topic\",true]
[\"none-such\",false]" ]
	# It was not made by being asked for.
	check 111 -t none-such
	check 100 -t 'a b'
	grep -qx "verdict: 'a b' cannot be a topic's name" out
}

@test "-t of a topic that takes no writes: too few replicas in sync" {
	topic=$(new_topic 1 min.insync.replicas=2)
	check 111 -t "$topic"
	grep -q "^verdict: topic '$topic': partition 0 has 1 of 1 replica in sync, and min.insync.replicas is 2" out
	grep -q "^remedy: .*--alter --topic $topic --add-config min.insync.replicas=1" out
}

@test "--offsets: the offset at a time, as kcat -Q has it" {
	topic=$(new_topic)
	for time in 1000 2000 3000; do
		echo "{\"payload\":\"x\",\"ts\":$time}" | kwrite -t "$topic"
	done
	for time in 0 1000 1001 3000; do
		check 0 -t "$topic" --offsets "@$time"
		[ "$(of topic '.partitions[0].offset')" = "$(kcat -Q -b "$KAFKA_BROKERS" -t "$topic:0:$time" |
			sed 's/.* offset //')" ]
	done
	check 0 -t "$topic" --offsets @3001
	[ "$(of topic '.partitions[0].offset')" = null ]
	grep -q 'offsets 0 to 3  at that time -$' out
	check 0 -t "$topic" --offsets end
	[ "$(of topic '.partitions[0].offset')" = 3 ]
	check 0 -t "$topic" --offsets beginning
	[ "$(of topic '.partitions[0].offset')" = 0 ]
	for wrong in x @ @x -1 ''; do run -100 kcheck -t "$topic" "--offsets=$wrong"; done
	run -100 kcheck --offsets @0
}

@test "-L: the cluster and all topics, as kcat -L has them" {
	topic=$(new_topic 5)
	kcheck --json -L >json || true # topics of other tests may be ill
	kcheck -L >out || true
	kcat -J -L -b "$KAFKA_BROKERS" >meta
	[ "$(of cluster '[.controller, .brokers[0].id, .brokers[0].host]')" = '[1,1,"127.0.0.1"]' ]
	grep -q '^cluster [^ ]*  1 broker$' out
	grep -q '^  broker 1  127.0.0.1:[0-9]*  controller$' out
	of topic '[.topic, [.partitions[] | [.partition, .leader, .replicas, .isr]]]' | grep -F "\"$topic\"" >ours
	jq -c '.topics[] | [.topic, [.partitions[] | [.partition, .leader, [.replicas[].id], [.isrs[].id]]]]' meta |
		grep -F "\"$topic\"" | cmp - ours
}

# Kafka leaves out of its list what the user may not DESCRIBE, and does not say so.
@test "-L: where no topic is named it is said why that may be" {
	kmock_start
	run -0 kcheck -L
	[ "${lines[3]}" = 'no topic (Kafka names those alone that the user may DESCRIBE)' ]
	run -0 kcheck
	[[ $output != *"no topic"* ]]
}

@test "-g: state, members, positions, lag" {
	topic=$(new_topic 2) group=$(unique g)
	seq 10 | kproduce "$topic" -p 0
	"$ROOT/tests/kafka/topics" "$KAFKA_BROKERS" commit "$group" "$topic" 0 4
	check 0 -g "$group"
	grep -qx "good  group $group  Empty  coordinator 1 at $KAFKA_BROKERS  0 members  lag 6" out
	grep -qx "  $topic 0  committed 4  end 10  lag 6" out
	grep -qx "note: group '$group' has no member: nobody reads" out
	[ "$(of group '[.ok, .state, .coordinator, .lag, .members, .positions]')" = "\
[true,\"Empty\",1,6,[],[{\"topic\":\"$topic\",\"partition\":0,\"committed\":4,\"end\":10,\"lag\":6}]]" ]
	spawn reader kread --commit never -g "$group" "$topic"
	wait_lines reader.out 6
	check 0 -g "$group"
	grep -q "^good  group $group  Stable .*  1 member  lag " out
	grep -qx "  member evpipe-kread /127.0.0.1 reads $topic 0 1" out
	[ "$(of group '[.state, (.members[0].partitions | length)]')" = '["Stable",2]' ]
	# What is read and has no position stands there, too.
	[ "$(of group '.positions[1]')" = "{\"topic\":\"$topic\",\"partition\":1,\"committed\":null,\"end\":0,\"lag\":null}" ]
	grep -qx "  $topic 1  committed -  end 0  lag -" out
	grep -qx "note: group '$group' has no position yet in 1 of the partitions that it reads" out
}

@test "-g: a position that is none any more is noted" {
	topic=$(new_topic) group=$(unique g)
	seq 10 | kproduce "$topic" -p 0
	"$ROOT/tests/kafka/topics" "$KAFKA_BROKERS" trim "$topic" 0 5
	"$ROOT/tests/kafka/topics" "$KAFKA_BROKERS" commit "$group" "$topic" 0 4
	check 0 -g "$group"
	grep -q "has the position 4 in topic '$topic', partition 0, which is before the beginning, 5: what it has not read there was deleted$" out
	"$ROOT/tests/kafka/topics" "$KAFKA_BROKERS" commit "$group" "$topic" 0 11
	check 0 -g "$group"
	[ "$(of group .note)" = "\"group '$group' has no member: nobody reads; has the position 11 in topic '$topic', partition 0, \
which is beyond the end, 10: the topic was truncated, or made anew\"" ]
}

@test "-g of a group that does not exist yet is a note" {
	check 0 -g none-such
	grep -qx "note: group 'none-such' does not exist yet: it has no member and no position" out
	[ "$(tail -n 1 out)" = 'verdict: good' ]
}

@test "no broker can be asked: the status is the listener's" {
	check 111 -b 127.0.0.1:1 -t x -g y
	grep -qx "verdict: topic 'x': no broker can be asked" out
	grep -qx "verdict: group 'y': no broker can be asked" out
	[ "$(wc -l <err)" -eq 1 ]
	[[ $(cat err) == *'connection refused'* ]]
}

@test "--names: all topics, and all groups" {
	topic=$(new_topic)
	seq 3 | kproduce "$topic"
	kread -q -g "names-$topic" --commit written -e "$topic" >/dev/null
	kcheck --names topics >out
	grep -qx "$topic" out
	sort -c out
	kcheck --names groups >out
	grep -qx "names-$topic" out
	export XDG_CACHE_HOME=$T
	wait_for '"$ROOT/completions/complete" kread -g "names-" | grep -q "^names-'"$topic"'"'
	run -100 --separate-stderr kcheck --names brokers
	[[ $stderr == *"--names takes topics or groups, not 'brokers'"* ]]
	run -100 kcheck --names topics -t x
	run -111 --separate-stderr kcheck --names topics -b 127.0.0.1:1
	[ -z "$output" ]
	run -111 sh -c 'kcheck --names topics >/dev/full'
}

@test "names that a terminal would obey are shown harmless; names beyond Kafka's length are refused" {
	topic=$(new_topic 1)
	group=$(unique g)$'\e[31m\nx'
	spawn reader kread -q --commit never -g "$group" -X client.id=$'c\e]0;title\a' "$topic" </dev/null
	wait_for 'kcheck -g "$group" >out 2>err && grep -q "  member c?.0;title? .* reads $topic 0" out'
	grep -q '^good  group .*?\[31m?x  Stable ' out
	run -1 grep -qP '[^\n -~]' out
	stop reader
	wait_exit reader
	for option in -t -g; do
		run -100 kcheck "$option" "$(printf '%033000d' 0)"
		[ "$output" = "kcheck: $option: a name has at most 32767 bytes; try 'kcheck --help'" ]
	done
}

# mute API TIMES: a way to the broker on which a request of this kind is passed on so often, and then swallowed.
mute() {
	spawn "mute$1" python3 -uc 'import socket, struct, sys, threading
port, api, times = map(int, sys.argv[1:])
def back(b, a):
    while data := b.recv(65536):
        a.sendall(data)
def serve(a):
    left, stream, b = times, a.makefile("rb"), socket.create_connection(("127.0.0.1", port))
    threading.Thread(target=back, args=(b, a), daemon=True).start()
    while head := stream.read(4):
        body = stream.read(struct.unpack(">i", head)[0])
        if struct.unpack(">h", body[:2])[0] == api:
            left -= 1
        if left >= 0:
            b.sendall(head + body)
s = socket.create_server(("127.0.0.1", 0))
print(s.getsockname()[1])
while True:
    threading.Thread(target=serve, args=(s.accept()[0],), daemon=True).start()' "${KAFKA_BROKERS##*:}" "$@" </dev/null
	wait_lines "mute$1.out" 1
	MUTE=(-b "$KAFKA_BROKERS" --resolve "$KAFKA_BROKERS:127.0.0.1:$(<"mute$1.out")" --timeout 6s)
}

# bats test_tags=once
@test "a question about a group or a topic that is not answered in time is 99, and told" {
	local api who
	topic=$(new_topic)
	kproduce "$topic" <<<1
	run -0 kread -g late --commit written -e "$topic"
	for api in 10 15 9; do
		mute "$api" 0
		run -99 kcheck "${MUTE[@]}" -g late
		who='its coordinator'
		[ "$api" != 10 ] || who='the broker that was asked for its coordinator'
		[[ ${lines[-1]} == *"group 'late': $who does not answer within --timeout"* ]]
	done
	mute 3 1
	run -99 kcheck "${MUTE[@]}" -t "$topic"
	[[ ${lines[-1]} == *"topic '$topic': the broker that was asked does not answer within --timeout"* ]]
}
