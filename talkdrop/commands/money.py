"""Commands about money: quote, models, spend."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Annotated

import typer

from functions.api.views import TaskView
from functions.tasks.task import Status
from talkdrop.commands import screen
from talkdrop.commands.options import Declined, Json, Model, Provider, Settings, client
from talkdrop.commands.submit import check_all, pairs, submissions

app = typer.Typer()


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
            given = submissions(paths, None, ("", provider, model, setting))
            total = check_all(talkdrop, given, quiet=as_json)
            if as_json:
                screen.as_json({"tasks": len(given), "quote_usd": round(total, 6)})
            return
        if seconds is None:
            raise Declined("there is nothing to quote: give files, a directory, or --seconds")
        arguments = {"provider": provider, "model": model, "settings": pairs(setting or [])}
        found = talkdrop.quote(audio_seconds=seconds, **arguments)
    if as_json:
        screen.as_json(found)
    else:
        usual = f"usually {found['usual_seconds'] / 60:.0f} min"
        price = screen.money(found["quote_usd"])
        pieces = f" in about {found['pieces']} pieces" if found["pieces"] else ""
        screen.line(f"{found['provider']} {found['model']}{pieces}: {price}, {usual}")


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
    lines = [
        (name or f"(no {by})", str(count), f"{usd:.2f}")
        for name, (count, usd) in sorted(sums.items())
    ]
    every = (sum(count for count, _ in sums.values()), sum(usd for _, usd in sums.values()))
    lines.append(("total", str(every[0]), f"{every[1]:.2f}"))
    screen.table((by, "tasks", "usd"), lines, right=("tasks", "usd"))


def _spent(task: TaskView) -> float:
    """Nothing for what was never sent; the charge, or the quote where no charge is known."""
    if task["pieces"]:
        return screen.cost(task) or 0.0
    unsent = (Status.WAITING, Status.READY, Status.CANCELLED, Status.EXPIRED)
    if task["status"] in unsent or (task["status"] == Status.FAILED and not task["submitted_at"]):
        return task["charge_usd"] or 0.0
    return screen.cost(task) or 0.0
