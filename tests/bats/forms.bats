#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# Forms of kread and kwrite beside lines of JSON: frames, one payload alone, keys that are numbers, resume lists,
# receipts. On a real Kafka.

load helpers

setup_file() {
	kafka_start
	PLAIN=$(new_topic)
	export PLAIN
}

hex() {
	od -An -v -tx1 | tr -d ' \n'
}

# ---- one payload ----

@test "--raw -c 1 --no-end prints a payload and nothing behind it" {
	printf 'a\nb\0c' >payload
	python3 -c 'import json,sys; print(json.dumps({"payload": open("payload").read()}))' | kwrite -t "$PLAIN"
	kread -o -1 --raw -c 1 --no-end "$PLAIN" >got
	cmp payload got
}

@test "--no-end is refused where payloads would run together" {
	run -100 kread --raw --no-end "$PLAIN"
	[[ $output == *"--no-end needs --raw -c 1"*"--framing len32"* ]]
	run -100 kread --raw -c 2 --no-end "$PLAIN"
	run -100 kread -c 1 --no-end "$PLAIN"
	run -100 kread --raw -c 1 --no-end -0 "$PLAIN"
	[[ $output == *exclude* ]]
}

# ---- frames ----

@test "--framing len32 puts the length before a payload, and -1 for a tombstone" {
	t=$(new_topic)
	printf '%s\n' '{"payload":"abc"}' '{"payload":""}' '{"key":"k","payload":null}' | kwrite -t "$t" -p 0
	[ "$(kread -e --framing len32 -p 0 "$t" | hex)" = 0000000361626300000000ffffffff ]
	[ "$(kread -e --raw --framing len32 -p 0 "$t" | hex)" = 0000000361626300000000ffffffff ]
}

@test "frames make messages of any bytes, and come back as they were" {
	t=$(new_topic)
	python3 - >frames <<-'END'
	import random, struct, sys
	random.seed(7)
	for n in [0, 1, 3, 4, 5, 200, 65536, 131071, 131072, 300000]:
	    sys.stdout.buffer.write(struct.pack(">i", n) + random.randbytes(n))
	sys.stdout.buffer.write(b"\xff\xff\xff\xff" + struct.pack(">i", 2) + b"\n\0")
	END
	kwrite --framing len32 -t "$t" -p 0 <frames
	kread -e --framing len32 -p 0 "$t" | cmp - frames
	# In small pieces, and handed on.
	t=$(new_topic)
	for at in $(seq 0 70001 700000); do
		tail -c +$((at + 1)) frames | head -c 70001
	done |
		kwrite --framing len32 -t "$t" -p 0 --pass | cmp - frames
	kread -e --framing len32 -p 0 "$t" | cmp - frames
}

@test "a frame that is cut off is left out, whatever was cut, and the ones before it are written" {
	for cut in 2 4 9; do
		t=$(new_topic)
		run -111 --separate-stderr bash -c '
			{ printf "\0\0\0\1a"; printf "\0\0\0\11abcdefghi" | head -c '$cut'; } |
				kwrite --framing len32 -t '"$t"''
		# shellcheck disable=SC2154
		[[ $stderr == *"frame 2: the input ends within it"*len32* ]]
		[ "$(kread -e --raw "$t")" = a ]
	done
}

@test "a frame over --max-line is refused, and the next one is written" {
	t=$(new_topic)
	{ printf '\0\0\0\17%015d' 1; printf '\0\0\0\1b'; } |
		{ run -1 kwrite --framing len32 -t "$t" --max-line 10 --dead-letter dead; }
	[ "$(kread -e --raw "$t")" = b ]
	[ "$(jq -r .error.class dead)" = too-large ]
	[ "$(jq -r .line dead)" = 000000000000001 ]
}

@test "a refused frame stands in the dead letter without its length" {
	printf '\0\0\0\1a\0\0\0\2bc' |
		{ run -1 kwrite --framing len32 -t "$(unique none)" --dead-letter dead; }
	[ "$(jq -r .line dead | xargs)" = "a bc" ]
}

@test "--framing knows len32 alone, and goes with neither -0 nor --no-end" {
	run -100 kread --framing len64 "$PLAIN"
	[[ $output == *"--framing takes len32, not 'len64'"* ]]
	run -100 kread --framing len32 -0 "$PLAIN"
	run -100 kread --framing len32 -j "$PLAIN"
	run -100 kwrite --framing len32 -0 -t "$PLAIN" </dev/null
	run -100 kwrite --framing lines -t "$PLAIN" </dev/null
}

