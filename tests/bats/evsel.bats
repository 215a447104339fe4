#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# evsel: what passes is the line that came, what does not is declared, what cannot be told is refused; and
# dead letters become the records that they were.

load helpers
load ack

# payload TEXT: a record with this payload, which has no control characters.
payload() {
	local text=${1//\\/\\\\}
	printf '{"topic":"t","payload":"%s"}\n' "${text//\"/\\\"}"
}

# holds EXPR LINE, fails EXPR LINE: whether the line passes; as it came when it does.
holds() {
	printf '%s\n' "$2" >in
	evsel "$1" <in >out
	diff in out
	evsel --invert "$1" <in >out
	[ ! -s out ]
}
fails() {
	printf '%s\n' "$2" >in
	evsel "$1" <in >out
	[ ! -s out ]
	evsel --invert "$1" <in >out
	diff in out
}

# refused_as CLASS PART COMMAND…: reads in.
refused_as() {
	local class=$1 part=$2
	shift 2
	status=0
	"$@" <in >out 2>err || status=$?
	cat err
	[ "$status" -eq 1 ]
	[ ! -s out ]
	[[ $(cat err) == "$1: line 1: "*"$part"*" ($class)" ]]
}

# ---- selecting ----

@test "the record's fields are seen" {
	holds '.topic == "t"' "$(payload x)"
	fails '.topic == "u"' "$(payload x)"
	holds '.partition > 1 and .offset == 17' '{"partition":2,"offset":17,"payload":null}'
	holds '.headers | index("test")' '{"headers":["test","1"],"payload":""}'
	fails '.headers | index("test")' '{"headers":["x","1"],"payload":""}'
	holds '.key == null' '{"payload":"x"}'
}

@test "a payload that is JSON is seen as such, however it stands in the line" {
	holds '.payload.a.b > 1.5' "$(payload '{"a":{"b":2}}')"
	fails '.payload.a.b > 2' "$(payload '{"a":{"b":2}}')"
	holds '.payload.a == "é\"\\\n😀"' "$(payload '{"a":"\u00e9\"\\\n\ud83d\ude00"}')"
	holds '.payload[1] == 6' "$(payload ' [5, 6] ')"
	holds '.payload == 5' "$(payload 5)"
	holds '.payload == "text"' "$(payload '"text"')"
	holds '.payload.a == 1' '{"payload":{"a":1}}'
	holds '.payload[0] == 1' '{"payload":[1]}'
	holds '.payload.a == "x" and .topic == "t"' '{"payload_b64":"eyJhIjoieCJ9","topic":"t"}'
	holds '.payload.a == "é"' '{"payload":"{\"\u0061\":\"\u00e9\"}"}'
	holds '.payload.a == 1' '{"payload":"{}","payload":"{\"a\":1}"}'
}

@test "a payload that is no JSON is a string, and none is null" {
	holds '.payload == "hello"' "$(payload hello)"
	holds '.payload | startswith("{")' "$(payload '{"a":1')"
	holds '.payload == "NaN"' "$(payload NaN)"
	holds '.payload == ""' "$(payload '')"
	holds '.payload == null' '{"payload":null}'
	holds '.payload == null' '{"payload_b64":"//4="}'
	fails '.payload.a' '{"payload":null}'
}

@test "all but false and null holds, and the first output counts" {
	holds . "$(payload x)"
	holds '0' "$(payload x)"
	holds '""' "$(payload x)"
	fails 'null' "$(payload x)"
	fails 'false' "$(payload x)"
	fails 'empty' "$(payload x)"
	holds 'true, false' "$(payload x)"
	fails 'false, true' "$(payload x)"
	holds 'select(.topic == "t")' "$(payload x)"
	fails 'select(.topic == "u")' "$(payload x)"
	fails '.payload.nothing' "$(payload '{}')"
}

@test "what passes is the line that came, byte for byte" {
	cat >in <<-'EOT'
	 { "z":1E400 ,"payload" : "{\"a\":1.10,\"n\":9223372036854775807}","u":[1E400,"\/\u00e9"] } 
	{"payload":{"a" : 1.10, "a":1E0},"u":9223372036854775808,"z":"\ud83d\ude00"}
	{"payload_b64":"eyJhIjoxfQ==","payload2":"\u0000"}
	EOT
	printf '{"payload":"{\\"a\\":1}"}\r\n' >>in
	evsel '.payload.a >= 1' <in >out
	cmp in out
}

@test "order is kept over many blocks" {
	seq 30000 | sed 's/.*/{"payload":"{\\"a\\":&}"}/' >in
	seq 3 3 30000 | sed 's/.*/{"payload":"{\\"a\\":&}"}/' >expected
	evsel '.payload.a % 3 == 0' <in >out
	cmp expected out
}

