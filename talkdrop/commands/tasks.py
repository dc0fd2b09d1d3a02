"""Commands about tasks that are there: watch, list, show, download, open, cancel."""

from __future__ import annotations

import time
import webbrowser
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

from functions.api.views import TaskView
from functions.tasks.task import Status
from talkdrop import files
from talkdrop.client import RESTING, Client
from talkdrop.commands import screen
from talkdrop.commands.options import Declined, Json, Provider, client
from talkdrop.wire import ApiError

app = typer.Typer()

_POLL_SECONDS = 3


@app.command()
def watch(
    context: typer.Context,
    folder: Annotated[str, typer.Argument(help="Only what is below this folder.")] = "",
    once: Annotated[bool, typer.Option("--once", help="Look once and end.")] = False,
    as_json: Json = False,
) -> None:
    """Follow tasks until each has its end: counts, money, and why each one waits.

    talkdrop watch episodes/
    """
    with client(context) as talkdrop:
        if once or as_json:
            found = [*talkdrop.tasks(prefix=folder)]
            screen.as_json(_summary(found)) if as_json else _overview(found)
            return
        active = {
            task["task_id"]
            for task in talkdrop.tasks(prefix=folder)
            if task["status"] not in RESTING
        }
        if not active:
            screen.note("nothing is under way there")
        follow(talkdrop, active, quiet=False)
        _overview([*talkdrop.tasks(prefix=folder)])


def follow(talkdrop: Client, wanted: set[str], *, quiet: bool) -> None:
    """A line for each change, until every one has its end: a status, or half of a queue gone."""
    shown: dict[str, tuple[str, int]] = {}
    while True:
        for task_id in sorted(wanted):
            task = talkdrop.task(task_id)
            state = task["status"], (task["turn"] or 0).bit_length()
            if shown.get(task_id) != state and not quiet:
                name = f"{task_id[: screen.SHORT_ID]}  {screen.name_of(task)}"
                screen.line(f"{name}  {task['status']:<11} {screen.why(task)}")
            shown[task_id] = state
            if task["status"] in RESTING:
                wanted = wanted - {task_id}
        if not wanted:
            return
        time.sleep(_POLL_SECONDS)


def _summary(found: list[TaskView]) -> dict[str, Any]:
    return {
        "tasks": len(found),
        "by_status": dict(Counter(task["status"] for task in found)),
        "usd": round(sum(screen.cost(task) or 0 for task in found), 4),
    }


def _overview(found: list[TaskView]) -> None:
    summary = _summary(found)
    counts = ", ".join(f"{count} {name}" for name, count in summary["by_status"].items())
    screen.line(f"{counts or 'no tasks'}; {summary['usd']:.2f} USD")
    for task in found:
        if task["status"] != Status.COMPLETED and (reason := screen.why(task)):
            name = screen.name_of(task)
            screen.line(f"  {task['task_id'][: screen.SHORT_ID]}  {name}: {reason}")


