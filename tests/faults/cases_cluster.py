# SPDX-License-Identifier: ISC
"""rapply in a Redis Cluster of three primaries and three replicas: the log of cases_apply.py, spread over slots. Each
record adds to a sum and to a list of its slot, so each slot's sum and lists say what was lost, repeated, reordered."""
import contextlib
import json
import signal
import subprocess
import time

import wire
from cases_apply import SESSION, Log, Rounds, Server
from rig import Failure, Unit, case, free_port

TAGS = 16


class Node(Server):
    """A server of the cluster."""

    def __init__(self, rig, name):
        super().__init__(rig, name, "--cluster-enabled", "yes", "--cluster-config-file", name + ".nodes",
                         "--cluster-node-timeout", "1000", "--cluster-replica-validity-factor", "0",
                         "--repl-ping-replica-period", "1")

    def take_ports(self):
        super().take_ports()
        self.options = (*self.options, "--cluster-port", str(free_port()))

    def try_call(self, *args):
        try:
            return self(*args)
        except (OSError, wire.WireError):
            return None

    def is_primary(self):
        said = self.try_call("ROLE")
        return bool(said) and said[0] == b"master"

    def is_well(self):
        return b"cluster_state:ok" in (self.try_call("CLUSTER", "INFO") or b"") and (
            b"master_link_status:down" not in (self.try_call("INFO", "replication") or b"master_link_status:down"))


    def describe(self):
        """What it is at a failure, in a few lines."""
        with open(self.rig.path(self.name + ".log"), encoding="utf-8", errors="replace") as log:
            last = log.readlines()[-8:]
        nodes = (self.try_call("CLUSTER", "NODES") or b"").decode()
        return f"{self.port}: exit status {self.process.poll()}, well {self.is_well()}\n{nodes}{''.join(last)}"


def runs(numbers, step):
    """The numbers as ranges."""
    said = []
    for n in numbers:
        if said and n == said[-1][1] + step:
            said[-1][1] = n
        else:
            said.append([n, n])
    return ", ".join(f"{a}-{b}" for a, b in said)


