#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# examples/kubernetes: the files against the schemas, and each container as a process with a Kafka and a Redis, probed as the
# kubelet does.

# bats file_tags=once
load helpers

setup_file() {
	# A topic of its name is in other files too, so the Kafka is this file's own.
	own_kafka_start
	for topic in redis-writes:6 orders:2 payments:2; do
		"$ROOT/tests/kafka/topics" "$KAFKA_BROKERS" create "${topic%:*}" "${topic#*:}" >&2
	done
	PYTHONPATH=$("$ROOT/tests/python/fetch" kubernetes) || skip "kubernetes-validate cannot be had"
	export PYTHONPATH
	# SCRAM to this Kafka wants librdkafka 2.6.1, see tests/kafka/start.
	mechanism=PLAIN
	printf '%s\n' 2.6.1 "$(kread --version | sed -n 's/^librdkafka //p')" | sort -CV && mechanism=SCRAM-SHA-256
	KAFKA_LOGIN=$(printf '%s\n' security.protocol=SASL_PLAINTEXT sasl.mechanism=$mechanism sasl.username=alice sasl.password=secret)
	export KAFKA_LOGIN
}

kubelet() {
	"$ROOT/tests/kubernetes/kubelet" "$@"
}

# may_contain: some machines let nobody make a namespace.
may_contain() {
	bwrap --ro-bind / / --unshare-user true 2>/dev/null || skip 'no namespaces here'
}

# pod NAME FILE DEPLOYMENT KEY=VALUE…: starts one.
pod() {
	spawn "$1" "$ROOT/tests/kubernetes/kubelet" run "$ROOT/examples/kubernetes/$2.yaml" "$3" "$T/$1" \
		KAFKA_BROKERS="$KAFKA_SASL" kafka.conf="$KAFKA_LOGIN" session.timeout.ms=6000 "${@:4}"
}

# probe NAME KIND: what the kubelet asks, and how it judges.
probe() {
	curl -sf -o /dev/null "$(<"$T/$1/$2")"
}

# terminate NAME: SIGTERM to the container's first process, and its end.
terminate() {
	kill "$(pgrep -P "$(pid_of "$1")")"
	wait_exit "$1"
	[ "$status" -eq 0 ]
}

@test "the objects are what Kubernetes takes, and refer to each other; a mistake is seen" {
	kubelet check "$ROOT"/examples/kubernetes/*.yaml
	sed 's/maxUnavailable: 1$/maxUnavailible: 1/' "$ROOT/examples/kubernetes/applier.yaml" >a.yaml
	run -1 kubelet check a.yaml
	[[ $output == *maxUnavailible* ]]
	sed 's/targetPort: http/targetPort: htttp/' "$ROOT/examples/kubernetes/khttp.yaml" >a.yaml
	run -1 kubelet check a.yaml
	[[ $output == *'no port htttp'* ]]
	sed 's/consumerGroup: .*/consumerGroup: other/' "$ROOT/examples/kubernetes/applier.yaml" >a.yaml
	run -1 kubelet check a.yaml
	[[ $output == *"not the deployment's"* ]]
	sed '/runAsNonRoot/d' "$ROOT/examples/kubernetes/khttp.yaml" >a.yaml
	run -1 kubelet check a.yaml
	[[ $output == *"has no 'runAsNonRoot'"* ]]
	sed -e 's/GracePeriodSeconds: 60/GracePeriodSeconds: 35/' -e 's/readOnlyRootFilesystem: true/readOnlyRootFilesystem: false/' \
		"$ROOT/examples/kubernetes/khttp.yaml" >a.yaml
	run -1 kubelet check a.yaml
	[[ $output == *'change its root'* && $output == *'no time to drain'* ]]
}

# write FIRST LAST: the numbers are added up in Redis.
write() {
	for ((i = $1; i <= $2; i++)); do
		echo "{\"key\":\"k$i\",\"payload\":[\"INCRBY\",\"sum\",$i]}"
	done | kwrite -t redis-writes
}

