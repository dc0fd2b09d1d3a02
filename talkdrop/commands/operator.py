"""Commands for who runs a Talkdrop: they work on the stack itself, so they also work while its API
does not."""

from __future__ import annotations

import getpass
import json
import os
import shlex
import sys
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Annotated, Any

import boto3
import typer

from functions import providers
from functions.api import lookup
from functions.providers.base import ProviderError, open_client
from functions.tasks import books, decisions, queries
from functions.tasks.task import Task
from talkdrop import explain as explanation
from talkdrop import stack, verify
from talkdrop.commands import screen
from talkdrop.commands.options import Json

app = typer.Typer()


TaskName = Annotated[str, typer.Argument(metavar="TASK", help="Its id, or the first digits of it.")]
Why = Annotated[str, typer.Option(help="The reason, for the task's history.")]

_SECRET_PARTS = ("api_key", "access_key", "secret_key", "base_url")
_REDRIVEN = {
    "UploadsDeadLetterQueueUrl": "UploadsQueueUrl",
    "SubmissionsDeadLetterQueueUrl": "SubmissionsQueueUrl",
}


@app.command()
def explain(context: typer.Context, task: TaskName) -> None:
    """Everything that is known of one task, on one page, and what comes next."""
    stack.enter(context.obj)
    sys.stdout.write(screen.filled(explanation.page(lookup.find(task))) + "\n")


@app.command()
def adopt(
    context: typer.Context,
    task: TaskName,
    job_id: str,
    why: Why,
    wait: Annotated[float, typer.Option(help="Seconds to wait for the provider's answer.")] = 60,
) -> None:
    """A job found at the provider is this task's. The provider is queried for it first.

    talkdrop adopt 5f3ac9e1 e98962… --why "found at kie.ai/logs"
    """
    stack.enter(context.obj)
    found = lookup.find(task)
    screen.line(decisions.adopt(found, job_id, stack.caller(), why))
    screen.line(_outcome(found.task_id, job_id, wait))


def _outcome(task_id: str, job_id: str, wait_seconds: float) -> str:
    """What came of a job that was named. Raises Refused where it was not adopted."""
    until = time.monotonic() + wait_seconds
    task = queries.load(task_id)
    while task and task.is_looked_up and time.monotonic() < until:
        time.sleep(1)
        task = queries.load(task_id)
    if task is None or task.is_looked_up:
        return "no answer yet: explain shows what comes of it"
    if task.lookup:
        raise decisions.Refused(task.lookup["refusal"])
    return f"adopted: job {job_id} is this task's now, and is watched"


@app.command()
def resubmit(
    context: typer.Context,
    task: TaskName,
    why: Why,
    accepts: Annotated[
        bool,
        typer.Option(
            "--i-accept-a-second-charge",
            help="The last attempt may have been charged, and that is accepted.",
        ),
    ] = False,
) -> None:
    """Open a new attempt, paid anew."""
    stack.enter(context.obj)
    found = lookup.find(task)
    screen.line(decisions.resubmit(found, stack.caller(), why, accepts_a_second_charge=accepts))


@app.command()
def fail(context: typer.Context, task: TaskName, why: Why) -> None:
    """Give a HELD task up; a video that comes all the same is still archived."""
    stack.enter(context.obj)
    screen.line(decisions.fail(lookup.find(task), stack.caller(), why))


@app.command()
def reopen(context: typer.Context, provider: str) -> None:
    """Submit to a stopped provider again."""
    stack.enter(context.obj)
    screen.line(decisions.reopen(provider, stack.caller()))


@app.command("verify")
def verify_archive(
    context: typer.Context,
    task: Annotated[str | None, typer.Option(help="Only this one.")] = None,
) -> None:
    """Read archived videos again and compare them with rows, manifests and checksums."""
    stack.enter(context.obj)
    checked = bad = 0
    for name, found in _of(lookup.find(task)) if task else verify.everything():
        checked += 1
        bad += bool(found)
        for difference in found:
            screen.line(f"{name}: {difference}")
    screen.line(f"{checked} checked, {checked - bad} agree, {bad} do not")
    if bad:
        raise typer.Exit(1)


def _of(task: Task) -> Iterator[tuple[str, list[str]]]:
    yield task.task_id, list(verify.disagreements(task))


@app.command()
def key(
    context: typer.Context,
    provider: str,
    probe: Annotated[bool, typer.Option(help="Ask the provider whether it works; free.")] = True,
) -> None:
    """Store a provider's API key: typed unseen, or piped in; never an argument. A provider that was
    stopped is open again if the key passes a free query.

    talkdrop key kie
    pass show kie | talkdrop key kie
    """
    secret_id = _secret_of(stack.connect(context.obj), provider)
    merged = {**stack.secret(secret_id), **_typed(provider)}
    balance_usd = _probe(provider, merged) if probe else None
    secrets: Any = boto3.session.Session().client("secretsmanager")
    secrets.put_secret_value(SecretId=secret_id, SecretString=json.dumps(merged))
    screen.line(f"the key of {provider} is stored")
    # After it is stored: who may write secrets need not be allowed to read the table.
    stack.enter(context.obj)
    if books.stopped_since(provider) is not None:
        screen.line(_reopened(provider, balance_usd, probed=probe))


