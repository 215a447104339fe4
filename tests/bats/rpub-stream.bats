#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# rpub --stream and rpub --min-receivers against a real redis-server.

load helpers

setup() {
	harness_setup
	redis_start
}

# records FROM TO [PADDING]: with these offsets.
records() {
	python3 - "$@" <<-'EOP'
		import sys
		pad = "x" * int(sys.argv[3] if len(sys.argv) > 3 else 0)
		for n in range(int(sys.argv[1]), int(sys.argv[2]) + 1):
		    print('{"topic":"t","partition":0,"offset":%d,"payload":"%d%s"}' % (n, n, pad))
	EOP
}

# entries STREAM: ids and all their fields, an entry a line.
entries() {
	rcli --csv xrange "$1" - + | tr -d '"' | sed -E 's/,([0-9]+-[0-9]+),/\n\1,/g'
}

# payloads STREAM
payloads() {
	rsub -s "$1" -e --raw
}

# ---- entries ----

@test "rpub --stream adds payload, key and headers as fields in order, with the template's stream" {
	printf '%s\n' '{"topic":"a","headers":["h","1","i","","h","2","n",null],"key":"k","payload":"x"}' \
		'{"topic":"b","key":null,"payload":""}' '{"topic":"b","payload":[1,[2]]}' \
		'{"topic":"b","headers":["only","header"],"payload":null}' >in
	rpub --stream 'st:{topic}' <in
	[ "$(entries st:a | cut -d, -f2-)" = 'payload,x,h,1,i,,h,2,n,' ]
	[ "$(entries st:b | cut -d, -f2-)" = "$(printf '%s\n' payload, 'payload,[1,[2]]' only,header)" ]
	rpub --stream k --field data --key-field id <in
	[ "$(entries k | cut -d, -f2-)" = "$(printf '%s\n' data,x,id,k,h,1,i,,h,2,n, data, 'data,[1,[2]]' only,header)" ]
	printf 'one\ntwo' | rpub --raw --stream raw || [ $? -eq 111 ]
	[ "$(entries raw | cut -d, -f2-)" = payload,one ]
}

@test "rsub -s and rpub --stream copy entries as they are, each byte value too" {
	python3 - <<-'EOP' | rcli --pipe >/dev/null
		import sys
		b = bytes(range(256))
		for f in [[b"payload", b], [b, b, b"", b""], [b"a", b"1", b"payload", b"x", b"a", b"2", b"payload", b"y"], [b"k", b, b"payload", b""]]:
		    words = [b"XADD", b"s", b"*", *f]
		    sys.stdout.buffer.write(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words))
	EOP
	rsub -s s -e --key-field k | rpub --stream copy --key-field k
	rsub -s s -e | jq -c 'del(.id, .stream)' >first
	rsub -s copy -e | jq -c 'del(.id, .stream)' >second
	[ "$(wc -l <first)" -eq 4 ]
	cmp first second
}

@test "rpub --stream refuses what would come back as another record" {
	refused() {
		run -1 rpub --stream s "${@:2}" <<<"$1"
		[[ $output == *invalid-record* ]]
	}
	refused '{"payload":null}'
	refused '{"headers":["payload","x"],"payload":null}'
	refused '{"headers":["k","x"],"payload":"y"}' --key-field k
	run -1 rpub --stream s --id offset <<<'{"payload":"x"}'
	[[ $output == *missing-field* ]]
	run -1 rpub --stream 's{topic}' <<<'{"payload":"x"}'
	[[ $output == *missing-field* ]]
	[ "$(rcli exists s)" = 0 ]
}

