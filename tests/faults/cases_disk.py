# SPDX-License-Identifier: ISC
"""Output that cannot be written, a disk that is full, system calls that fail."""
import os
import re
import signal
import subprocess

from rig import Failure, Flow, case

SOURCE, FILTER, SINK = 0, 1, -1


@case("stdout-full")
def stdout_full(rig):
    """Standard output of a member is a full device: 111, and nothing is committed beyond what is final."""
    flow = Flow(rig, rate=0, preload=3000, sink=["sh", "-c", "exec kwrite -t \"$0\" -p keep"])
    flow.sink = "kafka"
    flow.unit.members[-1].append(flow.output)
    flow.unit.members[1] = ["sh", "-c", "exec evstamp --drop nas >/dev/full"]
    flow.unit.start()
    statuses = flow.unit.wait()
    if statuses[1] != 111 or statuses[0] == 0 or statuses[-1] == 0:
        raise Failure(f"a full device: {flow.unit.state()}")
    flow.unit.members[1] = ["evstamp", "--drop", "nas"]
    flow.facts["crashes"] += 1
    return flow.finish()


@case("stdout-closed")
def stdout_closed(rig):
    """A reader that leaves early."""
    flow = Flow(rig, rate=0, preload=8000)
    flow.unit.members.insert(1, ["head", "-n", "1500"])
    for _ in range(3):
        flow.unit.start()
        statuses = flow.unit.wait()
        if statuses[0] != 111 or statuses[-1] == 0:
            raise Failure(f"the reader has gone: {flow.unit.state()}")
        flow.facts["crashes"] += 1
    del flow.unit.members[1]
    return flow.finish()


@case("disk-full")
def disk_full(rig):
    """No room for dead letters: the filter ends, no record is final without its dead letter; with room again
    all goes on. A tmpfs where one can be mounted, else a limit on the file's size."""
    small = rig.path("small")
    os.mkdir(small)
    mounted = not subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", small],
                                 capture_output=True, check=False).returncode
    try:
        flow = Flow(rig, rate=2000, middle=[["evkey", ".tenant", "--dead-letter", small + "/dead"]])
        flow.dead_file = small + "/dead"
        if not mounted:
            flow.unit.wrap[FILTER] = ["prlimit", "--fsize=65536"]
        flow.unit.start()
        statuses = flow.unit.wait()
        if statuses[1] == 0 or statuses[0] == 0 or statuses[-1] == 0:
            raise Failure(f"a full disk: {flow.unit.state()}")
        flow.facts["crashes"] += 1
        if mounted:
            rig.run("mount", "-o", "remount,size=64m", small)
        flow.start()
        rig.doze(0, 0.5)
        flow.crash(FILTER)
        flow.start()
        flow.through()
        flow.stop(expected=None)
        os.rename(small + "/dead", rig.path("dead-letters")) if not mounted else \
            rig.run("cp", small + "/dead", rig.path("dead-letters"))
        flow.dead_file = rig.path("dead-letters")
        return flow.judge_all()
    finally:
        if mounted:
            subprocess.run(["umount", "-l", small], check=False)


# ---- the n-th system call fails ----

CALLS = {
    "write": ["ENOSPC", "EIO", "EINTR", "EAGAIN"], "read": ["EIO", "EINTR"],
    "sendto": ["ECONNRESET", "EINTR"], "sendmsg": ["ECONNRESET", "EPIPE", "EINTR"],
    "recvmsg": ["ECONNRESET", "EINTR"], "recvfrom": ["ECONNRESET", "EINTR"],
    "fsync": ["EIO"], "fdatasync": ["EIO", "ENOSPC"], "openat": ["EMFILE", "EACCES"],
    "connect": ["ECONNREFUSED", "EINTR"], "socket": ["EMFILE"], "poll": ["EINTR"],
    "close": ["EIO"], "mmap": ["ENOMEM"], "epoll_wait": ["EINTR"], "accept4": ["EMFILE"],
    "ftruncate": ["EIO"], "pipe2": ["EMFILE"], "eventfd2": ["EMFILE"], "clone3": ["EAGAIN"],
}


