#!/bin/bash
# SPDX-License-Identifier: ISC
# Payloads of any bytes: one into a file, byte for byte, and all of them into another topic, with receipts.
# shellcheck source=examples/pipelines/common.bash disable=SC1091
. "${0%/*}/common.bash"

printf '\n\0\377\n' >photo
head -c 4 photo | { printf '\0\0\0\4'; cat; } >frames
for ((i = 0; i < 18; i++)); do
	kwrite --framing len32 -t photos -p 2 <frames
done
kread --raw -p 2 -o 17 -c 1 --no-end photos >photo.jpg
cmp photo photo.jpg
kread -e --framing len32 photos | kwrite --framing len32 -t copies --receipts 3 3>copies.ndjson
[ "$(jq -r .topic copies.ndjson | sort | uniq -c | xargs)" = "18 copies" ]
kread -e --framing len32 copies | cmp - <(for ((i = 0; i < 18; i++)); do cat frames; done)
