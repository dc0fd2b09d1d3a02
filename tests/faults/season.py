"""More than a year after a run: what S3's lifecycle and DynamoDB's time to live take by themselves,
and what must be left, and unpaid, all the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from functions.settings import Options
from infra.context import Context
from tests.faults.account import ARCHIVE, INBOX
from tests.faults.bucket import Stored
from tests.faults.clockwork import Broke
from tests.faults.expressions import Item

if TYPE_CHECKING:
    from tests.faults.runs import Run

_DAY = 86400.0
# "Items are typically deleted within a few days of their expiration":
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/howitworks-ttl.html
_LATE_DAYS = 3
_CONTEXT = Context()
# The row of a job is kept a month longer than its task's, which may take as long to end.
_DAYS = _CONTEXT.parsed_options.row_retention_days + 31 + 2 * _LATE_DAYS + 7


def pass_over(run: Run) -> None:
    """Day by day to the end of what a row is kept for, then a day with every callback once more.
    Raises Broke."""
    before = _Before(run)
    run.account.sweep_seconds = _DAY
    for _ in range(_DAYS):
        run.clock.run(run.clock.now + _DAY)
        _expire_files(run)
        _expire_rows(run)
    for path, headers, body in list(run.vendor.callbacks_sent):
        run.account.post_callback(path, headers, body, lambda _code: None)
    run.clock.run(run.clock.now + _DAY)
    before.compare(run)


class _Before:
    """How things were when all was quiet."""

    def __init__(self, run: Run) -> None:
        self._posts = run.vendor.posts
        self._tasks = set(run.invariants.tasks)
        self._videos = {
            key
            for key in run.account.buckets.versions.get(ARCHIVE, {})
            if not key.startswith("pieces/")
        }

    def compare(self, run: Run) -> None:
        if run.vendor.posts != self._posts:
            raise Broke("nothing is paid when all is over", f"{run.vendor.posts - self._posts}")
        tasks, buckets = run.invariants.tasks, run.account.buckets
        if risen := tasks.keys() - self._tasks:
            raise Broke("an ended task does not come back", str(sorted(risen)))
        if gone := {key for key in self._videos if buckets.latest(ARCHIVE, key) is None}:
            raise Broke("a video stays in the archive", str(sorted(gone)))
        if left := [key for key in buckets.versions.get(INBOX, {}) if buckets.latest(INBOX, key)]:
            raise Broke("a face is not kept for ever", str(left))
        for task_id, item in tasks.items():
            if item["status"]["S"] != "HELD" and not _ended_lately(run, item):
                raise Broke("the row of an ended task goes", f"{task_id} {item['status']['S']}")
        if jobs := [pk for pk in run.account.table.items if pk.startswith("job#")]:
            raise Broke("what names a task goes with it", str(jobs))


def _ended_lately(run: Run, item: Item) -> bool:
    """What was held for weeks may have ended by itself since."""
    return float(item["expires_at"]["N"]) > run.clock.now - _LATE_DAYS * _DAY


def _expire_files(run: Run) -> None:
    """Hidden behind a delete marker, and its old versions removed later."""
    buckets, now = run.account.buckets, run.clock.now
    hides = {INBOX: _days(_CONTEXT.inbox_expire_days), ARCHIVE: _days(_CONTEXT.archive_expire_days)}
    for bucket, expires in hides.items():
        for key, versions in list(buckets.versions.get(bucket, {}).items()):
            latest = versions[-1]
            days = Options().keep_pieces_days if (bucket, key) in buckets.joined else expires
            if latest is not None and now - latest.at > days * _DAY:
                buckets.delete_object(bucket, key)
            elif latest is None and _is_old(versions, now):
                del buckets.versions[bucket][key]


def _days(days: int | str) -> float:
    return float("inf") if isinstance(days, str) else float(days)


def _is_old(versions: list[Stored | None], now: float) -> bool:
    newest = max(stored.at for stored in versions if stored is not None)
    hidden = _days(_CONTEXT.inbox_expire_days) + _CONTEXT.old_versions_days
    return now - newest > hidden * _DAY


def _expire_rows(run: Run) -> None:
    """Days late, each by its own chance; until then an expired row is read as any other."""
    table = run.account.table
    for pk, item in list(table.items.items()):
        if "expires_at" not in item:
            continue
        late = float(item["expires_at"]["N"]) + run.plan.moment(_LATE_DAYS * _DAY)
        if late < run.clock.now:
            _is_over(run, pk, item)
            table.forget(pk)


def _is_over(run: Run, pk: str, item: Item) -> None:
    if pk.startswith("task#") and item["status"]["S"] == "HELD":
        raise Broke("TTL takes no live row", f"{pk} is HELD")
