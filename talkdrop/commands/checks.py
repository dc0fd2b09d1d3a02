"""What a check found: whether it is well, and the cure where it is not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

from talkdrop.commands import screen


class Check(TypedDict):
    name: str
    ok: bool
    detail: str


def check(name: str, ok: bool, detail: str) -> Check:
    return {"name": name, "ok": ok, "detail": detail}


def show(checks: Sequence[Check]) -> None:
    for one in checks:
        screen.line(f"{'ok ' if one['ok'] else 'BAD'}  {one['name']}: {one['detail']}")
