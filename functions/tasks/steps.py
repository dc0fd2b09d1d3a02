"""Every step of a task's way: each is one conditional write whose condition has a name.

    WAITING → READY → SUBMITTING → SUBMITTED → ARCHIVING → COMPLETED
    WAITING → READY → IN_PIECES → COMPLETED          (functions/tasks/pieces.py)
    beside them FAILED · HELD · EXPIRED · CANCELLED

A status never goes back, except: SUBMITTING → READY when it is known that nothing was accepted (or
that the same id may be sent again); HELD → SUBMITTED, ARCHIVING or COMPLETED on a late callback, a
person's word or a video that could be archived after all; FAILED and CANCELLED → SUBMITTED or
ARCHIVING when the provider itself confirms a late success; and, before any attempt was intended,
FAILED or EXPIRED → READY when a refused or missing file was mended. Nothing else leaves a terminal
status.

Every step says when the task must be looked at again should nothing else happen (`due_at`): the
sweep does.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from decimal import Decimal

from functions.settings import options
from functions.tasks import table
from functions.tasks.table import Item, Update, later, now, stamp
from functions.tasks.task import (
    LATE,
    RESTING,
    SHARDS,
    TERMINAL,
    HistoryLine,
    Status,
    Task,
    TaskError,
    key_of,
    list_attributes,
    waiting_shard,
)

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
# A row holds 400 KB: what a task does over and over is then only counted (`entered`).
_MOST_HISTORY = 200


_ON_ITS_WAY = frozenset({Status.IN_PIECES, Status.SUBMITTING, Status.SUBMITTED, Status.ARCHIVING})

# When the sweep looks, if nothing else happened by then.
_DUE_SECONDS = {
    Status.READY: 5 * _MINUTE,
    Status.IN_PIECES: _HOUR,
    Status.SUBMITTED: _HOUR,
    Status.ARCHIVING: _HOUR,
    Status.HELD: 6 * _HOUR,
    Status.COMPLETED: 10 * _MINUTE,  # terminal: until the event is out
    Status.FAILED: 10 * _MINUTE,
    Status.EXPIRED: 10 * _MINUTE,
    Status.CANCELLED: 10 * _MINUTE,
}

_UNFINISHED_SECONDS = 10 * _MINUTE  # of an ended task, of which an answer or an event is missing

# Nothing of this attempt can have been paid: no POST is in doubt, no callback unexplained.
UNPAID = (
    "attribute_not_exists({first_sent_at}) AND attribute_not_exists({speech_intended_at}) "
    "AND {callbacks_received} = {callbacks_handled} AND attribute_not_exists({hints_dropped})"
)


def placed(task_id: str, status: Status, due_at: str | None) -> dict[str, str]:
    """The attributes by which the indexes find a task in this status."""
    shard = zlib.crc32(task_id.encode()) % SHARDS
    placing = {"status": status.value, "status_shard": f"{status}#{shard}"}
    return placing | ({"due_shard": f"due#{shard}", "due_at": due_at} if due_at else {})


def entry(what: str, why: str = "", who: str = "talkdrop") -> HistoryLine:
    line = HistoryLine(at=stamp(now()), what=what, who=who)
    if why:
        line["why"] = why
    return line


def due(task_id: str, seconds: float) -> dict[str, str]:
    """The attributes by which the sweep finds a task again, in so many seconds."""
    shard = zlib.crc32(task_id.encode()) % SHARDS
    return {"due_shard": f"due#{shard}", "due_at": later(seconds=seconds)}


def step(
    task: Task,
    to: Status,
    *,
    come_from: Iterable[Status],
    due_at: str | None = None,
    why: str = "",
    who: str = "talkdrop",
    is_news: bool = True,
) -> Update:
    """The step of this attempt to a status, for the caller to add to and run; it holds only coming
    from one of `come_from`. `is_news`: it is announced, where its status is."""
    due_at = due_at or later(seconds=_DUE_SECONDS[to])
    update = (
        Update(key_of(task.task_id), is_news=is_news)
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
    item: Item = {f.name: getattr(task, f.name) for f in fields(task)}
    item |= {
        "pk": key_of(task.task_id), "created": f"{task.created_at}#{task.task_id}",
        "changed_at": stamp(now()),
        "history": [entry(task.status, why)], "entered": {f"{task.status}#{task.attempt}": 1},
        "booked": [], "step": table.nonce(), "version": 1, "news": table.NEWS,
    }  # fmt: skip
    item |= placed(task.task_id, task.status, due_at)
    item |= list_attributes(task)
    # Counters that are conditions by being absent start absent, and so does what only long voices
    # and their pieces have.
    absent = {"hints_dropped", "resends", "archive_verdicts"}
    absent |= {"candidates", "in_reserve", "pieces_changed", "remade", "reuse", "unfit"}
    table.put_new(
        {
            name: value
            for name, value in item.items()
            if value is not None and value != "" and not (name in absent and not value)
        }
    )
    return task


def _patience(task: Task) -> float:
    """Until when the sweep leaves a waiting task alone: a person's file has a day, our own fetching
    minutes."""
    return _DUE_SECONDS[Status.READY] if task.imports else options().waiting_hours * _HOUR


def revise(task: Task, known: Task, *, why: str) -> Task:
    """What the files say now, for a task that was never intended to be paid: it may wait, be ready,
    or be refused anew. Raises ConditionFailed when the row is not `known` any more: then what
    was seen may be older than what it says."""
    waits = task.status is Status.WAITING
    update = step(
        known,
        task.status,
        come_from=[known.status],
        why=why,
        due_at=later(seconds=options().waiting_hours * _HOUR) if waits else None,
    )
    update.given(
        "attribute_not_exists({intended_at}) AND {changed_at} = :seen", seen=known.changed_at
    )
    revised = (
        "provider", "model", "model_reason", "prompt", "settings", "stem", "portrait", "audio",
        "max_usd", "quote_usd", "consent", "long_voice", "reuse", "candidates",
    )  # fmt: skip
    given = {name: value for name in revised if (value := getattr(task, name)) is not None}
    update.set(**given).remove(*sorted(set(revised) - given.keys()))
    update.set(error=task.error) if task.error else update.remove("error")
    update.remove("expires_at", "waits_for", "plan")
    if not waits:
        update.remove("imports")  # a caller's URL may be signed: it goes when it is done with
    return Task.of(update.run())


def expire(task: Task) -> Task:
    what = "No media could be fetched" if task.imports else "No portrait came"
    cure = "open it again" if task.imports else "drop it to revive the task"
    update = step(task, Status.EXPIRED, come_from=[Status.WAITING], why=what.lower())
    message = f"{what} for {task.stem!r} within {options().waiting_hours:g} hours: {cure}."
    update.remove("imports")
    return Task.of(update.set(error={"code": "EXPIRED", "message": message}).run())


def cancel(
    task: Task, *, code: str = "CANCELLED", message: str = "", who: str = "talkdrop"
) -> Task:
    """The owner takes a task back before anything of it is paid: from WAITING or READY only, with
    no POST in doubt and no callback unexplained. The claim needs READY too, so one of the two
    comes first and the other fails. Raises ConditionFailed."""
    message = message or "cancelled before it was sent; nothing was paid"
    return _end_unpaid(task, Status.CANCELLED, TaskError(code=code, message=message), who)


def refuse(task: Task, code: str, message: str) -> Task:
    """A task that waits its turn is refused before its claim. Raises ConditionFailed."""
    return _end_unpaid(task, Status.FAILED, TaskError(code=code, message=message), "talkdrop")


def _end_unpaid(task: Task, to: Status, error: TaskError, who: str) -> Task:
    why = f"{error['code']}: {error['message']}"
    update = step(task, to, come_from=[Status.WAITING, Status.READY], why=why, who=who)
    update.remove("waits_for", "not_before", "imports")
    return Task.of(update.given(UNPAID).set(error=error).run())


def postpone(task: Task, until: datetime, why: str, *, is_news: bool) -> Task:
    """The task's turn is later: it stays READY, and an older message is dropped. `is_news`: the
    reason lasts, so it is announced when it changes."""
    due_at = stamp(max(now(), until) + timedelta(seconds=_DUE_SECONDS[Status.READY]))
    update = Update(key_of(task.task_id)).set(not_before=stamp(until), waits_for=why)
    update.set(**placed(task.task_id, Status.READY, due_at))
    if is_news and why != task.waits_for:
        update.set(changed_at=stamp(now())).count_in("entered", f"{Status.READY}#{task.attempt}")
    update.given("{attempt} = :attempt", attempt=task.attempt)
    return Task.of(update.given("{status} = :ready", ready=Status.READY.value).run())


def line_up(task: Task, place: int, why: str, *, is_news: bool) -> Task:
    """Wait for a turn at the provider, READY, under this place; whoever leaves room calls it.
    Raises ConditionFailed when the row is not where `task` was read."""
    is_news = is_news and why != task.waits_for
    update = Update(key_of(task.task_id), is_news=is_news).set(
        waits_place=place,
        waits_for=why,
        due_shard=waiting_shard(task.provider),
        due_at=f"{place:012d}#{task.created_at}",
    )
    if is_news:
        update.set(changed_at=stamp(now())).count_in("entered", f"{Status.READY}#{task.attempt}")
    if task.not_before:
        update.remove("not_before").given("{not_before} = :until", until=task.not_before)
    else:
        update.given("attribute_not_exists({not_before})")
    update.given("{attempt} = :attempt", attempt=task.attempt)
    return Task.of(update.given("{status} = :ready", ready=Status.READY.value).run())


def still_looking(task: Task, *, seconds: float, revived: str = "") -> None:
    """Push the time at which the sweep looks again; a task that moved meanwhile has set its own."""
    update = Update(key_of(task.task_id)).set(**due(task.task_id, seconds))
    if revived:
        update.set(revived=revived)
    update.given(
        "{status} = :status AND {changed_at} = :at", status=task.status.value, at=task.changed_at
    ).run()


def _of_owner(task: Task, owner: str) -> Update:
    """A note on the row of a submit under way, which only the owner of its claim may write."""
    return Update(key_of(task.task_id), is_news=False).given(
        "{status} = :submitting AND {owner} = :owner",
        submitting=Status.SUBMITTING.value,
        owner=owner,
    )


def sending(task: Task, owner: str, account: str) -> None:
    """The very next thing is the POST. A row without this note, past its lease, was never sent: no
    proof is needed. A re-send holds only for the account that the first POST went to: another
    one's list cannot prove anything about it."""
    at = stamp(now())
    update = _of_owner(task, owner).set(sent_at=at, account=account).set_once(first_sent_at=at)
    update.given(
        "attribute_not_exists({first_sent_at}) OR attribute_not_exists({account}) "
        "OR {account} = :account",
        account=account,
    ).run()


