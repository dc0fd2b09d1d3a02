"""Options that several commands take, and the client that they use."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from talkdrop.client import Client

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
