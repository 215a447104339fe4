# SPDX-License-Identifier: ISC
# shellcheck shell=bash
# What the bats files share. A file begins with
#
#	load helpers
#
# and gets, for each test: $T, an empty directory which is the current one; the built programs first
# in PATH; an environment without our variables; and an end to all that was spawned. A file with a
# setup or teardown of its own calls harness_setup and harness_teardown in them.
#
# Servers started in setup_file belong to the file and are ended by teardown_file, which a file that
# defines its own replaces by harness_teardown_file.
#
# Tags: smoke (the passes on an older Kafka and with the newest librdkafka), newest (the latter alone), load
# (needs time or memory that a sanitized build lacks), once (says nothing more of a sanitized build). Write
# "# bats test_tags=smoke" above the test.

bats_require_minimum_version 1.5.0

ROOT=$(cd "${BASH_SOURCE[0]%/*}/../.." && pwd)
export ROOT
export EVPIPE_BUILD=${EVPIPE_BUILD:-$ROOT}
export PATH=$EVPIPE_BUILD/tools/bin:$PATH
export LC_ALL=C.UTF-8
# How long a condition may take to come about before the test has failed: generous, because it
# decides nothing else.
WAIT_LIMIT_S=${WAIT_LIMIT_S:-120}
# For a kread that is killed: the broker soon takes it for dead, and not when it is merely slow.
# shellcheck disable=SC2034 # the tests read it
SHORT_SESSION=(-X session.timeout.ms=3000 -X heartbeat.interval.ms=300)

# Once a file: what its setup_file exports is meant for its tests.
if [ "${EVPIPE_CLEAN:-}" != "$BATS_TEST_FILENAME" ]; then
	unset KAFKA_BROKERS REDIS_URL REDISCLI_AUTH EVPIPE_ACK EVPIPE_DIR EVPIPE_LOG EVPIPE_MEMBER EVPIPE_NAME EVPIPE_SINK EVPIPE_FOREIGN EVPIPE_UNIT EVPIPE_RUN
	export EVPIPE_CLEAN=$BATS_TEST_FILENAME
fi

harness_setup() {
	T=$(mktemp -d "$BATS_TEST_TMPDIR/t.XXXXXX")
	export T
	cd "$T" || return 1
}

harness_teardown() {
	# What went wrong is mostly told on somebody's standard error.
	if [ -z "${BATS_TEST_COMPLETED:-}" ] && [ -n "${T:-}" ]; then
		local file
		for file in "$T"/*.err; do
			[ ! -s "$file" ] || { echo "--- ${file##*/}"; tail -n 20 "$file"; }
		done
	fi
	harness_end "${T:-}"
}

harness_teardown_file() {
	harness_end "$BATS_FILE_TMPDIR"
}

setup() { harness_setup; }
teardown() { harness_teardown; }
teardown_file() { harness_teardown_file; }

# harness_end DIR: ends all process groups whose pid files are in DIR and waits until they are gone.
harness_end() {
	local file pid
	[ -n "$1" ] || return 0
	for file in "$1"/*.pid; do
		[ -e "$file" ] || continue
		pid=$(<"$file")
		kill -KILL -- "-$pid" 2>/dev/null || true
		wait "$pid" 2>/dev/null || true
		rm -f "$file"
	done
}

# ---- conditions ----

# wait_for CONDITION [LIMIT_S]: evaluates the shell text CONDITION until it holds; after a while less often, as many wait
# side by side.
wait_for() {
	local end=$((SECONDS + ${2:-$WAIT_LIMIT_S})) turns=0 pause=0.02
	until eval "$1" >/dev/null 2>&1; do
		if [ "$SECONDS" -ge "$end" ]; then
			echo "wait_for: not within ${2:-$WAIT_LIMIT_S} s: $1" >&2
			return 1
		fi
		[ $((++turns)) -ne 25 ] || pause=0.1
		sleep $pause
	done
}

# freeze PID…: SIGSTOP, until it is in force: a busy machine lets other threads run on for a while.
freeze() {
	local pid
	kill -STOP "$@"
	for pid; do
		wait_for "! cat /proc/$pid/task/*/stat | sed 's/.*) //' | grep -qv '^[TtZ]'"
	done
}

# wait_file_contains FILE TEXT [LIMIT_S]: until FILE has a line that contains TEXT.
wait_file_contains() {
	wait_for "grep -qF -e $(printf %q "$2") $(printf %q "$1")" "${3:-}" && return
	echo "--- $1" >&2
	tail -n 20 "$1" >&2
	return 1
}

