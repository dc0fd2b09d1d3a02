"""What a run has found out, line by line, so that one that was interrupted goes on where it was.

An entry holds for one state of the source and of its session's tests; after a change of the source
a run begins anew, after a change of a test only that test's session does.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
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
    """`path` is empty, or a file; a run that should find out all anew has none. `states`: of each
    session, the state of the files that its entries must be of."""

    path: Path | None
    states: dict[str, str] = field(default_factory=dict)

    def note(self, session: str, phase: str, mutant_id: str, verdict: Verdict) -> None:
        """`mutant_id` is empty for the tests that were played with nothing changed."""
        if self.path and not verdict.anew:
            entry = {
                "id": mutant_id, "session": session, "state": self.states[session], "phase": phase,
                "by": verdict.by, "why": verdict.why,
            }  # fmt: skip
            with self.path.open("a") as lines:
                lines.write(json.dumps(entry) + "\n")

    def read(self) -> tuple[dict[str, Verdict], set[tuple[str, str]]]:
        """Who was killed, and who survived which phase."""
        text = self.path.read_text() if self.path and self.path.exists() else ""
        lines = [json.loads(line) for line in text.splitlines()]
        lines = [one for one in lines if one["state"] == self.states.get(one["session"])]
        liars = {one["by"] for one in lines if not one["id"]}
        killed = [one for one in lines if one["id"] and one["by"] and one["by"] not in liars]
        survived = {(one["id"], one["phase"]) for one in lines if not one["by"]}
        return {one["id"]: Verdict(one["by"], one["why"]) for one in killed}, survived
