# SPDX-License-Identifier: ISC
"""Servers, networks and readers that are away or slow, and rebalances."""
import contextlib
import ctypes
import json
import os
import re
import signal
import subprocess
import sys
import time

import wire
from proxy import Proxy
from rig import KAFKA, UNCUT, Failure, Flow, Unit, case, rss_kb

SOURCE, FILTER, SINK = 0, 1, -1
POLL_MS = 4000
THROTTLE = """
import os, sys, time
while data := os.read(0, 2048):
    time.sleep(len(data) / float(sys.argv[1]))
    os.write(1, data)
"""


def progress(flow):
    """Until something more is delivered, or nothing is left."""
    before = flow.delivered_now()
    flow.rig.until(lambda: flow.delivered() > before or flow.unit.ended() or
                   flow.position() == flow.next_id, "progress afterwards")


def other_unit(flow):
    """Another pipeline of the same group."""
    return Unit(flow.rig, flow.unit.members, tag="b",
                env={"EVPIPE_ACK": flow.rig.path("ack2"), **flow.unit.env})


def no_rebalance(flow):
    if flow.watch.rebalances():
        raise Failure(f"a rebalance: {flow.watch.groups}")


@case("slow-reader")
def slow_reader(rig):
    """A reader of 100 kB a second, for longer than the poll interval: the memory of source and sink is flat
    and the source stays in the group. Prints each one's peak after the first third and at the end."""
    limit_ms = rig.pick(POLL_MS, POLL_MS, 5 * POLL_MS)
    flow = Flow(rig, middle=[[sys.executable, "-c", THROTTLE, "100e3"]], rate=2000, window=10000,
                session_ms=limit_ms, poll_ms=limit_ms)
    flow.start()
    seconds, members = rig.pick(12, 30, 600), {"source": SOURCE, "sink": SINK}

    def peaks(for_s):
        end = time.monotonic() + for_s
        while time.monotonic() < end:
            if flow.unit.ended():
                raise Failure(f"the pipeline ended by itself: {flow.unit.state()}")
            time.sleep(seconds / 20)
            say = " ".join(f"{n} {rss_kb(flow.unit.pid(w))} kB," for n, w in members.items())
            print(f"# {say} {flow.delivered()} delivered, {flow.watch.rebalances()} rebalances",
                  file=sys.stderr)
        return {n: rss_kb(flow.unit.pid(w), "VmHWM") for n, w in members.items()}

    # What librdkafka fetches ahead has its own limit, which the first third may still be filling.
    early = peaks(seconds / 3)
    late = peaks(seconds * 2 / 3)
    figures = " ".join(f"{n}_kB={early[n]}..{late[n]}" for n in members)
    for name in members:
        if late[name] > early[name] * 1.1 + 17000:
            raise Failure(f"the {name}'s memory grows: {figures}")
    no_rebalance(flow)
    figures += f" delivered={flow.delivered_now()} rebalances={flow.watch.rebalances()}"
    flow.crash()
    flow.unit.members = [flow.source, flow.unit.members[-1]]
    return flow.finish() + f" {figures} ({seconds} s)"


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
        flow.facts["undrained"] += 1
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
        flow.facts["undrained"] += 1
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


@case("term-sink-away", sink="redis")
@case("term-broker-away", sink="kafka")
@case("retry-sink-away", sink="redis", retries=True)
@case("retry-broker-away", sink="kafka", retries=True)
def stop_while_away(rig, sink, retries=False):
    """The sink's server is away when one signal comes to all members: none of them waits for it for ever. With
    --retry-for the sink gives up by itself. What was not delivered is read again."""
    flow = Flow(rig, sink=sink, session_ms=POLL_MS, source=["--drain", "1s"],
                sink_options=["--retry-for", "4s"] if retries else [])
    proxy = flow.redis.proxy if sink == "redis" else sink_proxy(rig, flow)
    for _ in range(rig.pick(1, 3, 20)):
        flow.start()
        proxy.leave()
        if not retries:
            flow.until_steady(flow.delivered, "a pipeline whose sink's server is away")
            flow.unit.signal(signal.SIGTERM)
        statuses = flow.unit.wait()
        if statuses[0] != 111 or statuses[-1] != (99 if retries else 111):
            raise Failure(f"statuses {statuses} though the sink's server was away")
        flow.facts["crashes"] += 1
        proxy.back()
    flow.unit.start()
    text = flow.finish()
    if not re.search("[1-9][0-9]* records? w.* not delivered.*; the first is line .*topic", flow.errors()):
        raise Failure("the sink did not say what it has not delivered")
    return text


@case("net-reset", side="both")
@case("net-slow", side="both", rate=300000)
@case("net-slice", side="sink", bite=7, rate=50000, scales=UNCUT)
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


