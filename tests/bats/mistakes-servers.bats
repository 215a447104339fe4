#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# Mistakes of newcomers with addresses and servers: what is none, is not there, or is another one is named.

load helpers
load mistakes

setup_file() {
	kmock_start -t orders:3
}

# librdkafka warns of most of them, and waits for ever.
@test "addresses of brokers that are none are told by each program, before anything is dialled" {
	local address words program
	while IFS='|' read -r address words; do
		for program in "kread -e orders" "kwrite -t orders" kcheck; do
			# shellcheck disable=SC2086 # words
			run -100 --separate-stderr timeout -s KILL 100 $program -b "$address" <<<'{"payload":"x"}'
			# shellcheck disable=SC2154 # set by run
			[[ $stderr == "${program%% *}: "*"$words"* ]] || { echo "$program, $address: $stderr"; false; }
		done
	done <<-'END'
		127.0.0.1:0|the port is a number from 1 to 65535
		127.0.0.1:70000|the port is a number from 1 to 65535
		127.0.0.1:http|the port is a number from 1 to 65535
		127.0.0.1:|'127.0.0.1:' is no broker's address
		127.0.0.1:9092/orders|'127.0.0.1:9092/orders' is no broker's address
		127.0.0.1:9092,:9092|':9092' is no broker's address: HOST is missing
		PLAINTEXT://|HOST is missing
		::1:9092|brackets: [ADDRESS]:PORT
		::1:19092|brackets: [ADDRESS]:PORT
		[::1|an IPv6 address is [ADDRESS]:PORT
		[kafka]:9092|an IPv6 address is [ADDRESS]:PORT
		alice:secret@kafka:9092|has no user in it
		SSL://kafka:9093|security.protocol is plaintext: -X security.protocol=SSL
		,|no broker is named: give -b HOST:PORT
		 , ,|no broker is named: give -b HOST:PORT
	END
	run -100 --separate-stderr kread -e orders -b '::1,alice:secret@x:1'
	[[ $stderr != *secret* ]]
}

@test "another server's port is asked about" {
	export KAFKA=redis://$KAFKA_BROKERS
	table <<-'END'
		echo x | rpub --raw --retry-for 2s -u "$KAFKA" ch
		99
		another server's port?
		evcorr wait -u "$KAFKA" --timeout 2s id
		111
		another server's port?
	END
}

@test "the port of another server as a broker's: what answers there is said, once, by each program" {
	local port kind program got turn text
	# The first words of the one who is asked this, "*": anything, and of the one who speaks first, "".
	spawn others python3 -uc 'import socket, threading, time
def serve(s, asked, words):
    while True:
        threading.Thread(target=answer, args=(s.accept()[0], asked, words), daemon=True).start()
def answer(a, asked, words):
    try:
        if asked == b"" or a.recv(1000).startswith(asked) or asked == b"*":
            a.sendall(words)
            a.recv(1000)
    except OSError:
        pass
    a.close()
for asked, words in ((b"", b"SSH-2.0-OpenSSH_9.2\r\n"), (b"", b"220 mail.example ESMTP\r\n"),
                     (b"*", b"HTTP/1.1 400 Bad Request\r\n\r\n"), (b"*", b"AMQP\0\0\x09\1"),
                     (b"", b"\x4a\0\0\0\x0a8.0.36\0"), (b"*", b"E\0\0\0\x60SFATAL\0VFATAL\0C0A000\0"),
                     (b"", b"\0\0\6\4\0\0\0\0\0\0\4\0\0\xff\xff"), (b"srvr", b"Zookeeper version: 3.8.4"),
                     (b"", b"INFO {}\r\n"),
                     (b"GET / HTTP/1.", b"HTTP/1.0 200 OK\r\nContent-Length: 85\r\n\r\nIt looks like you are trying to access MongoDB over HTTP on the native driver port.\r\n"),
                     (b"GET / HTTP/1.", b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.schemaregistry.v1+json\r\n\r\n{}"),
                     (b"GET / HTTP/1.", b"HTTP/1.1 200 OK\r\n\r\n{\"version\":\"4.1.0\",\"kafka_cluster_id\":\"x\"}"),
                     (b"*", b"\x84\0\0\0\0\0\0\0\x17\0\0\0\x0a\0\x11Invalid or unsupp"),
                     (b"", b"\xff\xfd\x18\xff\xfd\x20"), (b"GET ", b"ERROR\r\nERROR\r\n"),
                     (b"", b"\0\0\1\x3b\1ActiveMQ\0\0\0\x0c"), (b"", b"@RSYNCD: 31.0\n"),
                     (b"\x10\x0c\0\4MQTT", b"\x20\2\0\0"), (b"0\x0c\2\1\1\x60", b"0\x0c\2\1\1a\7\x0a\1\0\4\0\4\0"),
                     (b"\3\0\0\x13\x0e\xe0", b"\3\0\0\x13\x0e\xd0\0\0\x12\x34\0\2\x1f\x08\0\2\0\0\0"),
                     (b"\0\x1ekc", b"\0\x1ekc\x80\5\0\1\0\0\0\0\0\0\7version\4bind\0\0\x10\0\3"),
                     (b"\0\0\0\x0d\0\0\0\x09\x08\2", b"\0\0\0\x0f\0\0\0\x0b\x08\3\x1a\7\x0a\3abc\x10\x0c"),
                     (b"", b"hello\r\n")):
    s = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=serve, args=(s, asked, words), daemon=True).start()
    print(s.getsockname()[1])
time.sleep(1000)' </dev/null
	wait_lines others.out 23
	printf '%s\n' 'an SSH server' 'a mail or FTP server' 'an HTTP server' 'an AMQP server' 'a MySQL server' \
		'a PostgreSQL server' 'an HTTP/2 server (gRPC?)' ZooKeeper 'a NATS server' 'a MongoDB server' \
		'a Schema Registry (HTTP)' 'Kafka Connect (HTTP)' 'a Cassandra server' 'a telnet server' 'a memcached server' \
		'an ActiveMQ broker (OpenWire)' 'an rsync server' 'an MQTT broker' 'an LDAP server' 'an RDP server' \
		'a DNS server' 'a Pulsar broker' | paste others.out - >rows
	# The more of them, by one program, without TLS and with it in turn.
	turn=("-X security.protocol=SSL" "")
	while IFS=$'\t' read -r port kind; do
		text="127.0.0.1:$port: ${kind:+$kind answers there, no broker of Kafka}"
		[ -n "$kind" ] || text+="the answer is none of Kafka's: 'hello'"
		turn=("${turn[1]}" "${turn[0]}")
		# shellcheck disable=SC2086 # words
		run -100 --separate-stderr kcheck -b "127.0.0.1:$port" ${turn[0]}
		[[ $stderr == "kcheck: $text"* ]]
	done <rows
	while IFS=$'\t' read -r port kind; do
		for program in 'kread -e t' 'kread -g g --commit written t' 'kwrite -t t' kcheck 'khttp --listen unix:web --management none'; do
			got=0
			# shellcheck disable=SC2086 # words
			timeout -s KILL 100 $program -b "127.0.0.1:$port" <<<'{"payload":"x"}' >out 2>err || got=$?
			echo "$program, $kind: $got"
			cat err
			[ "$got" -eq 100 ]
			[ "$(grep -c "127.0.0.1:$port: $kind answers there, no broker of Kafka" err)" -eq 1 ]
			[ "$(wc -l <err)" -eq 1 ] || [[ $program == khttp* ]]
		done
	done < <(head -n 4 rows)
}

@test "servers that are not there, or are others, are named" {
	table <<-'END'
		kread orders -b 127.0.0.1:1 --idle-exit 3s
		99
		cannot reach broker 127.0.0.1:1  Connection refused  waiting for it
		echo x | rpub --raw -u redis://127.0.0.1:1 --retry-for 2s c
		99
		redis at 127.0.0.1:1: Connection refused
		env -u KAFKA_BROKERS kread orders
		100
		no broker is named: give -b HOST:PORT or set $KAFKA_BROKERS
		kread -g g orders
		100
		run the pipeline with evpipe  --ack PATH  --commit written
	END
}

@test "a broker that answers late, when kcheck has sent the ends of lines too, is a broker" {
	# It passes on the answers of its first connection only then.
	spawn late python3 -uc 'import socket, sys, threading
def copy(a, b, go, first):
    while data := a.recv(65536):
        if first:
            go.wait()
        elif b"\r\n\r\n" in data:
            go.set()
        b.sendall(data)
    b.shutdown(socket.SHUT_WR)
s = socket.create_server(("127.0.0.1", 0))
print(s.getsockname()[1])
first = True
while True:
    a = s.accept()[0]
    b = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    go = threading.Event()
    threading.Thread(target=copy, args=(a, b, go, False), daemon=True).start()
    threading.Thread(target=copy, args=(b, a, go, first), daemon=True).start()
    first = False' "${KAFKA_BROKERS##*:}" </dev/null
	wait_lines late.out 1
	run -0 kcheck -b "127.0.0.1:$(<late.out)" --timeout 8s
	[ "${lines[-1]}" = 'verdict: good' ]
}

@test "kcheck puts an IPv6 address into brackets" {
	run -111 --separate-stderr kcheck -b '[::1]:1'
	[[ $output == *'verdict: [::1]:1: '* ]]
	[[ $stderr == 'kcheck: [::1]:1: '* ]]
	run -111 --separate-stderr kcheck --json -b '[::1]:1'
	[ "$(jq -r .listener <<<"$output")" = '[::1]:1' ]
}

@test "a --resolve that fits no listener is told, once, and one that fits is not" {
	local unused='--resolve kafka-1:9092, 127.0.0.1:1 ('$KAFKA_BROKERS' is advertised): not used, for no broker that is up advertises it' options program
	options="--resolve kafka-1:9092:127.0.0.1 --resolve 127.0.0.1:1:127.0.0.1 --resolve $KAFKA_BROKERS:127.0.0.1"
	for program in "kread -e orders" "kwrite -t orders"; do
		# shellcheck disable=SC2086 # words
		$program $options 2>err </dev/null
		[[ $(<err) == "${program%% *}: warning: $unused, and -b does not name it" ]] || { cat err; false; }
	done
	# shellcheck disable=SC2086 # words
	run -0 --separate-stderr kcheck $options
	[[ $output == *"note: $unused, and -b does not name it"* ]]
	[ -z "$stderr" ]
	# shellcheck disable=SC2086 # words
	[ "$(kcheck --json $options | jq -r .note)" = "$unused, and -b does not name it" ]
	run -0 kread -e --resolve "$KAFKA_BROKERS:127.0.0.1" orders
	run ! grep resolve <<<"$output"
	# Lines of a file may be for other clusters.
	echo kafka-1:9092:127.0.0.1 >file
	run -0 --separate-stderr kread -e --resolve @file orders
	[ -z "$stderr" ]
}

@test "a --resolve that leads to a wrong place is named as what is to be corrected; of a topic not asked about nothing is told" {
	local place name remedy options
	place=127.0.0.1:$(free_port)
	for name in "$KAFKA_BROKERS" kafka.test:9092; do
		options=(-b "$name" --resolve "$name:$place")
		remedy="correct --resolve $name:$place, or leave it away"
		run -111 --separate-stderr kcheck "${options[@]}" -t orders
		[[ $output == *"remedy: $remedy"* ]]
		[[ $output == *$'\nFAIL  topic orders\n'* ]]
		kcheck --json "${options[@]}" -t orders >json || true
		[ "$(jq -c 'select(.topic) | [.min_insync_replicas, .partitions]' json)" = '[null,[]]' ]
		spawn reads kread "${options[@]}" -e orders </dev/null
		wait_file_contains reads.err "($remedy)"
		stop reads
		wait_exit reads
	done
}

@test "forms of --resolve that are none are told, with what is wrong" {
	table <<-'END'
		kcheck -b x --resolve '*.kafka.test:9092:127.0.0.1'
		100
		not '*.kafka.test:9092:127.0.0.1'  HOST is one name  a line in @FILE
		kread t --resolve 'kafka:9092-9094:127.0.0.1'
		100
		a port is a number from 1 to 65535
		kwrite -t t --resolve kafka:9092:127.0.0.1:0
		100
		a port is a number from 1 to 65535
		khttp --resolve kafka:9092:::1
		100
		an IPv6 address has brackets: [ADDRESS]
		kread t --resolve '[::1]:9092:kafka'
		100
		ADDR being an address, not '[::1]:9092:kafka'
		kread t --resolve kafka:9092:9093
		100
		ADDR being an address, not 'kafka:9092:9093'
	END
}