@test "rpub --stream --maxlen and --minid trim, exactly or about" {
	records 0 999 | rpub --stream exact --maxlen 10
	[ "$(payloads exact | paste -sd ' ')" = '990 991 992 993 994 995 996 997 998 999' ]
	records 0 999 | rpub --stream about --maxlen '~10'
	[ "$(rcli xlen about)" -ge 10 ]
	[ "$(rcli xlen about)" -lt 500 ]
	records 0 999 | rpub --stream ids --id offset --minid 995
	[ "$(payloads ids | paste -sd ' ')" = '995 996 997 998 999' ]
	rcli xadd old 1-1 payload old >/dev/null
	records 1 1 | rpub --stream old --minid 1h
	[ "$(payloads old)" = 1 ]
	records 2 2 | rpub --stream old --minid '~1h'
	[ "$(payloads old | paste -sd ' ')" = '1 2' ]
}

@test "rpub --stream --pass hands each record on with stream and id" {
	records 5 6 | rpub --stream 's-{partition}' --id offset --pass >out
	[ "$(jq -c '[.stream, .id, .offset, .payload]' out | paste -sd ' ')" = '["s-0","5-1",5,"5"] ["s-0","6-1",6,"6"]' ]
	records 7 7 | rpub --stream $'\xff' --pass >out
	[ "$(jq -c '[.stream, .stream_b64]' out)" = '[null,"/w=="]' ]
	[ "$(jq -r .id out)" = "$(entries $'\xff' | cut -d, -f1)" ]
	# What was there before has its id too.
	records 5 6 | rpub --stream 's-{partition}' --id offset --pass >out
	[ "$(jq -r .id out | paste -sd ' ')" = '5-1 6-1' ]
}

@test "rpub --stream keeps order and number of a hundred thousand entries" {
	records 0 99999 90 | rpub --stream s
	payloads s | tr -d x | cmp - <(seq 0 99999)
}

# ---- ids ----

@test "rpub --stream --id offset adds nothing twice" {
	records 0 500 | rpub --stream s --id offset
	records 100 900 | rpub --stream s --id offset
	payloads s | cmp - <(seq 0 900)
	[ "$(entries s | head -n 1 | cut -d, -f1)" = 0-1 ]
}

@test "rpub --stream --id offset looks again when offsets fall, and says where entries are gone" {
	# Made anew under way, and two partitions in one stream.
	run -100 rpub --stream s --id offset < <(records 0 9; records 0 3 5)
	[[ $output == *"stream 's' has another entry under the id of this record"* ]]
	run -100 rpub --stream p --id offset < <(records 0 9; records 3 9 5 | sed 's/"partition":0/"partition":1/')
	[[ $output == *"stream 'p' has another entry"* ]]
	records 0 99 | rpub --stream trimmed --id offset --maxlen 10
	records 0 9 | rpub --stream trimmed --id offset 2>err
	[ "$(grep -c 'up to offset 99 records count as delivered' err)" -eq 1 ]
	# What is there comes again without a word.
	run -0 rpub --stream trimmed --id offset < <(records 90 99; records 95 99)
	[ -z "$output" ]
	[ "$(payloads trimmed | paste -sd ' ')" = "$(seq 90 99 | paste -sd ' ')" ]
}

@test "rpub --stream --id offset refuses a stream of other ids, and one of another topic" {
	rcli xadd s '*' payload x >/dev/null
	run -100 rpub --stream s --id offset --on-error skip < <(records 0 3)
	[[ $output == *"stream 's' has ids that are no offsets"* ]]
	[ "$(rcli xlen s)" = 1 ]
	records 0 9 | rpub --stream t --id offset
	run -100 rpub --stream t --id offset < <(records 0 3 5)
	[[ $output == *"another entry under the id of this record"* ]]
	# Each stream of a template by itself, once it comes.
	{ records 0 3; records 4 4 | sed 's/"topic":"t"/"topic":"s"/'; } >in
	run -100 rpub --stream '{topic}' --id offset <in
	[ "$(rcli xlen t)" = 10 ]
}

# ---- a server in trouble ----

@test "rpub --stream refuses a record whose key holds another type, and goes on" {
	rcli set string x >/dev/null
	printf '%s\n' '{"topic":"a","payload":"1"}' '{"topic":"string","payload":"2"}' '{"topic":"a","payload":"3"}' >in
	run -1 rpub --stream '{topic}' --dead-letter dead <in
	[ "$(payloads a | paste -sd ' ')" = '1 3' ]
	[ "$(jq -c '[.error.class, .record.payload]' dead)" = '["wrong-type","2"]' ]
}

