"""Schemathesis against the API of the embedded run, by its own description: no server error, no
answer that breaks its schema, whatever is asked. Routes are shared out over processes, since most
of the time is Hypothesis's own; the stateful phase, which goes from route to route, is one more.

    python -m bench.fuzz             100 cases a route and phase
    python -m bench.fuzz 2000        what docs/api.md reports

A random id names no task, and behind its 404 nothing is tried. So there is a task in each status,
more than once, and the cases that keep to the description name one of them more often than not.

Schemathesis lives in an environment of its own (build/fuzz), since it wants other versions than we
do. What is left out: `positive_data_acceptance`, for what no schema can say (a key that is not in
the inbox); `unsupported_method`, which API Gateway answers with 404 on AWS, too; `ignored_auth`,
since the emulator lets any bearer token pass (tests/journey/test_authorisation.py has the matrix).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import uuid
import venv
from pathlib import Path
from typing import Any

from functions.tasks.attributes import plain, typed
from functions.tasks.steps import placed
from functions.tasks.task import Status, Task, key_of, list_attributes
from local import environment
from local.aws.cloud import KEY, REGION
from local.environment import Environment
from local.screen import Screen
from talkdrop.openapi import OPERATIONS

ROOT = Path(__file__).parents[1]
VENV = ROOT / "build" / "fuzz"
PINNED = "schemathesis==4.32.5"
SAMPLES = ROOT / "local" / "samples"
LEFT_OUT = "positive_data_acceptance,unsupported_method,ignored_auth"
COPIES = 40
GROUPS = 3
# One task, a voice that waits for its portrait, and what the description's example names.
INBOX = {
    "fuzz/portrait.png": "portrait.png",
    "fuzz/voice.mp3": "voice.mp3",
    "waiting/voice.mp3": "voice.mp3",
    "_talkdrop/uploads/episode-12/ada.png": "portrait.png",
    "_talkdrop/uploads/episode-12/01.mp3": "voice.mp3",
}

HOOKS = """
import os
import re

import zlib

import requests
import schemathesis
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

KEY, REGION = os.environ["FUZZ_KEY"], os.environ["FUZZ_REGION"]
TASKS = os.environ["FUZZ_TASKS"].split()


class Sign(requests.auth.AuthBase):
    def __call__(self, made):
        request = AWSRequest(made.method, made.url, data=made.body or b"")
        SigV4Auth(Credentials(KEY, KEY), "execute-api", REGION).add_auth(request)
        made.headers.update(dict(request.headers.items()))
        return made


schemathesis.auth.set_from_requests(Sign())


@schemathesis.hook
def before_call(context, case, kwargs):
    named = str((case.path_parameters or {}).get("task_id", ""))
    chance = zlib.crc32(f"{named} {case.body}".encode("utf-8", "replace"))
    is_valid = case.meta is not None and case.meta.generation.mode.is_positive
    is_random = named and not re.fullmatch("[0-9a-f]{32}", named)
    if is_random and is_valid and chance % 4:
        case.path_parameters["task_id"] = TASKS[chance // 4 % len(TASKS)]
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", type=int, nargs="?", default=100)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    tool = install()
    with tempfile.TemporaryDirectory() as directory:
        running = environment.start(Screen(), state=Path(directory))
        try:
            for name, sample in INBOX.items():
                running.drop(name, (SAMPLES / sample).read_bytes())
            return run(tool, running.stack.outputs["ApiUrl"], in_every_status(running), given)
        finally:
            running.stop()


def in_every_status(running: Environment) -> list[str]:
    """Copies of the task that was dropped, in each status; their ids."""
    table, dynamodb = running.stack.outputs["TaskTableName"], running.cloud.client("dynamodb")
    first, made = the_completed_task(running), []
    for status in [*Status] * COPIES:
        task_id = uuid.uuid4().hex
        task = Task.of(first | {"task_id": task_id, "status": status})
        row = first | placed(task_id, status, None) | list_attributes(task)
        row |= {"pk": key_of(task_id), "task_id": task_id}
        row |= {"created": f"{task.created_at}#{task_id}"}
        if status is not Status.COMPLETED:
            del row["job_id"]
        dynamodb.put_item(TableName=table, Item=typed(row)["M"])
        made.append(task_id)
    return made


def the_completed_task(running: Environment) -> dict[str, Any]:
    table, dynamodb = running.stack.outputs["TaskTableName"], running.cloud.client("dynamodb")
    while True:
        rows = [plain(row) for row in dynamodb.scan(TableName=table)["Items"]]
        for row in rows:
            if row.get("status") == Status.COMPLETED:
                return row
        time.sleep(1)


def install() -> Path:
    """Schemathesis, installed once."""
    tool = VENV / "bin" / "st"
    if not tool.exists():
        venv.create(VENV, clear=True, with_pip=True)
        pip = [str(VENV / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, PINNED, "botocore"], check=True)
    return tool


def run(tool: Path, url: str, tasks: list[str], given: argparse.Namespace) -> int:
    """Each part in a process of its own: Hypothesis's are no threads on Python 3.11, whose parser
    of its own sources fails in them. The outputs are shown when all have ended."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "fuzz_hooks.py").write_text(HOOKS)
        variables = {
            "SCHEMATHESIS_HOOKS": "fuzz_hooks", "FUZZ_KEY": KEY, "FUZZ_REGION": REGION,
            "FUZZ_TASKS": " ".join(tasks), "PYTHONPATH": directory,
        }  # fmt: skip
        command = [
            *(str(tool), "run", str(ROOT / "functions" / "api" / "openapi.json"), "--url", url),
            *("--max-examples", str(given.cases), "--seed", str(given.seed)),
            *("--exclude-checks", LEFT_OUT, "--continue-on-failure"),
        ]
        processes = {}
        for name, words in parts(given.cases).items():
            with (VENV / f"{name}.log").open("wb") as log:
                processes[name] = subprocess.Popen(
                    [*command, *words],
                    cwd=directory,
                    env={**os.environ, **variables},
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
        codes = {name: process.wait() for name, process in processes.items()}
    for name in codes:
        print(f"== {name}\n{(VENV / f'{name}.log').read_text(errors='replace')}")
    print(", ".join(f"{name}: {'failed' if code else 'passed'}" for name, code in codes.items()))
    return max(codes.values())


def parts(cases: int) -> dict[str, list[str]]:
    """The words by which each process is told what is its own. A pass of the stateful phase ends
    after some dozen scenarios, so it has a time in which to begin again."""
    seconds = str(max(10, cases * 3 // 10))
    found = {"stateful": ["--phases", "stateful", "--max-time", seconds]}
    for number in range(GROUPS):
        ids = [one.id for one in [*OPERATIONS.values()][number::GROUPS]]
        words = [word for name in ids for word in ("--include-operation-id", name)]
        found[f"routes-{number + 1}"] = ["--phases", "examples,coverage,fuzzing", *words]
    return found


if __name__ == "__main__":
    sys.exit(main())
