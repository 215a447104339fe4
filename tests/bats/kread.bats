#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# kread on a real Kafka.

load helpers

setup_file() {
	kafka_start
	export HIDDEN=nobody-$RANDOM.invalid
	range_topic
}

# Partitions 0 and 1 of $RANGE have ten records each, five of three hours ago, a second apart, and
# five of half an hour ago; partition 2 has none. Payloads are PARTITION.OFFSET.
range_topic() {
	local p i now ms
	RANGE=$(new_topic 3)
	now=$(date +%s000)
	OLD_MS=$((now - 3 * 3600000))
	for p in 0 1; do
		for i in {0..9}; do
			ms=$((OLD_MS + i * 1000))
			[ "$i" -lt 5 ] || ms=$((now - 1800000))
			printf '{"partition":%d,"ts":%d,"payload":"%d.%d"}\n' $p $ms $p "$i"
		done
	done | kwrite -t "$RANGE" -p keep
	export RANGE OLD_MS
}

# payloads OPTION…: the payloads that kread then finds in $RANGE, in the order of their names.
payloads() {
	kread "$@" "$RANGE" >payloads.out
	jq -r .payload payloads.out | sort -V | xargs
}

# numbered FROM TO: lines of some length, more than pipes hold when there are thousands of them.
numbered() {
	seq -f "%.0f $(printf '%0200d' 0)" "$1" "$2"
}

# spread TOPIC: one message a line, over all partitions.
spread() {
	awk '{ print NR ":" $0 }' | kproduce "$1" -K:
}

# spawn_ready NAME ARGUMENT…: a kread in the background that has its partitions.
spawn_ready() {
	local name=$1
	shift
	spawn "$name" sh -c 'exec 5>"$0"; exec kread --ready-fd 5 "$@"' "$name.ready" "$@" </dev/null
	wait_lines "$name.ready" 1
}

# spawn_stuck NAME ARGUMENT…: a kread that writes into a pipe which nobody reads but from descriptor 7.
spawn_stuck() {
	local name=$1
	shift
	mkfifo "$name.pipe"
	spawn "$name" sh -c 'exec kread "$@" >"$0"' "$name.pipe" "$@" </dev/null
	exec 7<"$name.pipe"
}

ALL="0.0 0.1 0.2 0.3 0.4 0.5 0.6 0.7 0.8 0.9 1.0 1.1 1.2 1.3 1.4 1.5 1.6 1.7 1.8 1.9"

# ---- from where ----

@test "it begins at the beginning when nothing is said" {
	[ "$(payloads -e)" = "$ALL" ]
}

@test "-o beginning begins with the first record" {
	[ "$(payloads -e -o beginning)" = "$ALL" ]
}

@test "-o N begins at that offset of each partition" {
	[ "$(payloads -e -o 8)" = "0.8 0.9 1.8 1.9" ]
}

@test "-o +N leaves out the first N of each partition" {
	[ "$(payloads -e -o +7)" = "0.7 0.8 0.9 1.7 1.8 1.9" ]
}

@test "-o -N reads the last N of each partition" {
	[ "$(payloads -e -o -2)" = "0.8 0.9 1.8 1.9" ]
}

@test "-o -N reads all of a partition that has fewer" {
	[ "$(payloads -e -o -1000)" = "$ALL" ]
}

@test "-o @MS begins with the first record of that time" {
	[ "$(payloads -e -o "@$((OLD_MS + 3000))")" = "0.3 0.4 0.5 0.6 0.7 0.8 0.9 1.3 1.4 1.5 1.6 1.7 1.8 1.9" ]
}

@test "-o @ISO begins with the first record of that time" {
	iso=$(date -u -d "@$((OLD_MS / 1000 + 4))" +%FT%TZ)
	[ "$(payloads -e -o "@$iso")" = "0.4 0.5 0.6 0.7 0.8 0.9 1.4 1.5 1.6 1.7 1.8 1.9" ]
}

@test "-o @ with ten digits takes seconds, and --until too" {
	s=$((OLD_MS / 1000 + 2))
	[ "$(payloads -e -o "@$s")" = "$(payloads -e -o "@${s}000")" ]
	[ "$(payloads -o "@$s" --until "@$((s + 2))")" = "0.2 0.3 1.2 1.3" ]
}

@test "a time before 1990 is warned of" {
	run -0 kread -e -o @99999999999 "$RANGE"
	[[ $output == "kread: warning: -o: '@99999999999' is a time before 1990: milliseconds since the epoch have 13 digits"* ]]
	run -0 --separate-stderr kread -e -o @0 "$RANGE"
	# shellcheck disable=SC2154 # run sets it
	[ -z "$stderr" ]
}

@test "the words and forms of kcat and rpk are taken" {
	local word
	for word in beginning earliest oldest start; do
		[ "$(payloads -e -o "$word")" = "$ALL" ]
	done
	for word in end latest newest; do
		[ -z "$(payloads -e -o "$word")" ]
		[ "$(payloads --until "$word")" = "$ALL" ]
	done
	ms=$((OLD_MS + 2000))
	[ "$(payloads -o "s@$ms" --until "e@$((ms + 2000))")" = "0.2 0.3 1.2 1.3" ]
	run -100 kread -e -o "e@$ms" "$RANGE"
	run -100 kread --until "s@$ms" "$RANGE"
}

@test "-o @-1h begins an hour ago" {
	[ "$(payloads -e -o @-1h)" = "0.5 0.6 0.7 0.8 0.9 1.5 1.6 1.7 1.8 1.9" ]
}

@test "-o end -e reads nothing and ends" {
	run -0 kread -e -o end "$RANGE"
	[ -z "$output" ]
}

@test "-o end reads what comes from now on" {
	topic=$(new_topic)
	seq 3 | kproduce "$topic"
	spawn_ready tail --raw -o end "$topic"
	echo new | kproduce "$topic"
	wait_lines tail.out 1
	[ "$(cat tail.out)" = new ]
}

