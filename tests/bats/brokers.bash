# SPDX-License-Identifier: ISC
# shellcheck shell=bash
# A real Kafka of three brokers, for a file's tests. Needs helpers.bash. Broker 1 is the controller too.

# brokers_start [ROW…] [-- PROPERTY…]: a row is a further listener, NAME ADVERTISED, with HOST:PORT in which @N@ is the broker's
# number and @NAME@ its port; in PROPERTY too. Exports KAFKA_BROKERS, and BROKERS_DIR with a directory k1, k2, k3 each.
brokers_start() {
	local row listen advertise more='' map='' n starts=() voter
	BROKERS_DIR=$(harness_scope)
	KAFKA_CLUSTER_ID=AAAAAAAAAAAAAAAAAAAAAQ
	export BROKERS_DIR KAFKA_CLUSTER_ID
	advertise=''
	while [ $# -gt 0 ] && [ "$1" != -- ]; do
		row=$1
		shift
		listen=127.0.0.1
		[[ $row != *' [::1]:'* ]] || listen='[::1]'
		more+=",${row% *}://$listen:@${row% *}@"
		advertise+=",${row% *}://${row#* }"
		map+=",${row% *}:PLAINTEXT"
	done
	[ $# -eq 0 ] || shift
	map=listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT$map
	set -- "$map" offsets.topic.replication.factor=3 transaction.state.log.replication.factor=3 \
		default.replication.factor=3 "$@"
	listen=PLAINTEXT://127.0.0.1:@PLAIN@
	broker_start 1 "${@//@N@/1}" "listeners=$listen,CONTROLLER://127.0.0.1:@CONTROLLER@$more" \
		"advertised.listeners=$listen${advertise//@N@/1}" || return 1
	voter=$(sed -n 's/^controller.quorum.voters=//p' "$BROKERS_DIR/k1/server.properties")
	for n in 2 3; do
		broker_start $n "${@//@N@/$n}" process.roles=broker node.id=$n "controller.quorum.voters=$voter" \
			"listeners=$listen$more" "advertised.listeners=$listen${advertise//@N@/$n}" &
		starts+=($!)
	done
	for n in "${starts[@]}"; do wait "$n" || return 1; done
	KAFKA_BROKERS=$(broker_at 1),$(broker_at 2),$(broker_at 3)
	export KAFKA_BROKERS
}

# broker_start N [PROPERTY…]: starts it, again too.
broker_start() {
	KAFKA_HEAP=256m "$ROOT/tests/kafka/start" "$BROKERS_DIR/k$1" "${EVPIPE_KAFKA_VERSION:-4.1.0}" "${@:2}" \
		3>&- >/dev/null || return 1
	ln -sfn "k$1/pid" "$BROKERS_DIR/k$1.pid"
}

# broker_stop N [-9]: ends it; -9: as a crash.
broker_stop() {
	"$ROOT/tests/kafka/stop" "${@:2}" "$BROKERS_DIR/k$1"
}

# broker_signal N SIGNAL: STOP freezes it, CONT wakes it.
broker_signal() {
	if [ "$2" = STOP ]; then freeze "$(<"$BROKERS_DIR/k$1/pid")"; else
		kill -s "$2" "$(<"$BROKERS_DIR/k$1/pid")"
	fi
}

# broker_at N [NAME]: 127.0.0.1:PORT of a listener.
broker_at() {
	if [ $# -eq 1 ]; then cat "$BROKERS_DIR/k$1/bootstrap"; else
		echo "127.0.0.1:$(awk -v name="$2" '$1 == name { print $2 }' "$BROKERS_DIR/k$1/named-ports")"
	fi
}

# all_in_sync TOPIC: each partition has all its replicas in sync.
all_in_sync() {
	kcheck --json -t "$1" | jq -e 'select(.topic).partitions | all(.leader >= 0 and (.isr | length) == (.replicas | length))'
}

# leader_of TOPIC: of partition 0, as broker 1 knows it; kcheck would look at a broker that is frozen, too.
leader_of() {
	"$ROOT/tests/kafka/topics" "$(broker_at 1)" leaders "$1" | cut -d' ' -f1
}
