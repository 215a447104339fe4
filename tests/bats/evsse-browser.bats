#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# evsse before a real browser: what an EventSource of Chromium gets, and what the page shows.

# bats file_tags=once
load helpers
load evsse

# A browser costs seconds to start: the file has one, driven by descriptor 8. See tests/bats/browser.
setup_file() {
	mkfifo "$BATS_FILE_TMPDIR/commands"
	# Killed, it leaves its profile behind.
	TMPDIR=$BATS_FILE_TMPDIR SPAWN_DIR=$BATS_FILE_TMPDIR spawn chromium sh -c 'exec "$1" <"$2"' sh "$ROOT/tests/bats/browser" \
		"$BATS_FILE_TMPDIR/commands"
	exec 8>"$BATS_FILE_TMPDIR/commands"
	say size 1100 700 light
}

# The first test may not be the one that has made the descriptor.
setup() {
	harness_setup
	exec 8>"$BATS_FILE_TMPDIR/commands"
	port=$(free_port)
}

teardown_file() {
	harness_teardown_file
}

# say COMMAND…: to the browser; $answer is what it says.
say() {
	local out=$BATS_FILE_TMPDIR/chromium.out before
	before=$(wc -l <"$out")
	echo "$*" >&8
	wait_lines "$out" $((before + 1)) || { cat "$BATS_FILE_TMPDIR/chromium.err" >&2; return 1; }
	answer=$(tail -n 1 "$out")
}

# shows EXPRESSION: whether it is true in the page.
shows() {
	say js "$*"
	[ "$answer" = true ]
}

# serve OPTION…: evsse on a port of TCP, fed by descriptor 7, and its end.
serve() {
	rm -f in
	mkfifo in
	spawn sse sh -c 'exec evsse --listen "$0" "$@" <in' "127.0.0.1:$port" "$@"
	exec 7>in
	wait_for "curl -sf http://127.0.0.1:$port/readyz"
}
unserve() {
	exec 7>&-
	wait_exit sse
}

metric() {
	curl -sf "http://127.0.0.1:$port/metrics" | sed -n "s/^evpipe_$1{.*} //p"
}

# listen QUERY: a plain page with an EventSource; all that it is told stands in got, as "EVENT ID DATA".
listen() {
	say go "http://127.0.0.1:$port/healthz"
	say js "window.got = []; window.es = new EventSource('/events/orders?$1'); for (const n of ['orders', 'gap', 'message']) es.addEventListener(n, e => got.push(n + ' ' + e.lastEventId + ' ' + e.data)); new Promise(r => es.onopen = () => r(0))"
}

@test "Chromium: each event once through restarts and a kill, with what came meanwhile" {
	serve --retry 200ms
	listen
	orders 1 100 >&7
	wait_for 'shows "got.length == 100"'
	unserve
	serve --retry 200ms
	orders 50 200 >&7
	wait_for 'shows "got.length == 200"'
	stop sse KILL
	wait_exit sse
	serve --retry 200ms
	orders 150 210 >&7
	wait_for 'shows "got.length == 210"'
	shows "got.every((t, i) => t == 'orders orders/0=' + (i + 1) + ' {\"n\":' + (i + 1) + '}')"
	shows 'es.readyState == 1'
}

