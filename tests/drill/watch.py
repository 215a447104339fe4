# SPDX-License-Identifier: ISC
"""Who looks at the units as an orchestrator and a Prometheus do. What is red without a reason is kept."""
import datetime
import http.client
import json
import os
import re
import threading
import time

from machine import ROOT

# A minute of the alert rules is so many seconds here; Prometheus looks each second.
MINUTE_S = 4
# No outage is a reason for these: each would be a loss.
NEVER = {"EvpipeLost", "EvpipeGap", "EvpipeDeadLetters", "EvpipeStalled"}


def ask(port, path):
    """(status, text); status 0: no answer."""
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        client.request("GET", path)
        answer = client.getresponse()
        return answer.status, answer.read().decode(errors="replace")
    except (OSError, http.client.HTTPException) as why:
        return 0, repr(why)
    finally:
        client.close()


class Watch(threading.Thread):
    """suspects: units that may be red now. red: {unit: {"health": text, "ready": text}} at the last look. complaints: what
    was red and should not have been."""

    def __init__(self, site, prometheus_port):
        super().__init__(daemon=True)
        self.site, self.port, self.suspects = site, prometheus_port, set(site.units)
        self.red, self.firing, self.complaints, self.looks, self.over, self.error = {}, set(), [], 0, False, None
        self.excused = set()  # alerts that a fault has begun: they may fire a while after it
        self.began = time.monotonic()

    def write_config(self):
        """examples/monitor, with its minutes made short."""
        directory = self.site.rig.path("prometheus")
        os.mkdir(directory)
        with open(os.path.join(ROOT, "examples/monitor/alerts.yml"), encoding="utf-8") as file:
            rules = file.read()
        rules = re.sub(r"for: (\d+)m", lambda m: f"for: {int(m[1]) * MINUTE_S}s", rules)
        rules = re.sub(r"\[(\d+)m\]", lambda m: f"[{int(m[1]) * MINUTE_S}s]", rules)
        with open(directory + "/alerts.yml", "w", encoding="utf-8") as file:
            file.write(rules)
        targets = [f"127.0.0.1:{u.port}" for u in self.site.units.values()]
        with open(directory + "/prometheus.yml", "w", encoding="utf-8") as file:
            json.dump({"global": {"scrape_interval": "1s", "evaluation_interval": "1s"}, "rule_files": ["alerts.yml"],
                       "scrape_configs": [{"job_name": "evpipe", "static_configs": [{"targets": targets}]}]}, file)
        return directory

    def begin(self):
        directory = self.write_config()
        self.site.rig.spawn("prometheus", "prometheus", f"--config.file={directory}/prometheus.yml",
                            f"--storage.tsdb.path={directory}/data", f"--web.listen-address=127.0.0.1:{self.port}",
                            "--storage.tsdb.retention.time=2h", stdout=-3)
        self.site.rig.until(lambda: ask(self.port, "/-/ready")[0] == 200, "Prometheus")
        self.start()

    def look(self):
        red = {}
        for name, unit in self.site.units.items():
            suspect = name in self.suspects
            said = {}
            for what, path in zip(("health", "ready"), unit.paths):
                status, text = ask(unit.port, path)
                if status != 200:
                    said[what] = f"{status} {text.strip()}"
            if said:
                red[name] = said
                if not suspect:
                    self.complain(f"{name} is red: {said}")
        self.red = red

    def look_at_alerts(self):
        status, text = ask(self.port, "/api/v1/alerts")
        if status != 200:
            return
        before = set(self.suspects)
        ports = {f"127.0.0.1:{u.port}": n for n, u in self.site.units.items()}
        active, firing = set(), set()
        for alert in json.loads(text)["data"]["alerts"]:
            labels = alert["labels"]
            what = labels["alertname"], labels.get("pipeline") or ports.get(labels.get("instance"), "?")
            active.add(what)
            if what[1] in before and what[0] not in NEVER:
                self.excused.add(what)
            if alert["state"] == "firing":
                firing.add(what)
                if what not in self.excused and what not in self.firing:
                    self.complain(f"{what[0]} of {what[1]}: {alert['annotations']['summary']}")
        self.excused &= active
        self.firing = firing

    def stamps(self, path, find):
        """When Prometheus has done what find(data) lists last, the oldest of it, in whole seconds."""
        status, text = ask(self.port, path)
        times = find(json.loads(text)["data"]) if status == 200 else []
        return min((datetime.datetime.fromisoformat(re.sub(r"\.\d+", "", t).replace("Z", "+00:00")).timestamp() for t in times), default=0)

    def judged(self):
        """Waits until the rules have seen how the units are now."""
        now = time.time()
        self.site.rig.until(lambda: self.stamps(
            "/api/v1/targets", lambda d: [t["lastScrape"] for t in d["activeTargets"]]) > now, "Prometheus looks at each unit")
        now = time.time()
        self.site.rig.until(lambda: self.stamps(
            "/api/v1/rules", lambda d: [g["lastEvaluation"] for g in d["groups"]]) > now, "Prometheus looks at its rules")

    def complain(self, text):
        if len(self.complaints) < 100:
            self.complaints.append(f"at {time.monotonic() - self.began:.0f} s: {text}")

    def run(self):
        try:
            while not self.over:
                self.look()
                self.look_at_alerts()
                self.looks += 1
                time.sleep(0.3)
        except Exception as error:  # pylint: disable=broad-except
            self.error = error
            raise

    def looked(self):
        """Waits for a whole look from now on."""
        upto = self.looks + 2
        self.site.rig.until(lambda: self.looks >= upto or self.error, "the watch looks")
