"""Every test, in parts that run beside each other: `python -m tests`, or only some of them by name.

    types     mypy
    units     all tests but the two below, shared out over pytest-xdist's workers, a file each
    faults    the fault model, in processes of its own: it replaces AWS, the wire and the clock.
              Its longest tests are the first, and a worker that has none left takes of another's
    journeys  the deployed template, in three embedded clouds side by side; they mostly wait, so
              they have the right of way and the others are `nice`

The output of a part is shown when the part ends, and stays in build/tests/.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.browser import MISSING

ROOT = Path(__file__).parent.parent
LOGS = ROOT / "build" / "tests"
PYTEST = ("-m", "pytest", "--durations", "8")
CORES = str(os.cpu_count() or 2)
# Twice the cores: many a test waits for a simulator, an emulator or a child process.
WORKERS = str(2 * int(CORES))
PARTS: Mapping[str, tuple[str, ...]] = {
    "journeys": (*PYTEST, "-n", "3", "--dist", "loadgroup", "tests/journey"),
    "units": (
        *(*PYTEST, "-n", WORKERS, "--dist", "loadgroup"),
        *("--ignore", "tests/journey", "--ignore", "tests/faults"),
    ),
    "faults": (*PYTEST, "-n", CORES, "--dist", "worksteal", "tests/faults"),
    "types": ("-m", "mypy"),
}
FIRST = "journeys"
# They come to all modules at the same moment: in a clean clone each of their workers would compile
# every one. So one process does, while these two parts wait.
COMPILED = ("units", "faults")
COLLECT = (*PYTEST, "--collect-only", "--ignore", "tests/journey")


@dataclass
class Part:
    """One process, its output in a file, and how it ended."""

    name: str
    began: float = field(default_factory=time.monotonic)
    seconds: float = 0.0

    def __post_init__(self) -> None:
        courtesy = () if self.name == FIRST else ("nice", "-n", "5")
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*courtesy, sys.executable, *PARTS[self.name]],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    @property
    def log(self) -> Path:
        return LOGS / f"{self.name}.log"

    def ended(self) -> bool:
        if not self.seconds and self.process.poll() is not None:
            self.seconds = time.monotonic() - self.began
            print(f"\n== {self.name}, {self.seconds:.0f} s\n", flush=True)
            print(self.log.read_text(errors="replace"), flush=True)
        return self.seconds > 0


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("part", nargs="*", choices=[*PARTS, []], help="all without a name")
    names = parser.parse_args().part or list(PARTS)
    LOGS.mkdir(parents=True, exist_ok=True)
    parts = [Part(name) for name in names if name not in COMPILED]
    try:
        if waiting := [name for name in names if name in COMPILED]:
            _compile()
            parts += [Part(name) for name in waiting]
        while sum(part.ended() for part in parts) < len(parts):
            time.sleep(0.2)
    finally:
        for part in parts:
            part.process.terminate()
            part.process.wait()
    return _summary(parts)


def _compile() -> None:
    """What fails here fails again in the parts, which say so."""
    if not list((ROOT / "tests" / "__pycache__").glob("*pytest*")):
        command = [sys.executable, *COLLECT]
        subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=False)


def _summary(parts: list[Part]) -> int:
    failed = [part for part in parts if part.process.returncode]
    for part in parts:
        print(f"{part.name:<9} {'FAILED' if part in failed else 'passed'} {part.seconds:>6.0f} s")
    if any(MISSING in part.log.read_text(errors="replace") for part in parts):
        print(MISSING)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