@test "an offset that does not exist yet leaves out the records up to it" {
	topic=$(new_topic)
	seq 0 3 | kproduce "$topic"
	spawn_ready later --raw -o 6 "$topic"
	seq 4 9 | kproduce "$topic"
	wait_lines later.out 4
	[ "$(xargs <later.out)" = "6 7 8 9" ]
}

@test "a place that is none is refused" {
	for from in middle +x @yesterday ''; do
		run -100 kread -e -o "$from" "$RANGE"
		[[ $output == "kread: -o"* ]]
	done
}

# ---- until where ----

@test "--until beginning reads nothing and ends" {
	run -0 kread --until beginning "$RANGE"
	[ -z "$output" ]
}

@test "--until end reads all and ends" {
	[ "$(payloads --until end)" = "$ALL" ]
}

@test "--until N ends before that offset of each partition" {
	[ "$(payloads --until 2)" = "0.0 0.1 1.0 1.1" ]
}

@test "--until beyond the end stops at the end as it stood at the start" {
	[ "$(payloads --until 100)" = "$ALL" ]
	[ "$(payloads --until @2099-01-01)" = "$ALL" ]
}

@test "--until +N ends after the first N of each partition" {
	[ "$(payloads --until +1)" = "0.0 1.0" ]
}

@test "--until -N ends before the last N of each partition" {
	[ "$(payloads --until -8)" = "0.0 0.1 1.0 1.1" ]
}

@test "--until @MS ends before the first record of that time" {
	[ "$(payloads --until "@$((OLD_MS + 2000))")" = "0.0 0.1 1.0 1.1" ]
}

@test "--until @ISO ends before the first record of that time" {
	iso=$(date -u -d "@$((OLD_MS / 1000 + 3))" +%FT%TZ)
	[ "$(payloads --until "@$iso")" = "0.0 0.1 0.2 1.0 1.1 1.2" ]
}

@test "--until @-1h ends before the records of the last hour" {
	[ "$(payloads --until @-1h)" = "0.0 0.1 0.2 0.3 0.4 1.0 1.1 1.2 1.3 1.4" ]
}

@test "-o and --until together read what is between" {
	[ "$(payloads -o 3 --until 5)" = "0.3 0.4 1.3 1.4" ]
}

@test "--until a past time ends though nothing newer is there" {
	[ "$(payloads --until @-1m)" = "$ALL" ]
}

@test "--until an offset that does not exist yet ends at the end" {
	[ "$(payloads --until 1000)" = "$ALL" ]
}

@test "--until ends on a topic without a record" {
	topic=$(new_topic 2)
	for until in beginning end 5 +5 -5 @0 @-1h; do
		run -0 kread --until "$until" "$topic"
		[ -z "$output" ]
	done
}

@test "--until before -o is refused" {
	local range
	for range in "5 3" "90 39" "+5 +3" "-3 -5" "end -1" "@1700000002 @1700000001" "@-1h @-2h"; do
		run -100 kread -o "${range% *}" --until "${range#* }" "$RANGE"
		[[ ${lines[0]} == "kread: --until ${range#* } comes before -o ${range% *}: there is nothing between"* ]]
	done
	run -0 --separate-stderr kread -o 5 --until 5 "$RANGE"
	[ -z "$output" ]
}

# ---- when to stop ----

@test "-e leaves out what came after the start" {
	topic=$(new_topic)
	numbered 1 3000 | kproduce "$topic"
	spawn_stuck stuck --raw -e "$topic"
	head -c 150000 <&7 >first
	numbered 3001 3100 | kproduce "$topic"
	cat <&7 >rest
	wait_exit stuck
	[ "$status" -eq 0 ]
	[ "$(cat first rest | md5sum)" = "$(numbered 1 3000 | md5sum)" ]
}

# bats test_tags=newest
@test "-e in a group leaves out what came after the assignment" {
	topic=$(new_topic)
	group=$(unique)
	numbered 1 3000 | kproduce "$topic"
	spawn_stuck stuck --raw -e -g "$group" --commit written "$topic"
	head -c 150000 <&7 >first
	numbered 3001 3100 | kproduce "$topic"
	cat <&7 >rest
	wait_exit stuck
	[ "$status" -eq 0 ]
	[ "$(cat first rest | md5sum)" = "$(numbered 1 3000 | md5sum)" ]
	kread --raw -e -g "$group" --commit written "$topic" >more.out
	[ "$(md5sum <more.out)" = "$(numbered 3001 3100 | md5sum)" ]
}

@test "-e in a group ends on partitions without a record" {
	topic=$(new_topic 3)
	run -0 kread -e -g "$(unique)" --commit written "$topic" "$topic"
	[ -z "$output" ]
}

@test "-e in a group ends although a partition that it was done with goes and comes back" {
	topic=$(new_topic 2)
	group=$(unique)
	{ echo '{"partition":0,"payload":"0"}'
	seq 3000 | sed 's/.*/{"partition":1,"payload":"&"}/'; } | kwrite -t "$topic" -p keep -X batch.num.messages=50
	set -- -v -g "$group" --commit written -X heartbeat.interval.ms=200 "$topic"
	# It asks for little at a time, so that the end of partition 0 is not behind all the rest.
	spawn one kread -e --rate 50 -X group.instance.id=1 -X fetch.message.max.bytes=1000 -X queued.min.messages=1 "$@"
	wait_for 'grep -q "\"partition\":0" one.out && [ "$(wc -l <one.out)" -ge 100 ]'
	# By the order of these names the first keeps partition 0, of which there is no more.
	spawn two kread -X group.instance.id=2 "$@"
	wait_exit one
	[ "$status" -eq 0 ]
	wait_for '[ "$(cat one.out two.out | wc -l)" -ge 3001 ]'
	[ "$(cat one.out two.out | jq -r .payload | sort -n | xargs)" = "$(seq 0 3000 | xargs)" ]
	[ "$(wc -l <two.out)" -gt 0 ]
}

