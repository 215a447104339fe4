# SPDX-License-Identifier: ISC
"""Instances of khttp, whose positions are committed by the bridge: a client that goes in the middle of answers, a bridge that is
stopped or killed, a second instance that comes and goes. What stands in answers that arrived whole is compared with what was
written: no record is lost. A record may come again, as often as an answer did not arrive or a position was not committed yet.
Requests with a reply, whose service and bridge are killed."""
import http.client
import json
import signal
import socket
import struct
import threading
import time

from rig import Failure, Unit, case, free_port, signal_pid

V2 = {"Content-Type": "application/vnd.kafka.v2+json"}
TEXT = {"Content-Type": "application/vnd.kafka.text.v2+json"}


class Bridge:
    def __init__(self, rig):
        self.rig, self.port, self.process = rig, free_port(), None

    def start(self):
        self.process = self.rig.spawn("khttp", "khttp", "-b", self.rig.brokers, "--listen", f"127.0.0.1:{self.port}",
                                      "--management", "none", "-X", "session.timeout.ms=6000")
        self.rig.until(self.ready, "the bridge answers")

    def ready(self):
        try:
            return self.ask("GET", "/ready")[0] == 200
        except OSError:
            return False

    def ask(self, method, path, body=None, headers=V2):
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=100)
        try:
            client.request(method, path, body and json.dumps(body), headers if body else {"Accept": "*/*"})
            answer = client.getresponse()
            return answer.status, answer.read()
        except http.client.HTTPException as why:
            raise OSError(str(why)) from why
        finally:
            client.close()


class Client(threading.Thread):
    """Makes its instance, polls, and makes it anew when it is gone. One answer of @drops is left in the middle."""

    def __init__(self, bridge, group, name, topic, drops):
        super().__init__(daemon=True)
        self.bridge, self.group, self.name, self.topic, self.drops = bridge, group, name, topic, drops
        self.path = f"/consumers/{group}/instances/{name}"
        self.got, self.polls, self.left, self.stop = [], 0, 0, False

    def make(self):
        self.bridge.ask("POST", f"/consumers/{self.group}",
                        {"name": self.name, "format": "json", "auto.offset.reset": "earliest"})
        self.bridge.ask("POST", self.path + "/subscription", {"topics": [self.topic]})

    def leave(self):
        """Reads the beginning of an answer, and is gone, if the sockets between cannot hold what is left of it."""
        with socket.socket() as peer:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            peer.settimeout(100)
            peer.connect(("127.0.0.1", self.bridge.port))
            peer.sendall(f"GET {self.path}/records?timeout=500 HTTP/1.1\r\nHost: h\r\n\r\n".encode())
            answer = http.client.HTTPResponse(peer)
            answer.begin()
            if answer.length > 1000000:
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.left += 1
                return
            self.take(answer.status, answer.read())

    def take(self, status, body):
        if status == 200:
            self.got += [record["value"]["n"] for record in json.loads(body)]
        elif status in (404, 500):
            self.make()

    def poll(self):
        self.polls += 1
        if self.drops and self.polls % self.drops == 0:
            self.leave()
            return
        self.take(*self.bridge.ask("GET", self.path + "/records?timeout=500"))

    def run(self):
        while not self.stop:
            try:
                self.poll()
            except (OSError, ValueError):
                time.sleep(0.05)


