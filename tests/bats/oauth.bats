#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# Logins by OAUTHBEARER with a token that a command prints, on a real Kafka.

load helpers

setup_file() {
	harness_setup
	own_kafka_start sasl.enabled.mechanisms=OAUTHBEARER listener.name.sasl.sasl.enabled.mechanisms=OAUTHBEARER \
		'listener.name.sasl.oauthbearer.sasl.jaas.config=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="broker";'
	TOPIC=$(new_topic)
	export TOPIC
}

setup() {
	harness_setup
	cat >jwt <<-'EOJ'
		#!/bin/bash
		# usage: jwt SECONDS: an unsecured JWT of alice that is good for so long; counts its calls in a file
		b64() { base64 -w0 | tr '+/' '-_' | tr -d '='; }
		echo x >>"${0%/*}/calls"
		echo "$(printf '{"alg":"none"}' | b64).$(printf '{"sub":"alice","iat":%d,"exp":%d}' $EPOCHSECONDS $((EPOCHSECONDS + $1)) | b64)."
	EOJ
	chmod +x jwt
}

# with PROGRAM COMMAND OPTION…: the program logs in by the command's token.
with() {
	"$1" -b "$KAFKA_SASL" -X security.protocol=SASL_PLAINTEXT --oauth-token-cmd "$2" "${@:3}"
}

@test "a token is taken by each program, in a group too" {
	echo hello | with kwrite "$T/jwt 600" --raw -t "$TOPIC"
	[ "$(with kread "$T/jwt 600" --raw -e "$TOPIC" | tail -n 1)" = hello ]
	[ "$(with kread "$T/jwt 600" --raw -g "$(unique g)" --commit written -e "$TOPIC" | tail -n 1)" = hello ]
	run with kcheck "$T/jwt 600"
	echo "$output"
	[ "$status" -eq 0 ]
	[[ $output == *'login OAUTHBEARER'* ]]
}

@test "a command that is slow is run once, and not for the diagnosis beside it" {
	local reach
	for reach in "$KAFKA_SASL" "$KAFKA_SASL,127.0.0.1:${KAFKA_SASL/*:/}"; do
		rm -f calls
		KAFKA_SASL=$reach with kwrite "sleep 1.5; $T/jwt 600" --raw -t "$TOPIC" <<<slow
		[ "$(wc -l <calls)" -eq 1 ]
	done
}

# A diagnosis, which begins at once with several addresses or --resolve, has no such token: it says nothing then.
@test "a token that librdkafka makes by itself lets in; kcheck says what it has none for" {
	local reach own=(-X security.protocol=SASL_PLAINTEXT -X sasl.mechanisms=OAUTHBEARER
		-X enable.sasl.oauthbearer.unsecure.jwt=true -X sasl.oauthbearer.config=principal=alice)
	for reach in "-b $KAFKA_SASL,$KAFKA_SASL" "-b nobody.invalid:9 --resolve nobody.invalid:9:${KAFKA_SASL/:*/}:${KAFKA_SASL/*:/}"; do
		# shellcheck disable=SC2086 # words
		kwrite $reach "${own[@]}" --raw -t "$TOPIC" <<<own
		# shellcheck disable=SC2086
		[ "$(kread $reach "${own[@]}" --raw -e "$TOPIC" | tail -n 1)" = own ]
	done
	# shellcheck disable=SC2086
	spawn http khttp $reach "${own[@]}" --listen "unix:$T/web" --management "unix:$T/side" </dev/null
	wait_for "curl -sf --unix-socket side http://localhost/ready"
	run -100 --separate-stderr kcheck -b "$KAFKA_SASL" "${own[@]}"
	# shellcheck disable=SC2154 # set by run
	[[ $stderr == "kcheck: $KAFKA_SASL: kcheck cannot log in by OAUTHBEARER without --oauth-token-cmd" ]]
}

# bats test_tags=once
@test "another token comes before the last one ends" {
	spawn reader kread -b "$KAFKA_SASL" -X security.protocol=SASL_PLAINTEXT --oauth-token-cmd "$T/jwt 12" "$TOPIC"
	wait_lines calls 2
	alive "$(pid_of reader)"
	stop reader
	wait_exit reader
	[ "$status" -eq 0 ]
}

