#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# Mistakes of newcomers, and what the message must name: the thing, the cause, the remedy.

load helpers
load mistakes

setup_file() {
	redis_start
	kmock_start -t orders:3
}

@test "words of other programs, and mistyped ones, are answered with how it is written here" {
	table <<-'END'
		kread --raws orders
		100
		--raws  did you mean --raw?
		kread -t orders
		100
		-t  topics are operands: kread TOPIC
		kread -G g orders
		100
		-G  kread -g GROUP TOPIC
		kread -g ' ' orders
		100
		must not begin with white space
		kwrite -t orders --txn ' ' --ack none
		100
		must not begin with white space
		kread -C orders
		100
		kread always reads
		kread
		100
		what to read is missing: TOPIC or ^REGEX
		rsub -h localhost -p 6379 ch
		100
		-u redis://HOST:PORT
		evpipe kraed orders '|' cat
		100
		no program 'kraed'  did you mean kread?
		evpipe 'kread orders | cat'
		100
		each word, and each '|', is an argument of its own
		evpipe
		100
		CMD is missing
		evkey .a .b
		100
		unexpected argument ".b"
		kread -b kafka://localhost:9092 -e orders
		100
		'kafka://' is no protocol of brokers  HOST:PORT
		rsub -u localhost:6379 news
		100
		'localhost:6379' has no scheme  redis://localhost:6379
		kwrite -b 'localhost:9092 localhost:9093' -t orders
		100
		no blank  HOST:PORT,HOST:PORT
		kread -b " , $KAFKA_BROKERS , PLAINTEXT://$KAFKA_BROKERS ," -v -e orders
		0
		read in
		evchain verfy x
		100
		'verfy'  did you mean verify?
		evbatch jq -c .
		100
		'-c' is no option of evbatch  put -- before the command: evbatch -- jq -c .
		evbatch
		100
		CMD is missing
	END
}

# Options of kcat, rpk and Kafka's own programs, and of redis-cli: what a user may have in the fingers.
@test "each option of other programs is answered with how it is written here" {
	local program options option
	while read -r program options; do
		for option in $options; do
			run -100 timeout -s KILL 100 "$program" "$option" value </dev/null
			[[ $output == "$program: there is no option $option: "*"; try '$program --help'" ]] || { echo "$program $option: $output"; false; }
		done
	done <<-'END'
		kread -t -C -P -G -L -Q -f -J -D -K -u -O -Z -E -s -r -H -z -d -m -n
		kread --topic --include --whitelist --offset --from-beginning --max-messages --timeout-ms --bootstrap-server
		kread --property --formatter --formatter-property --consumer-property --consumer.config --command-config
		kread --isolation-level --key-deserializer --value-deserializer --num --format --regex --meta-only
		kread --pretty-print --read-committed --balancer --rack --instance-id --fetch-max-wait --use-schema-registry
		kwrite -P -C -G -L -K -k -l -T -Z -D -J -f -s -d -o --bootstrap-server --broker-list --property --reader-property
		kwrite --line-reader --producer-property --producer.config --command-config --compression-codec --sync --timeout
		kwrite --request-required-acks --acks --batch-size --max-block-ms --format --tombstone --schema-id --compression
		kwrite --output-format --allow-auto-topic-creation --delivery-timeout --max-message-bytes
		kcheck -Q -J -m --describe --bootstrap-server --all-groups --command-config --reset-offsets --create --delete
		rsub -a -x -r -2 -3 -d --tls --user --json --csv --cluster --insecure --askpass
		rpub -a -p -s -n -c -x -r -2 -3 --tls --user --json --csv --cluster --insecure --pipe
		rapply -a -p -s -n -c -x -r -2 -3 --tls --user --cluster --insecure --pipe
	END
	table <<-'END'
		kread --bootstrap-server=localhost:9092 orders
		100
		there is no option --bootstrap-server: brokers are -b
		kread --group g --typo orders
		100
		invalid option "--typo"
		kread -eC orders
		100
		there is no option -C: kread always reads
		kwrite orders
		100
		unexpected argument "orders"  -t TOPIC
		kcheck orders
		100
		unexpected argument "orders"  -t TOPIC
		rpub news hello
		100
		unexpected argument "hello"  standard input
		rsub --idle-exit 1ms 'n*'
		99
		'n*' is the name of a channel; -p goes before each pattern
		rsub --idle-exit 1ms -p 6379 news
		99
		a server's port is in -u redis://HOST:PORT
		rsub --idle-exit 1ms subscribe news
		99
		'subscribe' is the name of a channel: rsub subscribes by itself
		kread -e consume orders
		0
		'consume' is the name of a topic: kread reads by itself: kread TOPIC
	END
}

