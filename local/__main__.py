"""Talkdrop on this machine: the stack that would be deployed to AWS, on an emulated AWS, with
pretended providers.

python -m local demo                 the sample face and voice, from the drop to the archived video
python -m local run FACE VOICE       the same with your own files
python -m local up                   stay up for your own files and API calls
"""

from __future__ import annotations

import argparse
import getpass
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from functions import providers
from local import environment, follow, howto
from local.aws import deploy, synthesis
from local.aws.cloud import CloudError
from local.environment import World
from local.event_listener import in_short
from local.screen import Screen
from local.simulated_providers import PretendersError

SAMPLES = Path(__file__).parent / "samples"
KNOWN_TROUBLE = (
    CloudError,
    deploy.DeployError,
    synthesis.SynthesisError,
    follow.NotCompleted,
    PretendersError,
)

# A provider cannot reach a link into this machine, so with a real one the media travel in the
# request or by its own upload, and the answer comes by asking.
LIVE_DELIVERY = {"kie": "upload", "kling": "base64", "comet": "base64", "relay": "base64"}
LIVE_PATIENCE_SECONDS = 3600
SECRET_NAMES = (
    "api_key",
    "access_key",
    "secret_key",
    "base_url",
)  # KLING_ACCESS_KEY, RELAY_BASE_URL and so on


def main() -> int:
    arguments = _arguments()
    # An orderly end for these too: they become an exception, and every `finally` is kept.
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, lambda number, _: sys.exit(128 + number))
    screen = Screen()
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
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    demo = verbs.add_parser(
        "demo", help="the sample face and voice, from the drop to the archived video"
    )
    demo.set_defaults(act=_demo)
    up = verbs.add_parser("up", help="stay up for your own files and API calls")
    up.set_defaults(act=_up)
    run = verbs.add_parser("run", help="your own face and voice")
    run.add_argument("face", type=Path)
    run.add_argument("voice", type=Path)
    run.add_argument("--provider", choices=providers.NAMES, default="kie")
    run.add_argument("--model", help="one of the provider's models")
    run.add_argument("--prompt", help="what the portrait shall do while it speaks")
    run.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of the model"
    )
    run.add_argument(
        "--live", action="store_true", help="the real provider: costs money and asks for its key"
    )
    run.set_defaults(act=_run)
    return parser.parse_args()


def _demo(screen: Screen, _arguments: argparse.Namespace) -> None:
    _drop_and_follow(
        screen, SAMPLES / "portrait.png", SAMPLES / "voice.mp3", stem="hello", settings={}
    )


def _run(screen: Screen, arguments: argparse.Namespace) -> None:
    for path in (arguments.face, arguments.voice):
        if not path.is_file():
            raise follow.NotCompleted(f"there is no file {path}: give a portrait and a voice")
    live_key = _ask_key(arguments.provider) if arguments.live else None
    asked = {"provider": arguments.provider, "model": arguments.model, "prompt": arguments.prompt}
    settings = {name: value for name, value in asked.items() if value is not None} | _settings(
        arguments.set
    )
    stem = arguments.voice.stem
    _drop_and_follow(
        screen, arguments.face, arguments.voice, stem=stem, settings=settings, live_key=live_key
    )


def _settings(lines: list[str]) -> dict[str, Any]:
    """`resolution=480p` is text, `seed=12345` a number, `watermark=true` true: what is JSON is
    taken as JSON."""
    told = dict(line.split("=", 1) for line in lines if "=" in line)
    if len(told) != len(lines):
        raise follow.NotCompleted(
            "--set wants NAME=VALUE, each name once, such as --set resolution=720p"
        )
    return {name: _value(text) for name, text in told.items()}


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _ask_key(provider: str) -> dict[str, str]:
    """The real provider's secret, from the environment, its key else typed unseen; never an
    argument, which others can read, and kept nowhere."""
    word = provider.upper()
    told = {name: os.environ.get(f"{word}_{name.upper()}", "") for name in SECRET_NAMES}
    secret = {name: value for name, value in told.items() if value}
    if not secret.keys() & {"api_key", "secret_key"}:
        secret["api_key"] = getpass.getpass(
            f"The API key of {provider} (or set {word}_API_KEY; it is not kept): "
        )
    if not secret.get("api_key") and not secret.get("secret_key"):
        raise follow.NotCompleted(
            f"without a key of {provider} there is no real video; leave out --live to pretend"
        )
    if provider == "relay" and "base_url" not in secret:
        raise follow.NotCompleted(
            "a relay has an address of its own: set RELAY_BASE_URL, such as https://relay.example"
        )
    return secret


def _drop_and_follow(
    screen: Screen,
    face: Path,
    voice: Path,
    *,
    stem: str,
    settings: Mapping[str, Any],
    live_key: Mapping[str, str] | None = None,
) -> None:
    options = {"callbacks": False, "media_delivery": LIVE_DELIVERY, "polls": {}} if live_key else {}
    running = environment.raise_up(screen, options, pretend=None if live_key else {})
    try:
        if live_key:
            environment.give_key(running.cloud, running.stack, str(settings["provider"]), live_key)
        voice_key = _drop(running, face, voice, stem, settings)
        screen.say(
            f"dropped into s3://{running.inbox}: {stem}{face.suffix} and {stem}{voice.suffix}"
        )
        patience = LIVE_PATIENCE_SECONDS if live_key else follow.PATIENCE_SECONDS
        video = screen.during(
            "waiting", lambda: follow.follow(running, screen, voice_key, patience)
        )
    finally:
        running.stop()
    screen.say("everything stopped")
    screen.plain(
        f"\nVideo     {_short(video)}\nManifest  {_short(video.with_name('manifest.json'))}"
    )


def _drop(running: World, face: Path, voice: Path, stem: str, settings: Mapping[str, Any]) -> str:
    if settings:
        running.drop(f"drop/{stem}.json", json.dumps(dict(settings)).encode())
    running.drop(f"drop/{stem}{face.suffix}", face.read_bytes())
    voice_key = f"drop/{stem}{voice.suffix}"
    running.drop(voice_key, voice.read_bytes())
    return voice_key


def _up(screen: Screen, _arguments: argparse.Namespace) -> None:
    running = environment.raise_up(screen)
    try:
        screen.plain(howto.commands(running))
        while True:
            for event in running.ear.listen(seconds=1):
                screen.say(in_short(event))
    finally:
        running.stop()


def _short(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


if __name__ == "__main__":
    sys.exit(main())