@test "rpub --stream waits while Redis is full or may not write, and adds each entry once, in order" {
	for trouble in maxmemory=1 min-replicas-to-write=1; do
		rcli flushall >/dev/null
		mkfifo pipe
		spawn pub sh -c 'exec rpub --stream s --id offset --metrics m <pipe'
		exec 7>pipe
		records 0 9 >&7
		wait_for '[ "$(rcli xlen s)" = 10 ]'
		rcli config set "${trouble%=*}" "${trouble#*=}" >/dev/null
		records 10 3000 >&7 &
		feeder=$!
		wait_for 'grep -qE "OOM|NOREPLICAS" pub.err'
		[ "$(rcli xlen s)" = 10 ]
		rcli config set "${trouble%=*}" 0 >/dev/null
		wait "$feeder"
		exec 7>&-
		wait_exit pub
		[ "$status" -eq 0 ]
		[ "$(wc -l <pub.err)" -eq 2 ]
		[ "$(awk '/^evpipe_outages_total/ { print $2 }' m)" -eq 1 ]
		payloads s | cmp - <(seq 0 3000)
		rm pipe
	done
}

@test "rpub --stream --id offset loses no entry while memory runs out and comes back again and again" {
	records 0 30000 100 >in
	spawn pub sh -c 'rpub --stream s --id offset <in'
	# The limit goes up and down around what is used.
	while alive "$(pid_of pub)"; do
		used=$(rcli info memory | sed -n 's/^used_memory:\([0-9]*\).*/\1/p')
		rcli config set maxmemory $((used + 20000)) >/dev/null
		rcli config set maxmemory $((used + 300000)) >/dev/null
	done
	rcli config set maxmemory 0 >/dev/null
	wait_exit pub
	[ "$status" -eq 0 ]
	payloads s | tr -d x | cmp - <(seq 0 30000)
}

@test "rpub --stream loses nothing over lost connections: once with --id offset, else in order at least once" {
	records 0 40000 100 >in
	for id in offset auto; do
		spawn pub sh -c "rpub --stream $id --id $id <in"
		for _ in 1 2 3 4 5 6 7 8 9 10; do
			before=$(rcli xlen $id)
			wait_for "[ \$(rcli xlen $id) -gt $before ] || ! alive $(pid_of pub)"
			rcli client kill type normal >/dev/null || true
		done
		wait_exit pub
		[ "$status" -eq 0 ]
	done
	payloads offset | tr -d x | cmp - <(seq 0 40000)
	payloads auto | tr -d x | awk '!seen[$0]++' | cmp - <(seq 0 40000)
}

@test "rpub --stream goes on after a kill -9 of Redis that had it all on disk" {
	redis_stop
	redis_start redis --appendonly yes --appendfsync always
	records 0 20000 >in
	spawn pub sh -c 'rpub --stream s --id offset <in'
	wait_for '[ "$(rcli xlen s)" -gt 100 ]'
	redis_stop
	redis_start redis --appendonly yes --appendfsync always
	wait_exit pub
	[ "$status" -eq 0 ]
	payloads s | cmp - <(seq 0 20000)
}

@test "rpub --stream ends with 100 where it may not add, and dead-letters nothing" {
	rcli acl setuser narrow on '>pw' '~other' '&*' +@all >/dev/null
	run -100 rpub -u "redis://narrow:pw@127.0.0.1:$REDIS_PORT" --stream s --dead-letter dead < <(records 0 3)
	[[ $output == *NOPERM* ]]
	[ ! -s dead ]
	for command in xadd multi exec; do
		rcli acl setuser "no$command" on '>pw' '~*' '&*' +@all "-$command" >/dev/null
		run -100 rpub -u "redis://no$command:pw@127.0.0.1:$REDIS_PORT" --stream s --dead-letter dead < <(records 0 3)
		[[ $output == *NOPERM* ]]
		[ ! -s dead ]
	done
}