@test "Chromium: a gap is told, and a filter holds back what is not asked for" {
	serve --keep 10 --retry 200ms --heartbeat 300ms
	listen
	orders 1 3 >&7
	wait_for 'shows "got.length == 3"'
	unserve
	serve --keep 10 --retry 200ms --heartbeat 300ms
	orders 20 60 >&7
	wait_for 'shows "got.at(-1).endsWith(\"{\\\"n\\\":60}\")"'
	# The restarted source has gone on at 20; what was kept when the browser came again decides the rest.
	shows "(() => { let next = 4; for (const t of got.slice(3)) { const d = JSON.parse(t.slice(t.indexOf('{'))); if (t.startsWith('gap')) { if (d.from != next) return false; next = d.to + 1; } else { if (d.n != next) return false; next++; } } return next == 61 && got.some(t => t.startsWith('gap')); })()"
	listen 'where=.n>70'
	orders 61 75 >&7
	wait_for 'shows "got.length == 5"'
	shows "got[0] == 'orders orders/0=71 {\"n\":71}'"
	orders 1 3 1 >&7
	# What was passed over moves the place, in a comment that fires nothing; after a restart nothing of it comes again.
	wait_for '[ "$(metric records_out_total)" -ge 59 ]'
	unserve
	serve --keep 10 --retry 200ms
	orders 70 80 >&7
	wait_for 'shows "got.length == 10"'
	shows "got.map(t => JSON.parse(t.slice(t.indexOf('{'))).n).join() == '71,72,73,74,75,76,77,78,79,80'"
}

@test "Chromium: a tab that stands still holds up nobody, and is told what it has missed" {
	serve --keep 100 --stuck 60s
	listen
	spawn quick curl -sN "http://127.0.0.1:$port/events/orders" </dev/null
	wait_file_contains quick.out retry:
	say freeze
	seq 0 7999 | sed "s/.*/{\"topic\":\"orders\",\"partition\":0,\"offset\":&,\"payload\":\"& $(printf '%02000d' 0)\"}/" >&7
	wait_for 'grep -q "^data: 7999 " quick.out'
	say thaw
	wait_for 'shows "got.length && got.at(-1).split(\" \")[2] == 7999"'
	shows "(() => { let next = 0; for (const t of got) { if (t.startsWith('gap')) { const d = JSON.parse(t.slice(t.indexOf('{'))); if (d.from != next) return false; next = d.to + 1; } else { if (t.split(' ')[2] != next) return false; next++; } } return next == 8000 && got.some(t => t.startsWith('gap')); })()"
}

@test "Chromium: the page shows events, filters, pauses, marks gaps and reconnects" {
	serve --keep 10 --retry 200ms
	say go "http://127.0.0.1:$port/"
	wait_for 'shows "document.getElementById(\"state\").textContent == \"live\""'
	orders 1 5 >&7
	echo '{"topic":"orders","partition":0,"offset":6,"key":"<b>","payload":{"big":12345678901234567890,"t":"<i>x</i>"}}' >&7
	events='document.querySelectorAll("li.event:not([hidden])")'
	wait_for "shows '$events.length == 6'"
	# Nothing of a record is markup, and numbers stay as they are.
	say js "${events}[0].querySelector('details').open = true; new Promise(r => setTimeout(r, 0))"
	wait_for "shows '${events}[0].querySelector(\"pre\").textContent.includes(\"12345678901234567890\")'"
	shows "${events}[0].querySelector('i, b') === null && ${events}[0].textContent.includes('<i>x</i>')"
	say js 'document.getElementById("filter").value = "k3"; document.getElementById("filter").oninput()'
	shows "$events.length == 1"
	say js 'document.getElementById("filter").value = ""; document.getElementById("filter").oninput()'
	say js 'document.getElementById("pause").click()'
	orders 7 8 >&7
	wait_for '[ "$(metric deliveries_total)" -ge 8 ]'
	wait_for 'shows "held.length == 2"'
	shows "$events.length == 6"
	say js 'document.getElementById("pause").click()'
	wait_for "shows '$events.length == 8'"
	unserve
	serve --keep 10 --retry 200ms
	orders 30 60 >&7
	wait_for 'shows "document.querySelectorAll(\"li.gap\").length > 0"'
	wait_for 'shows "document.getElementById(\"again\").textContent == 1"'
	wait_for "shows '${events}[0].textContent.includes(\"0/60\")'"
	# On a phone nothing is wider than the screen.
	say size 390 800 dark
	shows 'document.documentElement.scrollWidth <= innerWidth'
	say size 1100 700 light
	[ ! -s "$BATS_FILE_TMPDIR/chromium.err" ]
}
