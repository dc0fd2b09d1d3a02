"""Sandboxes killed in mid-invocation and a table that fails, on the embedded run: is each task
paid at most once, and does each come to rest?

    python -m bench.chaos 200
    python -m bench.chaos 200 --seed 7 --minutes 30

N pairs are dropped at once. kie loses one answer in ten after it accepted the job; its callbacks
come doubled, and half of them ten seconds late, out of order and after the polls. From the moment
the first task is SUBMITTING, Lambda processes are ended by SIGKILL in the middle of an invocation,
and every half minute DynamoDB fails for some seconds, every other call after it had its effect.
Then the killing stops, and what it interrupted has the rest of the time to heal: a message whose
reader died comes back when its visibility is over, a quarter of an hour later.

Ends with 1 if one of these is not empty, and names it: voices that are not at rest (COMPLETED,
FAILED or HELD); tasks charged and not COMPLETED; tasks with two jobs or two charges; tasks HELD
although a job was made, or for another reason than a doubt about the POST; functions that died
fewer than five times in mid-invocation.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import time
from collections import Counter
from typing import Any

from bench import burst
from bench.kills import DEATHS, FUNCTIONS, Killer
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
# What must be empty in the end.
FAULTS = (
    "voices not at rest",
    "charged but not completed",
    "tasks with more than one job",
    "tasks charged more than once",
    "held, and a job was accepted",
    "held for another reason than a doubt",
    "died fewer than five times",
)
SHOWN = (
    *("task_id", "status", "attempt", "job_id", "intended_at", "sent_at", "lease_until", "doubt"),
    *("not_before", "returns", "callbacks_received", "callbacks_handled", "polls_done", "revived"),
    *("due_at", "announced"),
)


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
        _await_first_submit(running, began + arguments.minutes * 60)
        killer = Killer(running, random.Random(arguments.seed), arguments.kill_minutes * 60)
        _await_rest(running, screen, arguments.pairs, began + arguments.minutes * 60)
        killer.stop()
        seconds = time.monotonic() - began
        found = {
            **burst.count(running),
            **_what_became(running, arguments.pairs),
            **_kills(killer),
        }
        screen.plain(
            f"\n{arguments.pairs} pairs, seed {arguments.seed}, looked at after {seconds:.0f} s"
        )
        for name, value in found.items():
            screen.plain(f"  {name:<32} {value}")
        _show_strays(running, screen)
    finally:
        running.stop()
    broken = [name for name in FAULTS if found[name]]
    screen.plain(f"broken: {', '.join(broken)}" if broken else "nothing broken")
    return 1 if broken else 0


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


def _await_first_submit(running: Environment, deadline: float) -> None:
    early = {"WAITING", "READY"}
    while time.monotonic() < deadline:
        if any(row["status"] not in early for row in running.tasks()):
            return
        time.sleep(0.1)


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


def _what_became(running: Environment, pairs: int) -> dict[str, Any]:
    assert running.simulator is not None
    rows = running.tasks()
    state = running.simulator.control("GET", "state")
    charges = Counter(_task_of(line) for line in running.simulator.charges())
    accepted = Counter(_task_of(job) for job in state["jobs"])
    held = [row for row in rows if row["status"] == "HELD"]
    return {
        "statuses": Counter(row["status"] for row in rows),
        "voices not at rest": pairs - sum(row["status"] in AT_REST for row in rows),
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
        "held for another reason than a doubt": [
            row["task_id"] for row in held if row["error"]["code"] != "AMBIGUOUS"
        ],
        "dead letters by queue": _dead_letters(running),
    }


def _kills(killer: Killer) -> dict[str, Any]:
    deaths = killer.deaths()
    return {
        "kills": killer.kills,
        "deaths in mid-invocation": deaths,
        "died fewer than five times": [name for name in FUNCTIONS if deaths[name] < DEATHS],
        "outages of the table": killer.outages,
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


def _in_words(counted: Counter[str]) -> str:
    return json.dumps(dict(sorted(counted.items())))


if __name__ == "__main__":
    sys.exit(main())