@test "-c stops after that many records" {
	kread -c 7 "$RANGE" >out
	[ "$(wc -l <out)" -eq 7 ]
}

@test "-c 0 reads nothing" {
	run -0 kread -c 0 "$RANGE"
	[ -z "$output" ]
}

# bats test_tags=newest
@test "-c in a group commits just what was printed" {
	group=$(unique)
	for n in 7 1 12; do
		kread -g "$group" --commit written -c $n "$RANGE" >>out
	done
	[ "$(wc -l <out)" -eq 20 ]
	[ "$(jq -r .payload out | sort -V | xargs)" = "$ALL" ]
}

@test "--idle-exit ends with 99 on a topic without a record" {
	run -99 kread --idle-exit 200ms "$(new_topic)"
	[[ $output == "kread: no record came for 200 ms" ]]
}

@test "--idle-exit prints first what there is" {
	status=0
	kread --idle-exit 5s "$RANGE" >out || status=$?
	[ "$status" -eq 99 ]
	[ "$(wc -l <out)" -eq 20 ]
}

@test "SIGTERM ends it with 0, on an idle topic too" {
	for signal in TERM INT; do
		spawn_ready idle "$RANGE"
		wait_lines idle.out 20
		stop idle $signal
		wait_exit idle
		[ "$status" -eq 0 ]
		[ "$(wc -l <idle.out)" -eq 20 ]
		[ ! -s idle.err ]
	done
}

@test "SIGTERM ends it while no broker answers" {
	spawn away kread -b "127.0.0.1:1" topic </dev/null
	wait_file_contains away.err "cannot reach broker"
	stop away
	wait_exit away
	[ "$status" -eq 0 ]
}

@test "SIGTERM lets all that was read be written, and just that is committed" {
	topic=$(new_topic)
	group=$(unique)
	numbered 1 5000 | kproduce "$topic"
	spawn_stuck stuck --raw -g "$group" --commit written "$topic"
	head -c 100000 <&7 >first
	stop stuck
	cat <&7 >rest
	wait_exit stuck
	[ "$status" -eq 0 ]
	kread --raw -e -g "$group" --commit written "$topic" >more.out
	[ -s more.out ]
	[ "$(cat first rest more.out | md5sum)" = "$(numbered 1 5000 | md5sum)" ]
}

@test "a second SIGTERM ends it with 111 when its output is stuck" {
	topic=$(new_topic)
	numbered 1 3000 | kproduce "$topic"
	spawn_stuck stuck --raw "$topic"
	head -c 1000 <&7 >first
	stop stuck
	wait_for '! grep -q "SigPnd.*[1-9a-f]" /proc/$(pid_of stuck)/status'
	wait_for 'stop stuck; ! alive $(pid_of stuck)'
	wait_exit stuck
	[ "$status" -eq 111 ]
	grep -q '^kread: stopped before all output was written$' stuck.err
	exec 7<&-
}

# ---- what it prints ----

@test "a record is what kcat -J prints" {
	topic=$(new_topic 2)
	printf '%s\n' 'k1:{"a":1}' 'k2:Grüße, "du" \ 日本 🎉' 'k3:' $'k4:tab\there' 'ключ:x' |
		kproduce "$topic" -K: -H a=1 -H a=2 -H "ü=ö"
	printf 'k:\n' | kproduce "$topic" -K: -Z
	echo plain | kproduce "$topic"
	kread -e "$topic" | jq -cS . | sort >ours
	kconsume "$topic" -J | jq -cS . | sort >theirs
	[ "$(wc -l <ours)" -eq 7 ]
	diff theirs ours
}

@test "header values may be empty, null, doubled and of any bytes" {
	topic=$(new_topic)
	headers='["a","1","a","2","e","","n",null,"b",{"b64":"/wD+"},"","x"]'
	printf '{"headers":%s,"payload":"p"}\n' "$headers" | kwrite -t "$topic"
	[ "$(kread -e "$topic" | jq -c .headers)" = "$headers" ]
}

@test "a record without headers has no such field" {
	topic=$(new_topic)
	echo x | kproduce "$topic"
	[ "$(kread -e "$topic" | jq 'has("headers")')" = false ]
}

@test "a tombstone is null and an empty payload is not" {
	topic=$(new_topic)
	printf 'k:\n' | kproduce "$topic" -K: -Z
	printf 'k:\n' | kproduce "$topic" -K:
	[ "$(kread -e "$topic" | jq -c .payload)" = $'null\n""' ]
}

@test "no key is null and an empty key is not" {
	topic=$(new_topic)
	printf '%s\n' '{"payload":"a"}' '{"key":null,"payload":"b"}' '{"key":"","payload":"c"}' |
		kwrite -t "$topic"
	[ "$(kread -e "$topic" | jq -c .key)" = $'null\nnull\n""' ]
}

@test "the time of a record is printed as it is" {
	topic=$(new_topic)
	echo '{"ts":1234567890123,"payload":"x"}' | kwrite -t "$topic"
	[ "$(kread -e "$topic" | jq -c '[.tstype, .ts]')" = '["create",1234567890123]' ]
}

@test "the time a broker gave is told from the time of creation" {
	topic=$(new_topic 1 message.timestamp.type=LogAppendTime)
	echo x | kproduce "$topic"
	[ "$(kread -e "$topic" | jq -r .tstype)" = logappend ]
}

@test "a key or payload that is not UTF-8 comes as base64" {
	topic=$(new_topic)
	printf '\xffkey:pay\xfeload\n' | kproduce "$topic" -K:
	[ "$(kread -e "$topic" | jq -c '[.key_b64, .payload_b64, has("key"), has("payload")]')" = \
		"[\"$(printf '\xffkey' | base64)\",\"$(printf 'pay\xfeload' | base64)\",false,false]" ]
}