def speaking(task: Task, owner: str) -> None:
    """The very next thing is the paid POST of this task's speech; there is one, ever."""
    update = _of_owner(task, owner).set(speech_intended_at=stamp(now()))
    update.append("history", entry("SPEECH", "about to be bought"))
    update.given("attribute_not_exists({speech_intended_at})").run()


def keep_speech(task: Task, owner: str, bought: Mapping[str, str]) -> Task:
    """The speech is bought (`audio_id`), or its job is (`speech_id`): from now on it is the task's
    voice, however often the video is sent."""
    update = _of_owner(task, owner).set(settings={**task.settings, **bought})
    line = ", ".join(f"{name} {value}" for name, value in bought.items())
    return Task.of(
        update.append("history", entry("BOUGHT", line)).remove("speech_intended_at").run()
    )


def doubt(task: Task, owner: str, why: str, job_hint: str = "") -> Task:
    """The POST went out and its answer is unknown: stay SUBMITTING, and say so. `job_hint`: a job
    id that stood beside it."""
    update = _of_owner(task, owner).set(doubt=stamp(now()), doubt_why=why, due_at=stamp(now()))
    if job_hint:
        update.set(job_hint=job_hint).put_in("job_hints", job_hint, stamp(now()))
    update.append("history", entry("AMBIGUOUS", why))
    return Task.of(update.run())