# wait_lines FILE N [LIMIT_S]: until FILE has at least N lines.
wait_lines() {
	wait_for "[ \$(wc -l <$(printf %q "$1")) -ge $2 ]" "${3:-}" && return
	echo "wait_lines: $1 has $(wc -l <"$1") lines" >&2
	return 1
}

# ---- metrics ----

# valid_metrics FILE: the text format of Prometheus as promtool wants it.
valid_metrics() {
	python3 - "$1" <<-'EOP'
	import re, sys
	text = open(sys.argv[1]).read()
	assert text.endswith("\n")
	name, done, seen, helped, types = None, set(), set(), set(), {}
	for line in text.splitlines():
	    m = re.fullmatch(r"# (HELP|TYPE) ([a-zA-Z_:][a-zA-Z0-9_:]*) (.+)", line)
	    if m:
	        if m[2] != name:
	            assert m[2] not in done, "family in two places: " + line
	            done.add(name)
	            name = m[2]
	        if m[1] == "HELP":
	            assert name not in helped, line
	            helped.add(name)
	        else:
	            assert m[3] in ("counter", "gauge", "histogram") and name not in types, line
	            types[name] = m[3]
	        continue
	    m = re.fullmatch(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(\{(?:[a-z_]+="(?:[^"\\\n]|\\[\\"n])*",?)*\})? (-?[0-9.e+]+)', line)
	    assert m, line
	    assert m[1] == name and name in types and name in helped, line
	    assert (types[name] == "counter") == name.endswith("_total"), line
	    assert (m[1], m[2]) not in seen, "twice: " + line
	    seen.add((m[1], m[2]))
	assert seen
	EOP
	if command -v promtool >/dev/null; then promtool check metrics <"$1"; fi
}

# ---- programs in the background ----

# spawn NAME COMMAND…: starts COMMAND as a process group of its own with its output in NAME.out and
# NAME.err and its pid in NAME.pid, all in $T. It reads this function's standard input. Signals are as
# a shell gives them to a foreground job, which holds when spawn returns.
spawn() {
	local name=$1 dir=${SPAWN_DIR:-$T}
	shift
	rm -f "$dir/$name.spawned"
	(
		harness_close
		exec setsid env --default-signal=INT,QUIT,PIPE sh -c ': >"$0"; exec "$@"' \
			"$dir/$name.spawned" "$@" >"$dir/$name.out" 2>"$dir/$name.err"
	) <&0 &
	echo $! >"$dir/$name.pid"
	wait_for "[ -e $(printf %q "$dir/$name.spawned") ]"
}

# spawn_fed NAME COMMAND…: spawn, with what is written to descriptor 7 as input.
spawn_fed() {
	local in=$T/$1.in
	mkfifo "$in"
	exec 8<>"$in"
	spawn "$@" <"$in"
	exec 7>"$in" 8>&-
}

# silent_start: a server that takes connections and says nothing; silent.out has its port.
silent_start() {
	spawn silent python3 -u -c 'import socket, time
s = socket.create_server(("127.0.0.1", 0))
print(s.getsockname()[1], flush=True)
time.sleep(1000)'
	wait_lines silent.out 1
}

# Descriptors of bats that a child kept would keep bats waiting for it.
harness_close() {
	local fd
	for fd in /proc/self/fd/*; do
		fd=${fd##*/}
		[ "$fd" -le 2 ] || eval "exec $fd>&-"
	done
}

# pid_of NAME: of a spawned program.
pid_of() {
	cat "$T/$1.pid"
}

