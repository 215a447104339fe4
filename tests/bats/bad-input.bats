#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# Bad lines, through every program that reads records. Each is put between two good ones; then exit
# status, message, dead letter (byte for byte), counters and what was delivered of its neighbours are
# looked at.

load helpers

PROGRAMS=${PROGRAMS:-evkey evstamp kwrite rpub}
with=

setup_file() {
	local i topics=()
	for i in {1..60}; do
		topics+=(-t "bad-$i-stop:1" -t "bad-$i-skip:1" -t "bad-$i-dead:1")
	done
	kmock_start "${topics[@]}"
	redis_start
	SPAWN_DIR=$BATS_FILE_TMPDIR spawn seen redis-cli -s "$REDIS_SOCK" psubscribe 'bad-*' </dev/null
	wait_for '[ "$(redis_patterns)" -eq 1 ]'
}

# deliver PROGRAM WAY OPTION…: runs the program on the file in; its exit status goes to $status, its
# messages to err, and the payloads that came out at the other side to delivered. $with is a command
# to run it under.
deliver() {
	local program=$1 name=bad-$BATS_TEST_NUMBER-$2
	shift 2
	# shellcheck disable=SC2086 # a command of words
	set -- $with timeout -s KILL 120 "$program" "$@"
	status=0
	case $program in
	evkey)
		"$@" .id <in >out 2>err || status=$?
		payloads <out >delivered
		;;
	evstamp)
		"$@" --drop nobody <in >out 2>err || status=$?
		payloads <out >delivered
		;;
	kwrite)
		"$@" -t "$name" <in >out 2>err || status=$?
		kconsume "$name" -X fetch.wait.max.ms=5 >delivered
		;;
	rpub)
		"$@" "$name" <in >out 2>err || status=$?
		rcli publish "$name" "end $name" >published
		wait_file_contains "$BATS_FILE_TMPDIR/seen.out" "end $name"
		grep -A 1 -Fx "$name" "$BATS_FILE_TMPDIR/seen.out" | grep '^{' >delivered || true
		;;
	esac
}

# Of lines whose payload is written as good does it. Where one is not, $thorough decodes it: jq takes no
# 512 levels, and no half of a surrogate pair where nobody looks.
payloads() {
	if [ -z "${thorough:-}" ]; then
		sed 's/.*"payload":"\(.*\)".*/\1/; s/\\"/"/g'
		return
	fi
	python3 -c 'import json, sys
for line in sys.stdin.buffer:
    payload = json.loads(line)["payload"]
    print(payload if isinstance(payload, str) else json.dumps(payload))'
}

good() {
	printf '{"topic":"t","payload":"{\\"id\\":\\"%s\\"}"}\n' "$1"
}

# the_dead_letters_are CLASS FIELD PROGRAM…: dead.PROGRAM holds one dead letter, for line 2, with the
# bytes of the file bad in FIELD; of a line over the limit, the first MiB of them and the length.
the_dead_letters_are() {
	python3 - "$@" <<-'EOP'
	import base64, json, re, sys
	kind, field = sys.argv[1:3]
	bad = open("bad", "rb").read()
	for program in sys.argv[3:]:
	    dead = open("dead." + program, "rb").read()
	    form = (r'\{"error":\{"tool":"%s","class":"%s","message":"line 2: (?:[^"\\]|\\.)+",'
	            r'"at":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"\},"%s":(.*?)(,"length":%d)?\}\n'
	            % (program, kind, field, len(bad)))
	    m = re.fullmatch(form.encode(), dead, re.S)
	    assert m, dead[:1000]
	    assert dead.count(b"\n") == 1
	    json.loads(dead.decode().encode())
	    text = m[1]
	    if field == "line":
	        text = json.loads(text).encode()
	    elif field == "line_b64":
	        assert text[:1] == text[-1:] == b'"'
	        text = base64.b64decode(text[1:-1], validate=True)
	    assert text == bad[:1 << 20] if m[2] else text == bad, (text[:500], bad[:500])
	    assert (m[2] is not None) == (kind == "too-large" and len(bad) > 1 << 20 and "line 2: longer" in dead.decode())
	EOP
}

# counted COUNTER{LABELS} N: metrics has it so.
counted() {
	grep -qxF "evpipe_$1 $2" metrics
}

