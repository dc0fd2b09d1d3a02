"""Commands that speak the API: submit, watch, list, show, download, open, cancel, quote, models,
spend."""

from __future__ import annotations

import json
import sys
import time
import webbrowser
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from functions.api.views import TaskView
from functions.inputs import request
from functions.tasks.task import Status
from talkdrop import files
from talkdrop.client import RESTING, ApiError, Client
from talkdrop.commands import screen
from talkdrop.files import Submission

app = typer.Typer()

_POLL_SECONDS = 3

Json = Annotated[bool, typer.Option("--json", help="JSON for machines.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Folder = Annotated[str | None, typer.Option(help="The folder that the tasks are listed under.")]
Paths = Annotated[
    list[Path], typer.Argument(help="A face and its voices, or one directory.", show_default=False)
]
Provider = Annotated[str | None, typer.Option(help="Not the stack's own: see talkdrop models.")]
Model = Annotated[str | None, typer.Option(help="One of the provider's models.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A setting of the model.")
]
MaxUsd = Annotated[float | None, typer.Option(help="Refuse if all of it would cost more.")]


class Declined(Exception):
    """Nothing was sent; the message says why."""


def client(context: typer.Context) -> Client:
    made: Client = Client.of_stack(context.obj)
    return made


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
    given = _submissions(paths, folder, (prompt, provider, model, setting))
    with client(context) as talkdrop:
        if check:
            total = _check(talkdrop, given, quiet=as_json)
            _agree(given, total, max_usd, yes=yes)
        opened = [*_send(talkdrop, given)]
        if watch or out:
            _follow(talkdrop, {task["task_id"] for task in opened}, quiet=as_json)
            opened = [talkdrop.task(task["task_id"]) for task in opened]
        if out:
            _fetch(talkdrop, opened, out)
    if as_json:
        screen.as_json(opened)
    else:
        screen.tasks(opened)
    if any(task["status"] in (Status.FAILED, Status.HELD, Status.EXPIRED) for task in opened):
        raise typer.Exit(1)


def _submissions(
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
    own = _pairs(setting or [])
    return [
        Submission(
            one.face, one.voice, one.folder, prompt or one.prompt, provider or one.provider,
            model or one.model, {**one.settings, **own}, one.max_usd,
        )
        for one in found
    ]  # fmt: skip


def _pairs(lines: list[str]) -> dict[str, Any]:
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


def _check(talkdrop: Client, given: list[Submission], *, quiet: bool) -> float:
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
            rows.append((one.name, found.model, seconds, f"{found.quote_usd:.2f}"))
    if reasons:
        raise Declined("nothing was sent:\n" + "\n".join(f"  {reason}" for reason in reasons))
    if not quiet:
        screen.table(("name", "model", "seconds", "usd"), rows, right=("seconds", "usd"))
        screen.line(f"{len(given)} {'task' if len(given) == 1 else 'tasks'}, {total:.2f} USD")
    return total


def _agree(given: list[Submission], total: float, max_usd: float | None, *, yes: bool) -> None:
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
                progress=lambda done, total, bar=bar: bars.update(  # type: ignore[misc]
                    bar, completed=done, total=total
                ),
            )
            bars.remove_task(bar)


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
        _follow(talkdrop, active, quiet=False)
        _overview([*talkdrop.tasks(prefix=folder)])


def _follow(talkdrop: Client, wanted: set[str], *, quiet: bool) -> None:
    """A line for each change, until every one has its end."""
    shown: dict[str, str] = {}
    while True:
        for task_id in sorted(wanted):
            task = talkdrop.task(task_id)
            state = f"{task['status']:<11} {screen.why(task)}"
            if shown.get(task_id, "").split(" ")[0] != task["status"]:
                shown[task_id] = state
                if not quiet:
                    screen.line(f"{task_id[: screen.SHORT_ID]}  {screen.name_of(task)}  {state}")
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
    screen.line(f"quote {_money(found['quote_usd'])}, charge {_money(found['charge_usd'])}")
    for name, file in (("portrait", found["portrait"]), ("voice", found["audio"])):
        if file.get("key"):
            screen.line(f"{name:<9} {file['key']}")
    if video := found["video"]:
        screen.line(f"video     {video['key']}  {video['bytes']} bytes, {video['seconds']} s")
    for entry in found.get("history", []):
        screen.line(f"{entry['at']}  {entry['what']:<11} {entry['who']}  {entry.get('why', '')}")
    for action, risk in found["actions"].items():
        screen.line(f"talkdrop {action} {found['task_id'][: screen.SHORT_ID]}: {risk}")


def _money(amount: float | None) -> str:
    return "unknown" if amount is None else f"{amount:.4g} USD"


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
        paths = _fetch(talkdrop, done, out)
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


def _fetch(talkdrop: Client, found: list[TaskView], out: Path) -> list[Path]:
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


@app.command()
def quote(
    context: typer.Context,
    paths: Annotated[list[Path] | None, typer.Argument(show_default=False)] = None,
    seconds: Annotated[float | None, typer.Option(help="Instead of files.")] = None,
    provider: Provider = None,
    model: Model = None,
    setting: Settings = None,
    as_json: Json = False,
) -> None:
    """What files would cost; nothing is uploaded and nothing is opened.

    talkdrop quote episodes/
    talkdrop quote --seconds 90 --provider kling
    """
    with client(context) as talkdrop:
        if paths:
            given = _submissions(paths, None, ("", provider, model, setting))
            total = _check(talkdrop, given, quiet=as_json)
            if as_json:
                screen.as_json({"tasks": len(given), "quote_usd": round(total, 6)})
            return
        if seconds is None:
            raise Declined("there is nothing to quote: give files, a directory, or --seconds")
        arguments = {"provider": provider, "model": model, "settings": _pairs(setting or [])}
        found = talkdrop.quote(audio_seconds=seconds, **arguments)
    if as_json:
        screen.as_json(found)
    else:
        usual = f"usually {found['usual_seconds'] / 60:.0f} min"
        price = _money(found["quote_usd"])
        screen.line(f"{found['provider']} {found['model']}: {price}, {usual}")


@app.command()
def models(context: typer.Context, as_json: Json = False) -> None:
    """Providers and their models: price, longest voice, usual time, and whether they are open."""
    with client(context) as talkdrop:
        found = talkdrop.models()
    if as_json:
        screen.as_json(found)
        return
    rows = []
    for provider in found["providers"]:
        for model in provider["models"]:
            prices = [model["usd_per_second"], *model["prices"].values()]
            low, high = min(prices), max(prices)
            price = f"{low:g}" if low == high else f"{low:g}–{high:g}"
            longest = model["limits"]["audio_max_seconds"]
            rows.append(
                (
                    provider["provider"],
                    model["model"],
                    price,
                    f"{longest:g} s" if longest else "",
                    f"{model['usual_seconds'] / 60:.0f} min",
                    provider["state"],
                )
            )
    screen.table(("provider", "model", "usd/s", "longest", "usual", "state"), rows)
    screen.line(f"default provider: {found['default_provider']}")


@app.command()
def spend(
    context: typer.Context,
    by: Annotated[str, typer.Option(help="folder, day, provider or status.")] = "day",
    since: Annotated[str, typer.Option(help="A day or an instant, UTC.")] = "",
    until: Annotated[str, typer.Option(help="A day or an instant, UTC.")] = "",
    as_json: Json = False,
) -> None:
    """What was charged, or quoted where the provider does not say, by folder, day or provider."""
    keys = {
        "folder": lambda task: task["folder"],
        "day": lambda task: task["created_at"][:10],
        "provider": lambda task: task["provider"],
        "status": lambda task: task["status"],
    }
    if by not in keys:
        raise Declined(f"--by {by}: use one of {', '.join(keys)}")
    sums: dict[str, tuple[int, float]] = defaultdict(lambda: (0, 0.0))
    with client(context) as talkdrop:
        for task in talkdrop.tasks(since=since, until=until):
            count, usd = sums[keys[by](task)]
            sums[keys[by](task)] = (count + 1, usd + _spent(task))
    if as_json:
        screen.as_json(
            [
                {by: name, "tasks": count, "usd": round(usd, 6)}
                for name, (count, usd) in sorted(sums.items())
            ]
        )
        return
    lines = [(name, str(count), f"{usd:.2f}") for name, (count, usd) in sorted(sums.items())]
    every = (sum(count for count, _ in sums.values()), sum(usd for _, usd in sums.values()))
    lines.append(("total", str(every[0]), f"{every[1]:.2f}"))
    screen.table((by, "tasks", "usd"), lines, right=("tasks", "usd"))


def _spent(task: TaskView) -> float:
    """Nothing for what was never sent; the charge, or the quote where no charge is known."""
    unsent = (Status.WAITING, Status.READY, Status.CANCELLED, Status.EXPIRED)
    if task["status"] in unsent or (task["status"] == Status.FAILED and not task["submitted_at"]):
        return task["charge_usd"] or 0.0
    return screen.cost(task) or 0.0
