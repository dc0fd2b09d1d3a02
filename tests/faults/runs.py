"""One run: an environment, some tasks that enter it, and what must hold until all is quiet."""

from __future__ import annotations

import json
import random
import struct
import zlib
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from tests.faults import films, wires
from tests.faults.account import INBOX, WEBHOOK_KEY, Account
from tests.faults.clockwork import START, Broke, Clock
from tests.faults.invariants import Invariants
from tests.faults.plans import Harsh, Plan
from tests.faults.sockets import RESULTS_HOST
from tests.faults.vendors import VENDORS, Vendor

POLLS = {"first": 20, "steady": 60, "slow": 600, "slow_after": 1200}
_DAYS = 86400.0


def png(side: int = 512) -> bytes:
    def chunk(name: bytes, inner: bytes) -> bytes:
        return (
            struct.pack(">I", len(inner))
            + name
            + inner
            + struct.pack(">I", zlib.crc32(name + inner))
        )

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def wav(seconds: int = 3) -> bytes:
    form = struct.pack("<HHIIHH", 1, 1, 1000, 1000, 1, 8)
    data = b"data" + struct.pack("<I", seconds * 1000) + bytes(seconds * 1000)
    inner = b"WAVE" + b"fmt " + struct.pack("<I", len(form)) + form + data
    return b"RIFF" + struct.pack("<I", len(inner)) + inner


PORTRAIT, VOICE = png(), wav()
SPLIT = json.dumps({"model": "infinitalk/from-audio", "long_voice": "split"}).encode()


@dataclass(frozen=True)
class Scene:
    """What comes in: `doors` has a word a task (`files`, `api`; `again` is the long voice of the
    first one, edited), and `folders` where each lies, the inbox itself where
    there are fewer. `caps_usd`: a day's; `extras` go into the options."""

    profile: str
    doors: tuple[str, ...] = ("files",)
    folders: tuple[str, ...] = ()
    callbacks: bool = True
    cap_usd: Decimal | None = None
    month_cap_usd: Decimal | None = None
    signs: bool = False
    spread_seconds: float = 0.0
    first_alone_seconds: float = 0.0
    extras: dict[str, Any] = field(default_factory=dict)

    @property
    def options(self) -> str:
        options: dict[str, Any] = {
            "default_provider": self.profile, "callbacks": self.callbacks, "polls": POLLS,
            "ambiguous_hold_hours": 4, "silent_hold_hours": 12,
        }  # fmt: skip
        if self.cap_usd is not None:
            options["budget_usd_per_day"] = str(self.cap_usd)
        if self.month_cap_usd is not None:
            options["budget_usd_per_month"] = str(self.month_cap_usd)
        return json.dumps({**options, **self.extras})


@dataclass
class Result:
    """What came of a run."""

    broke: Broke | None
    charges: int
    statuses: Counter[str]
    calls: int
    trace: list[str]
    sites: list[str]
    kinds: list[str]
    held_charged: int = 0
    made: list[str] = field(default_factory=list)
    held_why: Counter[str] = field(default_factory=Counter)


