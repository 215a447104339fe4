#!/bin/bash
# SPDX-License-Identifier: ISC
# A second site: topics are copied to another cluster, and a group moves over. $NEW_BROKERS names that cluster.
# shellcheck source=examples/pipelines/common.bash disable=SC1091
. "${0%/*}/common.bash"

OLD=$KAFKA_BROKERS NEW=${NEW_BROKERS:?names no second Kafka}
for i in $(seq 100); do
	echo "{\"topic\":\"orders\",\"key\":\"k$i\",\"headers\":[\"a\",\"1\"],\"payload\":\"$i\"}"
done | kwrite --create
kread -b "$OLD" -g orders-app --commit written -c 60 orders | jq -r .payload >was-read
evpipe -n mirror --restart kread -b "$OLD" -g mirror --follow-new '^orders' '|' kwrite -b "$NEW" -p keep --create like --old "$OLD" --map offsets-of-old &
mirror=$!
copied() {
	[ "$(kread -q -b "$NEW" -e orders | wc -l)" -ge 100 ]
}
until_true copied
# A killed member is started anew, and copies again what it had not yet told.
killed=$(pgrep -P "$mirror" -x kwrite)
anew() {
	now=$(pgrep -P "$mirror" -x kwrite) && [ "$now" != "$killed" ]
}
told() {
	kcheck -b "$OLD" -g mirror --json | jq -e 'select(.group) | .lag == 0' >/dev/null
}
kill -KILL "$killed"
until_true anew
until_true told
stop "$mirror"
kread -b "$NEW" -g orders-app --commit written --offsets-from offsets-of-old --old "$OLD" orders >rest &
reader=$!
until_true has_lines rest 40
stop "$reader"
jq -r .payload rest | sort -n - was-read | diff <(seq 100) -