hint_of() {
	[ "${hint:-}" = --raw ] && ! "$1" --help | grep -q -e --raw || echo "${hint:-}"
}

# refused CLASS FIELD: each program refuses the line in the file bad so, goes on, and has it in FIELD of
# a dead letter. $hint, when set, stands in the message; --raw where the program has that.
refused() {
	local program
	{ good 1; cat bad; echo; good 3; } >in
	for program in $PROGRAMS; do
		echo "--- $program"
		rm -f "dead.$program"
		deliver "$program" dead --dead-letter "dead.$program" --metrics metrics
		cat err
		[ "$status" -eq 1 ]
		[ "$(cat delivered)" = $'{"id":"1"}\n{"id":"3"}' ]
		[[ $(head -n 1 err) == "$program: warning: line 2: "*"$(hint_of "$program")"*" ($1)" ]]
		counted "records_in_total{pipeline=\"evpipe\",tool=\"$program\"}" 3
		counted "records_out_total{pipeline=\"evpipe\",tool=\"$program\"}" 2
		counted "errors_total{pipeline=\"evpipe\",tool=\"$program\",type=\"$1\"}" 1
		counted "dead_letters_total{pipeline=\"evpipe\",tool=\"$program\",type=\"$1\"}" 1
	done
	# shellcheck disable=SC2086 # words
	the_dead_letters_are "$1" "$2" $PROGRAMS
}

# refused_every_way CLASS FIELD: and stops for it, the default, or skips it.
refused_every_way() {
	local program
	refused "$@"
	for program in $PROGRAMS; do
		echo "--- $program"
		deliver "$program" stop --metrics metrics
		cat err
		[ "$status" -eq 1 ]
		[ "$(cat delivered)" = '{"id":"1"}' ]
		[[ $(cat err) == "$program: line 2: "*" ($1)" ]]
		[ "$(wc -l <err)" -eq 1 ]
		counted "errors_total{pipeline=\"evpipe\",tool=\"$program\",type=\"$1\"}" 1
		counted "dead_letters_total{pipeline=\"evpipe\",tool=\"$program\",type=\"$1\"}" 0

		deliver "$program" skip --on-error skip --metrics metrics
		cat err
		[ "$status" -eq 1 ]
		[ "$(cat delivered)" = $'{"id":"1"}\n{"id":"3"}' ]
		[[ $(head -n 1 err) == "$program: warning: line 2: "*" ($1)" ]]
		counted "errors_total{pipeline=\"evpipe\",tool=\"$program\",type=\"$1\"}" 1
		counted "dead_letters_total{pipeline=\"evpipe\",tool=\"$program\",type=\"$1\"}" 0
	done
}

# accepted: each program takes the line in the file bad, whose id is 2.
accepted() {
	local program
	{ good 1; cat bad; echo; good 3; } >in
	for program in $PROGRAMS; do
		echo "--- $program"
		deliver "$program" stop
		cat err
		[ "$status" -eq 0 ]
		[ "$(cat delivered)" = $'{"id":"1"}\n{"id":"2"}\n{"id":"3"}' ]
		[ ! -s err ]
	done
}

# ---- not JSON ----

@test "a line that is not JSON is refused as json-decode, with a hint at --raw" {
	printf 'hello "world"' >bad
	hint=--raw refused_every_way json-decode line
}

@test "an object cut short is refused as json-decode" {
	printf '{"payload":"{\\"id\\":2}"' >bad
	refused json-decode line
}

@test "text behind the object is refused as json-decode" {
	printf '{"payload":"{\\"id\\":2}"} {"payload":"1"}' >bad
	refused json-decode line
}

@test "an empty line is refused as json-decode" {
	printf '' >bad
	refused json-decode line
}

@test "a NUL between the fields is refused as json-decode" {
	printf '{"payload":"{\\"id\\":2}",\0"key":"a"}' >bad
	refused json-decode line
}

@test "a NUL within a string is refused as json-decode" {
	printf '{"payload":"{\\"id\\":2}","key":"a\0b"}' >bad
	refused json-decode line
}

@test "a raw tab within a string is refused as json-decode" {
	printf '{"payload":"{\\"id\\":2}","key":"a\tb"}' >bad
	refused json-decode line
}

