"""`talkdrop page` and `talkdrop fault`, typed as a person types them."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from local.aws import cloud
from local.simulated_providers import SimulatedProviders
from talkdrop import stack
from tests.talkdrop.conftest import STACK, Account, Person

ROOT = Path(__file__).parents[2]


@pytest.fixture
def simulator(
    account: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[SimulatedProviders]:
    """The simulated providers of a run that is up in this directory."""
    made = SimulatedProviders(tmp_path / "simulator")
    state = {
        "pid": os.getpid(), "endpoint": account.cloud.url, "region": cloud.REGION,
        "access_key": cloud.KEY, "secret_key": cloud.KEY, "simulator": dict(made.addresses),
    }  # fmt: skip
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "up.json").write_text(json.dumps(state))
    monkeypatch.chdir(tmp_path)
    yield made
    made.stop()


def test_the_page_is_served_until_ctrl_c(account: Account) -> None:
    command = [sys.executable, "-m", "talkdrop", "--stack", STACK, "page", "--no-open"]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout
    url = process.stdout.readline().strip()
    assert httpx.get(url).text.startswith("<!doctype html>")
    assert httpx.get(f"{url}config.json").json()["stack"] == STACK
    assert httpx.get(f"{url}api/models").json()["default_provider"] == "kie"
    process.send_signal(signal.SIGINT)
    assert "Traceback" not in process.communicate(timeout=30)[1]
    assert process.returncode == 130


def test_a_fault_is_set_listed_and_cleared(person: Person, simulator: SimulatedProviders) -> None:
    assert "to strike 1 times" in person.types("fault", "lost_answer").out
    (fault,) = simulator.control("GET", "faults")["faults"]
    assert (fault["kind"], fault["count"]) == ("lost_answer", 1)
    listed = person.types("fault").out
    assert "callback_missing" in listed
    assert "set: lost_answer, struck 0 times, 1 to come" in listed
    assert "1 removed" in person.types("fault", "--clear").out


def test_a_fault_takes_its_settings(person: Person, simulator: SimulatedProviders) -> None:
    words = ("fault", "hang", "--set", "seconds=2", "--count", "3", "--provider", "kling")
    set_ = json.loads(person.types(*words, "--json").out)
    assert set_["settings"] == {"seconds": 2}
    assert (set_["count"], set_["provider"]) == (3, "kling")


def test_an_unknown_fault_is_refused_with_those_there_are(
    person: Person, simulator: SimulatedProviders
) -> None:
    outcome = person.types("fault", "nope")
    assert outcome.code == 1
    assert "lost_answer" in outcome.err


def test_what_was_exported_for_a_run_that_is_over_gives_way_to_the_one_that_is_up(
    person: Person, account: Account, simulator: SimulatedProviders, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        closed = server.getsockname()[1]
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{closed}")
    assert f"export AWS_ENDPOINT_URL={account.cloud.url}" in person.types("env").out


def test_the_simulator_is_known_elsewhere_by_what_env_exports(
    person: Person, simulator: SimulatedProviders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = simulator.addresses["control"]
    assert f"export TALKDROP_SIMULATOR={address}" in person.types("env").out
    (tmp_path / "build" / "up.json").unlink()
    assert "make up" in person.types("fault", "lost_answer").err
    monkeypatch.setenv("TALKDROP_SIMULATOR", address)
    assert "to strike 1 times" in person.types("fault", "lost_answer").out


def test_what_was_chosen_and_answers_is_not_replaced(
    account: Account, simulator: SimulatedProviders, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        chosen = f"http://127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setenv("AWS_ENDPOINT_URL", chosen)
        assert stack.use_embedded_run()
        assert os.environ["AWS_ENDPOINT_URL"] == chosen


def test_faults_are_for_the_embedded_run_only(
    person: Person, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDFORMATION", os.environ["AWS_ENDPOINT_URL"])
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://aws.example")
    outcome = person.types("fault", "lost_answer")
    assert outcome.code == 1
    assert "make up" in outcome.err


def test_what_pip_installs_holds_the_whole_page(tmp_path: Path) -> None:
    here = tmp_path / "checkout"
    here.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, here)
    for name in ("functions", "talkdrop", "web"):
        shutil.copytree(ROOT / name, here / name, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*command, "--no-build-isolation", "-w", str(tmp_path), str(here)], check=True)
    (wheel,) = tmp_path.glob("talkdrop-*.whl")
    packed = set(zipfile.ZipFile(wheel).namelist())
    assert {f"web/{path.name}" for path in (ROOT / "web").iterdir()} <= packed
    assert "talkdrop/commands/page.py" in packed


def test_the_page_is_small() -> None:
    sizes = [len(gzip.compress(path.read_bytes())) for path in (ROOT / "web").iterdir()]
    assert sum(sizes) <= 60 << 10
