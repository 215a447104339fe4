# SPDX-License-Identifier: ISC
"""Browsers behind kread -g | evsse --replay 'kread …': members are killed, stopped and frozen under load, connections end with
them. Each browser has each record once, in the order of its partition, and is told of no gap."""
import json
import os
import signal
import subprocess
import sys

import load
from rig import Failure, Unit, case

BROWSER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "bats", "event-source")
BROWSERS = 3


class Browser:
    """An EventSource of Python's, which knows the standard and nothing of evsse; its events are lines of a file."""

    def __init__(self, rig, number, path):
        self.file, self.seen, self.at = rig.path(f"browser-{number}"), 0, 0
        self.errors = self.file + ".err"
        with open(self.file, "wb") as out:
            rig.spawn(f"browser-{number}", sys.executable, BROWSER, rig.path("web"), path, stdout=out)

    def is_open(self):
        with open(self.errors, encoding="ascii") as file:
            return "open\n" in file.read()

    def count(self):
        with open(self.file, "rb") as file:
            file.seek(self.at)
            data = file.read()
        self.seen += data.count(b"\n")
        self.at += len(data)
        return self.seen

    def judge(self, topic, sent):
        """sent: partition of each payload, in order of the partitions."""
        seen = {}
        with open(self.file, encoding="utf-8") as file:
            for line in file:
                event = json.loads(line)
                if event["event"] != topic:
                    raise Failure(f"an event {event['event']}: {event['data']}")
                if event["data"] not in sent:
                    raise Failure(f"nobody has sent {event['data']}")
                seen.setdefault(sent[event["data"]], []).append(event["data"])
        for partition in set(sent.values()):
            expected = [p for p, at in sent.items() if at == partition]
            got = seen.get(partition, [])
            if got != expected:
                at = next((n for n, pair in enumerate(zip(got, expected)) if pair[0] != pair[1]), min(len(got), len(expected)))
                raise Failure(f"partition {partition}: {len(got)} events of {len(expected)}, other ones from {at} on: "
                              f"{got[at:at + 1]}, expected {expected[at:at + 1]}")


def payloads(rig, topic):
    text = rig.run("kcat", "-C", "-e", "-q", "-b", rig.brokers, "-t", topic, "-o", "beginning", "-f", "%p %s\n")
    return {line.partition(" ")[2]: int(line.partition(" ")[0]) for line in text.splitlines()}


def stop(unit):
    unit.processes[0].terminate()
    if unit.wait() != [0]:
        raise Failure(f"evpipe ended with {unit.processes[0].returncode} after a clean stop")


@case("sse-kill")
@case("sse-stop", how=signal.SIGTERM)
@case("sse-freeze", how=signal.SIGSTOP, scales=("normal", "long"))
def sse(rig, how=signal.SIGKILL):
    topic = rig.topic("in")
    unit = Unit(rig, [["kread", "-g", rig.name, "-X", "session.timeout.ms=3000", "-X", "heartbeat.interval.ms=300",
                       "-b", rig.brokers, topic],
                      ["evsse", "--listen", "unix:" + rig.path("web"), "--retry", "100ms", "--keep", "2000",
                       "--replay", f"kread -b {rig.brokers}"]],
                how="evpipe", options=["--restart", "-n", "live"])
    unit.start()
    browsers = [Browser(rig, n, "/events/" + topic) for n in range(BROWSERS)]
    # Without an id a browser gets what comes from now on.
    rig.until(lambda: all(b.is_open() for b in browsers), "all browsers")
    maker = subprocess.Popen([sys.executable, load.__file__, "--rate", "1000"], stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE)
    feeder = rig.spawn("feed", "kcat", "-P", "-b", rig.brokers, "-t", topic, "-K", "\t", "-X", "linger.ms=10",
                       "-X", "enable.idempotence=true", stdin=maker.stdout)
    maker.stdout.close()
    rounds = rig.pick(4, 15, 150)
    for n in range(rounds):
        before = [b.count() for b in browsers]
        rig.until(lambda b=before: all(x.count() > y + 100 for x, y in zip(browsers, b)), f"events in round {n}")
        rig.doze(0, 0.5)
        if how == signal.SIGTERM:
            stop(unit)
            unit.start()
            continue
        who = [n % 3] if n % 3 < 2 else [0, 1]
        rig.until(lambda w=who: all(unit.pid(m) for m in w), "the members")
        unit.signal(how, *who)
        if how == signal.SIGSTOP:
            rig.doze(0.5, 4)
            unit.signal(signal.SIGCONT, *who)
    maker.terminate()
    rig.until(lambda: feeder.poll() is not None, "the end of the feeder")
    sent = payloads(rig, topic)
    rig.until(lambda: all(b.count() >= len(sent) for b in browsers), "all events")
    for browser in browsers:
        browser.judge(topic, sent)
    stop(unit)
    with open(rig.path("evpipe.err"), encoding="utf-8") as file:
        if "made anew" in file.read():
            raise Failure("kread takes the topic for another one")
    return f"records={len(sent)} browsers={BROWSERS} lost=0 repeated=0 gaps=0 rounds={rounds}"
