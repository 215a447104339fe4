# SPDX-License-Identifier: ISC
"""Programs that know nothing of us in the middle of the pipeline: they drop, reorder, split, fold, duplicate,
corrupt, hold back, die. Bare, with strict accounting, nothing may be lost: it goes on, stalls and is
named, or ends. Under evbatch they work."""
import re
import sys

from cases_outage import THROTTLE
from rig import Failure, Flow, case

PYTHON = """
import os, random, select, sys
mode, left, held = sys.argv[1], int(sys.argv[2]), []
def lines():
    data = b""
    while True:
        while not select.select([0], [], [], 0.2)[0]:
            yield None
        piece = os.read(0, 65536)
        if not piece:
            return
        data += piece
        *whole, data = data.split(b"\\n")
        yield from (w + b"\\n" for w in whole)
def flush():
    random.shuffle(held)
    while held:
        out = b"".join(held); held.clear()
        while out:
            out = out[os.write(1, out):]
n = 0
for line in lines():
    if line is None:
        flush()
        continue
    n += 1
    if mode == "torn" and n == left:
        os.write(1, line[:-20])
        sys.exit(0)
    if mode == "corrupt" and n % left == 0:
        line = line.replace(b'"payload"', b'"payload', 1)
    if mode == "seq" and n == left:
        line = line.replace(b'"seq":"', b'"seq":"0', 1)
    held.append(line)
    if mode != "reorder" or len(held) > left:
        flush()
    if mode == "die" and n == left:
        sys.exit(0)
flush()
"""
DROP = ["sed", "-u", r'/id\\":[0-9]*5,/d']
SPLIT = ["jq", "-c", '(.payload|fromjson|.id) as $i | range(2) as $p | '
         '.payload = "{\\"id\\":\\($i),\\"part\\":\\($p)}"']
FOLD = ["jq", "-cs", 'if length == 0 then empty else .[0] + {payload: '
        '("{\\"ids\\":[" + (map(.payload|capture("\\"id\\":(?<i>[0-9]+)").i)|join(",")) + "]}")} end']


def python(mode, number):
    return [sys.executable, "-c", PYTHON, mode, str(number)]


def batched(*command):
    return ["evbatch", "-n", "100", "--", *command]


# ---- under evbatch: all works ----

@case("batch-drop", command=DROP, drop=[10, 5])
@case("batch-drop-all", command=["sed", "d"], drop=[1, 0])
@case("batch-reorder", command=["sort", "-R"], ordered=False)
@case("batch-split", command=SPLIT, parts=2, bytes=False)
@case("batch-fold", command=FOLD, bytes=False, ordered=False)
@case("batch-buffer", command=["jq", "-c", "."])
@case("batch-die", command=["sh", "-c", 'n=$(od -An -N1 -tu1 /dev/urandom); '
                            '[ $n -gt 20 ] || kill -9 $$; exec cat'])
@case("batch-split-kill", command=SPLIT, parts=2, bytes=False, kills=3)
@case("batch-fold-kill", command=FOLD, bytes=False, ordered=False, kills=3)
def batch(rig, command, kills=0, **facts):
    flow = Flow(rig, middle=[batched(*command)], rate=1000, facts=facts,
                session_ms=1500 if kills else 10000)
    nothing = facts.get("drop") == [1, 0]
    for _ in range(kills * rig.pick(1, 5, 50)):
        flow.start()
        rig.doze(0, 0.6)
        flow.crash(rig.random.choice([0, 1, 2]))
    if nothing:
        flow.unit.start()
        rig.until(lambda: flow.position() > 500, "progress without output")
    else:
        flow.start()
    rig.doze(1, 2)
    return flow.finish()


@case("batch-split-slow")
def batch_split_slow(rig):
    """The parts of a batch lie seconds apart: a record is not final before its last part is."""
    apart = ["jq", "-cs", '. as $all | range(2) as $p | $all[] | (.payload|fromjson|.id) as $i | '
             '.payload = "{\\"id\\":\\($i),\\"part\\":\\($p)}"']
    flow = Flow(rig, middle=[["evbatch", "-n", "200", "--", *apart],
                             [sys.executable, "-c", THROTTLE, "20e3"]],
                rate=0, preload=rig.pick(400, 1000, 5000), session_ms=10000,
                facts={"parts": 2, "bytes": False, "ordered": False})
    flow.start()
    return flow.finish()


@case("batch-duplicate")
def batch_duplicate(rig):
    """All is delivered twice, as the user has asked for."""
    flow = Flow(rig, middle=[batched("sed", "p")], rate=1000, session_ms=10000)
    flow.start()
    rig.doze(1, 2)
    flow.through()
    flow.stop()
    total = sum(flow.input_ends().values())
    text = flow.judge_all(may_repeat=total)
    if f"repeated={total} " not in text:
        raise Failure(f"not everything twice: {text}")
    return text


# ---- bare ----

@case("bare-reorder", command=python("reorder", 50), ordered=False)
@case("bare-pass", command=["jq", "-c", "--unbuffered", "."])
def bare(rig, command, **facts):
    flow = Flow(rig, middle=[command], rate=1000, facts=facts, session_ms=10000)
    flow.start()
    rig.doze(1, 2)
    return flow.finish()


@case("bare-buffer")
def bare_buffer(rig):
    """A filter that keeps its last lines until its input ends: they are delivered and committed then."""
    flow = Flow(rig, middle=[["jq", "-c", "."]], rate=0, preload=1500, session_ms=10000)
    flow.start()
    # A block of 4096 bytes; kread is not to be stopped before it has read both partitions.
    rig.until(lambda: flow.delivered() > 1480, "all but what jq holds back")
    flow.stop()
    return flow.judge_all()


