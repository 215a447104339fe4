# SPDX-License-Identifier: ISC
"""Output that cannot be written, a disk that is full, system calls that fail."""
import collections
import os
import re
import shutil
import signal
import subprocess
import sys

from rig import HERE, Failure, Flow, case

SOURCE, FILTER, SINK = 0, 1, -1


@case("stdout-full")
def stdout_full(rig):
    """Standard output of a member is a full device: 111, and nothing is committed beyond what is final."""
    flow = Flow(rig, rate=0, preload=3000, sink=["sh", "-c", "exec kwrite -t \"$0\" -p keep"])
    flow.sink = "kafka"
    flow.unit.members[-1].append(flow.output)
    # The pipe behind it stays open as long as it runs: the sink is not to end before it was given a record.
    flow.unit.members[1] = ["sh", "-c", "exec evstamp --drop nas 3>&1 >/dev/full"]
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


@case("rotate-mv", how="mv")
@case("rotate-rm", how="rm")
@case("rotate-copytruncate", how="copytruncate")
def rotate(rig, how):
    """The dead-letter file is moved, removed, or copied and emptied under the filter: each letter is in one of the
    files, the removed ones too."""
    letters, olds = rig.path("letters"), []
    flow = Flow(rig, rate=2000, middle=[["evkey", ".tenant", "--dead-letter", letters]])

    def content():
        files = [letters] if os.path.exists(letters) else []
        data = b""
        for name in olds + files:
            with open(name, "rb") as file:
                data += file.read()
        return data

    flow.dead_file, flow.dead_count = letters, lambda: content().count(b"\n")
    flow.start()
    for n in range(rig.pick(5, 20, 100)):
        rig.until(lambda: os.path.exists(letters) and os.path.getsize(letters), "a dead letter")
        rig.doze(0, 0.3)
        filter_pid = flow.unit.pid(FILTER)
        # Real rotation by copying loses what is written between the two steps.
        os.kill(filter_pid, signal.SIGSTOP)
        rig.until(lambda: status_of(filter_pid, "State") == "T", "a stopped filter")
        with flow.watch.lock:
            old = f"{letters}.{n}"
            if how == "copytruncate":
                shutil.copyfile(letters, old)
                os.truncate(letters, 0)
            elif how == "mv":
                os.rename(letters, old)
            else:
                fd = os.open(letters, os.O_RDONLY)
                os.unlink(letters)
                old = f"/proc/self/fd/{fd}"
            olds.append(old)
        os.kill(filter_pid, signal.SIGCONT)
    flow.through()
    flow.stop(expected=None)
    with open(rig.path("dead-letters"), "wb") as file:
        file.write(content())
    flow.dead_file = rig.path("dead-letters")
    return flow.judge_all()


# ---- the n-th system call fails ----

# Each call that a member makes and that may fail, with what it may fail with. The others never fail (getpid,
# fcntl of flags), or not so that a program could go on (futex, brk), or only as STARVES do.
CALLS = {
    "write": ["ENOSPC", "EIO", "EINTR", "EAGAIN"], "read": ["EIO", "EINTR"],
    "sendto": ["ECONNRESET", "EINTR"], "sendmsg": ["ECONNRESET", "EPIPE", "EINTR"],
    "recvmsg": ["ECONNRESET", "EINTR"], "recvfrom": ["ECONNRESET", "EINTR"],
    "fsync": ["EIO"], "fdatasync": ["EIO", "ENOSPC"], "openat": ["EMFILE", "EACCES"],
    "connect": ["ECONNREFUSED", "EINTR"], "socket": ["EMFILE"], "poll": ["EINTR"],
    "close": ["EIO"], "mmap": ["ENOMEM"], "epoll_wait": ["EINTR"], "accept4": ["EMFILE"],
    "ftruncate": ["EIO"], "pipe2": ["EMFILE"], "eventfd2": ["EMFILE"], "clone3": ["EAGAIN"],
    "flock": ["EINTR", "ENOLCK"], "newfstatat": ["EACCES"], "pread64": ["EIO", "EINTR"],
    "dup3": ["EMFILE"], "lseek": ["EINVAL"], "mremap": ["ENOMEM"],
    "munmap": ["ENOMEM"], "madvise": ["ENOMEM"], "bind": ["EADDRINUSE"], "listen": ["EADDRINUSE"],
    "getsockopt": ["ENOBUFS"], "setsockopt": ["ENOBUFS"], "getsockname": ["ENOBUFS"],
    "epoll_create1": ["EMFILE"], "epoll_ctl": ["ENOMEM"], "unlink": ["EACCES"],
    "getdents64": ["EIO"], "getrandom": ["EINTR"],
}
# Where librdkafka gets no thread, or no memory, it aborts; and rd_kafka_new of a group's consumer may wait for
# ever. mprotect, which makes the stacks of threads and little else, is left out.
STARVES = ("clone3", "mmap", "mremap")
# So does glibc where it cannot give back the stack of a thread that has ended (__nptl_free_stacks).
ABORTS = (*STARVES, "munmap")
# librdkafka's alone, whose threads take no signal: interrupted, it connects anew.
ALOOF = ("recvmsg", "sendmsg")
MOST, TOGETHER = 200, 10
SPARED = ("munmap", "madvise")  # a failure of which malloc gets over
# How a member is made to make most calls soon: window and options of the source, and after how many records
# it has made enough of them.
PACE = {
    "source": (20, [], 3200), "filter": (1000, ["--rate", "1000"], 1600),
    "sink": (20, [], 4000), "rpub": (1000, ["--rate", "1000"], 500),
}
MEMBERS = {"source": SOURCE, "filter": FILTER, "sink": SINK, "rpub": SINK}


