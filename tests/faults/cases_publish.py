# SPDX-License-Identifier: ISC
"""rpub --stream --wait 1 behind three sentinels: what it says to be delivered, by handing it on, is in the stream after
every failover. Entries whose answer was lost may be there twice."""
import json
import threading
import time

from cases_apply import Server, Watched
from rig import Failure, case


class Published(Watched):
    """Two servers, three sentinels, one rpub that is fed, and what it hands on."""

    def __init__(self, rig):  # pylint: disable=super-init-not-called
        self.rig, self.count = rig, rig.pick(9000, 20000, 20000)
        self.servers = [Server(rig, f"redis-{i}") for i in range(2)]
        for server in self.servers:
            server.start()
        self.primary = self.servers[0]
        self.other.follow(self.primary)
        rig.until(self.other.follows, "the replica follows")
        with open(rig.path("passed"), "wb") as passed:
            self.rpub = rig.spawn("rpub", "rpub", "-u", self.where(), "--stream", "s", "--wait", "1", "--pass",
                                  stdin=-1, stdout=passed)
        self.log = threading.Thread(target=self.feed, daemon=True)
        self.began = False

    def feed(self):
        began = time.monotonic()
        for n in range(self.count):
            self.rpub.stdin.write(b'{"payload":"%d"}\n' % n)
            if n % 50 == 0:
                self.rpub.stdin.flush()
                time.sleep(max(0, began + n / 1500 - time.monotonic()))
        self.rpub.stdin.close()

    def applied(self):
        with open(self.rig.path("passed"), "rb") as file:
            return file.read().count(b"\n")

    def rounds(self, cut, normal, long):
        self.log.count = self.count
        return super().rounds(cut, normal, long)

    def finish(self):
        self.rig.until(lambda: not self.log.is_alive(), "the end of the feeder")
        self.rig.until(lambda: self.rpub.poll() is not None, "the end of rpub")
        if self.rpub.returncode:
            raise Failure(f"rpub ended with {self.rpub.returncode}")
        with open(self.rig.path("passed"), "rb") as file:
            passed = [int(json.loads(line)["payload"]) for line in file]
        entries = [int(fields[1]) for _, fields in self.primary("XRANGE", "s", "-", "+")]
        lost = set(passed) - set(entries)
        if lost or passed != list(range(self.count)):
            raise Failure(f"acknowledged={len(passed)} of={self.count} lost={len(lost)}: {sorted(lost)[:5]}")
        return f"acknowledged={len(passed)} lost=0 repeated={len(entries) - len(set(entries))}"


@case("publish-wait-command", ("normal", "long"), how="command")
@case("publish-wait-kill", how="kill")
@case("publish-wait-stop", ("normal", "long"), how="stop")
def failover(rig, how):
    flow = Published(rig)
    for _ in flow.rounds(1, 2, 20):
        flow.fail(how)
    return flow.finish()