@test "rpub --stream --wait holds records on their way until a replica has their entries" {
	records 0 500 >in
	spawn pub sh -c 'exec rpub --stream s --id offset --wait 1 --pass <in'
	wait_for '[ "$(rcli xlen s)" = 501 ]'
	wait_file_contains pub.err replica
	[ ! -s pub.out ]
	redis_start other
	redis-cli -s other.sock replicaof 127.0.0.1 "$REDIS_PORT" >/dev/null
	wait_exit pub
	[ "$status" -eq 0 ]
	[ "$(wc -l <pub.out)" -eq 501 ]
	[ "$(redis-cli -s other.sock xlen s)" = 501 ]
}

# ---- the pipeline ----

@test "kread and rpub --stream --id offset under evpipe: kill -9 of any member adds each record once" {
	kafka_start
	topic=$(new_topic 1)
	seq 0 9999 | kproduce "$topic"
	for n in 0 1 2 3 4 5; do
		before=$(rcli xlen s)
		spawn unit evpipe kread -g "g-$topic" --window 500 "${SHORT_SESSION[@]}" "$topic" '|' cat '|' rpub --stream s --id offset
		wait_for "[ \$(rcli xlen s) -gt $before ]"
		kill -KILL "$(pgrep -P "$(pid_of unit)" | sed -n $((n % 3 + 1))p)"
		wait_exit unit
		seq $((10000 + n * 1000)) $((10999 + n * 1000)) | kproduce "$topic"
	done
	spawn unit evpipe kread -g "g-$topic" "${SHORT_SESSION[@]}" "$topic" '|' cat '|' rpub --stream s --id offset
	wait_for '[ "$(rcli xlen s)" -eq 16000 ]'
	stop unit
	wait_exit unit
	[ "$status" -eq 0 ]
	payloads s | cmp - <(seq 0 15999)
}

@test "rpub --stream --id offset: of a topic that is made anew nothing counts as delivered by a trimmed stream" {
	kafka_start
	topic=$(new_topic 1)
	unit() {
		spawn unit evpipe kread -g "$1" "${SHORT_SESSION[@]}" "$topic" '|' rpub --stream s --id offset --maxlen 10
	}
	refuses() {
		wait_exit unit
		[ "$status" -eq 100 ]
		grep -qE -e "$1" unit.err
		[ "$(rcli xinfo stream s | grep -A1 last-generated-id | tail -n 1)" = 100-1 ]
	}
	seq 0 99 | kproduce "$topic"
	unit "a-$topic"
	wait_for 'rcli xinfo stream s | grep -qx 99-1'
	stop unit
	wait_exit unit
	# A group that has no position yet: the stream has one.
	echo 100 | kproduce "$topic"
	unit "b-$topic"
	wait_for 'rcli xinfo stream s | grep -qx 100-1'
	[ "$(rcli xinfo stream s | grep -A1 entries-added | tail -n 1)" = 101 ]
	"$ROOT/tests/kafka/topics" "$KAFKA_BROKERS" delete "$topic"
	"$ROOT/tests/kafka/topics" "$KAFKA_BROKERS" create "$topic" 1
	seq -f n%g 0 49 | kproduce "$topic"
	refuses 'the topic was made anew'
	unit "b-$topic"
	refuses 'which ends at offset 50 while'
	seq -f n%g 50 200 | kproduce "$topic"
	unit "b-$topic"
	# The source looks at its last record, too.
	refuses 'another entry under the id of this record|the topic was made anew'
	# Two partitions in one stream.
	topic=$(new_topic 2)
	echo x | kproduce "$topic" -p 0
	echo y | kproduce "$topic" -p 1
	rcli del s
	unit "c-$topic"
	wait_exit unit
	[ "$status" -eq 100 ]
	grep -q 'is that of two partitions' unit.err
}