@case("bare-drop")
def bare_drop(rig):
    """What is dropped without a word stalls, is named, and is never committed."""
    flow = Flow(rig, middle=[DROP], rate=0, preload=3000, session_ms=10000,
                source=["--drain", "1s"])
    flow.start()
    flow.until_steady(flow.delivered, "a stalled pipeline")
    if rig.scale != "cut":
        rig.until(lambda: re.search(r"partition \d.*offset \d", flow.errors()), "the stall is named")
    flow.unit.processes[0].terminate()
    statuses = flow.unit.wait()
    if statuses[0] != 111:
        raise Failure(f"the source ended with {statuses[0]} though records were open")
    if not re.search(r"partition \d.*offset \d", flow.errors()):
        raise Failure("the first open record was not named")
    return flow.judge(may_stall=True)


@case("bare-drop-order")
def bare_drop_order(rig):
    """--account order: the user vouches for the filter."""
    flow = Flow(rig, middle=[DROP], rate=1000, source=["--account", "order"],
                facts={"drop": [10, 5]}, session_ms=10000)
    flow.start()
    rig.doze(1, 2)
    flow.feed_end(stop=True)
    # What is dropped at the very end is behind the last delivered number, and is read again.
    flow.until_steady(flow.position, "a position that rests", 2)
    flow.stop()
    return flow.judge()


@case("bare-split", command=SPLIT, parts=2)
@case("bare-duplicate", command=["sed", "-u", "p"], parts=1)
def ends_loudly(rig, command, parts):
    """Several records of one: the pipeline ends and says what to do."""
    flow = Flow(rig, middle=[command], rate=0, preload=3000, facts={"parts": parts, "bytes": False},
                session_ms=10000)
    flow.unit.start()
    statuses = flow.unit.wait()
    if statuses[0] != 100:
        raise Failure(f"the source ended with {statuses[0]}")
    if "evbatch" not in flow.errors():
        raise Failure("evbatch was not named as the remedy")
    return flow.judge(may_stall=True, crashes=1)


@case("bare-strip-seq", account="strict")
@case("bare-strip-seq-order", account="order")
def strips_seq(rig, account):
    """The label is left out: delivered, and never acknowledged. The pipeline ends with 100, not green and for ever."""
    flow = Flow(rig, middle=[["jq", "-c", "--unbuffered", "del(.seq)"]], rate=0, preload=3000,
                source=["--account", account], session_ms=10000)
    flow.unit.start()
    statuses = flow.unit.wait()
    if statuses[0] != 100:
        raise Failure(f"the source ended with {statuses[0]}")
    if "without their seq" not in flow.errors():
        raise Failure("the cause was not named")
    return flow.judge(may_stall=True, crashes=1)


@case("batch-names-kill")
def batch_names_kill(rig):
    """Holes in front of evbatch: its sets have names, which die and are given anew with each of its runs."""
    flow = Flow(rig, middle=[["evsel", ".payload.id % 10 != 5"], batched("jq", "-c", ".")], rate=1000,
                facts={"drop": [10, 5]}, session_ms=1500)
    for _ in range(rig.pick(2, 5, 50)):
        flow.start()
        rig.doze(0, 0.6)
        flow.crash(rig.random.choice([0, 1, 2, 3]))
    flow.start()
    rig.doze(1, 2)
    return flow.finish()


@case("bare-fold")
def bare_fold(rig):
    """Fifty records become one, which has the label of the first: the others are open, and stay so."""
    flow = Flow(rig, middle=[["sed", "-u", "-n", "1~50p"]], rate=0, preload=3000, session_ms=10000,
                source=["--drain", "1s"])
    flow.start()
    flow.until_steady(flow.delivered, "a stalled pipeline")
    flow.unit.processes[0].terminate()
    statuses = flow.unit.wait()
    if statuses[0] != 111:
        raise Failure(f"the source ended with {statuses[0]} though records were open")
    return flow.judge(may_stall=True)


@case("bare-corrupt")
def bare_corrupt(rig):
    """Lines broken on the way are refused by the sink, never delivered, and never committed."""
    flow = Flow(rig, middle=[python("corrupt", 100)], rate=0, preload=3000, session_ms=10000,
                source=["--drain", "1s"], sink_options=["--on-error", "skip"])
    flow.start()
    flow.until_steady(flow.delivered, "a stalled pipeline")
    flow.unit.processes[0].terminate()
    statuses = flow.unit.wait()
    if statuses[0] != 111 or statuses[-1] == 0:
        raise Failure(f"lines were lost: {flow.unit.state()}")
    return flow.judge(may_stall=True)


@case("bare-run")
def bare_run(rig):
    """A record of another run: the sink ends, with 100."""
    flow = Flow(rig, middle=[python("seq", 700)], rate=0, preload=3000)
    flow.unit.start()
    statuses = flow.unit.wait()
    if statuses[-1] != 100:
        raise Failure(f"the sink ended with {statuses[-1]}")
    return flow.judge(may_stall=True)


@case("bare-die", how="die")
@case("bare-torn", how="torn")
def bare_die(rig, how):
    """A filter that ends in the middle, of a line too, and says 0."""
    flow = Flow(rig, middle=[python(how, 700)], rate=0, preload=6000)
    for _ in range(rig.pick(3, 5, 5)):
        flow.unit.start()
        flow.facts["crashes"] += 1
        statuses = flow.unit.wait()
        if statuses[0] == 0 or statuses[-1] == 0:
            raise Failure(f"a filter died and nobody minds: {flow.unit.state()}")
    flow.unit.members[1] = ["cat"]
    return flow.finish()
