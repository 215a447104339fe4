# SPDX-License-Identifier: ISC
"""rapply: a log of INCRBY and RPUSH, applied by three units of one group to a Redis that loses what it had confirmed.
Nothing here is idempotent: the sum is exact, and each partition's list has each record once and in order, only if
nothing is lost, repeated or reordered."""
import contextlib
import json
import signal
import subprocess
import threading
import time

import wire
from proxy import Proxy
from rig import Failure, Unit, case, free_port

SESSION = ["-X", "session.timeout.ms=4000", "-X", "heartbeat.interval.ms=300"]


class Server:
    """A Redis of the case."""

    def __init__(self, rig, name, *options):
        self.rig, self.name, self.options = rig, name, options
        self.socket = rig.path(name + ".sock")
        self.process, self.has_started = None, False
        self.take_ports()

    def start(self):
        """Where somebody else has just taken the port, which is of a moment before, on another one."""
        for _ in range(20):
            with open(self.rig.path(self.name + ".log"), "ab") as log:
                self.process = subprocess.Popen(
                    ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--unixsocket", self.socket,
                     "--dir", self.rig.dir, "--dbfilename", self.name + ".rdb", "--save", "",
                     "--repl-diskless-sync-delay", "0", *self.options],
                    stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
            self.rig.until(lambda: self.process.poll() is not None or self.answers(), f"{self.name} answers")
            if self.process.poll() is None or self.has_started:
                break
            self.take_ports()
        else:
            raise Failure(f"{self.name} does not start: see {self.name}.log")
        self.has_started = True

    def take_ports(self):
        self.port = free_port()

    def answers(self):
        try:
            return self("PING") == b"PONG"
        except (OSError, wire.WireError):
            return False

    def __call__(self, *args):
        client = wire.Redis(self.socket)
        try:
            return client(*args)
        finally:
            client.close()

    def kill(self):
        self.process.kill()
        self.process.wait()

    def follow(self, other):
        self("REPLICAOF", "127.0.0.1", other.port)

    def follows(self):
        try:
            return b"master_link_status:up" in self("INFO", "replication")
        except (OSError, wire.WireError):
            return False


class Log(threading.Thread):
    """Feeds the topic, both partitions by turns."""

    def __init__(self, rig, topic, count, rate):
        super().__init__(daemon=True)
        self.count, self.rate, self.failed = count, rate, None
        self.kcat = [rig.spawn(f"feed-{p}", "kcat", "-P", "-b", rig.brokers, "-t", topic, "-p", str(p), "-X",
                               "linger.ms=10", stdin=subprocess.PIPE) for p in range(2)]

    @staticmethod
    def payload(partition, number):
        commands = [["INCRBY", "sum", number], ["RPUSH", f"log-{partition}", number]]
        return json.dumps(commands, separators=(",", ":")).encode() + b"\n"

    def run(self):
        began = time.monotonic()
        for n in range(self.count):
            self.kcat[n % 2].stdin.write(self.payload(n % 2, n))
            if n % 50 == 0:
                for kcat in self.kcat:
                    kcat.stdin.flush()
                time.sleep(max(0, began + n / self.rate - time.monotonic()))
        for kcat in self.kcat:
            kcat.stdin.close()
            self.failed = self.failed or kcat.wait()


class Rounds:
    """A load, self.log, that begins with the first fault, and goes on between faults."""

    began = False

    def rounds(self, cut, normal, long):
        """Yields the number of a round each time that something more has been applied."""
        if not self.began:
            self.began = True
            self.log.start()
        for n in range(self.rig.pick(cut, normal, long)):
            before = self.applied()
            self.rig.until(lambda b=before: self.applied() > b or self.log.count * 0.9 < self.applied(),
                           f"progress in round {n}")
            self.rig.doze(0.1, 0.5)
            yield n


