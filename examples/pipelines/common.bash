# SPDX-License-Identifier: ISC
# shellcheck shell=bash
# What the pipelines here share: an empty directory to work in, a way to wait for a condition, and an
# end to what runs on. They use the servers of $KAFKA_BROKERS and $REDIS_URL.

set -euo pipefail
set -m # a pipeline in the background is a process group, to be stopped as one
: "${KAFKA_BROKERS:?names no Kafka}" "${REDIS_URL:?names no Redis}"
work=$(mktemp -d)
cd "$work"
trap 'clean_up' EXIT

# shellcheck disable=SC2317 # called by the trap
clean_up() {
	local group
	for group in $(jobs -p); do
		kill -KILL -- "-$group" 2>/dev/null || true
	done
	rm -rf "$work"
}

# until_true COMMAND…: looks until it succeeds.
until_true() {
	local end=$((SECONDS + 120))
	until "$@" 2>/dev/null; do
		if [ "$SECONDS" -ge "$end" ]; then
			echo "waited in vain for: $*" >&2
			exit 111
		fi
		sleep 0.05
	done
}

# stop PID: SIGTERM to the pipeline whose last member this is. The source ends, the others end with
# their input. Gives the status; of a source that the signal has ended, such as tail, 0.
stop() {
	kill -TERM -- "-$(ps -o pgid= -p "$1" | tr -d ' ')"
	wait "$1" || [ $? -eq 143 ]
}

# has FILE LINE, has_lines FILE COUNT
has() {
	# Reads all of it: a writer in a pipe must not see its reader end.
	[ "$(grep -cxF -e "$2" "$1")" -gt 0 ]
}
has_lines() {
	[ "$(wc -l <"$1")" -ge "$2" ]
}

# in_topic TOPIC LINE: whether a message with this key and payload is there, as "KEY PAYLOAD".
in_topic() {
	kread -q -e "$1" | jq -r '"\(.key) \(.payload)"' >in_topic
	has in_topic "$2"
}

# subscribers CHANNEL COUNT, patterns COUNT: whether Redis knows of so many.
subscribers() {
	[ "$(redis-cli -u "$REDIS_URL" pubsub numsub "$1" | tail -n 1)" -ge "$2" ]
}
patterns() {
	[ "$(redis-cli -u "$REDIS_URL" pubsub numpat)" -ge "$1" ]
}
