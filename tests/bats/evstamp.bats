#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# evstamp: drops, stamps, counts hops; and the bytes that it does not own stay as they came.

load helpers

# stamped "OPTIONS" LINE EXPECTED: the line comes out so, byte for byte.
stamped() {
	local options
	read -ra options <<<"$1"
	printf '%s\n' "$2" >in
	printf '%s\n' "$3" >expected
	evstamp "${options[@]}" <in >out
	diff expected out
}

# refused_as CLASS "OPTIONS" LINE [PART]
refused_as() {
	local options
	read -ra options <<<"$2"
	printf '%s\n' "$3" >in
	status=0
	evstamp "${options[@]}" <in >out 2>err || status=$?
	cat err
	[ "$status" -eq 1 ]
	[ ! -s out ]
	[[ $(cat err) == "evstamp: line 1: "*"${4:-}"*" ($1)" ]]
}

# ---- a line that passes is the line that came ----

@test "a line that passes --drop comes out identical, however it is written" {
	cat >in <<-'EOT'
	{"payload":"{\"source\":\"other\"}"}
	 { "payload" : "{ \"a\" : 1 }" , "topic" : "t" }	
	{"topic":"t","partition":2,"offset":9223372036854775807,"tstype":"create","ts":1,"headers":[],"key":"k","payload":"p"}
	{"payload":"x","unknown":{"deep":[1.10,1E400,-0,9223372036854775808,0.1e-7]},"z":null,"a":true}
	{"payload":"first","payload":"second","x":1,"x":2,"\u0070ayload":"third"}
	{"payload":"\u00e9\/\ud83d\ude00\b\f\n\r\t\u0000\u001F\u007f","key":"\/\u002f"}
	{"headers":["a","","a",null,"",{"b64":"//4="}],"payload":null,"key":null}
	{"payload_b64":"//79AA==","key_b64":""}
	{"payload":{"source" : "other","n":1.10 , "n":1E400},"x":"\ud83d"}
	{"payload":[ 1, "\/" ],"headers":null,"topic":null}
	EOT
	printf '{"payload":"crlf"}\r\n' >>in
	printf '{"payload":"%s \x7f"}\n' 'Zürich 東京 🚀 عربى ﷽' >>in
	evstamp --drop me <in >out
	cmp in out
	evstamp --drop me --drop you --drop them <in >out
	cmp in out
	evstamp --drop me --at header:origin <in >out
	cmp in out
}

@test "--drop leaves 100,000 lines as they came" {
	seq 100000 | sed 's/.*/ {"payload":"{\\"source\\":\\"x\\", \\"n\\":&.10}","n":&, "u":"\\\/&"}/' >in
	evstamp --drop me <in >out
	cmp in out
}

# ---- --drop and --only ----

@test "--drop drops the records of these origins and counts them" {
	cat >in <<-'EOT'
	{"payload":"{\"source\":\"a\",\"n\":1}"}
	{"payload":"{\"source\":\"b\",\"n\":2}"}
	{"payload":"{\"n\":3}"}
	{"payload":"{\"source\":\"c\",\"n\":4}"}
	EOT
	evstamp --drop a --drop c --metrics metrics <in >out
	sed -n '2p;3p' in >expected
	cmp expected out
	grep -q '^evpipe_dropped_total{pipeline="evpipe",tool="evstamp"} 2$' metrics
	grep -q '^evpipe_records_in_total{pipeline="evpipe",tool="evstamp"} 4$' metrics
	grep -q '^evpipe_records_out_total{pipeline="evpipe",tool="evstamp"} 2$' metrics
	grep -q '^evpipe_errors_total{pipeline="evpipe",tool="evstamp",type="json-decode"} 0$' metrics
}

@test "--only drops all but the records of these origins" {
	cat >in <<-'EOT'
	{"payload":"{\"source\":\"a\",\"n\":1}"}
	{"payload":"{\"source\":\"b\",\"n\":2}"}
	{"payload":"{\"n\":3}"}
	{"payload":"no JSON"}
	{"payload":null}
	{"payload":"{\"source\":\"c\",\"n\":4}"}
	EOT
	evstamp --only a --only c --metrics metrics <in >out
	sed -n '1p;6p' in >expected
	cmp expected out
	grep -q '^evpipe_dropped_total{pipeline="evpipe",tool="evstamp"} 4$' metrics
}

