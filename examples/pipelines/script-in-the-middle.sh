#!/bin/bash
# SPDX-License-Identifier: ISC
# A script in the middle of a pipeline whose group's position follows what is written: in Python, in awk, and under
# evbatch one that drops records.
# shellcheck source=examples/pipelines/common.bash disable=SC1091
. "${0%/*}/common.bash"

cat >upper.py <<'END'
import json, sys
for line in sys.stdin:
    record = json.loads(line)
    if record["payload"] is not None:
        record["payload"] = record["payload"].upper()
    print(json.dumps(record), flush=True)
END
printf '%s\n' '{"key":"a","payload":"card 1234567812345678"}' '{"payload":"no key"}' '{"key":"b","payload":null}' |
	kwrite -t orders

# written COUNT LINE: until there are so many, and this one; then the pipeline is stopped, and all was acknowledged.
written() {
	until_true are_written "$@"
	stop $!
}
are_written() {
	in_topic payments "$2" && has_lines in_topic "$1"
}

evpipe kread -g upper orders '|' python3 upper.py '|' kwrite -t payments &
written 3 'a CARD 1234567812345678'
evpipe kread -g hide orders '|' awk '{ gsub(/[0-9]{16}/, "****"); print; fflush() }' '|' kwrite -t payments &
written 6 'a card ****'
evpipe kread -g pick orders '|' evbatch -- jq -c 'select(.key)' '|' kwrite -t payments &
written 8 'a card 1234567812345678'
kread -e payments | jq -r '"\(.key) \(.payload)"' | sort >out
[ "$(grep -c '^null NO KEY$' out) $(grep -c '^null no key$' out) $(grep -c '^b null$' out)" = '1 1 3' ]
