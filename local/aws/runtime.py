"""What AWS's own Python runtime would bring: boto3 and the runtime client, linked into a directory
of their own.

A function sees its bundle and these, as on AWS; what only this project's virtual environment has,
it cannot import.
"""

from __future__ import annotations

import re
import sys
from importlib import metadata
from pathlib import Path

BROUGHT_BY_AWS = ("awslambdaric", "boto3")

# -S: no site-packages. The emulator's `provided` runtimes start this file in the unpacked bundle.
BOOTSTRAP = b"""#!/bin/sh
export PYTHONPATH="$LAMBDA_TASK_ROOT:$TALKDROP_RUNTIME"
exec "$TALKDROP_PYTHON" -S -m awslambdaric "$_HANDLER"
"""


def environment(directory: Path) -> dict[str, str]:
    """Link the runtime's packages into `directory`; answer the variables that BOOTSTRAP needs."""
    directory.mkdir(exist_ok=True)
    for package in _closure(BROUGHT_BY_AWS):
        for name in sorted(_top_names(package)):
            link = directory / name
            if not link.is_symlink():
                link.symlink_to(Path(str(package.locate_file(name))).resolve())
    return {"TALKDROP_RUNTIME": str(directory), "TALKDROP_PYTHON": sys.executable}


def _closure(names: tuple[str, ...]) -> list[metadata.Distribution]:
    """The distributions of `names` and of all they need."""
    found: dict[str, metadata.Distribution] = {}
    wanted = list(names)
    for name in wanted:
        if name not in found:
            found[name] = metadata.distribution(name)
            needed = [line for line in found[name].requires or [] if "extra ==" not in line]
            wanted += [re.split(r"[^A-Za-z0-9_.-]", line, maxsplit=1)[0] for line in needed]
    return list(found.values())


def _top_names(package: metadata.Distribution) -> set[str]:
    tops = {path.parts[0] for path in package.files or []}
    return {top for top in tops if top not in ("..", "__pycache__", "bin")}
