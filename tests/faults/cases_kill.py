# SPDX-License-Identifier: ISC
"""SIGKILL: of each member, of all, at random times under load; after a stall; in a loop. Repeats are
bounded by a window for each kill."""
import signal
import sys
import time

import wire
from rig import UNCUT, Failure, Flow, case, signal_pid

SOURCE, FILTER, SINK = 0, 1, -1
# Holds records back for their time; what a start finds is older, and catches up.
REPLAY = [["evreplay", "--speed", "5", "--max-gap", "100ms"]]


@case("kill-source", who=SOURCE)
@case("kill-filter", who=FILTER)
@case("kill-sink", who=SINK)
@case("kill-all", who=None)
@case("kill-source-redis", who=SOURCE, sink="redis", scales=UNCUT)
@case("kill-sink-redis", who=SINK, sink="redis")
@case("kill-replay", who=FILTER, middle=REPLAY)
@case("kill-replay-source", who=SOURCE, middle=REPLAY, scales=UNCUT)
@case("kill-replay-all", who=None, middle=REPLAY, scales=UNCUT)
@case("kill-source-evpipe", who=SOURCE, how="evpipe")
@case("kill-filter-evpipe", who=FILTER, how="evpipe", scales=UNCUT)
@case("kill-sink-evpipe", who=SINK, how="evpipe", scales=UNCUT)
def kill(rig, who, **options):
    flow = Flow(rig, **options)
    for _ in range(rig.pick(5, 25, 250)):
        flow.start()
        rig.doze(0, 0.6)
        statuses = flow.crash(*[] if who is None else [who])
        check_survivors(flow, statuses, who)
    return flow.finish()


def check_survivors(flow, statuses, who):
    """Who is left without an orderly end does not say that all is well."""
    if flow.unit.how == "evpipe":
        if statuses[0] == 0:
            raise Failure("evpipe says 0 after a member was killed")
        return
    for place, name in ((0, "the source"), (len(statuses) - 1, "the sink")):
        if statuses[place] == 0 and who is not None:
            raise Failure(f"{name} ended with 0 after a kill: {flow.unit.state()}")


@case("kill-txn")
def kill_txn(rig):
    """Exactly once from Kafka to Kafka: whoever is killed, nothing is seen twice."""
    flow = Flow(rig, sink_options=["--txn", rig.name])
    for _ in range(rig.pick(5, 25, 250)):
        flow.start()
        rig.doze(0, 0.6)
        flow.crash(rig.random.choice([SOURCE, FILTER, SINK]))
    return flow.finish(may_repeat=0)


@case("kill-burst")
def kill_burst(rig):
    """At full speed: what is delivered and not yet committed counts for the window too."""
    flow = Flow(rig, rate=0, preload=rig.pick(150_000, 500_000, 5_000_000))
    for _ in range(rig.pick(3, 10, 100)):
        flow.start()
        rig.doze(0, 0.3)
        flow.crash(SOURCE)
    return flow.finish()


@case("kill-at-start")
def kill_at_start(rig):
    """Before it has done anything, or while it joins the group."""
    flow = Flow(rig, rate=1000)
    for _ in range(rig.pick(6, 30, 200)):
        flow.unit.start()
        rig.doze(0, 0.8)
        flow.crash(rig.random.choice([SOURCE, FILTER, SINK]))
    return flow.finish()


def stall(flow, loses=False):
    """Stops the sink, and waits until nothing moves any more: pipes and window are full. A control is
    given the time to commit what has not arrived."""
    flow.unit.signal(signal.SIGSTOP, SINK)
    flow.until_steady(flow.delivered, "a stalled pipeline")
    if loses:
        flow.rig.until(lambda: flow.position() * 0.9 > flow.delivered() + 50,
                       "the commit of what was not delivered")
    else:
        flow.until_steady(flow.position, "a position that rests", 2.5)


@case("stall-kill")
def stall_kill(rig):
    flow = Flow(rig, rate=5000, how="sh")
    for _ in range(rig.pick(2, 5, 20)):
        flow.start()
        stall(flow)
        flow.crash()
    return flow.finish()