@test "-j prints an object byte for byte, big numbers too" {
	topic=$(new_topic)
	payload='{ "id" :12345678901234567890123, "x":1.10,"y":1E400, "z":[ 1.0 ,{}],"a":1,"a":2}'
	echo "$payload" | kproduce "$topic"
	[[ $(kread -j -e "$topic") == *",\"payload\":$payload}" ]]
}

@test "-j prints an array inline" {
	topic=$(new_topic)
	echo '[1, 9007199254740993]' | kproduce "$topic"
	[[ $(kread -j -e "$topic") == *',"payload":[1, 9007199254740993]}' ]]
}

@test "-j leaves what is no JSON object or array a string" {
	topic=$(new_topic)
	printf '%s\n' '{"a":' '{a}' 12 '"s"' null '{} x' ' {}' '[1]]' '{"a":"\x"}' >in
	kproduce "$topic" <in
	kread -j -e "$topic" >out
	[ "$(jq -r '.payload | type' out | sort -u)" = string ]
	[ "$(jq -r .payload out)" = "$(cat in)" ]
}

@test "-j leaves JSON with a raw line break a string" {
	topic=$(new_topic)
	printf '{"a":\n1}' >lf
	printf '{"a":\r1}' >cr
	kproduce "$topic" lf cr
	kread -j -e "$topic" >out
	[ "$(wc -l <out)" -eq 2 ]
	[ "$(jq -c .payload out)" = $'"{\\"a\\":\\n1}"\n"{\\"a\\":\\r1}"' ]
}

@test "-j leaves bytes that are not UTF-8 to base64" {
	topic=$(new_topic)
	printf '{"a":"\xff"}\n' | kproduce "$topic"
	[ "$(kread -j -e "$topic" | jq -r .payload_b64)" = "$(printf '{"a":"\xff"}' | base64)" ]
}

@test "without -j a payload is always a string" {
	topic=$(new_topic)
	echo '{"a":1}' | kproduce "$topic"
	[ "$(kread -e "$topic" | jq -r .payload)" = '{"a":1}' ]
}

@test "--raw prints payloads alone and no tombstones" {
	topic=$(new_topic)
	printf 'k:a\nk:b\xff\n' | kproduce "$topic" -K:
	printf 'k:\n' | kproduce "$topic" -K: -Z
	printf 'k:c\n' | kproduce "$topic" -K:
	kread --raw -e "$topic" >out
	cmp out <(printf 'a\nb\xff\nc\n')
}

@test "-0 ends payloads with NUL" {
	topic=$(new_topic)
	printf 'two\nlines' >message
	kproduce "$topic" message
	echo x | kproduce "$topic"
	kread --raw -0 -e "$topic" >out
	cmp out <(printf 'two\nlines\0x\0')
}

@test "options that exclude each other are refused" {
	run -100 kread -0 -e "$RANGE"
	run -100 kread -j --raw -e "$RANGE"
	run -100 kread -e --until end "$RANGE"
	run -100 kread -g g --commit never -o end "$RANGE"
	run -100 kread -g g --commit never -p 0 "$RANGE"
	run -100 kread --commit written "$RANGE"
	[[ $output == *"-g"* ]]
}

# ---- topics and partitions ----

@test "a regular expression reads the topics that match" {
	prefix=$(unique re)
	for name in a b c; do
		"$ROOT/tests/kafka/topics" "$KAFKA_BROKERS" create "$prefix-$name" 2
		echo "$name" | kproduce "$prefix-$name"
	done
	[ "$(kread -e "^$prefix-[ab]\$" | jq -r '.topic + " " + .payload' | sort | xargs)" = \
		"$prefix-a a $prefix-b b" ]
}

# bats test_tags=newest
@test "a regular expression reads the topics that match, in a group" {
	prefix=$(unique re)
	for name in a b c; do
		"$ROOT/tests/kafka/topics" "$KAFKA_BROKERS" create "$prefix-$name" 1
		echo "$name" | kproduce "$prefix-$name"
	done
	[ "$(kread -e -g "$prefix" --commit written "^$prefix-[ab]\$" | jq -r '.topic + " " + .payload' |
		sort | xargs)" = "$prefix-a a $prefix-b b" ]
}

@test "several topics are read together" {
	one=$(new_topic)
	two=$(new_topic)
	echo 1 | kproduce "$one"
	echo 2 | kproduce "$two"
	[ "$(kread --raw -e "$one" "$two" | sort | xargs)" = "1 2" ]
}

@test "a regular expression that nothing matches is refused" {
	run -100 kread -e "^$(unique nothing)"
	[[ $output == "kread: no topic matches '^nothing-"* ]]
}

@test "a map whose topic cannot be one is refused" {
	run -100 kread -g g --commit never --offsets-from 'a/b' "$(new_topic)"
	[ "$output" = "kread: 'a/b' cannot be a topic's name, for a map" ]
}

@test "what is no regular expression is refused" {
	run -100 kread -e '^(a'
	[[ $output == "kread: '^(a' is no regular expression: "* ]]
	run -100 kread -g g --commit never '^(a'
	[[ $output == "kread: '^(a' is no regular expression: "* ]]
}

@test "-p takes lists and ranges" {
	topic=$(new_topic 7)
	for i in {0..6}; do echo "$i" | kproduce "$topic" -p "$i"; done
	[ "$(kread --raw -e -p 0,2-4,6 "$topic" | sort | xargs)" = "0 2 3 4 6" ]
}

@test "-p refuses what is no list of partitions" {
	for list in x 1- 3-1 1,,2 '1,' ''; do
		run -100 kread -e -p "$list" "$RANGE"
		[[ $output == "kread: -p "* ]]
	done
}

