"""A day of one stack in the fault model's virtual time, as CloudWatch hears of it: what functions
print in its embedded format, and those of AWS's own metrics that the model knows.

A voice every twenty minutes at kie, and what may go wrong in a day: `HOURS` says when.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from bench.requests import count_units, durations
from tests.faults.account import INBOX
from tests.faults.clockwork import START, Fault, Invocation
from tests.faults.jobs import Job
from tests.faults.plans import Script
from tests.faults.runs import PORTRAIT, Run, Scene
from tests.faults.unkind_scenes import Scripted, decide, decisions

HOUR, DAY = 3600.0, 86400.0
APART_SECONDS = 1200.0
SAMPLE_SECONDS = 300.0
# From which hour after 10:00 UTC, and for how many.
HOURS = {
    "a word of status that is new": (1.0, 0.5),
    "a job fails": (2.0, 1.5),
    "an answer and its callback are lost": (4.0, 0.3),
    "one POST makes two jobs": (6.2, 0.5),
    "the account has no credits": (7.0, 1.0),
    "a scanner": (11.0, 0.4),
    "a file that is no sound": (13.0, 0.1),
    "a person resubmits what is held": (16.0, 0.1),
    "the first job of it calls back": (16.5, 0.1),
    "the archive refuses": (18.0, 0.7),
    "charges above the price list": (21.0, 1.0),
}

Dimensions = frozenset[tuple[str, str]]


@dataclass
class Metrics:
    """Values by namespace, name and dimensions, each with its second of the day."""

    values: dict[tuple[str, str, Dimensions], list[tuple[float, float]]] = field(
        default_factory=lambda: defaultdict(list)
    )

    def add(self, at: float, namespace: str, name: str, value: float, **dimensions: str) -> None:
        key = (namespace, name, frozenset(dimensions.items()))
        self.values[key].append((at - START, value))


def play(variables: dict[str, dict[str, str]]) -> Metrics:
    """`variables`: the environment of each function in the template, which names namespace and
    service. AWS's own metrics have the titles of resources as dimensions: `WatchFunction`."""
    day = _Day()
    scene = Scene("kie", (), cap_usd=Decimal("2.2"))
    run = Run(scene, day, seed=7)
    run.invariants.is_unkind = True
    day.run, day.now = run, lambda: run.clock.now
    found = Metrics()
    _listen(run, found, variables)
    _count_invocations(run, found, set(variables))
    _sample(run, found, _count_writes(run))
    for number in range(int(DAY / APART_SECONDS)):
        door = ("files", "api")[number % 2]
        run.clock.after(number * APART_SECONDS, lambda n=number, d=door: run._enter(n, d))
    _let_go_wrong(run, day)
    run.account._has_work = lambda: True  # type: ignore[method-assign] # each turn of the sweep
    run.account.start_sweeping()
    result = run.play_for(DAY)
    assert result.broke is None, result.broke
    _count_executions(run, found)
    return found


class _Day(Scripted):
    def __init__(self) -> None:
        super().__init__()
        took = durations(240.0)
        self.seconds = [took[(number * 29) % len(took)] for number in range(len(took))]
        self.run: Run | None = None
        self.jobs = 0

    def is_now(self, what: str) -> bool:
        begins, hours = HOURS[what]
        return begins <= (self.now() - START) / HOUR < begins + hours

    def job(self) -> Script:
        self.jobs += 1
        fails, twin = self.is_now("a job fails"), self.is_now("one POST makes two jobs")
        seconds = self.seconds[self.jobs % len(self.seconds)]
        return Script(seconds=seconds, outcome="fail" if fails else "success", has_twin=twin)

    def strike(self, one: Invocation, site: str) -> Fault | None:
        if site.endswith(" POST") and self.is_now("an answer and its callback are lost"):
            return Fault("error-after")
        if site == "s3 PutObject" and one.name == "archive" and self.is_now("the archive refuses"):
            return Fault("error")
        return super().strike(one, site)

    def deliveries(self, kind: str) -> list[float]:
        lost = kind == "callback" and self.is_now("an answer and its callback are lost")
        return [] if lost else super().deliveries(kind)

    def outage(self, now: float) -> str:
        begins, hours = HOURS["the account has no credits"]
        return "credits" if begins <= (now - START) / HOUR < begins + hours else ""

    def forgeries(self) -> list[tuple[float, str]]:
        return [(float(at), "mac") for at in range(90)] if self.is_now("a scanner") else []


