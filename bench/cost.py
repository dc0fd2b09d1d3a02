"""What tasks cost at AWS, in dollars: the counts of a real run times dated prices.

    .venv/bin/python -m bench.cost [--seconds 240]

The counts are those of `bench.requests`: real handlers in the fault model, nothing goes wrong. What
the model cannot count is how long a function is billed; `BILLED` says what is assumed. Free tiers
are left out. The last line sums up.
"""

from __future__ import annotations

import argparse
import math
from collections import Counter
from statistics import mean

from bench.requests import count, durations
from functions.settings import Options
from infra.fleet import fleet

# US East (N. Virginia), dollars, list prices of 2025 without free tier. They were not read off
# AWS's pages on the day of a run: before a figure is relied on, compare them with
# https://aws.amazon.com/SERVICE/pricing/
PRICED = "us-east-1, list prices of 2025"
LAMBDA_GB_SECOND = 0.0000133334  # arm64
LAMBDA_REQUEST = 0.20e-6
STATE = 0.025e-3
WRITE_UNIT, READ_UNIT = 0.625e-6, 0.125e-6
EVENT = 1.00e-6  # S3's own events are free
QUEUE_REQUEST = 0.40e-6
PUT, GET = 0.005e-3, 0.0004e-3
HTTP_REQUEST = 1.00e-6
SECRET_MONTH, ALARM_MONTH = 0.40, 0.10
# Seconds billed an invocation, warm. Assumed: a few calls of AWS take 0.1 s, submit and watch wait
# for a provider, archive relays a video of some 10 MB. Not measured on AWS.
BILLED = {"submit": 1.5, "watch": 0.6, "archive": 3.0}
BILLED_OTHERS = 0.1
QUEUE_CALLS_A_MESSAGE = 3  # sent, received, deleted
STEADY_SECONDS = 18  # between two queries where no callback comes: functions/tasks/polls.py
SERVICES = ("lambda", "states", "table", "events", "queues", "s3", "http")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.cost", description="Dollars a task.")
    parser.add_argument("--seconds", type=float, default=240.0, help="how long a job takes")
    seconds: float = parser.parse_args().seconds
    print(f"1,000 tasks of {seconds:.0f} s at kie, USD, {PRICED}")
    print(f"{'':<17}" + "".join(f"{service:>9}" for service in SERVICES) + f"{'all':>9}")
    ways = (("callback", True), ("poll", False))
    sums = [_row(f"by {way}", seconds, callbacks, learnt=True) for way, callbacks in ways]
    for way, callbacks in ways:
        _row(f"by {way}, new", seconds, callbacks, learnt=False)
    _queries(seconds)
    _fixed()
    print(
        f"by callback {sums[0]:.2f} USD, by poll {sums[1]:.2f} USD per 1,000 tasks of "
        f"{seconds:.0f} s"
    )


def _row(way: str, seconds: float, callbacks: bool, *, learnt: bool) -> float:
    """`learnt`: the stack knows how long such jobs take; a new one has the model's own numbers."""
    costs = dollars(of_one_task(seconds, callbacks, learnt=learnt))
    cells = "".join(f"{1000 * costs[service]:>9.3f}" for service in SERVICES)
    whole = 1000 * sum(costs.values())
    print(f"{way:<17}{cells}{whole:>9.3f}")
    return whole


def of_one_task(seconds: float, callbacks: bool, *, learnt: bool) -> Counter[str]:
    """What a task adds to a stack that runs: two tasks less one."""
    one, two = (count(number, seconds, callbacks, learnt=learnt) for number in (1, 2))
    return two - one


def _queries(median_seconds: float) -> None:
    """How often the provider is queried over jobs of many lengths, reckoned by the learnt
    schedule: every callback comes, or none is given an address."""
    took = durations(median_seconds)
    early, late = (took[int(share * (len(took) - 1))] for share in (0.05, 0.95))
    by_callback = [1 + max(0, math.ceil((job - late) / 60)) for job in took]
    by_poll = [1 + max(0, math.ceil((job - early) / STEADY_SECONDS)) for job in took]
    delays = [
        early + STEADY_SECONDS * (times - 1) - job for job, times in zip(took, by_poll, strict=True)
    ]
    print(
        f"queries a task: by callback {mean(by_callback):.2f}, by poll {mean(by_poll):.1f} with a "
        f"mean delay of {mean(delays):.1f} s"
    )


def dollars(counted: Counter[str]) -> dict[str, float]:
    writes = counted["table: write units"] + counted["table: write units of the indexes"]
    puts = _calls(counted, "PutObject") + _calls(counted, "List")
    gets = _calls(counted, "GetObject") + _calls(counted, "HeadObject")
    messages = counted["invocations: intake"] + counted["invocations: submit"]
    return {
        "lambda": sum(_invocations(counted, name) for name in fleet(Options())),
        "states": STATE * counted["states entered"],
        "table": WRITE_UNIT * writes + READ_UNIT * counted["table: read units"],
        "events": EVENT * _calls(counted, "PutEvents"),
        "queues": QUEUE_REQUEST * QUEUE_CALLS_A_MESSAGE * messages,
        "s3": PUT * puts + GET * gets,
        "http": HTTP_REQUEST * counted["invocations: callback"],
    }


def _invocations(counted: Counter[str], name: str) -> float:
    """An invocation of submit that finds no room sends nothing, and is as short as the others."""
    memory_gb = fleet(Options())[name].memory_mib / 1024
    times, short = counted[f"invocations: {name}"], counted[f"without a POST: {name}"]
    seconds = (times - short) * BILLED.get(name, BILLED_OTHERS) + short * BILLED_OTHERS
    return times * LAMBDA_REQUEST + LAMBDA_GB_SECOND * memory_gb * seconds


def _calls(counted: Counter[str], name: str) -> int:
    return sum(
        number for call, number in counted.items() if call.startswith("calls: ") and name in call
    )


def _fixed() -> None:
    """By the month, with no task at all. Storage and logs beside it grow with what is kept; the
    sweep's own metrics lie within the ten that are free."""
    options = Options()
    runs = 30 * 24 * 60 / options.sweep_minutes
    sweep = fleet(options)["sweep"]
    sweeping = runs * (
        LAMBDA_REQUEST
        + LAMBDA_GB_SECOND * sweep.memory_mib / 1024 * 0.3
        + 8 * READ_UNIT
        + WRITE_UNIT
        + PUT / 9
    )
    parts = {
        "2 secrets": 2 * SECRET_MONTH,
        "26 metrics in alarms, 10 of them free": 16 * ALARM_MONTH,
        f"sweep every {options.sweep_minutes} min": sweeping,
    }
    for name, cost in {**parts, "all": sum(parts.values())}.items():
        print(f"a month: {name:<40}{cost:>7.2f}")


if __name__ == "__main__":
    main()
