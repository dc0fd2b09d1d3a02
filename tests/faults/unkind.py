"""Runs against providers that are less kind than their documentation, and persons who decide at
any moment."""

from __future__ import annotations

import math
import random
from collections.abc import Collection
from dataclasses import replace
from decimal import Decimal
from typing import Any

from tests.faults import season, traits
from tests.faults.account import NEXT_CALLBACK_KEY, NEXT_KEY
from tests.faults.clockwork import START, Broke, Fault, Invocation
from tests.faults.draws import Draws
from tests.faults.plans import Harsh, Rates, Script
from tests.faults.runs import Result, Run, Scene, harsh_scene
from tests.faults.traits import HOUR

RATES = Rates(calm_after=3 * HOUR, paid_call=0.1)
_LONGEST = 24 * HOUR
_LAGGING = ("GetItem", "DescribeExecution")
_SERVICES = ("dynamodb", "s3", "stepfunctions", "sqs", "events", "secretsmanager")


class Unkind(Harsh):
    """`Harsh`, and providers and persons as they may be."""

    def __init__(
        self, seed: int, calm_seconds: float = 0.0, only: Collection[str] | None = None
    ) -> None:
        super().__init__(seed, RATES, calm_seconds, only)
        self.traits = traits.drawn(self.draws)
        self._throttles = self.draws.allows("throttling")
        self._is_skewed = self.draws.allows("clocks off by up to two minutes")
        self._is_lagging = self.draws.allows("reads that lag")
        self._has_sandboxes = self.draws.allows("several sandboxes")
        self._service_outage = self._draw_service_outage()

    def _draw_service_outage(self) -> tuple[float, float, str]:
        chance = self.draws.chance("outage of a service")
        begin = START + chance.random() * 2 * HOUR
        lasts, service = chance.random() * 1800, chance.choice(_SERVICES)
        if chance.random() >= 0.3 or not self.draws.allows(f"outage of {service}"):
            return 0.0, 0.0, ""
        return begin, begin + lasts, service

    def strike(self, one: Invocation, site: str) -> Fault | None:
        begin, end, service = self._service_outage
        if service and begin <= self.now() < end and site.startswith(f"{service} "):
            return Fault("error")
        fault = super().strike(one, site)
        name = self.draws.number(f"throttling {one.name}: {site}")
        is_aws = site.split()[0] in _SERVICES
        if fault is None and is_aws and self._throttles and not self._is_calm():
            fault = Fault("throttled") if self.draws.once(name).random() < 0.01 else None
        return fault or self._stale(one, site)

    def _stale(self, one: Invocation, site: str) -> Fault | None:
        """Reads that do not say that they want the newest: what was true a while ago."""
        if not site.endswith(_LAGGING) or not self._is_lagging or self._is_calm():
            return None
        chance = self.draws.once(self.draws.number(f"lag {one.name}: {site}"))
        return Fault("stale", chance.random() * 30) if chance.random() < 0.2 else None

    def sandbox(self, function: str) -> str:
        name = self.draws.number(f"sandbox of {function}")
        if not self._has_sandboxes:
            return function
        return f"{function} {self.draws.once(name).randrange(3)}"

    def link_is_dead(self) -> bool:
        name = self.draws.number("link at the provider")
        dies = not self._is_calm() and self.draws.once(name).random() < 0.02
        return dies and self.draws.allows(f"{name} is dead")

    def skew(self) -> float:
        name = self.draws.number("clock")
        return self.draws.once(name).uniform(-120, 120) if self._is_skewed else 0.0

    def job(self) -> Script:
        script = super().job()
        name = self.draws.number("unkind job")
        chance = self.draws.chance(name)
        takes = min(_LONGEST, chance.lognormvariate(math.log(2.5 * HOUR), 0.8))
        if chance.random() < 0.15 and self.draws.allows(f"{name} takes {takes / HOUR:.1f} h"):
            script = replace(script, seconds=takes)
        serves = chance.choice(["nothing", "page"])
        if chance.random() < 0.08 and self.draws.allows(f"{name} serves: {serves}"):
            script = replace(script, serves=serves)
        flips = chance.random() * HOUR
        if chance.random() < 0.05 and self.draws.allows(f"{name} fails after success"):
            script = replace(script, fails_after=flips)
        if chance.random() < 0.04 and self.draws.allows(f"{name} has a twin"):
            script = replace(script, has_twin=True)
        forgets = chance.choice([60.0, HOUR, 12 * HOUR])
        if chance.random() < 0.05 and self.draws.allows(
            f"{name} is forgotten after {forgets:.0f} s"
        ):
            script = replace(script, forgotten_after=forgets)
        wavers = chance.choice([300.0, 2 * HOUR, 40 * HOUR])
        if chance.random() < 0.05 and self.draws.allows(f"{name} wavers for {wavers:.0f} s"):
            script = replace(script, wavers_seconds=wavers)
        return script

    def refusal_with_a_job(self) -> str:
        name = self.draws.number("create")
        chance = self.draws.chance(name)
        words = chance.choice(
            ["doubtful", "sure"] if self.traits.sure_refusals_lie else ["doubtful"]
        )
        lies = not self._is_calm() and chance.random() < 0.06
        return words if lies and self.draws.allows(f"{name} refused {words}, and made") else ""

    def deliveries(self, kind: str) -> list[float]:
        waits = super().deliveries(kind)
        return [] if kind == "callback" and self.traits.callbacks_lost else waits

    def persons(self) -> list[tuple[float, random.Random]]:
        """When each of them looks, and by what chance he decides."""
        moments = []
        for number in range(6):
            chance = self.draws.chance(f"person {number}")
            at = chance.random() * 12 * HOUR
            if chance.random() < 0.4 and self.draws.allows(f"person {number} after {at:.0f} s"):
                moments.append((at, chance))
        return moments


