"""What callbacks leave in a task's row: that they came, which jobs they named, and whether a query
has answered them since."""

from __future__ import annotations

from collections.abc import Iterable

from functions.tasks.steps import due, entry
from functions.tasks.table import ConditionFailed, Update, later, now, stamp
from functions.tasks.task import TERMINAL, Task, key_of

_MOST_HINTS = 40  # jobs that callbacks named and that nothing is known of yet
_MOST_PAST_CALLBACKS = 20
_ANNOUNCED_SECONDS = 600  # until when the stream should have announced a second job


def record(task_id: str, attempt: int, job_hint: str | None) -> Task:
    """Note a genuine callback. Raises ConditionFailed with what stands there when the task is gone
    or at another attempt."""

    def noted() -> Update:
        update = (
            Update(key_of(task_id)).set(last_callback_at=stamp(now())).add(callbacks_received=1)
        )
        return update.given("attribute_exists(pk) AND {attempt} = :attempt", attempt=attempt)

    if not job_hint:
        return Task.of(noted().run())
    try:
        # Keep each hint: a forged callback must not overwrite the genuine job id. The first time
        # that a job was named counts.
        named = noted().set(job_hint=job_hint).put_in_once("job_hints", job_hint, stamp(now()))
        return Task.of(named.given_room("job_hints", job_hint, _MOST_HINTS).run())
    except ConditionFailed as lost:
        if not lost.item or lost.item["attempt"] != attempt:
            raise
    # No room: what the callback named is lost, so nothing may be paid on the others' answers.
    return Task.of(noted().add(hints_dropped=1).run())


def record_past(task_id: str, attempt: int, job_hint: str | None) -> Task:
    """A callback of an attempt that was given up: perhaps a second charge, so a person must see it.
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


def note_second_job(task: Task, job_id: str, why: str) -> Task:
    """One more job of this attempt than there may be: perhaps a second charge. Holds once a job."""
    update = Update(key_of(task.task_id)).append("second_jobs", job_id)
    update.set(**due(task.task_id, _ANNOUNCED_SECONDS))
    update.append("history", entry("SECOND JOB", f"{job_id}: {why}"))
    update.given("{attempt} = :attempt", attempt=task.attempt)
    return Task.of(update.given("NOT contains({second_jobs}, :job)", job=job_id).run())


def second_job_announced(task: Task, job_id: str) -> None:
    """Its event is out. Raises ConditionFailed when that stands there already."""
    update = Update(key_of(task.task_id)).append("announced_jobs", job_id)
    update.given("{attempt} = :attempt", attempt=task.attempt)
    update.given("NOT contains({announced_jobs}, :job)", job=job_id).run()


def note_alias(task: Task, job_id: str) -> None:
    """The task's own job by another name: that of the vendor behind a gateway. There is one."""
    update = Update(key_of(task.task_id)).set(job_alias=job_id)
    update.given("{attempt} = :attempt", attempt=task.attempt)
    update.given("attribute_not_exists({job_alias}) OR {job_alias} = :job", job=job_id).run()


def plan_soon_query(task: Task, seconds: float) -> None:
    """Many callbacks, one query: the first of them plans it, the others hold back. Raises
    ConditionFailed where one is planned already."""
    update = Update(key_of(task.task_id), is_news=False).set(soon_until=later(seconds=seconds))
    update.given("attribute_not_exists({soon_until}) OR {soon_until} <= :now", now=stamp(now()))
    update.given("{attempt} = :attempt", attempt=task.attempt).run()


def leave_token(
    task: Task, task_token: str, *, queried: bool, is_answered: bool, done: Iterable[str] = ()
) -> Task:
    """Leave the workflow's task token where a callback finds it, and the query's answers as in
    `answer`."""
    update = _answered(task, is_answered, done).set(task_token=task_token)
    if queried:
        update.set(last_query_at=stamp(now())).add(polls_done=1)
    return Task.of(update.run())


def answer(task: Task, *, is_answered: bool, done: Iterable[str]) -> None:
    """Keep what a query came to. `is_answered`: it gave a definite answer to every callback that
    stood in `task`; `done` are the hints of which enough is known, and make room."""
    _answered(task, is_answered, done).run()


def _answered(task: Task, is_answered: bool, done: Iterable[str]) -> Update:
    # No poll is announced. Of an ended task the stream sees every write: see announce.
    update = Update(key_of(task.task_id), is_news=task.status in TERMINAL)
    if is_answered:
        update.set(callbacks_handled=task.callbacks_received)
    for job_id in done:
        update.drop_from("job_hints", job_id)
    return update.given("attribute_exists(pk) AND {attempt} = :attempt", attempt=task.attempt)