# bats test_tags=newest
@test "-p refuses a partition the topic does not have" {
	run -100 kread -e -p 0,3 "$RANGE"
	[[ $output == "kread: topic '$RANGE' has no partition 3"* ]]
}

@test "a topic that does not exist is refused by its name" {
	topic=$(unique none)
	run -100 kread -e "$topic"
	[[ $output == "kread: topic '$topic' does not exist"* ]]
	topic=$(new_topic)
	run -100 kread -e "${topic/?/}"
	[[ $output == "kread: topic '${topic/?/}' does not exist: did you mean "*'?' ]]
	# The others say so too.
	run -1 kwrite --raw -t "${topic/?/}" <<<x
	[[ $output == "kwrite: line 1: topic '${topic/?/}' does not exist: did you mean "*'? (unknown-topic)' ]]
	run -111 kcheck -t "${topic/?/}"
	[[ $output == *"topic '${topic/?/}' does not exist in this cluster: did you mean "*'?'* ]]
	spawn group kread -g "$(unique)" --commit written "${topic/?/}"
	wait_file_contains group.err "warning: topic '${topic/?/}' does not exist; waiting for it (did you mean "
	stop group
	wait_exit group
	[ "$status" -eq 0 ]
}

@test "a name that no topic can have is refused" {
	run -100 kread -e 'a b'
	[[ $output == *"'a b'"* ]]
}

@test "the order within a partition is kept" {
	topic=$(new_topic 3)
	for p in 0 1 2; do seq 2000 | kproduce "$topic" -p $p; done
	kread -e "$topic" >out
	for p in 0 1 2; do
		[ "$(jq -r "select(.partition == $p) | .payload" out | md5sum)" = "$(seq 2000 | md5sum)" ]
	done
}

# ---- groups ----

@test "-g without --commit is refused, and both ways are named" {
	run -100 kread -g group "$RANGE"
	[[ $output == *"--commit written"*"--commit never"* ]]
}

@test "--commit takes nothing else" {
	run -100 kread -g group --commit always "$RANGE"
	[[ $output == *"'always'"* ]]
}

@test "a second run goes on where the first stopped" {
	topic=$(new_topic 3)
	group=$(unique)
	seq 1 500 | spread "$topic"
	spawn_ready first --raw -g "$group" --commit written "$topic"
	wait_lines first.out 500
	stop first
	wait_exit first
	[ "$status" -eq 0 ]
	seq 501 700 | spread "$topic"
	kread --raw -e -g "$group" --commit written "$topic" >second
	[ "$(sort -n second | md5sum)" = "$(seq 501 700 | md5sum)" ]
	[ "$(sort -n first.out | md5sum)" = "$(seq 1 500 | md5sum)" ]
}

@test "positions are committed while it runs" {
	topic=$(new_topic)
	group=$(unique)
	seq 100 | kproduce "$topic"
	spawn_ready runs --raw -g "$group" --commit written "$topic"
	wait_lines runs.out 100
	wait_for '[ "$(committed "$group" "$topic")" = 100 ]'
}

# committed GROUP TOPIC: the position of partition 0, by asking a broker for it.
committed() {
	python3 - "$KAFKA_BROKERS" "$1" "$2" <<-'EOP'
	import socket, struct, sys
	address, group, topic = sys.argv[1:]
	host, port = address.rsplit(":", 1)
	text = lambda s: struct.pack(">h", len(s)) + s.encode()
	body = text(group) + struct.pack(">i", 1) + text(topic) + struct.pack(">ii", 1, 0)
	message = struct.pack(">hhi", 9, 1, 1) + text("test") + body
	s = socket.create_connection((host, int(port)))
	s.sendall(struct.pack(">i", len(message)) + message)
	f = s.makefile("rb")
	size, = struct.unpack(">i", f.read(4))
	reply = f.read(size)
	at = 4 + 4 + 2 + len(topic) + 4 + 4
	offset, = struct.unpack_from(">q", reply, at)
	if offset >= 0:
	    print(offset)
	EOP
}

@test "what has not left the process is not committed" {
	topic=$(new_topic)
	group=$(unique)
	numbered 1 5000 | kproduce "$topic"
	spawn_stuck stuck --raw -g "$group" --commit written "$topic"
	head -c 150000 <&7 >first
	wait_for '[ -n "$(committed "$group" "$topic")" ]'
	stop stuck KILL
	cat <&7 >rest
	wait_exit stuck
	[ "$(committed "$group" "$topic")" -le "$(cat first rest | wc -l)" ]
}

@test "--commit never commits nothing" {
	topic=$(new_topic)
	group=$(unique)
	seq 10 | kproduce "$topic"
	for _ in 1 2; do
		[ "$(kread --raw -e -g "$group" --commit never "$topic" | xargs)" = "$(seq 10 | xargs)" ]
	done
	[ -z "$(committed "$group" "$topic")" ]
}

# bats test_tags=newest
@test "two members share the partitions, and each record comes once" {
	topic=$(new_topic 4)
	group=$(unique)
	seq 1 1000 | spread "$topic"
	spawn_ready one -v --raw -g "$group" --commit written "$topic"
	wait_lines one.out 1000
	spawn_ready two -v --raw -g "$group" --commit written "$topic"
	wait_file_contains one.err "2 partitions were assigned"
	wait_file_contains two.err "2 partitions were assigned"
	seq 1001 3000 | spread "$topic"
	wait_for '[ "$(cat one.out two.out | wc -l)" -ge 3000 ]'
	stop one
	wait_exit one
	[ "$status" -eq 0 ]
	stop two
	wait_exit two
	[ "$status" -eq 0 ]
	[ -s two.out ]
	[ "$(sort -n one.out two.out | md5sum)" = "$(seq 3000 | md5sum)" ]
}

