"""`make bench`: each measurement in short, and how it stands against its goal. Nothing of it passes
or fails.

    .venv/bin/python -m bench                   all, within half an hour on a quiet machine
    .venv/bin/python -m bench cold requests     some of them
    .venv/bin/python -m bench --write           and its tables into docs/performance.md

The long forms are the modules of this folder, each by itself. The last line sums up goal by goal.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- what make bench writes: begin -->", "<!-- end -->"
PARTS: Mapping[str, tuple[str, ...]] = {
    "cold": ("bench.cold", "--rounds", "3", "--warm", "10"),
    "requests": ("bench.requests",),
    "cost": ("bench.cost",),
    "herd": ("bench.herd", "100"),
    "archive": ("bench.archive", "--sizes", "10,200", "--rounds", "3"),
    "burst": ("bench.burst", "20"),
    "archived": ("bench.archived", "1", "10", "100"),
}


@dataclass(frozen=True)
class Goal:
    """A figure found in a part's output by `pattern`, and what it should be at most or at least."""

    part: str
    what: str
    pattern: str
    at_most: float | None = None
    at_least: float | None = None

    def verdict(self, output: str) -> str:
        found = re.findall(self.pattern, output)
        if not found:
            return f"{self.what} not measured"
        value = float(found[-1])
        if self.at_least is not None:
            word, bound, met = "≥", self.at_least, value >= self.at_least
        else:
            word, bound = "≤", self.at_most or 0
            met = value <= bound
        return f"{self.what} {value:g} ({'met' if met else 'MISSED'}, {word} {bound:g})"


def _cold(name: str, column: int) -> str:
    """The first number of a column, from 1, in the row of a cold start."""
    return rf"\| cold {name} \|(?: [^|]*\|){{{column - 1}}} ([\d.]+)"


def _ratio(kind: str, name: str) -> str:
    """Naive ÷ ours by processor time: the first number of the last column."""
    return rf"\| {kind} {name} \|.*\| ([\d.]+)[^|]*\|"


GOALS = (
    Goal("cold", "cold submit, MB", _cold("submit", 3), at_most=45),
    Goal("cold", "cold callback, MB", _cold("callback", 3), at_most=38),
    Goal("cold", "cold archive, MB", _cold("archive", 3), at_most=45),
    Goal("cold", "cold submit, G instructions", _cold("submit", 5), at_most=1.4),
    Goal("cold", "cold callback, G instructions", _cold("callback", 5), at_most=0.95),
    Goal("cold", "cold announce, G instructions", _cold("announce", 5), at_most=1.2),
    Goal("cold", "cold watch, G instructions", _cold("watch", 5), at_most=1.2),
    Goal("cold", "cold settle, G instructions", _cold("settle", 5), at_most=1.2),
    Goal("cold", "cold submit, naive ÷ ours", _ratio("cold", "submit"), at_least=2.8),
    Goal("cold", "cold callback, naive ÷ ours", _ratio("cold", "callback"), at_least=3.4),
    Goal("cold", "warm submit, naive ÷ ours", _ratio("warm", "submit"), at_least=1),
    Goal("cold", "warm callback, naive ÷ ours", _ratio("warm", "callback"), at_least=3),
    Goal("herd", "refused claims a task", r"refused claims a task ([\d.]+)", at_most=1.2),
    Goal("herd", "allowance used, %", r"allowance used while a task waits +(\d+)", at_least=95),
    Goal("archive", "archive's CPU ÷ C", r"against C .*? and ([\d.]+) of", at_most=1.25),
    Goal("burst", "dead letters", r"dead letters +(\d+)", at_most=0),
    Goal("archived", "done to COMPLETED, warm, s", r"\| 1, warm \| \d+ \| ([\d.]+)", at_most=1),
)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("part", nargs="*", choices=[*PARTS, []], help="all without a name")
    parser.add_argument("--write", action="store_true", help="the tables into docs/performance.md")
    arguments = parser.parse_args()
    names = list(arguments.part) or list(PARTS)
    load, python = os.getloadavg()[0], sys.version.split()[0]
    where = f"{os.cpu_count()} cores, load {load:.1f} at the beginning, Python {python}"
    print(where)
    outputs = {name: _run(name) for name in names}
    verdicts = [goal.verdict(outputs[goal.part]) for goal in GOALS if goal.part in outputs]
    if arguments.write:
        _write(where, outputs, verdicts)
    print("\ngoals: " + " · ".join(verdicts))
    return 0


def _write(where: str, outputs: Mapping[str, str], verdicts: list[str]) -> None:
    """Between the two markers of the page; what stood there goes."""
    parts = [
        f"### `python -m {' '.join(PARTS[name])}`\n\n{_shown(output)}"
        for name, output in outputs.items()
    ]
    lines = "\n".join(f"* {verdict}" for verdict in verdicts)
    made = f"{where}, {time.strftime('%Y-%m-%d')}.\n\n" + "\n\n".join(parts)
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n{made}\n\n### Goals\n\n{lines}\n{END}{after}")


def _shown(output: str) -> str:
    """Tables as they are, anything else as it was printed."""
    text = output.strip()
    return text if text.startswith("|") else f"```\n{text}\n```"


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
