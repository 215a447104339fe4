#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""usage: checker.py DIR

Judges a run from what went in and what came out; knows nothing of our programs. DIR has

    sent        PARTITION OFFSET PAYLOAD, a line each: the input topic, read back after the run
    delivered   PARTITION OFFSET PAYLOAD: the output, in the order of each partition
    dead        the dead letters (may be absent)
    samples     a JSON object a line, taken during the run in this order of reading:
                committed {"partition": offset}, dead (lines of the dead-letter file, or null),
                ends {"partition": end of the output, or absent when it cannot be told}
    run.json    what is expected, see FACTS

A payload contains "id":N, N unique and dense from 0, or "ids":[N,…] where records were folded into one,
and "part":I where one was split. The names in brackets are Jepsen's for the like of it:

    lost         missing though the position has passed it: nobody will ever read it again [lost-write]
    unaccounted  missing, and the position has not passed it: it stalls [unseen]
    repeated     delivered once more [duplicate]; compared with window x (crashes + undrained)
    reordered    first delivered after a later one of its partition [nonmonotonic-poll]
    corrupted    its bytes are others than were sent, or no id is in them (torn)
    phantom      delivered, never sent
    contradicted delivered and also dropped or dead
    premature    committed when it was not yet delivered, dead or dropped [lost-write, had all been
                 killed then]
    backwards    the committed offset went back [inconsistent-offsets]

