"""`.ci/chromium`: a browser for the tests of the page where one can be had, and a word where not.
apt and its like are scripts here that stand before the machine's own in PATH."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / ".ci" / "chromium"
LOCKED = 'echo "E: Could not get lock /var/lib/apt/lists/lock" >&2; exit 100'
INSTALLED = 'test -e "$HERE/installed" && printf installed'


class Machine:
    """Its commands are scripts; `calls` is what apt was asked."""

    def __init__(self, commands: Path) -> None:
        self.commands = commands
        self.has("dpkg-query", INSTALLED)
        self.has("id", "echo 0")
        self.has("sudo", "exit 1")

    def has(self, command: str, script: str) -> None:
        path = self.commands / command
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def has_apt(self, *before: str) -> None:
        """apt-get, whose first calls go as `before` says and which then does its work."""
        for number, script in enumerate(before, 1):
            (self.commands / f"call-{number}").write_text(script)
        self.has(
            "apt-get",
            'echo "$@" >> "$HERE/calls"; n=$(grep -c . "$HERE/calls")\n'
            'if [ -e "$HERE/call-$n" ]; then . "$HERE/call-$n"; fi\n'
            'case "$*" in *install*) touch "$HERE/installed";; esac',
        )

    def runs(self) -> subprocess.CompletedProcess[str]:
        known = {"PATH": f"{self.commands}:/usr/bin:/bin", "HERE": str(self.commands), "PAUSE": "0"}
        return subprocess.run(
            ["/bin/bash", str(SCRIPT)],
            env={**os.environ, **known},
            capture_output=True,
            text=True,
            check=False,
        )

    @property
    def calls(self) -> list[str]:
        calls = self.commands / "calls"
        return [line.split()[-1] for line in calls.read_text().splitlines()]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_browser_that_is_there_is_left_alone(machine: Machine) -> None:
    machine.has("dpkg-query", "printf installed")
    machine.has("apt-get", "exit 1")
    done = machine.runs()
    assert (done.returncode, done.stderr) == (0, "")


def test_one_is_installed_and_the_lock_of_dpkg_is_waited_for(machine: Machine) -> None:
    machine.has_apt()
    done = machine.runs()
    assert (done.returncode, "NO BROWSER" in done.stderr) == (0, False)
    assert machine.calls == ["update", "chromium"]
    assert "DPkg::Lock::Timeout=300" in (machine.commands / "calls").read_text()


def test_another_apt_at_work_makes_it_try_again(machine: Machine) -> None:
    machine.has_apt(LOCKED, "", LOCKED)
    done = machine.runs()
    assert (done.returncode, "NO BROWSER" in done.stderr) == (0, False)
    assert machine.calls == ["update", "update", "chromium", "update", "chromium"]


def test_a_package_that_is_only_unpacked_is_no_browser_yet(machine: Machine) -> None:
    machine.has_apt()
    machine.has("chromium", "exit 0")
    assert machine.runs().returncode == 0
    assert machine.calls == ["update", "chromium"]


@pytest.mark.parametrize(
    ("command", "script", "why"),
    [
        ("id", "echo 1000", "installing it needs root"),
        ("apt-get", LOCKED, "apt could not install chromium"),
        ("apt-get", "exit 0", "apt could not install chromium"),
    ],
)
def test_where_there_is_none_to_be_had_it_says_so_and_fails_nothing(
    machine: Machine, command: str, script: str, why: str
) -> None:
    machine.has_apt()
    machine.has(command, script)
    done = machine.runs()
    assert done.returncode == 0
    assert f"NO BROWSER: the page will not be tried in one, since {why}" in done.stderr