# ---- keys that are numbers ----

@test "--key-type writes a number's bytes and reads them back, of each size, sign and order" {
	local type key bytes
	while read -r type key bytes; do
		t=$(new_topic)
		printf '{"key":"%s","payload":"x"}\n' "$key" | kwrite -t "$t" --key-type "$type"
		[ "$(kconsume "$t" -f '%k' | hex)" = "$bytes" ]
		[ "$(kread -e --key-type "$type" "$t" | jq -r .key)" = "$key" ]
	done <<-'END'
		i8 -1 ff
		u8 255 ff
		i16 -2 fffe
		i16le 258 0201
		u16be 65535 ffff
		i32 42 0000002a
		i32le 42 2a000000
		i32 -2147483648 80000000
		u32 4294967295 ffffffff
		i64 -9223372036854775808 8000000000000000
		i64 9007199254740993 0020000000000001
		i64le 1 0100000000000000
		u64 18446744073709551615 ffffffffffffffff
	END
}

@test "--key-type refuses what is no number of the type" {
	local key
	for key in 128 -129 x '' 1.0 ' 1' +1 0x1 99999999999999999999999999; do
		run -1 kwrite -t "$PLAIN" --key-type i8 <<<"{\"key\":\"$key\",\"payload\":\"x\"}"
		[[ $output == *"the key '$key' is no i8"* ]]
	done
	run -1 kwrite -t "$PLAIN" --key-type u32 <<<'{"key":"-1","payload":"x"}'
	run -100 kwrite -t "$PLAIN" --key-type i24 </dev/null
	[[ $output == *"--key-type takes i8, i16, "*"not 'i24'"* ]]
	run -100 kwrite -t "$PLAIN" --key-type i32 --key seven </dev/null
	[[ $output == *"--key 'seven' is no i32"* ]]
	run -100 kwrite -t "$PLAIN" --raw --key-type i32 </dev/null
	run -100 kread --raw --key-type i32 "$PLAIN"
}

@test "a key of another length is printed as key_b64, and written again as it was" {
	a=$(new_topic) b=$(new_topic)
	printf '%s\n' '{"key":"12345","payload":"x"}' '{"key":null,"payload":"y"}' '{"key":"abcd","payload":"z"}' |
		kwrite -t "$a" -p 0
	run -0 --separate-stderr kread -e --key-type i32 -p 0 "$a"
	[ "$(jq -c '[.key, .key_b64]' <<<"$output" | xargs)" = '[null,MTIzNDU=] [null,null] [1633837924,null]' ]
	[[ $stderr == *"$a/0@0: a key of 5 bytes is no i32"* ]]
	kwrite -t "$b" -p 0 --key-type i32 <<<"$output"
	diff <(kconsume "$a" -f '%k %s\n') <(kconsume "$b" -f '%k %s\n')
}

@test "--raw --key NUMBER --key-type gives each payload that key" {
	t=$(new_topic)
	echo x | kwrite --raw -t "$t" --key 7 --key-type i16le
	[ "$(kconsume "$t" -f '%k' | hex)" = 0700 ]
}

# ---- empty lines ----

@test "an empty line is an empty payload, and with --skip-empty nothing" {
	t=$(new_topic)
	printf 'a\n\nb\n' | kwrite --raw -t "$t" -p 0
	printf '\nc\n\n\nd\n\n' | kwrite --raw --skip-empty -t "$t" -p 0
	[ "$(kread -e -p 0 "$t" | jq -c .payload | xargs -n 1)" = "$(printf '%s\n' a '' b c d | jq -cR . | xargs -n 1)" ]
	printf '\n{"payload":"e"}\n\n' | kwrite -t "$t" -p 0 --skip-empty
	[ "$(kread -o -1 -e --raw -p 0 "$t")" = e ]
	printf '\0\0\0\0\377\377\377\377\0\0\0\1f' | kwrite --framing len32 --skip-empty -t "$t" -p 0
	[ "$(kread -o -2 -e --framing len32 -p 0 "$t" | hex)" = ffffffff0000000166 ]
}

# ---- receipts ----

