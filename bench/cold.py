"""What each handler costs before its first event: the import, in a process of its own.

    .venv/bin/python -m bench.cold [rounds]

Processor time, peak memory and the number of modules, medians over the rounds; the handlers take
turns, so that a machine that drifts drifts under all of them. Where valgrind is there, the
instructions too: they do not depend on what else the machine does.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parent.parent
HANDLERS = sorted(
    path.stem for path in (ROOT / "functions" / "handlers").glob("*.py") if path.stem != "__init__"
)
CHILD = """
import importlib, json, resource, sys, time
importlib.import_module(sys.argv[1])
used = resource.getrusage(resource.RUSAGE_SELF)
status = open("/proc/self/status").read() if sys.platform == "linux" else ""
peak = int(status.split("VmHWM:")[1].split()[0]) if status else used.ru_maxrss
print(json.dumps({
    "cpu_ms": 1000 * time.process_time(), "peak_mb": peak / 1024, "modules": len(sys.modules),
}))
"""
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
    "AWS_REGION": "eu-central-1",
    "AWS_DEFAULT_REGION": "eu-central-1",
    "POWERTOOLS_METRICS_NAMESPACE": "bench",
    "POWERTOOLS_SERVICE_NAME": "bench",
}

Costs = Mapping[str, float]


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    print("| handler | CPU ms | peak MB | modules | G instructions |\n|---|---|---|---|---|")
    for handler, costs in measure(rounds).items():
        row = [f"{costs['cpu_ms']:.0f}", f"{costs['peak_mb']:.1f}", f"{costs['modules']:.0f}"]
        row.append(f"{costs['instructions'] / 1e9:.2f}" if "instructions" in costs else "")
        print(f"| {handler} | {' | '.join(row)} |", flush=True)


def measure(rounds: int) -> dict[str, dict[str, float]]:
    """Medians by handler."""
    found: dict[str, list[Costs]] = defaultdict(list)
    for number in range(rounds + 1):
        for handler in HANDLERS:
            costs = _imported(handler)
            if number:  # the first round compiles, and warms the disk's cache
                found[handler].append(costs)
    medians = {
        handler: {name: statistics.median(one[name] for one in costs) for name in costs[0]}
        for handler, costs in found.items()
    }
    if shutil.which("valgrind"):
        for handler, costs in medians.items():
            costs["instructions"] = _instructions(handler)
    return medians


def _imported(handler: str) -> Costs:
    done = subprocess.run(
        [sys.executable, "-c", CHILD, f"functions.handlers.{handler}"],
        cwd=ROOT,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=True,
    )
    costs: Costs = json.loads(done.stdout.splitlines()[-1])
    return costs


def _instructions(handler: str) -> float:
    with tempfile.TemporaryDirectory() as folder:
        profile = Path(folder) / "profile"
        subprocess.run(
            [
                *("valgrind", "--tool=callgrind", f"--callgrind-out-file={profile}"),
                *(sys.executable, "-c", CHILD, f"functions.handlers.{handler}"),
            ],
            cwd=ROOT,
            env=ENVIRONMENT,
            capture_output=True,
            check=True,
        )
        (line,) = [line for line in profile.read_text().splitlines() if line.startswith("summary:")]
    return float(line.split()[1])


if __name__ == "__main__":
    main()
