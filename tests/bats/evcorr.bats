#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# evcorr: ids and headers, replies into Redis and out of it.

load helpers

UUID7='[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}'

# ids FILE: of records with the default headers, as jq prints them.
ids() {
	jq -c '.headers as $h | $h[($h | index("correlation-id")) + 1]' <"$1"
}

# ---- stamp ----

@test "stamp: a request gets an id, where its reply goes to, and a deadline" {
	echo '{"topic":"t","key":"k","payload":"p","x":1.10}' >in
	before=$(date +%s%3N)
	evcorr stamp --reply-to replies --deadline 5s <in >out
	[[ $(cat out) =~ ^\{\"topic\":\"t\",\"key\":\"k\",\"headers\":\[\"correlation-id\",\"$UUID7\",\"reply-to\",\"replies\",\"deadline\",\"([0-9]+)\"\],\"payload\":\"p\",\"x\":1.10\}$ ]]
	[ "${BASH_REMATCH[1]}" -ge $((before + 5000)) ]
	[ "${BASH_REMATCH[1]}" -le $(($(date +%s%3N) + 5000)) ]
	# Ten digits are seconds since the epoch, and no duration.
	evcorr stamp --deadline 1795678873 <in | grep -q '"deadline","1795678873000"'
}

@test "stamp: ids are different, in the order of time, and others after each start" {
	seq 20000 | sed 's/.*/{"payload":"&"}/' >in
	evcorr stamp --node a <in >one
	evcorr stamp --node a <in >two
	ids one >all
	ids two >>all
	sort -C all
	[ "$(sort -u all | wc -l)" -eq 40000 ]
	grep -qvE "^\"$UUID7\"$" all && false
	# The node is in the last eight digits.
	[ "$(sed -E 's/.*(.{8})"/\1/' all | sort -u | wc -l)" -eq 1 ]
	evcorr stamp --node b <in >three
	[ "$(ids one | tail -c 10 | head -c 8)" != "$(ids three | tail -c 10 | head -c 8)" ]
}

@test "stamp: what is there stays, byte for byte" {
	cat >in <<-'EOT'
	{"headers":["correlation-id","\u006dine","reply-to","x/3","deadline","1"],"payload":"p"}
	 { "headers" : [ "deadline" , "2026-11-26T07:30:00Z", "reply-to","x","correlation-id",{"b64":"AAr/"} ] ,"payload":null}
	EOT
	evcorr stamp --reply-to replies --deadline 5s <in >out
	cmp in out
	evcorr stamp <in >out
	cmp in out
}

@test "stamp: what is missing stands behind the headers that there are" {
	cat >in <<-'EOT'
	{"headers":["a","1","correlation-id","mine"],"payload":"p"}
	{"headers":[],"payload":"p","key":"k"}
	{"headers":[ ] ,"payload":"p"}
	{"headers":null,"payload":"p"}
	{"payload":{"a":1}}
	{"headers":["correlation-id",null,"correlation-id",""],"payload":"p"}
	EOT
	evcorr stamp --reply-to replies/7 --deadline 2026-11-26T07:30:00Z <in | sed -E "s/$UUID7/UUID/" >out
	cat >expected <<-'EOT'
	{"headers":["a","1","correlation-id","mine","reply-to","replies/7","deadline","1795678200000"],"payload":"p"}
	{"headers":["correlation-id","UUID","reply-to","replies/7","deadline","1795678200000"],"payload":"p","key":"k"}
	{"headers":[ "correlation-id","UUID","reply-to","replies/7","deadline","1795678200000"] ,"payload":"p"}
	{"headers":["correlation-id","UUID","reply-to","replies/7","deadline","1795678200000"],"payload":"p"}
	{"headers":["correlation-id","UUID","reply-to","replies/7","deadline","1795678200000"],"payload":{"a":1}}
	{"headers":["correlation-id",null,"correlation-id","","correlation-id","UUID","reply-to","replies/7","deadline","1795678200000"],"payload":"p"}
	EOT
	diff expected out
}

@test "stamp: Spring's headers: an id of 16 bytes, a partition of 4" {
	echo '{"payload":"p"}' >in
	evcorr stamp --preset spring --reply-to replies/258 <in >out
	[ "$(jq -r '.headers | .[0], .[2], .[3], .[4]' <out | paste -sd' ')" = \
		'kafka_correlationId kafka_replyTopic replies kafka_replyPartition' ]
	[ "$(jq -r '.headers[1].b64' <out | base64 -d | wc -c)" -eq 16 ]
	# 00 00 01 02 is UTF-8.
	[ "$(jq -c '.headers[5]' <out)" = '"\u0000\u0000\u0001\u0002"' ]
	evcorr stamp --preset spring --reply-to replies <in >out
	[ "$(jq '.headers | length' <out)" -eq 4 ]
}

@test "stamp: CloudEvents' headers, and names of one's own" {
	echo '{"payload":"p"}' >in
	evcorr stamp --preset cloudevents --reply-to replies/1 --deadline 1795678200123 <in | sed -E "s/$UUID7/UUID/" >out
	[ "$(cat out)" = '{"headers":["ce_correlationid","UUID","ce_replyto","replies/1","ce_expirytime","2026-11-26T07:30:00.123Z"],"payload":"p"}' ]
	evcorr stamp --id-header I --reply-to-header R --partition-header P --deadline-header D \
		--reply-to t/1 --deadline 1795678200123 <in | sed -E "s/$UUID7/UUID/" >out
	[ "$(cat out)" = '{"headers":["I","UUID","R","t","P","\u0000\u0000\u0000\u0001","D","1795678200123"],"payload":"p"}' ]
}

@test "stamp: an id that is too long is refused" {
	printf '{"headers":["correlation-id","%01024d"],"payload":"p"}\n{"headers":["correlation-id","%01025d"],"payload":"p"}\n' 1 1 >in
	status=0
	evcorr stamp --on-error skip <in >out 2>err || status=$?
	[ "$status" -eq 1 ]
	diff <(head -n 1 in) out
	grep -q "line 2: the id in header 'correlation-id' has over 1024 bytes (too-large)" err
}

# ---- the command line ----

@test "wrong usage is told, with the command" {
	run -100 evcorr
	[ "$output" = "evcorr: a command is missing; try 'evcorr --help'" ]
	run -100 evcorr stomp
	[ "$output" = "evcorr: 'stomp' is none of the commands: did you mean stamp?; try 'evcorr --help'" ]
	for words in '--preset x' '--reply-to a/b' '--reply-to a/-1' '--reply-to /1' '--reply-to ä' '--deadline -5s' \
		'--deadline soon' '--node='; do
		read -ra words <<<"$words"
		run -100 evcorr stamp "${words[@]}" </dev/null
		[[ $output == "evcorr: "*"; try 'evcorr stamp --help'" ]]
	done
}