def play(
    profile: str,
    seed: int,
    trace: bool = False,
    only: Collection[str] | None = None,
    *,
    cancels: bool = False,
) -> Result:
    """`cancels`: each task there is is cancelled again and again in its first minutes, while it is
    claimed, returned, or its files come."""
    scene = _behind_a_gateway(harsh_scene(profile, seed), Draws(seed, only))
    plan = Unkind(seed, scene.first_alone_seconds, only)
    run = Run(_with_options(scene, plan.draws), plan, seed, trace)
    run.invariants.is_unkind = True
    persons = plan.persons()
    for at, chance in persons:
        run.clock.after(at, lambda chance=chance: person(run, chance))
    for at in _moments(plan.draws) if cancels else ():
        run.clock.after(at, lambda: _cancel_all(run))
    run.clock.after(HOUR, lambda: _look_hourly(run))
    _draw_changes(run, plan.draws)
    _draw_rotation(run, plan.draws)
    is_long = plan.draws.chance("season").random() < 0.03 and plan.draws.allows("a year passes")
    # Most runs end before the last person comes: in some he decides about what has long been held.
    is_waited_for = plan.draws.chance("the last person").random() < 0.15
    if persons and (is_long or (is_waited_for and plan.draws.allows("the last person comes"))):
        run.goes_on_until = START + max(at for at, _ in persons) + 1
    return run.play(after=season.pass_over if is_long else lambda _run: None)


def _with_options(scene: Scene, draws: Draws) -> Scene:
    """Another way for the media, a cap for the month."""
    chance = draws.chance("options")
    delivery, month = chance.random() < 0.25, chance.random() < 0.4
    way = "upload" if scene.profile == "kie" else "base64"
    if delivery and draws.allows(f"option media_delivery: {way}"):
        scene = replace(scene, extras={**scene.extras, "media_delivery": {scene.profile: way}})
    if scene.profile == "kling" and chance.random() < 0.3 and draws.allows("a voice as text"):
        scene = replace(scene, doors=("text", *scene.doors[1:]))
    if month and draws.allows("option budget_usd_per_month"):
        scene = replace(scene, month_cap_usd=Decimal(3))
    return scene


def _draw_changes(run: Run, draws: Draws) -> None:
    """What the account's owner does beside the tasks: another key, a new version, files deleted."""
    chance = draws.chance("changes")
    rotates, lag, deploys = chance.random() < 0.2, chance.uniform(-60, 120), chance.random() < 0.3
    at, until, deletes = chance.random() * 2 * HOUR, chance.random() * 2 * HOUR, chance.random()
    if rotates and draws.allows(f"the key is another after {at:.0f} s"):
        secret = run.account.secrets[run.scene.profile]
        run.clock.after(at, lambda: secret.update(api_key=NEXT_KEY))
        run.clock.after(max(0.0, at + lag), lambda: run.vendor.turn_to(NEXT_KEY))
    if deploys and draws.allows(f"rows of yesterday's shape for {until:.0f} s"):
        run.account.table.yesterday_until = START + until
    name, when = f"take-{chance.randrange(4)}", chance.random() * 600
    file, whole = name + chance.choice([".png", ".wav"]), chance.random() < 0.3
    if deletes < 0.2 and draws.allows(f"{file} is deleted after {when:.0f} s"):
        run.clock.after(when, lambda: run.delete(file, whole=whole))