@dataclass(frozen=True)
class VideoLink:
    """Where the provider gives the video for now. `trusted_host` where its secret names that host;
    `watermark`: `kept` or `left`, where it gives one with its mark and one without."""

    url: str
    trusted_host: str
    watermark: str


def archiving(task: Task, link: VideoLink, *, charge_usd: Decimal | None) -> Update:
    """The provider says it is done, and where the video lies for now: for the caller to run."""
    come_from = [Status.SUBMITTED, Status.ARCHIVING, *sorted(LATE)]
    update = step(task, Status.ARCHIVING, come_from=come_from)
    return _with_link(update.remove("error", "expires_at"), link, charge_usd)


def archive_held(task: Task, link: VideoLink, *, charge_usd: Decimal | None) -> Update:
    """A held task's video is tried once more: it stays HELD until it is archived."""
    update = Update(key_of(task.task_id)).given(
        "{status} = :held AND {attempt} = :attempt",
        held=Status.HELD.value,
        attempt=task.attempt,
    )
    return _with_link(update, link, charge_usd)


def _with_link(update: Update, link: VideoLink, charge_usd: Decimal | None) -> Update:
    at = stamp(now())
    update.set(video_url=link.url, trusted_host=link.trusted_host, archive_tried_at=at)
    update.set(watermark=link.watermark)
    update.set(last_query_at=at).set_once(archiving_since=at)
    if charge_usd is not None:
        update.set(charge_usd=charge_usd)
    return update


