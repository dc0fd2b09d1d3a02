"""equivalent.toml: mutants that change nothing that anybody promised, each with its reason,
reviewed by a person."""

from __future__ import annotations

import tomllib
from collections.abc import Collection
from pathlib import Path

FILE = Path(__file__).parent / "equivalent.toml"


def reasons(mutants: Collection[str], file: Path = FILE) -> dict[str, str]:
    """The reason of each equivalent mutant, by its id. An entry without a reason, or of no
    mutant, ends the run."""
    listed = tomllib.loads(file.read_text()).get("equivalent", []) if file.exists() else []
    found: dict[str, str] = {}
    wrong: list[str] = []
    for entry in listed:
        if not str(entry.get("reason", "")).strip():
            wrong.append(f"{entry.get('ids')}: no reason")
        for one in entry["ids"]:
            if one not in mutants:
                wrong.append(f"{one}: there is no such mutant any more, take it out")
            elif one in found:
                wrong.append(f"{one}: listed twice")
            found[one] = entry["reason"]
    if wrong:
        raise SystemExit(f"{file.name}:\n  " + "\n  ".join(wrong))
    return found
