#!/bin/bash
# SPDX-License-Identifier: ISC
# A pair of bridges between Kafka topics and Redis streams. Their ends are killed while events flow: none
# is lost, and towards Redis none comes twice.
# shellcheck source=examples/pipelines/common.bash disable=SC1091
. "${0%/*}/common.bash"

evpipe --restart -n bridge kread -g bridge '^(orders|payments)$' '|' evstamp --drop cloud-run-api '|' rpub --stream 'down:{topic}-{partition}' --id offset --dead-letter dead.ndjson &
forward=$!
evpipe --restart -n revbridge rsub -s up:orders up:payments -g revbridge '|' evstamp --drop nas-worker --set cloud-run-api '|' evkey .tenantId --dead-letter dead.ndjson '|' kwrite -t '{stream#up:}' &
reverse=$!

# down ID…, up ID…: an event on either side.
down() {
	printf '{"id":%d,"tenantId":"acme","source":"nas-worker"}\n' "$@" | kwrite --raw -t orders -p 0
}
up() {
	printf "xadd up:orders * payload '{\"id\":%d,\"tenantId\":\"acme\"}'\n" "$@" | redis-cli -u "$REDIS_URL" >/dev/null
}
# are_down ID…: exactly these, each once. are_up ID…: these, maybe more than once.
are_down() {
	rsub -s down:orders-0 -e | jq -r '.payload | fromjson | .id' >are_down
	[ "$(sort -n are_down)" = "$(printf '%d\n' "$@")" ]
}
are_up() {
	kread -q -e orders | jq -r '.payload | fromjson | select(.source == "cloud-run-api").id' >are_up
	[ "$(sort -nu are_up)" = "$(printf '%d\n' "$@")" ]
}

last=0
for member in kread rpub rsub kwrite; do
	unit=$forward
	[ "$last" -lt 200 ] || unit=$reverse
	mapfile -t ids < <(seq $((last + 1)) $((last + 100)))
	down "${ids[@]}"
	up "${ids[@]}"
	pkill -KILL -P "$unit" -x "$member" || true
	last=$((last + 100))
done
mapfile -t ids < <(seq "$last")
until_true are_down "${ids[@]}"
until_true are_up "${ids[@]}"
stop "$forward"
stop "$reverse"
are_down "${ids[@]}"
