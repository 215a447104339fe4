#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# What kread, kwrite and khttp say when they cannot come in: the sentence of kcheck, once, and then they end with 100.
# Nothing is consumed, and nothing is a dead letter. One Kafka, with an authorizer and a listener for each mistake.

load helpers
load listeners

setup_file() {
	kmock_start
	OTHER=$KAFKA_BROKERS
	export OTHER
	listeners_start 'NOWHERE PLAINTEXT nobody.invalid:@NOWHERE@' 'CLOSED PLAINTEXT 127.0.0.1:@FAR@' \
		'TLS SSL' 'NAMED SSL - name' 'EXPIRED SSL - expired' 'STRAY SSL - stray' 'MUTUAL SSL' 'LOGIN SASL_SSL' \
		'MIXED PLAINTEXT 127.0.0.1:@TLS@' 'SIX PLAINTEXT [::1]:@SIX@' 'POD PLAINTEXT kafka-broker-x:9092' \
		"STRANGER PLAINTEXT $OTHER" \
		-- authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer super.users=User:ANONYMOUS \
		sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-512 \
		'listener.name.sasl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;'
	TOPIC=$(new_topic)
	seq 5 | kproduce "$TOPIC"
	export TOPIC
}

setup() {
	harness_setup
	listeners_options
}

end_of() {
	kcheck --json -t "$1" | jq 'select(.topic).partitions[0].end'
}

# refused TEXT OPTION…: kread, in a group too, kwrite and khttp end with 100, and TEXT is in their one sentence.
refused() {
	local text=$1 name end
	shift
	end=$(end_of "$TOPIC")
	rm -f dead
	spawn reads kread "$@" -e "$TOPIC" </dev/null
	spawn group kread "$@" -g refused --commit written "$TOPIC" </dev/null
	spawn writes kwrite "$@" -t "$TOPIC" --dead-letter dead <<<'{"payload":"x"}'
	spawn http khttp "$@" --listen "unix:$T/web" --management none </dev/null
	for name in reads group writes http; do
		wait_exit $name
		cat $name.err
		[ "$status" -eq 100 ]
		[ ! -s $name.out ]
		grep -qF -e "$text" $name.err
	done
	for name in reads group writes; do [ "$(grep -cF -e "$text" $name.err)" -eq 1 ]; done
	[ ! -s dead ]
	[ "$(end_of "$TOPIC")" -eq "$end" ]
}

@test "TLS to a port without, and none to a port with it; no login where one is wanted" {
	refused 'it speaks TLS, and security.protocol is PLAINTEXT; -X security.protocol=SSL' -b "$(at TLS)"
	refused 'it does not speak TLS, and security.protocol is SSL; -X security.protocol=PLAINTEXT' -b "$(at PLAIN)" "${TLS[@]}"
	refused 'it wants a login (SASL), and security.protocol is PLAINTEXT' -b "$(at SASL)"
}

@test "a certificate that has expired, is for another host, or from an unknown CA; none of our own where one is wanted" {
	refused 'its certificate has expired: CN=expired was valid until 20' -b "$(at EXPIRED)" "${TLS[@]}"
	refused "its certificate is not for the host name or address '127.0.0.1', but for DNS:redis.test" -b "$(at NAMED)" "${TLS[@]}"
	refused 'its certificate is from no CA that is trusted here: CN=stray was signed by CN=other-ca' -b "$(at STRAY)" "${TLS[@]}"
	refused 'it wants a client certificate, and we have none' -b "$(at MUTUAL)" "${TLS[@]}"
}

@test "the listener of a controller; a Redis server" {
	refused 'it is the listener of a controller, not of a broker' -b "$(at CONTROLLER)"
	redis_start
	refused 'a Redis server answers there, no broker of Kafka' -b "127.0.0.1:$REDIS_PORT"
}

@test "a wrong password, with TLS and without" {
	local text='Invalid username or password; -X sasl.username=USER -X sasl.password=PASSWORD, as the broker has them'
	refused "$text" -b "$(at SASL)" "${LOGIN[@]}" -X sasl.password=wrong
	refused "$text" -b "$(at LOGIN)" "${LOGIN_TLS[@]}" -X sasl.password=wrong
}

