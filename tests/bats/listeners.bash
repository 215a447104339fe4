# SPDX-License-Identifier: ISC
# shellcheck shell=bash
# A real Kafka with a listener for each mistake that can be made with one. Needs helpers.bash.

# listeners_start ROW… [-- PROPERTY…]: a Kafka of this file or test alone; a row is NAME PROTOCOL [ADVERTISED [CERTIFICATE]] with
# ADVERTISED as HOST:PORT, @NAME@ in it being that listener's port; "-" is the listener itself. TLS shows a
# certificate of make_certs. Afterwards "$(at NAME)" is 127.0.0.1:PORT. SASL listeners know PLAIN, alice, secret.
listeners_start() {
	local row name protocol advertised certificate lower listeners='' all='' map='' properties=()
	local login=org.apache.kafka.common.security.plain.PlainLoginModule
	make_certs
	while [ $# -gt 0 ] && [ "$1" != -- ]; do
		row=$1
		shift
		read -r name protocol advertised certificate <<<"$row"
		[ "${advertised:--}" != - ] || advertised=127.0.0.1:@$name@
		listeners+=",$name://127.0.0.1:@$name@"
		all+=",$name://$advertised"
		map+=",$name:$protocol"
		lower=listener.name.${name,,}
		if [[ $protocol == *SSL ]]; then
			certificate=${certificate:-address}
			cat "$CERTS/$certificate.key" "$CERTS/$certificate.pem" >"$CERTS/$certificate.both"
			properties+=("$lower.ssl.keystore.type=PEM"
				"$lower.ssl.keystore.location=$CERTS/$certificate.both"
				"$lower.ssl.truststore.type=PEM" "$lower.ssl.truststore.location=$CERTS/ca.pem")
		fi
		[[ $name != MUTUAL ]] || properties+=("$lower.ssl.client.auth=required")
		[[ $protocol != SASL* ]] || properties+=("$lower.sasl.enabled.mechanisms=${MECHANISMS:-PLAIN}"
			"$lower.plain.sasl.jaas.config=$login required user_alice=\"secret\";")
	done
	KAFKA_HEAP=256m own_kafka_start \
		"listeners=PLAINTEXT://127.0.0.1:@PLAIN@,SASL://127.0.0.1:@SASL@,CONTROLLER://127.0.0.1:@CONTROLLER@$listeners" \
		"advertised.listeners=PLAINTEXT://127.0.0.1:@PLAIN@,SASL://127.0.0.1:@SASL@$all" \
		"listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT$map" \
		"${properties[@]}" "${@:2}"
	cat "$KAFKA_DIR/log" >&2
}

# port NAME, at NAME: of a listener of listeners_start.
port() {
	case $1 in
	PLAIN) cut -d' ' -f1 "$KAFKA_DIR/ports" ;;
	SASL) cut -d' ' -f2 "$KAFKA_DIR/ports" ;;
	CONTROLLER) cut -d' ' -f3 "$KAFKA_DIR/ports" ;;
	FAR) cut -d' ' -f4 "$KAFKA_DIR/ports" ;;
	*) awk -v name="$1" '$1 == name { print $2 }' "$KAFKA_DIR/named-ports" ;;
	esac
}
at() {
	echo "127.0.0.1:$(port "$1")"
}

# listeners_options: how to speak to them: the arrays TLS, LOGIN and LOGIN_TLS; the password is left out.
listeners_options() {
	# shellcheck disable=SC2034 # for the files that load this
	TLS=(-X security.protocol=SSL -X "ssl.ca.location=$CERTS/ca.pem")
	# shellcheck disable=SC2034
	LOGIN=(-X security.protocol=SASL_PLAINTEXT -X sasl.mechanisms=PLAIN -X sasl.username=alice)
	# shellcheck disable=SC2034
	LOGIN_TLS=(-X security.protocol=SASL_SSL -X "ssl.ca.location=$CERTS/ca.pem" -X sasl.mechanisms=PLAIN
		-X sasl.username=alice)
}
