#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# What the completions offer behind evpipe and behind '|', as values, and as names that a server tells; in each shell.

# bats file_tags=once
load helpers
load completion

setup_file() {
	redis_start
	kmock_start -t orders:3 -t payments:1
}

setup() {
	harness_setup
	export XDG_CACHE_HOME=$T/cache
}

# offers WORD…: what is offered for the last word, without what it is.
offers() {
	"$ROOT/completions/complete" "$@" | grep -v $'^\t' | cut -f 1
}

# offers_at_last EXPECTED WORD…: the server may be slower than the shell waits, and is then asked again.
offers_at_last() {
	local expected=$1
	shift
	wait_for "[ \"\$(offers $(printf '%q ' "$@"))\" = $(printf %q "$expected") ]" || {
		offers "$@"
		return 1
	}
}

@test "members are offered behind evpipe and behind a bar, by what they are" {
	offers evpipe kr | grep -qx kread
	offers evpipe -n x '' >first
	grep -qx rsub first
	run ! grep -qx kwrite first
	offers evpipe kread -g g orders '|' evkey .id '|' '' >later
	grep -qx kwrite later
	grep -qx evsel later
	run ! grep -qx kread later
	"$ROOT/completions/complete" evpipe kread orders '|' jq | grep -qx $'\tcommands'
}

@test "a member's options and values are its own" {
	[ "$(offers evpipe --restart kread --to)" = --to-end ]
	[ "$(offers evpipe kread -g g orders '|' kwrite --comp)" = --compress= ]
	[ "$(offers evpipe kread orders '|' kwrite -z '')" = $'gzip\nsnappy\nlz4\nzstd\nnone' ]
	[ "$(offers evpipe kread orders '|' kwrite --compress=z)" = --compress=zstd ]
	[ "$(offers evpipe kread orders '|' evcorr st)" = $'stamp\nstore' ]
	[ "$(offers evpipe kread orders '|' evcorr store --late=k)" = --late=keep ]
	[ "$(offers evcorr call -u redis://h -- kwrite --key-type i6)" = $'i64\ni64le' ]
	# Behind a short option that has its value with it, and one that has none.
	[ "$(offers kread -ejc5 --commit w)" = written ]
	[ "$(offers kread -o b)" = beginning ]
	[ "$(offers evcorr stamp --preset '')" = $'spring\ncloudevents' ]
	[ "$(offers kread --framing=)" = --framing=len32 ]
	[ "$(offers kwrite --account s)" = "" ]
	[ "$(offers kread --account s)" = strict ]
}

@test "a foreign program is left to its own completion" {
	[ "$("$ROOT/completions/complete" evpipe kread orders '|' jq -)" = $'\tcommand 4' ]
	[ "$("$ROOT/completions/complete" evpipe kread orders '|' evbatch -n 5 -- sort -)" = $'\tcommand 8' ]
	[ "$("$ROOT/completions/complete" evbatch -- evkey --nu)" = $'--null-ok\tno such field: a null key, not an error' ]
}

@test "topics are offered, from a cache when the broker is gone" {
	offers_at_last $'orders\npayments' kread ''
	offers_at_last orders evpipe -n x kread -g g or
	offers_at_last $'--topic=orders\n--topic=payments' evpipe kread orders '|' kwrite --topic=
	offers_at_last kafka:orders kwrite --dead-letter kafka:o
	offers_at_last --reply-to=payments evcorr stamp --reply-to=p
	broker=$KAFKA_BROKERS
	unset KAFKA_BROKERS
	[ -z "$(offers kread '')" ]
	offers_at_last $'orders\npayments' kread -b "$broker" -e ''
	B=$broker offers_at_last $'orders\npayments' kread -b '"$B"' ''
	# Another address has another cache; nothing listens there.
	[ -z "$(offers kread -b 127.0.0.1:1 '')" ]
	[ "$(stat -c %a cache/evpipe)" = 700 ]
	[ "$(find cache/evpipe -type f -printf '%m\n' | sort -u)" = 600 ]
}

