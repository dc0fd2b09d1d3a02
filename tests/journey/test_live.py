"""`run --live`, with the simulator in the place of the real provider: its price is confirmed, and a
job that is paid survives the run that paid it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.simulated_providers import SimulatedProviders
from tests.journey.scene import SAMPLES

pytestmark = pytest.mark.journey

ROOT = Path(__file__).parents[2]
RUN = [sys.executable, "-m", "local", "run"]
FILES = [str(SAMPLES / "portrait.png"), str(SAMPLES / "voice.mp3")]


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[SimulatedProviders]:
    """A provider whose jobs take a while: long enough for a run to be interrupted."""
    running = SimulatedProviders(tmp_path / "provider", job_seconds=2400, speed=60)
    yield running
    running.stop()


@pytest.fixture
def environment(provider: SimulatedProviders, tmp_path: Path) -> dict[str, str]:
    secret = json.dumps(provider.secrets()["kie"])
    return {**os.environ, "KIE_SECRET": secret, "TALKDROP_OUT": str(tmp_path / "out")}


def hear_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def charges(provider: SimulatedProviders) -> int:
    return sum(line["kind"] == "charge" for line in provider.charges())


def test_without_a_yes_nothing_is_sent(
    provider: SimulatedProviders, environment: dict[str, str]
) -> None:
    done = subprocess.run(
        [*RUN, *FILES, "--live"],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "USD by its price list. Nothing was sent" in done.stdout
    assert provider.control("GET", "state")["jobs"] == []


def test_a_job_whose_run_was_interrupted_is_taken_up_and_not_paid_again(
    provider: SimulatedProviders, environment: dict[str, str]
) -> None:
    first = subprocess.Popen(
        [*RUN, *FILES, "--live", "--yes"],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        # A shell starts what runs in the background with Ctrl-C ignored, and children inherit that.
        preexec_fn=hear_interrupts,
    )
    assert first.stdout
    lines: list[str] = []
    while not lines or "SUBMITTED" not in lines[-1]:
        lines.append(next(first.stdout))
    first.send_signal(signal.SIGINT)
    lines += first.stdout.readlines()
    first.stdout.close()
    assert first.wait() == 130
    assert "at kie is paid and running" in "".join(lines)

    provider.control("POST", "clock", {"speed": 6000})
    second = subprocess.run(
        [*RUN, "--resume"],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert second.returncode == 0, second.stdout + second.stderr
    (video,) = Path(environment["TALKDROP_OUT"]).glob("*/voice.mp4")
    assert video.stat().st_size > 0
    assert not (video.parent / "paid.json").exists()
    assert charges(provider) == 1
