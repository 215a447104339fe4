# SPDX-License-Identifier: ISC
# shellcheck shell=bash
# For tests of khttp: a bridge, and requests to it. The tests read what is set here.
# shellcheck disable=SC2034

V2='Content-Type: application/vnd.kafka.v2+json'

# bridge_start [NAME [OPTION…]]: a khttp on a port of its own in front of $KAFKA_BROKERS, as bridge_start again starts it
# there. It answers when this returns. Sets BRIDGE, its URL, for the first one.
bridge_start() {
	local name=${1:-bridge} port
	[ $# -eq 0 ] || shift
	[ -e "$T/$name.port" ] || free_port >"$T/$name.port"
	port=$(<"$T/$name.port")
	spawn "$name" khttp -b "$KAFKA_BROKERS" --listen "127.0.0.1:$port" --management none "$@" </dev/null
	wait_for "curl -sf http://127.0.0.1:$port/ready" || { cat "$T/$name.err" >&2; return 1; }
	[ "$name" != bridge ] || BRIDGE=http://127.0.0.1:$port
}

# bridge_url NAME
bridge_url() {
	echo "http://127.0.0.1:$(<"$T/$1.port")"
}

# req METHOD PATH [CURL-OPTION…]: sets $code, $body and $headers of the answer. PATH may be a whole URL.
# shellcheck disable=SC2034 # the tests read them
req() {
	local method=$1 url=$2
	shift 2
	[[ $url == http* ]] || url=$BRIDGE$url
	rm -f "$T/answer"
	code=$(curl -s -m 100 -o "$T/answer" -D "$T/answer.headers" -w '%{http_code}' -X "$method" "$@" "$url") || true
	body=$(cat "$T/answer" 2>/dev/null) || body=
	headers=$(tr -d '\r' <"$T/answer.headers")
}

# post PATH BODY [CURL-OPTION…]: a body of V2. An empty one is none.
post() {
	local path=$1 text=$2
	shift 2
	if [ -n "$text" ]; then
		req POST "$path" -H "$V2" -d "$text" "$@"
	else
		req POST "$path" "$@"
	fi
}

# is CODE [BODY]: what the last answer was.
is() {
	[ "$code" = "$1" ] && { [ $# -lt 2 ] || [ "$body" = "$2" ]; } && return
	printf '%s\n' "answered: $code $body" "expected: $1 ${2:-}" >&2
	return 1
}

# is_error CODE MESSAGE
is_error() {
	is "$1" "{\"error_code\":$1,\"message\":\"$2\"}"
}

# says CODE JQ-EXPRESSION: it holds for the last answer's body.
says() {
	[ "$code" = "$1" ] && jq -e "$2" <<<"$body" >/dev/null && return
	printf '%s\n' "answered: $code $body" "expected: $1 $2" >&2
	return 1
}

# instance GROUP NAME [MEMBERS]: makes an instance that reads JSON from the beginning, and sets $C, its path.
instance() {
	C=/consumers/$1/instances/$2
	post "/consumers/$1" "{\"name\":\"$2\",\"format\":\"json\",\"auto.offset.reset\":\"earliest\"${3:+,$3}}" || return
	is 200
}

# subscribed PATH TOPIC…: subscribes, and returns when partitions are assigned.
subscribed() {
	local path=$1 list
	shift
	list=$(printf '"%s",' "$@")
	post "$path/subscription?wait=assignment" "{\"topics\":[${list%,}]}"
	is 204
}

# poll PATH [QUERY [CURL-OPTION…]]: of an instance that reads JSON.
poll() {
	local path=$1 query=${2:-}
	shift $(($# < 2 ? $# : 2))
	req GET "$path/records$query" -H 'Accept: application/vnd.kafka.json.v2+json' "$@"
}

# polled PATH N: appends what polls give, a record a line, to $T/polled until it has N lines.
polled() {
	local end=$((SECONDS + WAIT_LIMIT_S))
	: >>"$T/polled"
	until [ "$(wc -l <"$T/polled")" -ge "$2" ]; do
		poll "$1" '?timeout=1000'
		is 200 || return
		jq -c '.[]' <<<"$body" >>"$T/polled"
		[ "$SECONDS" -lt "$end" ] || { cat "$T/polled" >&2; return 1; }
	done
}
