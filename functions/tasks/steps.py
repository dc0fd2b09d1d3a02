"""Tasks: one row each, and every step of their way. Each step is one conditional write whose
condition has a name.

    WAITING → READY → SUBMITTING → SUBMITTED → ARCHIVING → COMPLETED          beside them FAILED ·
    HELD · EXPIRED

The rank never falls but for: SUBMITTING → READY when it is known that nothing was accepted (or that
the same id may be sent again); HELD → SUBMITTED or ARCHIVING on a late bell or a person's word;
FAILED → ARCHIVING when the provider itself confirms a late success; and, before any attempt was
intended, FAILED or EXPIRED → READY when a refused or missing file was mended. Nothing else leaves a
terminal status.

Every step says when somebody must look at the task again should nothing else happen (`due_at`): the
sweep does.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import fields
from datetime import datetime
from decimal import Decimal
from typing import Any

from functions.settings import options
from functions.tasks import table
from functions.tasks.table import ConditionFailed, Update, later, now, stamp
from functions.tasks.task import RESTING, SHARDS, TERMINAL, Status, Task, key_of, listed

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_MOST_HINTS = 8  # jobs that bells named, each looked at by one query
_MOST_HISTORY = (
    200  # a row holds 400 KB: what a task does over and over is then only counted (`entered`)
)
_MOST_PAST_CALLBACKS = 20


_ON_ITS_WAY = frozenset({Status.SUBMITTING, Status.SUBMITTED, Status.ARCHIVING})

# When the sweep looks, if nothing else happened by then.
_DUE_SECONDS = {
    Status.READY: 5 * _MINUTE,
    Status.SUBMITTED: _HOUR,
    Status.ARCHIVING: _HOUR,
    Status.HELD: 6 * _HOUR,
    Status.COMPLETED: 10 * _MINUTE,  # terminal: until the event is out
    Status.FAILED: 10 * _MINUTE,
    Status.EXPIRED: 10 * _MINUTE,
}


def placed(task_id: str, status: Status, due_at: str | None) -> dict[str, Any]:
    """The attributes by which the indexes find a task in this status."""
    shard = zlib.crc32(task_id.encode()) % SHARDS
    placing: dict[str, Any] = {"status": status.value, "status_shard": f"{status}#{shard}"}
    return placing | ({"due_shard": f"due#{shard}", "due_at": due_at} if due_at else {})


def entry(what: str, why: str = "", who: str = "talkdrop") -> dict[str, str]:
    return {"at": stamp(now()), "what": what, "who": who} | ({"why": why} if why else {})


def step(
    task: Task,
    to: Status,
    *,
    come_from: Iterable[Status],
    due_at: str | None = None,
    why: str = "",
    who: str = "talkdrop",
) -> Update:
    """The step of this attempt to a status, for the caller to add to and run; it holds only coming
    from one of `come_from`."""
    due_at = due_at or later(seconds=_DUE_SECONDS[to])
    update = (
        Update(key_of(task.task_id))
        .set(**placed(task.task_id, to, due_at), changed_at=stamp(now()))
        .count_in("entered", f"{to}#{task.attempt}")
        .given_in("status", [status.value for status in come_from])
    )
    if len(task.history) < _MOST_HISTORY or to in RESTING:
        update.append("history", entry(to, why, who))
    return update.given("{attempt} = :attempt", attempt=task.attempt)


def open_task(task: Task, *, why: str = "") -> Task:
    """Put a new task in the table: WAITING, READY, or FAILED when refused. Raises ConditionFailed
    if it is there."""
    due_at = later(
        seconds=_patience(task) if task.status is Status.WAITING else _DUE_SECONDS[task.status]
    )
    item: dict[str, Any] = {f.name: getattr(task, f.name) for f in fields(task)}
    item |= {
        "pk": key_of(task.task_id), "created": f"{task.created_at}#{task.task_id}", "changed_at": stamp(now()),
        "history": [entry(task.status, why)], "entered": {f"{task.status}#{task.attempt}": 1},
        "booked": [], "step": table.nonce(), "version": 1,
    }  # fmt: skip
    item |= placed(task.task_id, task.status, due_at)
    item |= listed(task.task_id)
    table.put_new(
        {name: value for name, value in item.items() if value is not None and value != ""}
    )
    return task


def _patience(task: Task) -> float:
    """How long a task may wait before somebody looks: for a person's file a day, for our own
    fetching minutes."""
    return _DUE_SECONDS[Status.READY] if task.imports else options().waiting_hours * _HOUR


def revise(task: Task, standing: Task, *, why: str) -> Task:
    """What the files say now, for a task that nobody ever meant to pay: it may wait, be ready, or
    be refused anew. Raises ConditionFailed when the row is not `standing` any more: then what was
    seen may be older than what it says."""
    update = step(
        standing, task.status, come_from=[standing.status], why=why,
        due_at=later(seconds=options().waiting_hours * _HOUR) if task.status is Status.WAITING else None,
    )  # fmt: skip
    update.given(
        "attribute_not_exists({intended_at}) AND {changed_at} = :seen", seen=standing.changed_at
    )
    revised = (
        "provider", "model", "model_reason", "prompt", "settings", "stem", "portrait", "audio",
        "max_usd", "quote_usd",
    )  # fmt: skip
    update.set(**{name: value for name in revised if (value := getattr(task, name)) is not None})
    update.set(error=task.error) if task.error else update.remove("error")
    update.remove("expires_at")
    return Task.of(update.run())


def expire(task: Task) -> Task:
    what = "No media could be fetched" if task.imports else "No portrait came"
    cure = "open it again" if task.imports else "drop it to revive the task"
    update = step(task, Status.EXPIRED, come_from=[Status.WAITING], why=what.lower())
    message = f"{what} for {task.stem!r} within {options().waiting_hours:g} hours: {cure}."
    return Task.of(update.set(error={"code": "EXPIRED", "message": message}).run())


def postpone(task: Task, until: datetime, why: str) -> Task:
    """The task's turn is later: it stays READY, and a message that comes before its turn is
    nobody's."""
    turn = stamp(until)
    update = Update(key_of(task.task_id)).set(not_before=turn, waits_for=why, due_at=later(
        seconds=max(0.0, (until - now()).total_seconds()) + _DUE_SECONDS[Status.READY]
    ))  # fmt: skip
    return Task.of(update.given("{status} = :ready", ready=Status.READY.value).run())


