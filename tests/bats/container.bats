#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# packaging/rootfs: the root of a container, run without an engine.

# bats file_tags=once
load helpers

setup_file() {
	kafka_start
	redis_start
}

# contained COMMAND…: in the root of this test, read-only, as a user who has no right but /tmp.
contained() {
	bwrap --ro-bind root / --proc /proc --dev /dev --tmpfs /tmp --unshare-user --unshare-pid --uid 65532 --gid 65532 \
		--cap-drop ALL --clearenv --setenv PATH /usr/bin --setenv KAFKA_BROKERS "$KAFKA_BROKERS" \
		--setenv REDIS_URL "$REDIS_URL" -- "$@"
}

may_contain() {
	bwrap --ro-bind / / --unshare-user --unshare-pid true 2>/dev/null || skip 'no namespaces here'
}

@test "one program is less than 10 MB with all it needs, and nothing else is there" {
	may_contain
	size=$("$ROOT/packaging/rootfs" "$EVPIPE_BUILD" root rapply)
	echo "rapply: $size bytes" >&3
	[ "$size" -lt 10000000 ]
	run -0 contained rapply --version
	[[ $output == 'rapply (evpipe) '* ]]
	[ "$(ls root/usr/bin)" = rapply ]
	run ! contained sh -c true
	run -100 "$ROOT/packaging/rootfs" "$EVPIPE_BUILD" root rapply
}

@test "an applier in its container: from Kafka into Redis, read-only, no root, no capability, a clean stop" {
	may_contain
	size=$("$ROOT/packaging/rootfs" "$EVPIPE_BUILD" root evpipe kread rapply)
	echo "evpipe, kread, rapply: $size bytes" >&3
	topic=$(new_topic)
	for n in 1 2 3; do
		echo "{\"key\":\"k\",\"payload\":[\"INCRBY\",\"sum:$topic\",$n]}"
	done | kwrite -t "$topic"
	spawn applier bwrap --ro-bind root / --proc /proc --dev /dev --tmpfs /tmp --unshare-user --uid 65532 --gid 65532 \
		--cap-drop ALL --clearenv --setenv PATH /usr/bin --setenv KAFKA_BROKERS "$KAFKA_BROKERS" \
		--setenv REDIS_URL "$REDIS_URL" -- evpipe -v kread -g "$topic" "$topic" '|' rapply
	wait_for '[ "$(rcli get "sum:$topic")" = 6 ]'
	inner=$(pgrep -P "$(pid_of applier)")
	grep -q '^CapBnd:[[:space:]]*0*$' "/proc/$inner/status"
	run ! sh -c ": >/proc/$inner/root/written"
	kill "$inner"
	wait_exit applier
	[ "$status" -eq 0 ]
}
