#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# Three brokers behind proxies: a port a broker, one for all, ports that are mixed up.

# bats file_tags=once
load helpers
load brokers

setup_file() {
	local n
	SHARED=$(free_port)
	export SHARED
	# HIDDEN has names that nobody resolves; of SHARED all advertise the one proxy.
	brokers_start 'HIDDEN kafka-@N@.example.invalid:9092' "SHARED 127.0.0.1:$SHARED" \
		-- broker.rack=rack@N@ replica.selector.class=org.apache.kafka.common.replica.RackAwareReplicaSelector
	harness_setup
	{
		printf 'global\n\tmaxconn 500\n\tstats socket %s\n' "$BROKERS_DIR/haproxy.sock"
		printf 'defaults\n\tmode tcp\n\ttimeout connect 5s\n\ttimeout client 1h\n\ttimeout server 1h\n'
		printf 'listen one\n\tbind 127.0.0.1:%s\n\tbalance roundrobin\n' "$SHARED"
		for n in 1 2 3; do printf '\tserver k%s %s\n' $n "$(broker_at $n SHARED)"; done
		for n in 1 2 3; do
			free_port >"$BROKERS_DIR/proxy$n"
			printf 'listen k%s\n\tbind 127.0.0.1:%s\n\tserver k %s\n' $n "$(<"$BROKERS_DIR/proxy$n")" "$(broker_at $n HIDDEN)"
		done
		free_port >"$BROKERS_DIR/told"
		printf 'listen told\n\tbind 127.0.0.1:%s accept-proxy\n\tserver k %s\n' "$(<"$BROKERS_DIR/told")" "$(broker_at 1 HIDDEN)"
	} >"$BROKERS_DIR/haproxy.cfg"
	SPAWN_DIR=$BROKERS_DIR spawn haproxy haproxy -db -f "$BROKERS_DIR/haproxy.cfg" </dev/null
	for n in 1 2 3; do wait_for "(: </dev/tcp/127.0.0.1/$(<"$BROKERS_DIR/proxy$n"))"; done
	TOPIC=$(new_topic 6)
	export TOPIC
}

# by N N N: --resolve for brokers 1, 2 and 3, each through the proxy's port for broker N.
by() {
	local n
	RESOLVE=()
	for n in 1 2 3; do
		RESOLVE+=(--resolve "kafka-$n.example.invalid:9092:127.0.0.1:$(<"$BROKERS_DIR/proxy${!n}")")
	done
}

# check STATUS OPTION…: kcheck ends so; its output is in out.
check() {
	local status=0
	kcheck "${@:2}" >out 2>err || status=$?
	cat out err
	[ "$status" -eq "$1" ]
}

@test "a proxy with a port a broker: --resolve leads to each, and records go through" {
	by 1 2 3
	B=127.0.0.1:$(<"$BROKERS_DIR/proxy2")
	check 111 -b "$B"
	grep -q "^remedy: here: --resolve kafka-3.example.invalid:9092:ADDRESS\[:PORT\], where broker 3 can be reached" out
	check 0 -b "$B" "${RESOLVE[@]}" -t "$TOPIC"
	seq 300 | kwrite -q -b "$B" "${RESOLVE[@]}" --raw -t "$TOPIC"
	[ "$(kread -q -b "$B" "${RESOLVE[@]}" -e --raw "$TOPIC" | sort -n | xargs)" = "$(seq 300 | xargs)" ]
	[ "$(kread -q -b "$B" "${RESOLVE[@]}" -g "$(unique g)" --commit written -e --raw "$TOPIC" | wc -l)" -eq 300 ]
}

# sent N: how many bytes broker N has sent through the proxy.
sent() {
	echo 'show stat' | python3 -c 'import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
s.sendall(sys.stdin.buffer.read())
print(*(line.split(",")[9] for line in s.makefile() if line.startswith("k%s,FRONTEND," % sys.argv[2])))' \
		"$BROKERS_DIR/haproxy.sock" "$1"
}