@case("broker-kill", how=["-9"], slow=True)
@case("broker-restart", how=[], scales=UNCUT)
def broker(rig, how):
    """The broker dies and comes back, with source and sink on it."""
    rig.own_kafka()
    flow = Flow(rig, rate=0, preload=rig.pick(20000, 100000, 500000), session_ms=300000,
                source=["--rate", "3000"])
    flow.start()
    for _ in range(rig.pick(1, 3, 10)):
        rig.doze(0.2, 1)
        rig.stop_kafka(*how)
        rig.doze(*rig.pick((1, 2), (2, 8), (5, 60)))
        rig.start_kafka()
        progress(flow)
    return flow.finish()


STRIP = 'if (.payload | fromjson | .id) % 997 == 5 then del(.key) else . end'


@case("batch-refused", config="cleanup.policy=compact", bad=True)
@case("batch-limit", config="max.message.bytes=9000", bad=False)
def batch_refused(rig, config, bad):
    """The output's brokers refuse batches, for records without a key or for their size, since the limit is
    lowered meanwhile. Only those without a key are dead letters, and the sink is killed in between."""
    letters = rig.path("letters")
    flow = Flow(rig, middle=[["jq", "-c", "--unbuffered", STRIP]], rate=0, window=5000,
                preload=rig.pick(30000, 200000, 1000000), source=["--rate", "6000"],
                sink_options=["-q", "-X", f"linger.ms={50 if bad else 1}",
                              "--dead-letter", letters])
    topics = [os.path.join(KAFKA, "topics"), rig.brokers, "set", flow.output]
    if bad:
        rig.run(*topics, config)
    flow.dead_file = letters
    flow.start()
    if not bad:
        rig.run(*topics, config)
    for _ in range(rig.pick(2, 5, 50)):
        rig.doze(0.2, 1)
        flow.crash(SINK)
        flow.start()
    flow.through()
    ids = {json.loads(line)["record"]["payload"] for line in open(letters, encoding="utf-8")} \
        if os.path.exists(letters) else set()
    ids = {json.loads(p)["id"] for p in ids}
    wanted = set(range(5, flow.next_id, 997)) if bad else set()
    if ids != wanted:
        raise Failure(f"dead letters of {len(ids - wanted)} good records, and of {len(wanted - ids)} "
                      f"bad ones there is none")
    flow.stop(expected=None)
    return flow.judge_all() + f" letters={len(ids)}"


@case("replicas", slow=True)
def not_enough_replicas(rig):
    """One of two brokers dies: the output has too few replicas, and leaders move. Kafka's acks=all waits, and
    so does everything; with the broker back all goes on."""
    rig.own_kafka()
    # The first broker keeps the groups' positions: they have no second replica.
    wire.Kafka(rig.brokers).coordinator("anybody")
    other = rig.second_broker()
    rig.until(lambda: wire.Kafka(rig.brokers.split(",")[1]).answers(), "the second broker answers")
    flow = Flow(rig, rate=0, preload=rig.pick(10000, 50000, 200000), session_ms=300000, replicas=2,
                source=["--rate", "1000"])
    said = []

    def unconfirmed():
        """librdkafka may take a batch for written that never was; kwrite does not, says so, and ends."""
        if flow.unit.ended():
            said.append(flow.errors().count("no broker has confirmed"))
        return flow.unit.ended() and said[-1] > max(said[:-1], default=0)

    flow.start()
    for _ in range(rig.pick(1, 3, 20)):
        other.kill()
        other.wait()
        flow.until_steady(flow.delivered, "an output without its replicas", 2)
        other = rig.second_broker()
        progress(flow)
        if unconfirmed():
            flow.facts["crashes"] += 1
            flow.start()
    return flow.finish(restart=unconfirmed)


