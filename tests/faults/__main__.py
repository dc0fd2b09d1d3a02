"""python -m tests.faults random --runs 10000 [--profile kie …] [--first SEED]
python -m tests.faults singles [--profile kie …]
python -m tests.faults pairs --runs 2000 [--profile kie …]
python -m tests.faults replay PROFILE SEED          a random run again, with its trace
"""

from __future__ import annotations

import argparse
import os

from tests.faults import series


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["random", "singles", "pairs", "replay"])
    parser.add_argument("rest", nargs="*")
    parser.add_argument("--profile", action="append", choices=series.PROFILES)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 2)
    asked = parser.parse_args()
    if asked.what == "replay":
        return series.replay(asked.rest[0], int(asked.rest[1]))
    jobs = {"random": series.randoms, "singles": series.singles, "pairs": series.pairs}[asked.what]
    broken = 0
    print(series.HEAD)
    for profile in asked.profile or series.PROFILES:
        tally = series.play(profile, jobs(profile, asked.runs, asked.first), asked.processes)
        print(tally.line(), *tally.shown[:20], sep="\n", flush=True)
        broken += sum(tally.broken.values())
    return 1 if broken else 0


if __name__ == "__main__":
    raise SystemExit(main())
