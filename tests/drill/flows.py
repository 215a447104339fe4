# SPDX-License-Identifier: ISC
"""The load of each seed, and what is judged of it in the end. Each has progress(), numbers that all grow while events
arrive where they should, and judge(), a line of figures or a Failure."""
import collections
import http.client
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import time

import load
import wire
from cases_calls import Client
from cases_sse import BROWSER
from checker import judge_directory
from machine import PIPELINES, Tail
from rig import Failure


class Feed(threading.Thread):
    """kcat, which is fed line(n) so many times a second, to the partition n % lanes, or by key. pause() waits until all is
    acknowledged: a broker may go then."""

    def __init__(self, rig, topic, line, rate, lanes=0):
        super().__init__(daemon=True)
        self.rig, self.topic, self.line, self.rate, self.lanes = rig, topic, line, rate, lanes
        self.kcat, self.count, self.over, self.lock = [], 0, False, threading.Lock()
        self.start()

    def run(self):
        while not self.over:
            with self.lock:
                if not self.over:
                    self.write(max(1, self.rate // 20))
            time.sleep(0.05)

    def write(self, count):
        if not self.kcat:
            self.kcat = [self.rig.spawn(f"feed-{self.topic}", "kcat", "-P", "-b", self.rig.brokers, "-t", self.topic, "-X",
                                        "linger.ms=10", "-X", "enable.idempotence=true",
                                        *(["-p", str(lane)] if self.lanes else ["-K", "\\t"]), stdin=subprocess.PIPE)
                         for lane in range(max(1, self.lanes))]
        for _ in range(count):
            self.kcat[self.count % len(self.kcat)].stdin.write(self.line(self.count))
            self.count += 1
        for kcat in self.kcat:
            kcat.stdin.flush()

    def pause(self):
        # pylint: disable=consider-using-with
        self.lock.acquire()
        for kcat in self.kcat:
            kcat.stdin.close()
        for kcat in self.kcat:
            self.rig.until(lambda k=kcat: k.poll() is not None, f"the end of the feeder of {self.topic}")
            if kcat.returncode:
                raise Failure(f"the feeder of {self.topic} ended with {kcat.returncode}")
        self.kcat = []

    def resume(self):
        self.lock.release()

    def end(self):
        self.over = True
        self.pause()
        self.resume()


class Positions(threading.Thread):
    """Samples for the checker: what the group has committed, and then what is at the other end."""

    def __init__(self, site, group, topic, ends):
        super().__init__(daemon=True)
        self.kafka, self.group, self.topic, self.ends = wire.Kafka(site.rig.brokers), group, topic, ends
        self.samples, self.over = [], threading.Event()
        self.start()

    def look(self):
        try:
            committed = self.kafka.committed(self.group, self.topic, 2)
            try:
                ends = self.ends()
            except OSError:
                ends = None
            sample = {"committed": committed, "dead": None, "ends": ends}
            if not self.samples or sample != self.samples[-1]:
                self.samples.append(sample)
        except OSError:
            pass  # the broker may be what is killed

    def run(self):
        while not self.over.wait(0.2):
            self.look()

    def end(self):
        """With a last look. Two at a time would take each other's answers."""
        self.over.set()
        self.join()
        self.look()

    def at(self):
        return self.samples[-1]["committed"] if self.samples else {}


def read_topic(site, topic):
    """"PARTITION OFFSET PAYLOAD" of each record, in order of the partitions."""
    return subprocess.run(["kcat", "-C", "-e", "-q", "-b", site.rig.brokers, "-t", topic, "-o", "beginning", "-f", "%p %o %s\n"],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True, timeout=600).stdout.splitlines(True)


def check(site, name, sent, delivered, samples=(), **facts):
    """By tests/faults/checker.py."""
    directory = site.rig.path("judge-" + name)
    os.mkdir(directory)
    for file_name, lines in (("sent", sent), ("delivered", delivered),
                             ("samples", [json.dumps(s).encode() + b"\n" for s in samples]),
                             ("run.json", [json.dumps(facts).encode()])):
        with open(os.path.join(directory, file_name), "wb") as file:
            file.writelines(lines)
    good, text, examples = judge_directory(directory)
    if not good:
        raise Failure(f"{name}: {text}" + "".join(f"\n  {f}, first: {e}" for f, e in examples.items()))
    return text


class Streams(threading.Thread):
    """Reads the streams down:TOPIC-PARTITION as they grow: they are trimmed."""

    def __init__(self, site):
        super().__init__(daemon=True)
        self.site, self.got, self.over = site, {f"orders-{p}": [] for p in range(2)} | {"payments-0": []}, False
        self.lock = threading.Lock()
        self.start()

    def look(self):
        with self.lock:
            for name, got in self.got.items():
                while True:
                    start = b"(" + got[-1][0] if got else "-"
                    entries = self.site.redis("XRANGE", "down:" + name, start, "+", "COUNT", 1000)
                    got += [(id_, fields[fields.index(b"payload") + 1]) for id_, fields in entries]
                    if len(entries) < 1000:
                        break

    def run(self):
        while not self.over:
            try:
                self.look()
            except (OSError, wire.WireError):
                pass
            time.sleep(0.2)

    def ends(self):
        self.look()
        return {str(p): len(self.got[f"orders-{p}"]) for p in range(2)}


class CrossCloud:
    """Seed 1: events of the NAS in orders, of the edge in payments; all of them in streams, in the log and at a browser."""

    def __init__(self, site, rate):
        self.site, rig = site, site.rig
        self.streams, self.over, self.edge_count, self.touched = Streams(site), False, 0, 0
        self.positions = Positions(site, "bridge", "orders", self.streams.ends)
        self.feeds = [Feed(rig, "orders", lambda n: f"k{n % 16}\t{load.payload(n)}\n".encode(), rate)]
        self.edge = threading.Thread(target=self.write_edge, args=(rate,), daemon=True)
        self.edge.start()
        self.browser = rig.path("browser")
        self.events, self.event_count = Tail(self.browser), 0
        with open(self.browser, "wb") as out:
            # It is there before the service is.
            rig.spawn("browser", "sh", "-c", 'until [ -S "$1" ]; do sleep 0.1; done; exec "$0" "$2" "$1" "/events/*"', sys.executable,
                      rig.path("state/web"), BROWSER, stdout=out)

    def write_edge(self, rate):
        """Ids of its own: one whose reply was lost is not added twice."""
        while not self.over:
            n = self.edge_count
            try:
                self.site.redis("XADD", "up:payments", f"{n + 1}-1", "payload", f'{{"id":{n},"tenantId":"t{n % 5}"}}')
            except wire.WireError as why:
                if "equal or smaller" not in str(why):
                    time.sleep(0.1)
                    continue
            except OSError:
                time.sleep(0.1)
                continue
            self.edge_count += 1
            time.sleep(1 / rate)

    def seen(self):
        self.event_count += len(self.events.more())
        return self.event_count

    def progress(self):
        with open(self.site.rig.path("state/audit.ndjson"), "rb") as file:
            audit = file.seek(0, 2)
        return *map(len, self.streams.got.values()), self.seen(), audit

    def judge(self):
        site, rig, revbridge_bound = self.site, self.site.rig, 1000 * self.touched
        self.over = True
        self.edge.join()

        def all_there():
            lines = read_topic(site, "orders") + read_topic(site, "payments")
            ids = {json.loads(line.split(b" ", 2)[2])["id"] for line in lines[self.feeds[0].count:]}
            return len(ids) == self.edge_count and self.seen() >= len(lines) and \
                sum(map(len, self.streams.got.values())) >= len(lines) and \
                int(rig.run("sh", "-c", f"wc -l <{rig.path('state/audit.ndjson')}")) >= len(lines)
        rig.until(all_there, "all events of cross-cloud at all its ends")
        orders, payments = read_topic(site, "orders"), read_topic(site, "payments")
        self.positions.end()
        down = [b"%d %d %s\n" % (p, at, data) for p in range(2) for at, (_, data) in enumerate(self.streams.got[f"orders-{p}"])]
        text = "bridge: " + check(site, "bridge", orders, down, self.positions.samples, may_repeat=0)
        up = [b'0 %d {"id":%d,"tenantId":"t%d"}\n' % (n, n, n % 5) for n in range(self.edge_count)]
        text += "\nrevbridge: " + check(site, "revbridge", up, payments, bytes=False, may_repeat=revbridge_bound)
        if [p.split(b" ", 2)[2].rstrip(b"\n") for p in payments] != [data for _, data in self.streams.got["payments-0"]]:
            raise Failure("payments in Redis are not those in Kafka")
        return text + "\naudit: " + self.judge_log(orders, payments) + "\nlive: " + self.judge_browser()

    def judge_log(self, orders, payments):
        rig, log = self.site.rig, self.site.rig.path("state/audit.ndjson")
        rig.run("evchain", "verify", "--key", "@" + rig.path("state/audit.vkey"), log)
        logged = sorted("{topic} {partition} {offset} {payload}".format(**json.loads(line)).encode()
                        for line in rig.run("evchain", "show", "--records", log).splitlines())
        there = sorted(name + b" " + line.rstrip(b"\n") for name, lines in ((b"orders", orders), (b"payments", payments))
                       for line in lines)
        if logged != there:
            raise Failure(f"the log has {len(logged)} records, the topics have {len(there)}")
        return f"lost=0 repeated=0 of={len(logged)}"

    def judge_browser(self):
        seen = {}
        with open(self.browser, encoding="utf-8") as file:
            for line in file:
                event = json.loads(line)
                seen.setdefault(event["event"].removeprefix("down:"), []).append(event["data"].encode())
        if "gap" in seen:
            raise Failure(f"the browser was told of a gap: {seen['gap'][:3]}")
        for name, got in self.streams.got.items():
            if seen.get(name) != [data for _, data in got]:
                raise Failure(f"the browser has {len(seen.get(name, []))} of {name}, the stream {len(got)}")
        return f"lost=0 repeated=0 of={sum(map(len, seen.values()))}"


class Gateway:
    """Seed 2: clients that repeat a request with its key until it is acknowledged, and a consumer."""

    def __init__(self, site, rate):
        self.site, self.acked, self.repeated, self.over, self.feeds = site, set(), set(), False, []
        rig, port = site.rig, site.gateway
        self.context = ssl.create_default_context(cafile=rig.path("state/ca.pem"))
        self.consumed, self.read_count = rig.path("state/consumed"), 0
        self.reads = Tail(self.consumed)
        append = rig.path("append")
        with open(append, "w", encoding="ascii") as file:
            file.write(f'#!/bin/sh\nexec jq -r ".[].value" >>{self.consumed}\n')
        os.chmod(append, 0o755)
        with open(self.consumed, "wb"):
            pass
        self.consumer = rig.spawn(
            "consume", os.path.join(PIPELINES, "gateway", "consume"), f"https://kafka.example.org:{port}", "readers", "load",
            append, "--cacert", rig.path("state/ca.pem"), "--resolve", f"kafka.example.org:{port}:127.0.0.1")
        self.clients = [threading.Thread(target=self.client, args=(name, 4 / rate), daemon=True) for name in "abcd"]
        for client in self.clients:
            client.start()

    def connect(self):
        client = http.client.HTTPSConnection("kafka.example.org", self.site.gateway, timeout=50, context=self.context)
        client.sock = self.context.wrap_socket(socket.create_connection(("127.0.0.1", self.site.gateway), 50),
                                               server_hostname="kafka.example.org")
        return client

    def client(self, name, pause_s):
        client, n = None, 0
        while not self.over:
            n += 1
            value, tries, status = f"{name}-{n}", 0, None
            key = value
            while status != 200:
                tries += 1
                try:
                    client = client or self.connect()
                    client.request("POST", "/topics/load", f'{{"records":[{{"key":"{value}","value":"{value}"}}]}}',
                                   {"Content-Type": "application/vnd.kafka.json.v2+json", "Idempotency-Key": key})
                    answer = client.getresponse()
                    body, status = answer.read(), answer.status
                    # At 504 the same key asks again. This is the last word: it may have been written.
                    if status == 500 or (status == 200 and b'"error_code"' in body):
                        key, status = f"{value}.{tries}", None
                except (OSError, http.client.HTTPException):
                    client = status = None
                if status != 200:
                    time.sleep(0.05)
            if tries > 1:
                self.repeated.add(value)
            self.acked.add(value)
            time.sleep(pause_s)

    def read(self):
        with open(self.consumed, encoding="ascii") as file:
            return file.read().split()

    def progress(self):
        self.read_count += len(self.reads.more())
        return len(self.acked), self.read_count

    def judge(self):
        self.over = True
        self.site.rig.until(lambda: not any(c.is_alive() for c in self.clients), "the gateway's clients")
        self.site.rig.until(lambda: self.acked <= set(self.read()), "all that was acknowledged is consumed")
        self.consumer.terminate()
        self.consumer.wait()
        written = [json.loads(line.split(b" ", 2)[2]) for line in read_topic(self.site, "load")]
        doubled = {v for v, count in collections.Counter(written).items() if count > 1 and v not in self.repeated}
        lost = self.acked - set(written)
        if lost or doubled or set(written) - self.acked:
            raise Failure(f"gateway: lost {sorted(lost)[:3]}, twice though acknowledged at once {sorted(doubled)[:3]}")
        consumed = self.read()
        return (f"gateway: lost=0 repeated={len(written) - len(set(written))} bound={len(self.repeated)} of={len(self.acked)} "
                f"consumed again={len(consumed) - len(set(consumed))}")


class Appliers:
    """Seed 3: INCRBY and RPUSH, exact only if nothing is lost, repeated or reordered."""

    def __init__(self, site, rate):
        self.site = site
        self.feeds = [Feed(site.rig, "log", self.line, rate, lanes=2)]

    @staticmethod
    def line(number):
        commands = [["INCRBY", "sum", number], ["RPUSH", f"log-{number % 2}", number]]
        return json.dumps(commands, separators=(",", ":")).encode() + b"\n"

    def progress(self):
        """By partition: each has its member."""
        try:
            primary = self.site.sentinel.primary
            return primary("LLEN", "log-0"), primary("LLEN", "log-1")
        except (OSError, wire.WireError):
            return 0, 0

    def judge(self):
        count, primary = self.feeds[0].count, self.site.sentinel.primary
        self.site.rig.until(lambda: sum(self.progress()) >= count, "all is applied")
        for p in range(2):
            numbers = [int(n) for n in primary("LRANGE", f"log-{p}", 0, -1)]
            if numbers != list(range(p, count, 2)):
                raise Failure(f"appliers: log-{p} has {len(numbers)} entries of {len(range(p, count, 2))}, or others")
        if int(primary("GET", "sum")) != count * (count - 1) // 2:
            raise Failure(f"appliers: the sum is {primary('GET', 'sum')}")
        return f"appliers: lost=0 repeated=0 of={count}"


class Far:
    """Seed 4: a Kafka whose name nobody resolves, behind a proxy; a copy in transactions."""

    def __init__(self, site, rate):
        self.site = site
        kafka = wire.Kafka(site.rig.brokers)
        self.positions = Positions(site, "far", "far", lambda: kafka.ends("far-copy", 2))
        self.feeds = [Feed(site.rig, "far", lambda n: f"k{n % 16}\t{load.payload(n)}\n".encode(), rate)]

    def progress(self):
        return tuple(self.positions.at().get(p, 0) for p in range(2))

    def judge(self):
        # The offsets of a topic count the ends of the producer's transactions too: its own are without.
        ends = self.site.wire.ends("far", 2)
        self.site.rig.until(lambda: self.positions.at() == {p: e for p, e in ends.items() if e}, "all is copied")
        self.positions.end()
        return "far: " + check(self.site, "far", read_topic(self.site, "far"), read_topic(self.site, "far-copy"),
                               self.positions.samples, may_repeat=0)


class Caller(Client):
    """By TCP; what ends with an error that says so is counted."""

    def __init__(self, port, name):
        super().__init__(port, name)
        self.failed = 0

    def connect(self):
        return http.client.HTTPConnection("127.0.0.1", self.path, timeout=150)


class Calls:
    """Seed 5: calls by HTTP; each has the reply to its own request, or an error that says that there is none."""

    def __init__(self, site, rate):  # pylint: disable=unused-argument
        self.site, self.feeds = site, []
        self.clients = [Caller(site.units["calls"].port, f"c{n}") for n in range(4)]
        for client in self.clients:
            client.start()

    def progress(self):
        return tuple(c.done for c in self.clients)

    def judge(self):
        for client in self.clients:
            client.count = 0
        self.site.rig.until(lambda: not any(c.is_alive() for c in self.clients), "the callers' end")
        wrong = sum((c.wrong for c in self.clients), [])
        # 500: the worker was killed. 504: no reply in time.
        crossed = [w for w in wrong if w[1][0] not in (500, 504)]
        if crossed:
            raise Failure(f"calls: wrong answers {crossed[:3]}")
        return (f"calls: lost=0 crossed=0 of={sum(c.done for c in self.clients)} errors={len(wrong)} "
                f"cut={sum(len(c.cut) for c in self.clients)}")


FLOWS = (CrossCloud, Gateway, Appliers, Far, Calls)
