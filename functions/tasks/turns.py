"""Whose turn it is at a provider.

    take        the turn of a task: a lease on one of the provider's running jobs, and a time to
                send; or a place among the tasks that wait
    call_next   room is free: give it to those that have waited longest, and send each its message

A row of the provider (`slots#…`) holds the leases and the times of the latest submits. A turn is a
lease that lapses two minutes after its time. The claim makes it one of hours, which is counted, on
the condition that the turn is still there: nothing is paid without a lease, and a crash leaks none.
While no lease is free, a task writes its place once and tries nothing: who ends an attempt calls
the next one. A call that was lost is made up for by the next one and by the sweep.

Tasks wait in the index `due`, by their place. Places are those of start-time fair queueing (Goyal,
Vin, Cheng: https://doi.org/10.1145/248156.248171): a folder numbers its tasks from the place that
was called last, so that a folder of 9,000 and one of 10 take turns.
"""

from __future__ import annotations

import hashlib
import itertools
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError

from functions.tasks import queries, queues, steps
from functions.tasks.slots import (
    TURN_LAPSES_SECONDS,
    Slots,
    Turn,
    count_one,
    key_of,
    rate_limit_of,
    seconds_now,
    slots_of,
)
from functions.tasks.table import ConditionFailed, Item, Update
from functions.tasks.task import Task

logger = Logger(child=True)

_TRIES = 5  # another invocation may give turns at the same moment
_MOST_CALLED = 10  # messages in one request of SQS
_NOTED_SECONDS = 30  # the note that tasks wait is that fresh, at least, when one has just joined
_FORGOTTEN_SECONDS = 90  # longer than an index lags behind
_SHARE_DAYS = 30
# So many that were claimed a moment ago may still stand at the head of the index.
_CLAIMED_LATELY = (3, 30, 120)
_ABANDONED_SECONDS = 10  # after its time a turn's own invocation must have claimed, or died


def take(task: Task, at: int | None = None) -> Turn | None:
    """The task's turn, if it is now; `at` is that of the message. None: it was given a later time
    and a message for it, or a place among those that wait; or another message is its own."""
    slots = slots_of(task.provider)
    if "leases" not in slots.item:
        _open(slots)
    turn = slots.turn_of(task)
    if turn and turn.at != at and turn.at / 1000 > seconds_now() - _ABANDONED_SECONDS:
        return None
    if turn is None and slots.stopped is None and not slots.has_waiting:
        turn = _first_free(task, slots)
    if turn is None:
        line_up(task, slots)
        return None
    return _at_its_time(task, turn)


def lease(task: Task) -> tuple[Update, list[str]]:
    """The claim's part, and what it books: a lease of hours in place of the turn, which must not
    have lapsed. Where any number may run, the turn is only used up."""
    update, booked = Update(key_of(task.provider)), list[str]()
    if rate_limit_of(task.provider).running is not None:
        update, booked = count_one(task.provider)
    update.drop_from("leases", task.external_id)
    return update.given("attribute_exists({leases}.{" + task.external_id + "})"), booked


def give_back(turn: Turn) -> None:
    """The turn was not used. One that a claim has made a lease of stays."""
    update = Update(key_of(turn.provider)).drop_from("leases", turn.external_id)
    try:
        update.given("{leases}.{" + turn.external_id + "} = :lapses", lapses=turn.lapses).run()
    except ConditionFailed:
        logger.info("the turn was claimed, or had lapsed")


def hand_on(provider: str, *, look: bool = False) -> None:
    """Call the next, after what must not fail for this: the sweep calls too."""
    try:
        call_next(provider, look=look)
    except (BotoCoreError, ClientError, ConditionFailed, RuntimeError):
        logger.exception("the next task was not called", provider=provider)


def call_next(provider: str, *, look: bool = False) -> None:
    """Give the free turns to those that have waited longest. `look`: whether or not it is noted
    that tasks wait."""
    for _ in range(_TRIES):
        slots = _tidied(slots_of(provider))
        times = slots.times(_MOST_CALLED)
        if slots.stopped is not None or not times or not (look or slots.has_waiting):
            return
        waiting, are_all = _longest_waiting(slots, len(times))
        if not waiting:
            if are_all:
                _forget_waiting(slots)
            return
        called = dict(zip((task.external_id for task in waiting), times, strict=False))
        try:
            _give(slots, called, place=max(task.waits_place for task in waiting))
        except ConditionFailed:
            continue
        queues.call({task.task_id: called[task.external_id] for task in waiting})
        return


# Giving.


def _open(slots: Slots) -> None:
    """The provider's first lease ever needs something to lie in."""
    try:
        Update(slots.pk).set(leases={}).given("attribute_not_exists({leases})").run()
    except ConditionFailed:
        logger.info("another invocation made the row")


def _tidied(slots: Slots) -> Slots:
    """The row without what has lapsed, where that is more than one write drops: after a crash of
    many, under a limit that was lowered since, no turn would ever fit."""
    for _ in range(_TRIES):
        if len(slots.lapsed) <= _MOST_CALLED:
            break
        try:
            slots = replace(slots, item=_give(slots, {}))
        except ConditionFailed:
            break
    return slots


