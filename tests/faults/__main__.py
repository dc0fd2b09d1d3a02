"""python -m tests.faults random --runs 10000 [--profile kie …] [--first SEED]
python -m tests.faults singles [--profile kie …]
python -m tests.faults pairs --runs 2000 [--profile kie …]
python -m tests.faults unkind --runs 200 [--profile kie …]
python -m tests.faults cancels --runs 200 [--profile kie …]    unkind, and all is cancelled at once
python -m tests.faults long --runs 200              a long voice in pieces, at kie
python -m tests.faults long-singles --runs N        one of every N of its single faults
python -m tests.faults replay PROFILE SEED [--model MODEL] [--parts …]    with its trace
"""

from __future__ import annotations

import argparse
import os

from tests.faults import series
from tests.faults.replays import Replay

JOBS = {
    "random": series.randoms,
    "singles": series.singles,
    "pairs": series.pairs,
    "unkind": series.unkinds,
    "cancels": series.cancels,
    "long": series.longs,
    "long-singles": series.singles_of_long,
}


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=[*JOBS, "replay"])
    parser.add_argument("rest", nargs="*")
    parser.add_argument("--profile", action="append", choices=series.PROFILES)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument(
        "--model", default="random", help="random, unkind, cancels, or a base schedule"
    )
    parser.add_argument("--parts", nargs="*", help="what is not ordinary in the run; all of it")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 2)
    arguments = parser.parse_args(words)
    if arguments.what == "replay":
        profile, seed = arguments.rest[0], int(arguments.rest[1])
        parts = None if arguments.parts is None else tuple(arguments.parts)
        return series.replay(Replay(profile, seed, arguments.model, parts))
    jobs = JOBS[arguments.what]
    profiles = ("kie",) if arguments.what.startswith("long") else series.PROFILES
    broken = 0
    print(series.HEAD)
    for profile in arguments.profile or profiles:
        tally = series.play(
            profile, jobs(profile, arguments.runs, arguments.first), arguments.processes
        )
        print(tally.line(), tally.causes(), *tally.shown[:20], sep="\n", flush=True)
        broken += sum(tally.broken.values())
    return 1 if broken else 0


if __name__ == "__main__":
    raise SystemExit(main())
