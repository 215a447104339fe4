#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""usage: load.py [--rate N] [--from ID] [--count N] [--keys N]

Prints events, KEY TAB PAYLOAD a line, N a second (0: as fast as they are taken), until SIGTERM or
COUNT of them. The payload is a JSON object and a function of the id alone; ids are dense. One in ten says
"source":"nas", one in seven has no "tenant". Its numbers and escapes are such as a parser and printer would alter."""
import argparse
import signal
import sys
import time


def is_nas(number):
    return number % 10 == 3


def payload(number):
    source = "nas" if is_nas(number) else "web"
    tenant = "" if number % 7 == 2 else f'"tenant":"t{number % 5}",'
    pad = "abcdefghij" * (number * 7919 % 23)
    return (f'{{"id":{number},"source":"{source}",{tenant}"big":{2**53 + number},"price":1.10,'
            f'"e":1E400,"text":"\\u00e9 é \\/ \\ud83d\\ude00","pad":"{pad}"}}')


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rate", type=int, default=0)
    parser.add_argument("--from", type=int, default=0, dest="start")
    parser.add_argument("--count", type=int, default=-1)
    parser.add_argument("--keys", type=int, default=16)
    args = parser.parse_args()
    stopped = []
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(True))
    number, began = args.start, time.monotonic()
    last = args.start + args.count if args.count >= 0 else 1 << 62
    while number < last and not stopped:
        upto = min(last, number + 1000)
        if args.rate:
            upto = min(upto, args.start + int((time.monotonic() - began) * args.rate))
        sys.stdout.write("".join(f"k{n % args.keys}\t{payload(n)}\n" for n in range(number, upto)))
        sys.stdout.flush()
        number = upto
        if args.rate:
            time.sleep(0.01)


if __name__ == "__main__":
    main()
