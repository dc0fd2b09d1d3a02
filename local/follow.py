"""A task's way on the screen: each status as the row has it, the event that says it is over, the
video copied out."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from local.aws.synthesis import ROOT
from local.environment import World
from local.screen import Screen

OUT = ROOT / "out"
PATIENCE_SECONDS = 300
OVER = ("Task Completed", "Task Failed", "Task Held", "Task Expired")

Event = dict[str, Any]


class NotCompleted(Exception):
    """The task ended without a video, or not in time. The message is for a person and says what to
    do."""


def follow(
    world: World, screen: Screen, voice_key: str, patience_seconds: float = PATIENCE_SECONDS
) -> Path:
    """Tell the way of the task that this voice makes, until it is over; answers where the video was
    copied to."""
    event = _await_the_end(world, screen, voice_key, patience_seconds)
    screen.plain(
        "\nThe event, as anybody listening on the bus received it:\n"
        + json.dumps(event, indent=2)
        + "\n"
    )
    if event["detail-type"] != "Task Completed":
        trouble = event["detail"].get("error") or {}
        raise NotCompleted(
            f"the task is {event['detail']['status']}: "
            f"{trouble.get('message', 'no reason was given')}"
        )
    return _copy_out(world, event["detail"])


def _await_the_end(world: World, screen: Screen, voice_key: str, patience_seconds: float) -> Event:
    task_id, told = "", ""
    deadline = time.monotonic() + patience_seconds
    while time.monotonic() < deadline:
        for event in world.ear.listen(seconds=1):
            if (event["detail"].get("audio") or {}).get("key") == voice_key:
                task_id = event["detail"]["task_id"]
            if event["detail"]["task_id"] == task_id and event["detail-type"] in OVER:
                _tell_row(world, screen, task_id, told)
                return event
        if task_id:
            told = _tell_row(world, screen, task_id, told)
    raise NotCompleted(
        f"no end of it within {patience_seconds:.0f} s. {_what_is_known(world, told)}"
    )


def _tell_row(world: World, screen: Screen, task_id: str, told: str) -> str:
    """Say where the task stands, if that is not what was said last."""
    row = world.task(task_id)
    status = str(row.get("status", ""))
    if status and status != told:
        screen.say(f"{status:<11} {_remark(row)}".rstrip())
    return status or told


def _remark(row: dict[str, Any]) -> str:
    match row["status"]:
        case "READY":
            return (
                f"{row['provider']} {row['model']}, by its price list {row.get('quote_usd', '?')} "
                "USD"
            )
        case "SUBMITTED":
            return f"job {row.get('job_id', '?')}"
        case "COMPLETED":
            return f"{row['archived']['seconds']} s of video, {row['archived']['bytes']} bytes"
        case "WAITING":
            return "for its portrait"
        case _:
            return str(row.get("error", {}).get("message", ""))


def _what_is_known(world: World, told: str) -> str:
    errors = "\n".join(world.errors())
    where = (
        f"It was {told}."
        if told
        else "No event told of such a task: is the file's type one that makes a task?"
    )
    return (
        f"{where}\n{errors or 'No function logged an error.'}\nThe emulator's log: "
        f"{world.cloud.log}"
    )


def _copy_out(world: World, detail: Event) -> Path:
    """The video and its manifest from the archive to out/<task_id>/."""
    video = detail["video"]
    folder = OUT / detail["task_id"]
    folder.mkdir(parents=True, exist_ok=True)
    s3 = world.cloud.client("s3")
    copied: Path = folder / Path(video["key"]).name
    s3.download_file(video["bucket"], video["key"], str(copied))
    s3.download_file(video["bucket"], video["manifest_key"], str(folder / "manifest.json"))
    return copied
