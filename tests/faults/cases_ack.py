# SPDX-License-Identifier: ISC
"""The acknowledgement socket: blocked, cut, fed garbage, and by those who may not be there."""
import os
import re
import signal
import socket

from proxy import Proxy
from rig import Failure, Flow, case

SOURCE, FILTER, SINK = 0, 1, -1


class Client:
    """Somebody at the socket."""

    def __init__(self, flow, hello=None):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(60)
        try:
            self.sock.connect(flow.rig.path("ack"))
        except OSError as error:
            raise Failure(f"the socket takes nobody: {error}, {flow.unit.state()}") from error
        if hello:
            self.send(f"hello {hello}\n".encode())

    def send(self, data):
        """What the other side has closed takes no more."""
        try:
            self.sock.sendall(data)
            return True
        except OSError:
            return False

    def read_all(self):
        """Until the other side closes."""
        data = b""
        try:
            while piece := self.sock.recv(65536):
                data += piece
        except OSError:
            pass
        return data

    def line(self):
        """The next line, or what came before the end."""
        data = b""
        while not data.endswith(b"\n"):
            try:
                piece = self.sock.recv(1)
            except OSError:
                break
            if not piece:
                break
            data += piece
        return data

    def run(self):
        """The source's greeting."""
        data = self.line()
        if not re.fullmatch(rb"run [0-9a-f]{16}\n", data):
            raise Failure(f"no greeting but {data!r}")
        return data.split()[1].decode()


def garbage(rig, run, settled):
    """Lines that must not move a position. The sink holds the numbers above those that are settled, and
    a filter has no say about delivery; numbers above what was emitted are nobody's."""
    low, never = settled + rig.random.randint(1, 200), rig.random.randint(10**7, 2**63)
    return rig.random.choice([
        lambda: os.urandom(rig.random.randint(1, 300)) + b"\n",
        lambda: b"\0" * 10 + b"\n",
        lambda: b"\n\n\n",
        lambda: f"final {run} {low}\n",
        lambda: f"final {run} {settled + 1}-{low}\n",
        lambda: f"offsets {run} {low}\n",
        lambda: f"idle\nfinal {run} {low}\n",
        lambda: f"final {rig.random.getrandbits(64):016x} {settled + 1}-{low}\n",
        lambda: f"drop {rig.random.getrandbits(64):016x} {settled + 1}-{low}\n",
        lambda: f"drop {run} {never}\n",
        lambda: f"drop {run} {low}-{never}\n",
        lambda: f"drop {run} {never}-{low}\n",
        lambda: f"drop {run} 0\n",
        lambda: f"drop {run} -1\n",
        lambda: f"drop {run} {2**64 + low}\n",
        lambda: f"drop {run} {low}.0/2\n",
        lambda: f"drop {run} {low}.3/2\n",
        lambda: f"drop {run} {low}.1/0\n",
        lambda: f"drop {run} {low}.1/1.1/2\n",
        lambda: f"drop {run} {low}.1/2,{low + 1}\n",
        lambda: f"drop {run} {low},\n",
        lambda: f"drop {run} ,{low}\n",
        lambda: f"drop {run} 0x{low:x}\n",
        lambda: f"drop {run} {low}e0\n",
        lambda: f"drop {run}\n",
        lambda: f"drop {run} \n",
        lambda: f"drop\t{run}\t{low}\n",
        lambda: f"drop {run}:{low}\n",
        lambda: f"DROP {run} {low}\n",
        lambda: f"drop {run} {low}",
        lambda: f"drop {run[:-1]} {low}\n",
        lambda: f"end {run} {low}\n",
        lambda: f"abort {run}\n",
        lambda: f"run {run}\n",
        lambda: f"hello again 1 sink\nfinal {run} {settled + 1}-{low}\n",
        lambda: f"hello again 1 txn\nfinal {run} {settled + 1}-{low}\n",
        lambda: "bye\n" + f"final {run} {low}\n",
        lambda: b"drop " + b"x" * 1_000_000,
    ])()


@case("ack-garbage")
def ack_garbage(rig):
    """While the sink hangs nothing may be committed, whatever is said; afterwards all goes on, and nothing
    is repeated."""
    flow = Flow(rig, session_ms=10000)
    flow.start()
    flow.unit.signal(signal.SIGSTOP, SINK)
    flow.until_steady(flow.delivered, "a stalled pipeline")
    flow.until_steady(flow.position, "a position that rests", 5)
    before = flow.position()
    for _ in range(rig.pick(300, 2000, 10000)):
        client = Client(flow, rig.random.choice(
            [None, "evsel 1 filter", "evsel 1 filter", "kwrite 1 sink", "kwrite 1 txn",
             "nobody 1 king", "x"]))
        try:
            run = client.run()
        except (OSError, Failure):
            run = "0123456789abcdef"
        line = garbage(rig, run, before)
        client.send(line if isinstance(line, bytes) else line.encode())
        if rig.random.random() < 0.2:
            client.sock.settimeout(1)
            client.read_all()
        client.sock.close()
        if flow.unit.ended():
            raise Failure(f"garbage ended the pipeline: {line[:200]!r}")
    flow.until_steady(flow.position, "a position that rests", 5)
    if flow.position() != before:
        raise Failure(f"garbage moved the position from {before} to {flow.position()}")
    flow.unit.signal(signal.SIGCONT, SINK)
    return flow.finish()


