"""The steps of a long voice, and its pieces.

    READY ─plan─▶ READY ─reserve─▶ IN_PIECES ⇄ HELD (a piece failed or is held)
                                       │
                                       └─ every piece COMPLETED, joined ─▶ COMPLETED

A piece is a task of its own on the paid way that every task goes; its parent is never sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from decimal import Decimal

from functions.tasks import claims, executions, queries, queues, reserve, reuse, steps, table
from functions.tasks.plans import PiecePlan, PlannedPiece, id_of_piece, ids_of_pieces
from functions.tasks.shares import PlanFile, Progress
from functions.tasks.table import ConditionFailed, Request, Update, now, stamp
from functions.tasks.task import ArchivedVideo, Status, Task, TaskError, key_of

_TRIES = 3
# A piece in one of these goes no further by itself.
STOPPED = frozenset({Status.HELD, Status.FAILED, Status.EXPIRED, Status.CANCELLED})
UNFIT = "PIECE_UNFIT"
PIECE_HELD = "PIECE_HELD"
TOO_LARGE = "JOIN_TOO_LARGE"
# What one PutObject takes, and half of the largest disk that a Lambda has: the pieces lie on it
# beside their whole. https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
MOST_JOINED_BYTES = 5 << 30
# More than any model's video is assumed to have, 40 Mbit/s: a voice that fits at that rate is never
# too large.
_MOST_BYTES_A_SECOND = 5_000_000


def planned(parent: Task, file: PlanFile, plan: PiecePlan) -> Task:
    """The voice is cut: from here on its quote is exact. Raises ConditionFailed where the row is
    not READY as it was seen."""
    update = Update(key_of(parent.task_id), is_news=False).set(
        plan=file, model=plan.model, model_reason=plan.reason, quote_usd=plan.quote_usd
    )
    return Task.of(_as_seen(update, parent).run())


def _as_seen(update: Update, parent: Task) -> Update:
    return update.given(
        "{status} = :status AND {changed_at} = :seen AND {attempt} = :attempt",
        status=parent.status.value,
        seen=parent.changed_at,
        attempt=parent.attempt,
    )


def take(parent: Task) -> Task:
    """READY → IN_PIECES, with the whole quote reserved. Raises what `claims.claim` raises, and
    nothing is paid or booked then."""
    update = steps.step(parent, Status.IN_PIECES, come_from=[Status.READY])
    update.set(intended_at=stamp(now()), pieces=Progress(all=_count(parent), done=0, stopped=0))
    update.given(
        "{changed_at} = :seen AND {plan} = :plan", seen=parent.changed_at, plan=parent.plan
    )
    update.remove("not_before", "waits_for", "error")
    _reserve_whole(parent, Decimal(parent.quote_usd or 0), update)
    return queries.reload(parent)


def opened(parent: Task, plan: PiecePlan) -> list[Task]:
    """The pieces that are opened, in their order; those that may be and are not there yet are
    opened, and sent on their way."""
    rows = queries.read_many([key_of(task_id) for task_id in ids_of_pieces(parent)])
    pieces: dict[int, Task] = {}
    for one in plan.pieces:
        if row := rows.get(key_of(id_of_piece(parent, one.number))):
            pieces[one.number] = Task.of(row)
    missing = [one for one in plan.pieces if one.number not in pieces]
    for one in _allowed(plan, list(pieces.values()), missing):
        pieces[one.number] = _open(parent, plan, one)
    return [pieces[number] for number in sorted(pieces)]


def _allowed(
    plan: PiecePlan, pieces: Sequence[Task], missing: Sequence[PlannedPiece]
) -> Sequence[PlannedPiece]:
    """Where the whole may become too large to be joined, one piece is made alone: its video says
    what the others will weigh, before they are paid."""
    if plan.seconds * _MOST_BYTES_A_SECOND <= MOST_JOINED_BYTES:
        return missing
    expected = expected_bytes(plan, pieces)
    if expected is None:
        return [] if pieces else missing[:1]
    return missing if expected <= MOST_JOINED_BYTES else []


def expected_bytes(plan: PiecePlan, pieces: Iterable[Task]) -> int | None:
    """What all the videos will weigh, by those that are made, here or before; None before the
    first."""
    made = [
        (one.archived, one.audio)
        for one in pieces
        if one.status is Status.COMPLETED and not one.reused
    ]
    made += [(one.video, one.file) for one in plan.pieces if one.video]
    seconds = sum(float(file["seconds"]) for _, file in made)
    total = sum(int(video["bytes"]) for video, _ in made)
    return round(total / seconds * plan.seconds) if seconds else None


def _count(parent: Task) -> int:
    return int(parent.plan["pieces"]) if parent.plan else 0


def of_plan(parent: Task, model: str, one: PlannedPiece) -> Task:
    """The piece as it is opened: READY to be made, or COMPLETED by the video of an earlier one, for
    which nothing is paid. One that is made anew is made, since the video did not fit."""
    piece = Task(
        task_id=id_of_piece(parent, one.number), status=Status.READY, created_at=stamp(now()),
        origin="piece", provider=parent.provider, model=model, prompt=parent.prompt,
        settings=parent.settings, consent=parent.consent, portrait=parent.portrait,
        stem=f"{parent.stem}-{one.number:03d}", audio=one.file, quote_usd=one.quote_usd,
        parent=parent.task_id, segment=one.segment, content_key=one.content_key,
        in_reserve=str(one.number) not in parent.remade,
    )  # fmt: skip
    if not one.reused or str(one.number) in parent.remade:
        return piece
    free, video = Decimal(0), one.video or ArchivedVideo()
    return replace(
        piece, status=Status.COMPLETED, in_reserve=False, quote_usd=free, charge_usd=free,
        archived=video, reused=one.reused,
    )  # fmt: skip


def _open(parent: Task, plan: PiecePlan, one: PlannedPiece) -> Task:
    piece = of_plan(parent, plan.model, one)
    try:
        steps.open_task(piece)
    except ConditionFailed:  # another invocation was faster
        return queries.reload(piece)
    if piece.reused:
        reuse.keep(piece)
    else:
        queues.submit(piece.task_id)
    return piece


def note_progress(parent: Task, pieces: Sequence[Task]) -> None:
    """For those who watch; nothing is decided on it."""
    progress = Progress(
        all=_count(parent),
        done=sum(one.status is Status.COMPLETED for one in pieces),
        stopped=sum(one.status in STOPPED for one in pieces),
    )
    if progress != parent.pieces:
        Update(key_of(parent.task_id), is_news=False).set(pieces=progress).given(
            "attribute_exists({pk})"
        ).run()


def _reserve_whole(parent: Task, quote_usd: Decimal, into_pieces: Update) -> None:
    """Intend to pay a long voice: its step, its reserve and the budgets in one transaction. Raises
    AlreadyClaimed, OverBudget or ClaimDeferred; then nothing of it is booked."""
    claims.check(parent, quote_usd)
    bookings = claims.budgets(quote_usd)
    periods = [booking.pk for booking in bookings.values()]
    opening = reserve.opening(parent.task_id, quote_usd, periods)
    writes = {"task": into_pieces, "reserve": opening, **bookings}
    try:
        table.transact(*writes.values())
    except ConditionFailed as lost:
        refused = table.refused_writes(writes, lost)
        if {"task", "reserve"} & set(refused):
            raise claims.AlreadyClaimed(parent.task_id) from lost
        raise claims.budget_used_up(refused) or claims.busy() from lost


def of(parent: Task) -> list[Task]:
    """The pieces as they are now, in their order. Raises KeyError where one is not opened."""
    keys = [key_of(task_id) for task_id in ids_of_pieces(parent)]
    rows = queries.read_many(keys)
    return [Task.of(rows[key]) for key in keys]


def may_join(parent: Task) -> bool:
    return parent.is_long and parent.status in {Status.IN_PIECES, Status.HELD}


def unjoinable(parent: Task, error: TaskError, *, unfit: int = 0) -> Task:
    """A person must decide: about the piece of this number, whose video does not fit, or about the
    whole, whose pieces cannot be one video. Raises ConditionFailed."""
    update = steps.step(parent, Status.HELD, come_from=[Status.IN_PIECES], why=error["message"])
    if unfit:
        update.set(unfit=unfit)
    return Task.of(update.set(error=error).run())


def go_on(parent: Task, why: str, who: str = "talkdrop") -> Task:
    """No piece is stopped any more. Raises ConditionFailed."""
    update = steps.step(parent, Status.IN_PIECES, come_from=[Status.HELD], why=why, who=who)
    update.given("{changed_at} = :seen", seen=parent.changed_at)
    return Task.of(update.remove("error").run())


def remake(parent: Task, number: int, *, who: str, why: str) -> Task:
    """A person wants a piece anew whose video does not fit: another task, paid anew and booked
    against the budgets by itself. Raises ConditionFailed."""
    remade = {**parent.remade, str(number): int(parent.remade.get(str(number), 0)) + 1}
    reason = f"piece {number} is made anew: {why}"
    update = steps.step(parent, Status.IN_PIECES, come_from=[Status.HELD], why=reason, who=who)
    update.given("{changed_at} = :seen", seen=parent.changed_at)
    return Task.of(update.set(remade=remade).remove("error", "unfit").run())


def charge_of(pieces: Iterable[Task]) -> Decimal | None:
    """What the provider says it took for all attempts of all pieces; None where it does not say."""
    charges = [
        charge
        for one in pieces
        for charge in (one.charge_usd, *(past.get("charge_usd") for past in one.past))
    ]
    known = [Decimal(charge) for charge in charges if charge is not None]
    return sum(known, Decimal(0)) if len(known) == len(charges) else None


def all_made(parent: Task, charge_usd: Decimal | None) -> None:
    """Every piece is COMPLETED: what they cost together is known."""
    if charge_usd is not None and charge_usd != parent.charge_usd:
        update = Update(key_of(parent.task_id), is_news=False).set(charge_usd=charge_usd)
        update.given("attribute_exists({pk})").run()


def complete(parent: Task, archived: ArchivedVideo) -> Task:
    """The joined video lies in the archive, proved."""
    return _end(parent, Status.COMPLETED, archived=archived)


def end(parent: Task, to: Status, error: TaskError, who: str) -> Task:
    """A person ends it: what is not claimed yet is never paid, since its reserve is closed."""
    return _end(parent, to, error=error, who=who)


def _end(
    parent: Task,
    to: Status,
    *,
    archived: ArchivedVideo | None = None,
    error: TaskError | None = None,
    who: str = "talkdrop",
) -> Task:
    """The last step and the reserve's end in one transaction. A piece that ended meanwhile has
    changed the reserve: it is looked at anew."""
    for _ in range(_TRIES):
        update = _last_step(parent, to, archived, error, who)
        seen = reserve.read(parent.task_id)
        if seen.is_closed:
            raise ConditionFailed
        if error is not None:  # of the pieces that are paid, or on their way
            update.set(quote_usd=Decimal(parent.quote_usd or 0) - seen.left_usd)
        writes: list[Update | Request] = [update, *reserve.closing(parent.task_id, seen)]
        try:
            table.transact(*writes)
        except ConditionFailed as lost:
            if list(lost.reasons[1:2]) != ["ConditionalCheckFailed"]:
                raise
            continue
        return queries.reload(parent)
    raise ConditionFailed(None, ["TransactionConflict"])


def _last_step(
    parent: Task, to: Status, archived: ArchivedVideo | None, error: TaskError | None, who: str
) -> Update:
    why = f"{error['code']}: {error['message']}" if error else ""
    come_from = [Status.IN_PIECES, Status.HELD]
    update = steps.step(parent, to, come_from=come_from, why=why, who=who).remove("task_token")
    if archived is not None:
        update.set(archived=archived)
    return update.set(error=error) if error else update.remove("error")


def cancel_unpaid(parent: Task, who: str) -> tuple[int, int]:
    """How many pieces are cancelled, and how many were paid, or may be. One that is missed here
    cannot be claimed all the same, since the reserve is closed."""
    keys = [key_of(task_id) for task_id in ids_of_pieces(parent)]
    rows = [Task.of(row) for row in queries.read_many(keys).values()]
    to_pay = [one for one in rows if not one.reused]
    paid = sum(not _is_cancelled(one, who) for one in to_pay)
    return len(keys) - (len(rows) - len(to_pay)) - paid, paid


def _is_cancelled(piece: Task, who: str) -> bool:
    try:
        steps.cancel(piece, message="its whole has ended; nothing was paid", who=who)
    except ConditionFailed:
        return queries.reload(piece).status is Status.CANCELLED
    return True


def wake_parent(piece: Task) -> None:
    """A piece's status changed: count it at the parent, and resume the execution that waits."""
    update = Update(key_of(piece.parent), is_news=False).add(pieces_changed=1)
    try:
        parent = Task.of(update.given("attribute_exists({pk})").run())
    except ConditionFailed:
        return
    executions.wake(parent)
