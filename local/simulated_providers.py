"""The simulated providers as a process of their own, which can be killed and started again as a
provider's machine can."""

from __future__ import annotations

import atexit
import json
import subprocess
import sys
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from functions import providers
from local.aws import cloud
from local.aws.synthesis import ROOT

SPEED = 60  # simulated seconds in a second: the minutes a provider takes become seconds


class SimulatorError(Exception):
    """The simulator did not come up; the message says why."""


class SimulatedProviders:
    """A running simulator. Its jobs, ledger and ports lie in `state` and outlive a kill.

    `options` are the simulator's own flags (`python -m local.simulator --help`), such as
    `job_seconds=3`.
    """

    def __init__(self, state: Path, **options: Any) -> None:
        self.state = state
        self._options = {"speed": SPEED, **options}
        self.start()

    def start(self) -> None:
        """Start, or start again where it was killed."""
        self.state.mkdir(parents=True, exist_ok=True)
        flags = [flag for name, value in self._options.items() for flag in _flag(name, value)]
        command = [
            sys.executable,
            "-m",
            "local.simulator",
            "--json",
            "--state",
            str(self.state),
            *flags,
        ]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        atexit.register(self.stop)
        line = self._process.stdout.readline() if self._process.stdout else b""
        if not line:
            self.stop()
            raise SimulatorError(f"the simulated providers ended at once: {cloud.tail(self.log)}")
        started = json.loads(line)
        self.addresses: Mapping[str, str] = started["addresses"]
        self.keys: Mapping[str, str] = started["keys"]

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def log(self) -> Path:
        return self.state / "simulator.log"

    def secrets(self) -> dict[str, dict[str, Any]]:
        """What the secret of each provider must hold so that Talkdrop speaks to its simulator."""
        trusted = [urlsplit(self.addresses["results"]).netloc]
        return {
            name: {
                "api_key": self.keys[name],
                "base_url": self.addresses[name],
                "upload_base_url": self.addresses["kie"],
                "result_hosts": trusted,
            }
            for name in providers.NAMES
            if name in self.addresses
        }

    def charges(self) -> list[dict[str, Any]]:
        """Every charge and refund so far."""
        charges: list[dict[str, Any]] = self.control("GET", "ledger")["charges"]
        return charges

    def control(self, method: str, what: str, body: Mapping[str, Any] | None = None) -> Any:
        """Ask the control endpoint: state, ledger, faults, clock, callbacks."""
        content = json.dumps(dict(body)).encode() if body is not None else None
        request = urllib.request.Request(
            f"{self.addresses['control']}/control/{what}", content, method=method
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def kill(self) -> None:
        """As a power cut would."""
        self._process.kill()
        self.stop()

    def stop(self) -> None:
        cloud.stop_group(self._process)
        if self._process.stdout:
            self._process.stdout.close()
        atexit.unregister(self.stop)


def _flag(name: str, value: Any) -> list[str]:
    flag = "--" + name.replace("_", "-")
    if isinstance(value, bool):
        return [flag if value else f"--no-{flag[2:]}"]
    return [flag, str(value)]
