"""Commands for looking at it: the page in the browser, and the faults of the embedded run."""

from __future__ import annotations

import json
import os
import webbrowser
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

from functions.tasks import decisions
from talkdrop import loopback, stack
from talkdrop.commands import screen
from talkdrop.commands.submit import pairs
from talkdrop.relay import ApiRelay
from talkdrop.wire import Unreachable, Wire

app = typer.Typer()

# Beside the package in a checkout and where it is installed.
WEB = Path(__file__).parents[2] / "web"


@app.command("page")
def page(
    context: typer.Context,
    port: Annotated[int, typer.Option(help="0 takes any free one.", min=0, max=65535)] = 0,
    open_it: Annotated[bool, typer.Option("--open/--no-open", help="Open the browser.")] = True,
    samples: Annotated[Path | None, typer.Option(hidden=True)] = None,
) -> None:
    """Serve the page on this machine, with your AWS credentials, until Ctrl-C.

    Whoever has the address it prints, on this machine, may do what you may do.
    """
    found = stack.connect(context.obj)
    shown = {
        "stack": found.name,
        "region": found.region,
        "embedded": found.embedded,
        "samples": samples is not None,
    }
    files = loopback.static_files(WEB)
    if samples:
        files |= loopback.static_files(samples, "samples/")
    token = os.environ.get("TALKDROP_TOKEN", "")
    with httpx.Client(timeout=httpx.Timeout(120, connect=10)) as http:
        wire = Wire(
            found.outputs["ApiUrl"], http, region=found.region, credentials=None, token=token
        )
        relay = ApiRelay(wire, http, shown, simulator=found.simulator)
        server = loopback.Loopback(files, relay, port=port)
        try:
            screen.line(server.url)
            if open_it:
                webbrowser.open(server.url)
            server.serve()
        finally:
            server.close()


@app.command()
def fault(
    context: typer.Context,
    kind: Annotated[str, typer.Argument(help="Such as lost_answer; none lists them.")] = "",
    count: Annotated[int, typer.Option(min=1, help="How often it strikes.")] = 1,
    setting: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="As the list says.")
    ] = None,
    provider: Annotated[str | None, typer.Option(help="Only at this one.")] = None,
    clear: Annotated[bool, typer.Option("--clear", help="Remove all that are set.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON for machines.")] = False,
) -> None:
    """Make the simulated providers of the embedded run fail, and see what Talkdrop does.

    talkdrop fault lost_answer     the next job is made and its answer is lost

    Without a name it lists what can be set, and what is.
    """
    control = f"{_simulator(context.obj)}/control/faults"
    if clear:
        _shown(_control("DELETE", control), as_json)
        return
    if not kind:
        _list(_control("GET", control), as_json)
        return
    body = {"fault": kind, "count": count, **pairs(setting or [])}
    _shown(_control("POST", control, body | ({"provider": provider} if provider else {})), as_json)


def _simulator(name: str) -> str:
    found = stack.connect(name)
    if not found.simulator:
        raise decisions.Refused(
            "faults are for the embedded run, and none is up here: start one with make up"
        )
    return found.simulator


def _control(method: str, url: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
    try:
        answer = httpx.request(method, url, json=body, timeout=10)
    except httpx.TransportError as error:
        message = f"the simulated providers cannot be reached ({error}): is make up running?"
        raise Unreachable(message) from error
    found: dict[str, Any] = answer.json()
    if answer.is_error:
        raise decisions.Refused(str(found.get("error")))
    return found


def _list(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        screen.as_json(found)
        return
    rows = [(kind, one["does"], _settings(one["settings"])) for kind, one in found["kinds"].items()]
    screen.table(("fault", "what it does", "settings"), rows)
    for one in found["faults"]:
        left = "" if one["count"] is None else f", {one['count']} to come"
        screen.line(f"set: {one['kind']}, struck {one['struck']} times{left}")


def _settings(settings: dict[str, Any]) -> str:
    return " ".join(f"{name}={json.dumps(value)}" for name, value in settings.items())


def _shown(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        screen.as_json(found)
    elif "removed" in found:
        screen.line(f"{found['removed']} removed")
    else:
        screen.line(f"set: {found['kind']}, to strike {found['count']} times (talkdrop fault)")
