# SPDX-License-Identifier: ISC
"""An audit log in the middle of the line, kread | evchain append --pass | rpub: who is killed, when, is all the same. The
log has each record once, in the order of its partition, and verifies; it is read without evchain."""
import glob
import json
import signal
import subprocess

from rig import UNCUT, Failure, Flow, case


def entries(log):
    for path in [*sorted(glob.glob(log + ".0*")), log]:
        with open(path, "rb") as file:
            for line in file:
                yield json.loads(line)


def judge_log(flow, log, key):
    """Returns how many entries the log has."""
    seen, count = {}, 0
    for n, entry in enumerate(entries(log)):
        record = entry["record"]
        if entry["n"] != n:
            raise Failure(f"the log has entry {entry['n']} at place {n}")
        expected = seen.get(record["partition"], 0)
        if record["offset"] != expected:
            raise Failure(f"entry {n}: offset {record['offset']} of partition {record['partition']}, "
                          f"expected {expected}")
        seen[record["partition"]] = expected + 1
        count += 1
    ends = {p: e for p, e in flow.input_ends().items() if e}
    if seen != ends:
        raise Failure(f"the log has {seen}, sent was {ends}")
    verdict = subprocess.run(["evchain", "verify", "--key", "@" + key, log], capture_output=True, text=True,
                             check=False)
    if verdict.returncode:
        raise Failure(f"evchain verify: {verdict.stderr}")
    return count


@case("chain-kill-source", who=0, scales=UNCUT)
@case("chain-kill", who=1)
@case("chain-kill-sink", who=-1, scales=UNCUT)
@case("chain-kill-all", who=None)
def chain_kill(rig, who):
    log, key, verifier = rig.path("log"), rig.path("key"), rig.path("vkey")
    with open(key, "wb") as private, open(verifier, "wb") as public:
        subprocess.run(["evchain", "keygen", "example.com/audit"], stdout=private, stderr=public, check=True)
    flow = Flow(rig, sink="redis", middle=[["evchain", "append", "--pass", "--key", "@" + key, "--rotate", "300K",
                                            "--head-every", "50ms", log]])
    for _ in range(rig.pick(5, 25, 250)):
        flow.start()
        rig.doze(0, 0.6)
        flow.crash(*[] if who is None else [who], how=signal.SIGKILL)
    result = flow.finish()
    judge_log(flow, log, verifier)
    return result
