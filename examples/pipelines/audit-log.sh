#!/bin/bash
# SPDX-License-Identifier: ISC
# A signed log of two topics: verified, an entry proved, the heads kept in Kafka.
# shellcheck source=examples/pipelines/common.bash disable=SC1091
. "${0%/*}/common.bash"

seq 200 | sed 's/.*/{"key":"k&","payload":"{\\"n\\":&,\\"source\\":\\"cloud-run-api\\"}"}/' | kwrite -t orders
seq 20 | sed 's/.*/{"key":"k&","payload":"{\\"n\\":&}"}/' | kwrite -t payments

(umask 077; evchain keygen example.com/audit >audit.key) 2>audit.vkey
kread -e -o beginning orders payments | evchain append --key @audit.key audit.ndjson
evchain verify --key @audit.vkey audit.ndjson

evchain prove audit.ndjson 17 >17.tlog-proof
evchain check --key @audit.vkey 17.tlog-proof "$(sed -n 18p audit.ndjson)"

evchain show --origin cloud-run-api --from -1h audit.ndjson >shown
[ "$(wc -l <shown)" -eq 200 ]

# The heads go where the log's owner cannot write.
kread -e -o beginning orders | evchain append --key @audit.key --heads 1 audit.ndjson | kwrite -t audit-heads
kread -q -e -o -1 audit-heads | jq -r .payload >yesterday.head
evchain verify --key @audit.vkey --head yesterday.head audit.ndjson
evchain consistency --key @audit.vkey audit.ndjson yesterday.head

rsub -p 'sse:*' >heard &
until_true patterns 1
kread -e -o beginning orders | evchain append --key @audit.key --pass audit.ndjson | rpub 'sse:{topic}'
until_true has_lines heard 200

seq -f 'line %g' 50 >access.log
evchain append --raw --key @audit.key audit.ndjson <access.log
evchain show --records --number 100-199 audit.ndjson | kwrite -t again
[ "$(kread -q -e -o beginning again | wc -l)" -eq 100 ]
evchain verify --key @audit.vkey audit.ndjson
