# SPDX-License-Identifier: ISC
"""Just enough of the protocols of Kafka and Redis to look at a run from outside: committed offsets,
ends of partitions, members of a group; commands and subscriptions of Redis. Nothing of ours and no
client library is in between."""
import socket
import struct

FIND_COORDINATOR, LIST_OFFSETS, OFFSET_FETCH, DESCRIBE_GROUPS, METADATA = 10, 2, 9, 15, 3


class WireError(OSError):
    pass


def string(text):
    data = text.encode()
    return struct.pack(">h", len(data)) + data


def array(items):
    return struct.pack(">i", len(items)) + b"".join(items)


class Reader:
    def __init__(self, data):
        self.data, self.pos = data, 0

    def get(self, form):
        values = struct.unpack_from(">" + form, self.data, self.pos)
        self.pos += struct.calcsize(">" + form)
        return values[0] if len(values) == 1 else values

    def bytes(self, form="i"):
        size = self.get(form)
        if size < 0:
            return b""
        self.pos += size
        return self.data[self.pos - size:self.pos]

    def string(self):
        return self.bytes("h").decode()

    def array(self, element):
        return [element() for _ in range(self.get("i"))]


class Kafka:
    """A connection to the one broker of a test; it is made anew after an error."""

    def __init__(self, address, timeout_s=10):
        self.address, self.timeout_s, self.sock = address, timeout_s, None

    def read(self, size):
        data = b""
        while len(data) < size:
            piece = self.sock.recv(size - len(data))
            if not piece:
                raise WireError("the broker closed the connection")
            data += piece
        return data

    def call(self, api, version, body):
        try:
            if not self.sock:
                host, _, port = self.address.rpartition(":")
                self.sock = socket.create_connection((host, int(port)), self.timeout_s)
            message = struct.pack(">hhi", api, version, 1) + string("faults") + body
            self.sock.sendall(struct.pack(">i", len(message)) + message)
            reply = Reader(self.read(struct.unpack(">i", self.read(4))[0]))
            reply.get("i")
            return reply
        except OSError:
            self.close()
            raise

    def close(self):
        if self.sock:
            self.sock.close()
        self.sock = None

    def committed(self, group, topic):
        """{partition: offset} of what the group has committed in the topic."""
        r = self.call(OFFSET_FETCH, 2, string(group) + struct.pack(">i", -1))
        found = {}

        def partition(name):
            number, offset = r.get("iq")
            r.string()
            if r.get("h") == 0 and offset >= 0 and name == topic:
                found[number] = offset

        def one_topic():
            name = r.string()
            r.array(lambda: partition(name))

        r.array(one_topic)
        error = r.get("h")
        if error:
            raise WireError(f"OffsetFetch of {group}: error {error}")
        return found

    def ends(self, topic, partitions):
        """{partition: offset after the last record that is acknowledged}."""
        body = (struct.pack(">i", -1) +
                array([string(topic) + array([struct.pack(">iq", p, -1) for p in range(partitions)])]))
        r = self.call(LIST_OFFSETS, 1, body)
        found = {}

        def partition():
            number, error, _, offset = r.get("ihqq")
            if error:
                raise WireError(f"ListOffsets of {topic}: error {error}")
            found[number] = offset

        r.array(lambda: (r.string(), r.array(partition)))
        return found

    def group(self, group):
        """The state of a classic group and the ids of its members."""
        r = self.call(DESCRIBE_GROUPS, 0, array([string(group)]))

        def member():
            name = r.string()
            r.string(), r.string()
            r.bytes(), r.bytes()
            return name

        def one():
            r.get("h"), r.string()
            state = r.string()
            r.string(), r.string()
            return state, frozenset(r.array(member))

        return r.array(one)[0]


class Redis:
    """Commands to a Redis on a Unix socket or (host, port)."""

    def __init__(self, address, timeout_s=30):
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        self.sock.settimeout(timeout_s)
        self.sock.connect(address)
        self.file = self.sock.makefile("rb")

    def send(self, *args):
        parts = [a if isinstance(a, bytes) else str(a).encode() for a in args]
        self.sock.sendall(b"*%d\r\n" % len(parts) +
                          b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts))

    def reply(self):
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise WireError("the Redis server closed the connection")
        kind, rest = line[:1], line[1:-2]
        if kind == b"$":
            size = int(rest)
            return None if size < 0 else self.file.read(size + 2)[:-2]
        if kind == b"*":
            return [self.reply() for _ in range(int(rest))]
        if kind == b"-":
            raise WireError(rest.decode())
        return int(rest) if kind == b":" else rest

    def __call__(self, *args):
        self.send(*args)
        return self.reply()

    def close(self):
        self.file.close()
        self.sock.close()
