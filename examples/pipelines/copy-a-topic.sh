#!/bin/bash
# SPDX-License-Identifier: ISC
# A copy of a topic in another cluster, with keys, headers and times.
# shellcheck source=examples/pipelines/common.bash disable=SC1091
. "${0%/*}/common.bash"

OLD=$KAFKA_BROKERS
kmock -t orders:6 >address &
until_true test -s address
NEW=$(cat address)
echo '{"topic":"orders","ts":1700000000000,"headers":["a","1"],"key":"k","payload":"text"}' | kwrite
kread -b "$OLD" -e orders | kwrite -b "$NEW"
for cluster in "$OLD" "$NEW"; do
	kread -b "$cluster" -e orders | jq -c '[.topic, .partition, .ts, .headers, .key, .payload]' >"${cluster##*:}"
done
cmp "${OLD##*:}" "${NEW##*:}"
has "${NEW##*:}" "$(jq -c '[.topic, .partition, .ts, .headers, .key, .payload]' <<<"$(kread -b "$OLD" -e orders)")"
