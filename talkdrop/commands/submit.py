"""The command submit: what is on this disk, what it will cost, and its way into the inbox."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from functions.api.views import TaskView
from functions.inputs import request
from functions.tasks.task import Status
from talkdrop import files
from talkdrop.client import Client
from talkdrop.commands import screen
from talkdrop.commands.options import (
    Declined,
    Folder,
    Json,
    MaxUsd,
    Model,
    Paths,
    Provider,
    Settings,
    Yes,
    client,
)
from talkdrop.commands.tasks import fetch, follow
from talkdrop.files import Submission

app = typer.Typer()


@app.command()
def submit(
    context: typer.Context,
    paths: Paths,
    folder: Folder = None,
    prompt: Annotated[str, typer.Option(help="What the portrait does while it speaks.")] = "",
    provider: Provider = None,
    model: Model = None,
    setting: Settings = None,
    max_usd: MaxUsd = None,
    yes: Yes = False,
    watch: Annotated[bool, typer.Option("--watch", help="Follow them to their videos.")] = False,
    out: Annotated[Path | None, typer.Option(help="Download the videos to here.")] = None,
    check: Annotated[bool, typer.Option(help="Check the files before they are uploaded.")] = True,
    as_json: Json = False,
) -> None:
    """Upload faces and voices and open a task for each voice.

    talkdrop submit ada.png hello.mp3 --watch
    talkdrop submit episodes/ --max-usd 5 --yes

    Run again after any interruption, it goes on: the same files are the same tasks.
    """
    given = submissions(paths, folder, (prompt, provider, model, setting))
    with client(context) as talkdrop:
        if check:
            total = check_all(talkdrop, given, quiet=as_json)
            agree(given, total, max_usd, yes=yes)
        opened = [*_send(talkdrop, given)]
        if watch or out:
            follow(talkdrop, {task["task_id"] for task in opened}, quiet=as_json)
            opened = [talkdrop.task(task["task_id"]) for task in opened]
        if out:
            fetch(talkdrop, opened, out)
    if as_json:
        screen.as_json(opened)
    else:
        screen.tasks(opened)
    if any(task["status"] in (Status.FAILED, Status.HELD, Status.EXPIRED) for task in opened):
        raise typer.Exit(1)


def submissions(
    paths: list[Path],
    folder: str | None,
    choices: tuple[str, str | None, str | None, list[str] | None],
) -> list[Submission]:
    """The tasks that these paths make, with what was chosen on the command line laid over."""
    prompt, provider, model, setting = choices
    if len(paths) == 1 and paths[0].is_dir():
        name = folder if folder is not None else paths[0].resolve().name
        found = files.of_directory(paths[0], name)
    elif len(paths) == 1:
        raise files.Unusable(
            f"{paths[0]} alone makes no task: give a face and a voice, or a directory of them"
        )
    else:
        found = files.of_paths(paths[0], paths[1:], folder or "")
    own = pairs(setting or [])
    # For the task, not for its model.
    long_voice, reuse = own.pop("long_voice", None), own.pop("reuse", None)
    return [
        Submission(
            one.face, one.voice, one.folder, prompt or one.prompt, provider or one.provider,
            model or one.model, {**one.settings, **own}, one.max_usd, one.consent,
            long_voice or one.long_voice, one.reuse if reuse is None else reuse,
        )
        for one in found
    ]  # fmt: skip


def pairs(lines: list[str]) -> dict[str, Any]:
    """`resolution=480p` is text, `seed=12345` a number: what is JSON is taken as JSON."""
    settings: dict[str, Any] = {}
    for text in lines:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise files.Unusable(f"--set {text}: write NAME=VALUE, such as --set resolution=720p")
        try:
            settings[name] = json.loads(value)
        except ValueError:
            settings[name] = value
    return settings


def check_all(talkdrop: Client, given: list[Submission], *, quiet: bool) -> float:
    """What all of it will cost, in USD. Raises Declined with every reason against any of it."""
    default = talkdrop.models()["default_provider"]
    total, reasons = 0.0, []
    rows = []
    for one in given:
        try:
            found = files.check(one, default)
        except request.Refused as refused:
            reasons += [f"{one.name}: {line.message}" for line in refused.refusals]
            continue
        reasons += [f"{one.name}: {line.message}" for line in found.refusals]
        if found.quote_usd is not None:
            total += float(found.quote_usd)
            seconds = f"{float(found.audio.seconds):.1f}" if found.audio else ""
            model = f"{found.model} in about {found.pieces} pieces" if found.pieces else found.model
            rows.append((one.name, model, seconds, f"{found.quote_usd:.2f}"))
    if reasons:
        raise Declined("nothing was sent:\n" + "\n".join(f"  {reason}" for reason in reasons))
    if not quiet:
        screen.table(("name", "model", "seconds", "usd"), rows, right=("seconds", "usd"))
        screen.line(f"{len(given)} {'task' if len(given) == 1 else 'tasks'}, {total:.2f} USD")
    return total


def agree(given: list[Submission], total: float, max_usd: float | None, *, yes: bool) -> None:
    """Raises Declined unless this price is agreed to, at the terminal or by an option."""
    if max_usd is not None and total > max_usd:
        raise Declined(f"it would cost {total:.2f} USD, more than --max-usd {max_usd:g}")
    if yes or max_usd is not None:
        return
    if not sys.stdin.isatty():
        raise Declined("there is no terminal to ask at: add --yes, or --max-usd with a limit")
    if not typer.confirm(f"Submit {len(given)} for {total:.2f} USD?", err=True):
        raise Declined("nothing was sent")


def _send(talkdrop: Client, given: list[Submission]) -> Iterator[TaskView]:
    with screen.bars() as bars:
        for one in given:
            bar = bars.add_task(screen.printable(one.name)[-30:], total=None)
            yield talkdrop.submit(
                one.face,
                one.voice,
                folder=one.folder,
                prompt=one.prompt,
                provider=one.provider,
                model=one.model,
                settings=one.settings,
                max_usd=one.max_usd,
                consent=one.consent,
                long_voice=one.long_voice,
                reuse=one.reuse,
                progress=lambda done, total, bar=bar: bars.update(  # type: ignore[misc]
                    bar, completed=done, total=total
                ),
            )
            bars.remove_task(bar)
