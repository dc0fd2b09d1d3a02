"""Which task is meant: by its id, by the first digits of it, or by its voice's key in the inbox."""

from __future__ import annotations

import re
from http import HTTPStatus
from urllib.parse import unquote

from functions.inputs import drops
from functions.settings import get
from functions.tasks import queries
from functions.tasks.task import Task

_ID = re.compile(r"[0-9a-f]{32}")
_PREFIX = re.compile(r"[0-9a-f]{4,31}")


class NotOneTask(Exception):
    """No task is named so, or more than one; the message says which, and what to do."""

    def __init__(self, message: str, status: HTTPStatus = HTTPStatus.NOT_FOUND) -> None:
        super().__init__(message)
        self.status = status


def find(name: str) -> Task:
    """Raises NotOneTask."""
    task = _by_id(name) or _by_key(name) or _by_key(unquote(name))
    if task is None:
        raise NotOneTask(
            f"there is no task {name[:200]!r}: give its id, the first 4 or more digits of it, or "
            "the key of its voice in the inbox"
        )
    return task


def _by_id(name: str) -> Task | None:
    if _ID.fullmatch(name):
        return queries.load(name)
    if not _PREFIX.fullmatch(name):
        return None
    ids = queries.matching(name)
    if len(ids) > 1:
        raise NotOneTask(
            f"more than one task begins with {name}: give more digits", HTTPStatus.CONFLICT
        )
    return queries.load(ids[0]) if ids else None


def _by_key(key: str) -> Task | None:
    """The task that was made of the file that lies there now."""
    of_a_task = drops.kind_of(key) in {drops.Role.VOICE, drops.Role.SETTINGS}
    if not of_a_task or not drops.may_be_key(key):
        return None
    voice = drops.head(get().inbox, key)
    return queries.load(drops.task_id_of(voice.bucket, key, voice.version_id)) if voice else None
