# SPDX-License-Identifier: ISC
"""Redis servers that cannot serve, and what a subscriber misses."""
import os
import re
import signal
import subprocess
import threading
import time

import wire
from proxy import Proxy
from rig import Failure, Flow, case


def redis_server(rig, *options):
    """A private server on a Unix socket. Returns the process and the socket's path."""
    path = rig.path("server.sock")
    with open(rig.path("server.log"), "ab") as log:
        process = subprocess.Popen(
            ["redis-server", "--port", "0", "--unixsocket", path, "--dir", rig.dir, "--save", "",
             *options], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)

    def answers():
        try:
            wire.Redis(path, 1).close()
            return True
        except OSError:
            return False
    rig.until(answers, "Redis answers")
    return process, path


def text_of(rig, name):
    with open(rig.path(name), encoding="utf-8", errors="replace") as file:
        return file.read()


@case("redis-misconf")
def misconf(rig):
    """A server that cannot save refuses PING, and this one has no ROLE: an idle rsub and an idle rpub keep their
    connections, and what is published at last goes through."""
    gone = rig.path("gone")
    os.mkdir(gone)
    server, path = redis_server(rig, "--save", "3600 1", "--dir", gone, "--rename-command", "ROLE", "")
    os.rmdir(gone)
    client = wire.Redis(path)

    def info(section, pattern):
        found = re.search(pattern, client("INFO", section).decode())
        return int(found[1]) if found else 0

    client("BGSAVE")
    rig.until(lambda: b"bgsave_status:err" in client("INFO", "persistence"), "a failed save")
    with open(rig.path("out"), "ab") as out:
        sub = rig.spawn("rsub", "rsub", "-u", "unix:" + path, "--raw", "-c", "1", "x", stdout=out)
    pub = rig.spawn("rpub", "rpub", "-u", "unix:" + path, "--raw", "x", stdin=subprocess.PIPE)
    pings = rig.pick(6, 20, 200)
    rig.until(lambda: info("commandstats", r"cmdstat_ping:.*rejected_calls=(\d+)") >= pings,
              f"{pings} keep-alives", 5 * pings + 60)
    pub.stdin.write(b"hello\n")
    pub.stdin.close()
    for name, process in (("rpub", pub), ("rsub", sub)):
        rig.until(lambda p=process: p.poll() is not None, f"the end of {name}")
        said = text_of(rig, name + ".err")
        if process.returncode or "lost" in said or "gap" in said:
            raise Failure(f"{name}: status {process.returncode}: {said}")
    lost = text_of(rig, "out") != "hello\n"
    server.kill()
    return f"lost={lost:d} pings={pings}"


class Publisher(threading.Thread):
    """Numbers on a channel, one each 5 ms; keeps when each was published."""

    def __init__(self, path, channel):
        super().__init__(daemon=True)
        self.client, self.channel, self.when, self.ends = wire.Redis(path), channel, [], False

    def run(self):
        while not self.ends:
            self.when.append(time.monotonic())
            self.client("PUBLISH", self.channel, str(len(self.when) - 1))
            time.sleep(0.005)


@case("redis-gap")
def gap(rig):
    """What a subscriber misses, by cuts, by a server that is away and by its own standstill: each hole lies in a gap
    that is told, no gap is shorter than what was published in it, and the counter has as many."""
    server, path = redis_server(rig)
    proxy = Proxy(path, rig.path("proxy.sock"))
    with open(rig.path("out"), "ab") as out:
        sub = rig.spawn("rsub", "rsub", "-u", "unix:" + proxy.where, "--raw", "--metrics",
                        rig.path("metrics"), "x", stdout=out)
    admin = wire.Redis(path)
    rig.until(lambda: admin("PUBSUB", "NUMSUB", "x")[1], "a subscriber")
    publisher = Publisher(path, "x")
    publisher.start()

    def heard():
        return [int(n) for n in text_of(rig, "out").split()]

    def again():
        before = heard()[-1:] or [-1]
        now = len(publisher.when)
        rig.until(lambda: (heard()[-1:] or [-1])[0] > max(before[0], now), "messages again")

    again()
    for n in range(rig.pick(6, 30, 300)):
        how = ("cut", "away", "stop")[n % 3]
        rig.doze(0.1, 0.3)
        if how == "cut":
            proxy.cut()
        elif how == "away":
            proxy.leave()
            rig.doze(0.2, 1)
            proxy.back()
        else:
            sub.send_signal(signal.SIGSTOP)
            admin("CLIENT", "KILL", "TYPE", "pubsub")
            rig.doze(0.2, 1)
            sub.send_signal(signal.SIGCONT)
        again()
    publisher.ends = True
    publisher.join()
    sub.terminate()
    rig.until(lambda: sub.poll() is not None, "the end of rsub")
    numbers, said = heard(), text_of(rig, "rsub.err")
    told = [float(s) for s in re.findall(r"gap: .* for ([0-9.]+) s", said)]
    counted = int(re.search(r"^evpipe_gaps_total\S* (\d+)", text_of(rig, "metrics"), re.M)[1])
    holes = [(a + 1, b - 1) for a, b in zip(numbers, numbers[1:]) if b > a + 1]
    spans = [publisher.when[b] - publisher.when[a] for a, b in holes]
    server.kill()
    if sub.returncode or len(told) != counted or len(holes) > len(told):
        raise Failure(f"status {sub.returncode}, {len(told)} gaps told, {counted} counted, {len(holes)} holes: {said}")
    # A gap without a hole can stand between, so both are taken in order of length.
    short = [(s, t) for s, t in zip(sorted(spans), sorted(told)[-len(spans):]) if t < s - 0.1]
    if short:
        raise Failure(f"gaps told too short: {short}")
    missing = sum(b - a + 1 for a, b in holes)
    return f"lost={missing} gaps={counted} holes={len(holes)} of={len(publisher.when)}"


@case("outage-from-rest", slow=True)
def outage_from_rest(rig):
    """Redis goes away while nothing moves, and then records come: they wait for it, and no program is blamed for
    them, however long it takes."""
    flow = Flow(rig, sink="redis", rate=0, preload=200, session_ms=300000)
    flow.start()
    flow.through("all is delivered, and nothing moves")
    flow.redis.proxy.leave()
    flow.feed(0, 300)
    flow.feed_end()
    # kread names what has been open for 30 seconds without anybody at work on it.
    time.sleep(40)
    if "swallowed" in flow.errors():
        raise Failure("records that wait for Redis were told as swallowed")
    if flow.delivered_now() > 200:
        raise Failure("Redis was there")
    flow.redis.proxy.back()
    return flow.finish()