@test "an origin is compared whole and by its meaning" {
	cat >in <<-'EOT'
	{"payload":"{\"source\":\"me2\"}"}
	{"payload":"{\"source\":\"m\"}"}
	{"payload":"{\"source\":\"\"}"}
	{"payload":"{\"source\":\"ME\"}"}
	{"payload":"{\"Source\":\"me\"}"}
	{"payload":"{\"a\":{\"source\":\"me\"}}"}
	{"payload":"{\"source\":[\"me\"]}"}
	EOT
	cp in expected
	cat >>in <<-'EOT'
	{"payload":"{\"source\":\"\u006de\"}"}
	{"payload":"{\"source\":\"\\u006de\"}"}
	{"payload":"{\"sourc\u0065\":\"me\"}"}
	{"payload":"{\"sourc\\u0065\":\"me\"}"}
	{"payload":{"source":"me"}}
	{"payload_b64":"eyJzb3VyY2UiOiJtZSJ9"}
	{"payload":"{\"source\":\"you\",\"source\":\"me\"}"}
	EOT
	evstamp --drop me <in >out
	diff expected out
}

@test "what is not JSON has no origin and passes --drop" {
	stamped "--drop me" '{"payload":"source: me"}' '{"payload":"source: me"}'
	stamped "--drop me" '{"payload":"{\"source\":\"me\""}' '{"payload":"{\"source\":\"me\""}'
	stamped "--drop me" '{"payload":null}' '{"payload":null}'
	stamped "--drop me" '{"payload":"\"me\""}' '{"payload":"\"me\""}'
}

@test "--at names another place in the payload" {
	printf '%s\n' '{"payload":"{\"m\":{\"o\":[{\"by\":\"me\"}]},\"source\":\"you\"}"}' \
		'{"payload":"{\"source\":\"me\"}"}' >in
	evstamp --at '.m.o[0].by' --drop me <in >out
	[ "$(cat out)" = '{"payload":"{\"source\":\"me\"}"}' ]
}

@test "--at header: looks at the last header of that name, and only there" {
	cat >in <<-'EOT'
	{"headers":["origin","you","origin","me"],"payload":"1"}
	{"headers":["origin","me","origin","you"],"payload":"2"}
	{"headers":["Origin","me"],"payload":"3"}
	{"headers":["x","origin","me","x"],"payload":"4"}
	{"headers":["origin",null],"payload":"5"}
	{"headers":["origin",{"b64":"bWU="}],"payload":"6"}
	{"headers":null,"payload":"{\"origin\":\"me\",\"source\":\"me\"}"}
	{"payload":"8"}
	EOT
	evstamp --at header:origin --drop me <in >out
	[ "$(jq -r .payload out)" = $'2\n3\n4\n5\n{"origin":"me","source":"me"}\n8' ]
}

# ---- --set ----

@test "--set replaces the value where it stands, and no other byte" {
	stamped "--set me" \
		'{"z":1E400, "payload":"{ \"a\" : 1.10 , \"source\" :\t\"old\" , \"n\":9223372036854775808,\"u\":\"\\u00e9\\\/\" } " ,"key":"\/"}' \
		'{"z":1E400, "payload":"{ \"a\" : 1.10 , \"source\" :\t\"me\" , \"n\":9223372036854775808,\"u\":\"\\u00e9\\\/\" } " ,"key":"\/"}'
}

@test "--set appends the member when there is none" {
	stamped "--set me" '{"payload":"{\"a\":1}"}' '{"payload":"{\"a\":1,\"source\":\"me\"}"}'
	stamped "--set me" '{"payload":"{}"}' '{"payload":"{\"source\":\"me\"}"}'
	stamped "--set me" '{"payload":" { } "}' '{"payload":" {\"source\":\"me\" } "}'
	stamped "--set me" '{"payload":"{ \"a\" : [1] \n}"}' '{"payload":"{ \"a\" : [1],\"source\":\"me\" \n}"}'
}

@test "--set replaces a value of any type" {
	stamped "--set me" '{"payload":"{\"source\":1.10,\"b\":2}"}' '{"payload":"{\"source\":\"me\",\"b\":2}"}'
	stamped "--set me" '{"payload":"{\"source\":null}"}' '{"payload":"{\"source\":\"me\"}"}'
	stamped "--set me" '{"payload":"{\"source\":{\"a\":[\"}\"]} }"}' '{"payload":"{\"source\":\"me\" }"}'
	stamped "--set me" '{"payload":"{\"source\":\"\"}"}' '{"payload":"{\"source\":\"me\"}"}'
	stamped "--set me" '{"payload":"{\"source\":\"\\\"\\\\\"}"}' '{"payload":"{\"source\":\"me\"}"}'
}

