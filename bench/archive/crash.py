"""The archive function of the embedded run is killed in the middle of its copy, again and again:
what lies there then?

    python -m bench.archive.crash
    python -m bench.archive.crash --gigabytes 0.1 --kills 8 --seed 3

A task in ARCHIVING names a film on this machine; its Lambda is invoked, and its process ended by
SIGKILL when the source has sent a random byte (or a moment after the last). Half of the kills hit
one PutObject; the other half a film whose source does not say its length, so that it goes up in
parts. A task that was finished before its kill came is followed by another. Then the kills end, and
each task runs to its end.

Ends with 1 if under any key there is not exactly one version, whole, with the right checksum in S3
and in the manifest, or if the bucket has no rule that ends within a week the uploads that
are never completed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import signal
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from bench.archive.film import Film, Source
from functions.tasks import attributes
from local import environment
from local.aws import cloud, synthesis
from local.environment import Environment
from local.screen import Screen

PAST_THE_END = (
    1.1  # some kills come when every byte is sent, while S3 stores it or the manifest is written
)
WAYS = {"one PutObject": "", "in parts": "?unsized"}


@dataclass
class Worker:
    """The deployed archive function and the process that runs it."""

    running: Environment
    name: str = ""
    memory_mb: int = 0
    peak_kb: int = 0
    kills: int = 0
    _client: Any = None

    def __post_init__(self) -> None:
        # one invocation is one
        config = Config(read_timeout=930, retries={"total_max_attempts": 1})
        self._client = boto3.client(
            "lambda",
            endpoint_url=self.running.cloud.url,
            config=config,
            aws_access_key_id=cloud.KEY,
            aws_secret_access_key=cloud.KEY,
            region_name=cloud.REGION,
        )
        functions = [
            f
            for page in self._client.get_paginator("list_functions").paginate()
            for f in page["Functions"]
        ]
        (found,) = (f for f in functions if _is_archive(f["Environment"]["Variables"]))
        self.name, self.memory_mb = found["FunctionName"], found["MemorySize"]
        threading.Thread(target=self._watch, daemon=True).start()

    def invoke(self, task_id: str) -> str | None:
        """What the function says comes next, None if it was killed."""
        before, payload = self.kills, json.dumps({"task_id": task_id, "attempt": 1})
        answer = self._client.invoke(FunctionName=self.name, Payload=payload)
        result = json.load(answer["Payload"])
        if answer.get("FunctionError"):
            if self.kills == before:
                raise SystemExit(f"it failed, and was not killed: {result}")
            return None
        return str(result["next"])

    def kill(self) -> None:
        for process in self._processes():
            self._note(process)
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
                self.kills += 1

    def take_peak_mb(self) -> float:
        """The most memory any of its processes had since this was last asked: the kernel's own
        high-water mark."""
        peak, self.peak_kb = self.peak_kb, 0
        return peak / 1000

    def _watch(self) -> None:
        while True:
            for process in self._processes():
                self._note(process)
            time.sleep(0.1)

    def _note(self, process: int) -> None:
        with suppress(OSError, IndexError):  # it ended while we looked
            marked = Path(f"/proc/{process}/status").read_text().split("VmHWM:")[1]
            self.peak_kb = max(self.peak_kb, int(marked.split()[0]))

    def _processes(self) -> list[int]:
        return [
            process
            for process in self.running.cloud.lambda_processes()
            if _is_archive(_environment(process))
        ]


@dataclass
class Row:
    """One line of the table: a task, and what is under its key."""

    way: str
    task_id: str
    kills: int = 0
    invocations: int = 0
    found: dict[str, Any] = field(default_factory=dict)


class Trial:
    """Kills on one way, until they are all spent and every task is at its end."""

    def __init__(
        self, worker: Worker, source: Source, film: Film, way: str, dice: random.Random
    ) -> None:
        self._worker, self._source, self._film, self._way, self._dice = (
            worker,
            source,
            film,
            way,
            dice,
        )
        self.peak_mb = 0.0

    def run(self, kills: int) -> list[Row]:
        self._worker.take_peak_mb()
        rows: list[Row] = []
        while kills or not rows:
            row = Row(self._way, f"{self._way.split()[-1].lower()}-{len(rows) + 1}")
            self._open(row.task_id)
            self._bring(row, kills)
            kills -= row.kills
            rows.append(row)
        self.peak_mb = self._worker.take_peak_mb()
        return rows

    def _bring(self, row: Row, kills: int) -> None:
        reached: float = 0.0
        outcome: str | None = None
        while outcome != "settle":
            left = kills - row.kills
            aim = self._aim(reached, left) if left else None
            self._source.strike_at, before = aim, self._worker.kills
            outcome = self._worker.invoke(row.task_id)
            row.invocations += 1
            row.kills += self._worker.kills - before
            reached = aim or reached

    def _aim(self, reached: float, left: int) -> float:
        """Anywhere in the film. What goes on from its parts is hit a little further on each time,
        so that some is left."""
        end = self._film.size * PAST_THE_END
        if self._way == "one PutObject":
            return self._dice.uniform(0, end)
        return reached + self._dice.uniform(0, 2 * (end - reached) / (left + 1))

    def _open(self, task_id: str) -> None:
        task = {
            "pk": f"task#{task_id}",
            "task_id": task_id,
            "status": "ARCHIVING",
            "attempt": 1,
            "created_at": "2026-11-21T05:00:00.000Z",
            "provider": "kie",
            "model": "kling/ai-avatar-standard",
            "job_id": f"job-{task_id}",
            "stem": "hello",
            "audio": {"seconds": 11.52},
            "video_url": f"http://{self._source.place}/film.mp4{WAYS[self._way]}",
            "trusted_host": self._source.place,
        }
        running = self._worker.running
        running.cloud.client("dynamodb").put_item(
            TableName=running.stack.outputs["TaskTableName"],
            Item={name: attributes.typed(value) for name, value in task.items()},
        )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.archive.crash")
    parser.add_argument("--gigabytes", type=float, default=1)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1, help="of where the kills hit")
    arguments = parser.parse_args()
    screen, film = Screen(), Film(int(arguments.gigabytes * 1e9))
    screen.say(
        f"seed {arguments.seed}, {os.cpu_count()} cores, "
        f"load {os.getloadavg()[0]:.1f} before we began"
    )
    checksums = film.checksums()
    running = environment.start(screen, simulate=None)
    try:
        days = _days_until_ended()
        worker = Worker(running)
        source, dice = Source(film, worker.kill), random.Random(arguments.seed)
        rows, peaks = [], {}
        for number, way in enumerate(WAYS):
            trial = Trial(worker, source, film, way, dice)
            rows += trial.run((arguments.kills + number) // len(WAYS))
            peaks[way] = trial.peak_mb
            screen.say(f"{way}: at its end")
        for row in rows:
            row.found = _look(running, row, checksums)
        _tell(running, screen, worker, rows, peaks, days)
    finally:
        running.stop()
    return 0 if all(row.found["is right"] for row in rows) and days == 7 else 1


def _look(running: Environment, row: Row, checksums: dict[str, str]) -> dict[str, Any]:
    """What is under the task's key, each part of it read anew."""
    s3, bucket = running.cloud.client("s3"), running.stack.outputs["ArchiveBucket"]
    folder = f"videos/2026/11/21/{row.task_id}/"
    listed = s3.list_object_versions(Bucket=bucket, Prefix=folder)
    videos = [one for one in listed.get("Versions", []) if one["Key"] == f"{folder}hello.mp4"]
    got = s3.get_object(Bucket=bucket, Key=f"{folder}hello.mp4", ChecksumMode="ENABLED")
    digest = hashlib.sha256()
    for piece in got["Body"].iter_chunks(1 << 20):
        digest.update(piece)
    manifest = json.load(s3.get_object(Bucket=bucket, Key=f"{folder}manifest.json")["Body"])
    checks = {
        "S3": got["ChecksumSHA256"] == checksums[row.way],
        "manifest": manifest["video"]["sha256"] == checksums["whole"],
        "read back": digest.hexdigest() == checksums["whole"],
    }
    is_right = len(videos) == 1 and not listed.get("DeleteMarkers") and all(checks.values())
    return {"versions": len(videos), "is right": is_right, **checks}


