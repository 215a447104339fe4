# SPDX-License-Identifier: ISC
"""Clean stops: SIGTERM to one, to all, Ctrl-C at a terminal; SIGSTOP and SIGCONT. Nothing is repeated
after a clean stop."""
import os
import pty
import signal
import subprocess
import time

from rig import UNCUT, Failure, Flow, case

SOURCE, FILTER, SINK = 0, 1, -1


def expect(flow, wanted, statuses):
    if any(s not in wanted for s in statuses):
        raise Failure(f"statuses {statuses} after a stop: {flow.unit.state()}")


@case("term-source", to=[SOURCE])
@case("term-all", to=[])
@case("term-evpipe", to=None, how="evpipe")
@case("term-all-evpipe", to=[], how="evpipe", scales=UNCUT)
@case("term-source-redis", to=[SOURCE], sink="redis")
def term(rig, to, commit=None, **options):
    flow = Flow(rig, session_ms=10000, commit=commit, **options)
    for _ in range(rig.pick(3, 10, 50)):
        flow.start()
        rig.doze(0, 0.5)
        if to is None:
            flow.unit.processes[0].terminate()
        else:
            flow.unit.signal(signal.SIGTERM, *to)
        expect(flow, [0], flow.unit.wait())
    return flow.finish()


@case("term-sink", to=SINK)
@case("term-filter", to=FILTER)
def term_other(rig, to):
    """A filter or a sink ignores the first one while its input is open: the pipeline goes on."""
    flow = Flow(rig, session_ms=10000)
    flow.start()
    flow.unit.signal(signal.SIGTERM, to)
    before = flow.position()
    rig.until(lambda: flow.position() > before or flow.unit.ended(), "progress after a SIGTERM")
    return flow.finish()


@case("term-at-start")
def term_at_start(rig):
    """Before or while the source joins its group. A program that has no handler yet dies of it: so this
    is no clean stop, but nothing is lost."""
    flow = Flow(rig, rate=1000)
    for _ in range(rig.pick(5, 20, 100)):
        flow.unit.start()
        rig.doze(0, 0.8)
        flow.unit.signal(signal.SIGTERM, SOURCE)
        if any(flow.unit.wait()):
            flow.facts["crashes"] += 1
    return flow.finish()


@case("term-twice")
def term_twice(rig):
    """The second one ends at once, whatever is open."""
    flow = Flow(rig)
    for _ in range(rig.pick(3, 10, 50)):
        flow.start()
        flow.unit.signal(signal.SIGTERM)
        rig.doze(0, 0.05)
        flow.crash(how=signal.SIGTERM)
    return flow.finish()


@case("term-stalled")
def term_stalled(rig):
    """The sink hangs when the source is to stop: after --drain the source says what is open, and with
    which status."""
    flow = Flow(rig, source=["--drain", "1s"])
    flow.start()
    flow.unit.signal(signal.SIGSTOP, SINK)
    flow.until_steady(flow.delivered, "a stalled pipeline")
    flow.unit.signal(signal.SIGTERM, SOURCE)
    source = flow.unit.processes[0]
    rig.until(lambda: source.poll() is not None, "the end of the source after --drain")
    flow.unit.signal(signal.SIGCONT, SINK)
    statuses = flow.unit.wait()
    if statuses[0] != 111:
        raise Failure(f"the source ended with {statuses[0]} though records were open")
    flow.facts["crashes"] += 1
    return flow.finish()


@case("ctrl-c", how="sh")
@case("ctrl-c-evpipe", how="evpipe")
def ctrl_c(rig, how):
    """The terminal's foreground group gets SIGINT, all members at once."""
    flow = Flow(rig, session_ms=10000, how=how)
    unit, statuses = flow.unit, rig.path("statuses")
    quoted = [" ".join("'" + w.replace("'", "'\\''") + "'" for w in m) for m in unit.members]
    script = (" | ".join(quoted) if how == "sh" else "evpipe " + " '|' ".join(quoted))
    script += f'; echo "${{PIPESTATUS[@]}}" >{statuses}'
    for _ in range(rig.pick(2, 10, 50)):
        before = flow.delivered_now()
        master, slave = pty.openpty()
        # The terminal becomes the one of the new session by being opened in it.
        shell = subprocess.Popen(
            ["setsid", "--ctty", "--wait", "bash", "-c", "trap : INT; " + script],
            stdin=slave, stdout=slave, stderr=slave,
            env={**unit.env, "EVPIPE_ACK": rig.path("ack")} if how == "sh" else unit.env)
        os.close(slave)
        rig.until(lambda b=before, s=shell: flow.delivered() > b or s.poll() is not None,
                  "the first delivery")
        os.write(master, b"\x03")
        rig.until(lambda s=shell: s.poll() is not None, "the end after Ctrl-C")
        with open(statuses, encoding="ascii") as file:
            got = file.read().split()
        if any(s != "0" for s in got):
            raise Failure(f"statuses {got} after Ctrl-C:\n{os.read(master, 65536).decode()}")
        os.unlink(statuses)
        os.close(master)
    unit.start()
    return flow.finish()


@case("stop-source", who=SOURCE)
@case("stop-filter", who=FILTER)
@case("stop-sink", who=SINK)
@case("stop-sink-evpipe", who=SINK, how="evpipe", scales=UNCUT)
def stop_and_continue(rig, who, commit=None, **options):
    """SIGSTOP for a while, SIGCONT: as if nothing had been."""
    flow = Flow(rig, session_ms=10000, commit=commit, **options)
    flow.start()
    for _ in range(rig.pick(1, 2, 10)):
        flow.unit.signal(signal.SIGSTOP, who)
        time.sleep(rig.pick(3, 5, 30) if who != SOURCE else 3)
        flow.unit.signal(signal.SIGCONT, who)
        before = flow.delivered_now()
        rig.until(lambda b=before: flow.delivered() > b, "progress after SIGCONT")
    if flow.watch.rebalances():
        raise Failure(f"a rebalance: {flow.watch.groups}")
    return flow.finish()
