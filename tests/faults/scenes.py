"""Scenes of their own: a thousand at once against a cap, and everything that ever came, thrice
more."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any

from tests.faults.clockwork import START, Broke, Fault
from tests.faults.plans import Harsh, Plan, Rates, Script, Struck
from tests.faults.runs import PORTRAIT, Result, Run, Scene
from tests.faults.vendors import Kling


class _Busy(Plan):
    """No faults, but calls of very different length: everybody meets everybody."""

    def latency(self, site: str) -> float:
        return self.random.expovariate(1 / 0.2)


def a_thousand_at_once(profile: str, count: int = 1000) -> Result:
    """Each costs about the same, and the day's cap allows a tenth of them. The rate limit
    does not hold them back."""
    price = {"kie": Decimal("0.045")}.get(profile, Decimal("0.168"))
    rate_limit = {"submits": 10_000, "seconds": 1, "running": 1000}
    extras: dict[str, Any] = {"rate_limits": {profile: rate_limit}}
    scene = Scene(profile, ("api",) * count, cap_usd=price * count / 10, extras=extras)
    run = Run(scene, _Busy(1, Script(seconds=100_000)), seed=1)
    run.vendor.most_a_window = 10 * count
    if isinstance(run.vendor, Kling):
        run.vendor.most_running = 10 * count
    return run.play_for(seconds=1800)


def everything_thrice(profile: str, seed: int = 1) -> tuple[Result, int, int]:
    """A harsh run to its rest; then every message, stream record and callback that ever came comes
    three times more. Beside the result: charges and event ids that this made."""
    run = Run(
        Scene(profile, ("files", "api", "voice-first"), cap_usd=Decimal(5)),
        Harsh(seed, Rates(calm_after=1800)),
        seed,
    )
    before: list[int] = []

    def again(run: Run) -> None:
        before.extend((len(run.vendor.jobs), len(run.invariants.event_ids)))
        for act in _past(run):
            for wait in (1.0, 30.0, 300.0):
                run.clock.after(wait + run.plan.moment(20), act)

    result = run.play(more=again)
    return result, len(run.vendor.jobs) - before[0], len(run.invariants.event_ids) - before[1]


def _past(run: Run) -> Iterator[Any]:
    account = run.account
    for queue in (account.uploads, account.submissions):
        for body in list(queue.sent):
            yield lambda queue=queue, body=body: queue.send(body, 0)
    for record in list(account.stream.past):
        yield lambda record=record: account.stream.replay([record])
    for path, headers, body in list(run.vendor.callbacks_sent):
        yield lambda path=path, headers=headers, body=body: account.post_callback(
            path, headers, body, lambda _code: None
        )


def same_job_for_two(profile: str) -> Broke | None:
    """A provider that answers two tasks with one job: the second is a person's matter, and nothing
    is overwritten."""
    run = Run(Scene(profile, ("api", "api"), spread_seconds=5.0), Plan(1), seed=1)
    run.vendor.repeats_its_job = True
    result = run.play()
    if result.broke is None and result.statuses != {"COMPLETED": 1, "HELD": 1}:
        return Broke("one job, one task", str(dict(result.statuses)))
    return result.broke


def a_denied_job(profile: str) -> Broke | None:
    """A provider that refuses and makes the job all the same: its callback brings the video,
    and the money is counted."""
    run = Run(Scene(profile, ("files", "api"), cap_usd=Decimal(5)), Plan(1), seed=1)
    run.vendor.denies = True
    result = run.play()
    if result.broke is None and result.statuses != {"COMPLETED": 2}:
        return Broke("a late success is archived", str(dict(result.statuses)))
    return result.broke


class _RefusingBus(Plan):
    """The bus takes nothing for an hour: longer than the stream brings a record again."""

    now = staticmethod(lambda: 0.0)

    def refuses_events(self) -> bool:
        return self.now() < START + 3600


def a_refusing_bus(profile: str) -> Broke | None:
    """What the bus refused is announced once it accepts again."""
    plan = _RefusingBus(1)
    run = Run(Scene(profile, ("files", "api")), plan, seed=1)
    plan.now = lambda: run.clock.now
    return run.play().broke


class _Twofold(_Busy):
    """Each function of the workflow is started twice, soon after each other."""

    def deliveries(self, kind: str) -> list[float]:
        return [0.0, self.moment(1.0)] if kind == "workflow invoke" else super().deliveries(kind)


def two_archivers(profile: str) -> Broke | None:
    return _first_broken(
        Run(Scene(profile, ("api",)), _Twofold(seed), seed=seed) for seed in range(1, 31)
    )


def _first_broken(runs: Iterable[Run]) -> Broke | None:
    """Each is made when the one before it is over: a process holds one environment at a time."""
    return next((broke for run in runs if (broke := run.play().broke)), None)


class _Forged(_Busy, Struck):
    """The answer to the POST is lost, and forged callbacks with the right address come around the
    moment of the genuine one."""

    def __init__(self, seed: int) -> None:
        Struck.__init__(self, seed, {}, {}, Script(seconds=60.0), paid=Fault("error-after"))

    def forgeries(self) -> list[tuple[float, str]]:
        return [(60.0 + number / 5, "body") for number in range(5)]


def forged_callbacks(profile: str) -> Broke | None:
    return _first_broken(
        Run(Scene(profile, ("api",)), _Forged(seed), seed=seed) for seed in range(1, 31)
    )


class _NoInboxEvents(Plan):
    """S3 sends no event of any file."""

    def deliveries(self, kind: str) -> list[float]:
        return [] if kind == "event of the inbox" else super().deliveries(kind)


def an_inbox_without_events(profile: str) -> Broke | None:
    return Run(Scene(profile, ("files", "voice-first")), _NoInboxEvents(1), seed=1).play().broke


def a_replaced_face(profile: str) -> Broke | None:
    """Another portrait under the same name, again and again, while the task is on its way to the
    provider."""

    def replaced(seed: int) -> Run:
        run = Run(Scene(profile), _Busy(seed), seed=seed)
        for number in range(12):
            run.clock.after(
                2.0 + number / 2 + run.plan.moment(0.5), lambda: run.drop("take-0.png", PORTRAIT)
            )
        return run

    return _first_broken(replaced(seed) for seed in range(1, 41))


def cap_of_a_few(profile: str) -> Broke | None:
    return a_thousand_at_once(profile, 40).broke


def replayed(profile: str) -> Broke | None:
    result, charges, event_ids = everything_thrice(profile)
    if result.broke is None and (charges or event_ids):
        return Broke("a replay does nothing", f"{charges} charges, {event_ids} new event ids")
    return result.broke