@test "a login through TLS, and a certificate of our own: records are written and read" {
	local topic mutual
	topic=$(new_topic)
	mutual=(-b "$(at MUTUAL)" "${TLS[@]}" -X "ssl.certificate.location=$CERTS/client.pem" -X "ssl.key.location=$CERTS/client.key")
	LOGIN_TLS+=(-b "$(at LOGIN)" -X sasl.password=secret)
	for name in alice CN=client; do
		"$ROOT/tests/kafka/topics" "$KAFKA_BROKERS" allow "$topic" $name read,write,describe
	done
	seq 3 | kwrite "${LOGIN_TLS[@]}" --raw -t "$topic"
	seq 4 6 | kwrite "${mutual[@]}" --raw -t "$topic"
	[ "$(kread "${LOGIN_TLS[@]}" -e --raw "$topic" | xargs)" = '1 2 3 4 5 6' ]
	[ "$(kread "${mutual[@]}" -e --raw "$topic" | xargs)" = '1 2 3 4 5 6' ]
}

@test "a connection that is cut in the middle of a login, or falls silent there, refuses nobody: it is waited for" {
	local way topic it
	topic=$(new_topic)
	"$ROOT/tests/kafka/topics" "$KAFKA_BROKERS" allow "$topic" alice read,write,describe
	# Before the broker: SaslHandshake, 17, does not reach it until the file `through` is there.
	spawn front python3 -uc 'import os, socket, struct, sys, threading
held = []
def back(a, b):
    while data := b.recv(65536):
        a.sendall(data)
def serve(a):
    b = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    threading.Thread(target=back, args=(a, b), daemon=True).start()
    f = a.makefile("rb")
    while size := f.read(4):
        data = f.read(struct.unpack(">i", size)[0])
        if data[:2] == b"\0\21" and not os.path.exists("through"):
            if open("way").read() == "silent":
                held.append(a)
            else:
                a.shutdown(socket.SHUT_RDWR)
            return
        b.sendall(size + data)
s = socket.create_server(("127.0.0.1", 0))
print(s.getsockname()[1])
while True:
    threading.Thread(target=serve, args=(s.accept()[0],), daemon=True).start()' "$(port SASL)" </dev/null
	wait_lines front.out 1
	LOGIN+=(-b "127.0.0.1:$(<front.out)" -X sasl.password=secret -X socket.timeout.ms=2000)
	for way in cut silent; do
		rm -f through
		printf %s $way >way
		spawn writes kwrite "${LOGIN[@]}" --raw -t "$topic" <<<$way
		spawn reads kread "${LOGIN[@]}" --raw -c 1 -o -1 "$topic" </dev/null
		for it in writes reads; do
			wait_file_contains $it.err "cannot reach broker 127.0.0.1:$(<front.out): "
		done
		alive "$(pid_of writes)"
		alive "$(pid_of reads)"
		: >through
		for it in writes reads; do
			wait_exit $it
			[ "$status" -eq 0 ]
		done
	done
	[ "$(kread -e --raw "$topic" | xargs)" = 'cut silent' ]
}

@test "a login where none is wanted, and by another mechanism: the remedy is said" {
	refused 'it wants no login (SASL), and security.protocol is SASL_PLAINTEXT; -X security.protocol=PLAINTEXT' \
		-b "$(at PLAIN)" "${LOGIN[@]}" -X sasl.password=secret
	refused 'it does not offer the SASL mechanism SCRAM-SHA-256, but PLAIN; -X sasl.mechanisms=PLAIN' \
		-b "$(at LOGIN)" "${LOGIN_TLS[@]}" -X sasl.password=secret -X sasl.mechanisms=SCRAM-SHA-256
}

