# SPDX-License-Identifier: ISC
"""Calls over Kafka and Redis: two services, two stores, a caller or a front, and a fault. Each call has one end: the reply
to its own request, or an error that says what was killed; none is lost, none gets another's, and the cache is empty then."""
import http.client
import json
import os
import signal
import socket
import subprocess
import threading
import time

import wire
from cases_apply import SESSION, Server, Watched
from rig import Failure, Unit, case, command_of, descendants, signal_pid


class Caller(threading.Thread):
    """evcorr call: one request each few milliseconds. What it prints is kept by the number of the request."""

    def __init__(self, calls, count, rate=400):
        super().__init__(daemon=True)
        self.count, self.rate, self.ends, self.extra = count, rate, {}, []
        rig = calls.rig
        self.process = rig.spawn(
            "call", "evcorr", "call", "-u", calls.url, "--timeout", "150s", "--reply-to", calls.replies, "--", "kwrite", "-b",
            rig.brokers, "-t", calls.requests, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.reader = threading.Thread(target=self.read, daemon=True)

    def run(self):
        self.reader.start()
        began = time.monotonic()
        for n in range(self.count):
            self.process.stdin.write(b'{"seq":"00000000000000aa:%d","payload":"call %d"}\n' % (n + 1, n))
            self.process.stdin.flush()
            time.sleep(max(0, began + n / self.rate - time.monotonic()))
        self.process.stdin.close()

    def read(self):
        for line in self.process.stdout:
            record = json.loads(line)
            n = int(record["seq"].rpartition(":")[2]) - 1
            if n in self.ends:
                self.extra.append(n)
            self.ends[n] = record["status"], record["payload"]

    def done(self):
        return len(self.ends)

    def finish(self, rig):
        rig.until(lambda: self.process.poll() is not None, "the end of the caller")
        self.reader.join()


class Client(threading.Thread):
    """Calls by HTTP, one after the other; a call that is cut off is one for evcorr wait."""

    def __init__(self, path, name, count=0):
        super().__init__(daemon=True)
        self.path, self.tag, self.done, self.cut, self.wrong = path, name, 0, [], []
        self.count = count or float("inf")  # a larger one: until it is told

    def connect(self):
        client = http.client.HTTPConnection("front", timeout=150)
        client.sock = socket.socket(socket.AF_UNIX)
        client.sock.settimeout(150)
        client.sock.connect(self.path)
        return client

    def run(self):
        client, n = None, 0
        while n < self.count:
            name, sent = f"{self.tag}-{n}", False
            try:
                client = client or self.connect()
                sent = True
                client.request("POST", "/", name, {"Correlation-Id": name, "X-Timeout": "140"})
                answer = client.getresponse()
                said = answer.status, answer.read().decode()
                if said[0] == 503:  # not taken
                    time.sleep(0.05)
                    continue
                if said != (200, name):
                    self.wrong.append((name, said))
                self.done += 1
            except (OSError, http.client.HTTPException):
                client = None
                time.sleep(0.05)
                if not sent:
                    continue
                self.cut.append(name)
            n += 1


class Calls:
    """Two services, two stores and what they need."""

    def __init__(self, rig, url=None, store=(), ttl="5m"):
        self.rig, self.server = rig, None
        if not url:
            # What it has confirmed is there after a kill.
            self.server = Server(rig, "redis", "--appendonly", "yes", "--appendfsync", "always")
            self.server.start()
            url = f"redis://127.0.0.1:{self.server.port}"
        self.url, self.requests, self.replies = url, rig.topic("requests"), rig.topic("replies")
        kread = ["kread", "-b", rig.brokers, *SESSION, "-g"]
        self.services = [self.unit(f"service-{i}", [*kread, rig.name + "-s", self.requests],
                                   ["evcorr", "serve", "-P", "2", "--", "cat"],
                                   ["kwrite", "-b", rig.brokers, "-p", "have"]) for i in range(2)]
        self.stores = [self.unit(f"store-{i}", [*kread, rig.name + "-r", self.replies],
                                 ["evcorr", "store", "-u", url, "--ttl", ttl, *store]) for i in range(2)]
        for unit in self.services + self.stores:
            unit.start()
        self.caller = Caller(self, rig.pick(1500, 5000, 50000))
        self.front, self.clients = None, []

    def unit(self, name, *members):
        return Unit(self.rig, list(members), how="evpipe", options=["--restart", "-n", name], tag=name)

    def start_front(self, name="front", env=None):
        rig = self.rig
        return rig.spawn(name, "evcorr", "http", "-u", self.url, "--listen", "unix:" + rig.path(name), "--reply-to",
                         self.replies, "--", "kwrite", "-b", rig.brokers, "-t", self.requests, env=env)

    def add_front(self):
        """Clients call by HTTP beside the caller, until finish."""
        self.front = self.start_front()
        self.clients = [Client(self.rig.path("front"), f"c{n}") for n in range(4)]
        for client in self.clients:
            client.start()

    def rounds(self, cut, normal, long):
        """Yields the number of a round each time that more calls have ended."""
        self.caller.start()
        for n in range(self.rig.pick(cut, normal, long)):
            before = self.caller.done()
            self.rig.until(lambda b=before: self.caller.done() > b or self.caller.process.poll() is not None,
                           f"progress in round {n}")
            self.rig.doze(0.1, 0.6)
            yield n

    def finish(self, errors=()):
        """Judges: each call has its own reply, or one of these statuses, which a fault may give it."""
        caller, counts = self.caller, {}
        caller.finish(self.rig)
        for client in self.clients:
            client.count = 0
        self.rig.until(lambda: not any(c.is_alive() for c in self.clients), "the clients' end")
        wrong = sum((c.wrong + c.cut for c in self.clients), [])
        if wrong:
            raise Failure(f"wrong answers by HTTP: {wrong[:3]}")
        for n in range(caller.count):
            status, payload = caller.ends.get(n, (0, None))
            if status == 200 and payload != f"call {n}":
                raise Failure(f"crossed: call {n} has the reply {payload!r}")
            if status != 200:
                counts[status] = counts.get(status, 0) + 1
        if caller.extra or set(counts) - set(errors):
            raise Failure(f"calls by status: {counts}, ended twice: {caller.extra[:5]}, of {caller.count}")
        by_http = f" http={sum(c.done for c in self.clients)}" if self.clients else ""
        return f"lost=0 crossed=0 of={caller.count}{by_http} errors={sum(counts.values())}"

    def is_empty(self):
        return self.server("DBSIZE") == 0


@case("calls-kill-worker")
def kill_worker(rig):
    """SIGKILL of a worker, of serve, of the source and of the sink of a service, by turns."""
    calls = Calls(rig, ttl="10s")  # a request that is read again has a second reply, which nobody takes
    for n in calls.rounds(8, 24, 200):
        unit = calls.services[n // 4 % 2]
        if n % 4 == 0:
            for pid in descendants(unit.processes[0].pid):
                if command_of(pid) == ["cat"]:
                    signal_pid(pid, signal.SIGKILL)
        else:
            unit.signal(signal.SIGKILL, n % 4 - 1)
    result = calls.finish(errors=[500])
    rig.until(calls.is_empty, "an empty cache")
    return result


@case("calls-kill-store")
def kill_store(rig):
    """SIGKILL of evcorr store and of its source."""
    calls = Calls(rig)
    for n in calls.rounds(6, 16, 200):
        calls.stores[n % 2].signal(signal.SIGKILL, n // 2 % 2)
    return calls.finish()


@case("calls-redis-kill")
def redis_kill(rig):
    """Redis is killed and started again with what it had on disk; its clients are cut."""
    calls = Calls(rig)
    for n in calls.rounds(4, 12, 100):
        if n % 2:
            calls.server("CLIENT", "KILL", "TYPE", "pubsub")
            calls.server("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        else:
            calls.server.kill()
            rig.doze(0, 0.5)
            calls.server.start()
    return calls.finish()


class Behind(Watched):
    """Two servers and three sentinels, without rapply."""

    def __init__(self, rig):  # pylint: disable=super-init-not-called
        self.rig = rig
        self.servers = [Server(rig, f"redis-{i}") for i in range(2)]
        for server in self.servers:
            server.start()
        self.primary = self.servers[0]
        self.other.follow(self.primary)
        rig.until(self.other.follows, "the replica follows")
        self.url = self.where()


@case("calls-failover-command", ("normal", "long"), how="command")
@case("calls-failover-kill", how="kill")
@case("calls-failover-stop", ("normal", "long"), how="stop")
def failover(rig, how):
    """Sentinels make a failover, beside a front; with --wait 1 no reply is lost by it."""
    servers = Behind(rig)
    calls = Calls(rig, servers.url, ["--wait", "1"])
    calls.add_front()
    for _ in calls.rounds(1, 3, 20):
        servers.fail(how)
    return calls.finish()


@case("calls-kafka-kill", slow=True)
def kafka_kill(rig):
    """The broker is killed and started again, beside a front."""
    rig.own_kafka()
    calls = Calls(rig)
    calls.add_front()
    for _ in calls.rounds(1, 3, 20):
        rig.stop_kafka("-9")
        rig.doze(0.5, 2)
        rig.start_kafka()
    return calls.finish()


@case("calls-kill-caller")
def kill_caller(rig):
    """evcorr call is killed with calls on their way: evcorr wait finds the reply to each that it had sent."""
    calls, got = Calls(rig), rig.path("got")
    calls.caller.process.kill()
    for unit in calls.services:  # the replies come when nobody waits any more
        unit.signal(signal.SIGSTOP, 1)
    count = rig.pick(300, 2000, 20000)
    call = rig.spawn("killed", "sh", "-c", 'exec evcorr call -u "$0" --raw --timeout 100s --reply-to "$1" -- '
                     'sh -c "tee $2 | kwrite -b $3 -t $4"', calls.url, calls.replies, got, rig.brokers, calls.requests,
                     stdin=subprocess.PIPE)
    # kwrite is not ours to kill, and may be killed with what it has not sent.
    sent = []
    call.stdin.write(b"".join(b"call %d\n" % n for n in range(count)))
    call.stdin.flush()

    def is_sent():
        with open(got, encoding="utf-8") as file:
            sent[:] = [json.loads(line) for line in file if line.endswith("\n")]
        return len(sent) == count

    rig.until(lambda: os.path.exists(got) and is_sent(), "the requests")
    rig.until(lambda: int(rig.run("sh", "-c", f"kread -q -b {rig.brokers} -e {calls.requests} | wc -l")) >= count,
              "the requests in their topic")
    call.kill()
    for unit in calls.services:
        unit.signal(signal.SIGCONT, 1)
    ids = {record["headers"][1]: record["payload"] for record in sent}
    said = [json.loads(line) for line in
            rig.run("evcorr", "wait", "-u", calls.url, "--timeout", "100s", *ids).splitlines()]
    found = {record["headers"][1]: record["payload"] for record in said}
    if found != ids or len(said) != count:
        raise Failure(f"found {len(found)} of {count}")
    rig.until(calls.is_empty, "an empty cache")
    return f"lost=0 crossed=0 of={count}"


@case("calls-kill-front")
def kill_front(rig):
    """Two fronts and two services, of which something is killed by turns, and Redis, which is started again: the callers of a
    front that is killed see a reset, and evcorr wait finds the reply to each request that it had sent."""
    calls = Calls(rig, ttl="10m")
    calls.caller.process.kill()
    os.mkdir(rig.path("runs"))
    env = {**os.environ, "XDG_RUNTIME_DIR": rig.path("runs")}

    fronts = [calls.start_front(f"front-{n}", env) for n in range(2)]
    count = rig.pick(24, 80, 1000)
    clients = [Client(rig.path(f"front-{n % 2}"), f"c{n}", count) for n in range(20)]
    for client in clients:
        client.start()
    for n in range(rig.pick(4, 8, 60)):
        done = sum(c.done for c in clients)
        rig.until(lambda d=done: sum(c.done for c in clients) > d or not any(c.is_alive() for c in clients), "progress")
        rig.doze(0, 0.4)
        if n % 4 == 3:
            calls.server.kill()
            calls.server.start()
        fronts[n % 2].kill()
        fronts[n % 2].wait()
        fronts[n % 2] = calls.start_front(f"front-{n % 2}", env)
        calls.services[n // 2 % 2].signal(signal.SIGKILL, n % 3)
    rig.until(lambda: not any(c.is_alive() for c in clients), "the clients' end", rig.pick(None, None, 900))
    wrong, cut = sum((c.wrong for c in clients), []), sum((c.cut for c in clients), [])
    if wrong:
        raise Failure(f"wrong answers: {wrong[:3]}")
    # One that was cut may have been sent or not.
    sent = set(rig.run("sh", "-c", f"kread -q -b {rig.brokers} -e {calls.requests} | jq -r .payload").split())
    sent &= set(cut)
    said = rig.run("evcorr", "wait", "-u", calls.url, "--timeout", "100s", *sent) if sent else ""
    found = {record["headers"][1]: record["payload"] for record in map(json.loads, said.splitlines())}
    if any(name != payload for name, payload in found.items()):
        raise Failure(f"crossed: {found}")
    if set(found) != sent:
        raise Failure(f"found {len(found)} of {len(sent)} that were sent, of {len(cut)} that were cut")
    for process in fronts:
        process.terminate()
        process.wait()
    rig.until(lambda: not os.listdir(rig.path("runs")), "the fronts' directories are gone")
    return f"lost=0 crossed=0 of={len(clients) * count} cut={len(cut)} found={len(found)}"