class Run:
    def __init__(self, scene: Scene, plan: Plan, seed: int, trace: bool = False) -> None:
        self.scene = scene
        self.plan = plan
        self.clock = Clock(seed, plan)
        if trace:
            self.clock.trace = []
        if isinstance(plan, Harsh):
            plan.now = lambda: self.clock.now
        keys = {"kie": [WEBHOOK_KEY]} if scene.signs and scene.profile == "kie" else {}
        self.account = Account(self.clock, plan, keys)
        credentials = {"result_hosts": [RESULTS_HOST]}
        if scene.profile == "relay":
            credentials["base_url"] = "https://relay.gateway.test"  # type: ignore[assignment]
        self.account.secrets[scene.profile] |= credentials
        self.vendor: Vendor = VENDORS[scene.profile](
            self.account, plan, WEBHOOK_KEY if keys else ""
        )
        named = {10: scene.cap_usd, 7: scene.month_cap_usd}
        caps = {length: cap for length, cap in named.items() if cap is not None}
        self.invariants = Invariants(self.account, self.vendor, caps)
        limits = scene.extras.get("rate_limits", {}).get(scene.profile, {})
        self.invariants.running_limit = limits.get("running")
        self.expected: set[str] = set()
        self.replaced = 0
        self.goes_on_until = START  # somebody still comes, however quiet it is
        self.doors = [
            (number, door) for number, door in enumerate(scene.doors) if plan.has_task(number, door)
        ]
        self.waiting = len(self.doors)
        wires.connect(self.account, self._serve, self.vendor.result, seed, scene.options)

    def _serve(self, request: Any) -> Any:
        accepted = len(self.vendor.jobs)
        spoken = len(self.vendor.speeches)
        answer = self.vendor.serve(request)
        if len(self.vendor.speeches) > spoken:
            self.invariants.on_speech()
        if len(self.vendor.jobs) > accepted:
            self.invariants.on_charge()
        return answer

    def play(
        self,
        horizon_days: float = 3,
        more: Callable[[Run], None] | None = None,
        after: Callable[[Run], None] = lambda _run: None,
    ) -> Result:
        """Until all is quiet, and then an hour more, for what comes late. `after` goes on when all
        has been checked."""
        broke: Broke | None = None
        try:
            for number, door in self.doors:
                wait = self.scene.spread_seconds * number + (
                    self.scene.first_alone_seconds if number else 0.0
                )
                self.clock.after(wait, lambda number=number, door=door: self._enter(number, door))
            self.account.start_sweeping()
            self.clock.run(START + horizon_days * _DAYS, self._is_quiet)
            if more is not None:
                more(self)
            self.clock.run(self.clock.now + 3600)
            self.clock.run(self.clock.now + horizon_days * _DAYS, self._is_quiet)
            self.invariants.at_rest(self.expected)
            after(self)
        except Broke as broken:
            broke = broken
        finally:
            self.clock.end()
        return self._result(broke)

    def play_for(self, seconds: float) -> Result:
        """As far as it comes in this time; only what must hold after every
        write is checked."""
        broke: Broke | None = None
        try:
            for number, door in self.doors:
                self._enter(number, door)
            self.clock.run(START + seconds)
        except Broke as broken:
            broke = broken
        finally:
            self.clock.end()
        return self._result(broke)

    def _result(self, broke: Broke | None) -> Result:
        statuses = Counter(item["status"]["S"] for item in self.invariants.tasks.values())
        bought = {job.task_id for job in self.vendor.jobs.values()}
        held = {
            task_id
            for task_id, item in self.invariants.tasks.items()
            if item["status"]["S"] == "HELD"
        }
        return Result(
            broke,
            len(self.vendor.jobs),
            statuses,
            self.clock.calls,
            self.clock.trace or [],
            self.plan.sites,
            self.plan.kinds,
            len(held & bought),
            list(self.plan.draws.made),
            self._held_why(held),
        )

    def _held_why(self, held: set[str]) -> Counter[str]:
        items = [self.invariants.tasks[task_id] for task_id in held]
        return Counter(item["error"]["M"]["code"]["S"] for item in items)

    def _is_quiet(self) -> bool:
        if self.waiting or self.invariants.unrested or self.clock.now < self.goes_on_until:
            return False
        is_whole = len(self.expected) + self.replaced == len(self.doors) or bool(
            self.invariants.deleted
        )
        return is_whole and self.expected <= self.invariants.tasks.keys()

    # The doors.

    def _enter(self, number: int, door: str) -> None:
        if door == "api":
            self.account.buckets.put(INBOX, f"_talkdrop/{number}.png", PORTRAIT)
            self.account.buckets.put(INBOX, f"_talkdrop/{number}.wav", VOICE)
            self._post(number)
            return
        folder = self.scene.folders[number] if number < len(self.scene.folders) else ""
        name = f"{folder}take-{number}"
        files = [(f"{name}.png", PORTRAIT), (f"{name}.wav", VOICE)]
        if door == "text":
            text = {"text": f"take {number}", "voice_id": "v"}
            files[1] = (f"{name}.json", json.dumps(text).encode())
        if door == "again":  # the voice of the first door, edited
            # What was not taken in yet is replaced, and makes no task any more.
            taken_in = self.expected & self.invariants.tasks.keys()
            self.replaced = len(self.expected) - len(taken_in)
            self.expected = taken_in
            self.drop("take-0.wav", films.edited_wav())
            return
        if door == "long":
            files = [(f"{name}.json", SPLIT), files[0], (files[1][0], films.long_wav())]
        if door == "voice-first":
            files.reverse()
        for order, (name, body) in enumerate(files):
            self.clock.after(order * 0.5, lambda name=name, body=body: self.drop(name, body))

    def drop(self, name: str, body: bytes) -> None:
        """A file comes into the inbox."""
        from functions.inputs import drops

        stored = self.account.buckets.put(INBOX, name, body)
        if name.endswith((".wav", ".json")) and body != SPLIT:
            self.expected.add(drops.task_id_of(INBOX, name, stored.version_id))
            self.waiting -= 1

    def delete(self, name: str, *, whole: bool) -> None:
        """A file of the inbox is deleted by its owner."""
        if self.account.buckets.latest(INBOX, name) is None:
            return
        self.account.buckets.remove(INBOX, name, whole=whole)
        self.invariants.deleted.add(name.rpartition(".")[0])
        self.expected &= self.invariants.tasks.keys()

    def _post(self, number: int) -> None:
        """A client that asks until it is answered, with the same key."""
        body = {"portrait": f"_talkdrop/{number}.png", "audio": f"_talkdrop/{number}.wav"}

        def answered(status: int, answer: dict[str, Any]) -> None:
            if status in (200, 201):
                self.expected.add(answer["task_id"])
                self.waiting -= 1
            elif status >= 500:
                self.clock.after(5.0, lambda: self._post(number))
            else:
                raise Broke("the API answers", f"{status} {answer}")

        self.account.post_task(body, f"client-key-{number}", answered)


