"""The plan of a long voice: where it is cut, and the file of each piece. Written as JSON beside the
pieces, and read by every step after the cut."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from decimal import Decimal
from typing import Any, cast

from botocore.exceptions import ClientError

from functions.settings import aws, get
from functions.tasks.shares import PlanFile, ReusedPiece, SegmentFacts
from functions.tasks.task import ArchivedVideo, StoredFile, Task, id_of

FOLDER = "_talkdrop/pieces/"  # in the inbox, whose rule leaves it out
_MARKS = "marks.json"


@dataclass(frozen=True)
class PlannedPiece:
    """A piece of the voice from frame `start` up to frame `end` of 1/25 s; `why` it ends there.
    `sha256` is that of its samples, `quote_usd` what its video costs where it is made, and
    `content_key` the hash of all that the video depends on. Where one was made before, `reused`
    says for which piece, and `video` is the copy of it."""

    number: int
    start: float
    end: float
    why: str
    in_pause: bool
    sha256: str
    quote_usd: Decimal
    file: StoredFile
    content_key: str = ""
    reused: ReusedPiece | None = None
    video: ArchivedVideo | None = None

    @property
    def segment(self) -> SegmentFacts:
        start, end = (Decimal(str(round(frame, 4))) / 25 for frame in (self.start, self.end))
        return SegmentFacts(number=self.number, start_seconds=start, end_seconds=end)


@dataclass(frozen=True)
class PiecePlan:
    """A voice of `samples` at `rate`, and its pieces without a gap; what they are made with, and
    why. The limits are what one piece may last, as the cut was given them."""

    samples: int
    rate: int
    channels: int
    most_seconds: float
    least_seconds: float
    spare_frames: int
    model: str
    reason: str
    pieces: tuple[PlannedPiece, ...]

    @property
    def quote_usd(self) -> Decimal:
        """Of what is to be made."""
        return sum((one.quote_usd for one in self.pieces if not one.reused), Decimal(0))

    @property
    def seconds(self) -> float:
        return self.samples / self.rate

    @property
    def reused(self) -> list[ReusedPiece]:
        return [one.reused for one in self.pieces if one.reused]


def folder_of(task: Task) -> str:
    return f"{FOLDER}{task.task_id}/{task.attempt}/"


def write(task: Task, plan: PiecePlan) -> PlanFile:
    """Beside the pieces; a repeat writes another version of the same."""
    key = f"{folder_of(task)}plan.json"
    body = json.dumps(asdict(plan), ensure_ascii=False, default=str).encode()
    stored = aws("s3").put_object(
        Bucket=get().inbox, Key=key, Body=body, ContentType="application/json"
    )
    file = PlanFile(
        bucket=get().inbox,
        key=key,
        version_id=stored.get("VersionId", ""),
        pieces=len(plan.pieces),
    )
    if plan.reused:
        file["reused"] = len(plan.reused)
        file["reused_of"] = sorted({one["parent"] for one in plan.reused})
    return file


def read(file: PlanFile) -> PiecePlan:
    """Exactly the version that the row names."""
    stored = aws("s3").get_object(
        Bucket=file["bucket"], Key=file["key"], VersionId=file["version_id"]
    )
    facts = json.loads(stored["Body"].read())
    facts["pieces"] = tuple(_piece(one) for one in facts["pieces"])
    return PiecePlan(**facts)


def write_marks(task: Task, marks: Sequence[tuple[int, int]]) -> None:
    """By what the voice is known again after an edit: places, and checksums of what is there."""
    body = json.dumps(marks, separators=(",", ":")).encode()
    key = f"{folder_of(task)}{_MARKS}"
    aws("s3").put_object(Bucket=get().inbox, Key=key, Body=body, ContentType="application/json")


def read_earlier(whole: Task) -> tuple[PiecePlan, list[tuple[int, int]]] | None:
    """The plan and the marks of a voice that was cut before; None where they are gone."""
    if whole.plan is None:
        return None
    key = f"{whole.plan['key'].rpartition('/')[0]}/{_MARKS}"
    try:
        found = aws("s3").get_object(Bucket=whole.plan["bucket"], Key=key)["Body"].read()
        return read(whole.plan), [(int(one), int(two)) for one, two in json.loads(found)]
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] not in {403, 404}:
            raise
        return None


def _piece(facts: Mapping[str, Any]) -> PlannedPiece:
    file = {**facts["file"], "seconds": Decimal(str(facts["file"]["seconds"]))}
    known = {**facts, "quote_usd": Decimal(facts["quote_usd"]), "file": cast(StoredFile, file)}
    return PlannedPiece(**known)


def id_of_piece(parent: Task, number: int) -> str:
    """Named after its parent, its number and how often it was made anew, so that no repeat opens
    a second one."""
    again = int(parent.remade.get(str(number), 0))
    words = [parent.task_id, str(parent.attempt), "segment", str(number)]
    return id_of(*words, *([str(again)] if again else []))


def ids_ever_made(parent: Task) -> Iterator[str]:
    """Those that were made anew, too."""
    yield from ids_of_pieces(parent)
    for number, times in parent.remade.items():
        for before in range(int(times)):
            yield id_of_piece(replace(parent, remade={number: before}), int(number))


def ids_of_pieces(parent: Task) -> Iterator[str]:
    count = int(parent.plan["pieces"]) if parent.plan else 0
    return (id_of_piece(parent, number) for number in range(1, count + 1))
