# SPDX-License-Identifier: ISC
# shellcheck shell=bash
# What the files about khttp share.

# khttp_start [NAME [OPTION…]]: khttp on the socket NAME.web, and for health and metrics on NAME.side, both in the test's or
# the file's directory; it is ready when this returns.
khttp_start() {
	local name=${1:-http} dir
	[ $# -eq 0 ] || shift
	dir=$(harness_scope)
	SPAWN_DIR=$dir spawn "$name" khttp -b "$KAFKA_BROKERS" --listen "unix:$dir/$name.web" \
		--management "unix:$dir/$name.side" "$@" </dev/null
	wait_for "curl -sf --unix-socket $dir/$name.side http://localhost/ready" ||
		{ cat "$dir/$name.err" >&2; return 1; }
	WEB=$dir/$name.web SIDE=$dir/$name.side
	export WEB SIDE
}

# http CURL-OPTION… PATH: prints the body, and sets $code and $type of the answer. Not under run.
http() {
	local path=${*: -1} meta
	meta=$(curl -s -o body --unix-socket "$WEB" -w '%{http_code} %{content_type}' "${@:1:$#-1}" "http://localhost$path") || true
	code=${meta%% *}
	type=${meta#* }
	[ -e body ] || : >body
	cat body
}

# post TYPE BODY PATH [CURL-OPTION…]: a POST. TYPE: json, binary, text, v2, or a whole media type.
post() {
	local mime=$1
	case $mime in
	json | binary | text) mime=application/vnd.kafka.$mime.v2+json ;;
	v2) mime=application/vnd.kafka.v2+json ;;
	esac
	http -H "Content-Type: $mime" --data-binary "$2" "${@:4}" "$3"
}

# is CODE [JQ-EXPRESSION]: the last answer had this status, and its body is JSON for which the expression holds.
is() {
	[ "$code" = "$1" ] || { echo "status $code, not $1: $(cat body)" >&2; return 1; }
	[ $# -lt 2 ] || jq -e "$2" body >/dev/null || { echo "not $2: $(cat body)" >&2; return 1; }
}

# is_type TYPE: the last answer had this one.
is_type() {
	[ "$type" = "$1" ] || { echo "type '$type', not '$1'" >&2; return 1; }
}

# is_error CODE MESSAGE: it is an error body with this text.
is_error() {
	is "$1" ".error_code == $1"
	if [ "$(jq -r .message body)" != "$2" ] || [ "$type" != application/vnd.kafka.v2+json ]; then
		echo "type $type, not '$2': $(cat body)" >&2
		return 1
	fi
}

# in_topic TOPIC: "PARTITION KEY PAYLOAD HEADERS" of each record, sorted.
in_topic() {
	kread -q -b "$KAFKA_BROKERS" -e "$1" | jq -r '"\(.partition) \(.key // .key_b64) \(.payload // .payload_b64) \(.headers // [] | tojson)"' | sort
}