def still_looking(task: Task, *, seconds: float, revived: str = "") -> None:
    """Push the time at which the sweep looks again; a task that moved meanwhile has set its own."""
    update = Update(key_of(task.task_id)).set(due_at=later(seconds=seconds))
    if revived:
        update.set(revived=revived)
    update.given(
        "{status} = :status AND {changed_at} = :at", status=task.status.value, at=task.changed_at
    ).run()


def sending(task: Task, owner: str) -> None:
    """The very next thing is the POST. A row without this note, past its lease, was never sent: no
    proof is needed."""
    update = Update(key_of(task.task_id)).set(sent_at=stamp(now()))
    update.given(
        "{status} = :submitting AND {owner} = :owner",
        submitting=Status.SUBMITTING.value,
        owner=owner,
    ).run()


def keep(task: Task, owner: str, bought: Mapping[str, str]) -> Task:
    """What this attempt has paid for already goes into the settings, so that sending it again does
    not pay for it twice."""
    update = Update(key_of(task.task_id)).set(settings={**task.settings, **bought})
    update.append(
        "history", entry("BOUGHT", ", ".join(f"{name} {value}" for name, value in bought.items()))
    )
    return Task.of(update.given("{owner} = :owner", owner=owner).run())


def doubt(task: Task, owner: str, why: str) -> Task:
    """The POST went out and its answer is unknown: stay SUBMITTING, and say so. Nobody may send
    again without proof."""
    update = Update(key_of(task.task_id)).set(doubt=stamp(now()), due_at=stamp(now()))
    update.append("history", entry("AMBIGUOUS", why))
    update.given(
        "{status} = :submitting AND {owner} = :owner",
        submitting=Status.SUBMITTING.value,
        owner=owner,
    )
    return Task.of(update.run())


