#!/bin/bash
# SPDX-License-Identifier: ISC
# REST in, topic, worker, reply topic, cache, REST out: success, an error of the service, a time-out, and a caller that
# has died, whose reply is found in the cache.
# shellcheck source=examples/pipelines/common.bash disable=SC1091
. "${0%/*}/common.bash"

# Beside other runs of this script the address is another one.
evcorr() {
	local words=() word
	for word; do
		[ "$word" != 127.0.0.1:8080 ] || word=unix:$work/web
		words+=("$word")
	done
	exec evcorr "${words[@]}"
}

cat >price <<'EOF'
#!/bin/bash
while read -r article; do
	case $article in
	gone) echo 404 >&3 ;;
	rare) until [ -e found ]; do sleep 0.1; done ;;
	esac
	echo "price of $article"
done
EOF
chmod +x price
evpipe -n shop kread -g shop requests '|' evcorr serve -P 4 -- ./price '|' kwrite -p have &
evpipe -n replies kread -g replies replies '|' evcorr store &
evcorr http --listen 127.0.0.1:8080 --reply-to replies -- kwrite -t requests &
front=$!
call() { curl -sS --unix-socket web -w ' %{http_code}' http://127.0.0.1:8080/ "$@"; }
ready() { [ "$(curl -s --unix-socket web http://127.0.0.1:8080/readyz)" = ok ]; }
until_true ready
[ "$(call -H 'X-Timeout: 60' -d apple)" = 'price of apple 200' ]
[ "$(call -H 'X-Timeout: 60' -d gone)" = 'price of gone 404' ]
[[ $(call -H 'X-Timeout: 1' -d rare) == *' 504' ]]
# The caller dies, and so does the front.
call -H 'X-Timeout: 60' -H 'Correlation-Id: mine' -d rare --max-time 2 || true
kill -KILL "$front"
: >found
[ "$(evcorr wait --timeout 60s mine | jq -r .payload)" = 'price of rare' ]
