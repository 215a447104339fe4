#!/bin/bash
# SPDX-License-Identifier: ISC
# A Kafka in memory with two topics, to try things on.
# shellcheck source=examples/pipelines/common.bash disable=SC1091
. "${0%/*}/common.bash"

kmock -t orders:6 -t payments:1 >address &
until_true test -s address
export KAFKA_BROKERS
KAFKA_BROKERS=$(cat address)
seq 60 | kwrite --raw -t payments
[ "$(kread --raw -e payments)" = "$(seq 60)" ]
stop $!
