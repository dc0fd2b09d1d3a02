"""`make bench`: each measurement in short, and how it stands against its goal. Nothing of it passes
or fails.

    .venv/bin/python -m bench                   all, some ten minutes on a quiet machine
    .venv/bin/python -m bench cold requests     some of them

The long forms, whose tables stand in docs/performance.md and docs/cost.md, are the modules of this
folder, each by itself.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
PARTS: Mapping[str, tuple[str, ...]] = {
    "cold": ("bench.cold", "--rounds", "3", "--warm", "10"),
    "requests": ("bench.requests",),
    "archive": ("bench.archive", "--sizes", "10,200", "--rounds", "3"),
    "burst": ("bench.burst", "20"),
}


@dataclass(frozen=True)
class Goal:
    """A figure found in a part's output by `pattern`, and what it should be at most."""

    part: str
    what: str
    pattern: str
    at_most: float

    def line(self, output: str) -> str:
        found = re.findall(self.pattern, output)
        if not found:
            return f"  –       {self.what}: not measured"
        value = float(found[-1])
        met = "met" if value <= self.at_most else "MISSED"
        return f"  {met:<7} {self.what}: {value:g}, at most {self.at_most:g}"


COLD_MB = r"\| cold {} \|(?: [^|]+\|){{2}} ([\d.]+)"
GOALS = (
    Goal("cold", "cold submit, MB", COLD_MB.format("submit"), 45),
    Goal("cold", "cold callback, MB", COLD_MB.format("callback"), 38),
    Goal("cold", "cold archive, MB", COLD_MB.format("archive"), 45),
    Goal("archive", "archive's CPU beside the relay in C", r"against C .*? and ([\d.]+) of", 1.25),
    Goal("burst", "dead letters", r"dead letters +(\d+)", 0),
)


def main() -> int:
    names = sys.argv[1:] or list(PARTS)
    if strange := [name for name in names if name not in PARTS]:
        sys.exit(f"there is no {', '.join(strange)}; there are: {', '.join(PARTS)}")
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Python {sys.version.split()[0]}")
    outputs = {name: _run(name) for name in names}
    print("\n## Goals\n")
    for goal in GOALS:
        if goal.part in outputs:
            print(goal.line(outputs[goal.part]))
    return 0


def _run(name: str) -> str:
    """The part's output, shown as it comes."""
    began = time.monotonic()
    print(f"\n## {name}: python -m {' '.join(PARTS[name])}\n", flush=True)
    child = subprocess.Popen(
        [sys.executable, "-m", *PARTS[name]], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    lines = []
    for line in child.stdout or ():
        print(line, end="", flush=True)
        lines.append(line)
    ended = "" if child.wait() == 0 else f", ended with {child.returncode}"
    print(f"({time.monotonic() - began:.0f} s{ended})", flush=True)
    return "".join(lines)


if __name__ == "__main__":
    sys.exit(main())
