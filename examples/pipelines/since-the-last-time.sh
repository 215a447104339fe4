#!/bin/bash
# SPDX-License-Identifier: ISC
# What has come into a topic since the last time: the records that are saved say where to go on.
# shellcheck source=examples/pipelines/common.bash disable=SC1091
. "${0%/*}/common.bash"

for ((round = 1; round <= 3; round++)); do
	seq $((round * 10)) $((round * 10 + 9)) | kwrite --raw -t orders
	: >>orders.ndjson
	# shellcheck disable=SC2094 # kread has read it before it prints
	kread -e --offsets orders.ndjson orders >>orders.ndjson
	kread -e orders | sort | cmp - <(sort orders.ndjson)
done
