"""What shall go wrong, where, how often and for whom: a list that the control endpoint fills."""

from __future__ import annotations

import math
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

# kind -> (what it does, its own settings with their defaults). Seconds on the wire are real ones,
# because it is a real client that waits; every other time is the simulator's.
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "lost_answer": ("the job is accepted and the connection cut before the answer", {}),
    "truncated_answer": ("the job is accepted and half of the answer arrives", {}),
    "hang": (
        "the job is accepted and nothing is answered for so many real seconds",
        {"seconds": 60.0},
    ),
    "slow_create": ("the answer takes so many real seconds longer", {"seconds": 5.0}),
    "late_create": ("the answer fails, the job appears so many seconds later", {"seconds": 30.0}),
    "throttle": (
        "refused with this code (null: the provider's own for too fast) and this message; with "
        "made, the job is made all the same",
        {"code": None, "at": "create", "message": "", "made": False},
    ),
    "maintenance": (
        "every call is refused, for so many seconds (null: until deleted)",
        {"seconds": None},
    ),
    "html": ("an HTML page with this status", {"status": 502, "at": "create", "accepted": False}),
    "not_found": ("a job younger than this cannot be found", {"milliseconds": 10_000}),
    "unknown_status": ("a running job shows an undocumented word", {"word": "pending_review"}),
    "stuck": ("the job runs for ever", {}),
    "failed": ("the job fails", {"reason": "internal"}),
    "empty_result": (
        "success without a link, in the first so many queries (null: all)",
        {"queries": None},
    ),
    "malformed_result": (
        "success with a broken result, in the first so many queries (null: all)",
        {"queries": None},
    ),
    "callback_missing": ("no callback", {}),
    "callback_late": ("the callback comes so many seconds later", {"seconds": 120.0}),
    "callback_duplicate": ("the callback comes so many times", {"times": 2}),
    "callback_reordered": ("the callback of a running job comes after that of its end", {}),
    "callback_forged": (
        "and a forged one: early_success, other_job or wrong_address",
        {"as": "early_success"},
    ),
    "link_expired": ("the result link answers with this status", {"status": 403}),
    "wrong_content": ("the link gives html, json, empty, truncated or not_a_video", {"as": "html"}),
    "huge": ("the link gives so many bytes", {"bytes": 6_000_000_000}),
    "drip": ("the link gives so many bytes in a real second", {"bytes_per_second": 100}),
    "frozen": ("nothing moves in the video", {}),
    "flash": (
        "the video flashes where the voice beeps, and is up to so many frames too long",
        {"surplus": 5},
    ),
    "redirect": ("the link redirects there", {"to": "http://169.254.169.254/latest/meta-data/"}),
}
MANNERS = {
    "callback_forged": ("early_success", "other_job", "wrong_address"),
    "wrong_content": ("html", "json", "empty", "truncated", "not_a_video"),
}
PLACES = ("create", "query", "any")


@dataclass(frozen=True)
class Subject:
    """Whom a fault may strike: a job, or a request that wants to become one."""

    provider: str
    job_id: str = ""
    external_id: str = ""
    callback_url: str = ""
    prompt: str = ""


@dataclass
class Fault:
    """One switch. `count` is how often it still strikes (None: without end)."""

    id: str
    kind: str
    settings: dict[str, Any]
    provider: str | None = None
    match: dict[str, Any] = field(default_factory=dict)
    count: int | None = None
    probability: float = 1.0
    seed: int = 0
    since: float = 0.0
    struck: int = 0
    creates: int = 0
    """How many creates came that match but for `nth`."""
    nth_job: str = ""

    def __post_init__(self) -> None:
        self._dice = random.Random(self.seed)

    def meets(self, subject: Subject) -> bool:
        """`nth` is the nth matching create since the fault was set."""
        return self._fits(subject) and (
            "nth" not in self.match or (bool(subject.job_id) and subject.job_id == self.nth_job)
        )

    def see_create(self, subject: Subject) -> None:
        if self._fits(subject):
            self.creates += 1
            if self.match.get("nth") == self.creates:
                self.nth_job = subject.job_id

    def throw(self) -> bool:
        return self.probability >= 1 or self._dice.random() < self.probability

    def _fits(self, subject: Subject) -> bool:
        values = {
            "external_id": subject.external_id,
            "callback": subject.callback_url,
            "prompt": subject.prompt,
        }
        return self.provider in (None, subject.provider) and all(
            str(self.match[name]) in value for name, value in values.items() if name in self.match
        )