@case("leaderless", slow=True)
def leaderless(rig):
    """One partition of the output has no leader: what goes to the other one is acknowledged and committed."""
    rig.own_kafka()
    wire.Kafka(rig.brokers).coordinator("anybody")
    source = rig.topic("in")  # of the first broker alone; the output is on both
    other = rig.second_broker()
    rig.until(lambda: wire.Kafka(rig.brokers.split(",")[1]).answers(), "the second broker answers")
    flow = Flow(rig, rate=0, window=20000, session_ms=300000)
    flow.input = source

    def leaders(topic):
        text = rig.run("kcat", "-L", "-J", "-b", rig.brokers, "-t", topic)
        return [p["leader"] for p in json.loads(text)["topics"][0]["partitions"]]

    def committed(partition):
        # The watch sees nothing while it cannot see all of the output.
        return wire.Kafka(rig.brokers).committed(flow.group, flow.input, 2).get(partition, 0)

    while sorted(leaders(flow.output)) != [1, 2]:
        flow.output = rig.topic("out")
    here, there = leaders(flow.output).index(1), leaders(flow.output).index(2)
    flow.source[-1] = flow.input
    flow.unit.members[-1] = ["kwrite", "-t", flow.output, "-p", "keep"]
    flow.feed(300)
    flow.start()
    for _ in range(rig.pick(1, 3, 10)):
        other.kill()
        other.wait()
        flow.until_steady(lambda: committed(there), "a partition without a leader", 2)
        before = committed(here), committed(there)
        rig.until(lambda b=before: committed(here) > b[0] + 300,
                  "the commits of the partition that has a leader")
        if committed(there) != before[1]:
            raise Failure("the partition without a leader was committed")
        other = rig.second_broker()
        progress(flow)
    text = flow.finish()
    if "swallowed" in flow.errors():
        raise Failure("a record that waits for its leader was told as swallowed")
    return text


class Mock:
    """librdkafka's mock cluster of three brokers, in this process: it gives errors on demand, and moves
    leaders and coordinators. It does not look at the sequences of idempotent producers, so a librdkafka
    that writes to it may take a lost batch for delivered: the output is a real Kafka's."""
    PRODUCE, FETCH, METADATA, COMMIT = 0, 1, 3, 8
    OFFSET_FETCH, COORDINATOR, JOIN, HEARTBEAT = 9, 10, 11, 12
    # Errors a broker may really answer such a request with, and which pass.
    ERRORS = {FETCH: (6, 3, -195), METADATA: (5, -195), COMMIT: (14, 15, 16, -195),
              OFFSET_FETCH: (14, 16), COORDINATOR: (14, 15), HEARTBEAT: (14, 15, 16, 27),
              JOIN: (14, 15, 16)}

    def __init__(self):
        lib = self.lib = ctypes.CDLL("librdkafka.so.1")
        for name in ("conf_new", "new", "handle_mock_cluster"):
            getattr(lib, "rd_kafka_" + name).restype = ctypes.c_void_p
        lib.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
        error = ctypes.create_string_buffer(512)
        conf = ctypes.c_void_p(lib.rd_kafka_conf_new())
        lib.rd_kafka_conf_set(conf, b"test.mock.num.brokers", b"3", error, 512)
        lib.rd_kafka_conf_set(conf, b"log_level", b"0", error, 512)
        client = ctypes.c_void_p(lib.rd_kafka_new(0, conf, error, 512))
        self.cluster = ctypes.c_void_p(lib.rd_kafka_handle_mock_cluster(client))
        self.brokers = lib.rd_kafka_mock_cluster_bootstraps(self.cluster).decode()

    def call(self, name, *args):
        error = getattr(self.lib, "rd_kafka_mock_" + name)(self.cluster, *args)
        if error:
            raise Failure(f"the mock cluster: {name}: {error}")

    def topic(self, name):
        self.call("topic_create", name.encode(), 2, 3)

    def errors(self, api, codes):
        self.lib.rd_kafka_mock_push_request_errors_array(
            self.cluster, ctypes.c_short(api), ctypes.c_size_t(len(codes)),
            (ctypes.c_int * len(codes))(*codes))


@case("mock-errors", slow=True)
def mock_errors(rig):
    """Errors of the source's brokers in random scripts, slow ones, coordinators and leaders that move."""
    mock = Mock()
    flow = Flow(rig, rate=0, preload=rig.pick(10000, 100000, 500000), mock=mock, session_ms=10000,
                source=["--rate", "1000"])
    flow.start()
    for _ in range(rig.pick(20, 200, 1000)):
        rig.doze(0, 0.4)
        # Each may cost the assignment.
        flow.facts["undrained"] += 1
        if flow.unit.ended():
            flow.facts["crashes"] += 1
            flow.unit.start()
        dice = rig.random.random()
        broker = rig.random.randint(1, 3)
        if dice < 0.6:
            api = rig.random.choice(list(mock.ERRORS))
            mock.errors(api, rig.random.choices(mock.ERRORS[api], k=rig.random.randint(1, 4)))
        elif dice < 0.75:
            mock.call("coordinator_set", b"group", flow.group.encode(), broker)
        elif dice < 0.9:
            mock.call("partition_set_leader", flow.input.encode(), rig.random.randint(0, 1), broker)
        else:
            mock.call("broker_set_rtt", broker, rig.random.choice([0, 100, 500]))
    for broker in (1, 2, 3):
        mock.call("broker_set_rtt", broker, 0)
    return flow.finish(restart=lambda: True)