def _draw_rotation(run: Run, draws: Draws) -> None:
    """The key that signs callback URLs, by the book (docs/operations.md) or in a hurry: everybody
    is to sign by a key that not everybody knows yet, and the old one goes while its tasks run."""
    chance = draws.chance("callback key")
    rotates, at, waits = chance.random() < 0.2, chance.random() * HOUR, chance.choice([0.0, 300.0])
    goes = chance.choice([None, chance.random() * 2 * HOUR])
    if not rotates or not draws.allows(f"the callback key is another after {at:.0f} s"):
        return
    keys = run.account.secrets["callback-key"]
    run.clock.after(at, lambda: keys.update(k2=NEXT_CALLBACK_KEY))
    run.clock.after(at + waits, lambda: keys.update(current="k2"))
    if goes is not None and draws.allows(f"the old callback key goes {goes:.0f} s later"):
        run.clock.after(at + waits + goes, lambda: keys.pop("k1"))


def _behind_a_gateway(scene: Scene, draws: Draws) -> Scene:
    """Of the relays some are CometAPI."""
    if scene.profile != "relay" or draws.chance("gateway").random() >= 0.4:
        return scene
    return replace(scene, profile="comet") if draws.allows("gateway: comet") else scene


def _look_hourly(run: Run) -> None:
    run.invariants.doubts_are_in_time()
    if run.clock.now < START + 3 * 24 * HOUR:
        run.clock.after(HOUR, lambda: _look_hourly(run))


# Persons, by the same functions as the command line's.


def person(run: Run, chance: random.Random) -> None:
    """Somebody takes a task and does what its state suggests, or something else."""
    tasks = sorted(run.invariants.tasks.items())
    if not tasks:
        return
    task_id, item = chance.choice(tasks)
    word = chance.choice(["adopt", "adopt another", "resubmit", "fail", "cancel"])

    def act(_event: dict[str, Any], _context: Any) -> None:
        _decide(run, task_id, word)

    run.clock.note(f"a person: {word} {task_id[:6]}, which is {item['status']['S']}")
    run.clock.invoke("person", act, {"task_id": task_id}, 600, lambda _result, _error: None)


def _moments(draws: Draws) -> list[float]:
    """Most of them while the first tasks are claimed, some while they wait or come back."""
    chance = draws.chance("cancels")
    early = [chance.random() * 8 for _ in range(chance.randrange(4, 17))]
    return early + [chance.random() * 1800 for _ in range(chance.randrange(4))]


def _cancel_all(run: Run) -> None:
    for task_id in sorted(run.invariants.tasks):

        def act(_event: dict[str, Any], _context: Any, task_id: str = task_id) -> None:
            _decide(run, task_id, "cancel")

        run.clock.note(f"a person: cancel {task_id[:6]}")
        run.clock.invoke("person", act, {"task_id": task_id}, 600, lambda _result, _error: None)


def _decide(run: Run, task_id: str, word: str) -> None:
    from functions.tasks import decisions, queries

    task = queries.load(task_id)
    assert task
    jobs = [job for job in run.vendor.jobs.values() if job.task_id == task_id]
    current = [job for job in jobs if job.attempt == task.attempt]
    try:
        if word == "adopt" and current:
            decisions.adopt(task, current[-1].job_id, "p", "found at the provider")
        elif word == "adopt another" and (others := _provably_others(run, task_id)):
            decisions.adopt(task, others[-1], "p", "a slip of the hand")
        elif word == "resubmit" and not current:
            run.invariants.resubmitted.add(task_id)
            decisions.resubmit(task, "p", "no job there", accepts_a_second_charge=True)
        elif word == "fail":
            run.invariants.given_up.add(task_id)
            decisions.fail(task, "p", "not wanted any more")
        elif word == "cancel":
            decisions.cancel(task, "p", "not wanted any more")
    except decisions.Refused as refused:
        run.clock.note(f"refused: {refused}")


def _provably_others(run: Run, task_id: str) -> list[str]:
    """The jobs of other tasks, where the provider's records say whose they are."""
    is_silent = run.plan.traits.records_omit == "proof"
    if is_silent or (run.scene.profile == "kie" and not run.scene.callbacks):
        return []
    return [job.job_id for job in run.vendor.jobs.values() if job.task_id != task_id]


__all__ = ["Broke", "Unkind", "person", "play"]