@test "--follow-new reads topics that appear later, in a group too" {
	new=$(unique)
	spawn_ready plain --raw --follow-new -o end "^$new"
	spawn group kread --raw --follow-new -g "$new" --commit never "^$new" </dev/null
	"$ROOT/tests/kafka/topics" "$KAFKA_BROKERS" create "$new-late" 2
	seq 10 | kproduce "$new-late"
	wait_lines plain.out 10
	wait_lines group.out 10
	[ "$(sort -n plain.out | xargs)" = "$(seq 10 | xargs)" ]
	[ "$(sort -n group.out | xargs)" = "$(seq 10 | xargs)" ]
	stop plain
	wait_exit plain
	[ "$status" -eq 0 ]
	stop group
	wait_exit group
	[ "$status" -eq 0 ]
}

@test "a reader slower than max.poll.interval.ms costs neither the group nor a record" {
	topic=$(new_topic 2)
	group=$(unique)
	numbered 1 6000 | spread "$topic"
	spawn_stuck slow -v --raw -g "$group" --commit written -X max.poll.interval.ms=4000 \
		"${SHORT_SESSION[@]}" "$topic"
	head -c 1000 <&7 >first
	wait_for "[ \$SECONDS -ge $((SECONDS + 6)) ]"
	cat <&7 >rest &
	reader=$!
	wait_for '[ "$(cat first rest | wc -l)" -ge 6000 ]'
	run ! grep -E 'taken away|poll interval|warning' slow.err
	[ "$(grep -c 'were assigned' slow.err)" -eq 1 ]
	stop slow
	wait_exit slow
	wait "$reader"
	[ "$status" -eq 0 ]
	[ "$(cat first rest | sort -n | md5sum)" = "$(numbered 1 6000 | md5sum)" ]
	[ -z "$(kread -e -g "$group" --commit written "$topic")" ]
}

@test "a group that does not let it leave before a second signal is an end with 111, and an error" {
	kmock_start -t topic:1
	echo x | kproduce topic
	spawn_ready member -v -g group --commit never topic
	wait_lines member.out 1
	stop kmock STOP
	stop member
	wait_file_contains member.err "1 partition is to be given up"
	stop member
	wait_exit member
	[ "$status" -eq 111 ]
	grep -qxF 'kread: left the group without its answer' member.err
}

# ---- standard output ----

@test "a full disk ends it with 111" {
	run -111 sh -c 'kread -e "$1" >/dev/full' sh "$RANGE"
	[ "$output" = "kread: cannot write standard output: No space left on device" ]
}

@test "a full disk ends it with 111 in a group, and nothing is committed" {
	topic=$(new_topic)
	group=$(unique)
	seq 10 | kproduce "$topic"
	run -111 sh -c 'kread -e -g "$2" --commit written "$1" >/dev/full' sh "$topic" "$group"
	[ -z "$(committed "$group" "$topic")" ]
}

@test "a closed standard output ends it with 111" {
	run -111 sh -c 'kread -e "$1" >&-' sh "$RANGE"
	[[ $output == "kread: cannot write standard output: "* ]]
}

@test "a reader that goes ends it on an idle topic too" {
	topic=$(new_topic)
	echo only | kproduce "$topic"
	spawn pipe sh -c '{ kread --raw -g "$1" --commit never "$1"; echo $? >gone; } | head -n 1' sh "$topic" </dev/null
	wait_lines gone 1
	[ "$(cat gone)" = 111 ]
	[ "$(cat pipe.out)" = only ]
	[ "$(cat pipe.err)" = "kread: the reader of standard output has gone" ]
	# Without a group there is nobody but who looks, and head(1) is no failure.
	rm gone
	spawn pipe sh -c '{ kread --raw "$1"; echo $? >gone; } | head -n 1' sh "$topic" </dev/null
	wait_lines gone 1
	[ "$(cat gone)" = 0 ]
	[ "$(cat pipe.out)" = only ]
	[ ! -s pipe.err ]
	run -0 bash -c 'set -o pipefail; kread --raw "$1" | head -n 1' bash "$topic"
	[ "$output" = only ]
}

@test "a reader that goes when all was written does not matter" {
	topic=$(new_topic)
	seq 3 | kproduce "$topic"
	run -0 bash -c 'set -o pipefail; kread --raw -c 1 "$1" | head -n 1' bash "$topic"
	[ "$output" = 1 ]
}

# ---- brokers ----

@test "a wrong password ends it with 100" {
	run -100 timeout 120 kread -e -b "$KAFKA_SASL" -X security.protocol=sasl_plaintext \
		-X sasl.mechanism=PLAIN -X sasl.username=alice -X sasl.password=wrong-one "$RANGE"
	[[ $output == "kread: "* ]]
	[[ $output != *wrong-one* ]]
}

# bats test_tags=newest
@test "a wrong password ends it with 100 in a group" {
	run -100 timeout 120 kread -g g --commit never -b "$KAFKA_SASL" \
		-X security.protocol=sasl_plaintext -X sasl.mechanism=PLAIN \
		-X sasl.username=alice -X sasl.password=wrong "$RANGE"
}

@test "the right password is taken, and not shown by ps" {
	topic=$(new_topic)
	spawn_ready login --raw -b "$KAFKA_SASL" -X security.protocol=sasl_plaintext \
		-X sasl.mechanism=PLAIN -X sasl.username=alice -X sasl.password=secret "$topic"
	echo hello | kproduce "$topic"
	wait_lines login.out 1
	run ! grep -qaF password=secret "/proc/$(pid_of login)/cmdline"
	grep -qaF sasl.username=alice "/proc/$(pid_of login)/cmdline"
}

@test "a broker that is away is waited for, and this is said once" {
	own_kafka
	topic=$(new_topic)
	seq 10 | kproduce "$topic"
	"$ROOT/tests/kafka/stop" "$KAFKA_DIR"
	spawn waits kread --raw -e "$topic" </dev/null
	wait_file_contains waits.err "kread: warning: cannot reach broker $KAFKA_BROKERS"
	"$ROOT/tests/kafka/start" "$KAFKA_DIR"
	wait_exit waits
	[ "$status" -eq 0 ]
	[ "$(xargs <waits.out)" = "$(seq 10 | xargs)" ]
	[ "$(grep -c 'cannot reach' waits.err)" -eq 1 ]
}