@case("mock-produce")
def mock_produce(rig):
    """Batches that a broker has not written, though it accepts what comes after them, as a new leader does that
    has never heard of the producer: librdkafka takes them for written. kwrite says 0 only when all are there."""
    said, runs = 0, rig.pick(8, 50, 500)
    for n in range(runs):
        mock, topic = Mock(), f"out{n}"
        mock.topic(topic)
        writer = rig.spawn("kwrite", "kwrite", "--raw", "-b", mock.brokers, "-t", topic, "-p", "0",
                           "-X", "linger.ms=0", stdin=subprocess.PIPE)

        def write(lines, wanted=writer):
            with contextlib.suppress(BrokenPipeError):  # it may have ended already
                wanted.stdin.write(lines)
                wanted.stdin.flush()

        def there(name=topic, brokers=mock.brokers):
            return len(rig.run("kcat", "-C", "-e", "-q", "-b", brokers, "-t", name).split())

        # It knows its brokers when the first record is there; then the batches overtake one another.
        write(b"x\n")
        rig.until(there, "the first record")
        mock.errors(Mock.PRODUCE, rig.random.choices((0, 7), k=7))
        for broker in (1, 2, 3):
            mock.call("broker_set_rtt", broker, 200)
        for _ in range(10):
            write(b"x\n" * 10)
            time.sleep(0.01)
        with contextlib.suppress(BrokenPipeError):
            writer.stdin.close()
        rig.until(lambda w=writer: w.poll() is not None, "the end of kwrite")
        said += writer.returncode == 111
        if writer.returncode not in (0, 111) or writer.returncode == 0 and there() != 101:
            raise Failure(f"kwrite says {writer.returncode}, and {there()} of 101 are there")
    with open(rig.path("kwrite.err"), encoding="utf-8") as file:
        if said != file.read().count("no broker has confirmed"):
            raise Failure("kwrite ended for another reason")
    return f"lost=0 runs={runs} said={said}"


@case("mock-leave")
def mock_leave(rig):
    """The coordinator refuses the last commits before the group is left, for a while: they are made again, and
    a clean stop is clean."""
    mock = Mock()
    flow = Flow(rig, rate=0, preload=4000, mock=mock, session_ms=10000, source=["--rate", "2000"])
    for _ in range(rig.pick(1, 5, 50)):
        flow.start()
        rig.doze(0, 0.3)
        mock.errors(Mock.COMMIT, [rig.random.choice((14, 15, 16))] * 8)
        flow.stop()
    return flow.finish()


@case("rebalance", strategy="range,roundrobin")
@case("rebalance-cooperative", strategy="cooperative-sticky", slow=True)
@case("rebalance-kill", strategy="range,roundrobin", how=signal.SIGKILL)
@case("rebalance-kill-cooperative", strategy="cooperative-sticky", how=signal.SIGKILL, scales=UNCUT)
def rebalance(rig, strategy, how=signal.SIGTERM):
    """A second pipeline joins the group and leaves it, again and again, under load. Who leaves in good
    order causes no repeats. But librdkafka 2.0 loses its generation when a commit is answered while it
    joins anew in cooperation, and with it the partitions: then a rebalance repeats up to a window."""
    clean, cooperative = how == signal.SIGTERM, strategy.startswith("cooperative")
    flow = Flow(rig, rate=2000, session_ms=10000 if clean else 1500,
                source=["-X", "partition.assignment.strategy=" + strategy])
    second = other_unit(flow)
    flow.start()
    for _ in range(rig.pick(5 if clean else 3, 20, 100)):
        flow.facts["undrained"] += 2 * cooperative
        second.start()
        rig.until(lambda: flow.watch.groups[-1][0] == "Stable" and
                  len(flow.watch.groups[-1][1]) == 2, "a group of two")
        before = flow.delivered_now()
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
    second = other_unit(flow)
    # Its own stop is clean, however slow the machine is.
    second.members = [[{"1s": "1m"}.get(w, w) for w in second.members[0]], *second.members[1:]]
    for _ in range(rig.pick(1, 5, 50)):
        flow.start()
        flow.unit.signal(signal.SIGSTOP, SINK)
        flow.until_steady(flow.delivered, "a stalled pipeline")
        second.start()
        before = flow.delivered_now()
        rig.until(lambda b=before: flow.delivered() > b, "progress of the second")
        flow.unit.signal(signal.SIGCONT, SINK)
        flow.facts["undrained"] += 1
        rig.doze(0.5, 1)
        second.processes[0].terminate()
        if any(second.wait()):
            raise Failure(f"statuses of the second pipeline: {second.state()}")
        flow.unit.processes[0].terminate()
        flow.unit.wait()
    return flow.finish()
