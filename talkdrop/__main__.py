"""Talkdrop's command line, on AWS and on the embedded run alike: `talkdrop --help`.

Exit codes: 0 done; 1 refused, or something does not agree; 2 wrong usage; 3 the stack, AWS or the
API cannot be reached; 130 interrupted.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Sequence
from importlib import metadata
from typing import Annotated

import typer
from botocore.exceptions import BotoCoreError, ClientError

from functions.api import lookup
from functions.inputs.request import Refused
from functions.tasks import decisions
from talkdrop import files, stack
from talkdrop.client import Damaged
from talkdrop.commands import doctor, erase, money, operator, page, screen, submit, tasks
from talkdrop.commands.options import Declined
from talkdrop.wire import ApiError, Unreachable

REFUSED, UNREACHABLE, INTERRUPTED = 1, 3, 130

app = typer.Typer(
    no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None, help=__doc__
)
for group in (submit, tasks, money, operator, erase, page, doctor):
    app.registered_commands += group.app.registered_commands


def _with_its_examples(text: str) -> str:
    """Click fills paragraphs, but for those that begin so: an example stays a line of its own.
    https://click.palletsprojects.com/en/stable/documentation/#preventing-rewrapping"""
    return "\n\n".join(
        f"\b\n{paragraph}" if paragraph.startswith(("talkdrop ", "eval ")) else paragraph
        for paragraph in text.split("\n\n")
    )


for command in app.registered_commands:
    command.help = _with_its_examples(inspect.getdoc(command.callback) or "")


def _version(wanted: bool) -> None:
    if wanted:
        screen.line(f"talkdrop {metadata.version('talkdrop')}")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    name: Annotated[
        str, typer.Option("--stack", envvar="TALKDROP_STACK", help="The CloudFormation stack.")
    ] = stack.DEFAULT,
    version: Annotated[  # noqa: ARG001 - its callback prints it
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    context.obj = name


@app.command("mcp")
def mcp_server(context: typer.Context) -> None:
    """Serve Talkdrop to an agent over stdio (docs/agents.md)."""
    try:
        from talkdrop import mcp_server as server
    except ImportError:
        raise decisions.Refused(
            "the package mcp is not installed: pip install 'talkdrop[mcp]'"
        ) from None
    server.serve(context.obj)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; answers its exit code. No traceback by ordinary means."""
    try:
        app(args=list(sys.argv[1:] if argv is None else argv), prog_name="talkdrop")
    except SystemExit as ending:
        return ending.code if isinstance(ending.code, int) else 0
    except (decisions.Refused, files.Unusable, Declined, lookup.NotOneTask, Refused) as no:
        return _ended(REFUSED, f"Refused: {no}")
    except ApiError as error:
        return _ended(REFUSED, f"Refused: {error.in_words}")
    except (stack.NoStack, Unreachable, ClientError, BotoCoreError) as error:
        return _ended(UNREACHABLE, f"Talkdrop cannot be reached: {error}")
    except (Damaged, TimeoutError) as error:
        return _ended(REFUSED, str(error))
    except BrokenPipeError:  # the reader of a pipe ended, such as head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        return _ended(REFUSED, f"{error.filename or 'this machine'}: {error.strerror or error}")
    except KeyboardInterrupt:
        return _ended(INTERRUPTED, "interrupted; run it again to go on")
    return 0


def _ended(code: int, message: str) -> int:
    screen.note(message)
    return code


if __name__ == "__main__":
    sys.exit(main())