@test "values that an option does not take are named, with those that it takes" {
	table <<-'END'
		kread -o yesterday orders
		100
		-o takes  @TIME  'yesterday'
		kread -o -10m orders
		100
		@-10m  '-10m'
		kread -o @yesterday orders
		100
		'@yesterday' is no time  @-1h
		kread -c x orders
		100
		-c takes a whole number  'x'
		kread -X typo=1 orders
		100
		"typo"
		kread -p 9 -e orders
		100
		topic 'orders' has no partition 9: it has 3, from 0
		kwrite -t orders -z brotli
		100
		gzip, snappy, lz4, zstd  'brotli'
		kwrite -t '{topc}'
		100
		{topc}  topic, channel, stream
		kwrite -H =x -t orders
		100
		-H takes NAME=VALUE  '=x'
		kwrite -H trace:a -t orders
		100
		-H takes NAME=VALUE  'trace:a'
		rpub --dead-letter '' ch
		100
		--dead-letter takes a value that is not empty
		kwrite -t orders --key=
		100
		--key takes a value that is not empty
		kwrite -t orders --key
		100
		option "--key" requires an argument
		kread --framing len16 orders
		100
		--framing takes len32, not 'len16'
		kwrite -t orders --key-type int
		100
		--key-type takes i8, i16  'int'
		rapply --as list
		100
		command, string or hash  'list'
		rsub -u 127.0.0.1:6379 ch
		100
		redis://
		evfmt -f '%q'
		100
		'%q'  %t %p %o
		rsub -u unix:none -s -e events
		100
		-s takes STREAM, and '-e' is an option
		kwrite --dead-letter --raw -t events
		100
		--dead-letter takes FILE|kafka:TOPIC, and '--raw' is an option
		kread -qg -v events
		100
		-qg takes GROUP, and '-v' is an option
		evpipe -n -d unit cat
		100
		-n takes NAME, and '-d' is an option
		evfmt day.ndjson
		100
		"day.ndjson"  by standard input: <FILE
		evsel .payload day.ndjson
		100
		"day.ndjson"  by standard input: <FILE
		evtop .
		100
		'.' is no URL  <FILE  -d PATH
	END
}

@test "an expression that is none is told with its fault alone" {
	table <<-'END'
		evkey tenantId
		100
		'tenantId' is no path: a path begins with a dot: .tenantId
		evsel '.payload.total >'
		100
		'.payload.total >' is not a jq expression  unexpected
	END
	evsel '.payload.total >' 2>err </dev/null || true
	run ! grep -qE 'quoting issues|  ' err
}

@test "records that are none are told with their place, the class and what would be one" {
	table <<-'END'
		echo garbage | kwrite -t orders
		1
		line 1  not JSON  use --raw  json-decode
		echo '{"value":"x"}' | kwrite -t orders
		1
		'payload' is missing  use --raw
		echo '{"headers":{},"payload":"x"}' | kwrite -t orders
		1
		'headers' is not an array: it is ["name","value",…]
		printf x | kwrite --raw -t orders
		111
		without a line end  the torn line is left out  printf
		echo '{"topic":"orders","partition":2,"offset":24,"payload":null}' | rpub x
		1
		record orders/2@24  no tombstone  evsel '.payload != null'  --dead-letter FILE
		echo '{"topic":"orders","partition":2,"offset":24,"payload":"{}"}' | evkey .tenantId
		1
		record orders/2@24  .tenantId  missing-key
		echo '{"channel":"foo","payload":"x"}' | kwrite -t '{channel#sse:}'
		1
		'foo'  'sse:'  prefix-mismatch
		echo '{"payload":"x"}' | evkey .a --dead-letter /nowhere/dead
		100
		dead-letter file '/nowhere/dead'  No such file
		echo '{"payload":"{\"a\":1}"}' | evkey .a >/dev/full
		111
		cannot write standard output: No space left on device
	END
}

