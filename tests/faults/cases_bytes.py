# SPDX-License-Identifier: ISC
"""Lines that are no records, and lines that end in the middle."""
import base64
import json
import os
import random
import subprocess
import sys

import wire
from rig import Failure, Flow, Redis, case

INSERT = """
import sys
bad = open(sys.argv[1], "rb").read().split(b"\\0\\0LINE\\n")[:-1]
for n, line in enumerate(sys.stdin.buffer):
    if n % 5 == 0 and bad:
        sys.stdout.buffer.write(bad.pop(0) + b"\\n")
    sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()
"""
GOOD = b'{"partition":0,"key":"k","payload":"{\\"id\\":1}","headers":["a","1"]}'


def bad_lines(rng, big):
    """Each wrong in its own way: (class, line). None holds a line feed."""
    def member(text):
        return GOOD[:-1] + b"," + text + b"}"

    # Broken anywhere: cut short, a byte that JSON does not have between two of it.
    yield from (("json-decode", GOOD[:n]) for n in range(len(GOOD)))
    yield from (("json-decode", GOOD[:n] + byte + GOOD[n:]) for n in range(0, len(GOOD), 3)
                for byte in (b"\0", b"\xff", b"\x01"))
    for text in (b"NaN", b"Infinity", b"-", b"01", b"1.", b".5", b"1e", b"+1", b"tru", b"nulll", b"'x'",
                 b'"\\x"', b'"\\u12"', b'"\t"', b'"\xc0\x80"', b'"\xed\xa0\x80"', b'"\xf5\x80\x80\x80"',
                 b'"\xe2\x82"', b"[1,]", b'{"a":1,}', b"{a:1}", b"[1 2]", b'{"a" 1}', b"[}", b"//x\r1"):
        yield "json-decode", member(b'"x":' + text)
    yield "json-decode", GOOD + GOOD
    yield "json-decode", b"\xef\xbb\xbf" + GOOD
    for _ in range(20):
        yield "json-decode", b"\xfe" + rng.randbytes(rng.randrange(300)).replace(b"\n", b"\r")
    # JSON, but no record.
    for text in (b"[]", b'"payload"', b"null", b"1e400", b"9223372036854775808", b"{}", b'{"key":"k"}',
                 b'{"payload":5}', b'{"payload":true}', b'{"payload":"a","payload_b64":"YQ=="}',
                 b'{"payload_b64":"YQ"}', b'{"payload_b64":"Y*=="}', b'{"payload_b64":"YR=="}',
                 b'{"payload":"x","key":{}}', b'{"payload":"x","partition":4294967296}',
                 b'{"payload":"x","partition":"0"}', b'{"payload":"x","headers":{}}',
                 b'{"payload":"x","headers":["a"]}', b'{"payload":"x","headers":[1,"b"]}',
                 b'{"payload":"x","ts":1.5}', b'{"payload":"\\ud800"}'):
        yield "invalid-record", text
    yield "too-large", b"[" * 100000 + b"]" * 100000
    yield "too-large", b'{"x":' * 100000
    yield "too-large", b'{"payload":"' + b"0123456789" * (big // 10) + b'"}'


@case("malformed-kafka", sink="kafka")
@case("malformed-redis", sink="redis")
def malformed(rig, sink):
    """A filter writes lines between the records that are none, each wrong in another way, the last of them
    of 100 MB: each is a dead letter of its class, byte for byte (of the last one its first MiB and its
    length), and the records around it go on."""
    bad = list(bad_lines(random.Random(1), rig.pick(20, 100, 100) * 1000000))
    with open(rig.path("bad"), "wb") as file:
        file.writelines(line + b"\0\0LINE\n" for _, line in bad)
    letters = rig.path("letters")
    flow = Flow(rig, middle=[[sys.executable, "-c", INSERT, rig.path("bad")]], sink=sink, rate=1000,
                session_ms=10000, sink_options=["--dead-letter", letters, "--max-line", "16M"])
    flow.start()

    flow.dead_file = letters  # the watch counts its lines
    rig.until(lambda: flow.unit.ended() or (flow.dead_seen[2] or 0) >= len(bad), "all dead letters")
    flow.dead_file = None
    flow.through()
    flow.stop(expected=None)
    statuses = [p.returncode for p in flow.unit.processes]
    if statuses != [0, 0, 1]:
        raise Failure(f"records were refused, all else was well: {flow.unit.state()}")
    with open(letters, encoding="utf-8") as file:
        for (wanted, line), text in zip(bad, file, strict=True):
            letter = json.loads(text)
            if "record" in letter:
                # The record stands there as it came: after its member's name, before the last brace.
                found = text.split(',"record":', 1)[1][:-2].encode()
            elif "line" in letter:
                found = letter["line"].encode()
            else:
                found = base64.b64decode(letter["line_b64"])
            if letter.get("length", len(line)) != len(line):
                raise Failure(f"{len(line)} bytes became {letter['length']}")
            if "length" in letter:
                line = line[:1 << 20]
            if (letter["error"]["class"], found) != (wanted, line):
                raise Failure(f"{wanted} {line[:200]!r} became {letter['error']} {found[:200]!r}")
    return flow.judge_all() + f" malformed={len(bad)}"


@case("torn-everywhere")
def torn_everywhere(rig):
    """Input that ends anywhere: what has a line feed is delivered, the rest never, and the status says so."""
    text = GOOD + b"\n" + GOOD + b"\n"
    redis, topic, kafka = Redis(rig), rig.topic("out"), wire.Kafka(rig.brokers)

    def published():
        while not (ends := redis.ends()):
            pass
        return ends[0]

    sinks = {"rpub": (["rpub", "out-0"], published),
             "kwrite": (["kwrite", "-t", topic, "-p", "keep"], lambda: sum(kafka.ends(topic, 2).values()))}
    env = {**os.environ, "KAFKA_BROKERS": rig.brokers, "REDIS_URL": redis.url}
    env.pop("EVPIPE_ACK", None)
    for name, (command, delivered) in sinks.items():
        before = delivered()
        for n in range(len(text) + 1):
            status = subprocess.run(command, input=text[:n], env=env, capture_output=True,
                                    check=False).returncode
            whole, after = text[:n].count(b"\n"), delivered()
            if after - before != whole:
                raise Failure(f"{name}: {after - before} of {whole} records of the first {n} bytes")
            if status != (0 if text[:n].endswith(b"\n") or n == 0 else 111):
                raise Failure(f"{name}: status {status} when the input ends after {n} bytes")
            before = after
    return f"lost=0 cuts={2 * (len(text) + 1)}"