def record_callback(task_id: str, attempt: int, job_hint: str | None) -> Task:
    """Note that a genuine bell rang. Raises ConditionFailed with what stands there when the task is
    gone or at another attempt."""

    def noted() -> Update:
        update = (
            Update(key_of(task_id)).set(last_callback_at=stamp(now())).add(callbacks_received=1)
        )
        return update.given("attribute_exists(pk) AND {attempt} = :attempt", attempt=attempt)

    if job_hint:
        # Each is kept, not only the last: a stranger who saw the address must not ring the true one
        # out of the row.
        update = noted().set(job_hint=job_hint).put_in("job_hints", job_hint, stamp(now()))
        try:
            return Task.of(update.given("size({job_hints}) < :most", most=_MOST_HINTS).run())
        except ConditionFailed as lost:
            if not lost.item or lost.item["attempt"] != attempt:
                raise
    return Task.of(noted().run())


def record_past_callback(task_id: str, attempt: int, job_hint: str | None) -> Task:
    """A bell of an attempt that was given up: perhaps a second charge, so a person must see it.
    Raises ConditionFailed when there was no such attempt, or when enough of them stand in the
    row."""
    update = Update(key_of(task_id)).append(
        "history", entry("PAST CALLBACK", f"attempt {attempt}, job {job_hint}")
    )
    update.given(
        "attribute_not_exists({past_callbacks}) OR {past_callbacks} < :most",
        most=_MOST_PAST_CALLBACKS,
    )
    return Task.of(
        update.add(past_callbacks=1).given("{attempt} > :attempt", attempt=attempt).run()
    )


def leave_token(task: Task, task_token: str, *, asked: bool) -> Task:
    """Leave the workflow's task token where a bell finds it; `callbacks_handled` is how many rings
    the query just answered."""
    update = Update(key_of(task.task_id)).set(task_token=task_token)
    if asked:
        update.set(callbacks_handled=task.callbacks_received).add(polls_done=1)
    update.given("attribute_exists(pk) AND {attempt} = :attempt", attempt=task.attempt)
    return Task.of(update.run())


def archiving(task: Task, video_url: str, trusted_host: str, *, charge_usd: Decimal | None) -> Task:
    """The provider says it is done, and where the video lies for now."""
    come_from = [Status.SUBMITTED, Status.ARCHIVING, Status.HELD, Status.FAILED]
    update = step(task, Status.ARCHIVING, come_from=come_from)
    update.set(
        video_url=video_url, trusted_host=trusted_host, callbacks_handled=task.callbacks_received
    ).remove("error", "expires_at")
    if charge_usd is not None:
        update.set(charge_usd=charge_usd)
    return Task.of(update.run())


def hold(task: Task, code: str, message: str) -> Task:
    """A person must decide, since acting alone could charge twice or lose what was paid. Raises
    ConditionFailed when the task is held already: two who find it at once are one fact."""
    update = step(task, Status.HELD, come_from=_ON_ITS_WAY, why=message)
    return Task.of(update.set(error={"code": code, "message": message}).run())


def announced(task: Task, event_id: str) -> None:
    """The event is out: nobody need look any more, and a terminal task's row may go when no replay
    can come."""
    update = Update(key_of(task.task_id)).set(announced=event_id)
    update.given(
        "{status} = :status AND {attempt} = :attempt",
        status=task.status.value,
        attempt=task.attempt,
    )
    if task.status in TERMINAL:
        update.set(expires_at=int(now().timestamp()) + options().row_retention_days * _DAY)
        update.remove("due_at", "due_shard")
    update.run()
