"""What must be so before a stack can make a video and be heard: each with its cure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import boto3
import typer

from functions import providers
from functions.providers.base import ProviderError, open_client
from talkdrop import stack
from talkdrop.client import Client
from talkdrop.commands import rehearsal, screen
from talkdrop.commands.checks import Check, check, show
from talkdrop.commands.options import Json, Yes
from talkdrop.wire import ApiError, Unreachable

app = typer.Typer()

_TOPICS = {
    "AlarmTopic": ("alarms by mail", "alarm_email"),
    "NoticeTopic": ("notices by mail", "notify_email"),
}


@app.command()
def doctor(
    context: typer.Context,
    probe: Annotated[bool, typer.Option(help="Ask each provider whether its key works.")] = True,
    rehearse: Annotated[
        bool, typer.Option("--rehearse", help="Make one small video; on AWS, for its price.")
    ] = False,
    yes: Yes = False,
    minutes: Annotated[float, typer.Option(help="How long to wait for that video.")] = 30,
    as_json: Json = False,
) -> None:
    """Check what must be so: the stack, the API, keys, mail, budget, queues, held tasks.

    It spends nothing: a provider is sent a free query. With --rehearse one task goes the whole way
    as well, from an upload to a video that is read back: three seconds of the cheapest model. Its
    price is shown and asked about first; on the embedded run it is free.

    talkdrop doctor --rehearse
    """
    found = stack.connect(context.obj)
    checks = [check("stack", True, f"{found.name} in {found.region}"), *_api(found)]
    checks += [*_keys(found, probe=probe), *_mail(found)]
    if not as_json:
        show(checks)
    if rehearse:
        played = [*rehearsal.rehearse(found, checks, yes=yes, minutes=minutes)]
        checks += played
        if not as_json:
            show(played)
    if as_json:
        screen.as_json(checks)
    if not all(one["ok"] for one in checks):
        raise typer.Exit(1)


def _api(found: stack.Stack) -> Iterator[Check]:
    try:
        with Client(found.outputs["ApiUrl"], region=found.region) as client:
            health = client.health()
    except (ApiError, Unreachable) as error:
        yield check("API", False, str(error))
        return
    yield check("API", True, found.outputs["ApiUrl"])
    held = health["held"]["tasks"]
    yield check("held tasks", not held, f"{held}: talkdrop list --status held" if held else "none")
    for stopped in health["stopped"]:
        name = stopped["provider"]
        yield check(f"provider {name}", False, f"{stopped['why']}: talkdrop key {name}")
    dead = {name: count for name, count in health["dead_letters"].items() if count}
    yield check("dead letters", not dead, f"{dead}: talkdrop redrive" if dead else "none")
    for budget in health["budgets"]:
        spent = f"{budget['spent_usd']:.2f} of {budget['cap_usd']:.2f} USD"
        yield check(f"budget {budget['period']}", budget["spent_usd"] < budget["cap_usd"], spent)
    if not health["budgets"] and not found.embedded:
        yield check("budget", False, "none: set options.budget_usd_per_day in cdk.json")
    if not health["submitting"]:
        yield check("submitting", False, "switched off by the option submit_enabled")


def _keys(found: stack.Stack, *, probe: bool) -> Iterator[Check]:
    """Every provider with a secret must have its key, which is never shown; a free query says
    whether it works."""
    for name in providers.NAMES:
        secret_id = found.secret_id(name)
        if not secret_id:
            continue
        secret = stack.secret(secret_id)
        if not any(secret.get(part) for part in ("api_key", "secret_key")):
            yield check(f"key of {name}", False, f"none: talkdrop key {name}")
        else:
            why = _why_it_fails(name, secret) if probe else ""
            yield check(f"key of {name}", not why, why or ("works" if probe else "there"))


def _why_it_fails(name: str, secret: dict[str, Any]) -> str:
    try:
        with open_client() as http:
            providers.get(name)(secret, http).probe()
    except ProviderError as error:
        return str(error)
    return ""


def _mail(found: stack.Stack) -> Iterator[Check]:
    """An address that did not confirm its subscription hears nothing. The embedded run sends no
    mail, and needs none."""
    sns: Any = boto3.session.Session().client("sns")
    for output, (name, key) in _TOPICS.items():
        arn = found.outputs.get(output)
        if not arn:
            continue
        pages = sns.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=arn)
        arns = [one["SubscriptionArn"] for page in pages for one in page["Subscriptions"]]
        if found.embedded and not arns:
            continue
        confirmed = [one for one in arns if one.startswith("arn:")]
        cure = f"no subscription is confirmed: open the mail, or set {key} in cdk.json"
        yield check(name, bool(confirmed), f"{len(confirmed)} confirmed" if confirmed else cure)
