# SPDX-License-Identifier: ISC
"""Redis Streams at either end. Towards them nothing is lost and nothing comes twice; from them nothing is lost, and a
window at most comes twice for each kill, or nothing at all where a kwrite --txn keeps the positions. Redis itself is killed too: it has all it confirmed on disk."""
import json
import signal
import subprocess

import load
import wire
from checker import judge_directory
from rig import UNCUT, Failure, Flow, Unit, case, write_streams

SOURCE, FILTER, SINK = 0, 1, -1


@case("streams-sink-kill-source", who=SOURCE, scales=UNCUT)
@case("streams-sink-kill-sink", who=SINK)
def sink(rig, who):
    flow = Flow(rig, sink="stream")
    for _ in range(rig.pick(5, 25, 250)):
        flow.start()
        rig.doze(0, 0.6)
        flow.crash(who)
    return flow.finish(may_repeat=0)


@case("streams-sink-cut")
def sink_cut(rig):
    """Connections are cut while entries are on their way: what is sent again is not added again."""
    flow = Flow(rig, sink="stream")
    flow.start()
    for _ in range(rig.pick(20, 100, 1000)):
        rig.doze(0, 0.2)
        client = wire.Redis(flow.redis.socket)
        client("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        client.close()
    return flow.finish(may_repeat=0)


class Source:
    """Events in the streams in-0 and in-1 of a Redis that keeps what it confirms, and a consumer that brings them to
    a topic."""

    WINDOW = 1000

    def __init__(self, rig, exact=False):
        self.exact = exact
        self.rig, self.next_id, self.crashes = rig, 0, 0
        self.socket = rig.path("redis.sock")
        self.start_redis()
        self.topic = rig.topic("out")
        self.unit = Unit(rig, [["rsub", "-s", "in-0", "in-1", "-g", "g", "-n", "c", "--window",
                                str(self.WINDOW)],
                               ["evstamp", "--drop", "nas"],
                               ["kwrite", "-t", self.topic, "--key", "{stream}"] +
                               (["--txn", "it-" + self.topic, "--positions", "at-" + self.topic]
                                if exact else [])],
                         env={"KAFKA_BROKERS": rig.brokers, "REDIS_URL": "unix:" + self.socket})

    def start_redis(self):
        with open(self.rig.path("redis.log"), "ab") as log:
            self.redis = subprocess.Popen(
                ["redis-server", "--port", "0", "--unixsocket", self.socket, "--dir", self.rig.dir,
                 "--save", "", "--appendonly", "yes", "--appendfsync", "always"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        self.rig.until(self.answers, "Redis answers")

    def answers(self):
        try:
            client = wire.Redis(self.socket)
            client("XLEN", "in-0")
            client.close()
            return True
        except OSError:
            return False

    def kill_redis(self):
        self.redis.kill()
        self.redis.wait()
        self.start_redis()

    def feed(self, count):
        client = wire.Redis(self.socket)
        for number in range(self.next_id, self.next_id + count):
            client.send("XADD", f"in-{number % 2}", "*", "payload", load.payload(number))
        for _ in range(count):
            client.reply()
        client.close()
        self.next_id += count

    def left(self):
        """How many entries are not read, or not acknowledged."""
        try:
            client = wire.Redis(self.socket)
            left = 0
            for p in range(2):
                groups = client("XINFO", "GROUPS", f"in-{p}")
                group = dict(zip(groups[0][::2], groups[0][1::2])) if groups else {}
                last = client("XREVRANGE", f"in-{p}", "+", "-", "COUNT", 1)[0][0]
                left += 1 if group.get(b"last-delivered-id") != last else group[b"pending"]
            client.close()
            return left
        except OSError:
            return -1

    def crash(self, who):
        self.unit.signal(signal.SIGKILL, who)
        self.crashes += 1
        self.unit.wait()

    def finish(self):
        def done():
            if self.unit.ended():
                raise Failure(f"the pipeline ended by itself: {self.unit.state()}")
            return self.left() == 0

        if self.unit.ended() or not self.unit.processes:
            self.unit.start()
        # What acknowledges these has begun to listen to signals.
        self.feed(2)
        self.rig.until(done, "all entries acknowledged")
        self.unit.processes[0].terminate()
        if any(self.unit.wait()):
            raise Failure(f"statuses after a clean stop: {self.unit.state()}")
        return self.judge()

    def judge(self):
        rig = self.rig
        write_streams(self.socket, "in", rig.path("sent"))
        with open(rig.path("delivered"), "wb") as file:
            subprocess.run(["kcat", "-C", "-e", "-q", "-b", rig.brokers, "-t", self.topic, "-o",
                            "beginning", "-f", "%p %o %s\n"], stdin=subprocess.DEVNULL,
                           stdout=file, check=True)
        ends = {str(p): 1 << 60 for p in range(2)}
        with open(rig.path("samples"), "w", encoding="utf-8") as file:
            file.write(json.dumps({"committed": ends, "dead": None, "ends": ends}) + "\n")
        with open(rig.path("run.json"), "w", encoding="utf-8") as file:
            json.dump({"window": self.WINDOW, "crashes": 0 if self.exact else self.crashes,
                       "drop": [10, 3]}, file)
        good, text, examples = judge_directory(rig.dir)
        if not good:
            raise Failure(text + "".join(f"\n  {f}, first: {e}" for f, e in examples.items()))
        return text


@case("streams-kill-source", who=SOURCE)
@case("streams-kill-filter", who=FILTER, scales=UNCUT)
@case("streams-kill-sink", who=SINK)
@case("streams-exact-kill-source", who=SOURCE, exact=True)
@case("streams-exact-kill-filter", who=FILTER, exact=True, scales=UNCUT)
@case("streams-exact-kill-sink", who=SINK, exact=True)
def kill(rig, who, exact=False):
    run = Source(rig, exact)
    for _ in range(rig.pick(5, 25, 250)):
        run.feed(3000)
        run.unit.start()
        rig.until(lambda: run.unit.ended() or 0 <= run.left(), "the group")
        rig.doze(0, 2 if exact else 0.4)
        run.crash(who)
    return run.finish()


@case("streams-kill-redis")
@case("streams-exact-kill-redis", exact=True)
def kill_redis(rig, exact=False):
    """With a pipeline that goes on: entries on their way are acknowledged to the next server."""
    run = Source(rig, exact)
    run.feed(1000)
    run.unit.start()
    for _ in range(rig.pick(4, 20, 100)):
        run.feed(3000)
        rig.doze(0, 0.3)
        run.kill_redis()
    text = run.finish()
    if run.crashes or " repeated=0 " not in f" {text} ":
        raise Failure(f"entries came twice: {text}")
    return text
