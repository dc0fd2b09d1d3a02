"""What the simulator remembers: jobs, charges, callbacks to send, links. On disk, so that a restart
forgets nothing."""

from __future__ import annotations

import dataclasses
import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from local.simulator.faults import Subject

# A job's life in the simulator's own words; each provider has its own for them.
SUBMITTED, PROCESSING, SUCCEEDED, FAILED = "submitted", "processing", "succeeded", "failed"
ENDED = (SUCCEEDED, FAILED)


@dataclass
class Job:
    """One video being made. Times are simulator seconds since 1970."""

    id: str
    provider: str
    model: str
    created: float
    prompt: str = ""
    external_id: str = ""
    callback_url: str = ""
    upstream_id: str = ""
    """The id at the provider behind a relay; the same as `id` where nothing rewrites it."""
    request: dict[str, Any] = field(default_factory=dict)
    portrait: str = ""
    voice: str = ""
    seconds: float = 0.0
    mode: str = ""
    price: float = 0.0
    unit: str = ""
    status: str = SUBMITTED
    updated: float = 0.0
    processing_at: float = 0.0
    ends_at: float | None = None
    """Planned; None for a job that is stuck for ever."""
    ended: float | None = None
    error: tuple[str, str] | None = None
    """Code and message, planned or found; only a failed job shows it."""
    video: str = ""
    link: str = ""
    """Path of the video on the results listener."""
    video_id: str = ""
    held_back: list[dict[str, Any]] = field(default_factory=list)
    """Callbacks that shall come after that of the end."""
    flaw: str = ""
    flaw_queries: int | None = None
    look: str = ""
    """Of its video: empty is a mouth that moves; "frozen"; or "flash" and how many frames it is
    too long."""
    charged: bool = False

    @property
    def subject(self) -> Subject:
        return Subject(self.provider, self.id, self.external_id, self.callback_url, self.prompt)


@dataclass(frozen=True)
class Charge:
    """One line of the ledger. A refund has a negative amount."""

    at: float
    provider: str
    job_id: str
    external_id: str
    callback_url: str
    amount: float
    unit: str
    kind: str


class Book:
    """All records in one table of one SQLite file, and in memory for reading."""

    def __init__(self, folder: Path) -> None:
        self.lock = threading.RLock()
        folder.mkdir(parents=True, exist_ok=True)
        self._file = sqlite3.connect(
            folder / "simulator.db", check_same_thread=False, isolation_level=None
        )
        self._file.execute("PRAGMA journal_mode=WAL")
        # What a killed process wrote, the operating system still writes; only a power cut is not
        # our subject.
        self._file.execute("PRAGMA synchronous=OFF")
        self._file.execute(
            "CREATE TABLE IF NOT EXISTS records (kind TEXT, id TEXT, body TEXT, PRIMARY KEY "
            "(kind, id)) WITHOUT ROWID"
        )
        self._jobs = {body["id"]: _job(body) for body in self.all("job")}
        self._charges = [Charge(**body) for body in self.all("charge")]

    def close(self) -> None:
        with self.lock:
            self._file.close()

    @contextmanager
    def together(self) -> Iterator[None]:
        """What is written inside is on disk together or not at all, also when the process is
        killed."""
        with self.lock:
            if self._file.in_transaction:
                yield
                return
            self._file.execute("BEGIN")
            try:
                yield
            finally:
                self._file.execute("COMMIT")

    def put(self, kind: str, name: str, body: Any) -> None:
        with self.lock:
            self._file.execute(
                "INSERT OR REPLACE INTO records VALUES (?,?,?)",
                (kind, _storable(name), json.dumps(body)),
            )

    def get(self, kind: str, name: str) -> Any:
        with self.lock:
            row = self._file.execute(
                "SELECT body FROM records WHERE kind=? AND id=?", (kind, _storable(name))
            ).fetchone()
        return None if row is None else json.loads(row[0])

    def drop(self, kind: str, name: str) -> None:
        with self.lock:
            self._file.execute("DELETE FROM records WHERE kind=? AND id=?", (kind, name))

    def all(self, kind: str) -> list[Any]:
        with self.lock:
            rows = self._file.execute(
                "SELECT body FROM records WHERE kind=? ORDER BY id", (kind,)
            ).fetchall()
        return [json.loads(row[0]) for row in rows]

    def save(self, job: Job) -> None:
        with self.lock:
            self._jobs[job.id] = job
            self.put("job", job.id, dataclasses.asdict(job))

    def job(self, provider: str, job_id: str) -> Job | None:
        found = self._jobs.get(job_id)
        return found if found is not None and found.provider == provider else None

    def by_id(self, job_id: str) -> Job | None:
        return self._jobs.get(job_id)

    def by_external_id(self, provider: str, external_id: str) -> Job | None:
        return next(
            (job for job in self.jobs(provider) if external_id and job.external_id == external_id),
            None,
        )

    def jobs(self, provider: str | None = None) -> list[Job]:
        """Newest first."""
        with self.lock:
            found = [job for job in self._jobs.values() if provider in (None, job.provider)]
        return sorted(found, key=lambda job: job.created, reverse=True)

    def running(self, provider: str) -> int:
        return sum(job.status not in ENDED for job in self.jobs(provider))

    def charge(self, job: Job, at: float, amount: float, kind: str = "charge") -> None:
        line = Charge(
            at,
            job.provider,
            job.id,
            job.external_id,
            without_secrets(job.callback_url),
            amount,
            job.unit,
            kind,
        )
        with self.lock:
            self.put("charge", f"{len(self._charges):09d}", dataclasses.asdict(line))
            self._charges.append(line)

    def ledger(self) -> list[dict[str, Any]]:
        with self.lock:
            return [dataclasses.asdict(line) for line in self._charges]

    def spent(self, provider: str) -> float:
        with self.lock:
            return sum(line.amount for line in self._charges if line.provider == provider)


def _storable(name: str) -> str:
    """A name as SQLite takes it: half a surrogate pair has no UTF-8."""
    return name.encode(errors="replace").decode()


def without_secrets(url: str) -> str:
    """A callback address fit for eyes: no query, and no token in its last segment (they are what
    makes it secret)."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "(not a URL)"
    head, _, last = parts.path.rpartition("/")
    if len(last) >= 16 or "." in last:
        last = last.partition(".")[0][:8] + "…"
    return f"{parts.scheme}://{parts.hostname or ''}{port}{head}/{last}" if url else ""


def _job(body: dict[str, Any]) -> Job:
    error = body.pop("error", None)
    return Job(**body, error=None if error is None else (error[0], error[1]))
