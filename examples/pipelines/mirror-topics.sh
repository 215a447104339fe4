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
# A killed member is started anew.
killed=$(pgrep -P "$mirror" -x kwrite)
anew() {
	now=$(pgrep -P "$mirror" -x kwrite) && [ "$now" != "$killed" ]
}
kill -KILL "$killed"
until_true anew
stop "$mirror"
kread -b "$NEW" -g orders-app --commit written --offsets-from offsets-of-old --old "$OLD" orders >rest &
reader=$!
until_true has_lines rest 40
stop "$reader"
jq -r .payload rest | sort -n - was-read | diff <(seq 100) -
