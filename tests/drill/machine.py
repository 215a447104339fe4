# SPDX-License-Identifier: ISC
"""The machine of the drill: the servers, and seeds of units under runit, each with a port for health and metrics."""
import json
import os
import random
import socket
import subprocess

import wire
from cases_apply import Server
from cases_calls import Behind
from proxy import Proxy
from rig import KAFKA, Failure, children, command_of, descendants

ROOT = os.path.abspath(os.path.join(KAFKA, "..", ".."))
PIPELINES = os.path.join(ROOT, "examples", "pipelines")
GRACE_S = 4  # --health-grace
EVPIPE = f"evpipe --log json --health-grace {GRACE_S}s"
# A consumer that was killed is in its group's way for so long.
SESSION = "-X session.timeout.ms=6000 -X heartbeat.interval.ms=500"


def children_of(pid):
    """Of a process that may end at any time."""
    try:
        return children(pid)
    except OSError:
        return []


class Unit:
    """What has a health of its own. members: its programs under evpipe. uses: the servers it has, as Site.away names them.
    peers: the other units of its group, which wait for it in a rebalance."""

    def __init__(self, name, service, members, uses, peers=(), paths=("/healthz", "/readyz"), port=0):
        self.name, self.service, self.members, self.uses, self.peers = name, service, members, uses, peers
        self.paths, self.port = paths, port


class Tail:
    """The whole lines that a file has had since it was looked at last: it grows for an hour."""

    def __init__(self, path):
        self.path, self.at = path, 0

    def more(self):
        if not os.path.exists(self.path):
            return []
        with open(self.path, "rb") as file:
            file.seek(self.at)
            lines = file.read().split(b"\n")
        self.at += sum(len(line) + 1 for line in lines[:-1])
        return lines[:-1]


def group(name, *rest):
    names = [f"{name}-{n}" for n in range(rest[-1])]
    return [Unit(n, n, *rest[:-1], peers=[p for p in names if p != n]) for n in names]


def all_units():
    return [
        Unit("bridge", "nas", ["kread", "rpub"], {"kafka": ["kread"], "nas": ["rpub"]}),
        Unit("revbridge", "nas", ["rsub", "evstamp", "evkey", "kwrite"], {"kafka": ["kwrite"], "nas": ["rsub"]}),
        Unit("audit", "nas", ["kread", "evchain"], {"kafka": ["kread"]}),
        Unit("heads", "nas", ["tail", "kwrite"], {"kafka": ["kwrite"]}),
        Unit("live", "edge", ["rsub", "evsse"], {"edge": ["rsub"]}),
        Unit("east", "east", [], {"kafka": ["khttp"]}, paths=("/healthy", "/ready")),
        Unit("west", "west", [], {"kafka": ["khttp"]}, paths=("/healthy", "/ready")),
        *group("applier", ["kread", "rapply"], {"kafka": ["kread"], "sentinel": ["rapply"]}, 3),
        Unit("far", "far", ["kread", "kwrite"], {"kafka": ["kread", "kwrite"], "far": ["kread", "kwrite"]}),
        *group("service", ["kread", "evcorr", "kwrite"], {"kafka": ["kread", "kwrite"]}, 2),
        *group("store", ["kread", "evcorr"], {"kafka": ["kread"], "sentinel": ["evcorr"]}, 2),
        Unit("calls", "calls", [], {"kafka": ["kwrite"], "sentinel": ["evcorr"]}),
    ]


def free_ports(count):
    """The first of so many free ports in a row, below those that servers take by chance (rig.free_port, tests/kafka): a unit
    that is down must find its port free."""
    while True:
        first, held = random.randrange(10000, 14900), []
        try:
            for port in range(first, first + count):
                held.append(socket.socket())
                held[-1].bind(("127.0.0.1", port))
            return first
        except OSError:
            pass
        finally:
            for sock in held:
                sock.close()