def status_of(pid, field):
    try:
        with open(f"/proc/{pid}/status", encoding="ascii") as file:
            return next((line.split()[1] for line in file if line.startswith(field + ":")), "")
    except OSError:
        return ""


class Traced:
    """One start of the pipeline with strace on one member, from its main on."""

    def __init__(self, flow, place, *options):
        rig, self.log = flow.rig, flow.rig.path("strace.log")
        self.at, self.hits = 0, collections.Counter()
        gate = rig.path("gate.so")
        if not os.path.exists(gate):
            rig.run("cc", "-shared", "-fPIC", "-o", gate, os.path.join(HERE, "gate.c"))
        with open(self.log, "wb"):
            pass
        flow.unit.wrap[place] = ["env", "LD_PRELOAD=" + gate]
        flow.unit.start()
        pid = str(flow.unit.processes[place].pid)
        rig.until(lambda: status_of(pid, "State") == "T", "a member that stops itself")
        self.strace = rig.spawn("strace", "strace", "-f", "-qq", "-o", self.log, *options, "-p", pid)
        rig.until(lambda: status_of(pid, "TracerPid") not in ("", "0"), "strace on a member")
        os.kill(int(pid), signal.SIGCONT)

    def injected(self):
        """In how many calls, all in all."""
        with open(self.log, "rb") as file:
            file.seek(self.at)
            said = file.read()
        whole = said.rfind(b"\n") + 1
        self.at += whole
        self.hits.update(re.findall(rb"(?m)^(\d+) .*\(INJECTED\)$", said[:whole]))
        return sum(self.hits.values())

    def most(self):
        """… in the thread that had most."""
        self.injected()
        return max(self.hits.values(), default=0)

    def end(self):
        self.strace.wait()

    def made(self):
        """{call: how often the thread made it that made it most}: strace counts by thread."""
        with open(self.log, encoding="utf-8", errors="replace") as file:
            threads = collections.Counter(re.findall(r"(?m)^(\d+) +(\w+)\(", file.read()))
        found = {}
        for (_, call), count in threads.items():
            found[call] = max(count, found.get(call, 0))
        return found