class Applied(Rounds):
    """Servers, of which the proxy hands on to the present primary; three units; the log."""

    def __init__(self, rig, servers=2, units=3, options=(), rate=4000):
        self.rig, self.count = rig, rig.pick(12000, 30000, 30000)
        self.servers = [Server(rig, f"redis-{i}") for i in range(servers)]
        for server in self.servers:
            server.start()
        self.primary = self.servers[0]
        if servers > 1:
            self.other.follow(self.primary)
            rig.until(self.other.follows, "the replica follows")
        self.proxy = Proxy(self.primary.socket, rig.path("proxy.sock"))
        url = self.where()
        self.topic = rig.topic("log")
        self.units = [Unit(rig, [["kread", "-g", rig.name, "--window", "2000", "-b", rig.brokers, *SESSION, self.topic],
                                 ["rapply", "-u", url, "--batch", "100", *options]],
                           how="evpipe", options=["--restart", "-n", f"{rig.name}-{i}"], tag=f"u{i}")
                      for i in range(units)]
        for unit in self.units:
            unit.start()
        self.log = Log(rig, self.topic, self.count, rate)

    def where(self):
        return "unix:" + self.proxy.where

    @property
    def other(self):
        return next(s for s in self.servers if s is not self.primary)

    def applied(self):
        try:
            return self.primary("LLEN", "log-0") + self.primary("LLEN", "log-1")
        except (OSError, wire.WireError):
            return 0

    def promote(self, cut=True):
        """The replica becomes the primary, and the proxy's new target."""
        new, old = self.other, self.primary
        new("REPLICAOF", "NO", "ONE")
        self.rig.doze(0, 0.5)  # the old one still takes what nobody will have
        self.proxy.target = new.socket
        self.primary = new
        if cut:
            self.proxy.cut()
        return old

    def demote(self, old):
        old.follow(self.primary)
        self.rig.until(old.follows, "the old primary follows")

    def finish(self):
        """All applied, exactly once and in order; a clean stop."""
        self.rig.until(lambda: not self.log.is_alive(), "the end of the feeder")
        if self.log.failed:
            raise Failure("the feeder has failed")
        self.rig.until(lambda: self.applied() >= self.count, "all is applied")
        time.sleep(1.5)  # a look at idle partitions, and a zombie's last words
        self.rig.until(lambda: self.applied() >= self.count, "all is applied again")
        expected = sum(range(self.count))
        for p in range(2):
            numbers = [int(n) for n in self.primary("LRANGE", f"log-{p}", 0, -1)]
            if numbers != list(range(p, self.count, 2)):
                at = next((i for i, (a, b) in enumerate(zip(numbers, range(p, self.count, 2))) if a != b), "the end")
                raise Failure(f"log-{p} differs at {at}: {len(numbers)} of {self.count // 2}")
        if int(self.primary("GET", "sum")) != expected:
            raise Failure(f"the sum is {self.primary('GET', 'sum')}, not {expected}")
        for unit in self.units:
            if not unit.ended():
                unit.processes[0].terminate()
        for unit in self.units:
            unit.wait()
        with open(self.rig.path("evpipe.err"), encoding="utf-8", errors="replace") as file:
            backs = file.read().count("redis has lost what was applied")
        return f"lost=0 repeated=0 of={self.count} backs={backs}"


@case("apply-failover")
def failover(rig):
    """The replica is promoted; for up to half a second the old primary takes writes that nobody will have."""
    flow = Applied(rig)
    for _ in flow.rounds(3, 6, 40):
        flow.demote(flow.promote())
    return flow.finish()


@case("apply-server-kill")
def server_kill(rig):
    """SIGKILL of the primary; its replica takes over."""
    flow = Applied(rig)
    for _ in flow.rounds(2, 5, 40):
        flow.primary.kill()
        old = flow.promote()
        old.start()
        flow.demote(old)
    return flow.finish()


@case("apply-server-stop")
def server_stop(rig):
    """SIGSTOP of the primary, a failover, SIGCONT: it answers late what nobody will have."""
    flow = Applied(rig)
    for _ in flow.rounds(2, 4, 30):
        flow.primary.process.send_signal(signal.SIGSTOP)
        rig.doze(0.2, 1)
        old = flow.promote(cut=False)
        old.process.send_signal(signal.SIGCONT)
        rig.doze(0.1, 0.5)
        flow.demote(old)
        flow.proxy.cut()
    return flow.finish()


@case("apply-demote")
def demote(rig):
    """REPLICAOF by hand: the old primary says READONLY, and its connections stay."""
    flow = Applied(rig)
    for _ in flow.rounds(3, 6, 40):
        flow.demote(flow.promote(cut=False))
    return flow.finish()


@case("apply-flush")
def flush(rig):
    """FLUSHALL, and a rebalance: everything is applied again from the beginning."""
    flow = Applied(rig, servers=1)
    for n in flow.rounds(3, 6, 40):
        flow.primary("FLUSHALL")
        if n % 2:
            flow.units[n % 3].signal(signal.SIGKILL, -1)
    return flow.finish()


@case("apply-old-dump")
def old_dump(rig):
    """The server is killed, and comes back with a dump of some time ago."""
    flow = Applied(rig, servers=1)
    for _ in flow.rounds(2, 5, 40):
        flow.primary("SAVE")
        rig.doze(0.3, 1)
        flow.primary.kill()
        rig.doze(0, 0.3)
        flow.primary.start()
    return flow.finish()