@test "of two members with one name --set changes the one that counts" {
	stamped "--set me" '{"payload":"{\"source\":\"a\",\"source\":\"b\"}"}' \
		'{"payload":"{\"source\":\"a\",\"source\":\"me\"}"}'
	stamped "--set me" '{"payload":"x","payload":"{\"source\":\"b\"}"}' \
		'{"payload":"x","payload":"{\"source\":\"me\"}"}'
}

@test "--set works within a payload that is an object in the line" {
	stamped "--set me" '{"payload":{"a":"\/" , "source":"old"},"x":1.10}' \
		'{"payload":{"a":"\/" , "source":"me"},"x":1.10}'
	stamped "--set me" '{"payload":{}}' '{"payload":{"source":"me"}}'
}

@test "--set works within a payload whose characters are escaped in the line" {
	stamped "--set me" '{"payload":"\u007b\"s\u006furce\":\"\u006fld\",\"a\":\"\\u0031\"\u007d"}' \
		'{"payload":"\u007b\"s\u006furce\":\"me\",\"a\":\"\\u0031\"\u007d"}'
}

@test "--set works within a payload in base64" {
	printf '{"payload_b64":"%s","x":1.10}\n' "$(printf '{"a":"é","source":"b"}' | base64 -w 0)" >in
	evstamp --set me <in >out
	python3 - <<-'EOP'
	import base64, json
	r = json.load(open("out"))
	text = r["payload"].encode() if "payload" in r else base64.b64decode(r["payload_b64"])
	assert text == '{"a":"é","source":"me"}'.encode(), text
	EOP
}

@test "--set escapes what it writes" {
	printf '%s\n' '{"payload":"{\"a\":1}"}' '{"payload":{"a":1}}' '{"payload":"x"}' >in
	head -n 2 in | evstamp --set $'q"b\\s é\ttab' >out
	[ "$(jq -r '.payload | if type == "string" then fromjson else . end | .source' out)" = \
		$'q"b\\s é\ttab\nq"b\\s é\ttab' ]
	evstamp --at header:o --set $'q"b\\s é\ttab' <in >out
	[ "$(jq -r '.headers[1]' out)" = $'q"b\\s é\ttab\nq"b\\s é\ttab\nq"b\\s é\ttab' ]
}

@test "--set at a path writes into the object there" {
	stamped "--at .m.by --set me" '{"payload":"{\"m\":{\"x\":1},\"source\":\"s\"}"}' \
		'{"payload":"{\"m\":{\"x\":1,\"by\":\"me\"},\"source\":\"s\"}"}'
	stamped "--at .m.by --set me" '{"payload":"{\"m\":{\"by\":\"you\",\"x\":1}}"}' \
		'{"payload":"{\"m\":{\"by\":\"me\",\"x\":1}}"}'
	refused_as json-decode "--at .m.by --set me" '{"payload":"{\"x\":1}"}'
	refused_as json-decode "--at .m.by --set me" '{"payload":"{\"m\":[1]}"}'
}

@test "--set at a header changes its last value, or appends it" {
	stamped "--at header:o --set me" '{"headers":["o","a", "o" , "b","x",null],"payload":"not JSON"}' \
		'{"headers":["o","a", "o" , "me","x",null],"payload":"not JSON"}'
	stamped "--at header:o --set me" '{"headers":["x",null],"payload":null}' \
		'{"headers":["x",null,"o","me"],"payload":null}'
	stamped "--at header:o --set me" '{"headers":[],"payload":"p"}' '{"headers":["o","me"],"payload":"p"}'
	stamped "--at header:o --set me" '{"headers":["o",{"b64":"//4="}],"payload":"p"}' \
		'{"headers":["o","me"],"payload":"p"}'
}

@test "--set at a header makes headers when there are none" {
	printf '%s\n' '{"payload":"p","x":1.10}' '{"headers":null,"payload":"p","x":1.10}' >in
	evstamp --at header:o --set me <in >out
	[ "$(jq -c .headers out)" = $'["o","me"]\n["o","me"]' ]
	[ "$(grep -c '"payload":"p","x":1.10' out)" -eq 2 ]
}

