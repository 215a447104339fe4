# SPDX-License-Identifier: ISC
"""A proxy between two programs, over TCP or a Unix socket, which can be made to misbehave."""
import os
import select
import socket
import struct
import threading
import time


def address_of(where):
    """(family, address) of HOST:PORT or a path."""
    if "/" in where:
        return socket.AF_UNIX, where
    host, _, port = where.rpartition(":")
    return socket.AF_INET, (host, int(port))


class Proxy:
    """Listens at .where and hands on to the target. To be set at any time:

    away       no connection is taken, the present ones are closed
    silent     nothing is handed on to the target: a reader that does not read
    rate       bytes a second in each direction, 0 without limit
    slice      bytes handed on at once, 0 what there is

    cut() closes all connections, reset() with RST."""

    def __init__(self, target, where=None):
        self.target = target
        self.away = self.silent = False
        self.rate = self.slice = 0
        self.pairs, self.half, self.lock = set(), set(), threading.Lock()
        family = socket.AF_UNIX if where else socket.AF_INET
        self.listener = socket.socket(family, socket.SOCK_STREAM)
        self.listener.bind(where or ("127.0.0.1", 0))
        self.listener.listen(64)
        self.where = where or "127.0.0.1:%d" % self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            client, _ = self.listener.accept()
            threading.Thread(target=self.connect, args=(client,), daemon=True).start()

    def connect(self, client):
        family, address = address_of(self.target)
        end = time.monotonic() + 60
        while True:
            server = socket.socket(family, socket.SOCK_STREAM)
            try:
                if self.away:
                    raise OSError("away")
                server.connect(address)
                break
            except OSError:
                server.close()
                # A source may not listen yet; what dials a server tries again by itself.
                if self.away or family != socket.AF_UNIX or time.monotonic() > end:
                    client.close()
                    return
                time.sleep(0.02)
        pair = (client, server)
        with self.lock:
            self.pairs.add(pair)
        for source, sink, up in ((client, server, True), (server, client, False)):
            threading.Thread(target=self.carry, args=(pair, source, sink, up),
                             daemon=True).start()

    def carry(self, pair, source, sink, up):
        try:
            while True:
                while up and self.silent:
                    time.sleep(0.02)
                readable = select.select([source], [], [], 0.2)[0]
                if not readable or (up and self.silent):
                    continue
                data = source.recv(self.slice or 65536)
                if not data and self.keeps(pair):
                    return
                if not data:
                    break
                sink.sendall(self.pass_on(pair, data) if up else data)
                if self.rate:
                    time.sleep(len(data) / self.rate)
            # One side is done writing; the other may still have something to say.
            sink.shutdown(socket.SHUT_WR)
            with self.lock:
                if pair not in self.half:
                    self.half.add(pair)
                    return
                self.half.discard(pair)
        except (OSError, ValueError):
            pass
        if not self.keeps(pair):
            self.drop(pair)

    def keeps(self, _pair):
        """Whether the client does not learn that the target has closed the connection."""
        return False

    def pass_on(self, _pair, data):
        """What the target gets of it."""
        return data

    def drop(self, pair, linger=None):
        with self.lock:
            if pair not in self.pairs:
                return
            self.pairs.discard(pair)
        for sock in pair:
            try:
                if linger is not None:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                else:
                    sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            sock.close()

    def cut(self):
        for pair in list(self.pairs):
            self.drop(pair)

    def reset(self):
        for pair in list(self.pairs):
            self.drop(pair, struct.pack("ii", 1, 0))

    def leave(self):
        self.away = True
        self.cut()

    def back(self):
        self.away = False

    def close(self):
        self.leave()
        self.listener.close()
        if "/" in self.where:
            os.unlink(self.where)


class KafkaProxy(Proxy):
    """A proxy of a broker, which hands on no request whose key is in .withheld; and of a connection that had a request
    whose key is in .kept the client does not learn that the broker has closed it."""

    def __init__(self, target):
        self.withheld, self.kept, self.begun, self.seen = set(), set(), {}, {}
        super().__init__(target)

    def keeps(self, pair):
        return bool(self.kept & self.seen.get(pair, set()))

    def pass_on(self, pair, data):
        data, passed = self.begun.get(pair, b"") + data, b""
        while len(data) >= 6 and len(data) >= 4 + struct.unpack(">i", data[:4])[0]:
            end, key = 4 + struct.unpack(">i", data[:4])[0], struct.unpack(">h", data[4:6])[0]
            self.seen.setdefault(pair, set()).add(key)
            if key not in self.withheld:
                passed += data[:end]
            data = data[end:]
        self.begun[pair] = data
        return passed
