"""A run with the real provider: its key, its price before it is paid, and a job that is paid but
not archived when the run ends."""

from __future__ import annotations

import getpass
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.aws.cloud import KEY, REGION, Cloud
from local.aws.synthesis import ROOT
from local.follow import OUT, NotCompleted, Row, price
from local.screen import Screen

# A provider cannot reach a link into this machine, so the media travel in the request or by its own
# upload, and the outcome is polled for.
MEDIA_DELIVERY = {"kie": "upload", "kling": "base64", "comet": "base64", "relay": "base64"}
OPTIONS: Mapping[str, Any] = {"callbacks": False, "media_delivery": MEDIA_DELIVERY, "polls": {}}
PATIENCE_SECONDS = 3600
SECRET_NAMES = ("api_key", "access_key", "secret_key", "base_url")  # KLING_ACCESS_KEY and so on
NOTE = "paid.json"
# Statuses in which a job may be running that the provider charges.
OPEN = ("SUBMITTING", "SUBMITTED", "ARCHIVING", "HELD")


def read_secret(provider: str) -> dict[str, Any]:
    """The real provider's secret: whole from NAME_SECRET (JSON, as docs/providers.md shows it),
    else its fields from the environment, its key else typed unseen. Never an argument, which others
    can read, and kept nowhere."""
    word = provider.upper()
    if whole := os.environ.get(f"{word}_SECRET"):
        secret: dict[str, Any] = json.loads(whole)
        return secret
    found = {name: os.environ.get(f"{word}_{name.upper()}", "") for name in SECRET_NAMES}
    secret = {name: value for name, value in found.items() if value}
    if not secret.keys() & {"api_key", "secret_key"}:
        secret["api_key"] = getpass.getpass(
            f"The API key of {provider} (or set {word}_API_KEY; it is not kept): "
        )
    if not secret.get("api_key") and not secret.get("secret_key"):
        raise NotCompleted(
            f"without a key of {provider} there is no real video; leave out --live for a simulated "
            "one"
        )
    if provider == "relay" and "base_url" not in secret:
        raise NotCompleted(
            "a relay has an address of its own: set RELAY_BASE_URL, such as https://relay.example"
        )
    return secret


def confirm(row: Row, *, yes: bool) -> None:
    """Ask before anything is paid. Raises NotCompleted if the answer is not yes."""
    offer = f"{row['provider']} {row['model']} will charge {price(row)} by its price list."
    if yes:
        return
    if not sys.stdin.isatty():
        raise NotCompleted(f"{offer} Nothing was sent: --yes goes on without asking")
    if input(f"{offer} Go on? [y/N] ").strip().lower() not in ("y", "yes"):
        raise NotCompleted("nothing was sent and nothing is charged")


@dataclass
class Note:
    """What is remembered of a paid job until its video is at home: out/<task_id>/paid.json and the
    two files beside it."""

    provider: str
    face: Path
    voice: Path
    settings: Mapping[str, Any]
    folder: Path | None = None

    def keep(self, row: Row) -> None:
        """Write what is known of the row, if it may cost something and is not over."""
        if row["status"] not in OPEN:
            return
        self.folder = self.folder or OUT / str(row["task_id"])
        self.folder.mkdir(parents=True, exist_ok=True)
        for path in (self.face, self.voice):
            if not (self.folder / path.name).exists():
                shutil.copyfile(path, self.folder / path.name)
        content = {
            "provider": self.provider,
            "job_id": row.get("job_id", ""),
            "status": row["status"],
            "face": self.face.name,
            "voice": self.voice.name,
            "settings": dict(self.settings),
        }
        making = self.folder / f"{NOTE}.new"
        making.write_text(json.dumps(content, indent=2))
        making.replace(self.folder / NOTE)

    def drop(self) -> None:
        """The video is at home, or the job ended without one."""
        if self.folder:
            (self.folder / NOTE).unlink(missing_ok=True)

    def last_words(self, row: Row | None) -> str:
        """What to say when the run ends before the task does."""
        if not self.folder or not row:
            return ""
        job = row.get("job_id")
        if not job:
            return (
                f"\nA submit to {self.provider} was under way and its answer is not known: it may "
                f"have been charged. Look there; if there is a job, take it up with\n"
                f"  .venv/bin/python -m local run --resume --job JOB"
            )
        return (
            f"\njob {job} at {self.provider} is paid and running. Take it up with\n"
            "  .venv/bin/python -m local run --resume"
        )


def unfinished(job_id: str = "") -> tuple[Note, str]:
    """The newest note of a paid job, and the job's id. Raises NotCompleted if there is none."""
    notes = sorted(OUT.glob(f"*/{NOTE}"), key=lambda path: path.stat().st_mtime)
    if not notes:
        raise NotCompleted(f"no paid job is open: there is no {NOTE} in a folder of {OUT}")
    folder = notes[-1].parent
    content = json.loads(notes[-1].read_text())
    job_id = job_id or content["job_id"]
    if not job_id:
        raise NotCompleted(
            f"the answer of {content['provider']} was lost, so the job's id is not known: look "
            "there for it, and add --job JOB"
        )
    face, voice = (folder / content[name] for name in ("face", "voice"))
    return Note(content["provider"], face, voice, content["settings"], folder), job_id


def adopt(cloud: Cloud, stack: str, row: Row, job_id: str, screen: Screen) -> None:
    """Take a job over that an earlier run paid. Submitting must be off, so that nothing is paid
    here."""
    command = [sys.executable, "-m", "talkdrop", "--stack", stack, "adopt"]
    done = subprocess.run(
        [*command, str(row["task_id"]), job_id, "--why", "paid by an earlier run"],
        cwd=ROOT,
        env={
            **os.environ,
            "AWS_ENDPOINT_URL": cloud.url,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": KEY,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise NotCompleted(f"job {job_id} could not be taken up: {done.stdout}{done.stderr}")
    screen.say(done.stdout.strip())