@test "what is no JSON object cannot be stamped: json-decode" {
	refused_as json-decode "--set me" '{"payload":"hello"}'
	refused_as json-decode "--set me" '{"payload":"[1]"}'
	refused_as json-decode "--set me" '{"payload":"\"text\""}'
	refused_as json-decode "--set me" '{"payload":[1]}'
	refused_as json-decode "--set me" '{"payload":"{\"a\":1}x"}'
	refused_as json-decode "--set me" '{"payload":"{\"source\":\"a\","}'
	refused_as json-decode "--set me" '{"payload":""}'
	refused_as json-decode "--set me" '{"payload":null}' null
	refused_as json-decode "--set me" '{"payload_b64":"//4="}'
}

@test "nesting over the limit in the payload is too-large for --set" {
	refused_as too-large "--set me" \
		"{\"payload\":\"{\\\"a\\\":$(printf '[%.0s' {1..600})$(printf ']%.0s' {1..600})}\"}"
}

@test "the origin is looked at before it is stamped" {
	cat >in <<-'EOT'
	{"payload":"{\"source\":\"nas-worker\",\"n\":1}"}
	{"payload":"{\"source\":\"browser\",\"n\":2}"}
	{"payload":"{\"source\":\"cloud-run-api\",\"n\":3}"}
	EOT
	evstamp --drop nas-worker --set cloud-run-api <in >out
	[ "$(cat out)" = '{"payload":"{\"source\":\"cloud-run-api\",\"n\":2}"}
{"payload":"{\"source\":\"cloud-run-api\",\"n\":3}"}' ]
	evstamp --drop cloud-run-api <out >back
	[ ! -s back ]
}

@test "stamping twice is stamping once" {
	printf '%s\n' '{"payload":"{\"a\":1}","n":1.10}' >in
	evstamp --set me <in >once
	evstamp --set me <once >twice
	cmp once twice
}

# A thousand payloads made of a head, the value and a tail, written into the line with escapes chosen at
# random: head and tail must come out in the bytes that went in.
@test "around what is spliced in, all bytes of any payload stay" {
	python3 - <<-'EOP'
	import json, random
	random.seed(7)
	space = lambda: "".join(random.choice(["", "", " ", "\t", "\n"]) for _ in range(2))
	chars = ["a", "é", "東", "🚀", "\\u00e9", "\\/", "\\\"", "\\\\", "\\n", "source", "{", "}", ","]
	def text():
	    return '"' + "".join(random.choice(chars) for _ in range(random.randrange(5))) + '"'
	def value(depth):
	    kind = random.randrange(7 if depth else 5)
	    if kind == 5:
	        return "[" + ",".join(space() + value(depth - 1) + space() for _ in range(random.randrange(4))) + "]"
	    if kind == 6:
	        return "{" + ",".join(member(depth - 1) for _ in range(random.randrange(4))) + "}"
	    return [text(), "1.10", "1E400", "9223372036854775808", "null"][kind]
	def member(depth):
	    return space() + '"m' + str(random.randrange(9)) + '"' + space() + ":" + space() + value(depth) + space()
	def escape(s):
	    """As a string's inside: each character in one of its spellings."""
	    out = ""
	    for c in s:
	        short = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "/": "\\/"}
	        units = "".join("\\u%04x" % int.from_bytes(c.encode("utf-16-be")[i:i + 2], "big")
	                        for i in range(0, len(c.encode("utf-16-be")), 2))
	        if random.randrange(8) == 0:
	            out += random.choice([units, units.replace("\\u", "\0").upper().replace("\0", "\\u")])
	        elif c == "/" and random.randrange(2):
	            out += "/"
	        else:
	            out += short.get(c, c)
	    return out
	with open("in", "w") as into, open("expected", "w") as expected:
	    for _ in range(1000):
	        before = [member(2) for _ in range(random.randrange(4))]
	        after = [member(2) for _ in range(random.randrange(4))]
	        old = value(2)
	        name = '"source"' + space() + ":" + space()
	        head = space() + "{" + "".join(m + "," for m in before) + space() + name
	        tail = space() + "".join("," + m for m in after) + "}" + space()
	        if random.randrange(2):
	            # Inline a payload is on one line.
	            head, old, tail = (s.replace("\n", " ").strip(" \t") if s is head or s is tail else
	                               s.replace("\n", " ") for s in (head, old, tail))
	            line = ['{"x":1.10,"payload":' + head, old, tail + ', "y":"\\/"}']
	            new = '"me"'
	        else:
	            line = ['{"x":1.10,"payload":"' + escape(head), escape(old), escape(tail) + '", "y":"\\/"}']
	            new = '\\"me\\"'
	        print("".join(line), file=into)
	        print(line[0] + new + line[2], file=expected)
	EOP
	evstamp --set me <in >out
	[ "$(wc -l <out)" -eq 1000 ]
	cmp expected out
}

