# SPDX-License-Identifier: ISC
"""What is done to the machine: each fault begins, may be held until those that it strikes are red, and ends."""
import signal

from machine import wait_gone
from rig import command_of, descendants, signal_pid

# A server, as the programs name one.
SERVER = "(?i)redis|broker|kafka|127.0.0.1:"


class Fault:
    """units: what may be red meanwhile, beside others of their groups. red: what must be, before it is ended. said: what
    must stand in the log of each: [(unit, tool, expression)]. alert: what must fire for each of red."""

    def __init__(self, kind, name, units, begin, end=lambda: None, red=(), said=(), alert=None):
        self.kind, self.name, self.units, self.begin, self.end = kind, name, set(units), begin, end
        self.red, self.said, self.alert = set(red), said, alert


class Faults:
    def __init__(self, site, flows):
        self.site, self.rig, self.units = site, site.rig, site.units
        self.feeds = [feed for flow in flows for feed in flow.feeds]

    def all(self):
        for unit in self.units.values():
            for member in unit.members:
                yield self.kill_member(unit, member)
                yield self.freeze(unit, member)
            yield self.kill_unit(unit)
        for service in self.site.services:
            yield self.restart(service)
            yield self.down(service)
        yield self.worker()
        yield self.broker("kill", "-9")
        yield self.broker("stop")
        yield self.redis()
        for how in ("command", "kill", "stop"):
            yield self.failover(how)
        for server in ("far", "nas", "edge"):
            yield self.cut(server)
            yield self.away(server)
            yield self.silent(server)

    def using(self, server):
        return [name for name, unit in self.units.items() if server in unit.uses]

    def said(self, server, expression):
        return [(name, tool, expression) for name in self.using(server) for tool in self.units[name].uses[server]]

    def pid(self, find):
        """Of what may be on its way up."""
        found = []

        def there():
            found[:] = [find()]
            return found[0]
        self.rig.until(there, "a process to be killed")
        return found[0]

    # ---- processes ----

    def kill(self, find):
        pid = self.pid(find)
        signal_pid(pid, signal.SIGKILL)
        wait_gone(self.rig, pid)

    def kill_member(self, unit, tool):
        return Fault("member killed", f"kill {unit.name}/{tool}", [unit.name],
                     lambda: self.kill(lambda: self.site.member(unit, tool)), said=[(unit.name, "evpipe", f"{tool}.*(killed|signal)")])

    def kill_unit(self, unit):
        return Fault("unit killed", f"kill {unit.name}", [unit.name], lambda: self.kill(lambda: self.site.evpipe_of(unit)),
                     said=[(unit.name, None, f"{unit.name} has ended with")])

    def freeze(self, unit, tool):
        pids = []

        def begin():
            pids[:] = [self.pid(lambda: self.site.member(unit, tool))]
            signal_pid(pids[0], signal.SIGSTOP)

        foreign = tool == "tail"
        return Fault("member frozen", f"freeze {unit.name}/{tool}", [unit.name], begin,
                     lambda: signal_pid(pids[0], signal.SIGCONT), red=[] if foreign else [unit.name],
                     said=[] if foreign else [(unit.name, "evpipe", tool)])

    def of_service(self, service):
        return [name for name, unit in self.units.items() if unit.service == service]

    def restart(self, service):
        return Fault("restarted in order", f"restart {service}", self.of_service(service) or ["east", "west"],
                     lambda: self.site.sv("restart", service))

    def down(self, service):
        units = self.of_service(service)
        return Fault("down for a time", f"down {service}", units, lambda: self.site.sv("down", service),
                     lambda: self.site.sv("up", service), red=units, alert="EvpipeDown")

    def worker(self):
        def find():
            unit = self.units["service-0"]
            for pid in descendants(self.site.evpipe_of(unit)):
                if command_of(pid) == ["cat"]:
                    return pid
            return 0
        return Fault("worker killed", "kill a worker of service-0", ["service-0"], lambda: self.kill(find),
                     said=[("service-0", "evcorr", "worker|killed|signal")])

    # ---- servers ----

    def stop_broker(self, *how):
        for feed in self.feeds:
            feed.pause()
        self.rig.stop_kafka(*how)

    def start_broker(self):
        self.rig.start_kafka()
        for feed in self.feeds:
            feed.resume()

    def coordinator_lost(self):
        """Whether Kafka has said since the last look that its coordinator is out of step with its own log: 4.1.0 does so now
        and then after SIGKILL, and answers no group until it is started again (KAFKA-19862 tells of the kind)."""
        return any(b"out of sync with the underlying log" in line for line in self.site.kafka_log.more())

    def broker(self, what, *how):
        def begin():
            self.stop_broker(*how)

        end = self.start_broker
        using = self.using("kafka")
        return Fault("broker away", f"{what} the broker", using, begin, end, red=using,
                     said=self.said("kafka", "(?i)broker|kafka|127.0.0.1:"), alert="EvpipeServerAway")

    def redis(self):
        using = self.using("nas") + self.using("edge")
        return Fault("Redis killed", "kill Redis between the sites", using, self.site.redis.kill, self.site.redis.start,
                     red=using, said=self.said("nas", "(?i)redis") + self.said("edge", "(?i)redis"), alert="EvpipeServerAway")

    def failover(self, how):
        return Fault("failover", f"Sentinel's failover by {how}", self.using("sentinel"), lambda: self.site.sentinel.fail(how),
                     said=self.said("sentinel", "(?i)redis|sentinel"))

    # ---- the network ----

    def cut(self, server):
        proxy = getattr(self.site, server)
        said = [] if server == "far" else self.said(server, "(?i)redis")
        return Fault("network cut", f"reset connections to {server}", self.using(server), proxy.reset, said=said)

    def away(self, server):
        proxy, using = getattr(self.site, server), self.using(server)
        return Fault("network away", f"no way to {server}", using, proxy.leave, proxy.back, red=using,
                     said=self.said(server, SERVER), alert="EvpipeServerAway")

    def silent(self, server):
        proxy, using = getattr(self.site, server), self.using(server)

        def silence(on):
            proxy.silent = on
        return Fault("network silent", f"silence on the way to {server}", using, lambda: silence(True), lambda: silence(False),
                     red=using, said=self.said(server, SERVER), alert="EvpipeServerAway")
