#!/bin/bash
# SPDX-License-Identifier: ISC
# Lines of a log as server-sent events.
# shellcheck source=examples/pipelines/common.bash disable=SC1091
. "${0%/*}/common.bash"

evsse() {
	exec evsse --listen unix:web "$@"
}

echo 'first line' >access.log
tail -f access.log | evsse --raw --topic access &
until_true curl -sf --unix-socket web http://localhost/readyz
curl -sN --unix-socket web 'http://localhost/events/access?last=10' >heard &
until_true has heard 'data: first line'
echo 'second line' >>access.log
until_true has heard 'data: second line'
