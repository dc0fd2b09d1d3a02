"""The archive function runs in a process of its own and is killed, without a word, wherever it
happens to be."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.archive.conftest import Vault
from tests.archive.films import film
from tests.archive.internet import Internet, Visit

CHILD = """
import json, sys
from functions.handlers import archive
class Context:
    def get_remaining_time_in_millis(self): return 900_000
print(json.dumps(archive.handler({"task_id": sys.argv[1], "attempt": 1}, Context())))
"""
FILM = film(24_000_000)
KILLS = 10


class KillingServer:
    """Serves the film, and kills the process that fetches it after `at` bytes; past the end, a
    little later."""

    def __init__(self, *, chunked: bool) -> None:
        self.at: int | None = None
        self.victim = 0
        self.kills = 0
        self._chunked = chunked

    def __call__(self, visit: Visit) -> None:
        headers = (
            {"Transfer_Encoding": "chunked"} if self._chunked else {"Content_Length": len(FILM)}
        )
        visit.head(ETag='"v1"', **headers)
        for start in range(0, len(FILM), 1 << 16):
            if self.at is not None and start >= self.at:
                return self.strike()
            piece = FILM[start : start + (1 << 16)]
            visit.send(f"{len(piece):x}\r\n".encode() + piece + b"\r\n" if self._chunked else piece)
        visit.send(b"0\r\n\r\n" if self._chunked else b"")
        if self.at is not None:
            time.sleep((self.at - len(FILM)) / 1e8)
            self.strike()
        return None

    def strike(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.victim, signal.SIGKILL)
            self.kills += 1


def run(vault: Vault, assassin: KillingServer) -> subprocess.CompletedProcess[str]:
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, vault.bucket],
        cwd=Path(__file__).parent.parent.parent,
        stdout=subprocess.PIPE,
        text=True,
    )
    assassin.victim = child.pid
    out, _ = child.communicate(timeout=60)
    return subprocess.CompletedProcess(child.args, child.returncode, out)


@pytest.mark.parametrize("chunked", [False, True])
def test_killed_at_any_byte_it_leaves_no_object_or_the_whole_one(
    vault: Vault, internet: Internet, chunked: bool
) -> None:
    assassin = KillingServer(chunked=chunked)
    server = internet.plain(assassin)
    place = f"127.0.0.1:{server.port}"
    vault.open_task(f"http://{place}/v.mp4", trusted_host=place)
    dice = random.Random(20)
    key = f"videos/2026/11/21/{vault.bucket}/hello.mp4"
    for _ in range(KILLS):
        assassin.at = dice.randrange(len(FILM) + len(FILM) // 4)
        run(vault, assassin)
        if vault.keys():  # killed late: then what is there is whole
            assert hashlib.sha256(vault.read(key)).digest() == hashlib.sha256(FILM).digest()
    assert assassin.kills
    assassin.at = None
    assert run(vault, assassin).returncode == 0
    assert sorted(vault.keys()) == sorted([key, key.replace("hello.mp4", "manifest.json")])
    assert vault.versions() == 2
    assert vault.read(key) == FILM
    assert vault.uploads() == 0
