"""What a person sees: one line a step, with the seconds since the beginning."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Screen:
    """Lines for people on stdout. On a terminal, what is being done stands in the last line until
    it is done."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._pending = False

    def during(self, doing: str, work: Callable[[], T]) -> T:
        """Say what is being done, do it, and leave it to `say` to tell what came of it."""
        if sys.stdout.isatty():
            sys.stdout.write(f"\r\033[K{self._clock()}  … {doing}")
            self._pending = True
        else:
            sys.stdout.write(f"{self._clock()}  … {doing}\n")
        sys.stdout.flush()
        return work()

    def say(self, line: str) -> None:
        begin = "\r\033[K" if self._pending else ""
        self._pending = False
        print(f"{begin}{self._clock()}  {line}", flush=True)

    def plain(self, text: str = "") -> None:
        """Text without a clock: commands to copy, an event, a result."""
        begin = "\r\033[K" if self._pending else ""
        self._pending = False
        print(begin + text, flush=True)

    def _clock(self) -> str:
        return f"{time.monotonic() - self._began:6.1f} s"
