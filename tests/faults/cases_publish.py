# SPDX-License-Identifier: ISC
"""rpub --stream behind three sentinels, with --wait 1 or with the servers' min-replicas-to-write, and in a cluster: what it
says to be delivered, by handing it on, is in the stream after every failover and every move of a slot. Entries whose answer
was lost may be there twice."""
import json
import threading
import time

from cases_apply import Rounds, Server, Watched
from cases_cluster import TAGS, Cluster
from rig import Failure, case


class Fed(Rounds):
    """One rpub that is fed with numbers, and what it hands on."""

    def start(self, url, stream, head=lambda n: b"", options=("--wait", "1")):
        """@head: the members that a number's record begins with."""
        self.count, self.head = self.rig.pick(9000, 20000, 20000), head
        with open(self.rig.path("passed"), "wb") as passed:
            self.rpub = self.rig.spawn("rpub", "rpub", "-u", url, "--stream", stream, *options, "--pass", stdin=-1,
                                       stdout=passed)
        self.log = threading.Thread(target=self.feed, daemon=True)
        self.log.count = self.count

    def feed(self):
        began = time.monotonic()
        for n in range(self.count):
            self.rpub.stdin.write(b'{%b"payload":"%d"}\n' % (self.head(n), n))
            if n % 50 == 0:
                self.rpub.stdin.flush()
                time.sleep(max(0, began + n / 1500 - time.monotonic()))
        self.rpub.stdin.close()

    def applied(self):
        with open(self.rig.path("passed"), "rb") as file:
            return file.read().count(b"\n")

    def judge(self, streams):
        """@streams: of each the numbers that it has, and those that it should have."""
        self.rig.until(lambda: not self.log.is_alive(), "the end of the feeder")
        self.rig.until(lambda: self.rpub.poll() is not None, "the end of rpub")
        if self.rpub.returncode:
            raise Failure(f"rpub ended with {self.rpub.returncode}")
        with open(self.rig.path("passed"), "rb") as file:
            passed = [int(json.loads(line)["payload"]) for line in file]
        if passed != list(range(self.count)):
            raise Failure(f"handed on {len(passed)} of {self.count}, or in another order")
        repeated = 0
        for found, wanted in streams():
            entries = list(dict.fromkeys(found))  # of each the first
            lost = set(wanted) - set(entries)
            if lost or entries != list(wanted):
                raise Failure(f"a stream has {len(entries)} of {len(wanted)}, lost={len(lost)}: {sorted(lost)[:5]}")
            repeated += len(found) - len(entries)
        return f"acknowledged={len(passed)} lost=0 repeated={repeated}"


def numbers(entries):
    return [int(fields[1]) for _, fields in entries]


class Published(Watched, Fed):
    """Two servers and three sentinels."""

    def __init__(self, rig, options=("--wait", "1"), config=()):  # pylint: disable=super-init-not-called
        """@config: of the servers."""
        self.rig = rig
        self.servers = [Server(rig, f"redis-{i}", *config) for i in range(2)]
        for server in self.servers:
            server.start()
        self.primary = self.servers[0]
        self.other.follow(self.primary)
        rig.until(self.other.follows, "the replica follows")
        self.start(self.where(), "s", options=options)

    applied = Fed.applied

    def finish(self):
        return self.judge(lambda: [(numbers(self.primary("XRANGE", "s", "-", "+")), range(self.count))])


class Spread(Cluster, Fed):
    """A stream for each tag, in a cluster."""

    def __init__(self, rig):
        super().__init__(rig)
        self.start(self.url, "{key}", lambda n: b'"key":"{t%d}s",' % (n % TAGS))

    def finish(self):
        return self.judge(lambda: [(numbers(self.ask("XRANGE", f"{{t{tag}}}s", "-", "+")), range(tag, self.count, TAGS))
                                   for tag in range(TAGS)])


# The servers take a write only while they have a replica.
GUARDED = {"options": (), "config": ("--min-replicas-to-write", "1")}


@case("publish-wait-command", ("normal", "long"), how="command")
@case("publish-wait-kill", how="kill")
@case("publish-wait-stop", ("normal", "long"), how="stop")
@case("publish-guarded-command", how="command", **GUARDED)
@case("publish-guarded-kill", ("normal", "long"), how="kill", **GUARDED)
@case("publish-guarded-stop", ("normal", "long"), how="stop", **GUARDED)
def failover(rig, how, **settings):
    flow = Published(rig, **settings)
    for _ in flow.rounds(1, 2, 20):
        flow.fail(how)
    return flow.finish()


@case("publish-cluster")
def cluster(rig):
    """A primary is killed, and slots go from primary to primary, key by key."""
    flow = Spread(rig)
    for n in flow.rounds(4, 8, 60):
        if n % 4 == 1:
            node = flow.primary_of(n % TAGS)
            node.kill()
            flow.heal(node)
        else:
            flow.move(n % TAGS)
    return flow.finish()
