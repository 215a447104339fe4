#!/bin/bash
# SPDX-License-Identifier: ISC
# Half an hour of two topics: what is older and what is newer is not printed.
# Needs a real Kafka with these topics: kmock cannot look for a time.
# shellcheck source=examples/pipelines/common.bash disable=SC1091
. "${0%/*}/common.bash"

now=$(date +%s)
for minutes in 90 45 40 10; do
	echo "{\"topic\":\"orders\",\"ts\":$(((now - minutes * 60) * 1000)),\"payload\":\"$$ $minutes\"}"
done | kwrite -p 0
kread -o @-1h --until @-30m '^(orders|payments)$' >out
[ "$(jq -r .payload out | grep "^$$ " | tr '\n' ' ')" = "$$ 45 $$ 40 " ]