@test "what is wrong with one broker of three is told by kread and kwrite, with the remedy" {
	local bad words program name=kafka-3.example.invalid:9092
	topic=$(new_topic 1 replicas=3,)
	spawn http python3 -u -c 'import http.server
s = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
print(s.server_address[1], flush=True)
s.serve_forever()' </dev/null
	wait_lines http.out 1
	by 1 2 3
	while IFS='|' read -r bad words; do
		RESOLVE[5]=${bad:-unused.example.invalid:1:127.0.0.1}
		spawn reads kread -b "$(broker_at 1 HIDDEN)" "${RESOLVE[@]}" "$topic" </dev/null
		spawn writes kwrite -b "$(broker_at 1 HIDDEN)" "${RESOLVE[@]}" --raw -t "$topic" <<<x
		for program in reads writes; do
			wait_file_contains $program.err "cannot reach broker $name: $words; waiting for it (here: --resolve $name:ADDRESS[:PORT], where broker 3 can be reached;"
			kill -KILL "$(pid_of $program)"
			wait_exit $program
		done
	done <<-END
		|the host name 'kafka-3.example.invalid' does not resolve here: Name or service not known
		$name:127.0.0.1:1|Connect to ipv4#127.0.0.1:1 failed: Connection refused
		$name:127.0.0.1:$(<http.out)|an HTTP server answers there, no broker of Kafka
	END
}

@test "a silent server in the place of one broker of three is told by kread and kwrite as one that times out" {
	local program
	topic=$(new_topic 1 replicas=3,)
	silent_start
	by 1 2 3
	RESOLVE[5]=kafka-3.example.invalid:9092:127.0.0.1:$(<silent.out)
	spawn reads kread -b "$(broker_at 1 HIDDEN)" "${RESOLVE[@]}" "$topic" </dev/null
	spawn writes kwrite -b "$(broker_at 1 HIDDEN)" "${RESOLVE[@]}" --raw -t "$topic" <<<x
	for program in reads writes; do
		wait_lines $program.err 1
		[[ $(<$program.err) == *"cannot reach broker kafka-3.example.invalid:9092: time-out: "*"; waiting for it ("* ]]
	done
}

@test "client.rack: the nearest replica is read, not the leader" {
	local n was=()
	topic=$(new_topic 1 replicas=2,3)
	seq -f "%0500.0f" 4000 | kwrite -q --raw -t "$topic"
	wait_for "all_in_sync $topic"
	by 1 2 3
	for n in 2 3; do was[n]=$(sent $n); done
	[ "$(kread -q -b "$(broker_at 1 HIDDEN)" "${RESOLVE[@]}" -X client.rack=rack3 -e "$topic" | wc -l)" -eq 4000 ]
	# haproxy counts a connection's bytes when the connection has ended.
	wait_for '[ $(($(sent 3) - was[3])) -gt 1000000 ]'
	[ $(($(sent 2) - was[2])) -lt 200000 ]
}

@test "one proxy for all brokers is told" {
	check 111 -b "127.0.0.1:$SHARED"
	grep -q '^verdict: .*: brokers [123], [123] and [123] advertise this one address, as with one proxy for all' out
	grep -q '^remedy: give each broker a port or a host name of its own at the proxy' out
	kcat -L -b "127.0.0.1:$SHARED" >meta
}

# fake BROKERS: a broker that answers ApiVersions and Metadata, with BROKERS, a list of Python: (id, host, port); and no
# question after the configuration of a broker. fake.out has its port.
fake() {
	spawn fake python3 -uc 'import socket, struct, sys, threading
def text(s):
    return struct.pack(">h", len(s)) + s
def serve(a):
    with a, a.makefile("rb") as f:
        while size := f.read(4):
            api, version, number = struct.unpack(">hhi", f.read(struct.unpack(">i", size)[0])[:8])
            brokers = b"".join(struct.pack(">i", n) + text(host) + struct.pack(">ih", port, -1) for n, host, port in told)
            body = struct.pack(">i", number) + (struct.pack(">hihhhhhh", 0, 2, 3, 1, 1, 18, 0, 0) if api == 18 else
                                                struct.pack(">i", len(told)) + brokers + struct.pack(">ii", 1, 0))
            a.sendall(struct.pack(">i", len(body)) + body)
s = socket.create_server(("127.0.0.1", 0))
port = s.getsockname()[1]
told = eval(sys.argv[1])
print(port)
while True:
    threading.Thread(target=serve, args=(s.accept()[0],), daemon=True).start()' "$1" </dev/null
	wait_lines fake.out 1
}