class Site:
    def __init__(self, rig):
        self.rig, self.units = rig, {u.name: u for u in all_units()}
        self.base = free_ports(len(self.units) + 3)
        for n, unit in enumerate(self.units.values()):
            unit.port = self.base + n
        self.gateway = self.base + len(self.units)
        os.mkdir(rig.path("log"))
        self.kafka_up()
        self.redis = Server(rig, "edge", "--appendonly", "yes", "--appendfsync", "always", "--appenddirname", "edge-aof")
        self.redis.start()
        self.nas, self.edge = (Proxy(self.redis.socket, None) for _ in range(2))
        self.sentinel = Behind(rig)
        self.services, self.logs = [], {}
        self.write_services()

    def kafka_up(self):
        rig = self.rig
        listeners = "PLAINTEXT://127.0.0.1:@PLAIN@,SASL://127.0.0.1:@SASL@,"
        rig.own_kafka(f"listeners={listeners}CONTROLLER://127.0.0.1:@CONTROLLER@,FAR://127.0.0.1:@FAR@",
                      f"advertised.listeners={listeners}FAR://kafka.internal:@FAR@",
                      "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT,FAR:PLAINTEXT",
                      "group.initial.rebalance.delay.ms=0")
        with open(rig.path("kafka/ports"), encoding="ascii") as file:
            self.far_port = file.read().split()[3]
        self.far = Proxy("127.0.0.1:" + self.far_port)
        for topic, partitions in (("orders", 2), ("payments", 1), ("audit-heads", 1), ("load", 2), ("log", 2), ("far", 2),
                                  ("far-copy", 2), ("requests", 2), ("replies", 2)):
            rig.run(os.path.join(KAFKA, "topics"), rig.brokers, "create", topic, str(partitions))
        self.wire = wire.Kafka(rig.brokers)
        self.kafka_log = Tail(rig.path("kafka/log"))

    # ---- services ----

    def write_services(self):
        kafka, url, status = self.rig.brokers, self.sentinel.url, {n: f"127.0.0.1:{u.port}" for n, u in self.units.items()}
        state = self.rig.path("state")
        os.mkdir(state)
        cross = (f"export TOPICS='orders payments' PARTITIONS=2 STATUS={status['bridge']} LISTEN=unix:{state}/web "
                 f"UNIT_OPTIONS='--log json --health-grace {GRACE_S}s' HOSTNAME=drill; ")
        self.service("nas", f"{cross} NAS_REDIS_URL=redis://{self.nas.where} exec {PIPELINES}/cross-cloud nas")
        self.service("edge", f"{cross} EDGE_REDIS_URL=redis://{self.edge.where} exec {PIPELINES}/cross-cloud edge")
        gate = (f"export HOST=kafka.example.org LISTEN=127.0.0.1:{self.gateway} EAST=127.0.0.1:{self.gateway + 1} "
                f"WEST=127.0.0.1:{self.gateway + 2}; ")
        for site in ("east", "west"):
            self.service(site, f"{gate} EVPIPE_NAME={site} MANAGEMENT={status[site]} exec {PIPELINES}/gateway/run {site}")
        self.service("front", f"{gate} exec {PIPELINES}/gateway/run front")
        for n in range(3):
            self.evpipe(f"applier-{n}", f"kread -g applier {SESSION} log '|' rapply -u {url}")
        resolve = f"-b kafka.internal:{self.far_port} --resolve kafka.internal:{self.far_port}:{self.far.where}"
        self.evpipe("far", f"kread {resolve} -g far {SESSION} far '|' kwrite {resolve} -t far-copy -p keep --txn far")
        for n in range(2):
            self.evpipe(f"service-{n}", f"kread -g service {SESSION} requests '|' evcorr serve -P 2 -- cat '|' kwrite -p have")
            self.evpipe(f"store-{n}", f"kread -g store {SESSION} replies '|' evcorr store -u {url} --wait 1")
        self.service("calls", f"export EVPIPE_NAME=calls\nexec evcorr http -u {url} --listen {status['calls']} --reply-to replies -- kwrite -t requests")

    def evpipe(self, name, members):
        self.service(name, f"exec {EVPIPE} -n {name} --listen 127.0.0.1:{self.units[name].port} {members}")

    def service(self, name, command):
        """As in examples/supervise/runit: what ends with 100 stays down."""
        directory, log = self.rig.path("services/" + name), self.rig.path("log/" + name)
        os.makedirs(directory)
        for script, text in (("run", f"exec >>{log} 2>&1\ncd {self.rig.path('state')}\nexport STATE=$PWD "
                              f"KAFKA_BROKERS={self.rig.brokers}\n{command}\n"),
                             ("finish", f'echo "supervise: {name} has ended with $1" >>{log}\n'
                              '[ "$1" -ne 100 ] || exec sv down .\n')):
            path = os.path.join(directory, script)
            with open(path, "w", encoding="utf-8") as file:
                file.write("#!/bin/bash\n" + text)
            os.chmod(path, 0o755)
        self.services.append(name)
        self.logs[name] = Tail(log)

    def start(self):
        self.rig.run(os.path.join(PIPELINES, "gateway", "run"), "certs",
                     env={**os.environ, "STATE": self.rig.path("state"), "KAFKA_BROKERS": self.rig.brokers})
        self.scan = self.rig.spawn("runsvdir", "runsvdir", self.rig.path("services"), start_new_session=True)

    def sv(self, *command):
        self.rig.run("sv", "-w", "60", *command[:-1], self.rig.path("services/" + command[-1]))

    def end(self):
        """An orderly stop of all."""
        for name in self.services:
            subprocess.run(["sv", "-w", "60", "down", self.rig.path("services/" + name)], stdout=subprocess.DEVNULL, check=False)

    # ---- processes ----

    def supervisor(self, service):
        """The process that runit has started for it; 0 when there is none."""
        for pid in children_of(self.scan.pid):
            if command_of(pid)[:2] == ["runsv", service]:
                return next(iter(children_of(pid)), 0)
        return 0

    def evpipe_of(self, unit):
        """Of a unit without evpipe: its one process."""
        top = self.supervisor(unit.service)
        for pid in [top, *descendants(top)] if top else []:
            command = command_of(pid)
            if not unit.members and command and os.path.basename(command[0]) in ("khttp", "evcorr"):
                return pid
            if command and command[0] == "evpipe" and unit.name in command[:12]:
                return pid
        return 0

    def member(self, unit, tool):
        top = self.evpipe_of(unit)
        for pid in children_of(top) if top else []:
            if os.path.basename((command_of(pid) or [""])[0]) == tool:
                return pid
        return 0

    # ---- logs ----

    def log_ends(self):
        return {name: os.path.getsize(path) if os.path.exists(path) else 0
                for name in self.services for path in [self.rig.path("log/" + name)]}

    def said(self, unit, since):
        """(tool, message) of what the unit has said since the log had that length; lines that are no JSON belong to all tools."""
        with open(self.rig.path("log/" + unit.service), "rb") as file:
            file.seek(since[unit.service])
            lines = file.read().decode(errors="replace").splitlines()
        for line in lines:
            try:
                entry = json.loads(line)
                if entry["pipeline"] == unit.name:
                    yield entry["tool"], entry["message"]
            except (ValueError, KeyError, TypeError):
                yield None, line

    def permanent(self):
        for name, log in self.logs.items():
            for line in log.more():
                if line == b"supervise: %s has ended with 100" % name.encode():
                    raise Failure(f"{name} has ended for good: see log/{name}")


def wait_gone(rig, pid):
    def gone():
        try:
            with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
                return file.read().rpartition(")")[2].split()[0] == "Z"
        except OSError:
            return True
    rig.until(gone, f"the end of process {pid}")