class Faults:
    """The list, and the one question the rest of the simulator asks it: does this one strike
    here?"""

    def __init__(
        self, keep: Callable[[list[dict[str, Any]]], None], kept: list[dict[str, Any]]
    ) -> None:
        self._lock = threading.Lock()
        self._keep = keep
        self._faults = [Fault(**body) for body in kept]
        self._last = max((int(fault.id[1:]) for fault in self._faults), default=0)

    def add(self, parameters: dict[str, Any], now: float) -> dict[str, Any]:
        """ValueError says what is wrong with it."""
        parameters = dict(parameters)
        kind = parameters.pop("fault", None)
        if not isinstance(kind, str) or kind not in KINDS:
            raise ValueError(f"fault is one of: {', '.join(KINDS)}")
        common: dict[str, Any] = {
            name: parameters.pop(name)
            for name in ("provider", "match", "count", "probability", "seed")
            if name in parameters
        }
        _check(kind, parameters, common)
        with self._lock:
            self._last += 1
            fault = Fault(f"f{self._last}", kind, KINDS[kind][1] | parameters, since=now, **common)
            self._faults.append(fault)
        self._save()
        return _shown(fault)

    def remove(self, fault_id: str | None = None) -> int:
        """One, or all; says how many there were."""
        with self._lock:
            kept = [fault for fault in self._faults if fault_id not in (None, fault.id)]
            gone = len(self._faults) - len(kept)
            self._faults = kept
        self._save()
        return gone

    def all(self) -> list[dict[str, Any]]:
        with self._lock:
            return [_shown(fault) for fault in self._faults]

    def see_create(self, subject: Subject) -> None:
        """A create came in: count it, for those who wait for the nth."""
        with self._lock:
            for fault in self._faults:
                fault.see_create(subject)

    def strike(
        self,
        kind: str,
        subject: Subject,
        at: str = "",
        now: float | None = None,
        age: float | None = None,
    ) -> dict[str, Any] | None:
        """The settings of the fault that strikes, or None.

        `at` is the place; `now` is for faults that pass with time, `age` for those that a job
        outgrows.
        """
        with self._lock:
            struck = next(
                (fault for fault in self._faults if _strikes(fault, kind, subject, at, now, age)),
                None,
            )
            if struck is None:
                return None
            struck.struck += 1
            if struck.count is not None:
                struck.count -= 1
        self._save()
        return {"fault": kind} | struck.settings  # never empty: callers ask whether it is there

    def _save(self) -> None:
        """Not under our own lock: the book has one too, and its holders come here."""
        self._keep(self.all())


def _strikes(
    fault: Fault, kind: str, subject: Subject, at: str, now: float | None, age: float | None
) -> bool:
    if fault.kind != kind or fault.count == 0 or not fault.meets(subject):
        return False
    if at and fault.settings["at"] not in (at, "any"):
        return False
    if now is not None and now > fault.since + (fault.settings["seconds"] or math.inf):
        return False
    if age is not None and age * 1000 >= fault.settings["milliseconds"]:
        return False
    return fault.throw()


def _check(kind: str, settings: dict[str, Any], common: dict[str, Any]) -> None:
    unknown = set(settings) - set(KINDS[kind][1])
    if unknown:
        raise ValueError(
            f"{kind} has no setting {', '.join(sorted(unknown))}; it has "
            f"{', '.join(KINDS[kind][1]) or 'none'}"
        )
    for name, value in settings.items():
        _check_type(name, value, KINDS[kind][1][name])
    if settings.get("at", "any") not in PLACES:
        raise ValueError(f"at is one of: {', '.join(PLACES)}")
    if "as" in settings and settings["as"] not in MANNERS[kind]:
        raise ValueError(f"as is one of: {', '.join(MANNERS[kind])}")
    _check_match(common.get("match", {}))
    _check_common(common)


def _check_match(match: Any) -> None:
    if not isinstance(match, dict) or set(match) - {"external_id", "callback", "prompt", "nth"}:
        raise ValueError(
            "match is an object with external_id, callback, prompt (substrings) and nth (a number)"
        )
    if not all(
        isinstance(match.get(name, ""), str) for name in ("external_id", "callback", "prompt")
    ):
        raise ValueError("external_id, callback and prompt of match are texts")
    if not isinstance(match.get("nth", 1), int) or isinstance(match.get("nth"), bool):
        raise ValueError("nth of match is a whole number")


def _check_common(common: dict[str, Any]) -> None:
    if not isinstance(common.get("seed", 0), int):
        raise ValueError("seed is a whole number")
    if (
        not isinstance(common.get("probability", 1.0), int | float)
        or not 0 <= common.get("probability", 1.0) <= 1
    ):
        raise ValueError("probability is a number from 0 to 1")
    count = common.get("count")
    if count is not None and (not isinstance(count, int) or isinstance(count, bool) or count < 1):
        raise ValueError("count is a whole number above 0, or left out")


# What a setting takes whose default is null.
KIND_WORDS = {
    int: "a whole number, 0 or more",
    float: "a number, 0 or more",
    bool: "true or false",
    str: "a text",
}
NULLABLE = {"code": int, "seconds": float, "queries": int}


def _check_type(name: str, value: Any, default: Any) -> None:
    if default is None and value is None:
        return
    kind = NULLABLE[name] if default is None else type(default)
    allowed = (int, float) if kind is float else (kind,)
    fits = isinstance(value, allowed) and (kind is bool or not isinstance(value, bool))
    if not fits or (kind in (int, float) and not 0 <= value < math.inf):
        raise ValueError(f"{name} is {KIND_WORDS[kind]}")
    if name == "status" and not 200 <= value <= 599:
        raise ValueError("status is a number from 200 to 599")


def _shown(fault: Fault) -> dict[str, Any]:
    return {name: value for name, value in vars(fault).items() if not name.startswith("_")}