@test "a broker that crashes and comes back loses nothing, and order is kept" {
	own_kafka
	topic=$(new_topic 2)
	group=$(unique)
	for p in 0 1; do seq 1 500 | kproduce "$topic" -p $p; done
	spawn_ready plain "$topic"
	# However long the broker takes to come back, the member is not to be taken for dead.
	spawn_ready member -g "$group" --commit written -X session.timeout.ms=300000 "$topic"
	wait_lines plain.out 1000
	wait_lines member.out 1000
	"$ROOT/tests/kafka/stop" -9 "$KAFKA_DIR"
	wait_file_contains plain.err "cannot reach broker"
	wait_file_contains member.err "cannot reach broker"
	"$ROOT/tests/kafka/start" "$KAFKA_DIR"
	for p in 0 1; do seq 501 600 | kproduce "$topic" -p $p; done
	for name in plain member; do
		wait_lines $name.out 1200
		wait_file_contains $name.err "is back"
		for p in 0 1; do
			[ "$(jq -r "select(.partition == $p) | .payload" $name.out | md5sum)" = \
				"$(seq 600 | md5sum)" ]
		done
		[ "$(grep -c 'cannot reach' $name.err)" -eq 1 ]
	done
	stop member
	wait_exit member
	[ "$status" -eq 0 ]
	[ -z "$(kread -e -g "$group" --commit written "$topic")" ]
}

@test "--resolve says where an advertised name is" {
	own_kafka
	topic=$(new_topic)
	echo here | kproduce "$topic"
	far=$(<"$KAFKA_DIR/far")
	spawn lost kread --raw -e -b "127.0.0.1:$far" "$topic" </dev/null
	wait_file_contains lost.err "here: --resolve $HIDDEN:$far:127.0.0.1;"
	run -0 kread --raw -e -b "127.0.0.1:$far" --resolve "$HIDDEN:$far:127.0.0.1" "$topic"
	[ "$output" = here ]
	run -0 kread --raw -e -b "$HIDDEN:7" --resolve "$HIDDEN:7:127.0.0.1:$far" \
		--resolve "$HIDDEN:$far:127.0.0.1" "$topic"
	[ "$output" = here ]
}

@test "--resolve refuses what is no address" {
	run -100 kread -e --resolve kafka:9092:elsewhere "$RANGE"
	[[ $output == *"--resolve takes HOST:PORT:ADDR"* ]]
}

# own_kafka: a Kafka of this file's own, with a further listener that advertises a name which nobody
# knows. Sets KAFKA_BROKERS and KAFKA_DIR.
own_kafka() {
	KAFKA_DIR=$BATS_FILE_TMPDIR/own
	if [ ! -e "$KAFKA_DIR/far" ]; then
		mkdir -p "$KAFKA_DIR"
		KAFKA_HEAP=256m "$ROOT/tests/kafka/start" "$KAFKA_DIR" "${EVPIPE_KAFKA_VERSION:-4.1.0}" \
			listeners=PLAINTEXT://127.0.0.1:@PLAIN@,SASL://127.0.0.1:@SASL@,FAR://127.0.0.1:@FAR@,CONTROLLER://127.0.0.1:@CONTROLLER@ \
			"advertised.listeners=PLAINTEXT://127.0.0.1:@PLAIN@,SASL://127.0.0.1:@SASL@,FAR://$HIDDEN:@FAR@" \
			listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL:SASL_PLAINTEXT,FAR:PLAINTEXT,CONTROLLER:PLAINTEXT
		cut -d' ' -f4 "$KAFKA_DIR/ports" >"$KAFKA_DIR/far"
	elif [ ! -e "$KAFKA_DIR/pid" ]; then
		"$ROOT/tests/kafka/start" "$KAFKA_DIR"
	fi
	KAFKA_BROKERS=$(<"$KAFKA_DIR/bootstrap")
	export KAFKA_BROKERS KAFKA_DIR
}

teardown_file() {
	"$ROOT/tests/kafka/stop" -9 "$BATS_FILE_TMPDIR/own"
	harness_teardown_file
}

# ---- options ----

@test "no broker is an error that names both ways to say one" {
	unset KAFKA_BROKERS
	run -100 kread -e topic
	[[ $output == *"-b HOST:PORT"*'$KAFKA_BROKERS'* ]]
}

@test "-F reads properties from a file" {
	printf '# comment\n\nbootstrap.servers = %s\ngroup.id=other\n' "$KAFKA_BROKERS" >conf
	unset KAFKA_BROKERS
	kread -F conf -e "$RANGE" >out
	[ "$(wc -l <out)" -eq 20 ]
	# Behind a value it is none.
	printf 'bootstrap.servers=x:1\nclient.id=a # b\n' >conf
	kread -F conf -X dump x | grep -qx 'client.id = a # b'
}

@test "-F names the line it cannot take" {
	printf '\nno.such=1\n' >conf
	run -100 kread -F conf -e "$RANGE"
	[[ $output == "kread: conf, line 2: "*no.such* ]]
	run -100 kread -F absent -e "$RANGE"
	[[ $output == "kread: cannot open 'absent': No such file or directory" ]]
}

# bats test_tags=newest
@test "a full queue is looked at again at once, where librdkafka has a property for that" {
	topic=$(new_topic)
	kread -X fetch.queue.backoff.ms=7 -v -X debug=conf -e "$topic" 2>err || skip "before 2.2 it has none"
	grep -q 'fetch.queue.backoff.ms = 7$' err
	kread -v -X debug=conf -e "$topic" 2>err
	grep -q 'fetch.queue.backoff.ms = 1$' err
}

