"""A task's way on the screen: each status as the row has it, the event that says it is over, the
video copied out."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from functions.videos.paths import safe_stem
from local.aws.synthesis import ROOT
from local.environment import Environment
from local.screen import Screen

# TALKDROP_OUT: another folder, for those who keep videos elsewhere.
OUT = Path(os.environ.get("TALKDROP_OUT") or ROOT / "out")
PATIENCE_SECONDS = 300
OVER = ("Task Completed", "Task Failed", "Task Held", "Task Expired")
# Passed within moments, and of no interest to who waits for a video.
QUIET = ("SUBMITTING", "ARCHIVING")

Row = dict[str, Any]
Event = dict[str, Any]


class NotCompleted(Exception):
    """The task ended without a video, or not in time. The message is for a person and says what to
    do."""


def check_out() -> None:
    """Raises NotCompleted where the video could not be written at the end: known at the beginning
    it costs nothing."""
    probe = OUT / f".probe-{os.getpid()}"
    try:
        OUT.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise NotCompleted(
            f"the video could not be written to {OUT} ({error.strerror}): make it writable first"
        ) from error


@dataclass
class Follower:
    """Follows the task that one dropped voice makes. `on_change` is given the row at every change
    of its status."""

    environment: Environment
    screen: Screen
    voice_key: str
    on_change: Callable[[Row], None] = lambda _row: None
    task_id: str = ""
    row: Row | None = None

    def until(self, wanted: Callable[[Row], bool], patience_seconds: float) -> Row:
        """The row once it is `wanted`. Raises NotCompleted if the task is over before, or the
        patience is."""
        deadline = time.monotonic() + patience_seconds
        while time.monotonic() < deadline:
            over = self._read_events()
            row = self._read_row()
            if row and wanted(row):
                return row
            if over and over["detail-type"] != "Task Completed":
                raise NotCompleted(_why(over))
        raise NotCompleted(f"no end of it within {patience_seconds:.0f} s. {self._known()}")

    def to_the_end(self, patience_seconds: float) -> tuple[Row, Event]:
        """The row and the event of the completed task."""
        row = self.until(lambda row: row["status"] == "COMPLETED", patience_seconds)
        try:
            event = self.environment.listener.until(self._is_completion, PATIENCE_SECONDS)
        except TimeoutError as error:
            raise NotCompleted(str(error)) from error
        self.screen.detail(f"the event, as every listener received it:\n{_indented(event)}")
        return row, event

    def _read_events(self) -> Event | None:
        """The event that says the task is over, if it has come."""
        over = None
        for event in self.environment.listener.listen(seconds=1):
            detail = event["detail"]
            if (detail.get("audio") or {}).get("key") == self.voice_key:
                self.task_id = detail["task_id"]
            if detail["task_id"] == self.task_id and event["detail-type"] in OVER:
                over = event
        return over

    def _read_row(self) -> Row | None:
        row = self.environment.task(self.task_id) if self.task_id else {}
        if row and row.get("pieces") != (self.row or {}).get("pieces"):
            self.screen.say(f"{'':<11} {_pieces(row)}")
        if row and row["status"] != (self.row or {}).get("status"):
            show = self.screen.detail if row["status"] in QUIET else self.screen.say
            show(f"{row['status']:<11} {_remark(row)}".rstrip())
            self.on_change(row)
        self.row = row or self.row
        return row or None

    def _is_completion(self, event: Event) -> bool:
        about = event["detail-type"], event["detail"]["task_id"]
        return about == ("Task Completed", self.task_id)

    def _known(self) -> str:
        where = (
            f"It was {self.row['status']}."
            if self.row
            else "No event named such a task: is the file's type one that makes a task?"
        )
        errors = "\n".join(self.environment.errors()) or "No function logged an error."
        return f"{where}\n{errors}\nThe emulator's log: {self.environment.cloud.log}"


def _why(event: Event) -> str:
    trouble = event["detail"].get("error") or {}
    return f"the task is {event['detail']['status']}: {trouble.get('message', 'without a reason')}"


def _indented(event: Event) -> str:
    return json.dumps(event, indent=2, ensure_ascii=False)


def _remark(row: Row) -> str:
    match row["status"]:
        case "READY":
            return f"{row['provider']} {row['model']}, {price(row)} by its price list"
        case "IN_PIECES":
            return f"{row['model_reason']}; the whole is reserved"
        case "SUBMITTED":
            return f"job {row.get('job_id', '?')}"
        case "COMPLETED":
            return f"{row['archived']['seconds']} s of video, {row['archived']['bytes']} bytes"
        case "WAITING":
            return "for its portrait"
        case _:
            return str(row.get("error", {}).get("message", ""))


def _pieces(row: Row) -> str:
    """How far the pieces of a long voice are."""
    pieces = row["pieces"]
    stopped = f", {pieces['stopped']} stopped" if pieces["stopped"] else ""
    return f"{pieces['done']} of {pieces['all']} pieces made{stopped}"


def price(row: Row) -> str:
    quote = row.get("quote_usd")
    return "a price that is not known" if quote is None else f"{float(quote):.2f} USD"


def copy_out(environment: Environment, event: Event, folder: Path | None = None) -> Path:
    """The video and its manifest from the archive to out/<task_id>/, or another folder; answers the
    video's path."""
    video = event["detail"]["video"]
    folder = folder or OUT / event["detail"]["task_id"]
    folder.mkdir(parents=True, exist_ok=True)
    s3 = environment.cloud.client("s3")
    copied: Path = folder / f"{safe_stem(event['detail']['stem'])}.mp4"
    s3.download_file(video["bucket"], video["key"], str(copied))
    s3.download_file(video["bucket"], video["manifest_key"], str(folder / "manifest.json"))
    return copied