@test "an expression that fails on a payload that is no JSON is json-decode" {
	payload hello >in
	refused_as json-decode 'the payload is not JSON: Cannot index string with string "a"' evsel .payload.a
	refused_as json-decode 'not JSON' evsel --invert .payload.a
	echo '{"payload_b64":"//4="}' >in
	refused_as json-decode 'not JSON' evsel '.payload | error("x")'
}

@test "a record that jq cannot read is json-decode, or too-large where it nests deeper than jq reads" {
	echo '{"payload":"x","z":"\ud83d"}' >in
	refused_as json-decode 'jq cannot read the record' evsel .
	printf '{"payload":%s1%s}\n' "$(printf '%.0s[' {1..300})" "$(printf '%.0s]' {1..300})" >in
	if jq . <in >/dev/null 2>&1; then
		[ "$(evsel . <in)" = "$(cat in)" ]
	else
		refused_as too-large 'jq cannot read the record: Exceeds depth limit' evsel .
		refused_as too-large 'jq cannot read the payload: Exceeds depth limit' evkey 'length'
	fi
}

@test "an expression that fails on JSON is missing-field" {
	payload 5 >in
	refused_as missing-field 'Cannot index number with string "a"' evsel .payload.a
	echo '{"payload":{"a":"x"}}' >in
	refused_as missing-field 'cannot be added' evsel '.payload.a + 1'
	refused_as missing-field 'mine' evsel 'error("mine")'
	echo '{"payload":null}' >in
	refused_as missing-field 'cannot iterate over null' evsel '.payload[]' ||
		refused_as missing-field 'Cannot iterate over null' evsel '.payload[]'
}

@test "an expression that halts has dropped nothing" {
	payload '{"a":"odd"}' >in
	refused_as missing-field 'it has halted' evsel halt
	refused_as missing-field 'odd' evsel '.payload.a | halt_error'
	refused_as missing-field 'it has halted' evsel --invert 'halt_error(0)'
	# The next record is looked at as if nothing had been.
	{ payload '{"a":"odd"}'; payload '{"a":1}'; } >in
	run -1 --separate-stderr evsel --on-error skip 'if .payload.a == "odd" then halt else . end' <in
	[ "$output" = "$(payload '{"a":1}')" ]
}

@test "a line that is no record is refused" {
	echo nonsense >in
	refused_as json-decode 'not JSON' evsel .
	echo '{"a":1}' >in
	refused_as invalid-record "'payload' is missing" evsel .
}

@test "wrong usage is 100" {
	for args in '' '--undead .' '--undead --invert' '--invert' '.a|' '. .'; do
		# shellcheck disable=SC2086 # words
		run -100 evsel $args </dev/null
		[[ $output == *"try 'evsel --help'" ]]
	done
}

@test "a module that is not there is wrong usage" {
	run -100 evsel 'import "nothing" as n; .' </dev/null
	[[ $output == *"module not found: nothing"* ]]
	run -100 evsel 'include "nothing" {search: "./"}; .' </dev/null
	[[ $output == *"module not found: nothing"* ]]
}

# ---- acknowledgements ----

@test "drops are declared, what passes is not, and a refused record is neither" {
	source_start
	source_does end 6
	{ from a 1; from b 2; from b 3; rec 4 hello; from a 5; from b 6; } >records
	run -1 evsel '.payload.source == "a"' --dead-letter dead <records
	heard_all evsel >told
	diff - told <<-EOT
	drop $RUN 2-3
	dead $RUN 4
	drop $RUN 6
	bye
	gone
	EOT
}

@test "drops are counted" {
	{ from a 1; from b 2; from b 3; } >records
	evsel '.payload.source == "a"' --metrics m <records >out
	grep -qx 'evpipe_dropped_total{pipeline="evpipe",tool="evsel"} 2' m
	grep -qx 'evpipe_records_out_total{pipeline="evpipe",tool="evsel"} 1' m
}

# ---- dead letters ----

@test "a record comes out of its dead letter as it went in" {
	cat >in <<-'EOT'
	{"z":1E400,"payload":"[\u0031,9223372036854775808]","u":{"deep":[1.10,"\/"]},"payload2":1}
	  {"payload":{"a" : 1.10 ,"a":1E400} , "seq":"0123456789abcdef:7"}   
	{"payload_b64":"//4=","key_b64":"//4="}
	EOT
	printf '\t{"payload":"crlf"}\t\r\n' >>in
	run -1 evkey .nothing --dead-letter dead <in
	[ "$(wc -l <dead)" -eq 4 ]
	evsel --undead <dead >out
	cmp in out
}