def _let_go_wrong(run: Run, day: _Day) -> None:
    vendor, at = run.vendor, {what: begins * HOUR for what, (begins, _) in HOURS.items()}
    record, price = vendor.record, vendor.price

    def new_record(job: Job) -> dict[str, Any]:
        is_new = (
            day.is_now("a word of status that is new") and job.status(run.clock.now) == "queued"
        )
        return {**record(job), **({"state": "polishing"} if is_new else {})}

    def charged(request_body: dict[str, Any]) -> float:
        return price(request_body) * (1.5 if day.is_now("charges above the price list") else 1)

    def call_back() -> None:
        for job in list(vendor.jobs.values()):
            if job.task_id in run.invariants.resubmitted and job.attempt == 1:
                vendor._post(job, "success")

    def resubmit(task: Any) -> None:
        if task.status == "HELD":
            run.invariants.resubmitted.add(task.task_id)
            decisions().resubmit(task, "ada", "not in its logs", accepts_a_second_charge=True)

    vendor.record, vendor.price = new_record, charged  # type: ignore[method-assign]
    decide(run, at["a person resubmits what is held"], resubmit)
    run.clock.after(at["the first job of it calls back"], call_back)
    run.clock.after(at["a file that is no sound"], lambda: _drop_a_page(run))


def _drop_a_page(run: Run) -> None:
    run.account.buckets.put(INBOX, "page.png", PORTRAIT)
    run.account.buckets.put(INBOX, "page.wav", b"<html>not found</html>")


# What CloudWatch hears.


def _listen(run: Run, found: Metrics, variables: dict[str, dict[str, str]]) -> None:
    """Powertools puts the metrics of an invocation into one line, as JSON."""

    class Lines(list[tuple[str, str]]):
        def append(self, line: tuple[str, str]) -> None:
            function, text = line
            if '"CloudWatchMetrics"' in text:
                _read(json.loads(text), variables[function])

    def _read(entry: dict[str, Any], environment: dict[str, str]) -> None:
        # In the model all functions are one process, so they share what the environment says.
        entry["service"] = environment["POWERTOOLS_SERVICE_NAME"]
        for group in entry["_aws"]["CloudWatchMetrics"]:
            for dimensions in group["Dimensions"]:
                named = {name: str(entry[name]) for name in dimensions}
                for metric in group["Metrics"]:
                    values = entry[metric["Name"]]
                    for value in values if isinstance(values, list) else [values]:
                        found.add(
                            run.clock.now, environment["POWERTOOLS_METRICS_NAMESPACE"],
                            metric["Name"], float(value), **named,
                        )  # fmt: skip

    run.account.lines = Lines()


def _count_invocations(run: Run, found: Metrics, functions: set[str]) -> None:
    invoke = run.clock.invoke

    def counting(name: str, handler: Any, event: Any, timeout: float, done: Any) -> Invocation:
        began, title = run.clock.now, f"{name.capitalize()}Function"

        def ended(result: Any, error: Any) -> None:
            now = run.clock.now
            if name not in functions:  # a person who types
                return
            found.add(now, "AWS/Lambda", "Errors", error is not None, FunctionName=title)
            milliseconds = 1000 * (now - began)
            found.add(now, "AWS/Lambda", "Duration", milliseconds, FunctionName=title)
            done(result, error)

        return invoke(name, handler, event, timeout, ended)

    run.clock.invoke = counting  # type: ignore[method-assign]


def _count_writes(run: Run) -> Counter[str]:
    counted: Counter[str] = Counter()
    count_units(run, counted)
    return counted


def _sample(run: Run, found: Metrics, counted: Counter[str]) -> None:
    """What CloudWatch reads off a queue and a table."""
    now = run.clock.now
    units = counted.pop("table: write units", 0)
    found.add(now, "AWS/DynamoDB", "ConsumedWriteCapacityUnits", units, TableName="Tasks")
    for title, queue in (
        ("Uploads", run.account.uploads),
        ("Submissions", run.account.submissions),
    ):
        oldest = queue.oldest_seconds()
        found.add(now, "AWS/SQS", "ApproximateAgeOfOldestMessage", oldest, QueueName=title)
    run.clock.after(SAMPLE_SECONDS, lambda: _sample(run, found, counted))


def _count_executions(run: Run, found: Metrics) -> None:
    names = {"RUNNING": "Started", "SUCCEEDED": "Succeeded", "FAILED": "Failed"}
    for execution in run.account.workflow.executions.values():
        for at, word in execution._statuses:
            if name := names.get(word):
                metric = f"Executions{name}"
                found.add(at, "AWS/States", metric, 1, StateMachineArn="WorkflowMachine")