def _secret_of(found: stack.Stack, provider: str) -> str:
    if provider not in providers.NAMES:
        known = ", ".join(providers.NAMES)
        raise decisions.Refused(f"there is no provider {provider!r}; there are: {known}")
    if secret_id := found.secret_id(provider):
        return secret_id
    raise decisions.Refused(
        f"the stack {found.name} has no secret for {provider}: name it in providers in cdk.json, "
        "and deploy"
    )


def _reopened(provider: str, balance_usd: Decimal | None, *, probed: bool) -> str:
    """What comes of a stopped provider after a new key, on the terms of the sweep's own trial. A
    warm function that still has the old key is refused once, and reads the new one."""
    if not probed:
        return f"{provider} is stopped, and opens when a free query passes, which the sweep tries"
    needed = books.needed_usd(provider)
    if balance_usd is not None and balance_usd < needed:
        return (
            f"{provider} stays stopped: the key works, but {balance_usd:.2f} USD lie on its "
            f"account, and the task that was refused is quoted {needed:.2f}. Top up; the sweep "
            "opens it"
        )
    return decisions.reopen(provider, stack.caller())


def _typed(provider: str) -> dict[str, str]:
    """An API key, or a JSON object with the parts that the provider needs."""
    text = (
        getpass.getpass(f"API key of {provider} (or JSON: {', '.join(_SECRET_PARTS)}): ")
        if sys.stdin.isatty()
        else sys.stdin.readline()
    ).strip()
    if not text:
        raise decisions.Refused("there is no key: nothing was stored")
    if not text.startswith("{"):
        return {"api_key": text}
    try:
        parts = json.loads(text)
    except ValueError:
        raise decisions.Refused("that begins like JSON and is none: nothing was stored") from None
    if unknown := sorted(set(parts) - {*_SECRET_PARTS, "result_hosts", "upload_base_url"}):
        raise decisions.Refused(f"unknown parts {', '.join(unknown)}: nothing was stored")
    return {name: parts[name] for name in parts}


def _probe(provider: str, secret: dict[str, Any]) -> Decimal | None:
    """What lies on the account, where the provider tells it. Raises Refused where the key does not
    work."""
    try:
        with open_client() as http:
            client = providers.get(provider)(secret, http)
            client.probe()
            return client.balance_usd() if client.tells_balance else None
    except ProviderError as error:
        raise decisions.Refused(
            f"{error}. Nothing was stored; --no-probe stores it all the same"
        ) from None


@app.command()
def redrive(
    context: typer.Context,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
    as_json: Json = False,
) -> None:
    """Send the dead letters of uploads and submissions back to their queues.

    Repeating any of them is harmless. Announcements need none: the sweep publishes them anew.
    """
    found = stack.connect(context.obj)
    sqs: Any = boto3.session.Session().client("sqs")
    moved = {
        name.removesuffix("DeadLetterQueueUrl"): _move(
            sqs, found.outputs[name], found.outputs[target], dry_run=dry_run
        )
        for name, target in _REDRIVEN.items()
        if name in found.outputs
    }
    if as_json:
        screen.as_json(moved)
        return
    for name, count in moved.items():
        screen.line(f"{name}: {count} {'to send' if dry_run else 'sent'} again")


def _move(sqs: Any, source: str, target: str, *, dry_run: bool) -> int:
    """Each message is sent before it is deleted, so that none is lost; one may double, which
    changes nothing."""
    attributes = sqs.get_queue_attributes(
        QueueUrl=source, AttributeNames=["ApproximateNumberOfMessages"]
    )
    count = int(attributes["Attributes"]["ApproximateNumberOfMessages"])
    if dry_run:
        return count
    moved = 0
    while moved < count:
        got = sqs.receive_message(QueueUrl=source, MaxNumberOfMessages=10, WaitTimeSeconds=1)
        messages = got.get("Messages", [])
        if not messages:
            break
        for message in messages:
            sqs.send_message(QueueUrl=target, MessageBody=message["Body"])
            sqs.delete_message(QueueUrl=source, ReceiptHandle=message["ReceiptHandle"])
            moved += 1
    return moved


@app.command()
def env(context: typer.Context) -> None:
    """Shell variables for AWS CLI 1 and 2, boto3 and curl.

    eval "$(talkdrop env)"
    """
    found = stack.connect(context.obj)
    names = ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    lines = {name: os.environ[name] for name in names if found.embedded and os.environ.get(name)}
    lines |= {"AWS_REGION": found.region, "AWS_DEFAULT_REGION": found.region}
    lines |= {
        f"TALKDROP_{name}": found.outputs[output]
        for name, output in (
            ("API", "ApiUrl"),
            ("INBOX", "InboxBucket"),
            ("ARCHIVE", "ArchiveBucket"),
        )
    }
    if found.simulator:
        lines[stack.SIMULATOR] = found.simulator
    for name, value in lines.items():
        sys.stdout.write(f"export {name}={shlex.quote(value)}\n")
