#!/bin/bash
# SPDX-License-Identifier: ISC
# What is twice in a batch goes on once.
# shellcheck source=examples/pipelines/common.bash disable=SC1091
. "${0%/*}/common.bash"

printf '{"payload":"%s"}\n' a b a c b >records.ndjson
evbatch -n 100 -P 2 -- sh -c 'sort | uniq' <records.ndjson >out
[ "$(jq -r .payload out | tr '\n' ' ')" = 'a b c ' ]
