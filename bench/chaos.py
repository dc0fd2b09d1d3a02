"""Sandboxes killed at random on the embedded run: is each task paid at most once, and does each
come to rest?

    python -m bench.chaos 200
    python -m bench.chaos 200 --seed 7 --minutes 30

N pairs are dropped at once. kie loses one answer in ten after it accepted the job; its callbacks
come doubled, and half of them ten seconds late, out of order and after the polls. Meanwhile a
process that runs a Lambda function, any of them, is ended by SIGKILL every one or two seconds, in
the middle of whatever it does. Then the killing stops, and what it interrupted has the rest of the
time to heal: a message whose reader died comes back when its visibility is over, a quarter of an
hour later.

Ends with 1 if a task was charged twice, or a voice has no task that is at rest (COMPLETED, FAILED
or HELD).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from bench import burst
from local import environment
from local.environment import Environment
from local.screen import Screen
from local.simulated_providers import SPEED

OPTIONS = {
    **burst.POLLS,
    # The simulated kie's time runs SPEED times faster, so what waits for its callback waits as much
    # less long.
    "ambiguous_hold_hours": 6 / SPEED,
}
AT_REST = {"COMPLETED", "FAILED", "HELD"}
KILL_EVERY = (1.0, 2.0)
SHOWN = (
    *("task_id", "status", "attempt", "job_id", "intended_at", "sent_at", "lease_until", "doubt"),
    *("not_before", "returns", "callbacks_received", "callbacks_handled", "polls_done", "revived"),
    *("due_at", "announced"),
)


class Killer:
    """Ends one Lambda process after the other, until it is stopped or its time is over."""

    def __init__(self, running: Environment, dice: random.Random, seconds: float) -> None:
        self.killed: Counter[str] = Counter()
        self._running, self._dice = running, dice
        self._until = time.monotonic() + seconds
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._thread.join()

    def _work(self) -> None:
        while (
            not self._over.wait(self._dice.uniform(*KILL_EVERY)) and time.monotonic() < self._until
        ):
            alive = self._running.cloud.lambda_processes()
            if alive:
                self._kill(self._dice.choice(sorted(alive)))

    def _kill(self, process: int) -> None:
        try:
            function = _function_of(process)
            os.kill(process, signal.SIGKILL)
        except (FileNotFoundError, ProcessLookupError):  # it ended by itself
            return
        self.killed[function] += 1


def main() -> int:
    arguments = _arguments()
    screen = Screen()
    screen.say(
        f"seed {arguments.seed}, {os.cpu_count()} cores, "
        f"load {os.getloadavg()[0]:.1f} before we began"
    )
    running = environment.start(screen, OPTIONS)
    try:
        running.sweep_each_minute()
        _make_kie_faulty(running, arguments.seed)
        began = time.monotonic()
        burst.drop(running, arguments.pairs)
        screen.say(f"{arguments.pairs} pairs dropped")
        killer = Killer(running, random.Random(arguments.seed), arguments.kill_minutes * 60)
        _await_rest(running, screen, arguments.pairs, began + arguments.minutes * 60)
        killer.stop()
        seconds = time.monotonic() - began
        found = {**burst.count(running), **_what_became(running), **_kills(running, killer)}
        screen.plain(
            f"\n{arguments.pairs} pairs, seed {arguments.seed}, looked at after {seconds:.0f} s"
        )
        for name, value in found.items():
            screen.plain(f"  {name:<32} {value}")
        _show_strays(running, screen)
    finally:
        running.stop()
    rested = sum(found["statuses"][status] for status in AT_REST)
    return 0 if rested == arguments.pairs and not found["tasks charged more than once"] else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.chaos")
    parser.add_argument("pairs", type=int, nargs="?", default=200)
    parser.add_argument(
        "--seed",
        type=int,
        default=1,
        help="of the kills' times and victims, and of the lost answers",
    )
    parser.add_argument(
        "--kill-minutes", type=float, default=5, help="how long processes are killed"
    )
    parser.add_argument(
        "--minutes", type=float, default=28, help="how long to wait until everything is at rest"
    )
    return parser.parse_args()


def _make_kie_faulty(running: Environment, seed: int) -> None:
    assert running.simulator is not None
    for fault in (
        {"fault": "lost_answer", "probability": 0.1, "seed": seed},
        {"fault": "callback_duplicate", "times": 2},
        # kie speaks of a job once, at its end: what can be out of order is the callbacks of
        # different tasks.
        {"fault": "callback_late", "seconds": 10 * SPEED, "probability": 0.5, "seed": seed},
    ):
        running.simulator.control("POST", "faults", {**fault, "provider": "kie"})


def _await_rest(running: Environment, screen: Screen, pairs: int, deadline: float) -> None:
    """Until every task is at rest and its event has come, or the time is over."""
    shown = 0.0
    while time.monotonic() < deadline:
        while running.listener.listen(seconds=2):
            pass
        statuses = Counter(row["status"] for row in running.tasks())
        if time.monotonic() > shown + 20:
            shown = time.monotonic()
            screen.say(_in_words(statuses))
        rested = sum(statuses[status] for status in AT_REST)
        if rested >= pairs and len(burst.completion_ids(running)) >= statuses["COMPLETED"]:
            return


def _what_became(running: Environment) -> dict[str, Any]:
    assert running.simulator is not None
    rows = running.tasks()
    state = running.simulator.control("GET", "state")
    charges = Counter(_task_of(line) for line in running.simulator.charges())
    accepted = Counter(_task_of(job) for job in state["jobs"])
    held = [row for row in rows if row["status"] == "HELD"]
    return {
        "statuses": Counter(row["status"] for row in rows),
        "jobs accepted": accepted.total(),
        "tasks with more than one job": [task for task, times in accepted.items() if times > 1],
        "tasks charged more than once": [task for task, times in charges.items() if times > 1],
        "charged but not completed": sorted(
            charges.keys() - {row["task_id"] for row in rows if row["status"] == "COMPLETED"}
        ),
        "faults that struck": {fault["kind"]: fault["struck"] for fault in state["faults"]},
        "tasks in doubt once": sum(
            any(line["what"] == "AMBIGUOUS" for line in row["history"]) for row in rows
        ),
        "sent again, proved unsent": sum(row.get("returns", 0) > 0 for row in rows),
        "held, by reason": Counter(row["error"]["code"] for row in held),
        "held, and a job was accepted": [
            row["task_id"] for row in held if accepted[row["task_id"]]
        ],
        "dead letters by queue": _dead_letters(running),
    }


def _kills(running: Environment, killer: Killer) -> dict[str, Any]:
    log = running.cloud.log.read_text(errors="replace")
    return {
        "kills": killer.killed.total(),
        "kills by function": _in_words(killer.killed),
        "invocations that died of it": log.count("Runtime exited before returning"),
    }


def _dead_letters(running: Environment) -> dict[str, int]:
    sqs = running.cloud.client("sqs")
    found = {}
    for name, url in running.stack.outputs.items():
        if name.endswith("DeadLetterQueueUrl"):
            about = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
            found[name.removesuffix("DeadLetterQueueUrl")] = int(
                about["ApproximateNumberOfMessages"]
            )
    return found


def _show_strays(running: Environment, screen: Screen) -> None:
    """The history of each task that is HELD or not at rest, and the voices that have no task at
    all."""
    rows = running.tasks()
    listed = (
        running.cloud.client("s3").get_paginator("list_objects_v2").paginate(Bucket=running.inbox)
    )
    voices = {
        one["Key"]
        for page in listed
        for one in page.get("Contents", [])
        if one["Key"].endswith(".mp3")
    }
    for voice in sorted(voices - {row["audio"]["key"] for row in rows}):
        screen.plain(f"\nno task: {voice}")
    for row in rows:
        if row["status"] in AT_REST - {"HELD"}:
            continue
        screen.plain("\n" + "  ".join(f"{name} {row[name]}" for name in SHOWN if row.get(name)))
        if row.get("error"):
            screen.plain(f"  {row['error']['code']}: {row['error']['message']}")
        for line in row["history"]:
            screen.plain(f"  {line['at']}  {line['what']:<11} {line.get('why', '')}")
        for name, status in _executions(running, row["task_id"]):
            screen.plain(f"  execution {name} {status}")


def _executions(running: Environment, task_id: str) -> list[tuple[str, str]]:
    pages = (
        running.cloud.client("stepfunctions")
        .get_paginator("list_executions")
        .paginate(stateMachineArn=running.stack.outputs["WorkflowArn"])
    )
    return [
        (one["name"], one["status"])
        for page in pages
        for one in page["executions"]
        if one["name"].startswith(task_id)
    ]


def _task_of(line: dict[str, Any]) -> str:
    """The task that a charge or a job is about, known by its callback URL:
    …/kie/<task>/<attempt>/…"""
    return str(line["callback_url"]).split("/callbacks/")[-1].split("/")[1]


def _function_of(process: int) -> str:
    """The Lambda function that a process runs, as its environment names it."""
    variables = dict(
        one.split("=", 1)
        for one in Path(f"/proc/{process}/environ").read_text().split("\0")
        if "=" in one
    )
    return variables.get("POWERTOOLS_SERVICE_NAME", "?")


def _in_words(counted: Counter[str]) -> str:
    return json.dumps(dict(sorted(counted.items())))


if __name__ == "__main__":
    sys.exit(main())