def counted(rig, log):
    """{name: count} of what strace -c has written, which it does at its own end; the file goes."""
    rig.until(lambda: os.path.exists(log) and os.path.getsize(log), "the end of strace")
    with open(log, encoding="utf-8") as file:
        found = re.findall(r"(?m)^\s*(\d+) (\w+)$", file.read())
    os.unlink(log)
    return {name: int(count) for count, name in found}


@case("syscalls-source", who=SOURCE)
@case("syscalls-filter", who=FILTER)
@case("syscalls-sink", who=SINK)
def syscalls(rig, who):
    """One system call of one member fails, the n-th of its kind: the member goes on or ends, and nothing is
    lost. All calls it makes, n = 1…200 in the long form, a sample in the others."""
    flow = Flow(rig, rate=500, middle=[["evkey", ".tenant", "--dead-letter", rig.path("letters")]])
    flow.dead_file = rig.path("letters")
    place, hit, log = who % 3, 0, rig.path("strace.log")
    # Which calls it makes at all, and how many until some hundred records are through; less those by
    # which a program is loaded.
    count = ["strace", "-D", "-f", "-qq", "-c", "-U", "calls,name", "-o", log]
    rig.run(*count, flow.unit.members[who][0], "--version")
    loading = counted(rig, log)
    flow.unit.wrap[place] = count
    flow.start()
    flow.stop(expected=None)
    made = {name: range(loading.get(name, 0) + 1, loading.get(name, 0) + min(200, n) + 1)
            for name, n in counted(rig, log).items() if name in CALLS}
    plan = [(call, error, n) for call, numbers in made.items() for error in CALLS[call]
            for n in numbers]
    if rig.scale != "long":
        # The early ones are the likelier to come at all.
        plan = [(call, error, made[call][int(len(made[call]) ** rig.random.random()) - 1])
                for call, error, _ in rig.random.choices(plan, k=rig.pick(10, 60, 0))]
    for call, error, n in plan:
        what = f"{call}:error={error}:when={n} in {flow.unit.members[who][0]}"
        flow.unit.wrap[place] = ["strace", "-D", "-f", "-qq", "-o", log, "-e", f"trace={call}", "-e",
                                 f"inject={call}:error={error}:when={n}"]
        rig.until(flow.watch.try_look, "the present position")
        before = flow.position()
        flow.unit.start()
        try:
            rig.until(lambda b=before: flow.unit.ended() or flow.position() > b + 100,
                      f"progress or an end with {what}")
        except Failure as failure:
            raise Failure(f"{failure}: {flow.unit.state()}") from failure
        flow.unit.signal(signal.SIGTERM, SOURCE)
        try:
            statuses = flow.unit.wait()
        except Failure as failure:
            raise Failure(f"{failure} with {what}: {flow.unit.state()}") from failure
        with open(log, encoding="utf-8", errors="replace") as file:
            injected = "(INJECTED)" in file.read()
        hit += injected
        bad = [s for s in statuses if s not in (0, 1, 100, 111, 127)]
        if bad:
            raise Failure(f"{what}: {flow.unit.state()}")
        if injected and error == "EINTR" and statuses != [0, 1, 0]:
            raise Failure(f"an interrupted call is no error: {what}: {flow.unit.state()}")
        flow.facts["crashes"] += statuses != [0, 1, 0]
    flow.unit.start()
    flow.through()
    flow.stop(expected=None)
    return flow.judge_all() + f" injected={hit}/{len(plan)}"


@case("dead-unsynced")
def dead_unsynced(rig):
    """A dead letter that cannot be made durable: it is in the file, yet its record is not final."""
    flow = Flow(rig, rate=0, preload=2000, session_ms=10000,
                middle=[["evkey", ".tenant", "--dead-letter", rig.path("letters")]])
    flow.unit.wrap[FILTER] = ["strace", "-D", "-f", "-qq", "-o", rig.path("strace.log"), "-e",
                              "trace=fsync,fdatasync", "-e", "inject=fsync,fdatasync:error=EIO"]
    flow.unit.start()
    statuses = flow.unit.wait()
    if statuses[1] != 111:
        raise Failure(f"a dead letter was not durable: {flow.unit.state()}")
    # The checker is not told of the file: its records are neither delivered nor dead.
    flow.facts["crashes"] += 1
    return flow.judge(may_stall=True)