def _give(slots: Slots, called: Mapping[str, int], *, place: int = 0) -> Item:
    """Write the turns, `called` being their times by external id, and drop what has lapsed. Raises
    ConditionFailed with the row as it stands when another invocation gave turns meanwhile."""
    update = Update(slots.pk)
    for external_id, at in called.items():
        update.put_in("leases", external_id, at + TURN_LAPSES_SECONDS * 1000)
    dropped = [name for name in slots.lapsed if name not in called][:_MOST_CALLED]
    for number, name in enumerate(dropped):
        until = {f"lapsed{number}": slots.leases[name]}
        update.drop_from("leases", name)
        update.given("{leases}.{" + name + "} = :" + f"lapsed{number}", **until)
    more = len([name for name in called if name not in slots.leases])
    if called and slots.limit.running is not None:
        # A claim makes of a name a count and an end takes one off: neither makes the sum more.
        most = slots.limit.running - slots.running
        update.given("size({leases}) <= :room", room=most + len(dropped) - more)
    update.remove(*slots.past_counts)
    update.set(sent=slots.sent_with(called.values()), place=max(place, slots.place)).add(
        given=len(called)
    )
    if place and not slots.has_waiting:
        update.set(waiting_at=int(seconds_now()))
    given = slots.item.get("given")
    if given is None:
        return update.given("attribute_not_exists({given})").run()
    return update.given("{given} = :given", given=given).run()


def _first_free(task: Task, slots: Slots) -> Turn | None:
    """A turn at once for who comes when no other waits; None where there is none within reach."""
    for _ in range(_TRIES):
        if not (times := slots.times(1)):
            return None
        try:
            item = _give(slots, {task.external_id: times[0]})
        except ConditionFailed as lost:
            item = lost.item or {}
        slots = Slots(slots.provider, item, None)
        if (turn := slots.turn_of(task)) or slots.has_waiting:
            return turn
    return None


def _at_its_time(task: Task, turn: Turn) -> Turn | None:
    wait = turn.at / 1000 - seconds_now()
    if wait >= 1:
        queues.call({task.task_id: turn.at}, task.not_before)
        return None
    # SQS delays by whole seconds, and a provider counts its span more finely: what is left of the
    # last second is waited here, against the rule of the house.
    time.sleep(max(0.0, wait))
    return turn


# Waiting.


def line_up(task: Task, slots: Slots | None = None) -> None:
    """Write the task's place, once; then see whether room came meanwhile."""
    slots = slots or slots_of(task.provider)
    why = f"{slots.provider} runs all the jobs it may, or takes no more submits for now"
    if slots.stopped is not None:
        why = f"{slots.provider} is stopped until its account works again"
    if not task.is_waiting or why != task.waits_for:
        place = task.waits_place or _next_place(task, slots)
        try:
            steps.line_up(task, place, why, is_news=slots.stopped is not None)
        except ConditionFailed:
            logger.info("the task moved meanwhile")
            return
    if int(slots.item.get("waiting_at", 0)) < seconds_now() - _NOTED_SECONDS:
        Update(slots.pk).set(waiting_at=int(seconds_now())).run()
    call_next(slots.provider)


def _next_place(task: Task, slots: Slots) -> int:
    """The next number of the task's folder; one that comes back unaccepted waited before."""
    if task.returns:
        return max(1, slots.place)
    share = hashlib.sha256(_folder_of(task).encode("utf-8", "surrogatepass")).hexdigest()[:16]
    row = Update(f"share#{slots.provider}#{share}").add(last=1)
    taken = int(row.set(expires_at=int(seconds_now()) + _SHARE_DAYS * 86400).run()["last"])
    if taken > slots.place:
        return taken
    raised = Update(f"share#{slots.provider}#{share}").set(last=slots.place + 1)
    try:
        raised.given("{last} <= :place", place=slots.place).run()
    except ConditionFailed:
        logger.info("another task of the folder raised it")
    return slots.place + 1


def _folder_of(task: Task) -> str:
    key = str(task.audio.get("key", ""))
    return task.parent or task.origin if key.startswith("_talkdrop/") else key.rpartition("/")[0]


def _longest_waiting(slots: Slots, most: int) -> tuple[list[Task], bool]:
    """Those with the lowest places that have no turn, and whether these are all. The index lags
    behind, so their rows are read: one may have been claimed a moment ago. Where many were, it is
    read further."""
    live = slots.leases.keys() - set(slots.lapsed)
    seen = {name.rpartition("-")[0] for name in live}
    called = len(seen)
    found: list[Task] = []
    for claimed in _CLAIMED_LATELY:
        limit = most + called + claimed
        ids = queries.waiting(slots.provider, limit)
        found += _still_waiting([one for one in ids if one not in seen], most - len(found))
        if len(found) == most or len(ids) < limit:
            return found, len(ids) < limit
        seen.update(ids)
    return found, False


def _still_waiting(task_ids: Sequence[str], most: int) -> list[Task]:
    found: list[Task] = []
    firsts = [0, *range(most, len(task_ids), _MOST_CALLED)]
    for first, end in itertools.pairwise([*firsts, len(task_ids)]):
        tasks = queries.load_many(task_ids[first:end])
        found += [task for task in tasks if task.is_waiting]
        if len(found) >= most:
            break
    return found[:most]


def _forget_waiting(slots: Slots) -> None:
    """No task waits any more, and none has joined so lately that the index might not show it."""
    at = int(slots.item.get("waiting_at", 0))
    if not at or at > seconds_now() - _FORGOTTEN_SECONDS:
        return
    try:
        Update(slots.pk).remove("waiting_at").given("{waiting_at} = :at", at=at).run()
    except ConditionFailed:
        logger.info("a task has joined meanwhile")
