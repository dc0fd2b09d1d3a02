"""`python -m local`: what a person is told before anything is started."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "local" / "samples"
FILES = [str(SAMPLES / "portrait.png"), str(SAMPLES / "voice.mp3")]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "local", *arguments]
    return subprocess.run(
        command,
        cwd=ROOT,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
        check=False,
    )


def test_a_file_that_is_not_there_is_named() -> None:
    done = run("run", "nobody.png", FILES[1])
    assert done.returncode == 1
    assert "there is no file nobody.png" in done.stdout


@pytest.mark.parametrize("wrong", [["--set", "resolution"], ["--set", "seed=1", "--set", "seed=2"]])
def test_a_setting_wants_a_name_and_a_value_once(wrong: list[str]) -> None:
    done = run("run", *FILES, *wrong)
    assert done.returncode == 1
    assert "--set wants NAME=VALUE" in done.stdout


def test_an_unknown_provider_is_refused_with_those_there_are() -> None:
    done = run("run", *FILES, "--provider", "nobody")
    assert done.returncode == 2
    assert "'kie'" in done.stderr


def test_a_key_is_no_argument() -> None:
    done = run("run", *FILES, "--live", "--key", "sk-secret")
    assert done.returncode == 2
    assert "unrecognized arguments" in done.stderr