# bats test_tags=newest
@test "SCRAM-SHA-512: of a librdkafka that Kafka 4 does not let in the cause is said, and the remedy; a newer one comes in" {
	local version
	LOGIN=(-b "$(at SASL)" -X security.protocol=SASL_PLAINTEXT -X sasl.mechanisms=SCRAM-SHA-512 -X sasl.username=alice)
	"$ROOT/tests/kafka/topics" "$KAFKA_BROKERS" allow "$TOPIC" alice read,write,describe
	kcheck "${LOGIN[@]}" -X sasl.password=secret
	refused uthentication "${LOGIN[@]}" -X sasl.password=wrong
	version=$(kread -V | sed -n 's/.*librdkafka \([0-9.]*\).*/\1/p')
	if [ "$(printf '%s\n' "$version" 2.6.1 | sort -V | head -n 1)" = 2.6.1 ]; then
		[ "$(kread "${LOGIN[@]}" -X sasl.password=secret -e "$TOPIC" | wc -l)" -ge 5 ]
		kwrite "${LOGIN[@]}" -X sasl.password=secret -t "$TOPIC" <<<'{"payload":"x"}'
	else
		refused "librdkafka $version errs at SCRAM's nonce, 2.6.1 does not" "${LOGIN[@]}" -X sasl.password=secret
	fi
}

@test "no ACL; READ is enough to read, WRITE to write" {
	local ours theirs
	ours=$(new_topic) theirs=$(new_topic)
	"$ROOT/tests/kafka/topics" "$KAFKA_BROKERS" allow "$ours" alice read,write,describe
	LOGIN+=(-b "$(at SASL)" -X sasl.password=secret)
	seq 3 | kwrite "${LOGIN[@]}" --raw -t "$ours"
	[ "$(kread "${LOGIN[@]}" -e --raw "$ours" | xargs)" = '1 2 3' ]
	run -100 kread "${LOGIN[@]}" -e "$theirs"
	[[ $output == "kread: topic '$theirs': Topic authorization failed; kafka-acls.sh --add --allow-principal User:alice --operation Read --topic $theirs" ]]
	run -100 kread "${LOGIN[@]}" -g g --commit written -e "$ours"
	[[ $output == *[Gg]'roup authorization failed'* || $output == *"not authorized to access group"* ]]
	[[ $output == *'; kafka-acls.sh --add --allow-principal User:alice --operation Read --group g' ]]
	run -100 kwrite "${LOGIN[@]}" -t "$theirs" --dead-letter dead <<<'{"payload":"x"}'
	[[ $output == *"; kafka-acls.sh --add --allow-principal User:alice --operation Write --topic $theirs"* ]]
	[ ! -s dead ]
	[ "$(end_of "$theirs")" -eq 0 ]
	run -100 kcheck "${LOGIN[@]}" -t "$theirs"
	[[ $output == *"topic '$theirs': we may not see it: no ACL allows DESCRIBE"*"User:alice --operation Describe --topic $theirs"* ]]
	run -100 kcheck "${LOGIN[@]}" -g g
	[[ $output == *"group 'g': we may not see it: no ACL allows it"*'User:alice --operation Read --group g'* ]]
}

@test "a mirror needs no more than READ at the source, and DESCRIBE_CONFIGS to make a topic like it" {
	local topic new
	topic=$(new_topic 2)
	new=$(kafka_start && echo "$KAFKA_BROKERS")
	seq 6 | kproduce "$topic"
	"$ROOT/tests/kafka/topics" "$KAFKA_BROKERS" allow "$topic" alice read
	LOGIN+=(-X sasl.password=secret)
	printf '%s\n' security.protocol=SASL_PLAINTEXT sasl.mechanisms=PLAIN sasl.username=alice sasl.password=secret >old
	kread -b "$(at SASL)" "${LOGIN[@]}" -e "$topic" >records
	run -100 kwrite -b "$new" -p keep --create like --old "$(at SASL)" --old-config old <records
	[[ $output == *"; kafka-acls.sh --add --allow-principal User:alice --operation DescribeConfigs --topic $topic"* ]]
	"$ROOT/tests/kafka/topics" "$KAFKA_BROKERS" allow "$topic" alice describe-configs
	kwrite -b "$new" -p keep --create like --old "$(at SASL)" --old-config old <records
	[ "$(kread -b "$new" -e --raw "$topic" | sort | xargs)" = '1 2 3 4 5 6' ]
	kread -b "$(at SASL)" "${LOGIN[@]}" -e "$topic" | kwrite -b "$new" -p keep
	[ "$(kread -b "$new" -e --raw "$topic" | wc -l)" -eq 12 ]
}