@test "an expression that is never true says so with -v" {
	seq -f '{"payload":"{\"a\":%g}"}' 5 | evsel -v .payload.b 2>err
	grep -q 'evsel: kept 0 of 5 records: the expression was null for 5 of them' err
	seq -f '{"payload":"{\"a\":%g}"}' 5 | evsel -v '.payload.a > 2' 2>err >out
	grep -q 'kept 3 of 5 records: the expression was null for 0 of them' err
	seq -f '{"payload":"{\"a\":%g}"}' 5 | evsel .payload.b 2>err
	[ ! -s err ]
}

@test "what redis refuses is told with the channel, stream or user" {
	rcli acl setuser poor on '>pw' '~a*' '&sse:*' +@all -wait -xack
	rcli acl setuser plain on '>pw' '~*' '&*' -@all +publish +xadd +multi +exec +role
	export POOR=redis://poor:pw@127.0.0.1:$REDIS_PORT WRONG=redis://poor:no@127.0.0.1:$REDIS_PORT
	export PLAIN=redis://plain:pw@127.0.0.1:$REDIS_PORT
	table <<-'END'
		rsub -u "$POOR" other
		100
		refuses the subscription: NOPERM  channel 'other'  allow it to user 'poor' with ACL SETUSER
		rsub -u "$POOR" -p 'a*'
		100
		refuses the subscription: NOPERM  pattern 'a*'
		echo '{"topic":"t","payload":"x"}' | rpub -u "$POOR" 'x:{topic}'
		100
		line 1  refuses to publish: NOPERM  channel 'x:t'  user 'poor'
		echo '{"topic":"t","payload":"x"}' | rpub -u "$POOR" --stream 'x:{topic}'
		100
		line 1  NOPERM  stream 'x:t'  user 'poor'
		echo '{"payload":"x"}' | rpub -u "$POOR" --stream x
		100
		refuses an entry: NOPERM  stream 'x'  user 'poor'
		echo '{"payload":"x"}' | rpub -u "$POOR" --wait 1 sse:t
		100
		refuses WAIT, which --wait needs: NOPERM  'wait'  user 'poor'
		rsub -u "$POOR" -s other
		100
		refuses to read stream 'other': NOPERM  user 'poor'
		rsub -u "$POOR" -s alpha -g g --commit written
		100
		refuses XACK: NOPERM  stream 'alpha'  user 'poor'
		echo '{"payload":["SET","other","x"]}' | rapply -u "$POOR"
		100
		refuses a command of line 1: NOPERM  user 'poor'
		echo '{"topic":"t","partition":0,"offset":0,"payload":["SET","a","x"]}' | rapply -u "$POOR"
		100
		refuses the positions, keys evpipe:pos:TOPIC:PARTITION: NOPERM  user 'poor'
		rsub -u "$WRONG" other
		100
		refuses the login: WRONGPASS  user 'poor'
		echo '{"payload":"x"}' | rpub -u "$PLAIN" --wait 1 x
		100
		refuses WAIT  NOPERM
		echo '{"payload":"x"}' | rpub -u "$PLAIN" --stream x --wait 1
		100
		refuses WAIT  NOPERM
	END
}

@test "an --until that comes before -o only by what the brokers have is told; a range without a record is not" {
	local p range topic=crossed
	for p in 0 1; do seq -f '{"partition":'$p',"payload":"%.0f"}' 0 9; done | kwrite -t "$topic" -p keep
	run -0 --separate-stderr kread -p 0,1 -o -5 --until 3 "$topic"
	[ -z "$output" ]
	[ "$stderr" = "kread: warning: nothing is read of topic '$topic', partition 0, and of 1 more: --until is offset 3 there, before the first to be read, 5" ]
	run -0 --separate-stderr kread -p 1 -o -5 --until 3 "$topic"
	[ "$stderr" = "kread: warning: nothing is read of topic '$topic', partition 1: --until is offset 3 there, before the first to be read, 5" ]
	for range in '-o -5 --until 5' '-o 3 --until +3' '-o end --until 20'; do
		# shellcheck disable=SC2086 # words
		run -0 --separate-stderr kread -p 0,1 $range "$topic"
		[ -z "$output$stderr" ]
	done
}