# alive PID: whether it runs; one that has ended and was not waited for does not.
alive() {
	local stat
	stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
	stat=${stat##*) }
	[ "${stat%% *}" != Z ]
}

# stop NAME [SIGNAL]: sends the signal (TERM) to a spawned program, not to its children.
stop() {
	kill -s "${2:-TERM}" "$(pid_of "$1")"
}

# wait_exit NAME [LIMIT_S]: waits for the end of a spawned program and sets $status. Not under run.
wait_exit() {
	local pid
	pid=$(pid_of "$1")
	if ! wait_for "! alive $pid" "${2:-}"; then
		echo "wait_exit: $1 (process $pid) still runs" >&2
		return 1
	fi
	status=0
	# shellcheck disable=SC2034 # the test reads it
	wait "$pid" || status=$?
	rm -f "$T/$1.pid"
}

# ---- Redis ----

# redis_start [NAME [OPTION…]]: a private redis-server on a TCP port and a Unix socket. Exports
# REDIS_PORT, REDIS_SOCK and REDIS_URL (the TCP one) when NAME is absent or "redis". In setup_file it
# lives as long as the file. Started again after redis_stop it comes back on the same port.
redis_start() {
	local name=${1:-redis} dir port end
	[ $# -eq 0 ] || shift
	dir=$(harness_scope)
	end=$((SECONDS + WAIT_LIMIT_S))
	while :; do
		[ -e "$dir/$name.port" ] || free_port >"$dir/$name.port"
		port=$(<"$dir/$name.port")
		rm -f "$dir/$name.sock"
		SPAWN_DIR=$dir spawn "$name" redis-server --bind 127.0.0.1 "${REDIS_PORT_FLAG:---port}" "$port" \
			--unixsocket "$dir/$name.sock" --dir "$dir" --dbfilename "$name.rdb" \
			--save '' --appendonly no --daemonize no --repl-diskless-sync-delay 0 "$@" </dev/null
		until [ -S "$dir/$name.sock" ] && redis-cli -s "$dir/$name.sock" ping >/dev/null 2>&1; do
			alive "$(<"$dir/$name.pid")" || break
			sleep 0.02
		done
		! alive "$(<"$dir/$name.pid")" || break
		# Somebody else has taken the port.
		if [ "$SECONDS" -ge "$end" ]; then
			cat "$dir/$name.out" >&2
			return 1
		fi
		[ -e "$dir/$name.started" ] || rm -f "$dir/$name.port"
	done
	: >"$dir/$name.started"
	[ "$name" != redis ] || export REDIS_PORT=$port REDIS_SOCK=$dir/redis.sock \
		REDIS_URL=redis://127.0.0.1:$port
}

# redis_tls_start CERT [OPTION…]: the same, whose TCP port speaks TLS with a certificate of make_certs.
redis_tls_start() {
	local cert=$1
	shift
	REDIS_PORT_FLAG=--tls-port redis_start redis --port 0 --tls-cert-file "$CERTS/$cert.pem" \
		--tls-key-file "$CERTS/$cert.key" --tls-ca-cert-file "$CERTS/ca.pem" --tls-auth-clients no "$@"
}

# make_certs: certificates of a CA of our own in $CERTS, NAME.pem and NAME.key: ca, other-ca, and of the first
# address (127.0.0.1), name (redis.test), wild, expired, future, client; stray is the second's, leaf is of the intermediate CA
# inter, old of oldca, whose time is over.
make_certs() {
	CERTS=$(harness_scope)/certs
	export CERTS
	mkdir -p "$CERTS"
	(
		cd "$CERTS" || exit 1
		key=(-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes)
		for ca in ca other-ca; do
			openssl req -x509 "${key[@]}" -keyout $ca.key -out $ca.pem -subj "/CN=$ca" -days 2
		done
		printf '%s\n' '[ca]' default_ca=d '[d]' new_certs_dir=. database=db rand_serial=yes policy=p \
			default_md=sha256 copy_extensions=copy unique_subject=no '[p]' commonName=supplied >ca.conf
		: >db
		day=$((24 * 3600))
		while read -r name ca extension from to; do
			openssl req -new "${key[@]}" -keyout "$name.key" -out "$name.csr" -subj "/CN=$name" \
				-addext "$extension"
			openssl ca -batch -notext -config ca.conf -cert "$ca.pem" -keyfile "$ca.key" \
				-in "$name.csr" -out "$name.pem" \
				-startdate "$(date -u -d "@$((EPOCHSECONDS + from * day))" +%Y%m%d%H%M%SZ)" \
				-enddate "$(date -u -d "@$((EPOCHSECONDS + to * day))" +%Y%m%d%H%M%SZ)"
		done <<-'EOC'
			address ca subjectAltName=IP:127.0.0.1 -1 2
			name ca subjectAltName=DNS:redis.test -1 2
			wild ca subjectAltName=DNS:*.kafka.test -1 2
			expired ca subjectAltName=IP:127.0.0.1 -2 -1
			future ca subjectAltName=IP:127.0.0.1 1 2
			stray other-ca subjectAltName=IP:127.0.0.1 -1 2
			client ca subjectAltName=DNS:client -1 2
			inter ca basicConstraints=critical,CA:TRUE -1 2
			leaf inter subjectAltName=IP:127.0.0.1 -1 2
			oldca ca basicConstraints=critical,CA:TRUE -2 -1
			old oldca subjectAltName=IP:127.0.0.1 -1 2
		EOC
	) >"$CERTS.log" 2>&1 || { cat "$CERTS.log" >&2; return 1; }
}

# replica_start NAME [OPTION…]: a replica of the server of redis_start, in step with it.
replica_start() {
	redis_start "$1" --replicaof 127.0.0.1 "$REDIS_PORT" "${@:2}"
	wait_for "scli $1 info replication | grep -q master_link_status:up"
	# The primary counts it among its replicas a moment later.
	wait_for "rcli info replication | grep -q 'port=$(port_of "$1"),state=online'"
}

# port_of NAME: of a server of redis_start.
port_of() {
	cat "$(harness_scope)/$1.port"
}

# sentinels_start N [OPTION…]: N sentinels s1, s2, … that watch over the server of redis_start as "mymaster", and
# know each other and one replica of it. They take it for down after DOWN_AFTER_MS, by default so late that a busy machine
# makes no failover. OPTIONs are lines of their configuration.
# Exports SENTINELS, HOST:PORT,…
sentinels_start() {
	local dir n name port count=$1
	shift
	dir=$(harness_scope)
	SENTINELS=
	for ((n = 1; n <= count; n++)); do
		name=s$n
		port=$(free_port)
		echo "$port" >"$dir/$name.port"
		printf '%s\n' "port $port" 'bind 127.0.0.1' "unixsocket $dir/$name.sock" "dir $dir" \
			"sentinel monitor mymaster 127.0.0.1 $REDIS_PORT $((count / 2 + 1))" \
			"sentinel down-after-milliseconds mymaster ${DOWN_AFTER_MS:-60000}" \
			'sentinel failover-timeout mymaster 3000' "$@" >"$dir/$name.conf"
		SPAWN_DIR=$dir spawn "$name" redis-server "$dir/$name.conf" --sentinel </dev/null
		SENTINELS+=${SENTINELS:+,}127.0.0.1:$port
	done
	export SENTINELS
	for ((n = 1; n <= count; n++)); do
		wait_for "scli s$n sentinel debug info-period 1000 publish-period 100 ask-period 100" || return 1
	done
	for ((n = 1; n <= count; n++)); do
		wait_for "scli s$n sentinel master mymaster | grep -A1 -x num-slaves | grep -qx '[1-9]'" || return 1
		wait_for "[ $count -eq 1 ] || scli s$n sentinel ckquorum mymaster | grep -q '^OK $count'" || return 1
	done
}

# failover NAME: the sentinel makes a replica the primary.
failover() {
	wait_for "scli $1 sentinel failover mymaster | grep -qx OK"
}

# scli NAME ARG…: redis-cli to a server by its socket.
scli() {
	redis-cli -s "$(harness_scope)/$1.sock" "${@:2}"
}

# redis_stop [NAME [SIGNAL]]: ends it at once (or by SIGNAL) and waits until it is gone.
redis_stop() {
	server_stop "${1:-redis}" "${2:-KILL}"
}

# rcli ARG…: redis-cli to the server of redis_start.
rcli() {
	redis-cli -s "$REDIS_SOCK" "$@"
}

# redis_subscribers CHANNEL: prints how many subscribers it has; redis_patterns: how many patterns.
redis_subscribers() {
	rcli pubsub numsub "$1" | tail -n 1
}
redis_patterns() {
	rcli pubsub numpat
}

# ---- Kafka ----

# kmock_start [OPTION…]: a kmock. Exports KAFKA_BROKERS.
kmock_start() {
	local dir
	dir=$(harness_scope)
	SPAWN_DIR=$dir spawn kmock kmock "$@" </dev/null
	wait_lines "$dir/kmock.out" 1 120 || { cat "$dir/kmock.err" >&2; return 1; }
	KAFKA_BROKERS=$(head -n 1 "$dir/kmock.out")
	export KAFKA_BROKERS
}

kmock_stop() {
	server_stop kmock KILL
}

# kafka_start: the real Kafka which all files of a run share. The first to ask starts it. Exports
# KAFKA_BROKERS and KAFKA_SASL (its listener with login: alice, secret). Make topics with new_topic.
# It is never started again, so on a loaded machine it need not be taken for dead soon.
kafka_start() {
	(
		harness_close
		exec 9>"$EVPIPE_KAFKA_DIR.lock"
		flock 9
		[ -e "$EVPIPE_KAFKA_DIR/pid" ] && alive "$(<"$EVPIPE_KAFKA_DIR/pid")" ||
			"$ROOT/tests/kafka/start" "$EVPIPE_KAFKA_DIR" \
				"${EVPIPE_KAFKA_VERSION:-4.1.0}" \
				broker.session.timeout.ms=60000 log.cleaner.backoff.ms=300 >/dev/null
	) </dev/null || return 1
	KAFKA_BROKERS=$(<"$EVPIPE_KAFKA_DIR/bootstrap")
	KAFKA_SASL=$(<"$EVPIPE_KAFKA_DIR/sasl")
	export KAFKA_BROKERS KAFKA_SASL
}

# own_kafka_start [PROPERTY…]: a real Kafka for this test or file alone, in $KAFKA_DIR: to be
# stopped, crashed and started again with "$ROOT/tests/kafka/stop [-9] $KAFKA_DIR" and …/start.
own_kafka_start() {
	KAFKA_DIR=$(harness_scope)/kafka
	export KAFKA_DIR
	mkdir -p "$KAFKA_DIR"
	KAFKA_BROKERS=$("$ROOT/tests/kafka/start" "$KAFKA_DIR" "${EVPIPE_KAFKA_VERSION:-4.1.0}" "$@" \
		3>&-) || return 1
	KAFKA_SASL=$(<"$KAFKA_DIR/sasl")
	export KAFKA_BROKERS KAFKA_SASL
	ln -sfn kafka/pid "$(harness_scope)/kafka.pid"
}

# unique [PREFIX]: prints a name nobody else uses, fit for a topic, a group or a channel.
unique() {
	echo "${1:-t}-${BATS_SUITE_TEST_NUMBER:-0}-$$-$RANDOM$RANDOM"
}

# new_topic [PARTITIONS [config=value…]]: makes a topic (1 partition) and prints its name. Real Kafka.
new_topic() {
	local name
	name=$(unique topic)
	"$ROOT/tests/kafka/topics" "$KAFKA_BROKERS" create "$name" "${1:-1}" "${@:2}" >&2 &&
		echo "$name"
}

# kproduce TOPIC [KCAT-OPTION…] and kconsume …: one message a line in, one a line out to the end.
kproduce() {
	kcat -q -b "$KAFKA_BROKERS" -P -t "$@"
}
kconsume() {
	kcat -q -b "$KAFKA_BROKERS" -C -e -o beginning -X check.crcs=true -t "$@"
}

# ---- inner ----

# Where a server started now belongs: to the test, or in setup_file to the file.
harness_scope() {
	if [ -n "${BATS_TEST_NUMBER:-}" ]; then echo "$T"; else echo "$BATS_FILE_TMPDIR"; fi
}

# server_stop NAME SIGNAL: of a server of the test or of the file.
server_stop() {
	local dir pid
	for dir in "${T:-}" "$BATS_FILE_TMPDIR"; do
		[ -e "$dir/$1.pid" ] || continue
		pid=$(<"$dir/$1.pid")
		kill -s "$2" "$pid"
		wait_for "! alive $pid" || return 1
		wait "$pid" 2>/dev/null || true
		rm -f "$dir/$1.pid"
		return 0
	done
	echo "server_stop: no $1 runs" >&2
	return 1
}

# A port nobody listens on, below those the system gives to clients.
free_port() {
	local port
	while :; do
		port=$((15000 + RANDOM % 17000))
		(: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
	done
	echo "$port"
}

# position_and_metadata GROUP TOPIC: prints the position of partition 0, and the metadata behind it.
position_and_metadata() {
	python3 -B - "$KAFKA_BROKERS" "$@" <<-'END'
	import os, struct, sys
	sys.path.insert(0, os.environ["ROOT"] + "/tests/faults")
	from wire import OFFSET_FETCH, Broker, array, string
	group, topic = sys.argv[2:]
	body = string(group) + array([string(topic) + array([struct.pack(">i", 0)])])
	r = Broker(sys.argv[1]).call(OFFSET_FETCH, 2, body)
	r.array(lambda: (r.string(), r.array(lambda: (print(r.get("iq")[1], r.string()), r.get("h")))))
	END
}