Prints one line of figures. Exit status 0: all as expected; 1: not; 100: DIR is not a run."""
import array
import base64
import json
import os
import re
import sys
import zlib

FACTS = {
    "window": 0,         # records that may be in flight
    "crashes": 0,        # ends without a clean stop
    "undrained": 0,      # revocations that could not be drained
    "drop": [],          # [divisor, remainder]: ids that are dropped by declaration
    "parts": 1,          # deliveries of each record
    "bytes": True,       # the payload is delivered as it was sent
    "ordered": True,     # the order of a partition is kept
    "may_stall": False,  # records may be unaccounted, and so be behind the position
    "must_lose": False,  # a control: the run is as expected only when records are lost
    "may_repeat": None,  # instead of window x (crashes + undrained)
}
ID = re.compile(rb'"id":\s*(\d+)')
IDS = re.compile(rb'"ids":\s*\[([\d, ]*)\]')
PART = re.compile(rb'"part":\s*(\d+)')
FIGURES = ("lost", "unaccounted", "repeated", "reordered", "corrupted", "phantom", "contradicted",
           "premature", "backwards")


def ids_of(data):
    found = ID.search(data)
    if found:
        return [int(found[1])]
    found = IDS.search(data)
    return [int(n) for n in found[1].split(b",")] if found and found[1].strip() else []


class Judge:
    def __init__(self, **facts):
        unknown = set(facts) - set(FACTS)
        if unknown:
            raise ValueError(f"unknown facts: {unknown}")
        self.facts = {**FACTS, **facts}
        self.figures = dict.fromkeys(FIGURES, 0)
        self.examples = {}
        self.place = {}  # partition: (offsets, ids), in order
        self.partition_of, self.offset_of, self.crc = (array.array(t) for t in "iqL")

    def count(self, figure, example):
        self.figures[figure] += 1
        self.examples.setdefault(figure, example)

    # ---- what went in ----

    def sent(self, lines):
        missing = 0
        for line in lines:
            partition, offset, data = line.rstrip(b"\n").split(b" ", 2)
            (number,) = ids_of(data)
            partition, offset = int(partition), int(offset)
            while number >= len(self.crc):
                self.partition_of.append(-1)
                self.offset_of.append(-1)
                self.crc.append(0)
                missing += 1
            if self.partition_of[number] >= 0:
                raise ValueError(f"id {number} was sent twice")
            missing -= 1
            self.partition_of[number] = partition
            self.offset_of[number] = offset
            self.crc[number] = zlib.crc32(data)
            offsets, ids = self.place.setdefault(partition, (array.array("q"), array.array("q")))
            if offsets and offsets[-1] >= offset:
                raise ValueError(f"the input is not in the order of partition {partition}")
            offsets.append(offset)
            ids.append(number)
        if missing:
            raise ValueError(f"{missing} ids were never sent: ids are to be dense")
        self.total = len(self.crc)
        self.seen = array.array("Q", bytes(8 * self.total))  # a bit a part
        # Where the last part of it was delivered first; -1 not.
        self.out_partition = array.array("i", [-1]) * self.total
        self.out_offset = array.array("q", [-1]) * self.total
        self.dead_line = {}

    # ---- what came out ----

    def delivered(self, lines):
        newest = {}
        for line in lines:
            torn = not line.endswith(b"\n")
            where = line.split(b" ", 2)
            data = where[2].rstrip(b"\n") if len(where) == 3 else b""
            ids = ids_of(data)
            if torn or not ids:
                self.count("corrupted", line[:200])
                continue
            found = PART.search(data)
            part = 1 << (int(found[1]) if found else 0)
            for number in ids:
                if number >= self.total:
                    self.count("phantom", number)
                    continue
                if self.facts["bytes"] and zlib.crc32(data) != self.crc[number]:
                    self.count("corrupted", line[:200])
                if self.seen[number] & part:
                    self.count("repeated", number)
                    continue
                self.seen[number] |= part
                self.out_partition[number] = int(where[0])
                self.out_offset[number] = max(self.out_offset[number], int(where[1]))
                partition, offset = self.partition_of[number], self.offset_of[number]
                if newest.get(partition, -1) > offset and self.facts["ordered"]:
                    self.count("reordered", number)
                newest[partition] = max(offset, newest.get(partition, -1))

    def dead(self, lines):
        """What a killed writer left torn is no dead letter, at the end or, ended by the next writer, before
        it: its record has to come again."""
        for at, line in enumerate(lines):
            try:
                letter = json.loads(line)
            except ValueError:
                continue
            if not line.endswith(b"\n"):
                break
            data = letter.get("record") or letter.get("line")
            if "line_b64" in letter:
                data = base64.b64decode(letter["line_b64"]).decode(errors="replace")
            if isinstance(data, dict):
                data = data.get("payload")
            if not isinstance(data, str):
                data = json.dumps(data)
            # A line that was no record holds its payload as an escaped string.
            for number in ids_of(data.replace('\\"', '"').encode()):
                if number >= self.total:
                    self.count("phantom", number)
                else:
                    self.dead_line.setdefault(number, at)

    def dropped(self, number):
        rule = self.facts["drop"]
        return bool(rule) and number % rule[0] == rule[1]

    def complete(self, number):
        return self.seen[number] == (1 << self.facts["parts"]) - 1

    # ---- the verdict ----

    def settled_at(self, number, dead, ends):
        if self.dropped(number):
            return True
        if number in self.dead_line and (dead is None or self.dead_line[number] < dead):
            return True
        return (self.complete(number) and
                self.out_offset[number] < ends.get(str(self.out_partition[number]), 0))

    def samples(self, samples):
        """Each: committed was read before dead and ends were."""
        last, checked = {}, {}
        for sample in samples:
            for name, offset in sample["committed"].items():
                partition = int(name)
                if offset < last.get(partition, 0):
                    self.count("backwards", f"partition {name}: {last[partition]} to {offset}")
                last[partition] = offset
                if sample.get("ends") is None or partition not in self.place:
                    continue
                offsets, ids = self.place[partition]
                at = checked.get(partition, 0)
                while at < len(offsets) and offsets[at] < offset:
                    if not self.settled_at(ids[at], sample.get("dead"), sample["ends"]):
                        self.count("premature", f"id {ids[at]}, partition {name}, offset "
                                   f"{offsets[at]}, committed {offset}")
                    at += 1
                checked[partition] = at
        self.committed = last

    def verdict(self):
        """Returns whether all was as expected, and the line of figures."""
        for number in range(self.total):
            dropped, dead = self.dropped(number), number in self.dead_line
            if self.seen[number] and (dropped or dead):
                self.count("contradicted", number)
            if self.complete(number) or dropped or dead:
                continue
            passed = self.offset_of[number] < self.committed.get(self.partition_of[number], 0)
            self.count("lost" if passed else "unaccounted", number)
        facts, figures = self.facts, self.figures
        bound = facts["may_repeat"]
        if bound is None:
            bound = facts["window"] * (facts["crashes"] + facts["undrained"]) * facts["parts"]
        if facts["must_lose"]:
            good = figures["lost"] > 0
        else:
            good = figures["repeated"] <= bound and not any(
                figures[f] for f in FIGURES
                if f != "repeated" and not (f == "unaccounted" and facts["may_stall"]))
        if not self.total:
            good = False
        text = " ".join(f"{f}={figures[f]}" + (f" bound={bound}" if f == "repeated" else "")
                        for f in FIGURES if figures[f] or f in FIGURES[:3])
        return good, f"{text} of={self.total} crashes={facts['crashes']}"


def judge_directory(directory):
    def lines(name):
        path = os.path.join(directory, name)
        return open(path, "rb") if os.path.exists(path) else []

    with open(os.path.join(directory, "run.json"), encoding="utf-8") as file:
        judge = Judge(**json.load(file))
    judge.sent(lines("sent"))
    judge.delivered(lines("delivered"))
    judge.dead(lines("dead"))
    judge.samples(map(json.loads, lines("samples")))
    good, text = judge.verdict()
    return good, text, judge.examples


def main(argv):
    if len(argv) != 2:
        print(__doc__, file=sys.stderr)
        return 100
    try:
        good, text, examples = judge_directory(argv[1])
    except (OSError, ValueError, KeyError) as error:
        print(f"checker: {argv[1]}: {error}", file=sys.stderr)
        return 100
    print(text)
    for figure, example in examples.items():
        print(f"  {figure}, first: {example}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv))
