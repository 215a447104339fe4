#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# Three brokers, of which the one with the longer log dies: Kafka elects one that lacks the log's tail.

load helpers

# node N [PROPERTY…]: starts broker N of the cluster.
node() {
	KAFKA_HEAP=256m "$ROOT/tests/kafka/start" "$BATS_FILE_TMPDIR/k$1" "${EVPIPE_KAFKA_VERSION:-4.1.0}" "${@:2}" \
		3>&- >/dev/null
	ln -sfn "k$1/pid" "$BATS_FILE_TMPDIR/k$1.pid"
}

# crash N: kills it.
crash() {
	"$ROOT/tests/kafka/stop" -9 "$BATS_FILE_TMPDIR/k$1"
}

topics() {
	"$ROOT/tests/kafka/topics" "$BATS_FILE_TMPDIR/k1" "$@"
}

# Broker 1 is the controller, and keeps the positions and what the pipelines write: it stays. The others have the
# topics that are read.
setup_file() {
	local brokers=process.roles=broker listen=PLAINTEXT://127.0.0.1:@PLAIN@ voter n
	export KAFKA_CLUSTER_ID=AAAAAAAAAAAAAAAAAAAAAQ
	node 1
	voter=$(sed -n 's/^controller.quorum.voters=//p' "$BATS_FILE_TMPDIR/k1/server.properties")
	KAFKA_BROKERS=$(<"$BATS_FILE_TMPDIR/k1/bootstrap")
	topics create out 1
	# Positions are kept where brokers are when the first one is committed.
	topics commit first out 0 0
	# And so are transactions.
	topics create first 1
	KAFKA_BROKERS=$KAFKA_BROKERS evpipe kread -q -g first -e first '|' kwrite --txn first -t out
	for n in 2 3; do
		node $n "$brokers" node.id=$n "controller.quorum.voters=$voter" "listeners=$listen" \
			"advertised.listeners=$listen"
		KAFKA_BROKERS+=,$(<"$BATS_FILE_TMPDIR/k$n/bootstrap")
	done
	export KAFKA_BROKERS
}

# send WHAT COUNT TOPIC…: records to each.
send() {
	local topic
	for topic in "${@:3}"; do
		seq -f "$topic-$1%g" "$2" | kproduce "$topic"
	done
}

# came WHAT COUNT TOPIC: whether so many different ones of the topic were delivered.
came() {
	[ "$(kconsume out | grep "^$3-$1" | sort -u | wc -l)" -eq "$2" ]
}

# bats test_tags=newest,once
@test "records that stand in the log after an unclean election are all delivered, and the change is said" {
	local topic
	for topic in grown short stopped once; do
		topics create $topic 1 replicas=2,3 unclean.leader.election.enable=true
	done
	send a 100 grown short stopped once
	crash 3
	send b 400 grown short stopped once
	for topic in grown short stopped; do
		spawn $topic evpipe kread -q -g $topic --metrics $topic.prom $topic '|' kwrite -t out </dev/null
		wait_for "came b 400 $topic"
	done
	spawn once evpipe kread -q -g once --metrics once.prom once '|' kwrite --txn once -t out </dev/null
	wait_for "came b 400 once"
	stop stopped
	wait_exit stopped
	[ "$status" -eq 0 ]
	crash 2
	node 3
	send c 530 grown stopped once
	send c 30 short
	spawn stopped evpipe kread -q -g stopped --metrics stopped.prom stopped '|' kwrite -t out </dev/null
	for topic in grown stopped once; do wait_for "came c 530 $topic"; done
	wait_for "came c 30 short"
	for topic in grown short stopped once; do
		came a 100 $topic
		stop $topic
		wait_exit $topic
		[ "$status" -eq 0 ]
		cat $topic.err
		grep -q "^kread: topic '$topic', partition 0: its log is not the one that was read up to 500: " $topic.err
		grep -q '^evpipe_gaps_total{.*} 1$' $topic.prom
	done
	# Records of both logs may come again: it goes back to one of which a mark was kept.
	[ "$(kconsume out | grep -c '^once-[bc]')" -eq 930 ]
}
