"""The runner: feeds doors for as long as one likes, and says how they took it."""

from __future__ import annotations

import argparse
import logging
import sys

from tests.fuzz.door import find, fuzz


def main() -> int:
    doors = find()
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=100_000, help="for each door (default: %(default)s)")
    parser.add_argument("--door", action="append", choices=sorted(doors), help="may be given again; else all")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    logging.basicConfig(level=logging.CRITICAL)  # each damaged input is said otherwise
    reports = []
    for name in options.door or sorted(doors):
        reports.append(fuzz(doors[name], options.inputs, options.seed))
        print(reports[-1], flush=True)
    return int(any(report.failure for report in reports))


if __name__ == "__main__":
    sys.exit(main())
