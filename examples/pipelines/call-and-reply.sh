#!/bin/bash
# SPDX-License-Identifier: ISC
# Requests through a topic and replies through another one: a service that is a line of sed, replies into Redis, and a call
# that prints each request's reply. Then a request that is sent now and awaited later.
# shellcheck source=examples/pipelines/common.bash disable=SC1091
. "${0%/*}/common.bash"

evpipe -n service kread -g service requests '|' evcorr serve -- sed -u 's/$/ too/' '|' kwrite -p have &
evpipe -n replies kread -g replies replies '|' evcorr store &

seq 100 >requests.txt
evcorr call --timeout 1m --raw --reply-to replies -- kwrite -t requests <requests.txt >answers
diff <(jq -r .payload answers | sort -n) <(sed 's/$/ too/' requests.txt)

echo '{"headers":["correlation-id","order-17"],"payload":"later"}' | evcorr stamp --reply-to replies | kwrite -t requests
evcorr wait --timeout 1m order-17 >answer
[ "$(jq -r .payload answer)" = 'later too' ]
