"""Mutation testing of the paid way.

python -m tests.mutation                        every mutant against every test that executes it
python -m tests.mutation --sample 60 --seed 7   a random sample
python -m tests.mutation list [ID …]            the ids; an ID may be a pattern: 'functions.tasks.*'
python -m tests.mutation show ID …              the changes, as diffs
python -m tests.mutation run ID …               these, equivalents too, and what kills them
"""

from __future__ import annotations

import argparse
import os
from fnmatch import fnmatch
from pathlib import Path

from tests.mutation import equivalent, run
from tests.mutation.project import Project

HERE = Path(__file__).parent


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["all", "list", "show", "run"], nargs="?", default="all")
    parser.add_argument("ids", nargs="*", metavar="ID", help="an id or a pattern of ids")
    parser.add_argument("--sample", type=int, metavar="N")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-j", "--processes", type=int, default=os.cpu_count() or 2)
    parser.add_argument("--session", action="append", metavar="NAME", help="only these tests")
    parser.add_argument(
        "--budget", type=float, default=run.BUDGET_SECONDS, metavar="SECONDS",
        help="of tests a session, for one mutant",
    )  # fmt: skip
    parser.add_argument("--project", type=Path, default=HERE / "project.toml")
    arguments = parser.parse_args()
    project = Project.read(arguments.project).with_sessions(arguments.session)
    chosen = run.sample(_matching(project, arguments.ids), arguments.sample, arguments.seed)
    mutants = [project.mutants[name] for name in chosen]
    if arguments.what == "list":
        print("\n".join(chosen))
        return 0
    if arguments.what == "show":
        print("\n\n".join(f"{one.id}\n{one.diff()}" for one in mutants))
        return 0
    reasons = equivalent.reasons(project.mutants, arguments.project.parent / "equivalent.toml")
    effort = run.Effort(arguments.processes, arguments.budget)
    if arguments.what == "run":
        return run.run(project, mutants, {}, effort, is_kept=False)
    return run.run(project, mutants, reasons, effort)


def _matching(project: Project, patterns: list[str]) -> list[str]:
    found = [name for name in project.mutants if _matches(name, patterns or ["*"])]
    if not found:
        raise SystemExit("no mutant has this id: `python -m tests.mutation list` names them all")
    return found


def _matches(name: str, patterns: list[str]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)


if __name__ == "__main__":
    raise SystemExit(main())
