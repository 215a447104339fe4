# SPDX-License-Identifier: ISC
"""What the cases are built of: topics, a steady load, a pipeline that is killed and started again, a
watch on positions from outside, and in the end the checker."""
import ctypes
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import load
import wire
from checker import judge_directory
from proxy import Proxy

HERE = os.path.dirname(os.path.abspath(__file__))
KAFKA = os.path.join(HERE, "..", "kafka")
# How long anything may take before the case has failed: generous, because it decides nothing else.
LIMIT_S = float(os.environ.get("FAULTS_LIMIT", 180))
CASES = {}
UNCUT = ("normal", "long")


class Failure(Exception):
    """The case has failed."""


def case(name, scales=("cut", "normal", "long"), slow=False, **params):
    """Registers a case, and the scales it belongs to; called by its name it runs at any. Slow ones begin
    first."""
    def register(function):
        if name in CASES:
            raise ValueError(f"two cases {name}")
        CASES[name] = (scales, lambda rig: function(rig, **params), slow)
        return function
    return register


def children(pid):
    found = []
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as file:
            found += map(int, file.read().split())
    return found


def descendants(pid):
    try:
        found = children(pid)
    except OSError:
        return []
    return found + [d for c in found for d in descendants(c)]


def signal_pid(pid, number):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def command_of(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().decode(errors="replace").split("\0")[:-1]
    except OSError:
        return []


def rss_kb(pid, field="VmRSS"):
    """VmRSS: resident now; VmHWM: at most, ever."""
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return next((int(line.split()[1]) for line in file if line.startswith(field)), 0)


def free_port():
    """Below those the system gives to clients, so that it is still free after a restart."""
    while True:
        with socket.socket() as sock:
            try:
                sock.bind(("127.0.0.1", random.randrange(15000, 32000)))
                return sock.getsockname()[1]
            except OSError:
                pass


class Rig:
    """One case: its directory, its randomness, its processes."""

    def __init__(self, name, directory, brokers, seed, scale):
        self.name, self.dir, self.brokers, self.scale = name, directory, brokers, scale
        self.random = random.Random(f"{seed}/{name}")
        self.topics, self.began = 0, time.monotonic()
        ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER: nobody we started gets away

    def pick(self, cut, normal, long):
        return {"cut": cut, "normal": normal, "long": long}[self.scale]

    def late(self):
        """Whether a long case is to come to its end, and be judged as far as it came."""
        return time.monotonic() - self.began > float(os.environ.get("FAULTS_LONG", "inf"))

    def path(self, name):
        return os.path.join(self.dir, name)

    def until(self, condition, what, limit_s=None):
        end = time.monotonic() + (limit_s or LIMIT_S)
        while not condition():
            if time.monotonic() > end:
                raise Failure(f"not within {limit_s or LIMIT_S:g} s: {what}")
            time.sleep(0.02)

    def doze(self, low_s, high_s):
        time.sleep(self.random.uniform(low_s, high_s))

    def run(self, *command, **options):
        result = subprocess.run(command, capture_output=True, text=True, check=False,
                                stdin=subprocess.DEVNULL, timeout=LIMIT_S, **options)
        if result.returncode:
            raise Failure(f"{command[0]} ended with {result.returncode}: {result.stderr[-500:]}")
        return result.stdout

    def spawn(self, name, *command, **options):
        """A helper of the case; its standard error goes to NAME.err."""
        with open(self.path(name + ".err"), "ab") as errors:
            return subprocess.Popen(command, stderr=errors,
                                    **{"stdin": subprocess.DEVNULL, **options})

    def topic(self, what, *config, replicas=1, mock=None):
        """A new topic of two partitions."""
        self.topics += 1
        name = f"{self.name}-{what}-{self.topics}"
        if mock:
            mock.topic(name)
        else:
            self.run(os.path.join(KAFKA, "topics"), self.brokers.split(",")[0], "create", name, "2",
                     *config, *([f"replicas={replicas}"] if replicas > 1 else []))
        return name

    def own_kafka(self, *properties):
        """A broker of the case alone: to be stopped, killed and started again."""
        self.brokers = self.start_kafka(*properties)

    def start_kafka(self, *properties):
        return self.run(os.path.join(KAFKA, "start"), self.path("kafka"), *properties,
                        env={**os.environ, "KAFKA_HEAP": "300m"}).strip()

    def stop_kafka(self, *how):
        self.run(os.path.join(KAFKA, "stop"), *how, self.path("kafka"))

    def second_broker(self):
        """Joins the cluster of own_kafka; returns its process."""
        first, second = self.path("kafka"), self.path("kafka-2")
        if not os.path.exists(second):
            os.mkdir(second)
            port = free_port()
            with open(first + "/server.properties", encoding="utf-8") as file:
                text = file.read().replace(first + "/data", second + "/data")
            for name, value in (("process.roles", "broker"), ("node.id", "2"),
                                ("listeners", f"PLAINTEXT://127.0.0.1:{port}"),
                                ("advertised.listeners", f"PLAINTEXT://127.0.0.1:{port}")):
                text = re.sub(rf"(?m)^{name}=.*$", f"{name}={value}", text)
            text = re.sub(r"(?m)^(sasl|listener\.name)\..*\n", "", text)
            with open(second + "/server.properties", "w", encoding="utf-8") as file:
                file.write(text)
            with open(first + "/data/meta.properties", encoding="utf-8") as file:
                cluster = re.search(r"(?m)^cluster\.id=(.*)$", file.read())[1]
            self.java(second, "128m", "kafka.tools.StorageTool", "format", "-t", cluster, "-c",
                      second + "/server.properties").wait()
            self.brokers += f",127.0.0.1:{port}"
        return self.java(second, "300m", "kafka.Kafka", second + "/server.properties")

    def java(self, directory, heap, *command):
        with open(self.path("kafka/version"), encoding="ascii") as file:
            jars = self.run(os.path.join(KAFKA, "fetch"), file.read().strip()).strip()
        with open(directory + "/log", "ab") as log:
            return subprocess.Popen(["java", "-Xmx" + heap, "-XX:+UseSerialGC", "-cp", jars + "/*",
                                     *command], stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def end(self):
        """Ends all that the case has started and not ended."""
        for _ in range(100):
            left = descendants(os.getpid())
            if not left:
                return
            for pid in left:
                signal_pid(pid, signal.SIGKILL)
            try:
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            except ChildProcessError:
                pass
            time.sleep(0.02)


class Redis(threading.Thread):
    """A private server, reached by our programs through a proxy; and a subscriber of its own, which keeps
    what it hears of the channels out-0 and out-1."""

    def __init__(self, rig):
        super().__init__(daemon=True)
        self.heard, self.marks, self.count = ([], []), {}, 0
        self.socket = rig.path("redis.sock")
        with open(rig.path("redis.log"), "ab") as log:
            self.process = subprocess.Popen(
                ["redis-server", "--port", "0", "--unixsocket", self.socket, "--dir", rig.dir,
                 "--save", "", "--client-output-buffer-limit", "pubsub 0 0 0"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        rig.until(self.answers, "Redis answers")
        self.proxy = Proxy(self.socket, rig.path("redis-proxy.sock"))
        self.url = "unix:" + self.proxy.where
        self.subscription = wire.Redis(self.socket, None)
        for channel in ("out-0", "out-1", "mark"):
            self.subscription("SUBSCRIBE", channel)
        self.start()

    def answers(self):
        try:
            client = wire.Redis(self.socket)
            client("PING")
            client.close()
            return True
        except OSError:
            return False

    def run(self):
        try:
            while True:
                _, channel, data = self.subscription.reply()
                if channel == b"mark":
                    self.marks[data] = {p: len(self.heard[p]) for p in range(2)}
                else:
                    self.heard[int(channel[4:])].append(data)
        except (OSError, ValueError, TypeError):
            pass

    def lengths(self):
        """Of the streams out-0 and out-1."""
        try:
            client = wire.Redis(self.socket, 5)
            lengths = {p: client("XLEN", f"out-{p}") for p in range(2)}
            client.close()
            return lengths
        except OSError:
            return None

    def ends(self):
        """How much had been published until now: the subscriber hears a mark after it."""
        self.count += 1
        mark = b"%d" % self.count
        try:
            client = wire.Redis(self.socket, 1)
            client("PUBLISH", "mark", mark)
            client.close()
        except OSError:
            return None  # it does not answer: this sample cannot tell
        end = time.monotonic() + 10
        while mark not in self.marks and time.monotonic() < end:
            time.sleep(0.002)
        return self.marks.pop(mark, None)


def write_streams(address, name, path):
    """The entries of the streams NAME-0 and NAME-1 as PARTITION PLACE PAYLOAD, for the checker."""
    client = wire.Redis(address)
    with open(path, "wb") as file:
        for p in range(2):
            file.writelines(b"%d %d %s\n" % (p, at, fields[fields.index(b"payload") + 1]) for
                            at, (_, fields) in enumerate(client("XRANGE", f"{name}-{p}", "-", "+")))
    client.close()


class Unit:
    """A pipeline as one unit. How: "sh", each member a child of ours with pipes between them and
    EVPIPE_ACK, as a shell would start them; or "evpipe"."""

    def __init__(self, rig, members, how="sh", options=(), env=None, tag=""):
        self.rig, self.members, self.how, self.options = rig, members, how, list(options)
        self.env = {**os.environ, **(env or {})}
        self.processes, self.tag = [], tag
        self.wrap = {}  # member: a command in front of it, for one start
        self.ack = {}  # member: its own path to the socket

    def start(self):
        if self.how == "sh":
            self.start_pipe()
        else:
            command = ["evpipe", *self.options]
            for i, member in enumerate(self.members):
                command += (["|"] if i else []) + list(member)
            with open(self.rig.path("evpipe.err"), "ab") as errors:
                self.processes = [subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors, env=self.env)]
        self.wrap = {}

    def start_pipe(self):
        env = {"EVPIPE_ACK": self.rig.path("ack"), **self.env}
        if not env["EVPIPE_ACK"]:
            del env["EVPIPE_ACK"]
        self.processes, stdin = [], subprocess.DEVNULL
        for i, member in enumerate(self.members):
            last = i == len(self.members) - 1
            member_env = {**env, **({"EVPIPE_ACK": self.ack[i]} if i in self.ack else {})}
            with open(self.rig.path(f"{i}{self.tag}-{os.path.basename(member[0])}.err"), "ab") as errors:
                process = subprocess.Popen(
                    self.wrap.get(i, []) + list(member), stdin=stdin, stderr=errors, env=member_env,
                    stdout=subprocess.DEVNULL if last else subprocess.PIPE,
                    process_group=self.processes[0].pid if self.processes else 0)
            if stdin is not subprocess.DEVNULL:
                stdin.close()
            self.processes.append(process)
            stdin = process.stdout

    def pid(self, which):
        """Of a member by its place; 0 when it does not run."""
        which %= len(self.members)
        if self.how == "sh":
            return 0 if self.processes[which].poll() is not None else self.processes[which].pid
        wanted = list(map(str, self.members[which]))
        wanted[0] = os.path.basename(wanted[0])
        for pid in descendants(self.processes[0].pid):
            command = command_of(pid)
            if command and [os.path.basename(command[0]), *command[1:]] == wanted:
                return pid
        return 0

    def pids(self):
        return [p for p in (self.pid(i) for i in range(len(self.members))) if p]

    def signal(self, number, *which):
        """To these members, or to all."""
        for pid in [self.pid(w) for w in which] if which else self.pids():
            if pid:
                signal_pid(pid, number)

    def ended(self):
        return all(p.poll() is not None for p in self.processes)

    def wait(self, limit_s=None):
        """Waits for the end of all; returns their statuses."""
        self.rig.until(self.ended, f"the end of all members ({self.state()})", limit_s)
        return [p.returncode for p in self.processes]

    def state(self):
        return " ".join(f"{os.path.basename(str(m[0]))}="
                        f"{p.poll() if self.how == 'sh' else self.pid(i)}"
                        for i, (m, p) in enumerate(
                            zip(self.members, self.processes * (3 if self.how != "sh" else 1))))


class Watch(threading.Thread):
    """Looks at positions and the output, from outside, some twenty times a second. The order of reading
    is what makes a sample worth something: what is committed must be there when looked at later."""

    def __init__(self, flow):
        super().__init__(daemon=True)
        self.flow, self.kafka = flow, wire.Kafka(flow.brokers)
        self.output = wire.Kafka(flow.rig.brokers)
        self.samples, self.committed, self.ends = [], {}, {}
        self.groups = []  # states and members of the group, each once when it changes
        self.error, self.over, self.lock = None, threading.Event(), threading.Lock()
        self.every_s, self.looks = 0.05, 0

    def look(self):
        with self.lock:
            self.look_once()

    def try_look(self):
        try:
            self.look()
            return True
        except OSError:
            return False  # the broker may be what is killed
        finally:
            self.looks += 1

    def look_once(self):
        flow = self.flow
        committed = self.kafka.committed(flow.group, flow.input, 2)
        dead = flow.dead_count()
        ends = flow.output_ends(self.output)
        group = self.kafka.group(flow.group) if not flow.mock else ("", frozenset())
        sample = {"committed": committed, "dead": dead, "ends": ends}
        if not self.samples or sample != self.samples[-1]:
            self.samples.append(sample)
        if not self.groups or group != self.groups[-1]:
            self.groups.append(group)
        self.committed, self.ends = committed, ends or {}

    def run(self):
        while not self.over.is_set():
            try:
                self.try_look()
            except Exception as error:  # pylint: disable=broad-except
                self.error = error
                return
            self.over.wait(self.every_s)

    def rebalances(self):
        """How often the members changed after the first stable generation."""
        stable = [members for state, members in self.groups if state == "Stable"]
        return max(0, len(stable) - 1)

    def stop(self):
        self.over.set()
        self.join()
        if self.error:
            raise Failure(f"the watch: {self.error!r}")


class Flow:
    """Load into a topic, a pipeline from it, its output, and the judgement.

    sink: "kafka", "redis" (a channel a partition), "stream" (a stream a partition), or a command. middle: the filters. commit: what
    kread is told, None for its default. rate: events a second, 0 for none beside preload."""

    def __init__(self, rig, middle=None, sink="kafka", how="sh", rate=3000, preload=0, window=1000,
                 session_ms=1500, source=(), sink_options=(), commit=None, options=(), env=None,
                 members=None, facts=None, poll_ms=None, mock=None, replicas=1):
        commit = commit or os.environ.get("FAULTS_COMMIT")
        self.rig, self.sink, self.window = rig, sink, window
        self.group = rig.name
        # A mock cluster for the source alone; it cannot describe groups.
        self.mock, self.brokers = mock, mock.brokers if mock else rig.brokers
        self.input = rig.topic("in", replicas=replicas, mock=mock)
        self.output = rig.topic("out", f"min.insync.replicas={replicas}", replicas=replicas)
        self.redis = Redis(rig) if sink in ("redis", "stream") else None
        self.dead_file, self.dead_seen = None, (None, 0, 0)
        self.next_id = 0
        self.facts = {"window": window, "crashes": 0, "undrained": 0, **(facts or {})}
        if middle is None:
            middle = [["evstamp", "--drop", "nas"]]
            if not members:
                self.facts["drop"] = [10, 3]
        env = {"KAFKA_BROKERS": rig.brokers, **(env or {})}
        self.source = ["kread", "-g", self.group, "-X", f"session.timeout.ms={session_ms}",
                       "-X", f"heartbeat.interval.ms={min(session_ms // 3, 500)}", *source]
        if poll_ms:
            self.source += ["-X", f"max.poll.interval.ms={poll_ms}"]
        if commit:
            self.source += ["--commit", commit]
            env["EVPIPE_ACK"] = ""
        else:
            self.source += ["--window", str(window)]
        self.source += ["-b", self.brokers, self.input]
        if sink == "kafka":
            last = ["kwrite", "-t", self.output, "-p", "keep", *sink_options]
        elif sink == "redis":
            env["REDIS_URL"] = self.redis.url
            last = ["rpub", "out-{partition}", *sink_options]
        elif sink == "stream":
            env["REDIS_URL"] = self.redis.url
            last = ["rpub", "--stream", "out-{partition}", "--id", "offset", *sink_options]
        else:
            last = sink
        self.unit = Unit(rig, members(self) if members else
                         [self.source, *middle, last], how, options, env)
        self.feeder = None
        if preload:
            self.feed(0, preload)
            self.feed_end()
        self.rate = rate
        if rate:
            self.feed(rate)
        self.watch = Watch(self)
        self.watch.start()

    # ---- load ----

    def feed(self, rate, count=-1):
        maker = subprocess.Popen(
            [sys.executable, load.__file__, "--rate", str(rate), "--from", str(self.next_id),
             "--count", str(count)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        producer = self.rig.spawn("feed", "kcat", "-P", "-b", self.brokers, "-t", self.input,
                                  "-K", "\\t", "-X", "linger.ms=10", "-X", "enable.idempotence=true",
                                  stdin=maker.stdout, start_new_session=True)
        maker.stdout.close()
        self.feeder = maker, producer

    def feed_end(self, stop=False):
        """Waits until the feeder is done, or stops it."""
        if not self.feeder:
            return
        maker, producer = self.feeder
        if stop:
            maker.terminate()
        self.rig.until(lambda: producer.poll() is not None, "the end of the feeder")
        maker.wait()
        if producer.returncode:
            raise Failure(f"the feeder ended with {producer.returncode}")
        self.feeder = None
        self.next_id = sum(self.input_ends().values())

    def input_ends(self):
        return wire.Kafka(self.brokers).ends(self.input, 2)

    # ---- looking ----

    def dead_count(self):
        """Only what has been added since is read."""
        if not self.dead_file or not os.path.exists(self.dead_file):
            return None
        path, at, count = self.dead_seen
        with open(self.dead_file, "rb") as file:
            if path != self.dead_file or os.fstat(file.fileno()).st_size < at:
                at = count = 0
            file.seek(at)
            data = file.read()
        self.dead_seen = self.dead_file, at + len(data), count + data.count(b"\n")
        return self.dead_seen[2]

    def output_ends(self, kafka):
        if self.sink == "kafka":
            return kafka.ends(self.output, 2)
        if self.sink == "redis":
            return self.redis.ends()
        if self.sink == "stream":
            return self.redis.lengths()
        return None

    def delivered(self):
        return sum(self.watch.ends.values())

    def delivered_now(self):
        """Not what the watch saw last, which may be of before."""
        found = []

        def ends():
            try:
                found.append(self.output_ends(wire.Kafka(self.rig.brokers)))
            except OSError:
                pass
            return found and found[-1] is not None

        self.rig.until(ends, "the ends of the output")
        return sum(found[-1].values())

    def position(self):
        return sum(self.watch.committed.values())

    def errors(self):
        """What the members have said, all of it."""
        text = ""
        for name in sorted(os.listdir(self.rig.dir)):
            if re.match(r"\d+b?-.*\.err$|evpipe\.err$", name):
                with open(self.rig.path(name), encoding="utf-8", errors="replace") as file:
                    text += file.read()
        return text

    def until_steady(self, value, what, for_s=0.5):
        """Until value() has stayed the same for a while, in which the watch has looked some times. What is at rest
        moves no more."""
        watch, end = self.watch, time.monotonic() + LIMIT_S
        last, since, looks = value(), time.monotonic(), watch.looks
        while time.monotonic() - since < for_s or watch.looks < looks + 5:
            if time.monotonic() > end or watch.error:
                raise Failure(f"not at rest within {LIMIT_S:g} s: {what} {watch.error or ''}")
            time.sleep(0.05)
            if value() != last:
                last, since, looks = value(), time.monotonic(), watch.looks
        return last

    # ---- the pipeline ----

    def start(self):
        """Starts the pipeline and waits until it delivers."""
        before = self.delivered_now()
        self.unit.start()
        self.rig.until(lambda: self.unit.ended() or self.delivered() > before,
                       "the first delivery after a start")
        if self.delivered() == before:
            raise Failure(f"the pipeline ended by itself: {self.unit.state()}")

    def crash(self, *which, how=signal.SIGKILL):
        """Kills these members (or all), counts a crash, waits for the end of the others."""
        self.unit.signal(how, *which)
        self.facts["crashes"] += 1
        return self.unit.wait()

    def through(self, what="the position reaches the end", restart=None):
        """Stops the load and waits until all of it is committed. With restart() true when the pipeline has ended
        by itself, that is a crash, and it is started again."""
        self.feed_end(stop=True)
        ends = {p: e for p, e in self.input_ends().items() if e}

        def done():
            if self.watch.error:
                raise Failure(f"the watch: {self.watch.error!r}")
            if self.unit.ended():
                if not restart or not restart():
                    raise Failure(f"the pipeline ended by itself: {self.unit.state()}")
                self.facts["crashes"] += 1
                self.unit.start()
            return all(self.watch.committed.get(p) == e for p, e in ends.items())

        self.rig.until(done, what + f": {ends}, is {self.watch.committed}")

    def stop(self, expected=0):
        """A clean stop: SIGTERM to the source (to evpipe itself), all end with the status expected (None: any)."""
        self.unit.processes[0].terminate()
        statuses = self.unit.wait()
        if expected is not None and any(s != expected for s in statuses):
            raise Failure(f"statuses after a clean stop: {self.unit.state()}")

    def dismiss_dead(self):
        """With all members ended: whoever is left in the group is dead, and is not waited for."""
        kafka = wire.Kafka(self.brokers)

        def gone():
            try:
                left = kafka.group(self.group)[1]
                for member in left:
                    kafka.dismiss(self.group, member)
                return not left
            except OSError:
                return False

        self.rig.until(gone, "a group without its dead members")

    def finish(self, restart=None, **facts):
        """Everything through, a clean stop, the verdict."""
        if self.unit.ended() and not restart:
            self.unit.start()
        self.through(restart=restart)
        self.stop()
        return self.judge_all(**facts)

    def judge_all(self, **facts):
        """The verdict on a run whose position is to be at the end."""
        self.rig.until(self.watch.try_look, "the committed position")
        ends = {p: e for p, e in self.input_ends().items() if e}
        if self.watch.committed != ends:
            raise Failure(f"committed after the stop {self.watch.committed}, sent {ends}")
        return self.judge(**facts)

    def judge(self, **facts):
        self.feed_end(stop=True)
        self.rig.until(self.watch.try_look, "the last sample")
        self.watch.stop()
        self.facts.update(facts)
        # A member that a busy machine has held up for longer than its session loses its partitions undrained.
        self.facts["undrained"] = max(self.facts["undrained"], self.errors().count("group session timed out"))
        self.read_back(self.input, "sent", self.brokers)
        if self.sink == "kafka":
            self.read_back(self.output, "delivered", self.rig.brokers)
        elif self.sink == "redis":
            with open(self.rig.path("delivered"), "wb") as file:
                for p, heard in enumerate(self.redis.heard):
                    file.writelines(b"%d %d %s\n" % (p, at, d) for at, d in enumerate(heard))
        elif self.sink == "stream":
            write_streams(self.redis.socket, "out", self.rig.path("delivered"))
        if self.dead_file and os.path.exists(self.dead_file):
            os.link(self.dead_file, self.rig.path("dead"))
        with open(self.rig.path("samples"), "w", encoding="utf-8") as file:
            file.writelines(json.dumps(s) + "\n" for s in self.watch.samples)
        with open(self.rig.path("run.json"), "w", encoding="utf-8") as file:
            json.dump(self.facts, file)
        good, text, examples = judge_directory(self.rig.dir)
        if not good:
            raise Failure(text + "".join(f"\n  {f}, first: {e}" for f, e in examples.items()))
        return text

    def read_back(self, topic, name, brokers):
        with open(self.rig.path(name), "wb") as file:
            subprocess.run(["kcat", "-C", "-e", "-q", "-b", brokers, "-t", topic, "-o",
                            "beginning", "-X", "check.crcs=true", "-f", "%p %o %s\n"],
                           stdin=subprocess.DEVNULL, stdout=file, check=True, timeout=LIMIT_S * 10)