def _tell(
    running: Environment,
    screen: Screen,
    worker: Worker,
    rows: list[Row],
    peaks: dict[str, float],
    days: int | None,
) -> None:
    screen.plain(
        "\n| way | task | kills | invocations | versions | S3's SHA-256 | manifest's | read back "
        "|\n|" + "---|" * 8
    )
    for row in rows:
        verdicts = [
            "right" if row.found[name] else "WRONG" for name in ("S3", "manifest", "read back")
        ]
        cells = [row.way, row.task_id, row.kills, row.invocations, row.found["versions"], *verdicts]
        screen.plain(f"| {' | '.join(map(str, cells))} |")
    peak = ", ".join(f"{way} {peak:.0f} MB" for way, peak in peaks.items())
    screen.plain(f"\npeak memory of the process: {peak}; the function has {worker.memory_mb} MB")
    bucket = running.stack.outputs["ArchiveBucket"]
    uploads = running.cloud.client("s3").list_multipart_uploads(Bucket=bucket).get("Uploads", [])
    screen.plain(
        f"uploads left open: {len(uploads)}; the template's lifecycle rule ends such after {days} "
        "days"
    )


def _days_until_ended() -> int | None:
    """Of uploads that are never completed, by the archive bucket's rule in the template: the
    emulator forgets such rules."""
    (template,) = synthesis.assembly()[0].glob("*.template.json")
    found = json.loads(template.read_text())
    archive = found["Resources"][found["Outputs"]["ArchiveBucket"]["Value"]["Ref"]]["Properties"]
    (rule,) = (
        one
        for one in archive["LifecycleConfiguration"]["Rules"]
        if "AbortIncompleteMultipartUpload" in one
    )
    return (
        int(rule["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"])
        if rule["Status"] == "Enabled"
        else None
    )


def _is_archive(environment: dict[str, str]) -> bool:
    return environment.get("POWERTOOLS_SERVICE_NAME") == "archive"


def _environment(process: int) -> dict[str, str]:
    try:
        variables = Path(f"/proc/{process}/environ").read_text()
    except OSError:  # it ended while we looked
        return {}
    return dict(one.split("=", 1) for one in variables.split("\0") if "=" in one)


if __name__ == "__main__":
    sys.exit(main())