class Injections:
    """Failing calls of one member, one after the other, in one flow."""

    def __init__(self, rig, name):
        self.rig, self.name, self.place = rig, name, MEMBERS[name]
        window, source, self.most_records = PACE[name]
        source = [*source, "--drain", "100s"]  # librdkafka connects anew, which takes its time
        flow = self.flow = Flow(
            rig, rate=0, preload=20000, window=window, session_ms=30000, source=source,
            sink="redis" if name == "rpub" else "kafka",
            sink_options=["-X", "linger.ms=0"] if name == "filter" else [],
            middle=[["evkey", ".tenant", "-q", "--dead-letter", rig.path("letters")]])
        flow.dead_file = rig.path("letters")
        flow.watch.every_s = 0.2  # the starts are what is to take the time
        self.program = flow.unit.members[self.place][0]
        self.planned, self.hit, self.places, self.ended, self.hung, self.failures = \
            0, 0, 0, 0, 0, []

    def text(self):
        return (f"injected={self.hit}/{self.planned} in {self.places} places, {self.ended} ended it"
                f"{f', {self.hung} hung in librdkafka' * (self.hung > 0)}")

    def run(self, *options, until):
        """One start; ends it when until() says so. Returns the statuses."""
        flow, rig = self.flow, self.rig
        if flow.next_id - flow.position() < 3 * self.most_records:
            flow.feed(0, 20000)
            flow.feed_end()
        traced = Traced(flow, self.place % 3, *options)
        rig.until(lambda: flow.unit.ended() or until(traced), "progress or an end")
        flow.unit.signal(signal.SIGTERM, SOURCE)
        statuses = flow.unit.wait()
        traced.end()
        flow.dismiss_dead()
        rig.until(flow.watch.try_look, "the present position")
        return traced, statuses

    def survey(self):
        """How often the member makes each call, until it makes no more of use here."""
        before = self.flow.position()
        traced, statuses = self.run(
            "-e", "trace=" + ",".join(CALLS),
            until=lambda _: self.flow.position() > before + self.most_records)
        if statuses != [0, 1, 0]:
            raise Failure(f"without a fault: {self.flow.unit.state()}")
        return {c: min(MOST, n) for c, n in traced.made().items() if c in CALLS}

    def plan(self, part, parts):
        """A part of [(call, error, strace's numbers, how many they are)]: each n of each call once, the
        errors by turns. Where nothing is to end, one start serves every TOGETHER-th of an error's n."""
        plan = []
        for call, most in sorted(self.survey().items()):
            errors = CALLS[call]
            for n in range(part + 1, most + 1, parts):
                error, step = errors[n % len(errors)], TOGETHER * len(errors)
                if error != "EINTR" and call not in SPARED:
                    plan.append((call, error, str(n), 1))
                elif n <= step:
                    plan.append((call, error, f"{n}..{most}+{step}", (most - n) // step + 1))
        return plan

    def fail(self, call, error, numbers, count):
        """Until something more is committed after it, or until it is clear that it will not come."""
        flow, seen = self.flow, []
        before = flow.position()

        def enough(traced):
            if not seen and traced.most() < count:
                return flow.position() > before + self.most_records
            seen.append(flow.position())
            return seen[-1] > seen[0] + 40

        what = f"{call}:error={error}:when={numbers}"
        for place, command in enumerate(flow.unit.members):
            with open(self.rig.path(f"{place}-{command[0]}.err"), "a", encoding="utf-8") as file:
                file.write(f"== {what}, committed {flow.watch.committed}, output "
                           f"{flow.watch.ends}\n")
        self.planned += count
        try:
            traced, statuses = self.run("-e", "trace=" + call, "-e", "inject=" + what, until=enough)
        except Failure as failure:
            if call in STARVES and self.name == "source":
                self.hung += 1
                self.hit += 1
            else:
                self.failures.append(f"{what}: {failure} {flow.unit.state()}")
            flow.crash()
            flow.dismiss_dead()
            return
        self.places += traced.injected()
        self.hit += min(traced.most(), count)
        good = statuses[0] == 0 and statuses[1] in (0, 1) and statuses[2] == 0
        if any(s not in (0, 1, 100, 111, -6 * (call in ABORTS)) for s in statuses):
            self.failures.append(f"{what}: {flow.unit.state()}")
        elif traced.most() and error == "EINTR" and not good and call not in ALOOF:
            self.failures.append(f"{what}: an interrupted call is no error: {flow.unit.state()}")
        self.ended += not good
        flow.facts["crashes"] += not good
        # A connection of rpub that breaks may have delivered what it was not told of.
        flow.facts["undrained"] += good and flow.sink == "redis" and error != "EINTR"


@case("syscalls-source", scales=("cut", "normal"), member="source")
@case("syscalls-filter", scales=("cut", "normal"), member="filter")
@case("syscalls-sink", scales=("cut", "normal"), member="sink")
@case("syscalls-rpub", scales=("cut", "normal"), member="rpub")
def syscalls(rig, member, part=(0, 1)):
    """One system call of one member fails, the n-th of its kind in its thread: the member goes on or ends, and
    nothing is lost. The long form takes each n = 1…200 of each call, as far as the member makes so many, its
    errors by turns, in random order and in parts side by side. The others take a sample.

    Printed: injected=A/B in C places, D ended it. B times the n-th call was planned to fail, A times it came to
    that, in C threads in all, since each has its n-th; D times a member ended."""
    run = Injections(rig, member)
    plan = run.plan(*part)
    print(f"# {sum(p[3] for p in plan)} in {len(plan)} starts:", *sorted({p[0] for p in plan}),
          file=sys.stderr)
    rig.random.shuffle(plan)
    plan = plan[:rig.pick(10, 60, None)]
    for at, step in enumerate(plan, 1):
        run.fail(*step)
        if at % 50 == 0:
            print(f"# {at} of {len(plan)} starts: {run.text()}", *run.failures, file=sys.stderr,
                  sep="\n# ")
        if run.failures[20:] or rig.late():
            break
    flow = run.flow
    flow.unit.start()
    flow.through()
    flow.stop(expected=None)
    planned = sum(p[3] for p in plan)
    text = f"{flow.judge_all()} {run.text()}" + f", of {planned}" * (planned > run.planned)
    if run.failures:
        raise Failure("\n  ".join([text, *run.failures]))
    return text


PARTS = {"source": 4, "filter": 2, "sink": 4, "rpub": 1}
for _name, _parts in PARTS.items():
    for _i in range(_parts):
        case(f"syscalls-{_name}-{_i + 1}of{_parts}", scales=("long",), slow=True, member=_name,
             part=(_i, _parts))(syscalls)


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
