"""What the rows of a long voice and of its pieces hold besides what every task has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TypedDict

Number = Decimal | int | float


class PlanFile(TypedDict):
    """Where the plan of a long voice lies in the inbox, and how many pieces it has."""

    bucket: str
    key: str
    version_id: str
    pieces: Number


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


class MotionFacts(TypedDict):
    """Of a joined video: the mean difference between pictures 0.12 s apart, in steps of 255 from
    black to white, of the whole picture and of where a portrait's mouth is."""

    whole: Number
    mouth: Number


@dataclass(frozen=True, kw_only=True)
class InPieces:
    """`long_voice` is what the task wants of a voice that no model takes whole, "split" or
    "refuse". Of one that is split: `candidates` are the models that its plan may choose from,
    `plan` where the plan lies, `pieces` how far they are, `pieces_changed` counts changes of
    their statuses, `remade` says how often a piece was made anew, by its number, and `unfit`
    which one does not fit. Of a piece: `parent` is the task that it belongs to, `segment` which
    part of the voice it is, and `in_reserve` says that its quote lies in the parent's reserve.
    """

    long_voice: str = ""
    candidates: tuple[str, ...] = ()
    plan: PlanFile | None = None
    pieces: Progress | None = None
    pieces_changed: int = 0
    remade: Mapping[str, int] = field(default_factory=dict)
    unfit: int = 0
    parent: str = ""
    segment: SegmentFacts | None = None
    in_reserve: bool = False

    @property
    def is_long(self) -> bool:
        """It is cut: never sent itself, and COMPLETED when its pieces are joined."""
        return bool(self.candidates)