@test "--receipts says of each payload where it was written, in the order of input" {
	t=$(new_topic)
	seq 1 500 | kwrite --raw -t "$t" --receipts 3 3>receipts
	[ "$(jq -c .line receipts | xargs)" = "$(seq 1 500 | xargs)" ]
	jq -r --arg t "$t" '"\(.topic == $t) \(.partition) \(.offset) \(.line)"' receipts | sort >told
	kread -e "$t" | jq -r '"true \(.partition) \(.offset) \(.payload)"' | sort | diff told -
}

@test "--receipts names where a record comes from, and what was refused" {
	t=$(new_topic)
	printf '%s\n' "{\"topic\":\"src\",\"partition\":2,\"offset\":24,\"payload\":\"x\"}" garbage \
		'{"channel":"c\"d","payload":"y"}' |
		{ run -1 kwrite -t "$t" --on-error skip --receipts 3 3>receipts; }
	[ "$(jq -c .from receipts | xargs -d '\n')" = '{"topic":"src","partition":2,"offset":24} null {"channel":"c\"d"}' ]
	[ "$(jq -c .refused receipts | xargs)" = 'null true null' ]
	[ "$(jq -c .line receipts | xargs)" = '1 2 3' ]
}

@test "receipts may go to standard output, and beside --pass to another descriptor" {
	t=$(new_topic)
	[ "$(echo x | kwrite --raw -t "$t" --receipts 1 | jq -c '[.topic, .offset]')" = "[\"$t\",0]" ]
	echo y | kwrite --raw -t "$t" --pass --receipts 3 3>receipts >passed
	[ "$(<passed)" = y ]
	[ "$(jq .line receipts)" = 1 ]
	run -100 kwrite --raw -t "$t" --pass --receipts 1 </dev/null
	[[ $output == *"--pass hands records on there"* ]]
}

@test "a descriptor for receipts that cannot be written is said at the start" {
	run -100 kwrite --raw -t "$PLAIN" --receipts 9 </dev/null
	[[ $output == *"--receipts 9: the descriptor is not open for writing: add 9>FILE"* ]]
	run -100 kwrite --raw -t "$PLAIN" --receipts 3 3</dev/null </dev/null
	run -100 kwrite --raw -t "$PLAIN" --receipts x </dev/null
	run -111 bash -c 'echo x | kwrite --raw -t "$PLAIN" --receipts 3 3>/dev/full'
	[[ $output == *"cannot write the receipts: No space left on device"* ]]
}

@test "a reader of receipts that goes ends kwrite, and one that is slow holds it up" {
	run -111 bash -c 'yes | kwrite --raw -t "$PLAIN" --receipts 3 3> >(head -n 1 >/dev/null)'
	[[ $output == *"the reader of the receipts has gone"* ]]
	mkfifo pipe
	spawn slow sh -c 'seq 1 100000 | kwrite --raw -t "$PLAIN" --receipts 3 3>pipe' </dev/null
	exec 7<pipe
	read -r first <&7
	[ "$(jq .line <<<"$first")" = 1 ]
	[ "$(cat <&7 | tail -n 1 | jq .line)" = 100000 ]
	exec 7<&-
	wait_exit slow
	[ "$status" -eq 0 ]
}

# ---- resume lists ----

# places FILE: what reading three behind that list gives, PARTITION.PAYLOAD.
payloads_of() {
	jq -r '"\(.partition).\(.payload)"' "$@" | sort -V | xargs
}

fill_three() {
	t=$(new_topic)
	t=$(new_topic 3)
	for p in 0 1 2; do
		seq -f '{"partition":'$p',"payload":"%.0f"}' 0 9
	done | kwrite -t "$t" -p keep
}

@test "--offsets goes on behind records that were read, and reads the rest as -o says" {
	fill_three
	kread -p 0 --until 4 "$t" >seen
	kread -p 1 --until 7 "$t" >>seen
	kread -e --offsets seen "$t" >rest
	[ "$(payloads_of rest)" = "0.4 0.5 0.6 0.7 0.8 0.9 1.7 1.8 1.9 2.0 2.1 2.2 2.3 2.4 2.5 2.6 2.7 2.8 2.9" ]
	kread -e --offsets seen -o end "$t" >rest
	[ "$(payloads_of rest)" = "0.4 0.5 0.6 0.7 0.8 0.9 1.7 1.8 1.9" ]
	# Without a topic: those of the list; more of it than is there yet is added.
	# shellcheck disable=SC2094 # kread has read it before it prints
	kread -e --offsets seen -p 0,1 >>seen
	[ "$(payloads_of seen)" = "$(kread -e -p 0,1 "$t" | payloads_of)" ]
	[ -z "$(kread -e --offsets seen -p 0,1)" ]
}

