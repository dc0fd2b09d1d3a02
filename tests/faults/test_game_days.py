"""Game days, in the model's virtual time: what an operator sees of them stands in
docs/operations.md."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from tests.faults.account import NEXT_KEY
from tests.faults.clockwork import START, Fault, Invocation
from tests.faults.plans import Script
from tests.faults.runs import Run, Scene
from tests.faults.traits import HOUR
from tests.faults.unkind_scenes import Scripted

DAY = 24 * HOUR
SIX = ("files", "api", "files", "api", "files", "api")


class GameDay(Scripted):
    """One service refuses what one function, or all of them, send it, for a while: from the
    start, or from the first paid POST on."""

    def __init__(
        self, site: str, seconds: float, *, function: str = "", after_the_post: bool = False
    ) -> None:
        super().__init__([Script(seconds=240.0)])
        self.site, self.seconds, self.function = site, seconds, function
        self.begins = None if after_the_post else START
        self.run: Run | None = None

    def strike(self, one: Invocation, site: str) -> Fault | None:
        if self.begins is None and self.run and self.run.vendor.posts:
            self.begins = one.clock.now
        is_meant = site.startswith(self.site) and self.function in ("", one.name)
        is_now = self.begins is not None and one.clock.now < self.begins + self.seconds
        return Fault("error") if is_meant and is_now else super().strike(one, site)


def seen(
    plan: Scripted,
    profile: str = "kie",
    days: float = 0,
    then: Callable[[Run], None] = lambda _run: None,
) -> tuple[Run, Counter[str]]:
    """Six tasks until all is quiet, and so many days at least; and what was announced. `then`: what
    happens besides."""
    run = Run(Scene(profile, SIX), plan, seed=1)
    then(run)
    run.invariants.is_unkind = True
    plan.now = lambda: run.clock.now
    if isinstance(plan, GameDay):
        plan.run = run

    def wait(run: Run) -> None:
        run.clock.run(START + days * DAY)

    result = run.play(more=wait)
    assert result.broke is None, result.broke
    return run, Counter(entry["DetailType"] for entry in run.account.events)


def statuses(run: Run) -> dict[str, int]:
    return dict(Counter(item["status"]["S"] for item in run.invariants.tasks.values()))


@pytest.mark.parametrize("profile", ["kie", "kling"])
def test_a_provider_that_is_down_for_a_day_delays_and_loses_nothing(profile: str) -> None:
    plan = Scripted([Script(seconds=240.0)], outages=(0.0, DAY, "maintenance"))
    run, announced = seen(plan, profile)
    assert statuses(run) == {"COMPLETED": 6}
    assert run.vendor.creates == announced["Task Completed"] == 6
    assert announced["Task Held"] == announced["Task Failed"] == 0


def test_a_table_that_refuses_for_half_an_hour_after_a_post_costs_no_second_one() -> None:
    """What was sent in that moment is found by its callback or its second copy, or held."""
    run, announced = seen(GameDay("dynamodb ", HOUR / 2, after_the_post=True))
    assert run.vendor.posts == run.vendor.creates == 6
    assert set(statuses(run)) <= {"COMPLETED", "HELD"}
    assert announced["Task Held"] == statuses(run).get("HELD", 0) <= 3


def test_an_archive_that_is_denied_for_three_days_holds_and_then_completes() -> None:
    run, announced = seen(GameDay("s3 PutObject", 3 * DAY, function="archive"), days=4)
    assert statuses(run) == {"COMPLETED": 6}
    assert run.vendor.posts == announced["Task Held"] == announced["Task Completed"] == 6


@pytest.mark.parametrize("profile", ["kie", "kling"])
def test_a_revoked_key_stops_its_provider_until_another_one_is_stored(profile: str) -> None:
    """The provider refuses the old key from the start; the next one is stored a day later, and
    nothing else is done."""

    def rotate(run: Run) -> None:
        run.vendor.turn_to(NEXT_KEY)
        secret = run.account.secrets[profile]
        run.clock.after(DAY, lambda: secret.update(api_key=NEXT_KEY))

    run, announced = seen(Scripted([Script(seconds=240.0)]), profile, then=rotate)
    assert statuses(run) == {"COMPLETED": 6}
    assert run.vendor.creates == announced["Task Completed"] == 6
    assert announced["Task Held"] == announced["Task Failed"] == 0


def test_an_account_without_credit_stops_its_provider_until_it_is_topped_up() -> None:
    plan = Scripted([Script(seconds=240.0)], outages=(0.0, DAY, "credits"))
    run, announced = seen(plan)
    assert statuses(run) == {"COMPLETED": 6}
    assert run.vendor.creates == announced["Task Completed"] == 6
    # A free query is tried, ever more rarely; the paid call only once it passed.
    assert run.vendor.posts <= 12
