#!/bin/bash
# SPDX-License-Identifier: ISC
# Kafka by HTTP: records of a topic go to another one, and one that a program sends by itself.
# shellcheck source=examples/pipelines/common.bash disable=SC1091
. "${0%/*}/common.bash"

# Beside other runs of this script the broker is the tests', and the addresses are sockets.
khttp() {
	local words=() word
	for word; do
		case $word in
		broker:9092) word=$KAFKA_BROKERS ;;
		:8080) word=unix:$work/shown ;;
		esac
		words+=("$word")
	done
	[[ " $* " == *' --listen '* ]] || words+=(--listen "unix:$work/web")
	command khttp "${words[@]}" --management none
}
curl() { command curl --unix-socket web "$@"; }

# unsaid COMMAND: its output is not looked at.
unsaid() { "$@" >answer; }

khttp -b broker:9092 &
until_true unsaid curl -sf http://127.0.0.1:8080/ready
echo '{"key":"a","headers":["h","1"],"payload":"x"}' | kwrite -t orders
kread -e orders | curl -sf -H 'Content-Type: application/x-ndjson' -T - -X POST http://127.0.0.1:8080/topics/copied
until_true in_topic copied 'a x'
curl -sf -H 'Content-Type: application/json' -d '{"records":[{"key":"b","value":{"n":1.10}}]}' \
	http://127.0.0.1:8080/topics/copied
until_true in_topic copied '"b" {"n":1.10}'

unsaid curl -s -X POST http://127.0.0.1:8080/consumers/copies -H 'Content-Type: application/json' -d '{"name":"one","auto.offset.reset":"earliest"}'
curl -s -X POST http://127.0.0.1:8080/consumers/copies/instances/one/subscription -H 'Content-Type: application/json' -d '{"topics":["orders"]}'
curl -sN -H 'Accept: application/x-ndjson' http://127.0.0.1:8080/consumers/copies/instances/one/records >records &
until_true grep -qF '"payload":"x"' records

echo s3cret >tokens
khttp -b broker:9092 --listen :8080 --token-file tokens &
until_true unsaid command curl -sf --unix-socket shown http://127.0.0.1:8080/ready
[ "$(command curl -s -o answer -w '%{http_code}' --unix-socket shown http://127.0.0.1:8080/topics)" = 401 ]
command curl -sf --unix-socket shown -H 'Authorization: Bearer s3cret' http://127.0.0.1:8080/topics