@test "-X wins over -F, -b over both, and all over the variable" {
	echo "bootstrap.servers=127.0.0.1:1" >conf
	brokers=$KAFKA_BROKERS
	unset KAFKA_BROKERS
	kread -F conf -X "bootstrap.servers=$brokers" -e "$RANGE" >out
	[ "$(wc -l <out)" -eq 20 ]
	named() {
		KAFKA_BROKERS=0:1 kread "$@" -X dump x | sed -n 's/^metadata.broker.list = //p'
	}
	[ "$(named)" = 0:1 ]
	[ "$(named -F conf)" = 127.0.0.1:1 ]
	[ "$(named -F conf -X bootstrap.servers=x:2)" = x:2 ]
	[ "$(named -F conf -X bootstrap.servers=x:2 -b b:3)" = b:3 ]
}

@test "-X refuses what librdkafka does not know" {
	run -100 kread -X no.such.thing=1 -e "$RANGE"
	[[ $output == "kread: -X: "*no.such.thing* ]]
	run -100 kread -X nothing -e "$RANGE"
	[[ $output == "kread: -X takes PROP=VALUE, not 'nothing'"* ]]
}

@test "-X refuses what its promises rest on" {
	run -100 kread -X enable.auto.commit=true -e "$RANGE"
	[[ $output == *"-X cannot set 'enable.auto.commit'"* ]]
}

@test "--ready-fd tells when the partitions are known, before a record" {
	spawn_ready ready "$(new_topic)"
	[ "$(wc -c <ready.ready)" -eq 1 ]
	spawn_ready member -g "$(unique)" --commit never "$(new_topic)"
	[ "$(wc -c <member.ready)" -eq 1 ]
}

@test "--metrics counts the records and tells the lag" {
	kread -e --metrics prom -c 20 "$RANGE" >out
	grep -q '^evpipe_records_out_total{pipeline="evpipe",tool="kread"} 20$' prom
	grep -q '^evpipe_up{pipeline="evpipe",tool="kread",peer="kafka"} 1$' prom
	run ! grep -vE '^(# (HELP|TYPE) [a-z_]+ .+|[a-z_]+(\{[a-z]+="[^"]*"(,[a-z]+="[^"]*")*\})? -?[0-9.]+)$' prom
	if command -v promtool; then promtool check metrics <prom; fi
}

@test "--metrics tells the lag of a partition" {
	spawn_ready lag -p 1 --metrics prom "$RANGE"
	wait_file_contains prom "evpipe_consumer_lag{pipeline=\"evpipe\",topic=\"$RANGE\",partition=\"1\"} 0"
	run ! grep -q 'partition="0"' prom
}

@test "--rate is not exceeded" {
	start_us=${EPOCHREALTIME/./}
	kread -e --rate 10 "$RANGE" >out
	[ "$(wc -l <out)" -eq 20 ]
	[ $((${EPOCHREALTIME/./} - start_us)) -ge 1700000 ]
}

# Several addresses in -b are all asked before anything is read, and one that is silent takes seconds.
@test "--idle-exit does not count the time that a silent address in -b takes" {
	silent_start
	run -99 kread -q -b "127.0.0.1:$(cat silent.out),$KAFKA_BROKERS" --idle-exit 1s "$RANGE"
	[ "$(grep -c '"payload"' <<<"$output")" -eq 20 ]
}

@test "--rate may be less than ten a second" {
	run -0 timeout 60 kread --rate 3 -c 2 "$RANGE"
	[ "${#lines[@]}" -eq 2 ]
}

# asleep NAME: its first thread is, whenever one looks.
asleep() {
	local _ state
	for _ in {1..20}; do
		read -r _ _ state _ <"/proc/$(pid_of "$1")/stat"
		[ "$state" = S ] || return 1
	done
}

@test "--rate sleeps while nothing comes" {
	spawn_ready idle --rate 100 "$RANGE"
	wait_lines idle.out 20
	wait_for "asleep idle"
}

# What its first thread waits for in a call, as for a timed condition, it cannot be woken from.
@test "while no broker answers it waits in poll alone" {
	run -99 strace -o trace -e trace=futex,poll \
		kread -b "127.0.0.1:$(free_port)" --idle-exit 1500ms topic
	grep -q '^poll' trace
	run ! grep ETIMEDOUT trace
}

@test "no thread for a broker: 111, not a wait for ever" {
	run -111 --separate-stderr strace -f -o trace -e inject=clone,clone3:error=EAGAIN:when=2 \
		kread -b "127.0.0.1:1" topic
	# shellcheck disable=SC2154 # run sets it
	[[ $stderr = *"Unable to create broker thread"* ]]
}

# At some limits librdkafka lacks a pipe, and says nothing; at others a socket.
@test "no descriptor for a broker: 111, with cause and remedy, not a wait for ever" {
	local n lacks=0
	for n in {6..20}; do
		run timeout -s KILL 30 bash -c "ulimit -n $n; exec kread -e -q '$RANGE' >/dev/null"
		# 1: the shell has none itself.
		[ "$status" -gt 1 ] || continue
		[ "$status" -eq 111 ]
		[[ $output == *"Too many open files; raise the limit (ulimit -n)" ]]
		lacks=$((lacks + 1))
	done
	[ $lacks -gt 0 ]
	[ "$status" -eq 0 ]
}

@test "no descriptor in the whole system: 111, and that limit is named" {
	local line
	while read -r line; do
		# shellcheck disable=SC2086 # words
		run -111 timeout -s KILL 60 strace -f -o trace -e inject=socket:error=ENFILE $line <<<'{"payload":"x"}'
		[[ $output == *"Too many open files in "*"system; raise the limit (sysctl fs.file-max)"* ]]
	done <<-EOT
		kread -e -q $RANGE
		kwrite -t $RANGE
		kcheck
		rpub -u redis://127.0.0.1:1 c
	EOT
}
