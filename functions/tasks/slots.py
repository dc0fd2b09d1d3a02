"""A provider's row: how many of its jobs run, the turns that were given, the times of its latest
submits, and whether tasks wait for a turn. What may be given of it, and when, is reckoned here;
`turns` gives it.

    leases          when each turn lapses, by the task's id at the provider; the previous version
                    kept running jobs there too, each for hours
    lapsing_491234  how many running jobs have a lease that lapses with that hour since 1970

A running job is counted and not named: each claim and each end of an attempt writes this row, which
so stays small however many run. The counts heal as names with a time of their own do: a lease that
a crash left goes with its hour. The task's row keeps which hour that is, in `booked`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from functions import providers
from functions.providers.base import RateLimit
from functions.settings import options
from functions.tasks import queries, table
from functions.tasks.table import Item, Update, instant, now
from functions.tasks.task import Task

TURN_LAPSES_SECONDS = 120
_MOST_TIMES = 40  # in the row; a faster limit is kept over a shorter span
_SLACK = 1.01  # a submit reaches the provider a tenth of a second sooner or later than another
# What is sent at once and not at a time of its own may take so long from its turn to its POST; as a
# share of the span, and at most a second.
_UNTIMED_SHARE, _UNTIMED_SECONDS = 0.1, 1.0
_FURTHEST_SECONDS = 800  # a message waits for 900 at most
_LEASE_HOURS = 6  # at least; it lapses with the hour that this ends in
_PREFIX, _COUNT = "slots#", "lapsing_"


@dataclass(frozen=True)
class Turn:
    """The right of one task to be claimed, from `at` until it lapses."""

    provider: str
    external_id: str
    at: int  # milliseconds since 1970
    lapses: int | str  # as the row has it


@dataclass(frozen=True)
class Slots:
    """A provider's row as it was read. `stopped`: why its circuit breaker is open."""

    provider: str
    item: Item
    stopped: str | None

    @property
    def pk(self) -> str:
        return key_of(self.provider)

    @property
    def limit(self) -> RateLimit:
        return rate_limit_of(self.provider)

    @property
    def leases(self) -> Mapping[str, int | str]:
        """Those that have a name: turns."""
        return dict(self.item.get("leases", {}))

    @property
    def running(self) -> int:
        """The counted leases that have not lapsed."""
        counts = (int(self.item[name]) for name in self._counts if not _is_over(name))
        return sum(max(0, count) for count in counts)

    @property
    def past_counts(self) -> list[str]:
        """The attributes of hours that have passed."""
        return [name for name in self._counts if _is_over(name)]

    @property
    def _counts(self) -> list[str]:
        return [name for name in self.item if name.startswith(_COUNT)]

    @property
    def lapsed(self) -> list[str]:
        at = seconds_now()
        return [name for name, until in self.leases.items() if _seconds(until) < at]

    @property
    def room(self) -> int:
        """How many more leases there may be."""
        most = self.limit.running
        if most is None:
            return _MOST_TIMES
        return most - self.running - len(self.leases) + len(self.lapsed)

    @property
    def has_waiting(self) -> bool:
        return "waiting_at" in self.item

    @property
    def place(self) -> int:
        """The place that was called last."""
        return int(self.item.get("place", 0))

    def turn_of(self, task: Task) -> Turn | None:
        until = self.leases.get(task.external_id)
        if until is None or _seconds(until) < seconds_now():
            return None
        at = int((_seconds(until) - TURN_LAPSES_SECONDS) * 1000)
        return Turn(self.provider, task.external_id, at, until)

    @property
    def span(self) -> tuple[int, float]:
        """So many submits in so many milliseconds: the rate limit, or a part of it."""
        submits = min(self.limit.submits, _MOST_TIMES)
        return submits, self.limit.seconds * 1000 * submits / self.limit.submits * _SLACK

    def times(self, most: int) -> list[int]:
        """When the next submits may leave, in milliseconds since 1970: as many as there is room
        for, and none further ahead than two spans of the rate limit."""
        submits, span = self.span
        now_ms = int(seconds_now() * 1000)
        taken = deque(sorted(int(at) for at in self.item.get("sent", [])), maxlen=submits)
        found: list[int] = []
        most = min(most, self.room)
        while len(found) < most:
            at = max(now_ms, int(taken[0] + span) + 1) if len(taken) == submits else now_ms
            if at > now_ms + min(2 * span, _FURTHEST_SECONDS * 1000):
                break
            taken.append(at)
            found.append(at)
        return found

    def sent_with(self, times: Iterable[int]) -> list[int]:
        """The times of the latest submits with these among them, each as late as it may leave."""
        _, span = self.span
        untimed = int(min(_UNTIMED_SHARE * span, _UNTIMED_SECONDS * 1000))
        now_ms = int(seconds_now() * 1000)
        latest = [at if at > now_ms + 1000 else max(at, now_ms + untimed) for at in times]
        return sorted([*(int(at) for at in self.item.get("sent", [])), *latest])[-_MOST_TIMES:]


def key_of(provider: str) -> str:
    return f"{_PREFIX}{provider}"


def count_one(provider: str) -> tuple[Update, list[str]]:
    """The write that counts one more running job, and what the task's row books of it: the row and
    the hour, apart, since the previous version knows the row alone."""
    count = f"{_COUNT}{int(seconds_now() // 3600) + _LEASE_HOURS + 1}"
    return Update(key_of(provider)).add(**{count: 1}), [key_of(provider), count]


def is_lease(booked: str) -> bool:
    return booked.startswith((_PREFIX, _COUNT))


def returning(task: Task) -> list[Update]:
    """The writes that give back the task's lease. Of one that has lapsed nothing is counted any
    more, whatever is taken off; one that the previous version gave has a name."""
    rows = [booked for booked in task.booked if booked.startswith(_PREFIX)]
    counts = [booked for booked in task.booked if booked.startswith(_COUNT)]
    if not counts:
        return [Update(pk).drop_from("leases", task.external_id) for pk in rows]
    return [Update(pk).add(**{count: -1}) for pk, count in zip(rows, counts, strict=True)]


def others(task: Task) -> int:
    """How many leases and turns there are at its provider besides the task's own."""
    slots = Slots(task.provider, table.read(key_of(task.provider)) or {}, None)
    own = [one for one in task.booked if one.startswith(_COUNT) and not _is_over(one)]
    return len(slots.leases.keys() - {task.external_id}) + slots.running - len(own)


def _is_over(count: str) -> bool:
    return int(count.removeprefix(_COUNT)) * 3600 <= seconds_now()


def rate_limit_of(provider: str) -> RateLimit:
    limit = options().rate_limits.get(provider)
    if limit is None:
        return providers.get(provider).rate_limit
    return RateLimit(int(limit["submits"] or 1), int(limit["seconds"] or 1), limit.get("running"))


def slots_of(provider: str) -> Slots:
    pk, breaker = key_of(provider), f"breaker#{provider}"
    rows = queries.read_many([pk, breaker])
    stop = rows.get(breaker, {})
    return Slots(provider, rows.get(pk, {}), str(stop.get("why", "")) if "open" in stop else None)


def seconds_now() -> float:
    """Since 1970."""
    return now().timestamp()


def _seconds(until: int | str) -> float:
    """When a lease lapses, in seconds since 1970; the previous version wrote an instant."""
    return instant(until).timestamp() if isinstance(until, str) else until / 1000
