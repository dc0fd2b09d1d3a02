"""What a provider works on, and the film that comes of it."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

from tests.faults import films
from tests.faults.plans import Script

_STEADY_SECONDS = 30.0  # for which a job that wavers is done at first


@dataclass
class Job:
    """One unit of the provider's work, and one line of its ledger: whoever it was made for pays for
    it."""

    job_id: str
    task_id: str
    attempt: int
    script: Script
    accepted_at: float
    callback_url: str
    external_id: str
    request: dict[str, Any]
    charge: float
    callbacks_accepted: int = 0
    refused: str = ""  # in which words, though it was made: doubtful, sure
    is_twin: bool = False
    is_excused: bool = False

    def _has_flipped(self, age: float) -> bool:
        after = self.script.fails_after
        return after > 0 and age >= self.script.seconds + after

    def is_known(self, now: float) -> bool:
        """Whether a query finds it: not yet, or not any more."""
        age, after = now - self.accepted_at, self.script.forgotten_after
        is_forgotten = after > 0 and age >= self.script.seconds + after
        return age >= self.script.hidden_seconds and not is_forgotten

    def _wavers(self, age: float) -> bool:
        begins = self.script.seconds + _STEADY_SECONDS
        return begins <= age < begins + self.script.wavers_seconds

    @property
    def video(self) -> bytes:
        if "_talkdrop/pieces/" in str(self.request):
            return films.film_of(self.job_id)
        return mp4(self.job_id.encode(), seconds=3)

    def status(self, now: float) -> str:
        age = now - self.accepted_at
        if self._wavers(age):
            return "running"
        if age >= self.script.seconds:
            return "fail" if self._has_flipped(age) else self.script.outcome
        return "queued" if age < self.script.seconds / 3 else "running"


def mp4(content: bytes, seconds: int) -> bytes:
    def box(name: bytes, inner: bytes) -> bytes:
        return struct.pack(">I4s", len(inner) + 8, name) + inner

    header = box(b"mvhd", bytes(12) + struct.pack(">II", 1000, seconds * 1000) + bytes(80))
    track = box(b"trak", box(b"mdia", box(b"hdlr", bytes(8) + b"vide" + bytes(13))))
    return (
        box(b"ftyp", b"isom\0\0\2\0isommp41") + box(b"moov", header + track) + box(b"mdat", content)
    )