@test "a byte that is never UTF-8 is refused as json-decode" {
	printf '{"payload":"{\\"id\\":2}","key":"\xff"}' >bad
	refused json-decode line_b64
}

@test "an overlong form in a field nobody knows is refused as json-decode" {
	printf '{"payload":"{\\"id\\":2}","unknown":["\xc0\xaf"]}' >bad
	refused json-decode line_b64
}

@test "a surrogate in UTF-8 in a name is refused as json-decode" {
	printf '{"payload":"{\\"id\\":2}","\xed\xa0\x80":1}' >bad
	refused json-decode line_b64
}

@test "a sequence cut short by the end of the line is refused as json-decode" {
	printf '{"payload":"{\\"id\\":2}"}\xe2\x82' >bad
	refused json-decode line_b64
}

# ---- JSON, but not a record ----

@test "an array is refused as invalid-record, with a hint at --raw" {
	printf '[{"payload":"1"}]' >bad
	hint=--raw refused invalid-record line
}

@test "a string is refused as invalid-record" {
	printf '"payload"' >bad
	refused invalid-record line
}

@test "null is refused as invalid-record" {
	printf 'null' >bad
	refused invalid-record line
}

@test "an object without a payload is refused as invalid-record" {
	printf '{"id":2,"key":"a"}' >bad
	hint=payload refused_every_way invalid-record line
}

@test "two payload fields are refused as invalid-record" {
	printf '{"payload":"{\\"id\\":2}","payload_b64":"eyJpZCI6Mn0="}' >bad
	hint=payload_b64 refused invalid-record line
}

@test "two key fields are refused as invalid-record" {
	printf '{"key":"a","key_b64":"YQ==","payload":"{\\"id\\":2}"}' >bad
	hint=key_b64 refused invalid-record line
}

@test "base64 without padding is refused as invalid-record" {
	printf '{"payload_b64":"eyJpZCI6Mn0"}' >bad
	hint=payload_b64 refused invalid-record line
}

@test "base64 with a letter that is none is refused as invalid-record" {
	printf '{"payload":"{\\"id\\":2}","key_b64":"YQ*="}' >bad
	hint=key_b64 refused invalid-record line
}

@test "base64 with bits left over is refused as invalid-record" {
	printf '{"payload":"{\\"id\\":2}","key_b64":"YR=="}' >bad
	hint=key_b64 refused invalid-record line
}

@test "a number as the payload is refused as invalid-record" {
	printf '{"payload":2}' >bad
	hint=payload refused invalid-record line
}

@test "an object as the key is refused as invalid-record" {
	printf '{"key":{"a":1},"payload":"{\\"id\\":2}"}' >bad
	hint=key refused invalid-record line
}

@test "a number as the topic is refused as invalid-record" {
	printf '{"topic":7,"payload":"{\\"id\\":2}"}' >bad
	hint=topic refused invalid-record line
}

@test "a time that is not whole is refused as invalid-record" {
	printf '{"ts":1.5,"payload":"{\\"id\\":2}"}' >bad
	hint=ts refused invalid-record line
}

@test "a partition beyond 32 bits is refused as invalid-record" {
	printf '{"partition":2147483648,"payload":"{\\"id\\":2}"}' >bad
	hint=partition refused invalid-record line
}

@test "headers that are an object are refused as invalid-record" {
	printf '{"headers":{"a":"b"},"payload":"{\\"id\\":2}"}' >bad
	hint=headers refused invalid-record line
}

@test "a header without a value is refused as invalid-record" {
	printf '{"headers":["a","b","c"],"payload":"{\\"id\\":2}"}' >bad
	hint=headers refused invalid-record line
}

@test "a number as a header's value is refused as invalid-record" {
	printf '{"headers":["a",1],"payload":"{\\"id\\":2}"}' >bad
	hint=headers refused invalid-record line
}

@test "half a surrogate pair in the payload is refused as invalid-record" {
	printf '{"payload":"\\ud83d"}' >bad
	hint=surrogate refused invalid-record line
}

# ---- limits ----

@test "100,000 levels of nesting are refused as too-large" {
	python3 -c 'print("{\"payload\":\"2\",\"x\":" + "[" * 100000 + "]" * 100000 + "}", end="")' >bad
	refused_every_way too-large line
}