@case("apply-zombie")
def zombie(rig):
    """A whole unit is stopped for longer than its session, and wakes when others have its partitions."""
    flow = Applied(rig, servers=1, rate=2000)
    for n in flow.rounds(1, 3, 20):
        unit = flow.units[n % 3]
        unit.signal(signal.SIGSTOP)
        rig.doze(5, 7)
        if n % 2:
            flow.primary("FLUSHALL")
        unit.signal(signal.SIGCONT)
        rig.doze(0.5, 1.5)
    return flow.finish()


@case("apply-kill")
def kill(rig):
    """SIGKILL of rapply, of kread, of both, in each unit by turns."""
    flow = Applied(rig, servers=1)
    for n in flow.rounds(6, 15, 100):
        flow.units[n % 3].signal(signal.SIGKILL, *((0,), (1,), (0, 1))[n // 3 % 3])
    return flow.finish()


@case("apply-cut")
def cut(rig):
    """CLIENT KILL each 100 ms, CLIENT PAUSE, and no memory, by turns."""
    flow = Applied(rig, servers=1)
    for n in flow.rounds(4, 8, 40):
        if n % 4 == 3:
            flow.primary("CLIENT", "PAUSE", 1000)
        elif n % 4 == 2:
            flow.primary("CONFIG", "SET", "maxmemory", 1)
            rig.doze(0.5, 1)
            flow.primary("CONFIG", "SET", "maxmemory", 0)
        else:
            for _ in range(10):
                with contextlib.suppress(wire.WireError):
                    flow.primary("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
                time.sleep(0.1)
    return flow.finish()


class Watched(Applied):
    """The same behind three sentinels, which name the primary themselves."""

    ports = ()

    def where(self):
        self.ports = []
        # A server that is slow since the machine is must not be taken for dead: a second failover may go to an empty one.
        for n in range(3):
            port = free_port()
            path = self.rig.path(f"sentinel-{n}.conf")
            with open(path, "w", encoding="ascii") as file:
                file.write(f"port {port}\nbind 127.0.0.1\ndir {self.rig.dir}\nunixsocket {path}.sock\n"
                           f"sentinel monitor m 127.0.0.1 {self.primary.port} 2\n"
                           "sentinel down-after-milliseconds m 4000\nsentinel failover-timeout m 2000\n")
            with open(path + ".log", "ab") as log:
                subprocess.Popen(["redis-server", path, "--sentinel"], stdin=subprocess.DEVNULL, stdout=log,
                                 stderr=log, start_new_session=True)
            self.ports.append(port)
        self.rig.until(self.is_watched, "the sentinels know the replica and each other")
        return "redis+sentinel://" + ",".join(f"127.0.0.1:{p}" for p in self.ports) + "/m"

    def ask(self, *args):
        client = wire.Redis(("127.0.0.1", self.ports[0]), 5)
        try:
            return client("SENTINEL", *args)
        finally:
            client.close()

    def is_watched(self):
        try:
            said = self.ask("MASTER", "m")
            facts = dict(zip(said[::2], said[1::2]))
            return facts[b"num-slaves"] != b"0" and facts[b"num-other-sentinels"] == b"2"
        except (OSError, wire.WireError):
            return False

    def named(self):
        """The server that the sentinels name, or None."""
        try:
            port = int(self.ask("GET-MASTER-ADDR-BY-NAME", "m")[1])
        except (OSError, wire.WireError):
            return None
        return next(s for s in self.servers if s.port == port)

    def settled(self):
        """On a busy machine the sentinels may go back to the old primary: one of the two follows the other."""
        self.primary = self.named() or self.primary
        return self.other.follows()

    def fail(self, how):
        old = self.primary
        if how == "command":
            def accepted():
                try:
                    return self.ask("FAILOVER", "m") == b"OK"
                except (OSError, wire.WireError):
                    return False
            self.rig.until(accepted, "the failover begins")
        elif how == "kill":
            old.kill()
        else:
            old.process.send_signal(signal.SIGSTOP)
        self.rig.until(lambda: self.named() not in (old, None), "another primary")
        if how == "kill":
            old.start()
        elif how == "stop":
            self.rig.doze(0.5, 1)
            old.process.send_signal(signal.SIGCONT)
        self.rig.until(self.settled, "one of the two follows the other")


@case("apply-sentinel-command", how="command")
@case("apply-sentinel-kill", how="kill")
@case("apply-sentinel-stop", how="stop")
def sentinel(rig, how):
    """A failover that sentinels make: by command, after SIGKILL, after SIGSTOP with SIGCONT behind it."""
    flow = Watched(rig, rate=1500)
    for _ in flow.rounds(1, 3, 20):
        flow.fail(how)
    return flow.finish()
