#!/bin/bash
# SPDX-License-Identifier: ISC
# What flows through a topic, through a unit, and past while a topic is copied. q or a signal ends a look.
# shellcheck source=examples/pipelines/common.bash disable=SC1091
. "${0%/*}/common.bash"

printf '{"key":"%s","payload":"x"}\n' t-1 t-1 t-2 | kwrite -q -t orders
look_at_topic() {
	kread orders | evtop
}
# shown_by COMMAND REGEX: waits for its table.
shown_by() {
	"$1" >table &
	until_true grep -qE "$2" table
	stop "$!"
}
shown_by look_at_topic '^t-1 +2 +66\.7 %$'

evpipe -q -n bridge -d bridge.d --listen unix:bridge.http kread orders '|' kwrite -q -t copy &
unit=$!
until_true [ -e bridge.d/current/ready/kwrite ]
look_at_directory() {
	evtop -d bridge.d
}
look_at_url() {
	evtop unix:bridge.http
}
shown_by look_at_directory '^kwrite +bridge '
shown_by look_at_url '^kwrite +bridge '
stop "$unit"

kread -e orders | evtop --every 1m | kwrite -t copy
in_topic copy 't-2 x'