# ---- --max-hops ----

@test "--max-hops counts beside the origin and refuses what went too far" {
	stamped "--max-hops 3" '{"payload":"{\"a\":1.10}"}' '{"payload":"{\"a\":1.10,\"hops\":1}"}'
	stamped "--max-hops 3" '{"payload":"{\"hops\":2,\"a\":1.10}"}' '{"payload":"{\"hops\":3,\"a\":1.10}"}'
	refused_as loop "--max-hops 3" '{"payload":"{\"hops\":3}"}' 3
	refused_as loop "--max-hops 3" '{"payload":"{\"hops\":4}"}'
	refused_as loop "--max-hops 0" '{"payload":"{}"}'
}

@test "--max-hops by a header leaves the payload alone" {
	stamped "--at header:origin --max-hops 2" '{"payload":"not JSON","headers":[]}' \
		'{"payload":"not JSON","headers":["hops","1"]}'
	stamped "--at header:origin --max-hops 2" '{"payload":null,"headers":["hops","1"]}' \
		'{"payload":null,"headers":["hops","2"]}'
	refused_as loop "--at header:origin --max-hops 2" '{"payload":"x","headers":["hops","2"]}'
}

@test "two bridges that echo for ever are stopped by --max-hops" {
	echo '{"payload":"{}"}' >record
	for _ in 1 2 3 4 5; do
		evstamp --max-hops 5 <record >next
		mv next record
	done
	run -1 evstamp --max-hops 5 --dead-letter dead <record
	[ "$(jq -c '[.error.class, .record.payload]' dead)" = '["loop","{\"hops\":5}"]' ]
}

@test "--max-hops and --set write both" {
	stamped "--max-hops 2 --set me" '{"payload":"{\"source\":\"a\",\"b\":1E400}"}' \
		'{"payload":"{\"source\":\"me\",\"b\":1E400,\"hops\":1}"}'
	refused_as loop "--max-hops 2 --set me" '{"payload":"{\"hops\":2}"}'
}

@test "a dropped record is not counted as a hop" {
	echo '{"payload":"{\"source\":\"me\",\"hops\":9}"}' >in
	evstamp --drop me --max-hops 3 <in >out
	[ ! -s out ]
}

@test "a hop count that is no whole number is invalid-record" {
	refused_as invalid-record "--max-hops 3" '{"payload":"{\"hops\":1.5}"}'
	refused_as invalid-record "--max-hops 3" '{"payload":"{\"hops\":\"many\"}"}'
	refused_as invalid-record "--max-hops 3" '{"payload":"{\"hops\":-1}"}'
	refused_as invalid-record "--at header:o --max-hops 3" '{"headers":["hops",""],"payload":"x"}'
	refused_as invalid-record "--max-hops 3" '{"payload":"{\"hops\":99999999999999999999}"}'
	refused_as invalid-record "--max-hops 3" '{"payload":"{\"hops\":100000000000000000000}"}'
}

@test "what a message quotes of a payload is fit for a terminal and for a dead letter" {
	printf "%s\n" '{"payload":"{\"hops\":\"ab\\u001b[31m\\u00e9\\u00e9\\u00e9\\u00e9\\u00e9\\u00e9\\u00e9\\u00e9\"}"}' >in
	evstamp --max-hops 3 --dead-letter dead <in 2>err || [ $? -eq 1 ]
	grep -qF 'not a whole number: ab?[31méééééé? (invalid-record)' err
	jq -e '.error.message | endswith("ab?[31méééééé?")' dead
}

# ---- usage ----

@test "nothing to do, a place that is none and a count that is none are wrong usage" {
	run -100 evstamp </dev/null
	[[ $output == "evstamp: nothing to do"*"try 'evstamp --help'" ]]
	run -100 evstamp --set me --at source </dev/null
	run -100 evstamp --set me --at '.a[0]' </dev/null
	run -100 evstamp --set me --at header: </dev/null
	run -100 evstamp --set '' </dev/null
	run -100 evstamp --set me --max-hops -1 </dev/null
	run -100 evstamp --set a --set b </dev/null
	run -100 evstamp --set me operand </dev/null
}