@app.command("list")
def list_tasks(
    context: typer.Context,
    folder: Annotated[str, typer.Argument(help="Only what is below this folder.")] = "",
    status: Annotated[str, typer.Option(help="Such as held or completed.")] = "",
    since: Annotated[str, typer.Option(help="A day or an instant, UTC.")] = "",
    until: Annotated[str, typer.Option(help="A day or an instant, UTC.")] = "",
    provider: Provider = None,
    q: Annotated[str, typer.Option("--query", "-q", help="Text in name, prompt or error.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
    as_json: Json = False,
) -> None:
    """List tasks, newest first.

    talkdrop list episodes/ --status held
    """
    filters = {"prefix": folder, "status": status, "since": since, "until": until, "q": q}
    with client(context) as talkdrop:
        found: list[TaskView] = []
        for task in talkdrop.tasks(**filters, provider=provider):
            found.append(task)
            if len(found) == limit:
                break
    screen.as_json(found) if as_json else screen.tasks(found)


@app.command()
def show(context: typer.Context, task: str, as_json: Json = False) -> None:
    """One task: where it stands, its money, its files, its history, and what may be done.

    talkdrop show 5f3ac9e1
    """
    with client(context) as talkdrop:
        found = talkdrop.task(task)
    if as_json:
        screen.as_json(found)
        return
    screen.line(f"{found['task_id']}  {found['status']}, attempt {found['attempt']}")
    screen.line(f"{screen.name_of(found)}  {found['provider']} {found['model']}")
    if reason := screen.why(found):
        screen.line(reason)
    screen.line(
        f"quote {screen.money(found['quote_usd'])}, charge {screen.money(found['charge_usd'])}"
    )
    for name, file in (("portrait", found["portrait"]), ("voice", found["audio"])):
        if file.get("key"):
            screen.line(f"{name:<9} {file['key']}")
    if video := found["video"]:
        screen.line(f"video     {video['key']}  {video['bytes']} bytes, {video['seconds']} s")
    for entry in found.get("history", []):
        screen.line(f"{entry['at']}  {entry['what']:<11} {entry['who']}  {entry.get('why', '')}")
    for action, risk in found["actions"].items():
        screen.line(f"talkdrop {action} {found['task_id'][: screen.SHORT_ID]}: {risk}")


@app.command()
def download(
    context: typer.Context,
    what: Annotated[str, typer.Argument(help="A folder, or one task.")],
    out: Annotated[Path, typer.Option(help="Where the folders are made.")] = Path("out"),
    as_json: Json = False,
) -> None:
    """Download videos under their own folders and names; what is there already is left.

    talkdrop download episodes/ --out ~/Videos
    """
    with client(context) as talkdrop:
        found = _named(talkdrop, what)
        done = [task for task in found if task["video"]]
        paths = fetch(talkdrop, done, out)
    if as_json:
        screen.as_json([str(path) for path in paths])
        return
    for path in paths:
        screen.line(str(path))
    if len(done) < len(found):
        screen.note(f"{len(found) - len(done)} more have no video yet: talkdrop watch {what}")
    if not found:
        raise Declined(f"there is no task and no folder {what!r}: talkdrop list shows them")


def _named(talkdrop: Client, what: str) -> list[TaskView]:
    """The task of this name, or the tasks of this folder."""
    try:
        return [talkdrop.task(what)]
    except ApiError as error:
        if error.status != 404:
            raise
    return [*talkdrop.tasks(prefix=what)]


def fetch(talkdrop: Client, found: list[TaskView], out: Path) -> list[Path]:
    """The newest of a name gets the name; an older one has its id behind it."""
    taken: set[str] = set()
    paths = []
    with screen.bars() as bars:
        for task in found:
            if not task["video"]:
                continue
            name = screen.name_of(task)
            if name in taken:
                task = {**task, "stem": f"{task['stem']}-{task['task_id'][: screen.SHORT_ID]}"}
            taken.add(name)
            bar = bars.add_task(screen.printable(name)[-30:], total=None)
            paths.append(
                talkdrop.download(
                    task,
                    out / files.safe_folder(task["folder"]),
                    progress=lambda done, total, bar=bar: bars.update(  # type: ignore[misc]
                        bar, completed=done, total=total
                    ),
                )
            )
            bars.remove_task(bar)
    return paths


@app.command("open")
def open_video(
    context: typer.Context,
    task: str,
    print_only: Annotated[bool, typer.Option("--print", help="Only print the link.")] = False,
) -> None:
    """Play a task's video in the browser, by a link that lives a quarter of an hour."""
    with client(context) as talkdrop:
        link = talkdrop.link(task, "video")
    if print_only or not webbrowser.open(link):
        screen.line(link)


@app.command()
def cancel(
    context: typer.Context,
    what: Annotated[str, typer.Argument(help="A task, or a folder that ends with /.")],
    why: Annotated[str, typer.Option(help="For the history.")] = "cancelled by its owner",
    as_json: Json = False,
) -> None:
    """Cancel what was not sent yet: one task, or all of a folder. What is sent is paid and goes on.

    talkdrop cancel 5f3ac9e1
    talkdrop cancel episodes/
    """
    with client(context) as talkdrop:
        if not what.endswith("/"):
            result = talkdrop.cancel(what, why)
            screen.as_json({"result": result}) if as_json else screen.line(result)
            return
        outcome = talkdrop.cancel_folder(what, why)
    if as_json:
        screen.as_json(outcome)
    else:
        screen.line(f"{len(outcome['cancelled'])} cancelled")
        for one in outcome["refused"]:
            screen.line(f"  {one['task_id'][: screen.SHORT_ID]}: {one['why']}")
    if outcome["refused"]:
        raise typer.Exit(1)
