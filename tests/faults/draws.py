"""Chance by name. Each choice has a generator of its own, so that a departure from the ordinary can
be left out of a run without another one changing: that is what replays and shrinks it."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection


class Draws:
    """`only`: the departures that may be made; None for all. `made`: those that were, in order."""

    def __init__(self, seed: int, only: Collection[str] | None = None) -> None:
        self.seed = seed
        self.only = None if only is None else frozenset(only)
        self.made: list[str] = []
        self._counts: Counter[str] = Counter()
        self._once = random.Random(0)

    def number(self, name: str) -> str:
        """The name with how often it came: "submit: kie POST #2"."""
        self._counts[name] += 1
        return f"{name} #{self._counts[name]}"

    def chance(self, name: str) -> random.Random:
        return random.Random(f"{self.seed} {name}")

    def once(self, name: str) -> random.Random:
        """The same generator, to be used up before the next draw: to make one costs as much again
        as to seed it, and there is one for each call to the outside."""
        self._once.seed(f"{self.seed} {name}")
        return self._once

    def allows(self, departure: str) -> bool:
        if self.only is not None and departure not in self.only:
            return False
        self.made.append(departure)
        return True
