"""`python -m local`: what a person reads before anything is started."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "local" / "samples"
FACE, VOICE = FILES = [str(SAMPLES / "portrait.png"), str(SAMPLES / "voice.mp3")]


def run(*arguments: str, home: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """The command, as a person types it. `home` stands for the checkout, where `out/` lies."""
    command = [sys.executable, "-m", "local", *arguments]
    return subprocess.run(
        command,
        cwd=home,
        env={**os.environ, "PYTHONPATH": str(home)},
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


def test_a_face_and_a_voice_that_are_swapped_are_named_at_once() -> None:
    done = run("run", VOICE, FACE)
    assert done.returncode == 1
    assert f"the face comes first, so run {FACE} {VOICE}" in done.stdout


def test_a_lone_portrait_asks_for_its_voice() -> None:
    done = run("run", FACE)
    assert done.returncode == 1
    assert "run FACE VOICE" in done.stdout


def test_a_film_is_no_voice_and_the_cure_is_named(tmp_path: Path) -> None:
    film = tmp_path / "hello.mp4"
    film.write_bytes(b"\0\0\0\x18ftypisom\0\0\2\0isommp41" + bytes(64))
    done = run("run", FACE, str(film))
    assert done.returncode == 1
    assert f"ffmpeg -i {film} -vn hello.mp3" in done.stdout


def test_a_web_page_is_no_portrait(tmp_path: Path) -> None:
    page = tmp_path / "face.png"
    page.write_text("<!DOCTYPE html><html><body>Sign in</body></html>")
    done = run("run", str(page), VOICE)
    assert done.returncode == 1
    assert "is a web page: the face must be a picture" in done.stdout


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what the command is made of: its `out/` is a test's own."""
    for name in ("functions", "local", "talkdrop"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


@pytest.mark.parametrize("live", [[], ["--live", "--yes"]])
def test_where_the_video_cannot_be_written_nothing_is_started_or_paid(
    checkout: Path, live: list[str]
) -> None:
    (checkout / "out").write_text("a file, where a directory must be")
    done = run("run", *FILES, *live, home=checkout)
    assert done.returncode == 1
    assert "the video could not be written to" in done.stdout


def test_there_is_nothing_to_resume_where_nothing_was_paid(checkout: Path) -> None:
    done = run("run", "--resume", home=checkout)
    assert done.returncode == 1
    assert "no paid job is open" in done.stdout


def test_a_paid_job_whose_id_is_not_known_is_looked_for_by_a_person(checkout: Path) -> None:
    folder = checkout / "out" / "4f2a"
    folder.mkdir(parents=True)
    note = {"provider": "kie", "job_id": "", "face": "a.png", "voice": "a.mp3", "settings": {}}
    (folder / "paid.json").write_text(json.dumps(note))
    done = run("run", "--resume", home=checkout)
    assert done.returncode == 1
    assert "add --job JOB" in done.stdout


def test_a_port_that_is_taken_is_named_with_the_cure() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = run("up", "--port", str(taken.getsockname()[1]))
    assert done.returncode == 1
    assert "choose one with --port" in done.stdout
