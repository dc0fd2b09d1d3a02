"""The simulator as a process: what it prints, how it stops, and what it knows after it was
killed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.simulator.conftest import CallbackReceiver, Client, Shelf, until

ROOT = Path(__file__).parents[2]


@contextmanager
def running(*flags: str) -> Iterator[tuple[subprocess.Popen[str], Any]]:
    command = [sys.executable, "-m", "local.simulator", "--json", *flags]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process, SimpleNamespace(**json.loads(process.stdout.readline()))
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_stops_on_a_signal_and_logs_nothing_bad(number: signal.Signals) -> None:
    with running() as (process, _):
        process.send_signal(number)
        assert process.wait(20) == 0


def test_it_prints_a_line_for_each_address_with_its_key() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "local.simulator"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(8)]
    process.terminate()
    process.communicate(timeout=90)
    names = ["kie", "kling", "comet", "relay", "relay-b", "relay-d", "results", "control"]
    assert [line.split()[0] for line in lines] == names
    assert lines[0].rstrip().endswith("key kie-simulated-key")


def test_a_port_that_is_taken_is_named_and_nothing_starts(client: Client) -> None:
    taken = client.simulator.addresses["kie"].rpartition(":")[2]
    command = [sys.executable, "-m", "local.simulator", "--port", taken]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=90, check=False
    )
    assert done.returncode == 1
    assert "choose another --port" in done.stderr


def test_help_names_every_fault() -> None:
    command = [sys.executable, "-m", "local.simulator", "--help"]
    page = " ".join(
        subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    )
    assert "callback_reordered: the callback of a running job comes after that of its end" in page


def test_after_a_kill_it_has_the_same_ports_jobs_and_charges_and_sends_what_it_owes(
    tmp_path: Path, shelf: Shelf, receiver: CallbackReceiver
) -> None:
    flags = ["--state", str(tmp_path), "--job-seconds-per-second", "0"]
    with running(*flags, "--speed", "1000", "--job-seconds", "50") as (process, simulated):
        client = Client(simulated, shelf)
        done = client.kie(callback=receiver.address + "/done").json()["data"]["taskId"]
        until(lambda: receiver.bodies("/done"))
        client.control("POST", "clock", speed=5.0)
        running_on = client.kie(callback=receiver.address + "/callback").json()["data"]["taskId"]
        kling = client.avatar(external_task_id="job-1").json()["data"]["task_id"]
        process.send_signal(signal.SIGKILL)
        process.wait()
        client.http.close()
    with running(*flags, "--speed", "1000", "--job-seconds", "50") as (process, again):
        assert again.addresses == simulated.addresses
        client = Client(again, shelf)
        assert client.kie_record(done)["state"] == "success"
        until(lambda: receiver.bodies("/callback"))
        assert client.kie_record(running_on)["state"] == "success"
        until(
            lambda: (
                client.avatar_record("kling", "job-1").json()["data"]["task_status"] == "succeed"
            )
        )
        charges = client.control("GET", "ledger")["charges"]
        assert sorted(line["job_id"] for line in charges) == sorted([done, running_on, kling])
        assert len(receiver.bodies("/done")) == 1
        client.http.close()


def test_what_ends_while_it_is_down_ended_when_it_should_have(
    tmp_path: Path, open_client: Any
) -> None:
    before = open_client(state=tmp_path, speed=1.0, job_seconds=10_000.0)
    job = before.kie().json()["data"]["taskId"]
    before.simulator.stop()
    before.simulator.stop = lambda: None  # the fixture would stop it once more
    # 10000 simulator seconds pass at once: the clock's memory is set back by as much.
    _turn_back(tmp_path, 10_500.0)
    after = open_client(state=tmp_path, speed=1.0, job_seconds=10_000.0)
    record = until(lambda: (found := after.kie_record(job)).get("state") == "success" and found)
    assert record["costTime"] == 10_000
    assert [line["job_id"] for line in after.simulator.ledger()] == [job]


def test_the_ledger_has_no_secret_of_a_callback_address(
    client: Client, receiver: CallbackReceiver
) -> None:
    secret = "k1.AbCdEfGhIjKlMnOpQrStUvWx"
    client.kie(callback=f"{receiver.address}/callbacks/kie/task-1/1/{secret}?token=hidden")
    until(lambda: client.simulator.ledger())
    (charge,) = client.control("GET", "ledger")["charges"]
    assert charge["callback_url"] == f"{receiver.address}/callbacks/kie/task-1/1/k1…"
    assert secret not in json.dumps(client.control("GET", "state"))


def test_the_clock_says_its_speed_and_refuses_nonsense(client: Client) -> None:
    assert client.control("POST", "clock", speed=2.0)["speed"] == 2.0
    for wrong in ({"speed": 0}, {"speed": -1}, {"speed": "fast"}, {}):
        answer = client.http.post(
            client.simulator.addresses["control"] + "/control/clock", json=wrong
        )
        assert answer.status_code == 400


def test_two_hundred_jobs_in_a_burst_are_all_made_and_charged_once(
    open_client: Any, receiver: CallbackReceiver
) -> None:
    client = open_client(kie_creates_per_10s=1000)
    jobs = [client.kie(callback=receiver.address).json()["data"]["taskId"] for _ in range(200)]
    until(lambda: len(receiver.received) == 200, 60)
    assert sorted(line["job_id"] for line in client.simulator.ledger()) == sorted(jobs)


def _turn_back(folder: Path, seconds: float) -> None:
    from local.simulator.jobs import Book

    book = Book(folder)
    clock = book.get("fact", "clock")
    book.put(
        "fact",
        "clock",
        {"speed": clock["speed"], "anchor": [clock["anchor"][0] - seconds, clock["anchor"][1]]},
    )
    book.close()
