"""What the rows of a long voice and of its pieces hold besides what every task has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NotRequired, TypedDict

Number = Decimal | int | float


class PlanFile(TypedDict):
    """Where the plan of a long voice lies in the inbox, and how many pieces it has; `reused` of
    them were made for the tasks `reused_of`."""

    bucket: str
    key: str
    version_id: str
    pieces: Number
    reused: NotRequired[Number]
    reused_of: NotRequired[Sequence[str]]


class Progress(TypedDict):
    """How many pieces a long voice has in all, made, and failed or held, when they were last
    counted."""

    all: Number
    done: Number
    stopped: Number


class SegmentFacts(TypedDict):
    """Which part of its parent's voice a piece is: its number from 1, and the seconds."""

    number: Number
    start_seconds: Number
    end_seconds: Number


class ReusedPiece(TypedDict):
    """Which piece a video was made for, of which long voice: its job, what it was charged then in
    USD, and the SHA-256 of the video."""

    task_id: str
    parent: str
    job_id: str
    charge_usd: str | None
    sha256: str


class MotionFacts(TypedDict):
    """Of a joined video: the mean difference between pictures 0.12 s apart, in steps of 255 from
    black to white, of the whole picture and of where a portrait's mouth is."""

    whole: Number
    mouth: Number


@dataclass(frozen=True, kw_only=True)
class InPieces:
    """`long_voice` is what the task wants of a voice that no model takes whole, "split" or
    "refuse", and `reuse` whether its pieces may be videos that were made before. Of one that is
    split: `candidates` are the models that its plan may choose from,
    `plan` where the plan lies, `pieces` how far they are, `pieces_changed` counts changes of
    their statuses, `remade` says how often a piece was made anew, by its number, and `unfit`
    which one does not fit. Of a piece: `parent` is the task that it belongs to, `segment` which
    part of the voice it is, `in_reserve` says that its quote lies in the parent's reserve,
    `content_key` is the hash of all that its video depends on, and `reused` of which piece it is
    a copy.
    """

    long_voice: str = ""
    reuse: bool = False
    candidates: tuple[str, ...] = ()
    plan: PlanFile | None = None
    pieces: Progress | None = None
    pieces_changed: int = 0
    remade: Mapping[str, int] = field(default_factory=dict)
    unfit: int = 0
    parent: str = ""
    segment: SegmentFacts | None = None
    in_reserve: bool = False
    content_key: str = ""
    reused: ReusedPiece | None = None

    @property
    def is_long(self) -> bool:
        """It is cut: never sent itself, and COMPLETED when its pieces are joined."""
        return bool(self.candidates)
