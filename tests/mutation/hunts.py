"""A mutant with the tests that may catch it, and which of them to ask first."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from tests.mutation.source import Mutant


@dataclass(frozen=True)
class Hunt:
    """A mutant and the tests that execute it, the cheapest first, with the seconds that each
    takes."""

    mutant: Mutant | None  # None: nothing is changed, and nothing may be caught
    tests: tuple[tuple[str, float], ...]


class Likely:
    """What has caught others, most of all in the same function, is asked earlier than its cost
    would have it."""

    def __init__(self) -> None:
        self._catches: Counter[tuple[str, str]] = Counter()

    def note(self, mutant: Mutant, test: str) -> None:
        self._catches[test, ""] += 1
        self._catches[test, _place(mutant)] += 5

    def first(self, one: Hunt) -> Hunt:
        place = _place(one.mutant) if one.mutant else ""

        def rank(cost: tuple[str, float]) -> float:
            test, seconds = cost
            return (seconds + 0.01) / (1 + self._catches[test, ""] + self._catches[test, place])

        return Hunt(one.mutant, tuple(sorted(one.tests, key=rank)))


def _place(mutant: Mutant) -> str:
    return f"{mutant.module.name}:{mutant.function}"
