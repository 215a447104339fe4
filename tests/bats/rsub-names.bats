#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# rsub --names: the channels and the streams of a server and of a cluster.

# shellcheck disable=SC2154 # run sets stderr
load helpers
load cluster

@test "channels that have subscribers, and streams, in their order" {
	redis_start
	spawn listener redis-cli -u "$REDIS_URL" subscribe news sse:b sse:a
	wait_file_contains listener.out sse:a
	run -0 rsub --names channels
	[ "$output" = $'news\nsse:a\nsse:b' ]
	run -0 rsub --names channels -p 'sse:*'
	[ "$output" = $'sse:a\nsse:b' ]
	run -0 rsub --names streams
	[ -z "$output" ]
	# More than a step of SCAN.
	for ((i = 0; i < 3000; i++)); do
		printf 'XADD s%04d * a b\nSET k%d x\n' $i $i
	done | rcli --pipe >/dev/null
	rsub --names streams >out
	diff out <(printf 's%04d\n' {0..2999})
	run -0 rsub --names streams -p 's000*'
	[ "$output" = "$(printf 's%04d\n' {0..9})" ]
	rcli xadd $'evil\nname' '*' a b
	run -0 --separate-stderr rsub --names streams -p 'evil*'
	[ -z "$output" ]
	[[ $stderr == *'1 name has a line end in it, and is left out (-0 prints it)'* ]]
	[ "$(rsub --names streams -0 -p 'evil*' | od -An -c | tr -d ' ')" = 'evil\nname\0' ]
}

@test "what it cannot tell: redis is away, silent, or refuses; a word of its own is wrong" {
	redis_start
	run -111 --separate-stderr rsub -u redis://127.0.0.1:1 --names channels
	[ -z "$output" ]
	[[ $stderr == *"redis cannot be asked now"* ]]
	rcli acl setuser poor on '>pw' '~*' -@all +ping
	run -100 --separate-stderr rsub -u "redis://poor:pw@127.0.0.1:$REDIS_PORT" --names channels
	[[ $stderr == *"refuses to list its names: NOPERM"* ]]
	run -100 rsub --names keys
	run -100 rsub --names streams -s x
	run -100 rsub --names channels news
	rcli xadd s '*' a b
	run -111 sh -c 'rsub --names streams >/dev/full'
	freeze "$(<redis.pid)"
	run -99 --separate-stderr rsub --names channels --idle-exit 300ms
	[[ $stderr == *"has not told its names in 300 ms"* ]]
	kill -CONT "$(<redis.pid)"
}

# bats test_tags=once
@test "of a cluster all primaries are asked" {
	CLUSTER_DIR=$T cluster_start
	for ((i = 0; i < 100; i++)); do
		redis-cli -c -p "$(port_of n1)" xadd "s$i" '*' a b
	done >added
	run -0 rsub -u "$(url)" --names streams
	echo "$output"
	[ "$output" = "$(printf 's%d\n' {0..99} | sort)" ]
	for n in n1 n2; do
		spawn listener-$n redis-cli -s $n.sock subscribe both "at-$n"
		wait_file_contains listener-$n.out "at-$n"
	done
	primaries=$(for n in n1 n2; do scli $n role | head -n 1; done | sort -u)
	[ "$primaries" = master ]
	run -0 rsub -u "$(url)" --names channels
	[ "$output" = $'at-n1\nat-n2\nboth' ]
}
