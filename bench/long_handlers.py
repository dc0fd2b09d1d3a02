"""What cut and join cost as handlers, with S3 and the table between: `python -m bench.long_handlers
[MINUTES]`, 60 by default.

A voice is dropped and taken in, and the handlers cut, gather and join run in a process each, whose
peak of memory and CPU are theirs alone; S3 and the table are the emulator's, in another process.
The pieces' videos are put where archive would have put them: real ones, 480 × 480, two frames too
long, one for each length. Then the same voice is dropped once more: every piece is reused.

Ends with 1 if a handler needs more than 300 MB, or 15 minutes of one CPU.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.long_voice import film, speak
from functions import settings
from functions.tasks import plans, queries, reuse
from functions.tasks.table import Update
from functions.tasks.task import Status, Task, key_of
from functions.videos import paths
from local.aws import cloud
from tests.doors.conftest import CONTEXT, PORTRAIT, Paper, Workshop, dropped, sqs_event

MOST_MEGABYTES, MOST_SECONDS = 300, 900
SETTINGS = {"model": "infinitalk/from-audio", "max_usd": 1000}
LAMBDA: Any = CONTEXT
# A process that imports what the handler does and nothing else. Its peak is that of its own image:
# ru_maxrss would begin with what its parent had.
STEP = """
import importlib, json, re, sys, time
from types import SimpleNamespace
handler, task_id = sys.argv[1:]
context = SimpleNamespace(
    function_name=handler, memory_limit_in_mb=1769, aws_request_id="1",
    invoked_function_arn="arn:aws:lambda:x:1:function:x",
    get_remaining_time_in_millis=lambda: 900_000,
)
act = importlib.import_module("functions.handlers." + handler).handler
began, cpu = time.monotonic(), time.process_time()
answer = act({"task_id": task_id, "attempt": 1, "task_token": "none"}, context)
peak = re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())
print(json.dumps({
    "megabytes": int(peak[1]) / 1024, "cpu": time.process_time() - cpu,
    "clock": time.monotonic() - began, "answer": (answer or {}).get("next", "none"),
}))
"""


def main() -> int:
    seconds = round(float(sys.argv[1]) * 60) if sys.argv[1:] else 3600
    with tempfile.TemporaryDirectory() as name:
        running, paper = cloud.start(Path(name) / "aws"), Paper()
        try:
            shop = Workshop(running, paper)
            os.environ |= shop.environment(max_usd_per_task=None)
            settings.forget()
            return measure(shop, seconds, Path(name))
        finally:
            paper.stop()
            running.stop()


def measure(shop: Workshop, seconds: int, folder: Path) -> int:
    speak(seconds, folder / "talk.mp3")
    content = (folder / "talk.mp3").read_bytes()
    print(f"{seconds} s of voice, {len(content) >> 20} MB of MP3", flush=True)
    task = taken_in(shop, content)
    worst = [played("cut", task), played("gather", task)]
    task = queries.load_many([task.task_id])[0]
    films = made(shop, task, folder, {})  # one, where the voice may become too large
    worst.append(played("gather", task))
    made(shop, task, folder, films)
    worst.append(played("join", task))
    again = taken_in(shop, content)
    worst.append(played("cut", again))
    plan = queries.load_many([again.task_id])[0].plan
    assert plan is not None
    print(f"dropped again: {plan.get('reused', 0)} of {plan['pieces']} pieces reused")
    return int(any(worst))


def taken_in(shop: Workshop, content: bytes) -> Task:
    known = {task.task_id for task in shop.all_tasks()}
    shop.drop("in/talk.png", PORTRAIT)
    shop.drop("in/talk.json", json.dumps(SETTINGS).encode())
    shop.drop("in/talk.mp3", content)
    intake = importlib.import_module("functions.handlers.intake")  # its metrics read environ then
    intake.handler(sqs_event(dropped(shop.inbox, "in/talk.mp3")), LAMBDA)
    (task,) = [one for one in shop.all_tasks() if one.task_id not in known]
    return task


def made(shop: Workshop, task: Task, folder: Path, films: dict[int, bytes]) -> dict[int, bytes]:
    """The videos of the pieces that are opened; the films by their frames."""
    assert task.plan is not None
    opened = {one.task_id: one for one in queries.load_many(list(plans.ids_of_pieces(task)))}
    total = 0
    for one in plans.read(task.plan).pieces:
        piece, frames = opened.get(plans.id_of_piece(task, one.number)), one.end - one.start + 2
        if piece is None or piece.status is Status.COMPLETED:
            continue
        if round(frames) not in films:
            film(folder / "film.mp4", round(frames))
            films[round(frames)] = (folder / "film.mp4").read_bytes()
        reuse.keep(completed(shop, piece, films[round(frames)]))
        total += len(films[round(frames)])
    print(f"{len(opened)} of {task.plan['pieces']} pieces are made, {total >> 20} MB", flush=True)
    return films


def completed(shop: Workshop, piece: Task, content: bytes) -> Task:
    path = paths.of(piece)
    stored = shop.s3.put_object(
        Bucket=path.bucket, Key=path.key, Body=content, ChecksumAlgorithm="SHA256"
    )
    video = {
        "bucket": path.bucket, "key": path.key, "version_id": stored["VersionId"],
        "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content),
        "seconds": piece.audio["seconds"], "manifest_key": path.manifest_key,
    }  # fmt: skip
    update = Update(key_of(piece.task_id)).set(status="COMPLETED", archived=video)
    return Task.of(update.set(charge_usd=piece.quote_usd, job_id=piece.task_id, booked=[]).run())


def played(handler: str, task: Task) -> bool:
    """The handler in a process of its own; was it too much?"""
    command = [sys.executable, "-c", STEP, handler, task.task_id]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    figures = json.loads(done.stdout.splitlines()[-1])
    print(
        f"{handler:7s} peak {figures['megabytes']:4.0f} MB, CPU {figures['cpu']:6.1f} s, "
        f"{figures['clock']:6.1f} s by the clock: {figures['answer']}",
        flush=True,
    )
    return bool(figures["megabytes"] > MOST_MEGABYTES or figures["cpu"] > MOST_SECONDS)


if __name__ == "__main__":
    raise SystemExit(main())