@test "--offsets takes what kwrite --pass and --receipts print" {
	fill_three
	seq -f '{"partition":1,"payload":"%.0f"}' 10 12 | kwrite -t "$t" -p keep --pass --receipts 3 3>receipts >passed
	seq -f '{"partition":1,"payload":"%.0f"}' 13 14 | kwrite -t "$t" -p keep
	[ "$(kread -e --offsets passed -p 1 "$t" | payloads_of)" = "1.13 1.14" ]
	[ "$(kread -e --offsets receipts -p 1 "$t" | payloads_of)" = "1.13 1.14" ]
}

@test "--print-offsets prints where to go on: at the end with -e, else where reading would begin" {
	fill_three
	kread --print-offsets "$t" >begin
	[ "$(jq -c '[.topic, .partition, .offset]' begin | sort | xargs)" = "[$t,0,0] [$t,1,0] [$t,2,0]" ]
	kread --print-offsets -e "$t" >end
	[ "$(jq -c '[.partition, .offset]' end | sort | xargs)" = "[0,10] [1,10] [2,10]" ]
	[ "$(kread --print-offsets -o -3 -p 1 "$t" | jq -c .offset)" = 7 ]
	[ "$(kread --print-offsets --until 5 -p 1 "$t" | jq -c .offset)" = 5 ]
	echo '{"partition":2,"payload":"new"}' | kwrite -t "$t" -p keep
	[ "$(kread -e --offsets end | payloads_of)" = 2.new ]
	[ "$(kread -e --offsets - <end | payloads_of)" = 2.new ]
	[ "$(kread --print-offsets --offsets end | sort)" = "$(sort end)" ]
}

@test "--offsets takes TOPIC:PARTITION:OFFSET, TOPIC/PARTITION@OFFSET and three words" {
	fill_three
	printf '%s\n' "# a comment" "$t:0:8" '' "$t/1@9" "$t  2 7" >list
	[ "$(kread -e --offsets list | payloads_of)" = "0.8 0.9 1.9 2.7 2.8 2.9" ]
}

@test "a line that names no place, and a file that is not there, are refused by name" {
	local line
	for line in garbage 'a:b:c' 'x:1:' ':1:2' 'x:1:-2' '{}' '{"topic":"x"}' '{"topic":"x","partition":-1,"offset":2}' \
		'{"topic":1,"partition":1,"offset":2}' '{"topic":"x","partition":1,"offset":"2"}'; do
		printf '%s\n' 'x:1:2' "$line" >list
		run -100 kread -e --offsets list x
		[[ $output == *"--offsets: line 2 of 'list' names no place"* ]]
	done
	run -100 kread --offsets nowhere x
	[[ $output == *"--offsets: cannot open 'nowhere': No such file"* ]]
	run -100 kread --offsets /dev/null
	[[ $output == *"names no topic"* ]]
	run -100 kread --offsets / x
	run -100 kread
	[[ $output == *"what to read is missing: TOPIC or ^REGEX"* ]]
	run -100 kread -g g --commit never --offsets list x
	[[ $output == *"the group has its own positions"* ]]
	run -100 kread --print-offsets -g g --commit never x
	[[ $output == *"kcheck -g GROUP"* ]]
	run -100 kread --print-offsets -c 1 x
}

@test "a torn last line of a resume list does not count" {
	fill_three
	printf '%s\n%s' "$t:0:8" "$t:0:9" >list
	[ "$(kread -e --offsets list -p 0 | payloads_of)" = "0.8 0.9" ]
}

@test "--offsets tells what retention has taken behind the list" {
	fill_three
	echo "$t:0:2" >list
	"$ROOT/tests/kafka/topics" "$KAFKA_BROKERS" trim "$t" 0 5
	run -0 --separate-stderr kread -e --offsets list -p 0
	[[ $stderr == *"3 records"* ]]
}