# waits TEXT OPTION…: kread and kwrite say so once, and wait.
waits() {
	local text=$1 name
	shift
	spawn reads kread "$@" -e "$TOPIC" </dev/null
	spawn writes kwrite "$@" -t "$TOPIC" <<<'{"payload":"x"}'
	for name in reads writes; do
		wait_file_contains $name.err "$text"
		kill -KILL "$(pid_of $name)"
		wait_exit $name
		cat $name.err
		[ "$(grep -cF -e 'cannot reach' $name.err)" -eq 1 ]
	done
}

@test "two clusters: named in one list, or by --resolve; nothing is written to either" {
	refused 'a broker of another cluster answers there' -b "$(at PLAIN),$OTHER"
	refused "a broker of another cluster answers there, mockCluster" -b "$(at POD)" \
		--resolve "kafka-broker-x:9092:$OTHER"
	grep -qF "; here: --resolve kafka-broker-x:9092:127.0.0.1:$(port POD); or" writes.err
	[ -z "$(kcat -q -b "$OTHER" -C -e -t "$TOPIC")" ]
	# Not either when the topic is in both.
	run -0 kwrite -b "$OTHER" -t "$TOPIC" <<<'{"payload":"x"}'
	refused "a broker of another cluster answers there, mockCluster" -b "$(at POD)" \
		--resolve "kafka-broker-x:9092:$OTHER"
	[ "$(kread -b "$OTHER" -e "$TOPIC" | wc -l)" -eq 1 ]
}

@test "an advertised address that leads to a broker of another cluster ends reading and writing" {
	local name topic
	topic=$(new_topic)
	# One after the other: kwrite makes the topic in the other cluster too, where a reader with -e would find its end.
	for name in reads group writes; do
		case $name in
		reads) spawn reads kread -b "$(at STRANGER)" -e "$topic" </dev/null ;;
		group) spawn group kread -b "$(at STRANGER)" -g "$(unique g)" --commit written "$topic" </dev/null ;;
		writes) spawn writes kwrite -b "$(at STRANGER)" -t "$topic" < <(yes '{"payload":"x"}') ;;
		esac
		wait_exit $name
		cat $name.err
		[ "$status" -eq 100 ]
		[ "$(grep -c ": $OTHER: a broker of another cluster answers there, mockCluster" $name.err)" -eq 1 ]
		run ! grep -q ClusterId $name.err
	done
}

@test "an advertised name that does not resolve, a wrong port, another protocol: the remedy is right, and they wait" {
	waits "cannot reach broker nobody.invalid:$(port NOWHERE): the host name 'nobody.invalid' does not resolve here: Name or service not known; waiting for it (here: --resolve nobody.invalid:$(port NOWHERE):127.0.0.1; or for all, at broker 1: advertised.listeners=PLAINTEXT://$(at NOWHERE))" \
		-b "$(at NOWHERE)"
	waits "onnection refused; waiting for it (here: --resolve $(at FAR):$(at CLOSED); or" \
		-b "$(at CLOSED)"
	waits "cannot reach broker $(at TLS): it speaks TLS, and security.protocol is PLAINTEXT; waiting for it (broker 1 must advertise" \
		-b "$(at MIXED)"
	waits "waiting for it (here: --resolve [::1]:$(port SIX):127.0.0.1; or for all, at broker 1: advertised.listeners=PLAINTEXT://$(at SIX))" \
		-b "$(at SIX)"
	waits "cannot reach broker nobody.invalid:9092: the host name 'nobody.invalid' does not resolve here" -b nobody.invalid
}
