#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# examples/supervise/ under the real supervisors, on a real Kafka and a Redis with a password: services that go up and
# down, are killed and are upgraded while events flow. What crosses is counted: each event once, or at least once.

# bats file_tags=once
load helpers

EVENTS=1500

# services: examples/supervise/ with its servers, and programs that an upgrade can replace.
services() {
	export XDG_RUNTIME_DIR=$T
	own_kafka_start
	redis_start redis --requirepass geheim
	export REDISCLI_AUTH=geheim
	# A short name: a socket's path has room for 107 bytes.
	cp -r "$ROOT/examples/supervise" u
	printf 'KAFKA_BROKERS=%s\nREDIS_URL=%s\n' "$KAFKA_BROKERS" "$REDIS_URL" >u/config/environment
	echo geheim >u/config/redis-password
	for topic in orders:3 payments:1 orders-copy:3; do
		"$ROOT/tests/kafka/topics" "$KAFKA_BROKERS" create "${topic%:*}" "${topic#*:}"
	done
	mkdir bin
	install "$EVPIPE_BUILD"/tools/bin/* bin
	export PATH=$T/bin:$PATH
}

# Services are sessions of their own: they are known by the directory they run in.
teardown() {
	local dir
	[ -n "${BATS_TEST_COMPLETED:-}" ] || tail -n 20 "$T"/u/*/*/log/main/current 2>/dev/null || true
	for dir in /proc/[0-9]*; do
		[[ $(readlink "$dir/cwd") != "$T"/u/* ]] || kill -KILL "${dir#/proc/}" 2>/dev/null || true
	done
	[ ! -e systemd.pid ] || [ -n "${BATS_TEST_COMPLETED:-}" ] || inside journalctl -n 50 --no-pager || true
	# The container outlives its systemd-nspawn; with its process 1 all of it ends.
	[ ! -e systemd.pid ] || pkill -KILL -P "$(pid_of systemd)" || true
	harness_teardown
	# systemd-nspawn makes its cgroup in both hierarchies.
	[ ! -e "$(group)" ] || wait_for 'find /sys/fs/cgroup/{.,systemd,unified} -maxdepth 1 -name "evpipe-$$" -exec find {} -depth -type d -delete \; && [ ! -e "$(group)" ]'
}

upgrade() {
	local program
	for program in bin/*; do
		cp "$program" new
		mv new "$program"
	done
}

# feed_both: events into both ends, at their own pace, as long as the drills last.
feed_both() {
	cat >feed <<-'EOT'
	#!/bin/sh
	seq "$1" | while read -r i; do
		printf "$2\n" $((i % 40)) "$i"
		[ $((i % 10)) -ne 0 ] || sleep 0.05
	done
	EOT
	chmod +x feed
	echo '{"topic":"orders","key":"gone","payload":null}' | kwrite -q
	./feed $EVENTS '{"topic":"orders","key":"k%d","payload":"{\\"id\\":%d,\\"tenantId\\":\\"a\\"}"}' |
		spawn to_kafka kwrite &
	./feed $EVENTS "XADD up:payments * tenth %d payload '{\"id\":%d,\"tenantId\":\"a\"}'" |
		spawn to_redis redis-cli -s "$REDIS_SOCK" &
	wait_for '[ "$(streamed)" -gt 0 ]'
}

streamed() {
	rcli --raw eval 'local n = 0
		for _, k in ipairs(redis.call("keys", "down:orders-*")) do n = n + redis.call("xlen", k) end
		return n' 0
}

# judge DEAD: waits until all has crossed, and counts. The tombstone stands in the bridge's file DEAD, and in the copy.
judge() {
	wait_for "! alive $(pid_of to_kafka)"
	wait_for "! alive $(pid_of to_redis)"
	wait_for '[ "$(streamed)" -ge $EVENTS ]'
	wait_for '[ "$(kread -q -e --raw payments | sort -u | wc -l)" -ge $EVENTS ]'
	wait_for '[ "$(kread -q -e --raw -X isolation.level=read_committed orders-copy | wc -l)" -ge $EVENTS ]'
	[ "$(streamed)" -eq $EVENTS ]
	[ "$(kread -q -e --raw -X isolation.level=read_committed orders-copy | sort)" = "$(kread -q -e --raw orders | sort)" ]
	[ "$(evsel --undead <"$1" | jq -r .key | sort -u)" = gone ]
	kread -q -e -X isolation.level=read_committed orders-copy | jq -c 'select(.payload == null)' >gone
	[ "$(jq -r '.key' gone)" = gone ]
	kread -q -e --raw payments | jq -c '[.id, .tenantId, .source]' | sort -u >crossed
	[ "$(wc -l <crossed)" -eq $EVENTS ]
	[ "$(grep -c '"a","cloud-run-api"]$' crossed)" -eq $EVENTS ]
}

# members SERVICE PID NAME: the process ids of a member of the service whose evpipe is PID.
member_of() {
	pgrep -P "$1" -x "$2"
}

# restart SERVICE: stops it, and waits until it runs anew. On a busy machine s6-svc -wR was seen to wait for ever, by reading
# since it had heard of the end and of the start at once.
restart() {
	local pid
	pid=$(s6-svstat -o pid "$1")
	s6-svc -r "$1"
	wait_for "[ \"\$(s6-svstat -o pid $1)\" != $pid ] && [ \"\$(s6-svstat -o up,ready $1)\" = 'true true' ]"
}

@test "s6: up, down, upgraded and killed under load: nothing is lost" {
	services
	spawn s6 s6-svscan u/s6
	for service in bridge revbridge copy; do
		wait_for "[ \"\$(s6-svstat -o up,ready u/s6/$service)\" = 'true true' ]"
	done
	feed_both
	# An upgrade: new programs, and an orderly stop and start.
	upgrade
	for service in bridge revbridge copy; do
		restart "u/s6/$service"
	done
	s6-svc -wD -d u/s6/revbridge
	[ "$(s6-svstat -o exitcode u/s6/revbridge)" = 0 ]
	kill -KILL "$(s6-svstat -o pid u/s6/copy)"
	kill -KILL "$(member_of "$(s6-svstat -o pid u/s6/bridge)" rpub)"
	s6-svc -u u/s6/revbridge
	wait_for '[ "$(s6-svstat -o up,ready u/s6/revbridge)" = "true true" ]'
	wait_for '[ "$(s6-svstat -o up,ready u/s6/bridge)" = "true true" ]'
	wait_for '[ "$(s6-svstat -o up,ready u/s6/copy)" = "true true" ]'
	kill -KILL "$(member_of "$(s6-svstat -o pid u/s6/revbridge)" rsub)"
	kill -KILL "$(member_of "$(s6-svstat -o pid u/s6/copy)" kwrite)"
	judge u/s6/bridge/dead-letters.ndjson
	# The log has a stamp, and messages of members with the pipeline's name.
	jq -R 'sub("^[^{]*"; "") | fromjson | select(.pipeline == "bridge" and .tool == "evpipe")' \
		u/s6/bridge/log/main/current | grep -q 'rpub: killed by SIGKILL'
	# Trouble that lasts: down for good.
	echo falsch >u/config/redis-password
	s6-svc -r u/s6/bridge
	wait_for '[ "$(s6-svstat -o up,wantedup,exitcode u/s6/bridge)" = "false false 100" ]'
	s6-svscanctl -t u/s6
	wait_exit s6
}

@test "runit: up, down, upgraded and killed under load: nothing is lost" {
	local service
	services
	mkdir scan
	ln -s "$T"/u/runit/* scan
	spawn runit runsvdir scan
	for service in bridge revbridge copy; do
		wait_for "sv -w 30 check $T/scan/$service"
	done
	feed_both
	upgrade
	for service in bridge revbridge copy; do
		sv -w 60 restart "$T/scan/$service"
	done
	sv -w 60 down "$T/scan/revbridge"
	kill -KILL "$(<scan/copy/supervise/pid)"
	kill -KILL "$(member_of "$(<scan/bridge/supervise/pid)" rpub)"
	sv -w 60 up "$T/scan/revbridge"
	for service in bridge revbridge copy; do
		wait_for "sv -w 30 check $T/scan/$service"
	done
	kill -KILL "$(member_of "$(<scan/revbridge/supervise/pid)" rsub)"
	judge u/runit/bridge/dead-letters.ndjson
	grep -q '"pipeline":"bridge".*rpub: killed by SIGKILL' scan/bridge/log/main/current
	echo falsch >u/config/redis-password
	sv -w 60 restart "$T/scan/bridge" || true
	wait_for '[[ $(sv status "$T/scan/bridge") == down:*"normally up"* ]]'
	stop runit HUP
	wait_exit runit
}

@test "systemd: the units are verified and secure" {
	mkdir units
	for unit in "$ROOT"/examples/supervise/systemd/*.service; do
		sed "s,/usr/bin/evpipe,$EVPIPE_BUILD/tools/bin/evpipe," "$unit" >"units/${unit##*/}"
	done
	run systemd-analyze verify --man=no units/*.service
	echo "$output"
	[ "$status" -eq 0 ]
	[ -z "$output" ]
	for unit in units/*.service; do
		systemd-analyze security --offline=yes --threshold=15 "$unit" >"$unit.security" || { cat "$unit.security"; false; }
	done
}

# boot: systemd with our services and programs, in a container.
boot() {
	[ "$(id -u)" -eq 0 ] || skip "a systemd of one's own needs root"
	mkdir -p container/etc/systemd/system container/usr
	cp -r u container/etc/evpipe
	cp u/systemd/*.service container/etc/systemd/system
	cp -r bin container/usr/bin
	# One of ours that is red at once.
	sed 's,^ExecStart=.*,ExecStart=/usr/bin/evpipe -n bridge --health-grace 100ms --drain 1s --listen unix:%t/evpipe-bridge/status \\,
		s/^WatchdogSec=.*/WatchdogSec=1/; s/evpipe-bridge/evpipe-red/; s/-g bridge/-g red/; s/down:{/red:{/' \
		u/systemd/evpipe-bridge.service >container/etc/systemd/system/evpipe-red.service
	spawn systemd "$ROOT/tests/bats/systemd" container "$(group)"
	# A service of this machine that does not start in it is none of ours.
	wait_for '! alive "$(pid_of systemd)" || [[ $(inside systemctl is-system-running) =~ ^(running|degraded)$ ]]' ||
		skip "systemd does not come up here"
	alive "$(pid_of systemd)" || skip "systemd does not boot here: $(tail -n 1 systemd.err)"
}

# group: of control groups, in the hierarchy that is systemd's.
group() {
	if [ -d /sys/fs/cgroup/unified ]; then echo "/sys/fs/cgroup/unified/evpipe-$$"; else echo "/sys/fs/cgroup/evpipe-$$"; fi
}

# inside COMMAND…: in the container.
inside() {
	nsenter --target "$(pgrep -P "$(pid_of systemd)")" --all --root --wd env -i PATH="/usr/sbin:/usr/bin:/sbin:/bin" "$@"
}

# of_unit NAME PROPERTY: of the unit evpipe-NAME.
of_unit() {
	inside systemctl show --property "$2" --value "evpipe-$1"
}

@test "systemd: up, down, upgraded and killed under load: nothing is lost" {
	local its_root unit
	services
	boot
	its_root=/proc/$(pgrep -P "$(pid_of systemd)")/root
	# Type=notify: they are ready when it has ended.
	inside systemctl start evpipe-{bridge,revbridge,copy}
	feed_both
	upgrade
	cp --remove-destination bin/* "$its_root/usr/bin"
	inside systemctl restart evpipe-{bridge,revbridge,copy}
	inside systemctl stop evpipe-revbridge
	[ "$(of_unit revbridge Result)/$(of_unit revbridge ActiveState)" = success/inactive ]
	inside systemctl kill --kill-whom=main --signal=KILL evpipe-copy
	inside pkill -KILL -x rpub
	inside systemctl start evpipe-revbridge
	inside pkill -KILL -x rsub
	judge "$its_root/var/lib/evpipe-bridge/dead-letters.ndjson"
	for unit in bridge revbridge copy; do
		wait_for "[ \"\$(of_unit $unit ActiveState)/\$(of_unit $unit NRestarts)\" = active/1 ]"
	done
	inside journalctl --unit=evpipe-bridge --output=cat | jq -R 'fromjson? | select(.pipeline == "bridge" and .tool == "evpipe")' |
		grep -q 'rpub: killed by SIGKILL'
	# A password that can be read by nobody else.
	[ "$(stat -c %a "$its_root"/run/credentials/evpipe-bridge.service/redis-password)" = 400 ]
	inside logrotate -f /etc/evpipe/logrotate.conf
	[ "$(evsel --undead <"$its_root/var/lib/evpipe-bridge/dead-letters.ndjson.1" | jq -r .key | sort -u)" = gone ]
	# The watchdog.
	inside systemctl start evpipe-red
	freeze "$(pid_of redis)"
	wait_for '[ "$(of_unit red NRestarts)" -ge 1 ]'
	kill -CONT "$(pid_of redis)"
	wait_for '[ "$(of_unit red ActiveState)" = active ]'
	inside journalctl --unit=evpipe-red --output=cat | grep -q 'health is red: rpub: no connection to redis'
	# Trouble that lasts: down for good.
	echo falsch >"$its_root/etc/evpipe/config/redis-password"
	run ! inside systemctl restart evpipe-bridge
	[ "$(of_unit bridge ActiveState)/$(of_unit bridge ExecMainStatus)/$(of_unit bridge NRestarts)" = failed/100/0 ]
	inside systemctl stop evpipe-{red,revbridge,copy}
	[ "$(of_unit copy Result)/$(of_unit copy ActiveState)" = success/inactive ]
}

@test "dead letters are moved away by logrotate, and the next one stands in a new file" {
	mkdir -p letters
	sed -n '/{/,$p' "$ROOT/examples/supervise/logrotate.conf" | sed "1s,.*,$T/letters/dead-letters.ndjson {," >rotate.conf
	mkfifo lines
	exec 7<>lines
	spawn key sh -c 'exec 7>&-; exec evkey .id --dead-letter letters/dead-letters.ndjson' <lines
	echo '{"payload":"{}","key":"first"}' >&7
	wait_lines letters/dead-letters.ndjson 1
	logrotate -f -s "$T/state" rotate.conf
	echo '{"payload":"{}","key":"second"}' >&7
	wait_lines letters/dead-letters.ndjson 1
	logrotate -f -s "$T/state" rotate.conf
	exec 7>&-
	wait_exit key
	zcat letters/dead-letters.ndjson.2.gz | grep -q first
	grep -q second letters/dead-letters.ndjson.1
}

# ---- the log ----

@test "--log json reaches the members, with the pipeline's name" {
	redis_start
	run -100 evpipe -n b --log json rsub news '|' sh -c 'echo "$EVPIPE_LOG"; exec rpub "{nonsense}"'
	[ "${lines[0]}" = json ]
	printf '%s\n' "${lines[@]:1}" | jq -R 'fromjson | select(.tool == "rpub") | .pipeline == "b" and .level == "error"
		and (.message | test("nonsense"))' | grep -qx true
	# A member's own option stands, and so does text.
	run -100 evpipe -n b --log json rsub --log text news '|' rpub --log text '{nonsense}'
	[[ $output == *$'rpub: '*nonsense* ]]
	EVPIPE_LOG=json run -100 kread --nonsense
	[ "$(jq -r .tool <<<"$output")" = kread ]
	EVPIPE_LOG=xml run -100 kread t
	[[ $output == *'$EVPIPE_LOG takes text or json'* ]]
}

@test "the log says when health turns red over a frozen server, once, and when it is green again" {
	redis_start
	spawn unit evpipe -n u --health-grace 100ms --restart rsub news '|' rpub copy
	wait_for '[ "$(redis_subscribers news)" -ge 1 ]'
	stop redis STOP
	wait_file_contains unit.err 'health is red'
	grep -q 'evpipe: warning: health is red: .*no connection to redis for' unit.err
	stop redis CONT
	wait_file_contains unit.err 'health is green again after'
	[ "$(grep -c 'health is red' unit.err)" -eq 1 ]
	stop unit
	wait_exit unit
	[ "$status" -eq 0 ]
}

# ---- Prometheus and Grafana ----

@test "examples/monitor: the rules do what their tests say, and name metrics that there are" {
	cp -r "$ROOT/examples/monitor" .
	promtool check config monitor/prometheus.yml
	promtool test rules monitor/alerts-test.yml
	# The dashboard's questions are right, too.
	jq '{groups: [{name: "dashboard", rules: [.panels[].targets[]?.expr
		| gsub("\\$__rate_interval"; "1m") | {record: "x", expr: .}]}]}' monitor/dashboard.json >dashboard.yml
	promtool check rules --lint=none dashboard.yml
	grep -oh 'evpipe_[a-z_]*' monitor/alerts.yml monitor/dashboard.json | sed 's/_bucket$//' | sort -u >named
	[ "$(wc -l <named)" -gt 10 ]
	while read -r name; do
		grep -qw "$name" "$ROOT/man/evpipe.7" || { echo "evpipe(7) does not know $name"; false; }
	done <named
}