@test "100,000 levels of nesting that never close are refused as too-large" {
	python3 -c 'print("{\"payload\":" + "{\"a\":" * 100000, end="")' >bad
	refused too-large line
}

@test "512 levels are taken and 513 are not" {
	thorough=1
	python3 -c 'print("{\"payload\":\"{\\\"id\\\":\\\"2\\\"}\",\"x\":" + "[" * 511 + "]" * 511 + "}", end="")' >bad
	accepted
	python3 -c 'print("{\"payload\":\"{\\\"id\\\":\\\"2\\\"}\",\"x\":" + "[" * 512 + "]" * 512 + "}", end="")' >bad
	PROGRAMS=evstamp refused too-large line
}

# big_line PROGRAM LIMIT OPTION…: the line of 100 MB in bad, between two good ones, with a limit on the
# peak of resident memory in MB.
big_line() {
	local program=$1 limit=$2
	shift 2
	echo "--- $program"
	rm -f "dead.$program"
	with="python3 peak.py" deliver "$program" dead --dead-letter "dead.$program" "$@"
	cat err peak
	[ "$status" -eq 1 ]
	[ "$(cat delivered)" = $'{"id":"1"}\n{"id":"3"}' ]
	grep -q "^$program: warning: line 2: .* (too-large)\$" err
	the_dead_letters_are too-large line "$program"
	[ "$(cat peak)" -lt "$limit" ]
}

make_big() {
	python3 -c 'print("{\"payload\":\"" + "0123456789" * 10000000 + "\"}", end="")' >bad
	{ good 1; cat bad; echo; good 3; } >in
	# Runs a command and writes its peak of resident memory, in MB, to the file peak.
	cat >peak.py <<-'EOP'
	import resource, subprocess, sys
	status = subprocess.run(sys.argv[1:]).returncode
	print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024, file=open("peak", "w"))
	sys.exit(status)
	EOP
}

# bats test_tags=load
@test "of a line of 100 MB the beginning is in the dead letter, and the stream goes on" {
	make_big
	for program in $PROGRAMS; do
		big_line "$program" 90
	done
}

# bats test_tags=load
@test "a line of 100 MB with a small --max-line takes little memory" {
	make_big
	for program in $PROGRAMS; do
		big_line "$program" 40 --max-line 1M
	done
}

@test "a line of just --max-line is taken and one byte more is too-large" {
	thorough=1
	printf '{"payload":"{\\"id\\":\\"2\\"}","x":"%0300d"}' 0 >bad
	size=$(stat -c %s bad)
	{ good 1; cat bad; echo; good 3; } >in
	for program in $PROGRAMS; do
		echo "--- $program"
		deliver "$program" stop --max-line "$size"
		cat err
		[ "$status" -eq 0 ]
		[ "$(cat delivered)" = $'{"id":"1"}\n{"id":"2"}\n{"id":"3"}' ]
		deliver "$program" dead --max-line $((size - 1)) --dead-letter "dead.$program"
		[ "$status" -eq 1 ]
		[ "$(cat delivered)" = $'{"id":"1"}\n{"id":"3"}' ]
		the_dead_letters_are too-large line "$program"
	done
}

@test "a line over the limit stops the program when nothing else was asked for" {
	printf '{"payload":"{\\"id\\":\\"2\\"}","x":"%0300d"}' 0 >bad
	{ good 1; cat bad; echo; good 3; } >in
	for program in $PROGRAMS; do
		echo "--- $program"
		deliver "$program" stop --max-line 200
		cat err
		[ "$status" -eq 1 ]
		[ "$(cat delivered)" = '{"id":"1"}' ]
		[[ $(cat err) == "$program: line 2: "*"--max-line"*" (too-large)" ]]
	done
}

# ---- torn ----

@test "a torn last line is no record, is told, and all before it is delivered" {
	{ good 1; good 2; good 3 | tr -d '\n'; } >in
	for program in $PROGRAMS; do
		echo "--- $program"
		deliver "$program" stop
		cat err
		[ "$status" -eq 111 ]
		[ "$(cat delivered)" = $'{"id":"1"}\n{"id":"2"}' ]
		[[ $(cat err) == "$program: line 3: "* ]]
		[ "$(wc -l <err)" -eq 1 ]
	done
}

