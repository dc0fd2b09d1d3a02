"""What a person sees: one line a step, with the seconds since the beginning."""

from __future__ import annotations

import shutil
import sys
import textwrap
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Screen:
    """Lines for people on stdout. On a terminal, what is being done stands in the last line until
    it is done; details are shown by `verbose` only."""

    def __init__(self, *, verbose: bool = False) -> None:
        self.verbose = verbose
        self._began = time.monotonic()
        self._pending = False

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self._began

    def during(self, doing: str, work: Callable[[], T]) -> T:
        """Show what is being done, and do it; `say` replaces the line with the outcome."""
        if sys.stdout.isatty():
            sys.stdout.write(f"\r\033[K{self._clock()}  … {doing}")
            self._pending = True
        elif self.verbose:
            sys.stdout.write(f"{self._clock()}  … {doing}\n")
        sys.stdout.flush()
        return work()

    def say(self, line: str) -> None:
        """A line with its clock; on a terminal it is broken between words and goes on indented."""
        text = f"{self._clock()}  {line}"
        if sys.stdout.isatty() and "\n" not in text:
            width = shutil.get_terminal_size().columns
            text = textwrap.fill(
                text.strip(),
                width,
                initial_indent=text[: len(text) - len(text.lstrip())],
                subsequent_indent=" " * 12,
                break_long_words=False,
                break_on_hyphens=False,
            )
        self.plain(text)

    def detail(self, line: str) -> None:
        if self.verbose:
            self.say(line)

    def plain(self, text: str = "") -> None:
        """Text without a clock: commands to copy, an event, a result."""
        begin = "\r\033[K" if self._pending else ""
        self._pending = False
        print(begin + text, flush=True)

    def _clock(self) -> str:
        return f"{self.seconds:6.1f} s"