@case("ack-unread")
def ack_unread(rig):
    """Somebody is connected who neither reads nor says anything, another only half a line."""
    flow = Flow(rig, session_ms=10000)
    flow.start()
    silent, half = Client(flow), Client(flow, "evsel 1 filter")
    half.send(b"drop 01234")
    before = flow.position()
    rig.until(lambda: flow.position() > before + 2000, "progress beside silent ones")
    if flow.unit.ended():
        raise Failure("a silent client ended the pipeline")
    flow.through()
    silent.sock.close()
    half.sock.close()
    return flow.finish()


def sink_behind_proxy(flow):
    proxy = Proxy(flow.rig.path("ack"), flow.rig.path("ack-proxy"))
    flow.unit.ack[len(flow.unit.members) - 1] = proxy.where
    return proxy


@case("ack-blocked")
def ack_blocked(rig):
    """The sink's reports do not come through for a while: delivery goes on as far as the window reaches, and
    nothing of it is committed."""
    flow = Flow(rig, session_ms=10000, rate=2000)
    proxy = sink_behind_proxy(flow)
    flow.start()
    for _ in range(rig.pick(2, 5, 50)):
        proxy.silent = True
        flow.until_steady(flow.delivered, "a full window")
        position, delivered = flow.position(), flow.delivered()
        if delivered < position * 0.85:
            raise Failure(f"committed {position}, delivered {delivered}")
        proxy.silent = False
        rig.until(lambda p=position: flow.position() > p, "progress afterwards")
    flow.through()
    # Behind a proxy `end` may come later than the end of input, so the sink may say 111.
    flow.stop(expected=None)
    return flow.judge_all()


@case("ack-cut")
def ack_cut(rig):
    """The sink's connection is cut: it can never come back, so the pipeline ends, and is started again."""
    flow = Flow(rig)
    proxy = sink_behind_proxy(flow)
    for _ in range(rig.pick(3, 10, 100)):
        flow.start()
        rig.doze(0, 0.5)
        proxy.cut()
        flow.facts["crashes"] += 1
        statuses = flow.unit.wait()
        if statuses[SOURCE] != 111 or statuses[SINK] != 111:
            raise Failure(f"statuses after a cut: {flow.unit.state()}")
    flow.unit.ack.clear()
    return flow.finish()


@case("ack-second-sink")
def second_sink(rig):
    """A second sink is sent away, and the first does not notice."""
    flow = Flow(rig, session_ms=10000)
    flow.start()
    for _ in range(20):
        client = Client(flow, "kwrite 1 sink")
        answer = client.line()
        if answer.startswith(b"run "):
            answer = client.line()
        if not answer.startswith(b"stop "):
            raise Failure(f"a second sink was told {answer!r}")
    return flow.finish()


@case("ack-second-source")
def second_source(rig):
    """A source whose socket is another's ends with 100 and harms nothing."""
    flow = Flow(rig, session_ms=10000)
    flow.start()
    other = rig.spawn("other", *flow.source, stdout=-3, env={
        **flow.unit.env, "EVPIPE_ACK": rig.path("ack")})
    rig.until(lambda: other.poll() is not None, "the end of the second source")
    if other.returncode != 100:
        raise Failure(f"a second source ended with {other.returncode}")
    return flow.finish()


@case("no-sink")
def no_sink(rig):
    """Without a sink at the socket the source emits nothing, commits nothing and ends with 100."""
    flow = Flow(rig, rate=0, preload=1000, middle=[], sink=["cat"])
    flow.unit.start()
    statuses = flow.unit.wait()
    rig.until(flow.watch.try_look, "the committed position")
    if statuses[0] != 100 or flow.position():
        raise Failure(f"without a sink: {flow.unit.state()}, committed {flow.position()}")
    return flow.judge(may_stall=True)


@case("ack-unsent", who=SINK)
@case("ack-unsent-filter", who=FILTER)
def ack_unsent(rig, who):
    """The kernel does not take a report: it is gone, so the pipeline ends, and is started again."""
    flow = Flow(rig)
    flow.unit.wrap[who % 3] = ["strace", "-D", "-f", "-qq", "-o", rig.path("strace.log"), "-e",
                               "trace=sendto", "-e", "inject=sendto:error=ENOBUFS:when=3+"]
    flow.unit.start()
    statuses = flow.unit.wait()
    if statuses[SOURCE] != 111:
        raise Failure(f"statuses after a report was lost: {flow.unit.state()}")
    flow.facts["crashes"] += 1
    return flow.finish()