@test "channels and streams are offered" {
	spawn listener redis-cli -u "$REDIS_URL" subscribe news sse:orders
	wait_file_contains listener.out sse:orders
	rcli xadd events '*' a b
	rcli set text x
	offers_at_last $'news\nsse:orders' rsub ''
	offers_at_last $'news\nsse:orders' rpub ''
	offers_at_last events rsub -g g -s ''
	offers_at_last --stream=events rpub --stream=
	url=$REDIS_URL
	unset REDIS_URL
	offers_at_last sse:orders evpipe rsub -u "$url" s
}

@test "a server that is silent holds up no prompt, and is asked by one at a time" {
	spawn silent python3 -u -c 'import socket, time; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1]); time.sleep(600)'
	wait_lines silent.out 1
	KAFKA_BROKERS=127.0.0.1:$(cat silent.out)
	export KAFKA_BROKERS
	for _ in 1 2 3; do
		[ -z "$(timeout 60 "$ROOT/completions/complete" kread '')" ]
	done
	wait_for '[ -z "$(ls -d cache/evpipe/*.asks)" ]'
}

@test "what is typed is not run" {
	unset KAFKA_BROKERS
	[ -z "$(offers kread -b x --oauth-token-cmd 'touch ran' '')" ]
	[ -z "$(offers kread -b '$(touch ran)' '')" ]
	[ -z "$(offers kread -b '`touch ran`' '')" ]
	[ ! -e ran ]
	[ ! -e cache ]
}

@test "bash: members, options, values, topics, behind quotes and bars" {
	# Behind a quoted bar bash itself takes a word that has been begun for a command's name.
	type_bash "evpipe kread orders '|' " | grep -qx kwrite
	[ "$(type_bash "evpipe kr" | grep -c kread)" -eq 1 ]
	[ "$(type_bash 'evpipe kread orders "|" kwrite --comp')" = --compress= ]
	[ "$(type_bash 'evpipe kread orders \| kwrite --compress=gz')" = gzip ]
	[ "$(type_bash "evpipe kread orders '|' kwrite --on-error sk")" = skip ]
	offers_at_last orders kread or
	[ "$(type_bash "evpipe -n x kread -g g or")" = orders ]
	offers_at_last orders kread -b "$KAFKA_BROKERS" or
	[ "$(type_bash "kread -b $KAFKA_BROKERS or")" = orders ]
	offers_at_last kafka:orders kwrite --dead-letter kafka:o
	[ "$(type_bash "kwrite --dead-letter kafka:o")" = orders ]
}

@test "fish: members, options, values, topics, and the completion of a foreign program" {
	[ "$(complete_fish "evpipe kread orders '|' kw" | head -n 1)" = kwrite ]
	[ "$(complete_fish "evpipe kread orders '|' kwrite --comp")" = --compress= ]
	[ "$(complete_fish "evpipe kread orders '|' kwrite -z gz")" = gzip ]
	offers_at_last orders kread or
	[ "$(complete_fish "evpipe -n x kread -g g or")" = orders ]
	HOME=$T fish --no-config -c 'source $ROOT/completions/evpipe.fish
		complete -c theirs -f -a "left right"
		complete -C $argv[1]' "evpipe kread orders '|' theirs le" >out
	[ "$(cat out)" = left ]
}

@test "zsh: members, values, topics, behind quotes and bars" {
	offers_at_last orders kread or
	complete_zsh "evpipe kread orders '|' kwr" kwrite
	complete_zsh "evpipe kread orders '|' kwrite --compress=gz" gzip
	complete_zsh "evpipe kread orders '|' kwrite -z gz" '-z gzip'
	complete_zsh "evpipe -n x kread -g g or" 'g orders'
	complete_zsh "evpipe kread orders '|' cd fpa" 'cd fpath'
}
