"""What is measured, in an interpreter that sees nothing but what a Lambda would:

    python -I -S child.py FOLDERS MODULE EVENT.json INVOCATIONS

`FOLDERS` (with colons) go first on the path; the module's `handler` is invoked so often with the
event. Prints JSON, in milliseconds of processor time (`cpu`) and of the clock (`wall`): the import,
the first invocation, the median warm one; `peak_mb` and the number of `modules` after the first.
"""

import importlib
import json
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Context:
    """What a handler reads of Lambda's context."""

    function_name = "bench"
    function_version = "1"
    memory_limit_in_mb = 1024
    invoked_function_arn = "arn:aws:lambda:eu-central-1:123456789012:function:bench"
    aws_request_id = "00000000-0000-0000-0000-000000000000"

    def get_remaining_time_in_millis(self) -> int:
        return 100_000


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Milliseconds of processor time and of the clock."""
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return 1000 * (time.process_time() - cpu), 1000 * (time.perf_counter() - wall)


def peak_mb() -> float:
    """Of this program alone: getrusage's figure would begin with the parent's."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return int(status.read_text().split("VmHWM:")[1].split()[0]) / 1024


def main() -> None:
    folders, module, event, invocations = sys.argv[1:]
    sys.path[:0] = folders.split(":")
    given = Path(event).read_text()
    found: dict[str, Any] = {}
    cold = timed(lambda: found.update(module=importlib.import_module(module)))
    handler = found["module"].handler

    def invoke() -> object:
        return handler(json.loads(given), Context())

    answer: list[object] = []
    first = timed(lambda: answer.append(invoke()))
    modules, peak = len(sys.modules), peak_mb()
    warm = [timed(invoke) for _ in range(int(invocations) - 1)] or [(0.0, 0.0)]
    cpu, wall = (statistics.median(one[kind] for one in warm) for kind in (0, 1))
    print()
    costs = {"import_cpu": cold[0], "import_wall": cold[1], "peak_mb": peak, "modules": modules}
    costs |= {"first_cpu": first[0], "first_wall": first[1], "warm_cpu": cpu, "warm_wall": wall}
    print(json.dumps({**costs, "answer": repr(answer[0])[:200]}))


if __name__ == "__main__":
    main()