# bats test_tags=once
@test "a command that fails later: the last token serves until it is over, then 111" {
	cat >once <<-EOC
		[ ! -e $T/failing ] || { echo x >>$T/failing; exit 3; }
		exec $T/jwt 12
	EOC
	spawn reader kread -b "$KAFKA_SASL" -X security.protocol=SASL_PLAINTEXT --oauth-token-cmd "sh $T/once" --raw "$TOPIC"
	wait_lines calls 1
	: >failing
	wait_file_contains reader.err 'warning: --oauth-token-cmd has ended with status 3; trying again, the last token serves for'
	wait_exit reader
	cat reader.err
	[ "$status" -eq 111 ]
	[ "$(grep -c 'trying again' reader.err)" -eq 1 ]
	grep -q '^kread: the token is over, and there is no other: ' reader.err
}

@test "SIGHUP has the command run anew, by kread, kwrite, khttp and kcheck --watch, and ends none of them" {
	local name
	mkdir {reads,writes,http,checks}.jwt
	for name in reads writes http checks; do cp jwt $name.jwt/; done
	cmd() {
		echo "$T/$1.jwt/jwt 600"
	}
	mkfifo lines
	exec 7<>lines
	spawn reads kread -b "$KAFKA_SASL" -X security.protocol=SASL_PLAINTEXT --oauth-token-cmd "$(cmd reads)" --raw -o end "$TOPIC" </dev/null
	spawn writes kwrite -b "$KAFKA_SASL" -X security.protocol=SASL_PLAINTEXT --oauth-token-cmd "$(cmd writes)" --raw -t "$TOPIC" <lines
	spawn http khttp -b "$KAFKA_SASL" -X security.protocol=SASL_PLAINTEXT --oauth-token-cmd "$(cmd http)" \
		--listen "unix:$T/web" --management "unix:$T/side" </dev/null
	spawn checks kcheck --watch -b "$KAFKA_SASL" -X security.protocol=SASL_PLAINTEXT --oauth-token-cmd "$(cmd checks)" </dev/null
	wait_for "curl -sf --unix-socket side http://localhost/ready"
	wait_file_contains checks.out 'verdict: good'
	for name in reads writes; do wait_lines $name.jwt/calls 1; done
	for name in reads writes http checks; do
		wc -l <$name.jwt/calls >$name.before
		stop $name HUP
	done
	for name in reads writes http checks; do wait_lines $name.jwt/calls $(($(<$name.before) + 1)); done
	for name in reads writes http checks; do alive "$(pid_of $name)"; done
	# A command that fails then: the token that there was goes on.
	printf '#!/bin/sh\nexit 3\n' >writes.jwt/jwt
	stop writes HUP
	wait_file_contains writes.err 'warning: --oauth-token-cmd has ended with status 3; trying again, the last token serves for'
	echo hello >&7
	exec 7>&-
	wait_exit writes
	[ "$status" -eq 0 ]
	[ "$(kread -q --raw -e "$TOPIC" | tail -n 1)" = hello ]
	for name in reads http; do
		stop $name
		wait_exit $name
		[ "$status" -eq 0 ]
	done
}

# bats test_tags=once
@test "kcheck --watch has another token before the last one ends" {
	spawn checks kcheck --watch --timeout 11 -b "$KAFKA_SASL" -X security.protocol=SASL_PLAINTEXT --oauth-token-cmd "$T/jwt 12" </dev/null
	wait_lines calls 2
	alive "$(pid_of checks)"
	[ "$(grep -c verdict checks.out)" -eq 1 ]
}

@test "a command that fails or prints no token, and tokens that are none or too old: 100, with the reason" {
	local command reason
	while IFS='|' read -r command reason; do
		run with kread "$command" -e "$TOPIC"
		echo "$command: $status $output"
		[ "$status" -eq 100 ]
		[[ $output == *"$reason"* ]]
	done <<-EOC
		exit 3|--oauth-token-cmd has ended with status 3
		true|--oauth-token-cmd has printed no token
		$T/jwt -60|unexpired token
		echo nonsense|invalid_token
	EOC
	run with kcheck 'echo nonsense'
	[ "$status" -eq 100 ]
	[[ $output == *'does not take the token'* ]]
	run kread -b "$KAFKA_SASL" -X sasl.mechanisms=PLAIN --oauth-token-cmd true "$TOPIC"
	[ "$status" -eq 100 ]
	[[ $output == *'is for OAUTHBEARER'* ]]
}
