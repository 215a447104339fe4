# SPDX-License-Identifier: ISC
# shellcheck shell=bash
# What the files about evsse share.

# evsse_start OPTION…: evsse, fed by descriptor 7, on the socket web.
evsse_start() {
	rm -f web in
	mkfifo in
	spawn sse sh -c 'exec evsse --listen unix:web "$@" <in' sse "$@"
	exec 7>in
	wait_for 'get readyz'
}

# get PATH [CURL-OPTION…]: one answer.
get() {
	local path=$1
	shift
	curl -sf --unix-socket web "http://localhost/$path" "$@"
}

# hear NAME PATH [CURL-OPTION…]: a stream into NAME.out, open when this returns.
hear() {
	local name=$1 path=$2
	shift 2
	spawn "$name" curl -sN --unix-socket web "http://localhost/$path" "$@" </dev/null
	wait_file_contains "$name.out" retry:
}

# orders FIRST LAST [PARTITION]: records with payloads {"n":N}.
orders() {
	seq "$1" "$2" | sed 's/.*/{"topic":"orders","partition":'"${3:-0}"',"offset":&,"ts":&,"key":"k&","payload":"{\\"n\\":&}"}/'
}

# events FILE: what a browser makes of a stream: "EVENT ID DATA", an event a line.
events() {
	python3 - "$1" <<-'EOP'
	import re, sys
	for block in re.split("\n\n", open(sys.argv[1], newline="").read())[:-1]:
	    fields = re.findall("^(event|id|data): (.*)$", block, re.M)
	    assert "\r" not in block
	    data = [v for k, v in fields if k == "data"]
	    if data:
	        print(dict(fields).get("event"), dict(fields).get("id"), "\\n".join(data))
	EOP
}

# wait_events NAME N: until the stream of `hear` has N whole events. wait_event NAME DATA: one with just this data. A line
# that is in the file may be the beginning of an event, or of a line.
wait_events() {
	wait_for "[ \$(events $1.out | wc -l) -ge $2 ]" || { tail -n 20 "$1.out" >&2; return 1; }
}
wait_event() {
	wait_for "events $1.out | cut -d ' ' -f 3- | grep -qxF -e $(printf %q "$2")" ||
		{ tail -n 20 "$1.out" >&2; return 1; }
}
