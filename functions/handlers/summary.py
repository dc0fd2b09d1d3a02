"""Once a day: one mail about the tasks that ended the day before, and what waits for a person.

A day is one of UTC. What must be decided comes first, then what has no video, then what is done,
task by task or, where it is many, folder by folder. Where nothing ended and nothing waits, no mail
is sent. It reads a bounded number of pages and changes nothing; run twice, it sends the same twice.
"""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import TypedDict

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from functions import providers
from functions.inputs import drops
from functions.settings import aws, get
from functions.tasks import books, queries
from functions.tasks.task import Status, Task

logger = Logger()

# A task that ended that day was opened then or so many days before; older ones waited for a person,
# who knows of them.
_LOOKS_BACK_DAYS = 8
_MOST_LINES = 20  # of each part of the mail
_MOST_LETTERS = 300  # of a name or a reason, which others wrote


class ClockEvent(TypedDict):
    time: str  # when it was due, which a repeat keeps


class Sent(TypedDict):
    sent: bool


@dataclass(frozen=True)
class Day:
    """`done` and `without` are the tasks that ended, with and without a video; `held` the oldest of
    `held_count`; `stopped` why each stopped provider is; `all_read`: no page was left out."""

    day: date
    done: Sequence[Task]
    without: Sequence[Task]
    held: Sequence[Task]
    held_count: int
    stopped: dict[str, str]
    all_read: bool

    @property
    def is_news(self) -> bool:
        return bool(self.done or self.without or self.held_count or self.stopped)


@logger.inject_lambda_context(clear_state=True)
def handler(event: ClockEvent, context: LambdaContext) -> Sent:
    day = read((datetime.fromisoformat(event["time"]) - timedelta(days=1)).date())
    logger.info("a day", day=str(day.day), done=len(day.done), held=day.held_count)
    if day.is_news:
        text = "\n".join(_text(day)) + "\n"
        aws("sns").publish(TopicArn=get().notice_topic, Subject=_subject(day), Message=text)
    return {"sent": day.is_news}


def read(day: date) -> Day:
    opened = str(day - timedelta(days=_LOOKS_BACK_DAYS)), str(day + timedelta(days=1))
    changed = str(day), str(day + timedelta(days=1))
    ended = {
        status: queries.ended(status, opened, changed)
        for status in (Status.COMPLETED, Status.FAILED, Status.EXPIRED)
    }
    stopped = {name: books.stopped_since(name) for name in providers.NAMES}
    return Day(
        day,
        done=ended[Status.COMPLETED][0],
        without=[*ended[Status.FAILED][0], *ended[Status.EXPIRED][0]],
        held=queries.oldest(Status.HELD),
        held_count=queries.held()[0],
        stopped={name: why for name, why in stopped.items() if why is not None},
        all_read=all(complete for _, complete in ended.values()),
    )


# The mail.


def _subject(day: Day) -> str:
    """SNS takes ASCII, and at most a hundred of it."""
    counts = f"{day.held_count} held, {len(day.without)} without a video, {len(day.done)} done"
    return f"{get().stack} {day.day}: {counts}"[:100]


def _text(day: Day) -> Iterator[str]:
    every = [*day.done, *day.without]
    yield f"{get().stack}, {day.day} in UTC: {len(day.done)} done, {_usd(every)}"
    if not day.all_read:
        yield "Only the newest were counted: there were more than are read for a mail."
    yield from _budgets(day.day)
    for name, why in day.stopped.items():
        yield f"\n{name} IS STOPPED, and its tasks wait: {_plain(why)}"
        yield f"    {_command()} doctor"
    if day.held_count:
        yield f"\nWAITING FOR YOUR DECISION: {day.held_count}, the oldest first"
        yield from _lines(day.held, day.held_count, "explain", "list --status held")
    if day.without:
        yield f"\nWITHOUT A VIDEO: {len(day.without)}"
        yield from _lines(day.without, len(day.without), "explain", "list --status failed")
    if len(day.done) > _MOST_LINES:
        yield f"\nDONE: {len(day.done)}, by folder"
        yield from _folders(day.done)
    elif day.done:
        yield f"\nDONE: {len(day.done)}"
        yield from _lines(day.done, len(day.done), "open", "list --status completed")


def _budgets(day: date) -> Iterator[str]:
    """Caps are those of today, and what was spent is that day's and its month's."""
    for period, cap in books.caps().items():
        that = str(day)[: len(period)]
        yield f"Budget of {that}: {books.spent(that):.2f} of {cap:.2f} USD"


def _lines(tasks: Sequence[Task], count: int, verb: str, all_of_them: str) -> Iterator[str]:
    for task in tasks[:_MOST_LINES]:
        error = task.error
        why = f"{error['code']}: {error['message']}" if error else _usd([task])
        yield f"  {_plain(_name(task))}, {task.provider}. {_plain(why)}"
        yield f"    {_command()} {verb} {task.task_id}"
    if count > len(tasks[:_MOST_LINES]):
        more = count - len(tasks[:_MOST_LINES])
        yield f"  and {more} more: {_command()} {all_of_them}"


def _folders(done: Sequence[Task]) -> Iterator[str]:
    """Those with the most videos first."""
    by_folder: dict[str, list[Task]] = defaultdict(list)
    for task in done:
        by_folder[drops.folder_of(task.audio, task.portrait)].append(task)
    most_first = sorted(by_folder.items(), key=lambda one: (-len(one[1]), one[0]))
    for folder, tasks in most_first[:_MOST_LINES]:
        yield f"  {_plain(folder) or 'no folder'}: {len(tasks)}, {_usd(tasks)}"
        if folder:
            yield f"    {_command()} download {_plain(shlex.quote(folder))}"
    if rest := [task for _, tasks in most_first[_MOST_LINES:] for task in tasks]:
        folders = len(most_first) - _MOST_LINES
        yield f"  and {folders} folders more: {len(rest)}, {_usd(rest)}"


def _usd(tasks: Sequence[Task]) -> str:
    """What was charged; the quote, where a provider made a video and does not say what it took."""
    return f"{sum((_cost(task) for task in tasks), Decimal(0)):.2f} USD"


def _cost(task: Task) -> Decimal:
    quote = task.quote_usd if task.status is Status.COMPLETED else None
    return Decimal(next((one for one in (task.charge_usd, quote) if one is not None), 0))


def _name(task: Task) -> str:
    return f"{drops.folder_of(task.audio, task.portrait)}{task.stem}"


def _plain(text: str) -> str:
    """A name may hold a line break, and would forge a line of the mail."""
    return "".join(letter if letter.isprintable() else "·" for letter in text)[:_MOST_LETTERS]


def _command() -> str:
    stack = get().stack
    return "talkdrop" if stack == "Talkdrop" else f"talkdrop --stack {stack}"
