# SPDX-License-Identifier: ISC
"""Servers, networks and readers that are away or slow, and rebalances."""
import signal
import sys
import time

from proxy import Proxy
from rig import Failure, Flow, Unit, case, rss_kb

SOURCE, FILTER, SINK = 0, 1, -1
POLL_MS = 4000
THROTTLE = """
import os, sys, time
while data := os.read(0, 2048):
    time.sleep(len(data) / float(sys.argv[1]))
    os.write(1, data)
"""


def progress(flow):
    before = flow.delivered()
    flow.rig.until(lambda: flow.delivered() > before or flow.unit.ended(), "progress afterwards")


def no_rebalance(flow):
    if flow.watch.rebalances():
        raise Failure(f"a rebalance: {flow.watch.groups}")


@case("slow-reader")
def slow_reader(rig):
    """A reader of 100 kB a second, for longer than the poll interval: the source's memory is flat and it stays
    in the group."""
    flow = Flow(rig, middle=[[sys.executable, "-c", THROTTLE, "100e3"]], rate=2000, window=10000,
                session_ms=POLL_MS, poll_ms=POLL_MS)
    flow.start()
    seconds, peaks = rig.pick(12, 30, 600), []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        peaks.append(rss_kb(flow.unit.pid(SOURCE)))
        time.sleep(seconds / 100)
    # What librdkafka fetches ahead has its own limit, which the first third may still be filling.
    early, late = max(peaks[:len(peaks) // 3]), max(peaks[len(peaks) // 3:])
    if late > early * 1.1 + 17000:
        raise Failure(f"the source's memory grows: {early} kB, then {late} kB")
    no_rebalance(flow)
    flow.crash()
    flow.unit.members = [flow.source, flow.unit.members[-1]]
    return flow.finish()


@case("sink-away", how="away")
@case("sink-frozen", how="frozen")
def redis_away(rig, how):
    """Redis is away for longer than the poll interval: the source stays in its group. What was under way
    may be published again."""
    flow = Flow(rig, sink="redis", session_ms=POLL_MS, poll_ms=POLL_MS)
    flow.start()
    for _ in range(rig.pick(1, 3, 20)):
        if how == "away":
            flow.redis.proxy.leave()
        else:
            flow.redis.process.send_signal(signal.SIGSTOP)
        time.sleep(POLL_MS / 1000 * 2)
        if how == "away":
            flow.redis.proxy.back()
        else:
            flow.redis.process.send_signal(signal.SIGCONT)
        progress(flow)
        flow.facts["undrained"] = flow.facts.get("undrained", 0) + 1
    no_rebalance(flow)
    return flow.finish()


@case("redis-cut")
def redis_cut(rig):
    """The publisher's connection is cut, again and again: the order of a channel is kept."""
    flow = Flow(rig, sink="redis")
    flow.start()
    for _ in range(rig.pick(20, 100, 1000)):
        rig.doze(0, 0.2)
        flow.redis.proxy.cut()
        flow.facts["undrained"] = flow.facts.get("undrained", 0) + 1
    return flow.finish()


def sink_proxy(rig, flow):
    proxy = Proxy(rig.brokers)
    flow.unit.members[-1] += ["--resolve", f"{rig.brokers}:{proxy.where}"]
    return proxy


def source_proxy(rig, flow):
    proxy = Proxy(rig.brokers)
    flow.unit.members[0][1:1] = ["--resolve", f"{rig.brokers}:{proxy.where}"]
    return proxy


@case("sink-broker-away")
def sink_broker_away(rig):
    """The sink's brokers cannot be reached for longer than the poll interval. Idempotence: no repeats."""
    flow = Flow(rig, session_ms=POLL_MS, poll_ms=POLL_MS)
    proxy = sink_proxy(rig, flow)
    flow.start()
    for _ in range(rig.pick(1, 3, 20)):
        proxy.leave()
        time.sleep(POLL_MS / 1000 * 2)
        proxy.back()
        progress(flow)
    no_rebalance(flow)
    return flow.finish()


@case("net-reset", side="both")
@case("net-slow", side="both", rate=300000)
@case("net-slice", side="sink", bite=7, rate=50000, cut=False)
def network(rig, side, rate=0, bite=0):
    """Connections to Kafka that are reset, slow, or deliver a few bytes at a time."""
    flow = Flow(rig, rate=1000, session_ms=10000)
    proxies = [sink_proxy(rig, flow)] + ([source_proxy(rig, flow)] if side == "both" else [])
    for proxy in proxies:
        proxy.rate, proxy.slice = rate, bite
    flow.start()
    end = time.monotonic() + rig.pick(6, 20, 300)
    while time.monotonic() < end:
        rig.doze(0.2, 1)
        if not rate:
            rig.random.choice(proxies).reset()
    for proxy in proxies:
        proxy.rate = proxy.slice = 0
    return flow.finish()


@case("broker-kill", how=["-9"])
@case("broker-restart", how=[], cut=False)
def broker(rig, how):
    """The broker dies and comes back, with source and sink on it."""
    rig.own_kafka()
    flow = Flow(rig, rate=0, preload=20000, session_ms=45000, source=["--rate", "3000"])
    flow.start()
    for _ in range(rig.pick(1, 3, 10)):
        rig.doze(0.2, 1)
        rig.stop_kafka(*how)
        rig.doze(*rig.pick((1, 2), (2, 8), (5, 60)))
        rig.start_kafka()
        before = flow.delivered()
        rig.until(lambda b=before: flow.delivered() > b or flow.unit.ended() or
                  flow.delivered() == 18000, "progress afterwards")
    return flow.finish()


@case("rebalance", strategy="range,roundrobin")
@case("rebalance-cooperative", strategy="cooperative-sticky")
@case("rebalance-kill", strategy="range,roundrobin", how=signal.SIGKILL)
@case("rebalance-kill-cooperative", strategy="cooperative-sticky", how=signal.SIGKILL, cut=False)
def rebalance(rig, strategy, how=signal.SIGTERM):
    """A second pipeline joins the group and leaves it, again and again, under load. Who leaves in good
    order causes no repeats."""
    clean = how == signal.SIGTERM
    flow = Flow(rig, rate=2000, session_ms=10000 if clean else 1500,
                source=["-X", "partition.assignment.strategy=" + strategy])
    second = Unit(rig, flow.unit.members, env=flow.unit.env)
    second.env["EVPIPE_ACK"] = rig.path("ack2")
    flow.start()
    for _ in range(rig.pick(5 if clean else 3, 20, 100)):
        second.start()
        rig.until(lambda: flow.watch.groups[-1][0] == "Stable" and
                  len(flow.watch.groups[-1][1]) == 2, "a group of two")
        before = flow.delivered()
        rig.until(lambda b=before: flow.delivered() > b, "progress of two")
        rig.doze(0, 0.5)
        if clean:
            second.processes[0].terminate()
        else:
            second.signal(how, rig.random.choice([SOURCE, FILTER, SINK]))
            flow.facts["crashes"] += 1
        statuses = second.wait()
        if clean and any(statuses):
            raise Failure(f"statuses of the second pipeline: {second.state()}")
        rig.until(lambda: flow.watch.groups[-1][0] == "Stable" and
                  len(flow.watch.groups[-1][1]) == 1, "a group of one")
    return flow.finish()


@case("rebalance-stalled")
def rebalance_stalled(rig):
    """The sink hangs while a partition is to be given away: after --drain it goes undrained, its records come
    again from the new owner, and what is reported late counts for nothing."""
    flow = Flow(rig, rate=2000, source=["--drain", "1s"])
    second = Unit(rig, flow.unit.members, env=flow.unit.env)
    second.env["EVPIPE_ACK"] = rig.path("ack2")
    for _ in range(rig.pick(1, 5, 50)):
        flow.start()
        flow.unit.signal(signal.SIGSTOP, SINK)
        rig.until_steady(flow.delivered, "a stalled pipeline")
        second.start()
        before = flow.delivered()
        rig.until(lambda b=before: flow.delivered() > b, "progress of the second")
        flow.unit.signal(signal.SIGCONT, SINK)
        flow.facts["undrained"] = flow.facts.get("undrained", 0) + 1
        rig.doze(0.5, 1)
        second.processes[0].terminate()
        if any(second.wait()):
            raise Failure(f"statuses of the second pipeline: {second.state()}")
        flow.unit.processes[0].terminate()
        flow.unit.wait()
    return flow.finish()