@test "one address for all brokers, where nobody says whose it is, is a note" {
	fake '[(1, b"127.0.0.1", port), (2, b"127.0.0.1", port)]'
	check 0 -b "127.0.0.1:$(<fake.out)"
	grep -qF "note: brokers 1 and 2 advertise one address, 127.0.0.1:$(<fake.out); it does not tell us whose it is" out
	[ "$(tail -n 1 out)" = 'verdict: good' ]
}

@test "a broker that advertises what is no address, or none at all, is told" {
	local brokers text
	while IFS='|' read -r brokers text; do
		fake "$brokers"
		check 111 -b "127.0.0.1:$(<fake.out)"
		grep -qF "verdict: ${text/@/127.0.0.1:$(<fake.out)}" out
		kill -KILL "$(pid_of fake)"
		wait_exit fake
	done <<-'END'
		[(1, b"127.0.0.1", 0)]|127.0.0.1:0, advertised by broker 1: a port is a number from 1 to 65535
		[(1, b"", 9092)]|:9092, advertised by broker 1: a host name is missing
		[]|@: it answers, and names no broker of its cluster
	END
}

@test "a proxy that wants the PROXY protocol is told" {
	check 100 -b "127.0.0.1:$(<"$BROKERS_DIR/told")"
	grep -q '^verdict: .*: a proxy answers there that wants to be told by the PROXY protocol who calls' out
	grep -q '^remedy: take accept-proxy (proxy_protocol) from that listener' out
}

@test "ports that are mixed up are told" {
	by 1 3 2
	check 111 -b "$(broker_at 1 HIDDEN)" "${RESOLVE[@]}"
	grep -q '^verdict: kafka-2.example.invalid:9092, advertised by broker 2: broker 3 answers there' out
	grep -q '^verdict: kafka-3.example.invalid:9092, advertised by broker 3: broker 2 answers there' out
	grep -q '^remedy: here: --resolve kafka-2.example.invalid:9092:ADDRESS\[:PORT\], where broker 2 can be reached' out
	[ "$(grep -c '^verdict: ' out)" -eq 2 ]
}

@test "a group whose coordinator alone cannot be reached: kread says so" {
	local n coordinator group
	group=$(unique g)
	wait_for 'kcheck --json -g "$group" >json; jq -e "select(.group) | .coordinator >= 1" json'
	coordinator=$(jq 'select(.group).coordinator' json)
	by 1 2 3
	RESOLVE[2 * coordinator - 1]=kafka-$coordinator.example.invalid:9092:127.0.0.1:1
	n=$((coordinator % 3 + 1))
	spawn reads kread -b "$(broker_at $n HIDDEN)" "${RESOLVE[@]}" -g "$group" --commit written "$TOPIC" </dev/null
	wait_file_contains reads.err "group '$group': its coordinator cannot be used: kafka-$coordinator.example.invalid:9092, advertised by broker $coordinator: connection refused"
	alive "$(pid_of reads)"
}

@test "an address that no broker advertises is noted, as a load balancer's" {
	B=127.0.0.1:$(<"$BROKERS_DIR/proxy1")
	by 1 2 3
	check 0 -b "$(broker_at 3)"
	run ! grep '^note: ' out
	check 111 -b "$(broker_at 1 HIDDEN)"
	grep -q "^note: $(broker_at 1 HIDDEN) is advertised by no broker.* goes on to kafka-1.example.invalid:9092, " out
}

@test "a group whose coordinator is on a broker that cannot be reached" {
	local n to=()
	group=$(unique g)
	n=$(kcheck --json -g "$group" | jq 'select(.group).coordinator')
	# Its address leads nowhere here, and is not known before the coordinator is.
	to=(--resolve "$(broker_at "$n"):127.0.0.1:1")
	check 111 -b "$(broker_at $((n % 3 + 1)))" "${to[@]}" -g "$group"
	grep -q "^verdict: group '$group': its coordinator cannot be used: .*advertised by broker $n: connection refused" out
}