@test "a torn last line is no dead letter either" {
	{ good 1; printf '{"pay'; } >in
	for program in $PROGRAMS; do
		echo "--- $program"
		rm -f dead
		deliver "$program" dead --dead-letter dead
		[ "$status" -eq 111 ]
		[ ! -s dead ]
	done
}

# ---- odd, but good ----

@test "CRLF ends a line as well" {
	printf '{"payload":"{\\"id\\":\\"2\\"}"}\r' >bad
	accepted
}

@test "white space around the object, members in any order and fields nobody knows are taken" {
	thorough=1
	printf ' \t{ "x" : [1e999, -0, {"payload":7}] ,"payload" :"{\\"id\\":\\"2\\"}"\t, "topic":null } ' >bad
	accepted
}

@test "of two payloads with one name the last counts" {
	thorough=1
	printf '{"payload":2,"payload":"{\\"id\\":\\"1\\"}","payload":"{\\"id\\":\\"2\\"}"}' >bad
	accepted
}

@test "half a surrogate pair in a field nobody knows is taken" {
	thorough=1
	printf '{"x":"\\ud83d","payload":"{\\"id\\":\\"2\\"}"}' >bad
	accepted
}

@test "a payload that is an object is taken as its text" {
	thorough=1
	printf '{"payload":{"id":"2"}}' >bad
	{ good 1; cat bad; echo; good 3; } >in
	for program in $PROGRAMS; do
		echo "--- $program"
		deliver "$program" stop
		cat err
		[ "$status" -eq 0 ]
		[ "$(jq -c . delivered)" = $'{"id":"1"}\n{"id":"2"}\n{"id":"3"}' ]
	done
}

# ---- choices ----

@test "--on-error and --dead-letter together, and an --on-error nobody knows, are wrong usage" {
	good 1 >in
	for program in $PROGRAMS; do
		echo "--- $program"
		deliver "$program" stop --on-error skip --dead-letter dead
		[ "$status" -eq 100 ]
		deliver "$program" stop --on-error maybe
		[ "$status" -eq 100 ]
		[[ $(cat err) == "$program: "*"'maybe'"* ]]
		[ ! -s delivered ]
	done
}

@test "a dead letter that cannot be written ends the program with 111" {
	{ good 1; echo nonsense; good 3; } >in
	for program in $PROGRAMS; do
		echo "--- $program"
		deliver "$program" dead --dead-letter /dev/full
		cat err
		[ "$status" -eq 111 ]
		grep -q "^$program: cannot write to the dead-letter file '/dev/full': No space left on device" err
	done
}

@test "programs of a pipeline share a dead-letter file, and the tails of a crash do no harm" {
	printf '{"error":{"tool":"evk' >dead
	{ good 1; echo nonsense; echo '{"payload":"{}"}'; good 4; } >in
	run -0 bash -c 'set -o pipefail
		evstamp --drop x --dead-letter dead <in 2>/dev/null | evkey .id --dead-letter dead 2>/dev/null
		echo "${PIPESTATUS[*]}"'
	[ "${lines[-1]}" = "1 1" ]
	[ "${#lines[@]}" -eq 3 ]
	[ "$(wc -l <dead)" -eq 3 ]
	[ "$(sed 1d dead | jq -c '[.error.tool, .error.class, .line, .record.payload]')" = \
		$'["evstamp","json-decode","nonsense",null]\n["evkey","missing-key",null,"{}"]' ]
}

# ---- Kafka ----

@test "kread ends before a batch that it cannot read, and does not commit it" {
	seq 3 | kwrite --raw -t damaged -p 0 --create
	"$ROOT/tests/bats/damaged-batch" "$KAFKA_BROKERS" damaged
	seq 4 6 | kwrite --raw -t damaged -p 0
	for first in 3 0; do
		run -100 --separate-stderr timeout -s KILL 120 kread -g readers --commit written \
			-X session.timeout.ms=6000 damaged
		[ "${#lines[@]}" -eq "$first" ]
		# shellcheck disable=SC2154 # bats sets it
		[[ $stderr == "kread: topic 'damaged', partition 0, offset 3 cannot be read: "* ]]
	done
}
