# SPDX-License-Identifier: ISC
"""A log that is not the one that was read: made anew, truncated, or trimmed by retention. What stands in it is
delivered; what is gone is counted. A member that is killed: its partitions do not wait for its session."""
import os
import shutil
import signal
import subprocess

import wire
from proxy import KafkaProxy
from rig import KAFKA, UNCUT, Failure, case, children, command_of, signal_pid

METADATA, HEARTBEAT = 3, 12  # keys of requests


class Copy:
    """evpipe --restart kread | kwrite, from one topic to another."""

    def __init__(self, rig, *options):
        self.rig, self.options = rig, options
        self.source, self.target = rig.topic("in"), rig.topic("out")
        self.unit = None

    def start(self):
        self.unit = self.rig.spawn("unit", "evpipe", "--restart", "-n", self.source, "kread", "-q", "-g",
                                   self.source, *self.options, self.source, "|", "kwrite", "-t",
                                   self.target, env={**os.environ, "KAFKA_BROKERS": self.rig.brokers})

    def stop(self):
        self.unit.terminate()
        if self.unit.wait():
            raise Failure(f"evpipe ended with {self.unit.returncode}")

    def topics(self, *words):
        self.rig.run(os.path.join(KAFKA, "topics"), self.rig.brokers, *words)

    def send(self, what, count):
        text = "".join(f"{what}{n}\n" for n in range(count))
        subprocess.run(["kcat", "-P", "-q", "-b", self.rig.brokers, "-t", self.source, "-p", "0"],
                       input=text, text=True, check=True)

    def came(self, what):
        lines = self.rig.run("kcat", "-C", "-e", "-q", "-b", self.rig.brokers, "-t", self.target,
                             "-o", "beginning").split()
        return {line for line in lines if line.startswith(what)}

    def until(self, what, count):
        self.rig.until(lambda: len(self.came(what)) >= count, f"{count} records {what} are delivered")

    def until_committed(self, count):
        self.rig.until(lambda: wire.Kafka(self.rig.brokers).committed(self.source, self.source, 1).get(0) == count,
                       f"the position {count} is committed")

    def joined_by(self, topic, members, *options):
        """Another member comes for another topic, and takes no partition away."""
        other = self.rig.spawn(f"other-{members}", "kread", "-b", self.rig.brokers, "-g", self.source, "--commit",
                               "never", *options, topic, stdout=subprocess.DEVNULL)
        self.rig.until(lambda: self.members() == ("Stable", members), f"{members} members")
        return other

    def members(self):
        try:
            state, members = wire.Kafka(self.rig.brokers).group(self.source)
        except OSError:  # no coordinator yet
            return "", 0
        return state, len(members)

    def said(self, text):
        with open(self.rig.path("unit.err"), encoding="utf-8") as file:
            if text not in file.read():
                raise Failure(f"not said: {text}")


@case("gap-anew")
def anew(rig):
    """The topic is deleted and made anew while it is read."""
    copy = Copy(rig)
    copy.start()
    copy.send("a", 10)
    copy.until("a", 10)
    for what, count in (("b", 30), ("c", 20), ("d", 50)):
        copy.topics("delete", copy.source)
        copy.topics("create", copy.source, "2")
        copy.send(what, count)
        copy.until(what, count)
    copy.stop()
    copy.said("its log is not the one that was read")
    return "lost=0"


@case("gap-truncated", restart=False)
@case("gap-truncated-stopped", restart=True, scales=UNCUT)
@case("gap-truncated-at-once", restart=False, at_once=True)
@case("gap-truncated-kept", restart=False, at_once=True, kept=True)
def truncated(rig, restart, at_once=False, kept=False):
    """The log loses its tail, as by an unclean election, and grows beyond the position again. At once: it is read
    before the broker has answered with metadata, by the same member. Kept: since its last record was read the member
    has kept its partition in a rebalance."""
    rig.own_kafka()
    proxy = KafkaProxy(rig.brokers)
    options = ("-X", "session.timeout.ms=300000", "--resolve", f"{rig.brokers}:{proxy.where}")
    shares = ("-X", "partition.assignment.strategy=cooperative-sticky", "-X", "socket.timeout.ms=60000")
    copy = Copy(rig, *options if at_once else (), *shares if kept else ())
    copy.send("a", 100)
    log = rig.path(f"kafka/data/{copy.source}-0")
    rig.stop_kafka()
    shutil.copytree(log, rig.path("kept"))
    rig.start_kafka()
    copy.send("b", 400)
    # The group's first member leads it, and asks for metadata.
    other = rig.topic("other") if kept else None
    others = [copy.joined_by(other, 1, *options, *shares)] if kept else []
    copy.start()
    copy.until("b", 400)
    # From an earlier position reading would go on without a word: what it has emitted is then of a membership that ended.
    copy.until_committed(500)
    if restart:
        copy.stop()
    if kept:
        others.append(copy.joined_by(other, 3, *options, *shares))
        for process in others:
            process.kill()
            process.wait()
        proxy.kept, proxy.away = {HEARTBEAT}, True
    if at_once:
        proxy.withheld = {METADATA}
    rig.stop_kafka()
    shutil.rmtree(log)
    shutil.copytree(rig.path("kept"), log)
    rig.start_kafka()
    copy.send("c", 630)
    proxy.back()
    if restart:
        copy.start()
    copy.until("c", 630)
    proxy.cut()
    copy.stop()
    copy.said("its log is not the one that was read up to 500")
    return "lost=0"


@case("gap-retention")
def retention(rig):
    """Records are deleted before they are read, below the position and while it reads."""
    metrics = rig.path("prom")
    copy = Copy(rig, "--metrics", metrics)
    copy.send("a", 100)
    copy.start()
    copy.until("a", 100)
    copy.stop()
    copy.send("b", 100)
    copy.topics("trim", copy.source, "0", "150")
    copy.start()
    copy.until("b", 50)
    copy.stop()
    copy.said("50 records of topic ")
    with open(metrics, encoding="utf-8") as file:
        if not any(line.startswith("evpipe_lost_records_total{") and line.endswith(" 50\n")
                   for line in file):
            raise Failure("the loss is not counted")
    return "lost=0 told=50"


@case("heals", session_ms=300000)
def heals(rig, session_ms):
    """A member is killed, then evpipe: records flow again long before a session of 5 minutes ends."""
    copy = Copy(rig, "-X", f"session.timeout.ms={session_ms}")
    copy.start()
    for turn, who in enumerate(("kread", "kwrite", "evpipe") * rig.pick(1, 5, 50)):
        copy.send(f"{turn}-", 10)
        copy.until(f"{turn}-", 10)
        if who == "evpipe":
            copy.unit.kill()
            copy.unit.wait()
            copy.start()
        else:
            for pid in children(copy.unit.pid):
                if os.path.basename(command_of(pid)[0]) == who:
                    signal_pid(pid, signal.SIGKILL)
    copy.send("end", 10)
    copy.until("end", 10)
    copy.stop()
    return "lost=0"
