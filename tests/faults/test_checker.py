#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""The checker on made-up runs: a good one passes, and each anomaly is found for what it is."""
import base64
import json
import os
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.dont_write_bytecode = True
# pylint: disable=wrong-import-position
from checker import FIGURES, Judge


def payload(number, extra=""):
    return f'{{"id":{number}{extra}}}'.encode()


def line(partition, offset, data):
    return b"%d %d %s\n" % (partition, offset, data)


def sent(count=10, partitions=2):
    return [line(n % partitions, n // partitions, payload(n)) for n in range(count)]


def out(numbers):
    """Delivered to one partition, in this order."""
    return [line(0, at, payload(n)) for at, n in enumerate(numbers)]


def sample(committed, end, dead=None):
    return {"committed": {str(p): o for p, o in enumerate(committed)}, "dead": dead,
            "ends": None if end is None else {"0": end}}


ALL = list(range(10))
DONE = [sample([5, 5], 10)]  # all is committed


class Checker(unittest.TestCase):
    def judge(self, delivered, samples=None, dead=(), count=10, **facts):
        judge = Judge(**facts)
        judge.sent(sent(count))
        judge.delivered(delivered)
        judge.dead(dead)
        judge.samples([sample([5, 5], len(delivered))] if samples is None else samples)
        self.good, self.text = judge.verdict()
        return {f: n for f, n in judge.figures.items() if n}

    def found(self, expected, *args, **facts):
        self.assertEqual(self.judge(*args, **facts), expected, self.text)
        self.assertFalse(self.good, self.text)

    def passes(self, *args, **facts):
        figures = self.judge(*args, **facts)
        self.assertTrue(self.good, self.text)
        return figures

    def test_a_good_run(self):
        self.assertEqual(self.passes(out(ALL)), {})

    def test_the_order_between_partitions_is_free(self):
        self.passes(out([1, 3, 5, 7, 9, 0, 2, 4, 6, 8]))

    def test_lost(self):
        self.found({"lost": 1}, out(ALL[:4] + ALL[5:]), [sample([5, 5], None)])

    def test_lost_at_the_end(self):
        self.found({"lost": 1}, out(ALL[:9]), [sample([5, 5], None)])

    def test_everything_lost(self):
        self.found({"lost": 10}, [], [sample([5, 5], None)])

    def test_nothing_sent_is_no_success(self):
        self.judge([], [], count=0)
        self.assertFalse(self.good)

    def test_unaccounted(self):
        self.found({"unaccounted": 2}, out(ALL[:8]), [sample([4, 4], 8)])
        self.passes(out(ALL[:8]), [sample([4, 4], 8)], may_stall=True)

    def test_a_stall_does_not_excuse_a_loss(self):
        self.found({"lost": 1, "premature": 1}, out(ALL[:9]), may_stall=True)

    def test_repeated_within_the_bound(self):
        self.assertEqual(self.passes(out(ALL[:6] + ALL[3:]), window=3, crashes=1), {"repeated": 3})

    def test_repeated_beyond_the_bound(self):
        self.found({"repeated": 3}, out(ALL[:6] + ALL[3:]), window=2, crashes=1)

    def test_repeated_after_a_clean_stop(self):
        self.found({"repeated": 1}, out(ALL[:6] + ALL[5:]), window=100, crashes=0)

    def test_revocations_allow_repeats(self):
        self.passes(out(ALL[:6] + ALL[3:]), window=3, undrained=1)

    def test_a_replay_is_no_reordering(self):
        self.assertEqual(self.passes(out([0, 1, 2, 3, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9]), window=9,
                                     crashes=1), {"repeated": 4})

    def test_reordered(self):
        self.found({"reordered": 1}, out([0, 1, 4, 2, 3, 5, 6, 7, 8, 9]))
        self.passes(out([0, 1, 4, 2, 3, 5, 6, 7, 8, 9]), ordered=False)

    def test_corrupted(self):
        self.found({"corrupted": 1}, out(ALL[:9]) + [line(0, 9, payload(9, ',"x":1'))])
        self.passes(out(ALL[:9]) + [line(0, 9, payload(9, ',"x":1'))], bytes=False)

    def test_corrupted_beyond_recognition(self):
        self.found({"corrupted": 1, "lost": 1, "premature": 1},
                   out(ALL[:9]) + [line(0, 9, b"nonsense")])

    def test_torn(self):
        self.found({"corrupted": 1, "lost": 1, "premature": 1}, out(ALL[:9]) + [b'0 9 {"id":9'])

    def test_phantom(self):
        self.found({"phantom": 1}, out(ALL + [10]))

    def test_declared_drops(self):
        self.passes(out([n for n in ALL if n % 5 != 3]), drop=[5, 3])

    def test_dropped_and_delivered(self):
        self.found({"contradicted": 2}, out(ALL), drop=[5, 3])

    def test_dead_letters(self):
        dead = [b'{"error":{},"record":{"payload":"{\\"id\\":3}"}}\n',
                b'{"error":{},"line":"{\\"payload\\":\\"{\\\\\\"id\\\\\\":7}"}\n']
        self.passes(out([n for n in ALL if n not in (3, 7)]), dead=dead)

    def test_dead_letter_in_base64(self):
        data = base64.b64encode(b'\xff{"payload":{"id":3}').decode()
        self.passes(out([n for n in ALL if n != 3]),
                    dead=[json.dumps({"error": {}, "line_b64": data}).encode() + b"\n"])

    def test_torn_dead_letter(self):
        self.found({"lost": 1, "premature": 1}, out([n for n in ALL if n != 3]),
                   dead=[b'{"error":{},"record":{"payload":"{\\"id\\":3}"}}'])

    def test_torn_dead_letter_in_the_middle(self):
        torn = b'{"error":{},"record":{"payload":"{\\"id\\":3}"\n'
        whole = b'{"error":{},"record":{"payload":{"id":4}}}\n'
        self.found({"lost": 1, "premature": 1}, out([n for n in ALL if n not in (3, 4)]),
                   dead=[torn, whole])

    def test_dead_and_delivered(self):
        self.found({"contradicted": 1}, out(ALL),
                   dead=[b'{"error":{},"record":{"payload":{"id":3}}}\n'])

    def test_premature(self):
        self.found({"premature": 2}, out(ALL), [sample([3, 2], 3)] + DONE)

    def test_premature_dead_letter(self):
        dead = [b'{"error":{},"record":{"payload":{"id":0}}}\n']
        self.found({"premature": 1}, out(ALL[1:]), [sample([1, 0], 0, 0), sample([5, 5], 9, 1)],
                   dead=dead)
        self.passes(out(ALL[1:]), [sample([1, 0], 0, 1), sample([5, 5], 9, 1)], dead=dead)

    def test_backwards(self):
        self.found({"backwards": 1}, out(ALL), [sample([2, 2], 10), sample([1, 3], 10)] + DONE)

    def test_split(self):
        parts = [line(0, 2 * n + i, payload(n, f',"part":{i}')) for n in ALL for i in (0, 1)]
        ends = [sample([5, 5], 20)]
        self.passes(parts, ends, parts=2, bytes=False)
        self.found({"lost": 1, "premature": 1}, parts[:-1], ends, parts=2, bytes=False)
        self.found({"repeated": 1}, parts + parts[-1:], ends, parts=2, bytes=False)

    def test_split_committed_between_the_parts(self):
        parts = [line(0, 2 * n + i, payload(n, f',"part":{i}')) for n in ALL for i in (0, 1)]
        self.found({"premature": 1}, parts, [sample([1, 0], 1), sample([5, 5], 20)], parts=2,
                   bytes=False)

    def test_fold(self):
        folded = [line(0, 0, b'{"ids":[0,1,2,3,4]}'), line(0, 1, b'{"ids": [5, 6, 7, 8, 9]}')]
        self.passes(folded, [sample([5, 5], 2)], bytes=False)
        self.found({"unaccounted": 5}, folded[:1], [sample([2, 2], 1)], bytes=False)

    def test_a_control_must_lose(self):
        self.passes(out(ALL[:4] + ALL[5:]), must_lose=True)
        self.judge(out(ALL), must_lose=True)
        self.assertFalse(self.good)

    def test_unusable_input(self):
        for lines in ([line(0, 0, payload(0))] * 2, [line(0, 0, payload(1))]):
            with self.assertRaises(ValueError):
                Judge().sent(lines)
        with self.assertRaises(ValueError):
            Judge(windw=3)

    def test_every_figure_has_a_test(self):
        with open(__file__, encoding="utf-8") as file:
            text = file.read()
        for figure in FIGURES:
            self.assertIn(f'found({{"{figure}": ', text)

    def test_the_program(self):
        with tempfile.TemporaryDirectory() as directory:
            def write(name, lines):
                with open(os.path.join(directory, name), "wb") as file:
                    file.writelines(lines)

            def run():
                return subprocess.run([sys.executable, os.path.join(HERE, "checker.py"), directory],
                                      capture_output=True, text=True, check=False)

            self.assertEqual(run().returncode, 100)
            write("run.json", [b'{"window": 5}'])
            write("sent", sent())
            write("delivered", out(ALL))
            write("samples", [json.dumps(s).encode() + b"\n" for s in DONE])
            self.assertEqual(run().returncode, 0)
            write("delivered", out(ALL[1:]))
            write("samples", [json.dumps(sample([5, 5], 9)).encode() + b"\n"])
            result = run()
            self.assertEqual(result.returncode, 1)
            self.assertIn("lost=1 unaccounted=0 repeated=0 bound=0", result.stdout)


if __name__ == "__main__":
    unittest.main()
