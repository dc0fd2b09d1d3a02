"""Pieces of long voices that were made before: an index of them by all that their videos depend on.

    made#<content>    the piece whose video was archived last, for exactly this content
    voice#<name>      the long voice that was cut last under this name: where it was cut

The index only finds; whether a video is still there and is the one that was archived is proved when
it is copied. What is not found is made and paid as any piece.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from contextlib import suppress
from datetime import timedelta

from functions.settings import options
from functions.tasks import queries, table
from functions.tasks.table import ConditionFailed, Update, now
from functions.tasks.task import Status, Task, key_of

_VERSION = "1"  # of what a piece's video depends on: another one finds nothing of before


def content_key(task: Task, model: str, portrait_sha256: str, samples_sha256: str) -> str:
    """The hash of all that a piece's video depends on: decoded samples, portrait, provider, model,
    prompt and settings, and whether a visible mark is kept."""
    settings = json.dumps(dict(task.settings), sort_keys=True, default=str)
    words = [
        _VERSION, task.provider, model, task.prompt, settings, str(options().keep_watermark),
        portrait_sha256, samples_sha256,
    ]  # fmt: skip
    return hashlib.sha256("\x00".join(words).encode("utf-8", "surrogatepass")).hexdigest()


def made_key(content: str) -> str:
    return f"made#{content}"


def voice_key(task: Task) -> str:
    """By its name in the inbox, in whatever format it comes."""
    name = str(task.audio["key"]).rpartition(".")[0]
    return f"voice#{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()}"


def keep(piece: Task) -> None:
    """Its video is archived: the next voice may use it."""
    if piece.content_key:
        _point(made_key(piece.content_key), piece.task_id)


def remember(whole: Task) -> None:
    """It is cut, and the next voice of its name looks where."""
    _point(voice_key(whole), whole.task_id)


def _point(pk: str, task_id: str) -> None:
    kept_until = int((now() + timedelta(days=options().keep_pieces_days)).timestamp())
    Update(pk).set(task_id=task_id, expires_at=kept_until).run()


def forget(pk: str, task: Task) -> None:
    """Unless it points to another one by now."""
    with suppress(ConditionFailed):
        Update(pk).remove("task_id").given("{task_id} = :task", task=task.task_id).run()


def drop(piece: Task) -> None:
    """Its video does not fit its voice: no other voice gets it."""
    forget(made_key(piece.content_key), piece)


def made_before(contents: Collection[str]) -> dict[str, Task]:
    """The pieces that were made of these contents and archived, by their content."""
    wanted = [made_key(content) for content in sorted(set(contents) - {""})]
    found = queries.read_many(wanted)
    ids = {str(item["task_id"]) for item in found.values() if "task_id" in item}
    rows = queries.read_many([key_of(task_id) for task_id in sorted(ids)])
    made = (Task.of(row) for row in rows.values())
    return {one.content_key: one for one in made if one.status is Status.COMPLETED and one.archived}


def earlier(whole: Task) -> Task | None:
    """The long voice that was cut last under this name."""
    item = table.read(voice_key(whole)) or {}
    found = queries.load(str(item["task_id"])) if "task_id" in item else None
    return found if found and found.plan and found.task_id != whole.task_id else None