@case("control-written")
def control_written(rig):
    """A control: --commit written loses what is in the pipe, and the checker sees it."""
    flow = Flow(rig, rate=5000, commit="written")
    for _ in range(rig.pick(1, 5, 20)):
        flow.start()
        stall(flow, loses=True)
        flow.crash()
    return flow.finish(must_lose=True)


@case("control-kcat")
def control_kcat(rig):
    """A control: the incumbent, kcat -G | jq | kcat -P, with its commits every 500 ms. The same fault, the
    same checker."""
    flow = Flow(rig, rate=5000, members=lambda f: [
        ["kcat", "-G", f.group, "-q", "-u", "-b", rig.brokers, "-X", "session.timeout.ms=1500",
         "-X", "heartbeat.interval.ms=500", "-X", "auto.offset.reset=earliest",
         "-X", "auto.commit.interval.ms=500", f.input],
        ["jq", "-c", "--unbuffered", "."],
        ["kcat", "-P", "-b", rig.brokers, "-t", f.output, "-p", "0"]],
        facts={"bytes": False, "ordered": False})
    for _ in range(rig.pick(1, 5, 20)):
        flow.start()
        stall(flow, loses=True)
        flow.crash()
    flow.unit.start()
    flow.feed_end(stop=True)
    flow.until_steady(lambda: (flow.delivered(), flow.position()), "the end", 3)
    flow.unit.signal(signal.SIGTERM, SOURCE)
    flow.unit.wait()
    return flow.judge(must_lose=True)


@case("crash-loop")
def crash_loop(rig):
    """evpipe --restart, and a member killed every few hundred ms. It is to make progress."""
    flow = Flow(rig, how="evpipe", options=["--restart"])
    flow.unit.start()
    end = time.monotonic() + rig.pick(12, 60, 300)
    while time.monotonic() < end:
        rig.doze(0.3, 2)
        pids = flow.unit.pids()
        if pids:
            signal_pid(rig.random.choice(pids), signal.SIGKILL)
            flow.facts["crashes"] += 1
        if flow.unit.ended():
            raise Failure("evpipe --restart has ended")
    return flow.finish()


@case("zombie", leaves=False)
@case("zombie-empty", leaves=True)
def zombie(rig, leaves):
    """The source is stopped for longer than its session lasts; another takes over (and leaves again, so that
    the group is empty); the old one goes on. What it holds then counts for nothing."""
    flow = Flow(rig, rate=2000)
    flow.start()
    flow.unit.signal(signal.SIGSTOP, SOURCE)
    kafka = wire.Kafka(rig.brokers)
    rig.until(lambda: not kafka.group(flow.group)[1], "the group without the stopped member")
    flow.facts["undrained"] += 1
    old, flow.unit = flow.unit, type(flow.unit)(
        rig, flow.unit.members, tag="b", env={"EVPIPE_ACK": rig.path("ack2"), **flow.unit.env})
    flow.start()
    rig.doze(0.5, 1)
    if leaves:
        flow.stop()
    old.signal(signal.SIGCONT, SOURCE)
    rig.doze(2, 3)
    # Both are members now, or the old one has ended by itself.
    if not old.ended():
        old.processes[0].terminate()
    old.wait()
    flow.facts["undrained"] += 1
    return flow.finish()


@case("soak", scales=UNCUT)
def soak(rig):
    """Members at random, one to three of them at once, for long: 1,000 kills over 10,000,000 records."""
    flow = Flow(rig, rate=rig.pick(3000, 3000, 5000))
    kills, records = rig.pick((5, 0), (20, 0), (1000, 10_000_000))
    done = 0
    while not rig.late() and (done < kills or sum(flow.input_ends().values()) < records):
        flow.start()
        if done < kills:
            rig.doze(0, 2)
            flow.crash(*rig.random.sample([SOURCE, FILTER, SINK], rig.random.randint(1, 3)))
            done += 1
        else:
            rig.doze(10, 10)
            flow.stop()
        if done % 20 == 0:
            print(f"# {done} kills, {sum(flow.input_ends().values())} records, {flow.position()} "
                  f"committed, {flow.delivered()} delivered", file=sys.stderr)
    return flow.finish()