def harsh_scene(profile: str, seed: int) -> Scene:
    """What comes in, by the seed."""
    chance = random.Random(seed * 7 + 3)
    # Four accounts of five were used before: their first task came when all was calm.
    used = chance.random() < 0.8
    count = used + chance.choice([1, 1, 2, 2, 3])
    doors = tuple(chance.choice(["files", "voice-first", "api"]) for _ in range(count))
    callbacks = chance.random() < 0.9
    cap = Decimal("0.5") if chance.random() < 0.5 else None
    extras = (
        {"rate_limits": {profile: {"submits": 10, "seconds": 10, "running": 2}}}
        if chance.random() < 0.2
        else {}
    )
    return Scene(
        profile,
        doors,
        callbacks=callbacks,
        cap_usd=cap,
        signs=chance.random() < 0.3,
        spread_seconds=chance.choice([0.0, 0.0, 3.0, 90.0]),
        first_alone_seconds=200.0 * used,
        extras=extras,
    )


def harsh_long_scene(seed: int) -> Scene:
    """A long voice, perhaps beside an ordinary one or dropped again with an edit, under a budget
    that it may not fit."""
    chance = random.Random(seed * 11 + 5)
    doors = chance.choice(
        [("long",), ("long", "again"), ("long", "files"), ("api", "long"), ("long", "again")]
    )
    cap = chance.choice([None, Decimal("0.9"), Decimal("0.45"), Decimal("0.3")])
    running = {"submits": 10, "seconds": 10, "running": 1}
    extras = {"rate_limits": {"kie": running}} if chance.random() < 0.2 else {}
    signs = chance.random() < 0.3
    spread = chance.choice([60.0, 600.0, 3000.0, 9000.0]) if "again" in doors else 0.0
    return Scene("kie", doors, cap_usd=cap, signs=signs, extras=extras, spread_seconds=spread)


def harsh_long(seed: int, trace: bool = False, only: Collection[str] | None = None) -> Result:
    """A long voice under every fault at once."""
    plan = Harsh(seed, calm_seconds=0.0, only=only)
    return Run(harsh_long_scene(seed), plan, seed, trace).play()


def harsh(
    profile: str, seed: int, trace: bool = False, only: Collection[str] | None = None
) -> Result:
    scene = harsh_scene(profile, seed)
    plan = Harsh(seed, calm_seconds=scene.first_alone_seconds, only=only)
    return Run(scene, plan, seed, trace).play()
