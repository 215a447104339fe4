# SPDX-License-Identifier: ISC
"""evpipe --restart: members killed one after the other, the directory of the run removed, its file system full."""
import os
import re
import shutil
import signal
import socket
import subprocess

from rig import Failure, Flow, case, signal_pid


def kill_member(flow, which):
    """One that has run for some time and delivered something; the unit is to come back by itself."""
    before = flow.delivered_now()
    flow.rig.until(lambda: flow.unit.pid(which), "the member's process")
    signal_pid(flow.unit.pid(which), signal.SIGKILL)
    flow.facts["crashes"] += 1
    flow.rig.until(lambda: flow.delivered() > before or flow.unit.ended(), "a delivery after the kill")
    if flow.unit.ended():
        raise Failure(f"evpipe --restart has ended: {flow.unit.state()}")


def waits(flow):
    return [float(s) for s in re.findall(r"starting again in ([0-9.]+) s", flow.errors())]


@case("restart-kills")
def restart_kills(rig):
    """Each member in turn, every second or so. The waits are those after a first failure, however often."""
    flow = Flow(rig, how="evpipe", options=["--restart"])
    flow.start()
    for n in range(rig.pick(9, 30, 300)):
        rig.doze(0.2, 1.5)
        kill_member(flow, n % len(flow.unit.members))
    if max(waits(flow)) > 1:
        raise Failure(f"the waits have grown: {waits(flow)}")
    return flow.finish()


@case("restart-directory")
def restart_directory(rig):
    """The directory of the runs goes, and comes again, as /run/user/UID at a logout."""
    runtime = rig.path("runtime")
    os.mkdir(runtime, 0o700)
    flow = Flow(rig, how="evpipe", options=["--restart"], env={"XDG_RUNTIME_DIR": runtime})
    flow.start()
    for n in range(rig.pick(4, 10, 100)):
        if n % 2 == 0:
            os.rename(runtime, rig.path("gone"))
        else:
            os.mkdir(runtime, 0o700)
        rig.doze(0, 0.5)
        kill_member(flow, n % len(flow.unit.members))
        shutil.rmtree(rig.path("gone"), ignore_errors=True)
    return flow.finish()


def ask(path, what):
    """The status and the text."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(20)
        sock.connect(path)
        sock.sendall(f"GET {what} HTTP/1.0\r\n\r\n".encode())
        answer = b""
        while part := sock.recv(65536):
            answer += part
    head, _, text = answer.decode(errors="replace").partition("\r\n\r\n")
    return head.split()[1], text


@case("metrics-full")
def metrics_full(rig):
    """No room for the members' metrics: they go on, and health, which does not know better, is not red for it."""
    small, http = rig.path("small"), rig.path("http")
    os.mkdir(small, 0o700)
    mounted = not subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k,mode=700", "none", small],
                                 capture_output=True, check=False).returncode
    try:
        flow = Flow(rig, how="evpipe", options=["--listen", "unix:" + http],
                    env={"XDG_RUNTIME_DIR": small})
        flow.start()
        rig.until(lambda: ask(http, "/healthz")[0] == "200", "health")
        if mounted:
            try:
                with open(small + "/zeros", "wb", buffering=0) as file:
                    while True:
                        file.write(bytes(4096))
            except OSError:
                pass
        else:
            os.rename(small, small + ".gone")
            with open(small, "wb"):
                pass
        told = "No space left" if mounted else "Not a directory"

        def is_told():
            status, text = ask(http, "/healthz")
            if status != "200":
                raise Failure(f"health is red: {text}")
            return told in text

        rig.until(is_told, "a healthy unit that names the disk")
        before = flow.delivered_now()
        rig.until(lambda: flow.delivered() > before, "a delivery")
        if mounted:
            os.unlink(small + "/zeros")
        else:
            os.unlink(small)
            os.rename(small + ".gone", small)
        rig.until(lambda: ask(http, "/healthz") == ("200", "ok\n"), "health as before")
        flow.through()
        flow.stop()
        return flow.judge_all()
    finally:
        if mounted:
            subprocess.run(["umount", "-l", small], check=False)