@case("http-clients-leave", drops=3)
@case("http-bridge-stopped", how=signal.SIGTERM)
@case("http-bridge-killed", how=signal.SIGKILL)
@case("http-second-instance", second=True)
def consumers(rig, how=None, drops=0, second=False):
    topic, bridge = rig.topic("in"), Bridge(rig)
    count = rig.pick(10000, 50000, 200000)
    with open(rig.path("records"), "w", encoding="ascii") as file:
        for n in range(count):
            file.write(f'{{"n":{n},"x":"{"x" * 4000}"}}\n')
    bridge.start()
    clients = [Client(bridge, rig.name, "a", topic, drops)]
    clients[0].start()
    feeder = rig.spawn("feeder", "kcat", "-q", "-b", rig.brokers, "-P", "-t", topic, "-l", rig.path("records"))
    if second:
        clients.append(Client(bridge, rig.name, "b", topic, 4))
        clients[1].start()
    rounds = 0

    def got():
        return {n for client in clients for n in client.got}

    for rounds in range(rig.pick(3, 8, 40) if how or second else 0):
        before = len(got())
        rig.until(lambda b=before: len(got()) > b or len(got()) == count, f"progress in round {rounds}")
        rig.doze(0.2, 1)
        if how:
            signal_pid(bridge.process.pid, how)
            rig.until(lambda: bridge.process.poll() is not None, "the end of the bridge")
            if how == signal.SIGTERM and bridge.process.returncode:
                raise Failure(f"khttp ended with {bridge.process.returncode}")
            bridge.start()
        else:
            bridge.ask("DELETE", clients[rounds % 2].path)
    rig.until(lambda: len(got()) == count, "all records")
    rig.until(lambda: feeder.poll() is not None, "the end of the feeder")
    for client in clients:
        client.stop = True
    for client in clients:
        client.join()
    total = sum(len(client.got) for client in clients)
    return f"records={count} lost=0 repeated={total - count} left={sum(client.left for client in clients)} rounds={rounds + 1}"


class Asker(threading.Thread):
    """Requests with a reply, one after the other."""

    def __init__(self, bridge, path, name):
        super().__init__(daemon=True)
        self.bridge, self.path, self.tag, self.stop = bridge, path, name, False
        self.answered, self.wrong, self.failed = 0, [], {}

    def run(self):
        n = 0
        while not self.stop:
            n += 1
            text = f"{self.tag}-{n}"
            try:
                status, body = self.bridge.ask("POST", self.path, {"value": text}, TEXT)
            except OSError:
                status = 0  # the bridge was killed
            if status == 200 and json.loads(body)["value"] == text:
                self.answered += 1
                continue
            self.failed[status] = self.failed.get(status, 0) + 1
            # 500 is the service's own: a worker was killed.
            if status not in (0, 500, 503, 504):
                self.wrong.append((text, status, body))
            time.sleep(0.05)


@case("http-requests-service-killed")
@case("http-requests-bridge-killed", bridge_too=True)
def requests(rig, bridge_too=False):
    """Each answer is the reply to its own request, or says that there was none, whoever is killed; then all are answered."""
    topics, bridge = [rig.topic("requests"), rig.topic("replies")], Bridge(rig)
    service = Unit(rig, [["kread", "-b", rig.brokers, "-X", "session.timeout.ms=6000", "-g", rig.name, topics[0]],
                         ["evcorr", "serve", "--preset=spring", "-P", "2", "--", "cat"],
                         ["kwrite", "-b", rig.brokers, "-p", "have"]],
                   how="evpipe", options=["--restart", "-n", "service"], tag="service")
    service.start()
    bridge.start()
    path = f"/topics/{topics[0]}/request?reply_topic={topics[1]}&timeout=5000"
    askers = [Asker(bridge, path, f"a{n}") for n in range(4)]
    for asker in askers:
        asker.start()

    def answered():
        return sum(asker.answered for asker in askers)

    for n in range(rig.pick(4, 12, 60)):
        before = answered()
        rig.until(lambda b=before: answered() > b + 20, f"progress in round {n}")
        if bridge_too and n % 2:
            signal_pid(bridge.process.pid, signal.SIGKILL)
            rig.until(lambda: bridge.process.poll() is not None, "the end of the bridge")
            bridge.start()
        else:
            service.signal(signal.SIGKILL, n // 2 % 3)
    before = answered()
    rig.until(lambda: answered() > before + 100, "answers at the end")
    for asker in askers:
        asker.stop = True
    for asker in askers:
        asker.join()
    wrong = sum((asker.wrong for asker in askers), [])
    if wrong:
        raise Failure(f"wrong answers: {wrong[:3]}")
    failed = {}
    for asker in askers:
        for status, count in asker.failed.items():
            failed[status] = failed.get(status, 0) + count
    return f"lost=0 crossed=0 of={answered()} failed={failed}"
