#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# rsub and rpub through TLS, and logins, against real redis-servers.

load helpers

setup_file() {
	make_certs
}

# at SCHEME [HOST]: a URL of the server of redis_start.
at() {
	echo "$1://${2:-127.0.0.1}:$REDIS_PORT"
}

# refused TEXT COMMAND…: rpub and rsub end with 100, tell TEXT, take no input and dead-letter nothing.
refused() {
	local text=$1
	shift
	echo '{"payload":"1"}' >in
	run -100 rpub "$@" --dead-letter dead x <in
	echo "$output"
	[[ $output == "rpub: "*"$text"* ]]
	[ ! -s dead ]
	run -100 rsub "$@" x </dev/null
	[[ $output == "rsub: "*"$text"* ]]
}

@test "rsub and rpub speak TLS, and check the certificate for the address" {
	redis_tls_start address
	spawn sub rsub -u "$(at rediss)" --cacert "$CERTS/ca.pem" -c 3 --raw x
	wait_for '[ "$(redis_subscribers x)" -eq 1 ]'
	{ seq 2; head -c 100000 /dev/zero | tr '\0' z; echo; } | rpub -u "$(at rediss)" --cacert "$CERTS/ca.pem" --raw x
	wait_exit sub
	[ "$status" -eq 0 ]
	[ "$(head -n 2 sub.out)" = '1
2' ]
	[ "$(wc -c <sub.out)" -eq 100005 ]
}

# bats test_tags=load
@test "much goes through TLS, both ways, in order" {
	redis_tls_start address
	rcli config set client-output-buffer-limit 'pubsub 0 0 0'
	spawn sub rsub -u "$(at rediss)" --cacert "$CERTS/ca.pem" -c 50000 --raw x
	wait_for '[ "$(redis_subscribers x)" -eq 1 ]'
	seq 50000 | rpub -u "$(at rediss)" --cacert "$CERTS/ca.pem" --raw x
	wait_exit sub
	seq 50000 | cmp - sub.out
}

@test "a certificate is checked for the name of --sni in place of the address" {
	redis_tls_start name
	seq 1 | rpub -u "$(at rediss)" --cacert "$CERTS/ca.pem" --sni redis.test --raw x
	refused "its certificate is not for address '127.0.0.1'; --sni takes the name" -u "$(at rediss)" --cacert "$CERTS/ca.pem"
	refused "its certificate is not for host name 'other.test'" -u "$(at rediss)" --cacert "$CERTS/ca.pem" \
		--sni other.test
}

@test "a certificate is checked for the host that the URL names" {
	redis_tls_start address
	refused "its certificate is not for host name 'localhost'" -u "$(at rediss localhost)" --cacert "$CERTS/ca.pem"
}

@test "a certificate that has expired, is not yet valid or is from another CA is refused by its reason" {
	redis_tls_start expired
	refused 'its certificate has expired' -u "$(at rediss)" --cacert "$CERTS/ca.pem"
	redis_stop
	redis_tls_start future
	refused 'its certificate is not yet valid' -u "$(at rediss)" --cacert "$CERTS/ca.pem"
	redis_stop
	redis_tls_start stray
	refused 'its certificate is from no CA that is trusted here' -u "$(at rediss)" --cacert "$CERTS/ca.pem"
	refused "its certificate is from no CA that is trusted here: name the CA's file with --cacert" -u "$(at rediss)"
}

@test "a client certificate is shown, and its absence is told" {
	redis_tls_start address --tls-auth-clients yes
	seq 1 | rpub -u "$(at rediss)" --cacert "$CERTS/ca.pem" --cert "$CERTS/client.pem" \
		--key "$CERTS/client.key" --raw x
	refused 'it wants a client certificate; --cert and --key name one' -u "$(at rediss)" --cacert "$CERTS/ca.pem"
	redis_stop
	redis_tls_start address --tls-auth-clients yes --tls-protocols TLSv1.2
	refused 'client certificate' -u "$(at rediss)" --cacert "$CERTS/ca.pem"
}

@test "TLS spoken to a plain port is told, not waited for" {
	redis_start
	refused 'does not speak TLS at this port' -u "$(at rediss)" --cacert "$CERTS/ca.pem"
}

# left PORT: connections whose client has gone, and which the server has not closed.
left() {
	awk -v port=":$(printf %04X "$1")" '$2 ~ port "$" && $4 == "08"' /proc/net/tcp | wc -l
}

@test "a server that is slow to speak TLS is asked what it speaks, and is not taken for a plain one" {
	redis_tls_start address
	freeze "$(cat redis.pid)"
	spawn pub sh -c 'echo 1 | exec rpub "$@" --raw x' pub -u "$(at rediss)" --cacert "$CERTS/ca.pem"
	# The first connection was given up for one that asks, and that for a third one.
	wait_for '[ "$(left "$REDIS_PORT")" -ge 2 ]'
	kill -CONT "$(cat redis.pid)"
	wait_exit pub
	[ "$status" -eq 0 ]
}

@test "a port that speaks TLS is told where no TLS was asked for" {
	redis_tls_start address
	refused 'speaks TLS at this port' -u "$(at redis)"
	redis_stop
	redis_tls_start address --tls-auth-clients yes
	refused 'speaks TLS at this port' -u "$(at redis)"
}

@test "a port that speaks TLS is told, too, when it is busy and does not answer at first" {
	cat >busy <<-'EOP'
	import socket, ssl, sys
	context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
	context.load_cert_chain(sys.argv[1] + "/address.pem", sys.argv[1] + "/address.key")
	listener = socket.create_server(("127.0.0.1", 0))
	print(listener.getsockname()[1], flush=True)
	silent = None
	while True:
	    client = listener.accept()[0]
	    if client.recv(1, socket.MSG_PEEK)[:1] != b"\x16":
	        client.close()
	    elif silent is None:
	        silent = client
	    else:
	        try:
	            context.wrap_socket(client, server_side=True)
	        except OSError:
	            pass
	EOP
	spawn busy python3 busy "$CERTS"
	wait_lines busy.out 1
	run -100 timeout 60 rpub -u "redis://127.0.0.1:$(cat busy.out)" --raw x < <(seq 1)
	[[ $output == *'speaks TLS at this port'* ]]
}

@test "a server that closes each connection is no TLS server, and is tried again" {
	port=$(free_port)
	spawn closer python3 -c 'import socket, sys
s = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    s.accept()[0].close()
    print("closed", flush=True)' "$port"
	wait_for "(: </dev/tcp/127.0.0.1/$port)"
	spawn pub rpub -u "redis://127.0.0.1:$port" --raw x
	wait_lines closer.out 6
	alive "$(pid_of pub)"
	spawn tls rpub -u "rediss://127.0.0.1:$port" --raw x
	wait_lines closer.out 12
	alive "$(pid_of tls)"
}

@test "files of TLS that cannot be read are refused before anything is dialled" {
	redis_start
	refused "cannot read the CA certificates 'no'" -u "$(at rediss)" --cacert no
	refused "cannot read the certificate 'no'" -u "$(at rediss)" --cacert "$CERTS/ca.pem" --cert no --key no
	refused 'of use with TLS alone' -u "$(at redis)" --cacert "$CERTS/ca.pem"
}

@test "a user of the ACL logs in by the URL, by a file and by the environment" {
	redis_start
	rcli acl setuser edge on '>pw' '~*' '&*' +@all
	rcli acl setuser default off
	echo pw >password
	spawn sub rsub -u "redis://edge:pw@127.0.0.1:$REDIS_PORT" -c 3 --raw x
	wait_for "[ \$(redis-cli -s $REDIS_SOCK --user edge --pass pw --no-auth-warning pubsub numsub x | tail -n 1) -eq 1 ]"
	seq 1 | rpub -u "redis://edge:pw@127.0.0.1:$REDIS_PORT" --raw x
	seq 2 2 | rpub -u "redis://edge@127.0.0.1:$REDIS_PORT" --password-file password --raw x
	seq 3 3 | REDISCLI_AUTH=pw rpub -u "redis://edge@127.0.0.1:$REDIS_PORT" --raw x
	wait_exit sub
	[ "$(cat sub.out)" = "$(seq 3)" ]
	refused 'wants a password' -u "redis://127.0.0.1:$REDIS_PORT"
	refused 'refuses the login: WRONGPASS' -u "redis://edge:no@127.0.0.1:$REDIS_PORT"
}

@test "the password file is read again at each login" {
	redis_start redis --requirepass one
	echo one >password
	mkfifo in
	spawn pub sh -c 'exec rpub --password-file password --metrics m --raw x <in'
	exec 7>in
	echo 1 >&7
	wait_for 'grep -q "forwarded_total.* 1" m'
	REDISCLI_AUTH=one rcli config set requirepass two
	echo two >password
	REDISCLI_AUTH=two rcli client kill type normal skipme yes
	echo 2 >&7
	exec 7>&-
	wait_exit pub
	[ "$status" -eq 0 ]
	grep -q 'forwarded_total.* 2' m
}

@test "a password file that follows its server later is waited for, and one that stays wrong is not" {
	redis_start redis --requirepass two
	echo one >password
	echo 1 >in
	spawn pub sh -c 'exec rpub --password-file password --raw x <in'
	wait_file_contains pub.err 'password file is read again'
	echo two >password
	wait_exit pub
	[ "$status" -eq 0 ]
	echo one >password
	refused 'WRONGPASS' --password-file password
}