class Spread(Log):
    """The log: a record's tag follows from its number."""

    @staticmethod
    def payload(partition, number):
        tag = "{t%d}" % (number // 2 % TAGS)
        commands = [["INCRBY", tag + "sum", number], ["RPUSH", f"{tag}log-{partition}", number]]
        return json.dumps(commands, separators=(",", ":")).encode() + b"\n"


class Cluster:
    """Six servers. A load is spread over tags, each of which has keys in one slot."""

    def __init__(self, rig):
        self.rig = rig
        self.nodes = [Node(rig, f"node-{i}") for i in range(6)]
        for node in self.nodes:
            node.start()
        with open(rig.path("create.log"), "wb") as log:
            subprocess.run(["redis-cli", "--cluster", "create", *(f"127.0.0.1:{n.port}" for n in self.nodes),
                            "--cluster-replicas", "1", "--cluster-yes"], stdin=subprocess.DEVNULL, stdout=log,
                           stderr=log, check=True)
        self.settle()
        self.url = "redis+cluster://" + ",".join(f"127.0.0.1:{n.port}" for n in self.nodes)

    def settle(self):
        """Until all are well, and know three primaries."""
        self.rig.until(lambda: all(n.is_well() for n in self.nodes), "the cluster is well")
        self.rig.until(lambda: sum(n.is_primary() for n in self.nodes) == 3, "three primaries")

    def owner(self, key):
        """The primary that serves the key."""
        for node in self.nodes:
            if node.is_primary() and node.try_call("EXISTS", key) is not None:
                return node
        return None

    def ask(self, *args):
        """What the primary of the key says; None: nobody answers for it now."""
        for node in self.nodes:
            if node.is_primary():
                said = node.try_call(*args)
                if said is not None:
                    return said
        return None

    def primary_of(self, tag):
        found = []

        def there():
            found[:] = [self.owner(f"{{t{tag}}}sum")]
            return found[0] is not None
        self.rig.until(there, "the slot has a primary")
        return found[0]

    def move(self, tag):
        """The tag's slot goes to another primary, key by key."""
        old = self.primary_of(tag)
        new = next(n for n in self.nodes if n.is_primary() and n is not old)
        slot = old("CLUSTER", "KEYSLOT", f"{{t{tag}}}")
        new("CLUSTER", "SETSLOT", slot, "IMPORTING", old("CLUSTER", "MYID"))
        old("CLUSTER", "SETSLOT", slot, "MIGRATING", new("CLUSTER", "MYID"))
        while keys := old("CLUSTER", "GETKEYSINSLOT", slot, 1):
            old("MIGRATE", "127.0.0.1", new.port, keys[0], 0, 5000)
            self.rig.doze(0, 0.02)
        for node in (new, old):
            node("CLUSTER", "SETSLOT", slot, "NODE", new("CLUSTER", "MYID"))

    def heal(self, node):
        """A node that was killed is there again."""
        self.rig.until(lambda: sum(n.is_primary() for n in self.nodes if n is not node) == 3, "a replica took over")
        node.start()
        self.settle()


class Clustered(Cluster, Rounds):
    """The servers, three units, the log."""

    def __init__(self, rig, options=(), rate=2000):
        super().__init__(rig)
        self.count = rig.pick(12000, 30000, 30000)
        topic = rig.topic("log")
        self.units = [Unit(rig, [["kread", "-g", rig.name, "--window", "2000", "-b", rig.brokers, *SESSION, topic],
                                 ["rapply", "-u", self.url, "--batch", "200", *options]],
                           how="evpipe", options=["--restart", "-n", f"{rig.name}-{i}"], tag=f"u{i}")
                      for i in range(3)]
        for unit in self.units:
            unit.start()
        self.log = Spread(rig, topic, self.count, rate)

    def applied(self):
        keys = [f"{{t{t}}}log-{p}" for t in range(TAGS) for p in range(2)]
        return sum(self.ask("LLEN", key) or 0 for key in keys)

    def until_applied(self):
        try:
            self.rig.until(lambda: self.applied() >= self.count, "all is applied")
        except Failure as failure:
            raise Failure("\n".join([f"{failure}: {self.applied()} of {self.count}",
                                     *(node.describe() for node in self.nodes)])) from failure

    def finish(self):
        self.rig.until(lambda: not self.log.is_alive(), "the end of the feeder")
        if self.log.failed:
            raise Failure("the feeder has failed")
        self.until_applied()
        time.sleep(2.5)
        self.until_applied()
        for tag in range(TAGS):
            mine = [n for n in range(self.count) if n // 2 % TAGS == tag]
            for p in range(2):
                numbers = [int(n) for n in self.ask("LRANGE", f"{{t{tag}}}log-{p}", 0, -1)]
                wanted = [n for n in mine if n % 2 == p]
                if numbers != wanted:
                    at = next((i for i, (a, b) in enumerate(zip(numbers, wanted)) if a != b), "the end")
                    raise Failure(f"log-{p} of tag {tag} differs at {at}: {len(numbers)} of {len(wanted)}: "
                                  f"{runs(numbers, 2 * TAGS)}")
            if int(self.ask("GET", f"{{t{tag}}}sum")) != sum(mine):
                raise Failure(f"the sum of tag {tag} is not {sum(mine)}")
        for unit in self.units:
            if not unit.ended():
                unit.processes[0].terminate()
        for unit in self.units:
            unit.wait()
        with open(self.rig.path("evpipe.err"), encoding="utf-8", errors="replace") as file:
            backs = file.read().count("redis has lost what was applied")
        return f"lost=0 repeated=0 of={self.count} backs={backs}"


@case("cluster-move")
def move(rig):
    """Slots go from primary to primary, key by key."""
    flow = Clustered(rig)
    for n in flow.rounds(3, 10, 60):
        flow.move(n % TAGS)
    return flow.finish()


@case("cluster-kill")
@case("cluster-kill-wait", ("normal", "long"), options=("--wait", "1"))
def kill(rig, options=()):
    """SIGKILL of a primary: without --wait its replica may lack a tail, and all goes back to it."""
    flow = Clustered(rig, options)
    for n in flow.rounds(1, 3, 20):
        node = flow.primary_of(n % TAGS)
        node.kill()
        flow.heal(node)
    return flow.finish()


@case("cluster-stop", ("normal", "long"))
def stop(rig):
    """SIGSTOP of a primary until its replica has taken over, then SIGCONT: it answers late."""
    flow = Clustered(rig)
    for n in flow.rounds(1, 3, 20):
        node = flow.primary_of(n % TAGS)
        node.process.send_signal(signal.SIGSTOP)
        rig.until(lambda: sum(n.is_primary() for n in flow.nodes if n is not node) == 3, "a replica took over")
        rig.doze(0, 1)
        node.process.send_signal(signal.SIGCONT)
        flow.settle()
    return flow.finish()


@case("cluster-failover", ("normal", "long"))
def failover(rig):
    """CLUSTER FAILOVER at a replica."""
    flow = Clustered(rig)
    for n in flow.rounds(2, 6, 40):
        replicas = [node for node in flow.nodes if not node.is_primary()]
        replica = replicas[n % len(replicas)]
        with contextlib.suppress(wire.WireError):
            replica("CLUSTER", "FAILOVER")
        rig.until(replica.is_primary, "the replica is a primary")
        flow.settle()
    return flow.finish()


@case("cluster-flush")
def flush(rig):
    """FLUSHALL of one primary, and now and then a unit is killed before it has seen it."""
    flow = Clustered(rig)
    for n in flow.rounds(2, 5, 30):
        flow.primary_of(n % TAGS)("FLUSHALL")
        if n % 2:
            flow.units[n % 3].signal(signal.SIGKILL, -1)
    return flow.finish()


@case("cluster-members", ("normal", "long"))
def members(rig):
    """SIGKILL of rapply, of kread, of both, in each unit by turns; a unit that is stopped beyond its session."""
    flow = Clustered(rig)
    for n in flow.rounds(4, 10, 60):
        unit = flow.units[n % 3]
        if n % 4 == 3:
            unit.signal(signal.SIGSTOP)
            rig.doze(5, 6)
            unit.signal(signal.SIGCONT)
        else:
            unit.signal(signal.SIGKILL, *((0,), (1,), (0, 1))[n // 3 % 3])
    return flow.finish()