@test "rpub --stream --id offset: where a stream is named by keys a lawful start over on a trimmed one is a warning" {
	kmock_start -t t:1
	seq 0 49 | jq -c '{key: "k\(. % 2)", payload: "\(.)"}' | kwrite -q -t t
	for group in a b; do
		run -0 evpipe kread -e -g $group t '|' rpub --stream '{topic}-{key}' --id offset --maxlen 3
		[ "$(grep -c 'records count as delivered' <<<"$output")" -eq "$([ $group = a ] && echo 0 || echo 2)" ]
		[ "$(payloads t-k0 | xargs)" = '44 46 48' ]
	done
}

# ---- subscribers ----

@test "rpub --min-receivers holds a message until somebody gets it, and keeps the order" {
	seq 3000 >in
	spawn pub sh -c 'exec rpub --raw --min-receivers 1 --metrics m news <in'
	wait_file_contains pub.err 'published to 0 subscribers of 1; it is held'
	spawn sub rsub --raw -c 3000 news
	wait_exit pub
	[ "$status" -eq 0 ]
	wait_exit sub
	cmp in sub.out
	[ "$(grep -c held pub.err)" -eq 1 ]
	[ "$(awk '/^evpipe_receivers_zero_total/ { print $2 }' m)" -eq 1 ]
}

@test "rpub --min-receivers: a subscriber that goes and comes gets all that it did not get before" {
	mkfifo pipe
	spawn pub sh -c 'exec rpub --raw --min-receivers 1 news <pipe'
	exec 7>pipe
	for n in 1 2 3 4; do
		spawn sub$n rsub --raw -c 100 news
		wait_for '[ "$(redis_subscribers news)" -eq 1 ]'
		seq $((n * 100 - 99)) $((n * 100)) >&7
		wait_exit sub$n
		cmp sub$n.out <(seq $((n * 100 - 99)) $((n * 100)))
	done
	exec 7>&-
	wait_exit pub
	[ "$status" -eq 0 ]
}

@test "rpub --min-receivers --on-few refuse refuses what too few get" {
	spawn sub rsub --raw -c 2 a
	wait_for '[ "$(redis_subscribers a)" -eq 1 ]'
	printf '%s\n' '{"topic":"a","payload":"1"}' '{"topic":"b","payload":"2"}' '{"topic":"a","payload":"3"}' >in
	run -1 rpub --min-receivers 1 --on-few refuse --dead-letter dead '{topic}' <in
	wait_exit sub
	[ "$(paste -sd ' ' sub.out)" = '1 3' ]
	[ "$(jq -c '[.error.class, .record.payload]' dead)" = '["redis","2"]' ]
	run -1 rpub --min-receivers 2 --on-few refuse a <in
	[[ $output == *'published to 0 subscribers, fewer than 2'* ]]
}

@test "rpub --min-receivers gives up after --retry-for" {
	run -99 rpub --raw --min-receivers 1 --retry-for 1s news <<<x
	[[ $output == *'gave up'* ]]
}

# ---- usage ----

@test "rpub --stream: options that exclude each other are wrong usage" {
	bad() {
		run -100 rpub "$@" </dev/null
		echo "$* : $output"
		[ "${#lines[@]}" -eq 1 ]
	}
	bad
	bad news --stream s
	bad --stream ''
	bad --stream s --id none
	bad --stream s --id offset --raw
	bad --stream s --maxlen x
	bad --stream s --maxlen -1
	bad --stream s --maxlen 0
	bad --stream s --maxlen '~0'
	bad --stream s --maxlen 1 --minid 1
	bad --stream s --minid x
	bad --stream s --minid 1h --id offset
	bad --stream s --min-receivers 1
	bad --stream s --key-field payload
	bad --stream '{topic}' --raw
	bad news --maxlen 1
	bad news --id offset
	bad news --on-few hold
	bad news --min-receivers 0
	bad news --min-receivers 1 --on-few wait
}
