# SPDX-License-Identifier: ISC
"""Just enough of the protocols of Kafka and Redis to look at a run from outside: committed offsets,
ends of partitions, members of a group; commands and subscriptions of Redis. Nothing of ours and no
client library is in between."""
import socket
import struct
import time

LIST_OFFSETS, OFFSET_FETCH, FIND_COORDINATOR, LEAVE_GROUP, DESCRIBE_GROUPS, API_VERSIONS = \
    2, 9, 10, 13, 15, 18


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


class Broker:
    """A connection to a broker; it is made anew after an error."""

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

    def send(self, api, version, body):
        if not self.sock:
            host, _, port = self.address.rpartition(":")
            self.sock = socket.create_connection((host, int(port)), self.timeout_s)
        message = struct.pack(">hhi", api, version, 1) + string("faults") + body
        self.sock.sendall(struct.pack(">i", len(message)) + message)

    def call(self, api, version, body):
        try:
            self.send(api, version, body)
            reply = Reader(self.read(struct.unpack(">i", self.read(4))[0]))
            reply.get("i")
            return reply
        except OSError:
            if self.sock:
                self.sock.close()
            self.sock = None
            raise


class Kafka:
    """Some brokers, few enough to ask each for what only one of them knows."""

    def __init__(self, addresses):
        self.brokers = [Broker(a) for a in addresses.split(",")]

    def first(self, ask):
        """What the first broker says that has an answer."""
        error = None
        for broker in self.brokers:
            try:
                return ask(broker)
            except OSError as failure:
                error = failure
        raise error

    def coordinator(self, group):
        """Asks for it, whereupon Kafka makes the topic of the groups' positions."""
        def ask(broker):
            error = broker.call(FIND_COORDINATOR, 0, string(group)).get("h")
            if error:
                raise WireError(f"FindCoordinator of {group}: error {error}")

        end = time.monotonic() + 30
        while True:
            try:
                return self.first(ask)
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.1)

    def answers(self):
        try:
            self.first(lambda broker: broker.call(API_VERSIONS, 0, b""))
            return True
        except OSError:
            return False

    def committed(self, group, topic, partitions):
        """{partition: offset} of what the group has committed in the topic."""
        body = string(group) + array([string(topic) + array(
            [struct.pack(">i", p) for p in range(partitions)])])

        def ask(broker):
            r = broker.call(OFFSET_FETCH, 2, body)
            found = {}

            def partition():
                number, offset = r.get("iq")
                r.string()
                error = r.get("h")
                if error:
                    raise WireError(f"OffsetFetch of {group}: error {error}")
                if offset >= 0:
                    found[number] = offset

            r.array(lambda: (r.string(), r.array(partition)))
            error = r.get("h")
            if error:
                raise WireError(f"OffsetFetch of {group}: error {error}")
            return found

        return self.first(ask)

    def ends(self, topic, partitions):
        """{partition: offset after the last record that is acknowledged}."""
        body = (struct.pack(">i", -1) +
                array([string(topic) + array([struct.pack(">iq", p, -1) for p in range(partitions)])]))
        found = {}

        def partition(r):
            number, error, _, offset = r.get("ihqq")
            if not error:
                found[number] = offset

        for broker in self.brokers:
            try:
                r = broker.call(LIST_OFFSETS, 1, body)
                r.array(lambda r=r: (r.string(), r.array(lambda: partition(r))))
            except OSError:
                pass
        if len(found) < partitions:
            raise WireError(f"ListOffsets of {topic}: not of all partitions")
        return found

    def group(self, group):
        """The state of a classic group and the ids of its members."""
        def ask(broker):
            r = broker.call(DESCRIBE_GROUPS, 0, array([string(group)]))

            def member():
                name = r.string()
                r.string(), r.string()
                r.bytes(), r.bytes()
                return name

            def one():
                error, _ = r.get("h"), r.string()
                state = r.string()
                r.string(), r.string()
                return error, state, frozenset(r.array(member))

            error, state, members = r.array(one)[0]
            if error:
                raise WireError(f"DescribeGroups of {group}: error {error}")
            return state, members

        return self.first(ask)

    def dismiss(self, group, member):
        """Takes a member out of its group in its name, as its own LeaveGroup would."""
        self.first(lambda broker: broker.call(LEAVE_GROUP, 0, string(group) + string(member)))


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