@test "a dead letter in other forms of JSON is one too" {
	cat >in <<-'EOT'
	{ "record" : {"payload":"1"} , "error" : {} , "more" : 1 }
	{"error":{"class":"x"},"line":"{\"payload\":\"2\"}"}
	{"error":{"class":"x"},"line_b64":"eyJwYXlsb2FkIjoiMyJ9"}
	EOT
	run -0 evsel --undead <in
	[ "$output" = $'{"payload":"1"}\n{"payload":"2"}\n{"payload":"3"}' ] ||
		[ "$output" = $' {"payload":"1"} \n{"payload":"2"}\n{"payload":"3"}' ]
}

@test "dead letters go round once, though what is refused again is appended to their file" {
	# More than evsel has read before evkey begins.
	seq 5000 | sed 's/.*/{"payload":"&"}/' >in
	run -1 evkey .a --dead-letter dead <in
	run -1 timeout -s KILL 60 bash -c 'set -o pipefail; evsel --undead <dead | evkey .a --dead-letter dead'
	[ "$(wc -l <dead)" -eq 10000 ]
	# A program's own input is no place for its dead letters.
	for command in 'evsel --undead' 'evkey .a' 'evack'; do
		# shellcheck disable=SC2086,SC2094 # words; it is refused
		run -100 timeout -s KILL 60 $command --dead-letter dead <dead
		[[ $output == *": the dead-letter file 'dead' is the input itself"* ]]
	done
	[ "$(wc -l <dead)" -eq 10000 ]
}

@test "a line that was too large comes back when the limit allows it" {
	printf '{"payload":"%s"}\n' "$(head -c 5000 /dev/zero | tr '\0' x)" >in
	run -1 evkey .a --max-line 1K --dead-letter dead <in
	evsel --undead <dead >out
	cmp in out
}

@test "a line that was no record is refused again, by its class" {
	echo nonsense >line
	run -1 evkey .a --dead-letter dead <line
	cp dead in
	refused_as json-decode 'the dead letter holds no record: not JSON' evsel --undead
	rm dead
	echo '{"a":1}' >line
	run -1 evkey .a --dead-letter dead <line
	cp dead in
	refused_as invalid-record 'the dead letter holds no record' evsel --undead
	rm dead
	printf '\377\n' >line
	run -1 evkey .a --dead-letter dead <line
	cp dead in
	refused_as json-decode 'the dead letter holds no record' evsel --undead
}

@test "what is no dead letter is refused" {
	for line in '{"payload":"x"}' '{"error":{}}' '{"error":1,"record":{"payload":"x"}}' \
		'{"error":{},"record":5}' '{"record":{"payload":"x"}}' '[]' \
		'{"error":{},"line_b64":"x"}' '{"payload":{"a":1}}' '{"payload":null}'; do
		echo "$line" >in
		refused_as invalid-record 'not a dead letter' evsel --undead
	done
	printf '%s\n' '{"error":{},"line":"{\"payload\":\n\"x\"}"}' >in
	refused_as invalid-record 'it has a line end in it' evsel --undead
	echo '{"error":' >in
	refused_as json-decode 'not JSON' evsel --undead
}

@test "out of a topic of dead letters a record takes the seq of its letter" {
	source_start
	source_does end 3
	letter='{\"error\":{\"class\":\"x\"},\"record\":{\"seq\":\"fedcba9876543210:9\",\"payload\":\"old\"}}'
	bare='{\"error\":{\"class\":\"x\"},\"record\":{\"payload\":\"bare\"}}'
	{ rec 1 "$letter"; rec 2 "$bare"; rec 3 "nothing"; } >records
	run -1 --separate-stderr evsel --undead --dead-letter dead <records
	[ "$(head -n 1 <<<"$output")" = "{\"seq\":\"$RUN:1\",\"payload\":\"old\"}" ]
	[ "$(sed -n 2p <<<"$output")" = "{\"seq\":\"$RUN:2\",\"payload\":\"bare\"}" ]
	heard_all evsel >told
	[ "$(cat told)" = "$(echo "dead $RUN 3"; echo bye; echo gone)" ]
	# Without a seq there is none.
	echo "{\"payload\":\"$letter\"}" >records
	EVPIPE_ACK='' run -0 evsel --undead <records
	[ "$output" = '{"seq":null,"payload":"old"}' ]
}

@test "an assignment is named, since it keeps everything; a comparison is not" {
	echo '{"key":"a=b","payload":"x"}' >in
	for expr in '.key = "x"' '.payload |= 1' '.n += 1 '; do
		run -0 --separate-stderr evsel "$expr" <in
		[ "$output" = "$(<in)" ]
		[ "$stderr" = "evsel: warning: '=' assigns in jq, and what it gives holds for each record; '==' compares" ]
	done
	for expr in '.key == "a=b"' '.key != "\"="' '.key <= "b" and .key >= "a"' '.key|test("=")'; do
		run -0 --separate-stderr evsel "$expr" <in
		[ "$output" = "$(<in)" ]
		[ -z "$stderr" ]
	done
}
