"""From the moment a job is done at its provider until its video is archived and its task COMPLETED,
on the embedded run, with callbacks.

    .venv/bin/python -m bench.archived [1 10 100]

So many tasks are in flight at once; nothing limits our submits, and the simulator's clock is this
machine's. Of each task: from the job's end to ARCHIVING (the callback, the query, the row), and
from there to COMPLETED (the copy of a film of 265 KB, its manifest, the settlement). The first
task finds every function cold; it is shown by itself. The embedded run has up to three processes a
function, all on this machine: what AWS would run side by side queues here.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

from bench.burst import SAMPLES, UNPACED
from local import environment
from local.environment import Environment
from local.screen import Screen

JOB_SECONDS = 20.0  # and one more for each task in flight, so that all are before the first ends
POLLS = {"polls": {"first": 600, "steady": 600, "slow": 600}}  # the callback is what ends a wait
PATIENCE_SECONDS = 900.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.archived", description=__doc__)
    parser.add_argument("tasks", nargs="*", type=int, default=[1, 10, 100])
    counts: list[int] = parser.parse_args().tasks
    simulate = {"speed": 1, "job_seconds": JOB_SECONDS + max(counts), "job_seconds_per_second": 0}
    running = environment.start(Screen(), {**POLLS, **UNPACED}, simulate=simulate)
    try:
        rows = [_row("1, cold", _play(running, "cold", 1))]
        rows += [_row(f"{count}, warm", _play(running, f"warm-{count}", count)) for count in counts]
    finally:
        running.stop()
    print("| in flight | archived | done to COMPLETED, s | to ARCHIVING | from there | longest |")
    print("|---|---|---|---|---|---|")
    print("\n".join(rows))
    return 0


def _play(running: Environment, folder: str, count: int) -> list[tuple[float, float]]:
    """Of each task the seconds from its job's end to ARCHIVING, and from there to COMPLETED; those
    that take longer than our patience are left out."""
    _drop(running, folder, count)
    deadline = time.monotonic() + PATIENCE_SECONDS
    rows: list[dict[str, Any]] = []
    while len(rows) < count and time.monotonic() < deadline:
        time.sleep(3)
        rows = [row for row in running.tasks() if _is_archived(row, folder)]
    assert running.simulator
    jobs = {job["id"]: job["ended"] for job in running.simulator.control("GET", "state")["jobs"]}
    return [_parts(row, jobs[row["job_id"]]) for row in rows]


def _drop(running: Environment, folder: str, count: int) -> None:
    names = [f"{folder}/{number:04}" for number in range(count)]
    files = [
        (f"{name}.{kind}", (SAMPLES / sample).read_bytes())
        for name in names
        for kind, sample in (("png", "portrait.png"), ("mp3", "voice.mp3"))
    ]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda file: running.drop(*file), files))


def _is_archived(row: dict[str, Any], folder: str) -> bool:
    return row["status"] == "COMPLETED" and str(row["audio"]["key"]).startswith(f"{folder}/")


def _parts(row: dict[str, Any], ended: float) -> tuple[float, float]:
    archiving, completed = (
        datetime.fromisoformat(str(row[name])).timestamp()
        for name in ("archiving_since", "changed_at")
    )
    return archiving - ended, completed - archiving


def _row(name: str, found: Sequence[tuple[float, float]]) -> str:
    """Medians, and the longest of all."""
    if not found:
        return f"| {name} | 0 | | | | |"
    wholes = [sum(parts) for parts in found]
    middles = [statistics.median(one) for one in (wholes, *zip(*found, strict=True))]
    figures = " | ".join(f"{seconds:.2f}" for seconds in (*middles, max(wholes)))
    return f"| {name} | {len(found)} | {figures} |"


if __name__ == "__main__":
    sys.exit(main())
