"""The embedded run that stays up for one's own files and API calls."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from local import environment, instructions
from local.aws import cloud, synthesis
from local.aws.cloud import KEY, REGION, CloudError
from local.environment import Environment
from local.event_listener import in_short
from local.screen import Screen
from local.simulated_providers import SPEED

PORT = 4566
KEPT = synthesis.BUILD / "kept"
SAMPLES = synthesis.ROOT / "local" / "samples"
# Where it is, for the command line and for scripts: there while it is up.
STATE_FILE = synthesis.ROOT / "build" / "up.json"
# A task in doubt, and a job that stays silent, are held after a minute and two.
FAST_HOLDS: Mapping[str, Any] = {
    "ambiguous_hold_hours": 1 / SPEED,
    "silent_hold_hours": 2 / SPEED,
}


def stay_up(screen: Screen, *, port: int, keep: bool, fast_holds: bool) -> None:
    """Start, say what to type, and show each event, until Ctrl-C."""
    cloud.require_free(port)
    state = _kept_state(port) if keep else None
    options = FAST_HOLDS if fast_holds else {}
    running = environment.start(screen, options, state=state, port=port, keep=keep)
    try:
        if fast_holds:
            running.sweep_each_minute()
        _write_state_file(running)
        with _page() as address:
            screen.plain(instructions.page(running, address))
            while True:
                for event in running.listener.listen(seconds=1):
                    screen.say(in_short(event))
    finally:
        STATE_FILE.unlink(missing_ok=True)
        running.stop()


@contextmanager
def _page() -> Iterator[str]:
    """The page, served by `talkdrop page` in a process of its own; its address."""
    command = [sys.executable, "-m", "talkdrop", "page", "--no-open", "--samples", str(SAMPLES)]
    process = subprocess.Popen(
        command,
        cwd=synthesis.ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        yield process.stdout.readline().decode().strip() if process.stdout else ""
    finally:
        cloud.stop_group(process)
        if process.stdout:
            process.stdout.close()


def _kept_state(port: int) -> Path:
    """The directory that survives. What was deployed from other sources, or at another port, would
    answer as those did: it is refused."""
    wanted = f"{synthesis.fingerprint()} at port {port}"
    mark = KEPT / "made-of"
    if mark.exists() and mark.read_text() != wanted:
        raise CloudError(
            f"what {KEPT} keeps was deployed from other sources, or at another port: remove that "
            "directory, or leave out --keep"
        )
    KEPT.mkdir(parents=True, exist_ok=True)
    mark.write_text(wanted)
    return KEPT


def _write_state_file(running: Environment) -> None:
    content = {
        "pid": os.getpid(),
        "endpoint": running.cloud.url,
        "region": REGION,
        "access_key": KEY,
        "secret_key": KEY,
        "stack": running.stack.name,
        "outputs": dict(running.stack.outputs),
        "simulator": dict(running.simulator.addresses) if running.simulator else {},
    }
    STATE_FILE.parent.mkdir(exist_ok=True)
    making = STATE_FILE.with_suffix(".new")
    making.write_text(json.dumps(content, indent=2))
    making.replace(STATE_FILE)
