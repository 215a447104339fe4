#!/bin/bash
# SPDX-License-Identifier: ISC
# Two topics as server-sent events, and a client that hears them.
# shellcheck source=examples/pipelines/common.bash disable=SC1091
. "${0%/*}/common.bash"

# Beside other runs of this script the port is another one.
evpipe() {
	local words=() word
	for word; do
		[ "$word" != :8080 ] || word=unix:$work/web
		words+=("$word")
	done
	command evpipe "${words[@]}"
}

evpipe -n live kread -g live '^(orders|payments)$' '|' evsse --listen :8080 &
until_true curl -sf --unix-socket web http://localhost/readyz
curl -sN --unix-socket web 'http://localhost/events/orders,payments' >heard &
until_true has heard 'id: -'
echo '{"n": 1}' | kwrite --raw -t orders
echo '{"n": 2}' | kwrite --raw -t payments
until_true has heard 'data: {"n": 1}'
until_true has heard 'data: {"n": 2}'
has heard 'event: payments'
stop "$(jobs -p | head -n 1)"
