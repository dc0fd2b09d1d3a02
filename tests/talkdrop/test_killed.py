"""`talkdrop submit DIR --watch`, killed at every stage and run again: one task a voice.

All that it sends goes through a proxy here, as HTTP_PROXY says, which kills it at one request: the
n-th, before anything of it has been forwarded, or when it was carried out and not answered yet."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.talkdrop.conftest import STACK, Account, Person

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "local" / "samples"
# What a voice takes: is it there, a form and an upload for its face, the same for itself, the task.
REQUESTS_A_VOICE = 6
# The stack and the models are asked for first; two voices; then both are watched.
REQUESTS = 2 + 2 * REQUESTS_A_VOICE + 3
OPENS_A_TASK = (2 + REQUESTS_A_VOICE, 2 + 2 * REQUESTS_A_VOICE)
PATIENCE_SECONDS = 120
DIRECT_FOR_NONE = {"NO_PROXY": "", "no_proxy": ""}
HOP_BY_HOP = {"connection", "proxy-connection", "keep-alive", "transfer-encoding", "content-length"}


class Proxy(ThreadingHTTPServer):
    """Kills `process` at request number `deadly`; `seen` are those that came, in order."""

    daemon_threads = True

    def __init__(self, deadly: int, *, is_carried_out: bool) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.deadly, self.is_carried_out = deadly, is_carried_out
        self.process: subprocess.Popen[str] | None = None
        self.ready = threading.Event()
        self.seen: list[str] = []
        self.client = httpx.Client(trust_env=False, timeout=60)

    def kill(self) -> None:
        self.ready.wait()
        assert self.process
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def handle_error(self, request: Any, client_address: Any) -> None: ...


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Proxy

    def log_message(self, *_: Any) -> None: ...

    def do_GET(self) -> None:
        self.server.seen.append(f"{self.command} {httpx.URL(self.path).path}")
        is_deadly = len(self.server.seen) == self.server.deadly
        if is_deadly and not self.server.is_carried_out:
            self.server.kill()
            self.close_connection = True
            return
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {k: v for k, v in self.headers.items() if k.lower() not in HOP_BY_HOP}
        sent = self.server.client.request(self.command, self.path, headers=headers, content=body)
        if is_deadly:
            self.server.kill()
            self.close_connection = True
            return
        self.send_response(sent.status_code)
        for name, value in sent.headers.items():
            if name not in HOP_BY_HOP | {"content-encoding", "date", "server"}:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(sent.content)))
        self.end_headers()
        self.wfile.write(sent.content)

    do_POST = do_PUT = do_GET


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two voices and one face, in a folder of a name of its own."""
    made = tmp_path / f"episode-{uuid.uuid4().hex[:8]}"
    made.mkdir()
    shutil.copy(SAMPLES / "portrait.png", made)
    for name in ("01", "02"):
        shutil.copy(SAMPLES / "voice.mp3", made / f"{name}.mp3")
    return made


def killed(folder: Path, deadly: int, *, is_carried_out: bool = False) -> list[str]:
    """Run it and kill it at this request; answers those that came."""
    proxy = Proxy(deadly, is_carried_out=is_carried_out)
    threading.Thread(target=proxy.serve_forever, args=(0.05,), daemon=True).start()
    address = f"http://127.0.0.1:{proxy.server_port}"
    words = ["--stack", STACK, "submit", str(folder), "--yes", "--watch"]
    proxy.process = subprocess.Popen(
        [sys.executable, "-m", "talkdrop", *words],
        cwd=ROOT,
        env={
            **os.environ,
            **dict.fromkeys(("HTTP_PROXY", "http_proxy"), address),
            **DIRECT_FOR_NONE,
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    proxy.ready.set()
    try:
        _, trouble = proxy.process.communicate(timeout=PATIENCE_SECONDS)
    finally:
        proxy.process.kill()
    assert proxy.process.returncode == -signal.SIGKILL, trouble
    proxy.shutdown()
    proxy.server_close()
    proxy.client.close()
    return proxy.seen


def voices_of_tasks(account: Account, folder: Path) -> list[str]:
    table = account.cloud.client("dynamodb")
    rows = table.scan(TableName=account.outputs["TaskTableName"])["Items"]
    keys = [row["audio"]["M"]["key"]["S"] for row in rows if "audio" in row]
    return sorted(key.rpartition("/")[2] for key in keys if f"/{folder.name}/" in key)


def goes_on(account: Account, person: Person, folder: Path) -> None:
    """Run again it opens what is missing, and nothing twice; and once more nothing at all."""
    for _ in range(2):
        done = person.types("submit", str(folder), "--yes")
        assert (done.code, done.err) == (0, "")
        assert voices_of_tasks(account, folder) == ["01.mp3", "02.mp3"]


@pytest.mark.parametrize("deadly", range(1, REQUESTS + 1))
def test_killed_at_any_request_and_run_again_it_makes_one_task_a_voice(
    account: Account, person: Person, folder: Path, deadly: int
) -> None:
    seen = killed(folder, deadly)
    assert len(seen) == deadly
    opened = sum(deadly > number for number in OPENS_A_TASK)
    assert voices_of_tasks(account, folder) == ["01.mp3", "02.mp3"][:opened]
    goes_on(account, person, folder)


@pytest.mark.parametrize("deadly", OPENS_A_TASK)
def test_killed_before_it_reads_that_its_task_was_opened_it_opens_no_other(
    account: Account, person: Person, folder: Path, deadly: int
) -> None:
    assert killed(folder, deadly, is_carried_out=True)[-1] == "POST /tasks"
    assert len(voices_of_tasks(account, folder)) == OPENS_A_TASK.index(deadly) + 1
    goes_on(account, person, folder)
