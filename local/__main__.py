"""Talkdrop on this machine: the stack that would be deployed to AWS, on an emulated AWS, with
simulated providers.

python -m local demo                 the sample face and voice, from the drop to the archived video
python -m local run FACE VOICE       the same with your own files
python -m local up                   stay up for your own files and API calls
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from functions import providers
from local import run, up
from local.aws import deploy, synthesis
from local.aws.cloud import CloudError
from local.follow import NotCompleted
from local.screen import Screen
from local.simulated_providers import SimulatorError

KNOWN_TROUBLE = (
    CloudError,
    deploy.DeployError,
    synthesis.SynthesisError,
    NotCompleted,
    SimulatorError,
)


def main() -> int:
    arguments = _arguments()
    # An orderly end for these too: they become an exception, and every `finally` is kept.
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, lambda number, _: sys.exit(128 + number))
    screen = Screen(verbose=arguments.verbose)
    try:
        act: Callable[[Screen, argparse.Namespace], None] = arguments.act
        act(screen, arguments)
    except KNOWN_TROUBLE as error:
        screen.plain(f"\nTalkdrop stopped: {error}")
        return 1
    except KeyboardInterrupt:
        screen.plain("\nstopped")
        return 130
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m local", description="Talkdrop on this machine."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _demo_command(commands)
    _run_command(commands)
    _up_command(commands)
    for command in commands.choices.values():
        command.add_argument(
            "-v", "--verbose", action="store_true", help="each step, and the event in full"
        )
    return parser.parse_args()


def _demo_command(commands: Any) -> None:
    demo = commands.add_parser(
        "demo", help="the sample face and voice, from the drop to the archived video"
    )
    demo.set_defaults(act=lambda screen, _: run.demo(screen))


def _run_command(commands: Any) -> None:
    one = commands.add_parser("run", help="your own face and voice")
    one.add_argument("face", type=Path, nargs="?")
    one.add_argument("voice", type=Path, nargs="?")
    one.add_argument("--provider", choices=providers.NAMES, default="kie")
    one.add_argument("--model", help="one of the provider's models")
    one.add_argument("--prompt", help="what the portrait shall do while it speaks")
    one.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of the model"
    )
    one.add_argument(
        "--live",
        action="store_true",
        help="the real provider: costs money; its key comes from NAME_API_KEY or is typed",
    )
    one.add_argument("--yes", action="store_true", help="with --live: pay without asking first")
    one.add_argument(
        "--resume", action="store_true", help="take up the paid job that a --live run left running"
    )
    one.add_argument("--job", default="", help="with --resume: the job's id, if it was not known")
    one.set_defaults(act=_run)


def _up_command(commands: Any) -> None:
    one = commands.add_parser("up", help="stay up for your own files and API calls")
    one.add_argument(
        "--port", type=int, default=up.PORT, help="of the emulated AWS (default: %(default)s)"
    )
    one.add_argument(
        "--keep", action="store_true", help="tasks and videos are there again at the next --keep"
    )
    one.add_argument(
        "--fast-holds",
        action="store_true",
        help="a task in doubt is HELD after a minute and not after hours, to rehearse it",
    )
    one.set_defaults(
        act=lambda screen, arguments: up.stay_up(
            screen, port=arguments.port, keep=arguments.keep, fast_holds=arguments.fast_holds
        )
    )


def _run(screen: Screen, arguments: argparse.Namespace) -> None:
    if arguments.resume:
        run.resume(screen, arguments.job)
        return
    if arguments.face is None or arguments.voice is None:
        raise NotCompleted("run FACE VOICE: a portrait and a voice are needed")
    named = {"provider": arguments.provider, "model": arguments.model, "prompt": arguments.prompt}
    settings = {name: value for name, value in named.items() if value is not None}
    settings |= _settings(arguments.set)
    order = run.Order(arguments.face, arguments.voice, arguments.voice.stem, settings)
    if arguments.live:
        run.live(screen, order, yes=arguments.yes)
    else:
        run.simulated(screen, order)


def _settings(lines: list[str]) -> dict[str, Any]:
    """`resolution=480p` is text, `seed=12345` a number, `watermark=true` true: what is JSON is
    taken as JSON."""
    pairs = dict(line.split("=", 1) for line in lines if "=" in line)
    if len(pairs) != len(lines):
        raise NotCompleted("--set wants NAME=VALUE, each name once, such as --set resolution=720p")
    return {name: _value(text) for name, text in pairs.items()}


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


if __name__ == "__main__":
    sys.exit(main())
