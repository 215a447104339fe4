#!/bin/bash
# SPDX-License-Identifier: ISC
# Records for people: the last five of a topic, by a format, from channels, and refused ones.
# shellcheck source=examples/pipelines/common.bash disable=SC1091
. "${0%/*}/common.bash"

export TZ=UTC
for n in 1 2 3; do
	echo "{\"key\":\"k$n\",\"ts\":1795677803876,\"payload\":\"{\\\"id\\\":$n}\"}"
done | kwrite -q -t orders -p 3
kread -o -5 -e orders | evfmt >out
grep -qP '^2026-11-26 07:23:23\.876\torders/3@\d+\tk3\t\{"id":3\}$' out
kread -e orders | evfmt -f '%{ts:iso} %t/%p@%o %-12k %{.payload.id}\n' >out
grep -qE '^2026-11-26T07:23:23\.876Z orders/3@[0-9]+ k2           2$' out

rsub -p 'sse:*' | evfmt -p >out &
look=$!
until_true patterns 1
redis-cli -u "$REDIS_URL" publish sse:orders '{"id": 7}' >/dev/null
until_true has out '  "id": 7'
stop "$look"

evkey .tenantId --dead-letter dead.ndjson <<<'{"topic":"orders","payload":"{}","headers":["a","b"]}' >out || [ $? -eq 1 ]
evsel --undead <dead.ndjson | evfmt -H >out
has out "$(printf '%s\t%s\t%s\t%s\t%s' - orders - a=b '{}')"
