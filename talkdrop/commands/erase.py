"""Erase a person's data, with a receipt."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import asdict
from typing import Annotated

import typer

from functions.tasks import decisions
from talkdrop import erase, stack
from talkdrop.commands import screen
from talkdrop.erase import Plan, Receipt

app = typer.Typer()


@app.command("erase")
def erase_person(
    context: typer.Context,
    task: Annotated[str | None, typer.Argument(metavar="TASK", show_default=False)] = None,
    portrait: Annotated[
        str | None,
        typer.Option(help="All that was made of it: its key in the inbox, or its SHA-256."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would go.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    bypass_lock: Annotated[
        bool,
        typer.Option("--bypass-lock", help="What a governance lock keeps as well, if you may."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON for machines.")] = False,
) -> None:
    """Delete portrait, voice, video and row for good, all versions, and print a receipt.

    talkdrop erase 5f3ac9e1 --dry-run
    talkdrop erase --portrait faces/ada.png --json > receipt.json
    """
    if bool(task) == bool(portrait):
        raise decisions.Refused("name a task, or --portrait with its key or SHA-256; one of them")
    stack.enter(context.obj)
    plan = erase.of_task(task) if task else erase.of_portrait(str(portrait))
    if plan.is_empty:
        raise decisions.Refused(f"nothing is kept of {portrait!r}: nothing was erased")
    if dry_run and as_json:
        screen.as_json(_planned(plan))
        return
    _show(plan, to_stderr=as_json)
    if dry_run:
        return
    _agree(plan, yes=yes)
    receipt = erase.carry_out(plan, stack.caller(), bypass_lock=bypass_lock)
    _print(receipt, as_json=as_json)
    if receipt.failed or receipt.locked:
        raise typer.Exit(1)


def _planned(plan: Plan) -> dict[str, object]:
    return {
        "tasks": [one.task_id for one in plan.tasks],
        "versions": [asdict(one) for one in plan.versions],
        "kept": list(plan.kept),
    }


def _show(plan: Plan, *, to_stderr: bool) -> None:
    show = screen.note if to_stderr else screen.line
    for one in plan.tasks:
        show(f"task {one.task_id}, {one.status}, of {one.created_at[:10]}")
    for (bucket, key), count in Counter((one.bucket, one.key) for one in plan.versions).items():
        show(f"{count} version{'s' if count > 1 else ''} of s3://{bucket}/{key}")
    for message in plan.kept:
        show(message)


def _agree(plan: Plan, *, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise decisions.Refused("there is no terminal to ask at: add --yes, or look with --dry-run")
    question = f"Erase {len(plan.tasks)} tasks and {len(plan.versions)} versions for good?"
    if not typer.confirm(question, err=True):
        raise decisions.Refused("nothing was erased")


def _print(receipt: Receipt, *, as_json: bool) -> None:
    if as_json:
        screen.as_json(asdict(receipt))
        return
    count = f"{len(receipt.tasks)} tasks and {len(receipt.versions)} versions"
    screen.line(f"erased {count} at {receipt.at}, by {receipt.by}")
    for one in receipt.locked:
        screen.line(f"locked until {one['until']}: s3://{one['bucket']}/{one['key']}")
    for message in receipt.failed:
        screen.line(f"not erased: {message}")
    for message in receipt.remains:
        screen.line(f"remains: {message}")
