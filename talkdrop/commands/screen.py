"""What the commands print: tables for people, in 80 columns; JSON for machines; no colour when
piped."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, TextIO

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.table import Table

from functions.api.views import TaskView
from functions.tasks.task import Status

SHORT_ID = 8
_COLOURS = {
    Status.COMPLETED: "green",
    Status.FAILED: "red",
    Status.HELD: "red",
    Status.EXPIRED: "yellow",
    Status.CANCELLED: "dim",
}


def console() -> Console:
    """Made for each command, since tests and pipes change stdout."""
    return Console(file=sys.stdout, highlight=False, markup=False, emoji=False)


def printable(text: str) -> str:
    """Names and messages come from others: none of them may move the cursor."""
    return "".join(letter if letter.isprintable() else "·" for letter in text)


def line(text: str) -> None:
    console().print(filled(printable(text)), soft_wrap=True)


def filled(text: str, stream: TextIO | None = None) -> str:
    """On a terminal lines are broken between words and go on indented; paths and ids stay whole, as
    does everything that goes into a pipe."""
    stream = stream or sys.stdout
    if not stream.isatty():
        return text
    width = Console(file=stream).width
    return "\n".join(_filled(one, width) for one in text.split("\n"))


def _filled(one: str, width: int) -> str:
    margin = one[: len(one) - len(one.lstrip())]
    return textwrap.fill(
        one.lstrip(),
        width,
        initial_indent=margin,
        subsequent_indent=margin + " " * 4,
        break_long_words=False,
        break_on_hyphens=False,
    )


def note(text: str) -> None:
    """What is not the result: to stderr, so that a pipe gets only the result."""
    lines = "\n".join(printable(one) for one in text.split("\n"))
    error = Console(file=sys.stderr, highlight=False, markup=False, emoji=False)
    error.print(filled(lines, sys.stderr), soft_wrap=True)


def as_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=1, default=str) + "\n")


def table(
    heads: Sequence[str], rows: Iterable[Sequence[str]], *, right: Sequence[str] = ()
) -> None:
    made = Table(box=None, pad_edge=False, show_edge=False, header_style="bold")
    for head in heads:
        made.add_column(
            head,
            justify="right" if head in right else "left",
            overflow="fold",
            no_wrap=head in ("task", "status"),
        )
    for row in rows:
        made.add_row(*(printable(cell) for cell in row))
    console().print(made)


def tasks(found: Sequence[TaskView]) -> None:
    """One line a task; ids are short, names are whole."""
    made = Table(box=None, pad_edge=False, show_edge=False, header_style="bold")
    made.add_column("task", no_wrap=True)
    made.add_column("status", no_wrap=True)
    made.add_column("name", overflow="fold")
    made.add_column("usd", justify="right", no_wrap=True)
    made.add_column("age", justify="right", no_wrap=True)
    for task in found:
        colour = _COLOURS.get(Status(task["status"]), "")
        status = f"[{colour}]{task['status']}[/{colour}]" if colour else task["status"]
        turn = f", ~{ordinal(task['turn'])}" if task["turn"] else ""
        made.add_row(
            task["task_id"][:SHORT_ID],
            status + turn,
            _plain(name_of(task)),
            usd(cost(task)),
            age(task["created_at"]),
        )
    Console(file=sys.stdout, highlight=False, emoji=False).print(made)


def _plain(text: str) -> str:
    """A name without control characters and without what Rich takes for markup."""
    return printable(text).replace("[", r"\[")


def name_of(task: TaskView) -> str:
    return f"{task['folder']}{task['stem']}"


def cost(task: TaskView) -> float | None:
    """What it was charged, else what it was quoted; nothing if it was never paid. Of a long voice
    that ended before it was joined, the quote is that of the pieces that were paid."""
    if task["status"] in (Status.CANCELLED, Status.EXPIRED) and not task["pieces"]:
        return None
    charge = task["charge_usd"]
    return charge if charge is not None else task["quote_usd"]


def usd(amount: float | None) -> str:
    return "" if amount is None else f"{amount:.2f}"


def age(instant: str) -> str:
    seconds = (datetime.now(UTC) - datetime.fromisoformat(instant)).total_seconds()
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{int(seconds // length)}{unit}"
    return f"{max(0, int(seconds))}s"


def why(task: TaskView) -> str:
    """Where a task stands, in words."""
    usual = f", usually {_minutes(task['usual_seconds'])}" if task["usual_seconds"] else ""
    match Status(task["status"]):
        case Status.WAITING:
            return "waits for its portrait or its media"
        case Status.READY:
            turn = f"about {ordinal(task['turn'])} in the queue" if task["turn"] else ""
            return ": ".join(filter(None, (turn, task["waits_for"]))) or "in the queue"
        case Status.SUBMITTED:
            since = f" for {age(task['submitted_at'])}" if task["submitted_at"] else ""
            return f"at {task['provider']}{since}{usual}"
        case Status.SUBMITTING:
            return f"being sent to {task['provider']}"
        case Status.IN_PIECES if task["pieces"]:
            return f"{task['pieces']['done']} of {task['pieces']['all']} pieces made"
        case Status.ARCHIVING:
            return "its video is being archived"
        case _:
            error = task["error"]
            return f"{error['code']}: {error['message']}" if error else ""


def ordinal(number: int) -> str:
    ending = "th" if number // 10 % 10 == 1 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def _minutes(seconds: int | None) -> str:
    return f"{(seconds or 0) / 60:.0f} min"


def bars() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        DownloadColumn(),
        TransferSpeedColumn(),
        console=Console(file=sys.stderr, highlight=False),
        transient=True,
        disable=not sys.stderr.isatty(),
    )


def money(amount: float | None) -> str:
    return "unknown" if amount is None else f"{amount:.4g} USD"
