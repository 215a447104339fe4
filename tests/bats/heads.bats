#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# Heads of every length around what fits into the memory of a connection: each has an answer.

load helpers
load khttp
load evsse

setup_file() {
	make_certs
	redis_start
}

setup() {
	harness_setup
	# heads SOCKET|PORT PATH HEAD ROOM [WHAT…]: HEAD: how many bytes one may have; ROOM: of memory, beyond that.
	cat >heads.py <<-'EOP'
	import os, socket, ssl, sys
	at, path, longest, room = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
	context = ssl.create_default_context(cafile=os.environ["CERTS"] + "/ca.pem")
	end = longest + room + 140

	def head(query="", headers=""):
	    return f"GET {path}{query} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{headers}\r\n".encode()
	def times(text, n): return (text * (n // len(text) + 1))[:n]
	near, few = range(longest - 90, end), range(end // 70 * 6 + 60)
	# To one that is longer than all may be the library gives no answer at some lengths.
	short = range(longest // 3, longest - len(head()) - len("Cookie: a=\r\n"))
	heads = {
	    "header": (near, lambda n: head(headers=f"X: {'x' * n}\r\n")),
	    "name": (near, lambda n: head(headers=f"{'X' * n}: x\r\n")),
	    "headers": (few, lambda n: head(headers="A: b\r\n" * (n // 6) + f"B: {'x' * (n % 6)}\r\n")),
	    "path": (near, lambda n: head("x" * n)),
	    "query": (near, lambda n: head("?" + "q" * n)),
	    "parameters": (range(0, end, 11), lambda n: head("?" + times("a=b&", n))),
	    "cookie": (short, lambda n: head(headers=f"Cookie: a={'x' * n}\r\n")),
	    "cookies": (short, lambda n: head(headers=f"Cookie: {times('a=b; ', n)}\r\n")),
	}

	def connected():
	    if at.isdigit():
	        return context.wrap_socket(socket.create_connection(("127.0.0.1", int(at)), 100), server_hostname="127.0.0.1")
	    s = socket.socket(socket.AF_UNIX)
	    s.settimeout(100)
	    s.connect(at)
	    return s
	def sent(text):
	    s = connected()
	    try: s.sendall(text)
	    except OSError: pass
	    return s
	def heard(s):
	    got = b""
	    # A stream does not end.
	    while not got.startswith(b"HTTP/1.1 200 "):
	        piece = s.recv(65536)
	        if not piece: break
	        got += piece
	    s.close()
	    return got
	seen = set()
	for what in sys.argv[5:] or heads:
	    sizes, make = heads[what]
	    for first in range(0, len(sizes), 50):
	        some = sizes[first:first + 50]
	        for n, s in zip(some, [sent(make(n)) for n in some]):
	            got = heard(s)
	            assert got[:9] == b"HTTP/1.1 " and got[9:12] in (b"200", b"404", b"405", b"414", b"431"), (what, n, got)
	            seen.add(got[9:12])
	            if b'"the headers are too long"' in got:
	                assert got.endswith(b'{"error_code":431,"message":"the headers are too long"}\n'), (what, n, got)
	                seen.add(b"last")
	print(*sorted(x.decode() for x in seen))
	EOP
}

heads() {
	timeout 280 python3 heads.py "$@"
}

@test "khttp" {
	kmock_start -t t:1
	khttp_start http --max-headers 2K
	[ "$(heads http.web /healthy 2048 1024)" = '200 404 414 431 last' ]
}

@test "khttp with TLS: what there was no room for in the library's memory is said, too" {
	local port
	port=$(free_port)
	kmock_start -t t:1
	spawn http khttp -b "$KAFKA_BROKERS" --listen "127.0.0.1:$port" --management none --max-headers 1K \
		--tls-cert "$CERTS/address.pem" --tls-key "$CERTS/address.key" </dev/null
	wait_for "curl -sf --cacert $CERTS/ca.pem https://127.0.0.1:$port/ready"
	[ "$(heads "$port" /healthy 1024 1024 headers)" = '200 431 last' ]
}

@test "evsse" {
	evsse_start --max-headers 2K
	[ "$(heads web /events/orders 2048 512)" = '200 414 431 last' ]
}

@test "evcorr http" {
	spawn http evcorr http --listen "unix:$T/web" --reply-to replies -- cat
	wait_for '[ "$(curl -s --unix-socket web http://h/readyz)" = ok ]'
	[ "$(heads web /healthz 15360 1024 header headers path query parameters)" = '200 405 414 431 last' ]
}