def count_verdict(task: Task) -> Task:
    """The whole download was refused (no video, or bytes that are not welcome) once more."""
    update = Update(key_of(task.task_id)).add(archive_verdicts=1)
    return Task.of(update.given("{attempt} = :attempt", attempt=task.attempt).run())


def hold(task: Task, code: str, message: str, evidence: str = "") -> Task:
    """A person must decide, since acting alone could charge twice or lose what was paid. Raises
    ConditionFailed when the task is held already: two invocations that find it at once are one
    fact."""
    return Task.of(holding(task, code, message, evidence).run())


def holding(task: Task, code: str, message: str, evidence: str = "") -> Update:
    """HELD, for the caller to add to. `evidence` may help to decide, and proves nothing."""
    come_from = _ON_ITS_WAY | {task.status} & {Status.READY}
    update = step(task, Status.HELD, come_from=come_from, why=message)
    error = TaskError(code=code, message=message)
    if evidence:
        error["evidence"] = evidence
    return update.set(error=error).remove("waits_for")


def announced(task: Task, event_id: str) -> None:
    """The event is out: stop sweeping it; set the TTL of a terminal task's row, which may go when
    no replay can come."""
    update = Update(key_of(task.task_id)).set(announced=event_id)
    update.given(
        "{status} = :status AND {attempt} = :attempt",
        status=task.status.value,
        attempt=task.attempt,
    )
    if task.status in TERMINAL:
        update.set(expires_at=int(now().timestamp()) + options().row_retention_days * _DAY)
        if task.is_unfinished:
            update.set(**due(task.task_id, _UNFINISHED_SECONDS))
        else:
            update.remove("due_at", "due_shard")
    update.run()


def rest(task: Task) -> None:
    """Nothing of it is left to be seen to: the sweep leaves it alone."""
    _ended(task).remove("due_at", "due_shard").run()


def look_again(task: Task) -> None:
    """An ended task that the sweep must see to once more."""
    _ended(task).set(**due(task.task_id, _UNFINISHED_SECONDS)).run()


def _ended(task: Task) -> Update:
    """A note on the row of an ended task, for as long as it stands there."""
    return Update(key_of(task.task_id)).given(
        "{status} = :status AND {changed_at} = :at", status=task.status.value, at=task.changed_at
    )
