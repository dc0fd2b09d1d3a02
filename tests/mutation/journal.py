"""What a run has found out, line by line, so that one that was interrupted goes on where it was.

It holds for one state of the source and the tests; after a change of either a run begins anew.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Verdict:
    """`by`: the test that caught it, empty when none did; `why`: what it said; `anew`: it must be
    imported anew."""

    by: str = ""
    why: str = ""
    anew: bool = False


@dataclass(frozen=True)
class Journal:
    """`path` is empty or a file for this state; a run that should find out all anew has none."""

    path: Path | None

    def note(self, phase: str, mutant_id: str, verdict: Verdict) -> None:
        """`mutant_id` is empty for the tests that were played with nothing changed."""
        if self.path and not verdict.anew:
            entry = {"id": mutant_id, "phase": phase, "by": verdict.by, "why": verdict.why}
            with self.path.open("a") as lines:
                lines.write(json.dumps(entry) + "\n")

    def read(self) -> tuple[dict[str, Verdict], set[tuple[str, str]]]:
        """Who was killed, and who survived which phase."""
        text = self.path.read_text() if self.path and self.path.exists() else ""
        lines = [json.loads(line) for line in text.splitlines()]
        liars = {one["by"] for one in lines if not one["id"]}
        killed = [one for one in lines if one["id"] and one["by"] and one["by"] not in liars]
        survived = {(one["id"], one["phase"]) for one in lines if not one["by"]}
        return {one["id"]: Verdict(one["by"], one["why"]) for one in killed}, survived
