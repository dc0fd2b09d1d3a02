"""A burst on the embedded run: N pairs dropped at once into one folder, and what became of them.

    python -m bench.burst 200
    python -m bench.burst 200 --unpaced     without our own rate limit of 20 submits in 10 s,
    which is kie's

Ends with 1 if a task was charged twice or not at all, a video or an event is missing, or a message
is in a dead-letter queue.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from local import environment
from local.aws.cloud import resident_mb
from local.environment import Environment
from local.screen import Screen

SAMPLES = Path(__file__).parent.parent / "local" / "samples"
FOLDER = "burst"
UNPACED = {"rate_limits": {"kie": {"submits": 1000, "seconds": 1, "running": None}}}
# Two cores ask for 200 jobs seldom, or they do nothing else.
POLLS = {"polls": {"first": 30, "steady": 20, "slow": 30}}


class Memory:
    """The most that the emulated AWS with its Lambda processes, and the simulator, had in RAM at
    once."""

    def __init__(self, running: Environment) -> None:
        self.cloud_mb = self.simulator_mb = 0.0
        self.processes = 0
        self._running = running
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(1):
            used, count = self._running.cloud.resident_mb()
            self.cloud_mb, self.processes = max(self.cloud_mb, used), max(self.processes, count)
            if self._running.simulator:
                self.simulator_mb = max(
                    self.simulator_mb, resident_mb(self._running.simulator.pid)[0]
                )


def main() -> int:
    arguments = _arguments()
    screen = Screen()
    running = environment.start(screen, {**POLLS, **(UNPACED if arguments.unpaced else {})})
    try:
        memory = Memory(running)
        began = time.monotonic()
        drop(running, arguments.pairs)
        screen.say(f"{arguments.pairs} pairs dropped in {time.monotonic() - began:.1f} s")
        _await_all(running, screen, arguments.pairs, began + arguments.patience)
        seconds = time.monotonic() - began
        memory.stop()
        found = count(running)
    finally:
        running.stop()
    screen.plain(f"\n{arguments.pairs} pairs, the last video after {seconds:.1f} s")
    for name, value in found.items():
        screen.plain(f"  {name:<28} {value}")
    screen.plain(
        f"  peak memory, cloud           {memory.cloud_mb:.0f} MB in {memory.processes} processes"
    )
    screen.plain(f"  peak memory, simulator       {memory.simulator_mb:.0f} MB")
    right = {"tasks", "completed", "charges", "tasks charged", "completion event ids", "videos"}
    return (
        0
        if all(found[name] == arguments.pairs for name in right) and not found["dead letters"]
        else 1
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.burst")
    parser.add_argument("pairs", type=int, nargs="?", default=200)
    parser.add_argument(
        "--unpaced", action="store_true", help="submit as fast as the simulator takes it"
    )
    parser.add_argument(
        "--patience", type=float, default=900, help="seconds to wait for the last one"
    )
    return parser.parse_args()


def drop(running: Environment, pairs: int) -> None:
    """N pairs at once into one folder."""
    portrait, voice = ((SAMPLES / name).read_bytes() for name in ("portrait.png", "voice.mp3"))
    kinds = (("png", portrait), ("mp3", voice))
    files = [
        (f"{FOLDER}/{number:04}.{kind}", content)
        for number in range(pairs)
        for kind, content in kinds
    ]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda file: running.drop(*file), files))


def _await_all(running: Environment, screen: Screen, pairs: int, deadline: float) -> None:
    shown = 0
    while time.monotonic() < deadline:
        running.listener.listen(seconds=1)
        done = len(completion_ids(running))
        if done >= shown + max(pairs // 10, 1):
            shown = done
            screen.say(f"{done} completed")
        if done >= pairs:
            return


def completion_ids(running: Environment) -> set[str]:
    """The distinct ids of the completion events received so far."""
    return {
        one["detail"]["event_id"]
        for one in running.listener.received
        if one["detail-type"] == "Task Completed"
    }


def count(running: Environment) -> dict[str, Any]:
    """What there is now of everything that there should be one of for each pair."""
    rows = running.tasks()
    charges = running.simulator.charges() if running.simulator else []
    pages = (
        running.cloud.client("s3")
        .get_paginator("list_objects_v2")
        .paginate(Bucket=running.stack.outputs["ArchiveBucket"], Prefix="videos/")
    )
    videos = [
        one["Key"]
        for page in pages
        for one in page.get("Contents", [])
        if one["Key"].endswith(".mp4")
    ]
    return {
        "tasks": len(rows),
        "completed": Counter(row["status"] for row in rows)["COMPLETED"],
        "charges": len(charges),
        "tasks charged": len({line["callback_url"].split("/callbacks/")[-1] for line in charges}),
        "completion event ids": len(completion_ids(running)),
        "completion events": sum(
            one["detail-type"] == "Task Completed" for one in running.listener.received
        ),
        "videos": len(videos),
        "dead letters": running.dead_letters(),
        "errors logged": len(running.errors(most=10_000)),
    }


if __name__ == "__main__":
    sys.exit(main())