@test "applier: three pods behind sentinels, ready, one killed, a failover, a clean stop" {
	may_contain
	redis_start redis --requirepass geheim --masterauth geheim
	replica_start_with_password
	sentinels_start 3 'sentinel auth-pass mymaster geheim'
	for n in 1 2 3; do
		pod "pod$n" applier redis-applier REDIS_URL="redis+sentinel://$SENTINELS/mymaster" redis-password=geheim
	done
	for n in 1 2 3; do
		wait_for "probe pod$n startupProbe"
		wait_for "probe pod$n readinessProbe"
		wait_for "probe pod$n livenessProbe"
	done
	write 1 100
	wait_for '[ "$(sum)" = 5050 ]'
	# No user, no root, nothing to write to but the volumes.
	inner=$(pgrep -P "$(pid_of pod1)")
	grep -q '^CapBnd:[[:space:]]*0*$' "/proc/$inner/status"
	grep -q '^NoNewPrivs:[[:space:]]*1$' "/proc/$inner/status"
	run ! sh -c ": >/proc/$inner/root/written"
	# A node dies.
	kill -KILL -- "-$(pid_of pod1)"
	kill -KILL "$inner" 2>/dev/null || true
	write 101 200
	wait_for '[ "$(sum)" = 20100 ]'
	# shellcheck disable=SC2034 # read by wait_for
	old=$(primary)
	failover s1
	write 201 300
	# What the old one has taken last may not be in the new one, and is applied there again.
	wait_for '[ "$(primary)" != "$old" ] && [ "$(sum)" = 45150 ]'
	for n in 2 3; do
		wait_for "probe pod$n readinessProbe"
	done
	terminate pod2
	terminate pod3
	[ "$(sum)" = 45150 ]
}

replica_start_with_password() {
	export REDISCLI_AUTH=geheim
	replica_start r1 --requirepass geheim --masterauth geheim
}

# primary: its port.
primary() {
	scli s2 sentinel get-master-addr-by-name mymaster | tail -n 1
}

# sum: as the primary has it.
sum() {
	redis-cli -p "$(primary)" get sum
}

@test "pair: what one side says the other hears, once, and a dead letter stands in its volume" {
	may_contain
	redis_start redis --requirepass geheim
	export REDISCLI_AUTH=geheim
	spawn heard rsub --raw -p 'sse:*'
	spawn seen sh -c 'exec kread --raw -o end orders payments --ready-fd 4 4>ready'
	wait_for '[ -s ready ] && [ "$(redis_patterns)" -ge 1 ]'
	pod there bridge sse-bridge REDIS_URL="$REDIS_URL" redis-password=geheim
	pod back bridge sse-revbridge REDIS_URL="$REDIS_URL" redis-password=geheim
	for name in there back; do
		wait_for "probe $name readinessProbe"
		wait_for "probe $name livenessProbe"
	done
	echo '{"n":1,"source":"nas-worker"}' | kwrite --raw -t orders
	wait_lines heard.out 1
	printf '%s\n' '{"n":2,"tenantId":"t"}' 'no JSON' | rpub --raw sse:payments
	wait_file_contains seen.out '{"n":2,"tenantId":"t","source":"cloud-run-api"}'
	wait_for '[ -s back/volume-dead/stamp.ndjson ]'
	wait_for "curl -sf http://127.0.0.1:$(<there/port-status)/metrics | grep -q '^evpipe_dropped_total{.*} 1$'"
	wait_lines heard.out 3
	[ "$(wc -l <seen.out)" -eq 2 ]
	terminate there
	terminate back
}

@test "khttp: two pods, asked with the token of the Secret; what a pod has acknowledged is in Kafka when it is gone" {
	may_contain
	for n in 1 2; do
		pod "pod$n" khttp kafka-bridge tokens=secret-token
	done
	for n in 1 2; do
		wait_for "probe pod$n readinessProbe"
		wait_for "probe pod$n livenessProbe"
	done
	for n in 1 2; do
		post=(curl -s -o answer -w '%{http_code}' -H 'Content-Type: application/vnd.kafka.json.v2+json'
			-d "{\"records\":[{\"value\":{\"pod\":$n}}]}" "http://127.0.0.1:$(<"pod$n/port-http")/topics/payments")
		[ "$("${post[@]}")" = 401 ]
		[ "$("${post[@]}" -H 'Authorization: Bearer secret-token')" = 200 ]
		terminate "pod$n"
	done
	kread --raw -e payments >all
	grep -qxF '{"pod":1}' all
	grep -qxF '{"pod":2}' all
}
